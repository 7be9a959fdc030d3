"""The real OpenCode, connected as a user does it: what it did is in the spool, in the journal and in its own database,
each prompt and each call once."""

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

from agent_memory.agents.opencode import payload, transcript
from agent_memory.capture.drain import read_payload
from agent_memory.journal.event import AssistantMessage, Event, Prompt, ToolCall
from tests.e2e import npm, opencode
from tests.e2e.installation import Installation, installed, until
from tests.e2e.messages_api import ToolUse, text, tool
from tests.e2e.opencode import Result
from tests.e2e.scripted import Script
from tests.e2e.test_service_dies import taken

pytestmark = pytest.mark.timeout(900)

ASKED = "Find out why boats miss the tide"
ASKED_OF_SUBAGENT = "Count the boats in harbour.md"
ASKED_NEXT = "Say it in one word"
TIDES = Path(__file__).parent / "scripts" / "tide_server.py"

SCRIPT: Script = {
    ASKED: [
        [
            text("I look at the harbour."),
            tool("bash", command="cat harbour.md", description="Look"),
            tool("bash", command="cat harbour.md", description="Look"),
        ],
        [tool("bash", command="echo low water; exit 3", description="Fail")],
        [tool("read", filePath="no_such_file.md")],
        [tool("tides_high_water", harbour="Dover")],
        [tool("agent-memory_recall", query="why do boats miss the tide")],
        [tool("task", description="Count", prompt=ASKED_OF_SUBAGENT, subagent_type="general")],
        [text("The tide table is an hour late.")],
    ],
    ASKED_OF_SUBAGENT: [
        [tool("bash", command="wc -l harbour.md", description="Count")],
        [text("There are two boats.")],
    ],
    ASKED_NEXT: [[tool("bash", command="echo late", description="Say")], [text("Late.")]],
}


@dataclass(frozen=True)
class Recorded:
    machine: Installation
    first: Result
    second: Result
    spooled: list[Event]
    """What the plugin left, before the service took it."""

    @property
    def calls(self) -> list[ToolUse]:
        return self.first.calls + self.second.calls

    def call(self, word: str) -> ToolUse:
        return next(call for call in self.calls if word in json.dumps([call.name, call.input]))

    def rows(self) -> list[dict[str, Any]]:
        (session,) = self.machine.rows("select id from mem_sessions where agent = 'opencode'")
        return self.machine.items("/api/tool-calls", session_id=session["id"])

    def row(self, word: str) -> dict[str, Any]:
        (found,) = (row for row in self.rows() if row["tool_use_id"] == self.call(word).id)
        return found


@pytest.fixture(scope="module")
def client() -> Path:
    try:
        return opencode.executable()
    except npm.NotAvailableError as reason:
        line = f"REAL OPENCODE NOT AVAILABLE: {reason}"
        print(f"\n{line}", file=sys.__stderr__)
        pytest.skip(line)


@pytest.fixture(scope="module")
def recorded(client: Path) -> Iterator[Recorded]:
    with installed({"harbour.md": "Mary\nAnne\n"}) as machine:
        settings = machine.home / ".config" / "opencode" / "opencode.json"
        settings.parent.mkdir(parents=True)
        tides = {"type": "local", "command": [sys.executable, str(TIDES)], "enabled": True}
        settings.write_text(json.dumps({"mcp": {"tides": tides}}), encoding="utf-8")
        machine.run("connect", "opencode")
        # The service, which a session's start starts, cannot come up: the spool fills.
        with taken(machine.port):
            first = opencode.run(machine.home, machine.project, SCRIPT, ASKED)
            second = opencode.run(machine.home, machine.project, SCRIPT, ASKED_NEXT, "--continue")
            new = machine.memory / "spool" / "new"
            until(
                "both starts are in the spool",
                lambda: sum(b'"event":"start"' in f.read_bytes() for f in new.iterdir()) == 2,
            )
            files = sorted(new.iterdir())
            assert {file.suffix for file in files} == {".opencode"}
            spooled = [
                event
                for file in files
                for event in payload.events(read_payload(file.read_bytes()), datetime.now(UTC))
            ]
        machine.run("up", "--detach")
        until("the spool is empty", lambda: not machine.get("/api/health")["spool"]["pending"])
        assert machine.get("/api/health")["spool"]["bad"] == 0
        yield Recorded(machine, first, second, spooled)


def ended(events: list[Event]) -> Counter[str]:
    return Counter(
        event.body.tool_use_id
        for event in events
        if isinstance(event.body, ToolCall) and event.body.success is not None
    )


def test_the_client_worked_as_it_does_without_us(recorded: Recorded) -> None:
    assert recorded.first.exit_code == recorded.second.exit_code == 0
    assert "The tide table is an hour late." in recorded.first.stdout
    assert "Late." in recorded.second.stdout


def test_every_call_and_every_prompt_is_in_the_spool_exactly_once(recorded: Recorded) -> None:
    assert len(recorded.calls) >= 9
    assert ended(recorded.spooled) == Counter(call.id for call in recorded.calls)
    typed = Counter(event.body.text for event in recorded.spooled if isinstance(event.body, Prompt))
    assert typed == Counter([ASKED, ASKED_OF_SUBAGENT, ASKED_NEXT])


