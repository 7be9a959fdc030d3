"""The SQL of the data set: sessions out of the journal, and the register of what was published."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from agent_memory.database import Connection
from agent_memory.finetune.trajectory import Called, Session
from agent_memory.observations.turns import Message, Prompt


def snapshot(conn: Connection) -> None:
    """Begin a transaction that sees the journal as it is now, however long it reads."""
    conn.commit()
    conn.execute("set transaction isolation level repeatable read, read only")


def sessions(
    conn: Connection, *, project_id: int | None, agent: str | None, since: datetime | None
) -> Iterator[Session]:
    """The sessions of which something is wanted, the oldest first, each whole but for what was before `since`. One
    at a time is in memory."""
    with conn.cursor(name="finetune_sessions") as cursor:
        cursor.itersize = 200
        cursor.execute(
            """
            select id, project_id, agent, cwd from mem_sessions
            where (%(project)s::bigint is null or project_id = %(project)s)
                and (%(agent)s::text is null or agent = %(agent)s)
                and (%(since)s::timestamptz is null or last_event_at >= %(since)s)
            order by started_at, id
            """,
            {"project": project_id, "agent": agent, "since": since},
        )
        for row in cursor:
            yield _session(conn, row, since)


def _session(conn: Connection, row: dict[str, Any], since: datetime | None) -> Session:
    values = {"session": row["id"], "since": since}
    mine = "session_id = %(session)s and (%(since)s::timestamptz is null or occurred_at >= %(since)s)"
    prompts = conn.execute(
        "select id, kind, text, occurred_at, agent_id, end_error from mem_user_prompts"
        f" where {mine} order by occurred_at, id",
        values,
    )
    messages = conn.execute(
        "select id, kind, text, occurred_at, agent_id, agent_type from mem_assistant_messages"
        f" where {mine} order by occurred_at, id",
        values,
    )
    calls = conn.execute(
        "select id, tool_name as tool, tool_input as input, occurred_at, success, output, output_chars, error,"
        f" duration_ms, agent_id, agent_type from mem_tool_calls where {mine} order by occurred_at, id",
        values,
    )
    return Session(
        **row,
        prompts=[Prompt(**one) for one in prompts],
        messages=[Message(**one) for one in messages],
        calls=[Called(**one) for one in calls],
    )


def folders(conn: Connection) -> Iterator[str]:
    """Paths that tell whose home folders there are."""
    with conn.cursor(name="finetune_folders") as cursor:
        cursor.execute(
            "select distinct path from (select substring(cwd for 80) as path from mem_sessions"
            " union all select substring(transcript_path for 80) from mem_sessions) p where path is not null"
        )
        for row in cursor:
            yield row["path"]


def tombstones(conn: Connection) -> dict[str, int]:
    """How many there are, and the last one's number, 0 where there is none."""
    row = conn.execute(
        "select count(*) as count, coalesce(max(id), 0) as last from mem_tombstones"
    ).fetchone()
    assert row is not None
    return {"count": int(row["count"]), "last": int(row["last"])}


def register(
    conn: Connection,
    *,
    path: str,
    manifest_sha256: str,
    rows: int,
    tombstone_id: int,
    sessions: Iterable[str],
) -> int:
    row = conn.execute(
        "insert into mem_data_sets (path, manifest_sha256, rows, tombstone_id) values (%s, %s, %s, %s) returning id",
        (path, manifest_sha256, rows, tombstone_id),
    ).fetchone()
    assert row is not None
    with conn.cursor() as cursor:
        cursor.executemany(
            "insert into mem_data_set_sessions (data_set_id, session_id) values (%s, %s)",
            [(row["id"], session) for session in sessions],
        )
    return int(row["id"])


def data_set(conn: Connection, manifest_sha256: str) -> dict[str, Any] | None:
    """What is known of a published data set: id, made_at, path, rows, tombstone_id, stale_since, stale_by."""
    return conn.execute(
        "select * from mem_data_sets where manifest_sha256 = %s order by id desc limit 1", (manifest_sha256,)
    ).fetchone()


def data_sets(conn: Connection) -> list[dict[str, Any]]:
    """The latest first."""
    return conn.execute("select * from mem_data_sets order by id desc").fetchall()
