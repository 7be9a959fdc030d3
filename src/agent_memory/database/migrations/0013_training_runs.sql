-- Training runs: what a run's own folder says (run.json), so that runs can be listed, compared, retracted and found stale.

create table mem_training_runs (
    id bigint generated always as identity primary key,
    name text not null,
    folder text not null unique,              -- which holds what it made
    created_at timestamptz not null,
    updated_at timestamptz not null default clock_timestamp(),
    config jsonb not null,
    data_set_id bigint references mem_data_sets on delete set null,  -- null: not known, or not there yet
    steps jsonb not null default '{}',        -- name → state, began, seconds, peak_mb, gates, numbers, error
    metrics jsonb not null default '[]',      -- the curve: step, epoch, loss, …
    files jsonb not null default '{}',        -- what it made: path → bytes, sha256
    retracted_at timestamptz,
    retracted_because text
);
