"""Lessons speak to a hook through the real API: to whom, how often, how strictly, and that it is written down."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg_pool
import pytest
from starlette.testclient import TestClient
from tests.e2e.installation import until
from typer.testing import CliRunner

from agent_memory import paths
from agent_memory.cli.main import app as command_line
from agent_memory.database import Connection, server
from agent_memory.journal import projects
from agent_memory.journal.fence import strip
from agent_memory.lessons import gate, store
from agent_memory.lessons.active import Active
from agent_memory.lessons.lesson import Draft, Lesson
from agent_memory.lessons.trigger import Trigger
from agent_memory.service import lessons
from agent_memory.service.asks import Board
from agent_memory.service.state import State
from agent_memory.settings import Settings

SETTINGS = Settings()
SHOP, OTHER = "/home/dev/shop", "/home/dev/other"

Teach = Callable[..., Lesson]
Say = Callable[..., dict[str, Any]]


@pytest.fixture
def teach(conn: Connection, state: State) -> Teach:
    """Make an active lesson, and let the service hold it."""

    def made(rule: str, *, project: str | None = SHOP, **more: Any) -> Lesson:
        project_id = projects.ensure(conn, projects.identify(project)) if project else None
        trigger = more.pop("trigger", Trigger(tools=("Bash",), pattern="git push --force"))
        draft = Draft(rule=rule, trigger=trigger, project_id=project_id, made_by="user", **more)
        lesson = gate.create(conn, draft, SETTINGS, active=True, may_deny=True).lesson
        conn.commit()
        state.lessons.active = Active(store.active(conn))
        return lesson

    return made


@pytest.fixture
def say(api: TestClient) -> Say:
    """What the service answers to a hook."""

    def answer(event: str = "PreToolUse", command: str = "git push --force", **fields: Any) -> dict[str, Any]:
        payload = {
            "session_id": "s1",
            "prompt_id": "p1",
            "cwd": SHOP,
            "hook_event_name": event,
            "tool_name": "Bash",
            "tool_use_id": "t1",
            "tool_input": {"command": command},
        }
        response = api.post("/api/hook", json=payload | fields)
        assert response.status_code == 200
        return dict(response.json()) if response.content else {}

    return answer


def context(said: dict[str, Any]) -> str:
    return str(said.get("hookSpecificOutput", {}).get("additionalContext", ""))


def events(conn: Connection) -> list[dict[str, Any]]:
    conn.rollback()
    return list(conn.execute("select * from mem_lesson_events order by id"))


def test_a_lesson_speaks_to_the_model_and_to_the_user_and_is_recorded(
    conn: Connection, teach: Teach, say: Say
) -> None:
    lesson = teach("Use --force-with-lease.")
    said = say()
    assert "Use --force-with-lease." in context(said)
    assert "rules that the user approved" in context(said)
    assert strip(context(said)) == "", "the recorder knows its own words"
    assert said["systemMessage"] == f"agent-memory: lesson {lesson.id} (warning): Use --force-with-lease."
    assert "permissionDecision" not in said["hookSpecificOutput"]
    (event,) = events(conn)
    assert event["lesson_id"] == lesson.id
    assert (event["session_id"], event["prompt_id"], event["tool_use_id"]) == ("s1", "p1", "t1")
    assert (event["phase"], event["action"], event["tool_name"]) == ("before", "warn", "Bash")
    assert event["project_id"] == lesson.project_id
    assert say(command="git push", tool_use_id="t2") == {}


def test_why_tells_which_lessons_spoke_in_a_session(
    teach: Teach, say: Say, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    teach("Use --force-with-lease.")
    assert say("SessionStart")
    assert say()
    monkeypatch.setenv("DATABASE_URL", database_url)
    lines = CliRunner().invoke(command_line, ["why", "s1"]).stdout.splitlines()
    assert [line[21:] for line in lines if "lesson 1:" in line] == [
        "lesson 1: warned at Bash: Use --force-with-lease."
    ]


def test_another_projects_lesson_is_silent_and_a_global_one_is_not(
    conn: Connection, teach: Teach, say: Say
) -> None:
    teach("Only in the shop.")
    assert say(cwd=OTHER) == {}
    assert say(cwd=None) == {}
    teach("Everywhere.", project=None)
    said = say(cwd=OTHER)
    assert "Everywhere." in context(said)
    assert "Only in the shop." not in str(said)
    assert len(events(conn)) == 1


def test_none_is_told_twice_in_a_turn_not_even_by_a_restarted_service(
    conn: Connection,
    state: State,
    teach: Teach,
    say: Say,
) -> None:
    teach("Use --force-with-lease.")
    assert say()
    assert say(tool_use_id="t2") == {}
    state.lessons.told.clear()
    lessons.remember(state, conn)
    assert say(tool_use_id="t3") == {}, "a service that was restarted"
    assert say(prompt_id="p2"), "another turn"
    assert say(agent_id="a1"), "a subagent has not heard it"
    assert say(session_id="s2")


def test_at_most_three_speak_the_strictest_and_the_critical_first(
    conn: Connection, teach: Teach, say: Say
) -> None:
    for n, severity in enumerate(("info", "info", "warning", "critical", "info")):
        teach(f"Rule {n}.", severity=severity)
    asking = teach("Rule 5.", action="ask", severity="info")
    said = say()
    told = [line.rsplit(": ", 1)[-1] for line in said["systemMessage"].splitlines()]
    assert told == ["Rule 5.", "Rule 3.", "Rule 2."]
    assert said["hookSpecificOutput"]["permissionDecision"] == "ask"
    assert f"lesson {asking.id}: Rule 5." in said["hookSpecificOutput"]["permissionDecisionReason"]
    again = say(tool_use_id="t2")
    told = [line.rsplit(": ", 1)[-1] for line in again["systemMessage"].splitlines()]
    assert told == ["Rule 5.", "Rule 0.", "Rule 1."], "what asks does so every time; the others were told"


def test_a_lesson_that_denies_does_so_every_time_and_says_why(
    conn: Connection, teach: Teach, say: Say
) -> None:
    lesson = teach("Never force a push here.", action="deny")
    for call in ("t1", "t2"):
        output = say(tool_use_id=call)["hookSpecificOutput"]
        assert output["permissionDecision"] == "deny"
        assert output["permissionDecisionReason"].startswith(
            f"Refused by agent-memory, lesson {lesson.id}: Never force a push here."
        )
        assert "additionalContext" not in output
    assert [event["tool_use_id"] for event in events(conn)] == ["t1", "t2"]


def test_after_a_failure_the_model_hears_that_it_has_been_here_before(teach: Teach, say: Say) -> None:
    trigger = Trigger(phase="after_failure", tools=("Bash",), pattern="no tests ran")
    teach("Run pytest from the top folder.", trigger=trigger)
    assert say("PostToolUseFailure", "pytest", error="Exit code 5\nno tests ran in 0.01s")
    assert say("PostToolUseFailure", "pytest", error="Exit code 1", prompt_id="p2") == {}
    assert say(command="no tests ran", prompt_id="p3") == {}


def test_a_lesson_may_wait_for_a_prompt_or_for_the_end(teach: Teach, say: Say) -> None:
    teach("Ask which region.", trigger=Trigger(phase="prompt", pattern=r"(?i)\bdeploy", kind="regex"))
    teach("Run make check before you stop.", trigger=Trigger(phase="end"))
    assert "Ask which region." in context(say("UserPromptSubmit", prompt="Deploy it"))
    assert say("UserPromptSubmit", prompt="Test it") == {}
    notification = "<task-notification>deploy done</task-notification>"
    assert say("UserPromptSubmit", prompt=notification, prompt_id="p2") == {}
    assert "Run make check" in context(say("Stop", last_assistant_message="Done."))
    assert say("Stop", last_assistant_message="Done.") == {}
    assert say("Stop", stop_hook_active=True, prompt_id="p2") == {}, "it must not run in circles"


def test_neither_candidates_nor_retired_lessons_speak(
    conn: Connection,
    state: State,
    teach: Teach,
    say: Say,
) -> None:
    lesson = teach("Use --force-with-lease.")
    gate.change(conn, lesson.id, SETTINGS, status="retired")
    draft = Draft(rule="Proposed.", trigger=lesson.trigger, project_id=None, made_by="model")
    gate.create(conn, draft, SETTINGS)
    conn.commit()
    state.lessons.active = Active(store.active(conn))
    assert say() == {}


def test_our_own_tools_and_odd_payloads_are_passed_over(teach: Teach, say: Say) -> None:
    teach("Anything.", project=None, trigger=Trigger(tools=("*",), pattern="force"))
    assert say(tool_name="mcp__agent-memory__recall", tool_input={"query": "force"}) == {}
    assert say(tool_name="mcp__web__get", tool_input="force")
    odd: dict[str, Any]
    for odd in ({"tool_name": None}, {"tool_name": 7}, {"tool_input": None}, {"tool_input": [{}]}):
        assert say(prompt_id="p2", **odd) == {}
    assert say(session_id=None, prompt_id=None, tool_use_id=None)
    assert say("NoSuchEvent") == {}


def test_a_secret_in_the_call_is_nowhere_in_the_database(conn: Connection, teach: Teach, say: Say) -> None:
    teach("Use --force-with-lease.")
    secret = "ghp_" + "Q1w2E3r4T5y6U7i8O9p0A1s2D3f4G5h6J7k8"
    assert say(command=f"GH_TOKEN={secret} git push --force")
    assert secret not in str(events(conn))


def test_without_the_database_a_lesson_speaks_and_is_written_down_later(
    conn: Connection,
    state: State,
    teach: Teach,
    say: Say,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    teach("Never.", action="deny")

    def gone(*_: Any, **__: Any) -> Any:
        raise psycopg_pool.PoolTimeout

    with monkeypatch.context() as broken:
        broken.setattr(state.pool, "connection", gone)
        assert say()["hookSpecificOutput"]["permissionDecision"] == "deny"
    assert events(conn) == []
    lessons.record_late(state, conn)
    (event,) = conn.execute("select tool_use_id from mem_lesson_events").fetchall()
    assert event["tool_use_id"] == "t1"
    assert not state.lessons.unrecorded


def test_a_service_that_stops_writes_down_what_is_not_yet_recorded(
    conn: Connection,
    state: State,
    teach: Teach,
    database_url: str,
) -> None:
    teach("Use --force-with-lease.")
    paths.make_private(paths.home())
    call = {
        "session_id": "s1",
        "cwd": SHOP,
        "tool_name": "Bash",
        "tool_input": {"command": "git push --force"},
    }
    assert lessons.answer(state, "PreToolUse", call, "claude")
    assert events(conn) == [], "the hook does not wait for it"
    with server.connect(database_url) as own:
        lessons.listen(state, own, Board(), lambda: True)
    assert len(events(conn)) == 1


def test_over_the_socket_a_hook_is_answered_refused_and_recorded_the_same(
    conn: Connection,
    state: State,
    teach: Teach,
    say: Say,
    api: TestClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    teach("Use --force-with-lease.")
    by_address = say(prompt_id="p0")
    monkeypatch.setattr("agent_memory.service.auth.over_unix_socket", lambda _: True)
    assert say() == by_address
    assert say(tool_use_id="t2") == {}
    assert len(events(conn)) == 2
    assert api.get("/api/hook").status_code == 405
    unread = api.post("/api/hook", content=b"[")
    assert (unread.status_code, unread.headers["content-type"]) == (422, "application/problem+json")
    monkeypatch.setattr(state.settings, "trusted_agents", ("codex",))
    assert api.post("/api/hook", json={}, headers={"X-Agent-Name": "claude"}).status_code == 403


@pytest.fixture
def listening(state: State, database_url: str) -> Iterator[Board]:
    """The service's thread that holds the lessons."""
    paths.make_private(paths.home())
    board, stop = Board(), threading.Event()
    board.open()
    with server.connect(database_url) as own:
        thread = threading.Thread(target=lessons.listen, args=(state, own, board, stop.is_set))
        thread.start()
        yield board
        stop.set()
        thread.join(10)
        assert not thread.is_alive()


