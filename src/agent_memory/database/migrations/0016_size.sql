-- What millions of calls need.

-- A list of a project's calls, the latest first, is read from an index alone. What a session is moved to, its calls are.
alter table mem_tool_calls add column project_id bigint;
update mem_tool_calls t set project_id = s.project_id from mem_sessions s where s.id = t.session_id;
alter table mem_tool_calls alter column project_id set not null;
create index mem_tool_calls_project on mem_tool_calls (project_id, id);
create index mem_tool_calls_tool on mem_tool_calls (tool_name, id);

-- The latest ones of all projects; and the sessions in which something happened of late, which the service asks for.
create index mem_user_prompts_latest on mem_user_prompts (occurred_at);
create index mem_sessions_latest on mem_sessions (last_event_at);

-- A call's end is written over its beginning. By a share of the table, its dead rows would be cleared every 20 million.
alter table mem_tool_calls set (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.05,
    autovacuum_analyze_scale_factor = 0.02);
alter table mem_sessions set (autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05);
