-- Projects that a person put together or took apart, and repositories that were moved.

alter table mem_projects
    -- What is its is that one's. One step: that one is in none.
    add column merged_into bigint references mem_projects on delete cascade,
    add column mark text;            -- what a repository without a remote is known by when its folder is moved
create index mem_projects_merged on mem_projects (merged_into) where merged_into is not null;
create index mem_projects_mark on mem_projects (mark) where mark is not null;

-- The project that its folder named, where it is another's now.
alter table mem_sessions add column origin_id bigint references mem_projects on delete set null;

-- Sessions in these folders, and in those below, are these projects', whatever the folder's git remote says.
create table mem_project_folders (
    path text primary key,
    project_id bigint not null references mem_projects on delete cascade,
    created_at timestamptz not null default now()
);
