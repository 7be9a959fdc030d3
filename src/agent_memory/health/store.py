"""The SQL of looking at the whole: what is missing, and letting it be made."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from agent_memory.database import Connection

MOST_TURNS = 500


def times(conn: Connection) -> dict[str, Any]:
    """`now`, when the tables were made (`since`), and the time of the newest event (`newest`)."""
    row = conn.execute(
        "select clock_timestamp() as now, (select min(applied_at) from mem_schema_migrations) as since,"
        " (select max(last_event_at) from mem_sessions) as newest"
    ).fetchone()
    assert row is not None
    return row


def sizes(conn: Connection) -> list[dict[str, Any]]:
    """Our tables, the largest first: name, rows (about how many; null: nobody has looked yet), bytes (with indexes and
    long values), indexes (bytes of those)."""
    return conn.execute(
        """
        select c.relname as name, case when c.reltuples >= 0 then c.reltuples::bigint end as rows,
            pg_total_relation_size(c.oid) as bytes, pg_indexes_size(c.oid) as indexes
        from pg_class c
        where c.relkind = 'r' and c.relname like 'mem\\_%' and c.relnamespace = current_schema()::regnamespace
        order by 3 desc, 1
        """
    ).fetchall()


def turns_without_observation(conn: Connection, before: datetime) -> list[tuple[str, str]]:
    """The newest (session, prompt) that a person began before this time, of which nothing was made and nothing waits.
    Many of them have nothing worth it."""
    rows = conn.execute(
        """
        select p.session_id, p.id from mem_user_prompts p
        where p.kind = 'user' and p.id not like '%%/%%' and p.occurred_at < %s
            and not exists (select from mem_observations o where o.session_id = p.session_id
                and o.external_id = 'turn/' || p.session_id || '/' || p.id)
            and not exists (select from mem_observation_queue q where q.session_id = p.session_id
                and q.prompt_id = p.id)
        order by p.occurred_at desc limit %s
        """,
        (before, MOST_TURNS),
    )
    return [(row["session_id"], row["id"]) for row in rows]


def observations_without_chunks(conn: Connection) -> list[int]:
    rows = conn.execute(
        "select id from mem_observations o where not exists"
        " (select from mem_observation_chunks c where c.observation_id = o.id) order by id"
    )
    return [row["id"] for row in rows]


def chunks_without_vector(conn: Connection) -> int:
    """How many have none, of whatever model, and do not wait for one."""
    row = conn.execute(
        """
        select count(*) as n from mem_observation_chunks c
        where not exists (select from mem_chunk_vectors v where v.chunk_id = c.id)
            and not exists (select from mem_embedding_queue q where q.chunk_id = c.id)
        """
    ).fetchone()
    assert row is not None
    return int(row["n"])


def embed_missing(conn: Connection) -> int:
    """Let the chunks without a vector wait for one. How many."""
    return conn.execute(
        "insert into mem_embedding_queue (chunk_id) select c.id from mem_observation_chunks c where not exists"
        " (select from mem_chunk_vectors v where v.chunk_id = c.id) on conflict do nothing"
    ).rowcount


def vector_versions(conn: Connection) -> dict[str, Any]:
    """pgvector's version in this database (`used`) and on this server (`installed`)."""
    row = conn.execute(
        "select installed_version as used, default_version as installed from pg_available_extensions"
        " where name = 'vector'"
    ).fetchone()
    return row or {"used": None, "installed": None}


def stale_runs(conn: Connection) -> int:
    """Training runs that learned from what was forgotten since, and were not retracted."""
    row = conn.execute(
        "select count(*) as n from mem_training_runs r join mem_data_sets d on d.id = r.data_set_id"
        " where d.stale_since is not null and r.retracted_at is null"
    ).fetchone()
    assert row is not None
    return int(row["n"])


def update_vector(conn: Connection) -> None:
    """Bring pgvector in this database to the version that the server has."""
    conn.execute("alter extension vector update")


def retry_failed(conn: Connection) -> int:
    """Let the turns that were given up be tried again. How many."""
    return conn.execute(
        "update mem_observation_queue set failed_at = null, attempts = 0, error = null, leased_until = null,"
        " enqueued_at = clock_timestamp(), ready_at = clock_timestamp() where failed_at is not null"
    ).rowcount
