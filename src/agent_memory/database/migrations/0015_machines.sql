-- Several machines may share one database: which of them is which, and what is known only of a place on one of them.

create table mem_machines (
    id text primary key,             -- the host's name and four random characters; the home's file `machine`
    version text not null,           -- of its agent-memory
    heard_at timestamptz not null default clock_timestamp()   -- when its service said last that it is up
);

alter table mem_sessions add column machine text;    -- where it ran; null: recorded before machines were told apart
alter table mem_audit_log add column machine text;

-- A project without a git remote is a folder, and so a folder on one machine. Null: of a remote, or not claimed yet.
alter table mem_projects add column machine text;
alter table mem_project_folders
    add column machine text not null default '',     -- '': on every machine
    drop constraint mem_project_folders_pkey,
    add primary key (path, machine);

-- Two machines have files of the same path: how far one was read says nothing of the other. '': not known whose.
alter table mem_transcripts
    add column machine text not null default '',
    drop constraint mem_transcripts_pkey,
    add primary key (path, machine);

-- One machine at a time looks for lessons. A lease that ran out is free again: its machine is gone.
alter table mem_mining add column leased_until timestamptz;
