"""Nothing is lost while the service is away: the real client records on, and the service catches up."""

from __future__ import annotations

import os
import signal
import socket
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from tests.e2e import claude
from tests.e2e.claude import Result
from tests.e2e.installation import Installation, installed, until
from tests.e2e.messages_api import Block, Request, Script, Turn, text, tool

pytestmark = [pytest.mark.timeout(600), pytest.mark.usefixtures("client")]

PROMPT = "Run six commands"
LAST = "Run one command"


@pytest.fixture
def machine() -> Iterator[Installation]:
    with installed({"README.md": "A shop.\n"}) as machine:
        yield machine
        machine.run("down")
        assert machine.processes() == []


def commands(first: int, count: int) -> list[Turn]:
    return [[tool("Bash", command=f"echo {n}")] for n in range(first, first + count)]


def assert_all_recorded(machine: Installation, *sessions: Result) -> None:
    """Every prompt and every call of the sessions is stored, once, and every call's end is known."""
    expected = Counter(call.id for session in sessions for call in session.calls)

    def stored() -> Counter[str]:
        rows = [
            row
            for session in sessions
            for row in machine.items("/api/tool-calls", session_id=session.session_id)
        ]
        return Counter(row["tool_use_id"] for row in rows if row["success"])

    until("the spool is empty", lambda: not machine.get("/api/health")["spool"]["pending"])
    assert stored() == expected
    for session in sessions:
        assert len(machine.items("/api/prompts", session_id=session.session_id)) == 1
        assert machine.get(f"/api/sessions/{session.session_id}")["ended_at"] is not None
    assert machine.get("/api/health")["spool"] | {"oldest_s": 0} == {"pending": 0, "bad": 0, "oldest_s": 0}


@contextmanager
def taken(port: int) -> Iterator[None]:
    """Somebody else's program at our port: the service cannot start."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))
        other.listen()
        yield


def test_a_session_waits_in_the_spool_and_the_next_one_starts_the_service(machine: Installation) -> None:
    script: Script = {PROMPT: [*commands(0, 6), [text("Done.")]], LAST: [*commands(6, 1), [text("Done.")]]}
    with taken(machine.port):
        alone = claude.run(machine.home, machine.project, script, PROMPT)
        assert not machine.answers()
        waiting = [file.read_bytes() for file in (machine.memory / "spool" / "new").iterdir()]
        for call in alone.calls:
            assert sum(call.id.encode() in payload for payload in waiting) >= 1, call
    after = claude.run(machine.home, machine.project, script, LAST)
    until("the service that the session's start started answers", machine.answers)
    assert_all_recorded(machine, alone, after)


def test_killing_the_service_in_the_middle_of_a_session_loses_nothing(machine: Installation) -> None:
    machine.run("up", "--detach")
    killed = []

    def kill(request: Request) -> Sequence[Block]:
        killed.append(machine.service_pid())
        os.kill(killed[0], signal.SIGKILL)
        return [tool("Bash", command="echo killed")]

    script: Script = {PROMPT: [*commands(0, 3), kill, *commands(3, 2), [text("Done.")]]}
    session = claude.run(machine.home, machine.project, script, PROMPT)
    assert len(session.calls) == 6
    assert len(killed) == 1
    assert not machine.answers()
    machine.run("up", "--detach")
    assert machine.service_pid() != killed[0]
    assert_all_recorded(machine, session)
