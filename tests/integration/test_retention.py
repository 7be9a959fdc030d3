"""Retention: old sessions go, by age and by size; notes stay; an old file brings nothing back."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.integration.test_drain import payload, spooled

from agent_memory import settings
from agent_memory.capture.drain import drain
from agent_memory.database import Connection
from agent_memory.errors import AgentMemoryError
from agent_memory.forgetting import retention
from agent_memory.forgetting.retention import Policy
from agent_memory.journal import projects
from agent_memory.observations import notes, worker

NOW = datetime.now(UTC)
SHOP = "/home/dev/shop"


def session(conn: Connection, name: str, *, days: float, kilobytes: int = 1, cwd: str = SHOP) -> None:
    """A session of one turn, so many days ago."""
    at = int((NOW - timedelta(days=days)).timestamp() * 1e9)
    told = {"session_id": name, "cwd": cwd, "prompt_id": f"{name}-p"}
    text = json.dumps([f"{name}-{n:x}-{n * 7919:x}" for n in range(kilobytes * 60)])
    spooled(payload("UserPromptSubmit", **told, prompt=f"Look at {name}: {text}"), at=at)
    spooled(payload("Stop", **told, last_assistant_message=f"Looked at {name}."), at=at + 1)
    drain(conn, settings.load())
    while worker.build_due(conn):
        pass


def kept(conn: Connection) -> list[str]:
    return [
        r["session_id"] for r in conn.execute("select session_id from mem_user_prompts order by occurred_at")
    ]


def run(conn: Connection) -> retention.Run:
    done = retention.run(conn, settings.load())
    conn.commit()
    return done


def test_nothing_goes_until_it_is_set(conn: Connection) -> None:
    session(conn, "old", days=3000)
    assert retention.plan(conn, settings.load()) == []
    assert not retention.is_due(conn, settings.load())
    assert run(conn).counts == {}
    assert kept(conn) == ["old"]


def test_old_sessions_go_and_their_files_bring_nothing_back(conn: Connection) -> None:
    for name, days in (("old", 400.0), ("new", 3.0)):
        session(conn, name, days=days)
    project = projects.ensure_argument(conn, SHOP)
    note = notes.note(
        "We bake on Fridays.",
        settings.load(),
        project_id=project,
        session_id="old",
        occurred_at=NOW - timedelta(days=400),
    )
    (number,) = notes.save(conn, [note])
    retention.change(conn, Policy(project_id=None, days=365))
    (due,) = retention.plan(conn, settings.load())
    assert (list(due.sessions), list(due.notes)) == (["old"], [])
    done = run(conn)
    assert done.bytes == due.bytes > 0
    assert done.counts["mem_sessions"] == 1
    assert kept(conn) == ["new"]
    observations = conn.execute("select id, kind, session_id from mem_observations order by id").fetchall()
    assert [row["kind"] for row in observations] == ["turn", "note"]
    assert observations[1] == {"id": number, "kind": "note", "session_id": "old"}
    session(conn, "old", days=400)
    assert kept(conn) == ["new"], "read again, it stays away"
    told: dict[str, Any] = {"session_id": "old", "cwd": SHOP, "prompt_id": "resumed"}
    spooled(payload("UserPromptSubmit", **told, prompt="Go on."))
    drain(conn, settings.load())
    assert kept(conn) == ["new", "old"], "what happens in it anew is recorded"
    assert retention.plan(conn, settings.load()) == []


def test_the_oldest_go_while_a_project_is_too_large_and_todays_never_do(conn: Connection) -> None:
    for name, days in (("first", 30.0), ("second", 20.0), ("third", 10.0), ("today", 0.1)):
        session(conn, name, days=days, kilobytes=900)
    session(conn, "elsewhere", days=40, cwd="/home/dev/blog")
    retention.change(conn, Policy(project_id=projects.ensure_argument(conn, SHOP), megabytes=1))
    (due,) = retention.plan(conn, settings.load())
    assert due.kept_bytes is not None
    size = due.bytes + due.kept_bytes
    assert size > 1 << 20
    assert due.sessions[0] == "first"
    assert due.kept_bytes <= 1 << 20 or list(due.sessions) == ["first", "second", "third"]
    run(conn)
    assert {"elsewhere", "today"} <= set(kept(conn))
    assert "first" not in kept(conn)
    assert retention.plan(conn, settings.load()) == []


def test_notes_go_only_where_that_is_said(conn: Connection) -> None:
    project = projects.ensure_argument(conn, SHOP)
    old = notes.note("We bake.", settings.load(), project_id=project, occurred_at=NOW - timedelta(days=99))
    notes.save(conn, [old])
    with pytest.raises(AgentMemoryError, match="by their age"):
        retention.change(conn, Policy(project_id=None, megabytes=5, notes=True))
    retention.change(conn, Policy(project_id=None, days=30))
    assert run(conn).counts == {}
    retention.change(conn, Policy(project_id=None, days=30, notes=True))
    assert run(conn).counts["mem_observations"] == 1


def test_a_projects_own_setting_comes_before_that_for_all_and_settings_come_last(
    conn: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    session(conn, "shop", days=100)
    session(conn, "blog", days=100, cwd="/home/dev/blog")
    monkeypatch.setenv("AGENT_MEMORY_RETENTION_DAYS", "50")
    assert len(retention.plan(conn, settings.load())) == 2
    retention.change(conn, Policy(project_id=projects.ensure_argument(conn, SHOP)))
    (due,) = retention.plan(conn, settings.load())
    assert due.sessions == ["blog"]
    assert retention.is_due(conn, settings.load())
    run(conn)
    assert not retention.is_due(conn, settings.load())
    report = retention.report(conn, settings.load())
    assert (report["policies"], report["last_run"]["counts"]["mem_sessions"]) == (2, 1)
