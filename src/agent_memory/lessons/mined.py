"""The SQL of mining's own: what becomes of its candidates, and how far the journal has been mined. Never commits."""

from __future__ import annotations

from datetime import timedelta

from agent_memory.database import Connection

LEASE_S = 600.0
"""Far more than one project takes, after each of which the lease is taken again."""


def widen(conn: Connection, number: int, rule: str) -> None:
    """Make a project's candidate one for every project."""
    conn.execute(
        "update mem_lessons set project_id = null, rule = %s where id = %s and status = 'candidate'",
        (rule, number),
    )


def drop_baseless(conn: Connection) -> int:
    """Delete the candidates of which a journal row is gone that they were made from: their words may be its words.
    What the other rows suggest is found again. How many there were."""
    return conn.execute(
        """
        delete from mem_lessons l where made_by = 'mining' and status = 'candidate' and not coalesce((
            select bool_and(c.id is not null) from jsonb_array_elements_text(l.evidence -> 'tool_calls') row (id)
            left join mem_tool_calls c on c.id = row.id::bigint
        ), false)
        """
    ).rowcount


def projects(conn: Connection) -> list[int]:
    """Those that have calls."""
    rows = conn.execute("select distinct project_id from mem_sessions order by project_id")
    return [int(row["project_id"]) for row in rows]


def due(conn: Connection, *, quiet: timedelta, at_least: timedelta) -> list[int]:
    """The projects in which calls failed since they were mined last; none while an agent works, unless the last time
    was `at_least` so long ago."""
    rows = conn.execute(
        """
        select distinct c.project_id from mem_mining m
        join mem_tool_calls c on c.id > m.mined_to and c.success is false
        where coalesce(m.mined_at, '-infinity') < now() - %(at_least)s
            or not exists (select from mem_sessions where last_event_at > now() - %(quiet)s)
        order by c.project_id
        """,
        {"quiet": quiet, "at_least": at_least},
    )
    return [int(row["project_id"]) for row in rows]


def latest_call(conn: Connection) -> int:
    row = conn.execute("select coalesce(max(id), 0) as latest from mem_tool_calls").fetchone()
    assert row is not None
    return int(row["latest"])


def lease(conn: Connection, *, again: bool = False) -> bool:
    """Be the one who mines, for `LEASE_S` from now; `again`: go on being it. False: another machine is at it."""
    return bool(
        conn.execute(
            "update mem_mining set leased_until = clock_timestamp() + make_interval(secs => %s)"
            " where %s or leased_until is null or leased_until < clock_timestamp()",
            (LEASE_S, again),
        ).rowcount
    )


def release(conn: Connection) -> None:
    conn.execute("update mem_mining set leased_until = null")


def set_mined(conn: Connection, mined_to: int) -> None:
    """All calls up to this one were mined, just now."""
    conn.execute(
        "update mem_mining set mined_to = greatest(mined_to, %s), mined_at = now(), leased_until = null",
        (mined_to,),
    )


def waiting(conn: Connection) -> int:
    """How many candidates wait for the user."""
    row = conn.execute("select count(*) as n from mem_lessons where status = 'candidate'").fetchone()
    assert row is not None
    return int(row["n"])
