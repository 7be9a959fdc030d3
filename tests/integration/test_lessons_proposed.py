"""Mining through the journal and the gate, on a real database."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from agent_memory.database import Connection
from agent_memory.forgetting import forget
from agent_memory.journal import projects
from agent_memory.journal.event import Event, ToolCall
from agent_memory.journal.ingest import ingest
from agent_memory.lessons import gate, mined, miner, moment, proposing, store
from agent_memory.lessons.lesson import Draft
from agent_memory.lessons.proposing import Report
from agent_memory.lessons.trigger import Trigger, matches
from agent_memory.settings import Settings

SETTINGS = Settings()
BEGAN = datetime(2026, 3, 2, 9, tzinfo=UTC)
NUMBERS = itertools.count()
MISSING = "ModuleNotFoundError: No module named 'yaml'"
VENV = [("pytest -q", MISSING), (".venv/bin/python -m pytest -q", None)]
TREE = [("tree src", "bash: tree: command not found"), ("find src", None)]


def record(conn: Connection, folder: str, session: str, made: Sequence[tuple[str, str | None]]) -> int:
    """A session's commands, each with how it failed. The project's id."""
    for command, error in made:
        number = next(NUMBERS)
        call = ToolCall(
            tool_use_id=f"toolu_{number}",
            name="Bash",
            input={"command": command},
            success=error is None,
            output="ok" if error is None else None,
            error=error,
        )
        at = BEGAN + timedelta(seconds=number)
        ingest(
            conn, [Event(agent="claude", session_id=session, occurred_at=at, body=call, cwd=folder)], SETTINGS
        )
    project = projects.resolve(conn, folder)
    assert project is not None
    return project


def propose(conn: Connection, *projects: int) -> Report:
    return proposing.propose(conn, SETTINGS, projects)


def rows(conn: Connection) -> list[dict[str, Any]]:
    return conn.execute("select *, xmin::text from mem_lessons order by id").fetchall()


def test_what_the_journal_suggests_becomes_a_candidate_with_its_evidence(conn: Connection) -> None:
    record(conn, "/srv/shop", "one", VENV)
    project = record(conn, "/srv/shop", "two", VENV)
    report = propose(conn, project)
    (lesson,) = report.made
    assert (lesson.status, lesson.made_by, lesson.project_id, lesson.action) == (
        "candidate",
        "mining",
        project,
        "warn",
    )
    assert "`.venv/bin/python -m pytest`" in lesson.rule
    assert matches(lesson.trigger, moment.call("before", "Bash", {"command": "pytest tests"}))
    failed = conn.execute("select id from mem_tool_calls order by id").fetchall()
    assert lesson.evidence["tool_calls"] == [row["id"] for row in failed]
    assert (lesson.evidence["failures"], lesson.evidence["sessions"]) == (2, 2)
    assert (lesson.estimate["right"], lesson.estimate["wrong"]) == (2, 0)


def test_evidence_holds_ids_and_no_texts(conn: Connection) -> None:
    record(conn, "/srv/shop", "one", VENV)
    (lesson,) = propose(conn, record(conn, "/srv/shop", "two", VENV)).made
    assert "pytest" not in str(lesson.evidence)
    assert "yaml" not in str(lesson.evidence)


def test_mining_again_changes_not_a_byte(conn: Connection) -> None:
    record(conn, "/srv/shop", "one", [*VENV, *TREE])
    project = record(conn, "/srv/shop", "two", [*VENV, *TREE])
    assert len(propose(conn, project).made) == 2
    conn.commit()
    before = rows(conn)
    again = propose(conn, project)
    conn.commit()
    assert again.made == []
    assert len(again.known) == 2
    assert rows(conn) == before  # xmin, too: nothing was even written


def test_new_evidence_changes_the_estimate_and_nothing_else(conn: Connection) -> None:
    record(conn, "/srv/shop", "one", VENV)
    project = record(conn, "/srv/shop", "two", VENV)
    propose(conn, project)
    (before,) = rows(conn)
    record(conn, "/srv/shop", "three", VENV)
    propose(conn, project)
    (after,) = rows(conn)
    changed = {name for name in after if after[name] != before[name]} - {"xmin"}
    assert changed <= {"evidence", "estimate"}
    assert after["evidence"]["failures"] == 3
    assert after["estimate"]["right"] == 3


def test_a_rejected_lesson_does_not_come_back_with_more_evidence_or_in_other_words(conn: Connection) -> None:
    record(conn, "/srv/shop", "one", VENV)
    project = record(conn, "/srv/shop", "two", VENV)
    (lesson,) = propose(conn, project).made
    gate.change(conn, lesson.id, SETTINGS, rule="Other words.", title="Another title")
    gate.change(conn, lesson.id, SETTINGS, status="rejected")
    before = rows(conn)
    record(conn, "/srv/shop", "three", VENV * 3)
    # The same failure, now with another program before it: the best trigger may be another one.
    record(
        conn,
        "/srv/shop",
        "four",
        [("cd a && pytest -x", MISSING), ("cd a && .venv/bin/python -m pytest -x", None)],
    )
    assert propose(conn, project).made == []
    assert rows(conn) == before


def test_a_retired_lesson_does_not_come_back_even_with_another_trigger(conn: Connection) -> None:
    record(conn, "/srv/shop", "one", VENV)
    project = record(conn, "/srv/shop", "two", VENV)
    (lesson,) = propose(conn, project).made
    gate.change(conn, lesson.id, SETTINGS, status="active")
    gate.change(conn, lesson.id, SETTINGS, trigger=Trigger(tools=("Bash",), pattern="pytest -q"))
    gate.change(conn, lesson.id, SETTINGS, status="retired")
    record(conn, "/srv/shop", "three", VENV)
    before = rows(conn)
    assert propose(conn, project).made == []
    assert rows(conn) == before


def test_a_failure_that_was_merged_into_a_rejected_lesson_does_not_come_back_alone(conn: Connection) -> None:
    other = [("pytest -q", "ModuleNotFoundError: No module named 'httpx'"), VENV[1]]
    record(conn, "/srv/shop", "one", [*VENV, *other])
    project = record(conn, "/srv/shop", "two", [*VENV, *other])
    (lesson,) = propose(conn, project).made
    assert len(lesson.evidence["origins"]) == 2
    gate.change(conn, lesson.id, SETTINGS, status="rejected")
    conn.execute("delete from mem_tool_calls where error = %s", (MISSING,))
    record(conn, "/srv/shop", "three", other)
    assert propose(conn, project).made == []


def test_a_lesson_that_speaks_already_needs_no_second(conn: Connection) -> None:
    record(conn, "/srv/shop", "one", VENV)
    project = record(conn, "/srv/shop", "two", VENV)
    own = Draft(
        rule="Use the virtual environment.",
        trigger=Trigger(tools=("Bash",), pattern=r"^pytest\b", kind="regex"),
        project_id=project,
        made_by="user",
    )
    gate.create(conn, own, SETTINGS, active=True)
    report = propose(conn, project)
    assert report.made == []
    assert [lesson.rule for lesson in report.known] == ["Use the virtual environment."]


def test_what_two_projects_have_in_common_is_one_lesson_for_all(conn: Connection) -> None:
    shop = record(conn, "/srv/shop", "one", TREE * 2)
    (lesson,) = propose(conn, shop).made
    assert lesson.project_id == shop
    blog = record(conn, "/srv/blog", "two", TREE * 2)
    propose(conn, blog)
    (only,) = store.listed(conn, every_project=True)
    assert only.id == lesson.id
    assert only.project_id is None
    conn.commit()
    before = rows(conn)
    propose(conn, shop, blog)
    assert rows(conn) == before


def test_what_the_user_decided_for_one_project_stays_there(conn: Connection) -> None:
    shop = record(conn, "/srv/shop", "one", TREE * 2)
    (lesson,) = propose(conn, shop).made
    gate.change(conn, lesson.id, SETTINGS, status="rejected")
    (other,) = propose(conn, record(conn, "/srv/blog", "two", TREE * 2)).made
    assert other.project_id != shop


def test_a_candidate_goes_with_a_row_that_it_was_made_from_and_the_others_suggest_it_again(
    conn: Connection,
) -> None:
    for name in ("one", "two", "three"):
        project = record(conn, "/srv/shop", name, VENV)
    (first,) = propose(conn, project).made
    conn.execute("delete from mem_tool_calls where session_id = 'two'")
    report = propose(conn, project)
    assert report.dropped == 1
    (again,) = report.made
    assert again.id != first.id
    assert again.evidence["session_ids"] == ["one", "three"]


def test_a_candidate_goes_with_the_last_row_that_it_was_made_from(conn: Connection) -> None:
    record(conn, "/srv/shop", "one", VENV)
    project = record(conn, "/srv/shop", "two", VENV)
    propose(conn, project)
    conn.execute("delete from mem_tool_calls")
    assert propose(conn, project).dropped == 1
    assert rows(conn) == []


def test_a_dry_run_writes_nothing(conn: Connection) -> None:
    record(conn, "/srv/shop", "one", VENV)
    project = record(conn, "/srv/shop", "two", VENV)
    report = proposing.propose(conn, SETTINGS, [project], dry_run=True)
    assert len(report.candidates) == 1
    assert rows(conn) == []


def test_projects_are_due_once_when_calls_failed_and_no_agent_works(conn: Connection) -> None:
    hour, day = timedelta(hours=1), timedelta(days=1)
    project = record(conn, "/srv/shop", "one", VENV)
    record(conn, "/srv/blog", "two", VENV[1:])
    assert mined.due(conn, quiet=hour, at_least=day) == [project]
    mined.set_mined(conn, mined.latest_call(conn))
    assert mined.due(conn, quiet=hour, at_least=day) == []
    record(conn, "/srv/shop", "three", VENV)
    assert mined.due(conn, quiet=hour, at_least=day) == [project]
    conn.execute("update mem_sessions set last_event_at = now()")
    assert mined.due(conn, quiet=hour, at_least=day) == []
    assert mined.due(conn, quiet=hour, at_least=-hour) == [project]


def test_a_candidate_goes_when_a_session_that_it_was_made_from_is_forgotten(conn: Connection) -> None:
    record(conn, "/srv/shop", "one", VENV)
    project = record(conn, "/srv/shop", "two", VENV)
    propose(conn, project)
    forget.forget(conn, forget.Wanted(session="two"), by="cli")
    assert rows(conn) == []
    assert propose(conn, project).made == []


def test_at_a_quiet_time_every_project_with_new_failures_is_mined_once(conn: Connection) -> None:
    record(conn, "/srv/shop", "one", VENV)
    record(conn, "/srv/shop", "two", VENV)
    record(conn, "/srv/blog", "three", TREE * 2)
    assert miner.run(conn, SETTINGS) == 2
    before = rows(conn)
    assert miner.due(conn) == []
    assert miner.run(conn, SETTINGS) == 0
    assert rows(conn) == before
