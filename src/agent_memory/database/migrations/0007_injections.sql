-- What a session was told without having asked, and why. Ids and a hash stand for the text, so that what is forgotten
-- is forgotten here too.

alter table mem_projects add column tells_context boolean not null default true;  -- false: the user wants silence here

create table mem_injections (
    id bigint generated always as identity primary key,
    session_id text not null references mem_sessions on delete cascade,
    prompt_id text,                  -- no foreign key: the hook asks before the prompt is stored
    event text not null,             -- the hook's: SessionStart | UserPromptSubmit
    occurred_at timestamptz not null default clock_timestamp(),
    outcome text not null,           -- told | silent | late (made, but not within the hook's time)
    reason text not null,            -- in words: why it was told, or why not
    chars integer not null default 0,
    text_sha bytea,                  -- sha256 of what was told
    took_ms integer
);
create index mem_injections_session on mem_injections (session_id, id);

create table mem_injected (
    injection_id bigint not null references mem_injections on delete cascade,
    ordinal integer not null,
    part text not null,              -- session | earlier | open | note | lesson | hit
    observation_id bigint references mem_observations on delete cascade,
    session_id text,
    prompt_id text,                  -- a turn of which there is no observation
    lesson_id bigint references mem_lessons on delete cascade,
    score real,
    why jsonb,
    primary key (injection_id, ordinal),
    foreign key (session_id, prompt_id) references mem_user_prompts on delete cascade
);
create index mem_injected_observation on mem_injected (observation_id) where observation_id is not null;
create index mem_injected_prompt on mem_injected (session_id, prompt_id) where prompt_id is not null;
