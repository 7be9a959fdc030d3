-- What was forgotten of which data set, so that a model that was trained on it is known to be stale, with the list.

create table mem_data_set_forgotten (
    data_set_id bigint not null references mem_data_sets on delete cascade,
    tombstone_id bigint not null,    -- which forgot it
    session_id text not null,        -- of the rows in the set's files; the session itself may be gone
    primary key (data_set_id, tombstone_id, session_id)
);

alter table mem_training_runs
    add column data_set jsonb;       -- the manifest of what it was trained on; null: not there yet

comment on table mem_training_runs is 'Numbers alone: what models answered lies in the folder of the run.';
