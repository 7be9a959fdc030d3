"""The hook asks the service, and the service answers: promise 1 where it answers late, wrongly or not at all."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from starlette.testclient import TestClient
from tests.integration.test_hook import payload, run_hook, spooled

from agent_memory import paths
from agent_memory.agents.claude_code import reply as claude
from agent_memory.agents.reply import Reply, joined
from agent_memory.service.asks import Ask, write
from agent_memory.service.routes import hook

WHOLE = b'HTTP/1.1 200 OK\r\nContent-Length: 23\r\n\r\n{"systemMessage": "hi"}'


@pytest.fixture(autouse=True)
def home_folder() -> None:
    paths.make_private(paths.home())


@contextmanager
def service(answer: bytes, *, after: float = 0.0) -> Iterator[list[bytes]]:
    """A stand-in that gives every caller this answer; what it was asked."""
    asked: list[bytes] = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(str(paths.service_socket()))
        listening.listen()

        def serve() -> None:
            while True:
                try:
                    caller, _ = listening.accept()
                except OSError:
                    return
                with caller:
                    request = caller.recv(1 << 20)
                    asked.append(request)
                    time.sleep(after)
                    if request:
                        with contextlib.suppress(OSError):  # a caller that no longer waits
                            caller.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield asked
        listening.shutdown(socket.SHUT_RDWR)
        thread.join(5)


def test_what_the_service_wants_to_answer_is_asked_and_the_answer_printed() -> None:
    write([Ask("PreToolUse", 5_000, ("Bash", "mcp__*"))])
    with service(WHOLE) as asked:
        said = payload("PreToolUse", tool_name="Bash")
        done = run_hook(said)
        assert (done.returncode, done.stdout) == (0, b'{"systemMessage": "hi"}')
        (request,) = asked
        head, _, body = request.partition(b"\r\n\r\n")
        assert body == said
        assert head.startswith(b"POST /api/hook HTTP/1.1\r\n")
        assert b"X-Agent-Name: claude\r\n" in head
        assert run_hook(payload("PreToolUse", tool_name="mcp__shop__buy")).stdout
        assert run_hook(payload("SessionStart")).stdout == b""
        assert run_hook(payload("PreToolUse", tool_name="Bash2")).stdout == b""
        assert run_hook(payload("PreToolUse", tool_input={"tool_name": "x"}, tool_name="Read")).stdout == b""
        assert run_hook(payload("PostToolUse", tool_name="Bash")).stdout == b""
    assert len(spooled()) == 6  # recorded, asked or not


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(WHOLE[:-5], id="half a body"),
        pytest.param(WHOLE[:20], id="half a head"),
        pytest.param(b"", id="nothing"),
        pytest.param(b"HTTP/1.1 500 Oh\r\nContent-Length: 2\r\n\r\n{}", id="an error"),
        pytest.param(b"\x00\xff" * 40_000, id="noise"),
    ],
)
def test_an_answer_that_is_not_whole_is_none(answer: bytes) -> None:
    write([Ask("PreToolUse", 5_000), Ask("Stop", 5_000)])
    with service(answer):
        done = run_hook(payload("PreToolUse", tool_name="Bash"))
        stopped = run_hook(payload("Stop"))
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert (stopped.returncode, stopped.stdout, stopped.stderr) == (0, b"", b"")
    assert len(spooled()) == 2


def test_an_answer_that_comes_late_is_not_waited_for() -> None:
    write([Ask("PreToolUse", 100)])
    with service(WHOLE, after=5):
        began = time.monotonic()
        done = run_hook(payload("PreToolUse", tool_name="Bash"))
        assert (done.returncode, done.stdout) == (0, b"")
        assert time.monotonic() - began < 4


@pytest.mark.parametrize("asks", ["", "nonsense\n", "PreToolUse soon\n", "PreToolUse 100 \xe4\n"])
def test_a_broken_list_of_what_to_ask_costs_nothing(asks: str) -> None:
    paths.asks().write_text(asks, encoding="latin-1")
    for event in ("PreToolUse", "PostToolUse"):
        done = run_hook(payload(event, tool_name="Bash"))
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert len(spooled()) == 2


def test_nothing_is_asked_where_the_list_is_empty() -> None:
    write([Ask("PreToolUse", 100)])
    write([])
    assert not paths.asks().exists()


def test_the_service_tells_a_session_what_is_wrong(api: TestClient) -> None:
    start = {"session_id": "s1", "hook_event_name": "SessionStart"}
    silent = api.post("/api/hook", json=start)
    assert (silent.status_code, silent.content) == (200, b"")
    paths.notice().write_text('{"systemMessage": "agent-memory: 3 events could not be read."}')
    assert api.post("/api/hook", json=start).json() == {
        "systemMessage": "agent-memory: 3 events could not be read."
    }
    assert api.post("/api/hook", json=start, headers={"x-agent-name": "codex"}).content == b""
    assert api.post("/api/hook", content=b"[]").status_code == 422


def test_an_answerer_that_fails_silences_only_itself(
    api: TestClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*_: Any) -> Reply | None:
        raise RuntimeError

    def speaking(*_: Any) -> Reply | None:
        return Reply(context="Mind the gap.")

    monkeypatch.setattr(hook, "ANSWERERS", (broken, speaking))
    said = api.post("/api/hook", json={"hook_event_name": "UserPromptSubmit"}).json()
    assert said == {
        "hookSpecificOutput": {"hookEventName": "UserPromptSubmit", "additionalContext": "Mind the gap."}
    }


def test_of_several_replies_the_strictest_decides() -> None:
    replies = [
        Reply(context="a", message="one"),
        Reply(decision="deny", reason="never"),
        Reply(context="b", decision="ask", reason="sure?"),
    ]
    said = joined(replies)
    assert said == Reply(context="a\n\nb", message="one", decision="deny", reason="never")
    assert claude.rendered("PreToolUse", said) == {
        "systemMessage": "one",
        "hookSpecificOutput": {
            "hookEventName": "PreToolUse",
            "additionalContext": "a\n\nb",
            "permissionDecision": "deny",
            "permissionDecisionReason": "never",
        },
    }
    assert joined([]) is None
    assert json.dumps(claude.rendered("Stop", Reply())) == "{}"