def test_every_call_and_every_prompt_is_in_the_journal_exactly_once(recorded: Recorded) -> None:
    assert Counter(row["tool_use_id"] for row in recorded.rows()) == Counter(
        call.id for call in recorded.calls
    )
    for call in recorded.calls:
        (row,) = (row for row in recorded.rows() if row["tool_use_id"] == call.id)
        assert call.input.items() <= dict(row["tool_input"]).items()
        assert row["duration_ms"] is not None
    prompts = recorded.machine.rows("select kind, text from mem_user_prompts order by occurred_at")
    assert [(prompt["kind"], prompt["text"]) for prompt in prompts] == [
        ("user", ASKED),
        ("subagent", ASKED_OF_SUBAGENT),
        ("user", ASKED_NEXT),
    ]


def test_failures_results_and_subagents_are_told_as_such(recorded: Recorded) -> None:
    failed = recorded.row("exit 3")
    assert (failed["success"], failed["error"]) == (False, "Exit code 3\nlow water\n".strip())
    missing = recorded.row("no_such_file")
    assert missing["success"] is False
    assert "File not found" in missing["error"]
    tide = recorded.row("high_water")
    assert (tide["success"], tide["output"]) == (True, "High water at Dover: 04:12 and 16:38")
    counted = recorded.row("wc -l")
    assert counted["agent_id"]
    assert counted["output"].startswith("2 harbour.md")
    assert recorded.row("cat harbour.md")["agent_id"] is None


def test_our_own_tool_was_there_and_its_answer_is_not_recorded(recorded: Recorded) -> None:
    offered = [offer["function"]["name"] for offer in recorded.first.requests[-1].get("tools", [])]
    assert {"agent-memory_recall", "agent-memory_save_memory"} <= set(offered)
    row = recorded.row("agent-memory_recall")
    assert (row["tool_name"], row["output"]) == ("mcp__agent-memory__recall", None)
    assert row["success"] is True


def test_every_call_is_linked_to_the_prompt_that_was_typed(recorded: Recorded) -> None:
    prompts = {
        row["id"]: row["text"] for row in recorded.machine.rows("select id, text from mem_user_prompts")
    }
    for call in recorded.calls:
        (row,) = (row for row in recorded.rows() if row["tool_use_id"] == call.id)
        assert prompts[row["prompt_id"]] == (ASKED_NEXT if call.prompt == ASKED_NEXT else ASKED)


def test_the_session_is_one_and_knows_its_folder_model_and_version(recorded: Recorded) -> None:
    (session,) = recorded.machine.rows("select * from mem_sessions where agent = 'opencode'")
    assert session["cwd"] == str(recorded.machine.project)
    assert session["model"] == "stand-in"
    assert session["agent_version"] == opencode.VERSION
    assert session["ended_at"] is not None


def test_opencodes_own_database_tells_the_same_under_the_same_ids(recorded: Recorded) -> None:
    told = [event for line in transcript.read(recorded.second.database) for event in line.events]
    assert ended(told) == ended(recorded.spooled)
    for kind in (Prompt, AssistantMessage):
        hooked = {key(event) for event in recorded.spooled if isinstance(event.body, kind)}
        stored = {key(event) for event in told if isinstance(event.body, kind)}
        assert hooked == stored


def key(event: Event) -> tuple[Any, ...]:
    id_ = event.body.uuid if isinstance(event.body, AssistantMessage) else None
    return event.session_id, event.subagent_id, event.prompt_id, id_


def test_a_sessions_start_starts_the_service(recorded: Recorded) -> None:
    machine = recorded.machine
    machine.run("down")
    assert not machine.answers()
    done = opencode.run(machine.home, machine.project, SCRIPT, ASKED_NEXT)
    until("the service answers", machine.answers)
    until("the spool is empty", lambda: not machine.get("/api/health")["spool"]["pending"])
    (call,) = done.calls
    rows = machine.rows("select success from mem_tool_calls where tool_use_id = %s", call.id)
    assert rows == [{"success": True}]


def test_a_plugin_that_breaks_fails_no_call(recorded: Recorded) -> None:
    """Everything that our plugin does throws, and its spool cannot be written either."""
    machine = recorded.machine
    plugin = machine.home / ".config" / "opencode" / "plugin" / "agent-memory.js"
    source = plugin.read_text(encoding="utf-8")
    broken = source.replace(
        "function record(payload) {", 'function record(payload) {\n  throw new Error("broken")'
    )
    broken = broken.replace(
        "function recordStart(payload) {", 'function recordStart() {\n  throw new Error("broken")'
    )
    assert broken.count('throw new Error("broken")') == 2
    plugin.write_text(broken, encoding="utf-8")
    done = opencode.run(machine.home, machine.project, SCRIPT, ASKED_NEXT)
    assert done.exit_code == 0
    assert "Late." in done.stdout
    told = [event for line in transcript.read(done.database) for event in line.events]
    (call,) = (
        e.body for e in told if isinstance(e.body, ToolCall) and e.body.tool_use_id == done.calls[0].id
    )
    assert (call.success, call.output) == (True, "late\n")


def test_disconnecting_leaves_opencode_as_it_was(recorded: Recorded) -> None:
    recorded.machine.run("disconnect", "opencode")
    folder = recorded.machine.home / ".config" / "opencode"
    assert not (folder / "plugin" / "agent-memory.js").exists()
    settings = json.loads((folder / "opencode.json").read_text(encoding="utf-8"))
    assert settings["mcp"].keys() == {"tides"}
