"""The real Copilot CLI, connected as a user does it: what it did is in the spool, in the journal and in its own session
file, each prompt and each call once."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from agent_memory.agents.copilot import payload, transcript
from agent_memory.capture.drain import read_payload
from agent_memory.journal.event import Event, Prompt, ToolCall
from tests.e2e import copilot, npm
from tests.e2e.copilot import Result
from tests.e2e.installation import Installation, installed, until
from tests.e2e.messages_api import text, tool
from tests.e2e.scripted import Script
from tests.e2e.test_service_dies import taken

pytestmark = pytest.mark.timeout(900)

ASKED = "Find out why boats miss the tide"
ASKED_OF_SUBAGENT = "Count the boats in harbour.md"
ASKED_NEXT = "Say it in one word"
TIDES = Path(__file__).parent / "scripts" / "tide_server.py"


def script(project: Path) -> Script:
    return {
        ASKED: [
            [
                text("I look at the harbour."),
                tool("bash", command="cat harbour.md", description="Look"),
                tool("bash", command="cat harbour.md", description="Look"),
            ],
            [tool("bash", command="echo low water; exit 3", description="Fail")],
            [tool("view", path=str(project / "no_such_file.md"))],
            [tool("create", path=str(project / "notes.md"), file_text="An hour late.\n")],
            [tool("tides-high_water", harbour="Dover")],
            [tool("agent-memory-recall", query="why do boats miss the tide")],
            [
                tool(
                    "task",
                    description="Count",
                    prompt=ASKED_OF_SUBAGENT,
                    agent_type="general-purpose",
                    name="counter",
                    mode="sync",
                )
            ],
            [text("The tide table is an hour late.")],
        ],
        ASKED_OF_SUBAGENT: [
            [tool("bash", command="wc -l harbour.md", description="Count")],
            [text("There are two boats.")],
        ],
        ASKED_NEXT: [[tool("bash", command="echo late", description="Say")], [text("Late.")]],
    }


NAMES = {
    "bash": "Bash",
    "view": "Read",
    "create": "Write",
    "task": "Agent",
    "agent-memory-recall": "mcp__agent-memory__recall",
}


@dataclass(frozen=True)
class Recorded:
    machine: Installation
    first: Result
    second: Result
    spooled: list[Event]
    """What the hooks left, before the service took it."""

    @property
    def asked(self) -> Counter[tuple[str, str]]:
        """What the model asked for: Copilot's hooks do not tell the ids of calls."""
        return Counter(shown(call.name, call.input) for call in self.first.calls + self.second.calls)

    def rows(self) -> list[dict[str, Any]]:
        return self.machine.items("/api/tool-calls", session_id=self.first.session_id)

    def row(self, word: str) -> dict[str, Any]:
        return next(row for row in self.rows() if word in json.dumps([row["tool_name"], row["tool_input"]]))


def shown(name: str, given: Any) -> tuple[str, str]:
    return NAMES.get(name, name), json.dumps(given, sort_keys=True)


@pytest.fixture(scope="module")
def client() -> Path:
    try:
        return copilot.executable()
    except npm.NotAvailableError as reason:
        line = f"REAL COPILOT CLI NOT AVAILABLE: {reason}"
        print(f"\n{line}", file=sys.__stderr__)
        pytest.skip(line)


@pytest.fixture(scope="module")
def recorded(client: Path) -> Iterator[Recorded]:
    with installed({"harbour.md": "Mary\nAnne\n"}) as machine:
        settings = machine.home / ".copilot" / "mcp-config.json"
        settings.parent.mkdir(parents=True)
        tides = {"type": "local", "command": sys.executable, "args": [str(TIDES)], "tools": ["*"]}
        settings.write_text(json.dumps({"mcpServers": {"tides": tides}}), encoding="utf-8")
        machine.run("connect", "copilot")
        turns = script(machine.project)
        # The service, which a session's start starts, cannot come up: the spool fills.
        with taken(machine.port):
            first = copilot.run(machine.home, machine.project, turns, ASKED)
            second = copilot.run(
                machine.home, machine.project, turns, ASKED_NEXT, "--resume", first.session_id
            )
            files = sorted((machine.memory / "spool" / "new").iterdir())
            assert {file.suffix for file in files} == {".copilot"}
            spooled = [
                event
                for file in files
                for event in payload.events(read_payload(file.read_bytes()), datetime.now(UTC))
            ]
        machine.run("up", "--detach")
        until("the spool is empty", lambda: not machine.get("/api/health")["spool"]["pending"])
        assert machine.get("/api/health")["spool"]["bad"] == 0
        yield Recorded(machine, first, second, spooled)


def test_the_client_worked_as_it_does_without_us(recorded: Recorded) -> None:
    assert recorded.first.exit_code == recorded.second.exit_code == 0
    assert "The tide table is an hour late." in recorded.first.stdout
    assert "Late." in recorded.second.stdout
    assert (recorded.machine.project / "notes.md").read_text(encoding="utf-8") == "An hour late.\n"


