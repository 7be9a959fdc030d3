"""The turns that wait to be made into observations (`mem_observation_queue`): claimed under a lease, done
or tried again later.

A row is one turn, however many events it got. Its version tells whether more came while a worker was at it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agent_memory.database import Connection

LEASE_S = 30.0
"""A worker that has not finished by then is taken for dead, and its rows are free again."""
MOST_ATTEMPTS = 6
FIRST_WAIT_S = 2.0
"""Before the second attempt; each further wait is twice as long. The last one comes about a minute after
the first."""


@dataclass(frozen=True, slots=True)
class Claimed:
    id: int
    session_id: str
    prompt_id: str
    version: int


def claim(conn: Connection, limit: int, *, lease_s: float = LEASE_S) -> list[Claimed]:
    """Take up to `limit` turns that are due, the latest first: what happens now must be recallable in a
    second, also while an import of thousands is being worked off. Commit at once, so that the others see
    the lease."""
    rows = conn.execute(
        """
        update mem_observation_queue q set leased_until = clock_timestamp() + make_interval(secs => %s)
        from (
            select id from mem_observation_queue
            where failed_at is null and ready_at <= clock_timestamp()
                and (leased_until is null or leased_until <= clock_timestamp())
            order by ready_at desc limit %s for update skip locked
        ) free
        where q.id = free.id returning q.id, q.session_id, q.prompt_id, q.version
        """,
        (lease_s, limit),
    )
    return [Claimed(row["id"], row["session_id"], row["prompt_id"], row["version"]) for row in rows]


def done(conn: Connection, rows: Sequence[Claimed]) -> None:
    """Remove finished turns. One that got a new event meanwhile stays, free to be claimed again."""
    if not rows:
        return
    ids, versions = [row.id for row in rows], [row.version for row in rows]
    conn.execute(
        "delete from mem_observation_queue q using unnest(%s::bigint[], %s::bigint[]) as seen (id, version)"
        " where q.id = seen.id and q.version = seen.version",
        (ids, versions),
    )
    conn.execute(
        "update mem_observation_queue set leased_until = null, enqueued_at = ready_at where id = any(%s)",
        (ids,),
    )


def failed(conn: Connection, row: Claimed, error: str) -> None:
    """Put a turn back with its error, for a later attempt; after the last one it stays as dead until its
    next event. A new event meanwhile counts as a fresh start."""
    conn.execute(
        """
        update mem_observation_queue set leased_until = null,
            attempts = case when version = %(version)s then attempts + 1 else attempts end,
            error = case when version = %(version)s then %(error)s else error end,
            ready_at = case when version = %(version)s
                then clock_timestamp() + make_interval(secs => %(wait)s * 2 ^ attempts) else ready_at end,
            failed_at = case when version = %(version)s and attempts + 1 >= %(most)s
                then clock_timestamp() end
        where id = %(id)s
        """,
        {
            "id": row.id,
            "version": row.version,
            "error": error[:2_000],
            "wait": FIRST_WAIT_S,
            "most": MOST_ATTEMPTS,
        },
    )


def counts(conn: Connection) -> dict[str, int | float]:
    """`pending` and `failed` turns, how long the oldest pending one waits already (`oldest_s`, seconds),
    and how many chunks still wait for their vectors (`unembedded`)."""
    row = conn.execute(
        """
        select count(*) filter (where failed_at is null) as pending,
            count(*) filter (where failed_at is not null) as failed,
            coalesce(extract(epoch from clock_timestamp() - min(enqueued_at) filter (where failed_at is null)),
                0)::float8 as oldest_s,
            (select count(*) from mem_embedding_queue) as unembedded
        from mem_observation_queue
        """
    ).fetchone()
    assert row is not None
    return dict(row)
