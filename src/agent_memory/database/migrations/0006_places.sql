-- An observation's place in its session is read from the index alone.

drop index mem_observations_session;
create index mem_observations_session on mem_observations (session_id, occurred_at, id);
