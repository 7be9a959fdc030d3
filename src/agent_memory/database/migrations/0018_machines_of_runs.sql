-- Two machines have folders of the same path: a training run and a data set are one machine's.

alter table mem_training_runs
    add column machine text not null default '',     -- '': not known whose
    drop constraint mem_training_runs_folder_key,
    add unique (folder, machine);

alter table mem_data_sets add column machine text;   -- which made it; null: made before that was written down