def test_every_call_and_every_prompt_is_in_the_spool_exactly_once(recorded: Recorded) -> None:
    calls = [event.body for event in recorded.spooled if isinstance(event.body, ToolCall)]
    assert Counter(shown(call.name, call.input) for call in calls) == recorded.asked
    assert len({call.tool_use_id for call in calls}) == len(calls) >= 10
    typed = Counter(event.body.text for event in recorded.spooled if isinstance(event.body, Prompt))
    assert typed == Counter([ASKED, ASKED_OF_SUBAGENT, ASKED_NEXT])


def test_every_call_and_every_prompt_is_in_the_journal_exactly_once(recorded: Recorded) -> None:
    assert Counter(shown(row["tool_name"], row["tool_input"]) for row in recorded.rows()) == recorded.asked
    prompts = recorded.machine.rows("select kind, text from mem_user_prompts order by occurred_at")
    assert [(prompt["kind"], prompt["text"]) for prompt in prompts] == [
        ("user", ASKED),
        ("subagent", ASKED_OF_SUBAGENT),
        ("user", ASKED_NEXT),
    ]


def test_failures_results_and_subagents_are_told_as_such(recorded: Recorded) -> None:
    failed = recorded.row("exit 3")
    assert (failed["success"], failed["error"]) == (False, "Exit code 3\nlow water")
    missing = recorded.row("no_such_file")
    assert (missing["success"], missing["error"]) == (False, "Path does not exist")
    tide = recorded.row("high_water")
    assert tide["success"] is True
    assert tide["output"].startswith("High water at Dover: 04:12 and 16:38")
    counted = recorded.row("wc -l")
    assert (counted["agent_type"], counted["output"]) == ("general-purpose", "2 harbour.md")
    assert recorded.row("cat harbour.md")["output"] == "Mary\nAnne"


def test_our_own_tool_was_there_and_its_answer_is_not_recorded(recorded: Recorded) -> None:
    offered = {
        offer["function"]["name"] for request in recorded.first.requests for offer in request.get("tools", [])
    }
    assert {"agent-memory-recall", "agent-memory-save_memory"} <= offered
    row = recorded.row("mcp__agent-memory__recall")
    assert (row["success"], row["output"]) == (True, None)


def test_every_call_is_linked_to_the_prompt_that_was_typed(recorded: Recorded) -> None:
    prompts = {
        row["id"]: row["text"] for row in recorded.machine.rows("select id, text from mem_user_prompts")
    }
    for row in recorded.rows():
        of_second = row["tool_input"].get("command") == "echo late"
        assert prompts[row["prompt_id"]] == (ASKED_NEXT if of_second else ASKED)


def test_the_session_is_one_and_is_over(recorded: Recorded) -> None:
    (session,) = recorded.machine.rows("select * from mem_sessions where agent = 'copilot'")
    assert session["id"] == recorded.first.session_id == recorded.second.session_id
    assert session["cwd"] == str(recorded.machine.project)
    assert session["ended_at"] is not None


def test_the_session_file_tells_the_same_under_the_same_ids(recorded: Recorded) -> None:
    told = [event for line in transcript.read(recorded.second.events) for event in line.events]
    for kind in (Prompt, ToolCall):
        hooked = Counter(key(event) for event in recorded.spooled if isinstance(event.body, kind))
        filed = Counter(key(event) for event in told if isinstance(event.body, kind))
        assert hooked == filed


def key(event: Event) -> tuple[Any, ...]:
    if isinstance(event.body, ToolCall):
        return event.session_id, event.subagent_id, event.body.tool_use_id, event.body.name
    return event.session_id, event.subagent_id, event.prompt_id


def test_copilot_goes_on_where_we_are_gone_without_goodbye(recorded: Recorded) -> None:
    """The hooks are still configured, and what they run is not there any more."""
    machine = recorded.machine
    file = machine.home / ".copilot" / "hooks" / "agent-memory.json"
    text_before = file.read_text(encoding="utf-8")
    gone = text_before.replace("agent_memory/hook.py", "agent_memory/gone/agent_memory/hook.py")
    assert gone != text_before
    file.write_text(gone, encoding="utf-8")
    done = copilot.run(machine.home, machine.project, script(machine.project), ASKED_NEXT)
    assert done.exit_code == 0
    assert "Late." in done.stdout
    assert "hook" not in done.stderr.lower()
    told = [event.body for line in transcript.read(done.events) for event in line.events]
    (call,) = (body for body in told if isinstance(body, ToolCall))
    assert (call.success, call.output) == (True, "late")


def test_disconnecting_leaves_copilot_as_it_was(recorded: Recorded) -> None:
    recorded.machine.run("disconnect", "copilot")
    folder = recorded.machine.home / ".copilot"
    assert not (folder / "hooks" / "agent-memory.json").exists()
    settings = json.loads((folder / "mcp-config.json").read_text(encoding="utf-8"))
    assert settings["mcpServers"].keys() == {"tides"}
