-- Every minute the service asks whether calls failed since lessons were looked for last.
create index mem_tool_calls_failed on mem_tool_calls (id, project_id) where success is false;
