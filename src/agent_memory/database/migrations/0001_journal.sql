-- What happened. No text index on these tables: it would cost ten times what a durable write costs.

create table mem_projects (
    id bigint generated always as identity primary key,
    identity text not null unique,   -- git:host/owner/name | dir:/…/.git | path:/…
    name text not null,              -- what a person calls it
    path text,                       -- the folder in which it was seen last
    created_at timestamptz not null default now()
);

create table mem_sessions (
    id text primary key,             -- the agent's own session id
    project_id bigint not null references mem_projects,
    agent text not null,
    agent_version text,
    model text,
    git_branch text,
    cwd text,
    transcript_path text,
    source text,                     -- startup | resume | clear | compact | fork
    started_at timestamptz not null,
    last_event_at timestamptz not null,
    ended_at timestamptz,
    end_reason text
);
create index mem_sessions_project on mem_sessions (project_id, started_at desc);

create table mem_user_prompts (
    session_id text not null references mem_sessions on delete cascade,
    id text not null,                -- the agent's own prompt id; mem_tool_calls.prompt_id points here
    kind text not null,              -- user | task_notification | subagent | command; only the first is a person's
    agent_id text,                   -- the subagent that got it, or null
    text text not null,
    text_sha bytea not null,
    occurred_at timestamptz not null,
    ended_at timestamptz,            -- when the agent stopped working on it
    end_error text,
    primary key (session_id, id)
);
create index mem_user_prompts_time on mem_user_prompts (session_id, occurred_at);

create table mem_tool_calls (
    id bigint generated always as identity primary key,
    session_id text not null references mem_sessions on delete cascade,
    tool_use_id text not null,
    prompt_id text,                  -- no foreign key: a call may be read before its prompt
    agent_id text,                   -- the subagent that made it, or null
    agent_type text,
    tool_name text not null,
    tool_input jsonb not null,
    output text,                     -- cut at output_limit_chars
    output_chars bigint,             -- the true size
    success boolean,                 -- null: begun, and no end was seen
    error text,
    duration_ms bigint,
    occurred_at timestamptz not null, -- when it began, or the earliest that was seen of it
    unique (session_id, tool_use_id)
);
create index mem_tool_calls_turn on mem_tool_calls (session_id, prompt_id);

create table mem_assistant_messages (
    id bigint generated always as identity primary key,
    session_id text not null references mem_sessions on delete cascade,
    prompt_id text,
    agent_id text,
    agent_type text,
    kind text not null,              -- message | compact_summary
    message_uuid text,               -- the transcript line; null while only a hook has told of it
    model text,
    text text not null,
    text_sha bytea not null,
    usage jsonb,
    occurred_at timestamptz not null,
    unique (session_id, message_uuid)
);
create index mem_assistant_messages_turn on mem_assistant_messages (session_id, prompt_id);

-- How far each transcript has been read, so that a second backfill reads only what is new.
create table mem_transcripts (
    path text primary key,
    agent text not null,
    bytes_read bigint not null,
    read_at timestamptz not null default now()
);

-- The turns whose observation must be built again. One row a turn: a hundred events of one turn are one piece of work.
create table mem_observation_queue (
    id bigint generated always as identity primary key,
    session_id text not null references mem_sessions on delete cascade,
    prompt_id text not null,
    version bigint not null default 1,     -- raised by every new event; a worker removes only the version it saw
    attempts integer not null default 0,
    enqueued_at timestamptz not null default now(),
    ready_at timestamptz not null default now(),
    leased_until timestamptz,              -- a lease that ran out is free again: its worker is dead
    failed_at timestamptz,                 -- given up after the last retry; health counts these
    error text,
    unique (session_id, prompt_id)
);
create index mem_observation_queue_ready on mem_observation_queue (ready_at) where failed_at is null;
