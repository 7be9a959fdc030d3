-- What is remembered. A projection: everything here but the notes can be rebuilt from the journal.

create table mem_observations (
    id bigint generated always as identity primary key,
    project_id bigint not null references mem_projects,
    session_id text references mem_sessions on delete cascade,
    kind text not null,              -- turn | summary | note | what a caller names
    role text,                       -- whose words: user | assistant | null where mixed
    title text not null,
    text text not null,
    occurred_at timestamptz not null,
    external_id text,                -- idempotency: turn/<session>/<prompt>, summary/<…>, or the caller's own
    supersedes bigint references mem_observations on delete set null,
    sources jsonb not null default '{}',   -- {"prompts": [id…], "tool_calls": [id…], "assistant_messages": [id…]}
    created_at timestamptz not null default now(),
    unique (project_id, external_id)
);
create index mem_observations_time on mem_observations (project_id, occurred_at desc);
create index mem_observations_session on mem_observations (session_id);
create index mem_observations_supersedes on mem_observations (supersedes) where supersedes is not null;

create table mem_observation_chunks (
    id bigint generated always as identity primary key,
    observation_id bigint not null references mem_observations on delete cascade,
    project_id bigint not null,
    ordinal integer not null,
    role text,                       -- user | assistant | null where mixed
    text text not null,              -- what is embedded and shown; its first line carries the date
    words integer not null,          -- length in indexed words
    tsv tsvector not null,           -- holds the lexeme project/<id> too, so that one index serves word and project
    unique (observation_id, ordinal)
);
create index mem_observation_chunks_tsv on mem_observation_chunks using gin (tsv);

create table mem_embedding_models (
    id smallint generated always as identity primary key,
    name text not null unique,
    dimensions integer not null,
    created_at timestamptz not null default now()
);

-- Vectors of two models can stand side by side while reindex moves from one to the other. The dimension belongs to
-- the model, so each model's HNSW index is made when the model is first seen, over a cast to its dimension.
create table mem_chunk_vectors (
    model_id smallint not null references mem_embedding_models on delete cascade,
    chunk_id bigint not null references mem_observation_chunks on delete cascade,
    project_id bigint not null,
    embedding halfvec not null,
    primary key (model_id, chunk_id)
);
create index mem_chunk_vectors_chunk on mem_chunk_vectors (chunk_id);
create index mem_chunk_vectors_project on mem_chunk_vectors (model_id, project_id);

-- Chunks that wait for their vector. A worker that dies rolls back and leaves them here.
create table mem_embedding_queue (
    chunk_id bigint primary key references mem_observation_chunks on delete cascade
);
