-- The data sets that were published for training, so that one which holds what was forgotten since is known.

create table mem_data_sets (
    id bigint generated always as identity primary key,
    made_at timestamptz not null default clock_timestamp(),
    path text not null,              -- the folder, as it was called then
    manifest_sha256 text not null,   -- of its MANIFEST.json, which knows it wherever it was moved
    rows integer not null,
    tombstone_id bigint not null,    -- the last tombstone that it honours; 0: there was none
    stale_since timestamptz,         -- null: nothing that it holds was forgotten
    stale_by bigint[] not null default '{}'   -- the tombstones that touched its sessions
);

create table mem_data_set_sessions (
    data_set_id bigint not null references mem_data_sets on delete cascade,
    session_id text not null references mem_sessions on delete cascade,
    primary key (data_set_id, session_id)
);
create index mem_data_set_sessions_session on mem_data_set_sessions (session_id);
