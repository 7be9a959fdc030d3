"""The ledger against a real journal: what came of each firing, done again, rebuilt, and what it proposes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from agent_memory.database import Connection
from agent_memory.journal.event import Event, ToolCall
from agent_memory.journal.ingest import ingest
from agent_memory.lessons import gate, ledger, render, store
from agent_memory.lessons.ledger import Record, proposal
from agent_memory.lessons.lesson import Action, Draft, Lesson
from agent_memory.lessons.store import Firing
from agent_memory.lessons.trigger import Trigger
from agent_memory.settings import Settings

SETTINGS = Settings()
START = datetime.now(UTC) - timedelta(minutes=10)
FORCED, LEASED = "git push --force", "git push --force-with-lease"


@pytest.fixture
def lesson(conn: Connection) -> Lesson:
    trigger = Trigger(tools=("Bash",), pattern=r"git push.*--force(?:\s|$)", kind="regex")
    draft = Draft(rule="Use --force-with-lease.", trigger=trigger, project_id=None, made_by="user")
    return gate.create(conn, draft, SETTINGS, active=True).lesson


def journal(conn: Connection, *calls: tuple[str, bool], session: str = "s1", first: int = 0) -> None:
    """Calls of a session, one a second, with the ids t0, t1, …"""
    events = [
        Event(
            agent="claude",
            session_id=session,
            occurred_at=START + timedelta(seconds=number),
            prompt_id="p1",
            cwd="/home/dev/shop",
            body=ToolCall(
                tool_use_id=f"t{number}",
                name="Bash",
                input={"command": command},
                success=success,
                error=None if success else "failed",
            ),
        )
        for number, (command, success) in enumerate(calls, first)
    ]
    ingest(conn, events, SETTINGS)


def fire(
    conn: Connection,
    lesson: Lesson,
    call: str = "t0",
    *,
    action: Action = "warn",
    session: str = "s1",
    **more: Any,
) -> None:
    firing = Firing(
        lesson_id=lesson.id,
        project="path:/home/dev/shop",
        session_id=session,
        prompt_id="p1",
        agent_id=None,
        tool_use_id=call,
        tool_name="Bash",
        phase="before",
        action=action,
        **more,
    )
    store.record(conn, [firing])


def outcomes(conn: Connection) -> list[tuple[str | None, int]]:
    rows = conn.execute("select outcome, cardinality(outcome_calls) as n from mem_lesson_events order by id")
    return [(row["outcome"], row["n"]) for row in rows]


def test_what_came_of_a_firing_follows_the_journal(conn: Connection, lesson: Lesson) -> None:
    fire(conn, lesson)
    assert ledger.settle(conn) == 1
    assert outcomes(conn) == [("unknown", 0)], "the journal has not heard of the call yet"
    journal(conn, (FORCED, False))
    ledger.settle(conn)
    assert outcomes(conn) == [("unknown", 1)]
    journal(conn, (LEASED, True), first=1)
    ledger.settle(conn)
    assert outcomes(conn) == [("prevented", 2)]
    journal(conn, (FORCED, False), first=2)
    ledger.settle(conn)
    assert outcomes(conn) == [("heeded", 2)], "the failure came back"


def test_done_again_it_changes_nothing_and_rebuilt_it_is_the_same(conn: Connection, lesson: Lesson) -> None:
    journal(conn, (FORCED, False), (LEASED, True))
    fire(conn, lesson)
    assert ledger.settle(conn) == 1
    assert ledger.settle(conn) == 0
    conn.execute("update mem_lesson_events set outcome = 'ignored', fired_at = now() - interval '9 days'")
    assert ledger.settle(conn) == 0, "what is old is settled"
    assert ledger.settle(conn, everything=True) == 1
    assert outcomes(conn) == [("prevented", 2)]


def test_another_session_says_nothing_of_it(conn: Connection, lesson: Lesson) -> None:
    journal(conn, (FORCED, False))
    journal(conn, ("ls", True), (LEASED, True), session="s2")
    fire(conn, lesson)
    ledger.settle(conn)
    assert outcomes(conn) == [("unknown", 1)]


def test_the_list_counts_and_a_new_trigger_counts_anew(conn: Connection, lesson: Lesson) -> None:
    journal(conn, (FORCED, False), (LEASED, True))
    journal(conn, (FORCED, True), session="s2")
    fire(conn, lesson)
    fire(conn, lesson, session="s2")
    fire(conn, lesson, session="s3")
    ledger.settle(conn)
    counted = render.as_dict(lesson, store.records(conn)[lesson.id])
    shown = {name: counted[name] for name in ("fired", "heeded", "prevented", "ignored", "false")}
    assert shown == {"fired": 3, "heeded": 1, "prevented": 1, "ignored": 0, "false": 1}
    conn.commit()
    gate.change(conn, lesson.id, SETTINGS, trigger=Trigger(tools=("Bash",), pattern="git push"))
    assert lesson.id not in store.records(conn)


@pytest.mark.parametrize(
    ("outcomes", "said"),
    [
        ({"ignored": 4, "unknown": 50}, None),
        ({"ignored": 4, "false": 1}, "Retire it?"),
        ({"prevented": 3, "false": 3}, "narrow its trigger"),
        ({"prevented": 2, "heeded": 2, "ignored": 1}, "Let it ask"),
        ({"prevented": 2, "heeded": 1, "ignored": 2}, None),
    ],
)
def test_a_record_proposes_only_on_enough_evidence(
    lesson: Lesson, outcomes: dict[str, int], said: str | None
) -> None:
    proposed = proposal(lesson, Record(sum(outcomes.values()), outcomes))
    assert (said in proposed) if said and proposed else (said is None and proposed is None)