def test_what_another_process_changes_is_heard(
    conn: Connection,
    state: State,
    listening: Board,
) -> None:
    project_id = projects.ensure(conn, projects.identify(SHOP))
    trigger = Trigger(tools=("Bash", "mcp__git__*push"), pattern="git push")
    draft = Draft(rule="Pull first.", trigger=trigger, project_id=project_id, made_by="user")
    lesson = gate.create(conn, draft, SETTINGS, active=True).lesson
    conn.commit()
    until("the lesson is held", lambda: bool(state.lessons.active.lessons))
    until("the hooks ask", paths.asks().exists)
    assert paths.asks().read_text() == "PreToolUse 100 Bash mcp__git__*\n"
    gate.change(conn, lesson.id, SETTINGS, trigger=Trigger(phase="prompt", pattern="push"))
    conn.commit()
    until("the hooks ask otherwise", lambda: paths.asks().read_text() == "UserPromptSubmit 100\n")
    gate.change(conn, lesson.id, SETTINGS, status="retired")
    conn.commit()
    until("the hooks ask no more", lambda: not paths.asks().exists())
    assert not state.lessons.active.lessons


def test_the_board_says_what_everybody_wants_to_answer(home: Path) -> None:
    from agent_memory.service.asks import Ask

    paths.make_private(home)
    board = Board()
    board.want("one", [Ask("PreToolUse", 100, ("Bash",)), Ask("Stop", 50)])
    assert not paths.asks().exists(), "the service does not answer yet"
    board.open()
    board.want("two", [Ask("PreToolUse", 200, ("Edit", "Bash")), Ask("Stop", 20)])
    assert paths.asks().read_text() == "PreToolUse 200 Bash Edit\nStop 50\n"
    board.want("two", [Ask("PreToolUse", 20)])
    assert paths.asks().read_text() == "PreToolUse 100\nStop 50\n", "no tools: every tool"
    board.close()
    board.want("two", [])
    assert not paths.asks().exists()
