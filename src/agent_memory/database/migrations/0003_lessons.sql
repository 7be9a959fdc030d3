-- Rules that speak up before a mistake is made again, and what came of it.

create table mem_lessons (
    id bigint generated always as identity primary key,
    project_id bigint references mem_projects on delete cascade,   -- null: every project's
    title text not null,
    rule text not null check (char_length(rule) <= 400),           -- 280 as given; a redaction may make it longer
    severity text not null check (severity in ('info', 'warning', 'critical')),
    status text not null check (status in ('candidate', 'active', 'retired', 'rejected')),
    action text not null check (action in ('warn', 'ask', 'deny')),
    trigger_phase text not null check (trigger_phase in ('before', 'after_failure', 'prompt', 'end')),
    trigger_tools text[] not null,
    trigger_pattern text not null,                                 -- empty: any text
    trigger_kind text not null check (trigger_kind in ('literal', 'glob', 'regex')),
    trigger_files text[] not null,
    trigger_since timestamptz not null default now(),              -- firings of an earlier trigger do not count
    made_by text not null check (made_by in ('user', 'model', 'mining')),
    session_id text,                                               -- where a model made it
    origin text,                                                   -- mining's name for what it saw
    evidence jsonb not null default '{}',
    estimate jsonb not null default '{}',
    created_at timestamptz not null default now(),
    decided_at timestamptz
);
create unique index mem_lessons_origin on mem_lessons (coalesce(project_id, 0), origin) where origin is not null;
create index mem_lessons_project on mem_lessons (project_id, status);

-- Whoever changes a lesson, in whatever process: the service, which holds the active ones in memory, hears of it.
create function mem_lessons_changed() returns trigger language plpgsql as $$
begin
    perform pg_notify('mem_lessons', '');
    return null;
end $$;
create trigger mem_lessons_changed after insert or update or delete or truncate on mem_lessons
    for each statement execute function mem_lessons_changed();

-- Each time that a lesson spoke, and what happened next. No foreign key to the session: a lesson speaks before the
-- journal has heard of the call, or of the session.
create table mem_lesson_events (
    id bigint generated always as identity primary key,
    lesson_id bigint not null references mem_lessons on delete cascade,
    project_id bigint references mem_projects on delete cascade,   -- where it spoke, where that is known already
    session_id text not null,
    prompt_id text,
    agent_id text,                                                 -- the subagent that it spoke to, or null
    tool_use_id text,
    tool_name text,
    phase text not null,
    action text not null,
    fired_at timestamptz not null default now(),
    outcome text,                                                  -- null: not looked at yet; see lessons/outcome.py
    outcome_calls bigint[] not null default '{}',                  -- the mem_tool_calls that it was read from
    decided_at timestamptz
);
create index mem_lesson_events_lesson on mem_lesson_events (lesson_id, fired_at);
create index mem_lesson_events_turn on mem_lesson_events (session_id, prompt_id);
create index mem_lesson_events_open on mem_lesson_events (fired_at) where outcome is null;
