-- Who may call over TCP beside the owner, and who changed what.

create table mem_api_tokens (
    id bigint generated always as identity primary key,
    name text not null,
    scope text not null check (scope in ('read', 'write', 'admin')),
    project_id bigint references mem_projects on delete cascade,   -- null: every project
    sha256 bytea not null unique,    -- of the token, which is random: nothing slower is needed
    created_at timestamptz not null default now(),
    expires_at timestamptz,
    last_used_at timestamptz,        -- to the minute
    revoked_at timestamptz
);
create unique index mem_api_tokens_name on mem_api_tokens (name) where revoked_at is null;

create table mem_audit_log (
    id bigint generated always as identity primary key,
    occurred_at timestamptz not null default now(),
    who text not null,               -- owner | token:<name> | socket:<agent> | cli | mcp | nobody
    action text not null,            -- POST /api/observations | token create | …
    target text,                     -- ids and names; never a text that was stored, never a secret
    project_id bigint,               -- no foreign key: the record of a project outlives it
    status integer not null          -- as HTTP says it: 201, 403, …
);
create index mem_audit_log_time on mem_audit_log (occurred_at);
