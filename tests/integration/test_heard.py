"""The alarm that capture is broken: it comes when an agent works and its hooks tell nothing, and else never."""

from __future__ import annotations

import contextlib
import json
import os
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import typer
from tests.integration.test_drain import payload, spooled

from agent_memory import paths, settings
from agent_memory.agents import settings_file
from agent_memory.agents.claude_code import connect
from agent_memory.capture import heard
from agent_memory.capture.backfill import backfill, find
from agent_memory.capture.drain import drain
from agent_memory.cli import service
from agent_memory.database import Connection
from agent_memory.service import health
from agent_memory.service.state import State

NOW = datetime.now(UTC)


@pytest.fixture(autouse=True)
def connected(home: Path) -> None:
    """Claude Code was connected two hours ago."""
    settings_file.write(connect.changes("user", home))
    heard.connected("claude", ago(120))


def ago(minutes: float) -> datetime:
    return NOW - timedelta(minutes=minutes)


def session(began: datetime, went_on: datetime, name: str = "session") -> Path:
    """A transcript with a prompt at each of these times."""
    file = Path.home() / ".claude" / "projects" / "-home-dev-shop" / f"{name}.jsonl"
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = [
        {
            "type": "user", "uuid": f"{name}{number}", "parentUuid": None, "sessionId": name, "cwd": "/home/dev/shop",
            "timestamp": at.isoformat().replace("+00:00", "Z"), "promptId": f"p{number}",
            "message": {"role": "user", "content": "Mend the login."},
        }
        for number, at in enumerate((began, went_on))
    ]  # fmt: skip
    file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    os.utime(file, (went_on.timestamp(), went_on.timestamp()))
    return file


def test_a_session_of_which_the_hooks_told_nothing_raises_the_alarm(state: State) -> None:
    assert heard.deaf() == []
    session(began=ago(60), went_on=ago(5))
    assert heard.deaf() == ["claude"]
    state.notes["deaf"] = heard.deaf()
    report = health.report(state)
    assert report["status"] == "degraded"
    assert any("claude" in problem and "hooks" in problem for problem in report["problems"])
    state.notes["deaf"] = []
    assert health.report(state)["status"] == "ok"


def test_hooks_that_stop_in_the_middle_of_a_session_raise_it_too() -> None:
    heard.note("claude", ago(60))
    session(began=ago(90), went_on=ago(5))
    assert heard.deaf() == ["claude"]


def test_a_session_that_began_before_connecting_raises_none() -> None:
    session(began=ago(180), went_on=ago(1))
    assert heard.deaf() == []


def test_a_session_that_the_hooks_told_of_raises_none(conn: Connection) -> None:
    session(began=ago(60), went_on=ago(1))
    assert heard.deaf() == ["claude"]
    spooled(payload("UserPromptSubmit", session_id="session", prompt="Mend the login."))
    drain(conn, settings.load())
    assert heard.deaf() == []


def test_an_import_of_old_sessions_raises_none_and_silences_none(conn: Connection) -> None:
    old = session(began=ago(60 * 24 * 30), went_on=ago(60 * 24 * 29), name="old")
    os.utime(old)
    backfill(conn, find([old]), settings.load(), lambda _: None)
    assert heard.deaf() == []
    new = session(began=ago(60), went_on=ago(5), name="new")
    backfill(conn, find([new]), settings.load(), lambda _: None)
    assert heard.deaf() == ["claude"]


def test_an_agent_that_was_never_connected_raises_none() -> None:
    heard.disconnected("claude")
    session(began=ago(60), went_on=ago(5))
    assert heard.deaf() == []


def test_hooks_that_were_taken_out_are_not_missed(home: Path) -> None:
    session(began=ago(60), went_on=ago(5))
    settings_file.write(connect.changes("user", home, remove=True))
    assert heard.deaf() == []


def test_a_hook_that_is_a_little_late_raises_none() -> None:
    heard.note("claude", ago(9))
    session(began=ago(60), went_on=ago(0))
    assert heard.deaf() == []


@pytest.mark.parametrize("content", ["", "yesterday", "\0"])
def test_a_broken_note_raises_none(content: str) -> None:
    (paths.heard() / "claude").write_text(content, encoding="ascii")
    session(began=ago(60), went_on=ago(5))
    assert heard.deaf() == []


def test_status_tells_which_agents_are_recorded(capsys: pytest.CaptureFixture[str]) -> None:
    def told() -> str:
        with contextlib.suppress(typer.Exit):  # the service is down
            service.status()
        return capsys.readouterr().out

    assert re.search(r"^agents +claude, connected$", told(), re.MULTILINE)
    heard.note("claude", ago(60))
    assert re.search(r"^agents +claude, last heard 1 h ago$", told(), re.MULTILINE)
    heard.disconnected("claude")
    assert re.search(r"^agents +none heard yet \(agent-memory connect claude\)$", told(), re.MULTILINE)
