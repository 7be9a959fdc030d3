from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import psycopg
import pytest

from agent_memory.database import Connection, server
from agent_memory.journal import store as journal
from agent_memory.observations import queue


@pytest.fixture
def other(database_url: str) -> Iterator[Connection]:
    """A second worker's connection."""
    with server.connect(database_url) as connection:
        yield connection


@pytest.fixture
def session(conn: Connection) -> str:
    project = journal.insert_project(conn, "path:/shop", "shop", "/shop")
    now = datetime.now(UTC)
    journal.save_sessions(
        conn,
        [journal.SessionRow(id="s", project_id=project, agent="claude", started_at=now, last_event_at=now)],
    )
    conn.commit()
    return "s"


def enqueue(conn: Connection, *prompts: str) -> None:
    journal.enqueue_turns(conn, [("s", prompt) for prompt in prompts])
    conn.commit()


def claim(conn: Connection, limit: int = 10, lease_s: float = queue.LEASE_S) -> list[queue.Claimed]:
    claimed = queue.claim(conn, limit, lease_s=lease_s)
    conn.commit()
    return claimed


def make_due(conn: Connection) -> None:
    """Let the time pass that a row waits for its next attempt."""
    conn.execute("update mem_observation_queue set ready_at = now() - interval '1 second'")
    conn.commit()


def test_two_workers_never_get_the_same_turn(conn: Connection, other: Connection, session: str) -> None:
    enqueue(conn, *map(str, range(10)))
    mine = queue.claim(conn, 6)  # not committed: its locks are held
    theirs = queue.claim(other, 6)
    assert len(mine) == 6
    assert len(theirs) == 4
    conn.commit()
    other.commit()
    assert not {row.id for row in mine} & {row.id for row in theirs}
    assert claim(conn) == []


def test_a_lease_that_ran_out_is_free_again(conn: Connection, other: Connection, session: str) -> None:
    enqueue(conn, "a")
    dead = claim(conn, lease_s=0)
    assert claim(other) == dead


def test_a_finished_turn_is_gone(conn: Connection, session: str) -> None:
    enqueue(conn, "a")
    queue.done(conn, claim(conn))
    assert queue.counts(conn)["pending"] == 0


def test_a_turn_that_got_an_event_during_the_work_is_built_again(
    conn: Connection, other: Connection, session: str
) -> None:
    enqueue(conn, "a")
    claimed = claim(conn)
    enqueue(other, "a")
    assert claim(other) == []  # still leased
    queue.done(conn, claimed)
    conn.commit()
    (again,) = claim(other)
    assert again.version == claimed[0].version + 1


def test_the_latest_turn_comes_first(conn: Connection, session: str) -> None:
    enqueue(conn, "old")
    enqueue(conn, "new")
    assert [row.prompt_id for row in claim(conn, 1)] == ["new"]


def test_a_failed_turn_waits_longer_each_time_and_dies_at_last(conn: Connection, session: str) -> None:
    enqueue(conn, "a")
    waits = []
    for attempt in range(1, queue.MOST_ATTEMPTS + 1):
        (row,) = claim(conn)
        queue.failed(conn, row, "ValueError: no")
        stored = conn.execute(
            "select attempts, error, extract(epoch from ready_at - clock_timestamp())::float8 as wait"
            " from mem_observation_queue"
        ).fetchone()
        assert stored is not None
        assert (stored["attempts"], stored["error"]) == (attempt, "ValueError: no")
        waits.append(stored["wait"])
        assert claim(conn) == []
        make_due(conn)
    assert waits == pytest.approx([queue.FIRST_WAIT_S * 2**n for n in range(queue.MOST_ATTEMPTS)], abs=0.5)
    assert claim(conn) == []
    assert {name: queue.counts(conn)[name] for name in ("pending", "failed")} == {"pending": 0, "failed": 1}


def test_a_new_event_brings_a_dead_turn_back(conn: Connection, session: str) -> None:
    enqueue(conn, "a")
    for _ in range(queue.MOST_ATTEMPTS):
        queue.failed(conn, claim(conn)[0], "no")
        make_due(conn)
    enqueue(conn, "a")
    assert len(claim(conn)) == 1
    assert queue.counts(conn)["failed"] == 0


def test_a_failure_does_not_count_against_an_event_that_came_meanwhile(
    conn: Connection, other: Connection, session: str
) -> None:
    enqueue(conn, "a")
    (row,) = claim(conn)
    enqueue(other, "a")
    queue.failed(conn, row, "no")
    conn.commit()
    assert len(claim(other)) == 1
    assert other.execute("select attempts, error from mem_observation_queue").fetchone() == {
        "attempts": 0,
        "error": None,
    }


def test_health_sees_how_long_the_oldest_waits(conn: Connection, session: str) -> None:
    assert queue.counts(conn) == {"pending": 0, "failed": 0, "oldest_s": 0.0, "unembedded": 0}
    enqueue(conn, "a", "b")
    conn.execute(
        "update mem_observation_queue set enqueued_at = now() - interval '90 seconds' where prompt_id = 'a'"
    )
    counts = queue.counts(conn)
    assert counts["pending"] == 2
    assert 90 <= counts["oldest_s"] < 100


def test_a_busy_turn_does_not_look_stuck(conn: Connection, other: Connection, session: str) -> None:
    """A turn that gets events for hours is built again and again, under one row of the queue."""
    enqueue(conn, "a")
    conn.execute("update mem_observation_queue set enqueued_at = now() - interval '1 hour'")
    conn.commit()
    claimed = claim(conn)
    enqueue(other, "a")
    queue.done(conn, claimed)
    assert queue.counts(conn)["oldest_s"] < 10


def test_enqueueing_wakes_whoever_listens(conn: Connection, database_url: str, session: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as listening:
        listening.execute("listen agent_memory_queue")
        enqueue(conn, "a")
        assert [n.channel for n in listening.notifies(timeout=10, stop_after=1)] == ["agent_memory_queue"]
