-- What is forgotten, and must not come back; what retention has let go.

-- One row each time that something was forgotten: the receipt. It holds no text.
create table mem_tombstones (
    id bigint generated always as identity primary key,
    forgotten_at timestamptz not null default clock_timestamp(),
    forgotten_by text not null,      -- as the audit log says it: cli | mcp | owner | token:<name> | …
    what text not null,              -- observations | session | project | period | text
    counts jsonb not null,           -- how many rows went, by table
    cleaned_at timestamptz           -- when the space of the rows was cleared; null: that is still to do
);
create index mem_tombstones_unclean on mem_tombstones (id) where cleaned_at is null;

-- What each one keeps out. A key is a keyed hash of ids or of a folded text: nobody reads the text from it.
create table mem_tombstone_keys (
    tombstone_id bigint not null references mem_tombstones on delete cascade,
    kind text not null,              -- see journal/tombstones.py
    key bytea not null,
    project_id bigint,               -- null: in every project. No foreign key: it outlives the project
    length integer,                  -- of a passage: its length, folded
    beginning integer,               -- of a passage: 16 bits of a hash of its first characters
    since timestamptz,               -- of a period
    until timestamptz
);
create index mem_tombstone_keys_key on mem_tombstone_keys (key);
create index mem_tombstone_keys_scanned on mem_tombstone_keys (kind) where kind in ('passage', 'period');
create index mem_tombstone_keys_tombstone on mem_tombstone_keys (tombstone_id);

create table mem_tombstone_secret (
    only_one boolean primary key default true check (only_one),
    secret bytea not null default uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())
);
insert into mem_tombstone_secret default values;

-- What happened in a session up to here was let go by retention: read again, it stays away. What comes later is new.
alter table mem_sessions add column retired_until timestamptz;

create table mem_retention (
    project_id bigint unique references mem_projects on delete cascade,   -- null: every project without a row of its own
    days integer check (days > 0),
    megabytes integer check (megabytes > 0),
    notes boolean not null default false                                  -- whether notes go, too
);
create unique index mem_retention_every on mem_retention ((project_id is null)) where project_id is null;

create table mem_retention_runs (
    id bigint generated always as identity primary key,
    ran_at timestamptz not null default clock_timestamp(),
    counts jsonb not null,
    bytes bigint not null
);
