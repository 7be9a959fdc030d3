-- How far the journal has been looked through for lessons.

create table mem_mining (
    only_one boolean primary key default true check (only_one),
    mined_to bigint not null default 0,          -- the last mem_tool_calls row that was there
    mined_at timestamptz                         -- null: never
);
insert into mem_mining default values;
