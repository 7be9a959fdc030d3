"""The real Gemini CLI, connected as a user does it: what it did is in the spool, in the journal and in its own chat
files, each prompt and each call once."""

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

from agent_memory.agents.gemini import payload, transcript
from agent_memory.capture.drain import read_payload
from agent_memory.journal.event import Event, Prompt, ToolCall
from tests.e2e import gemini, npm
from tests.e2e.gemini import Result
from tests.e2e.installation import Installation, installed, until
from tests.e2e.messages_api import ToolUse, text, tool
from tests.e2e.scripted import Script
from tests.e2e.test_service_dies import taken

pytestmark = pytest.mark.timeout(900)

ASKED = "Find out why boats miss the tide"
ASKED_NEXT = "Say it in one word"
ASKED_OF_SUBAGENT = "Count the boats in harbour.md"
TIDES = Path(__file__).parent / "scripts" / "tide_server.py"

SCRIPT: Script = {
    ASKED: [
        [
            text("I look at the harbour."),
            tool("run_shell_command", command="cat harbour.md"),
            tool("run_shell_command", command="cat harbour.md"),
        ],
        [tool("run_shell_command", command="echo low water; exit 3")],
        [tool("read_file", file_path="ghosts.md")],
        [tool("replace", file_path="harbour.md", old_string="Anne", new_string="Ann", instruction="Mend it")],
        [tool("mcp_tides_high_water", harbour="Dover")],
        [tool("mcp_agent-memory_recall", query="why do boats miss the tide")],
        [tool("no_such_tool", x=1)],
        [tool("invoke_agent", agent_name="generalist", prompt=ASKED_OF_SUBAGENT)],
        [text("The tide table is an hour late.")],
    ],
    ASKED_OF_SUBAGENT: [
        [tool("run_shell_command", command="wc -l harbour.md")],
        [tool("complete_task", result={"response": "There are two boats."})],
        [text("There are two boats.")],
    ],
    ASKED_NEXT: [[tool("run_shell_command", command="cat harbour.md")], [text("Late.")]],
}
WITHOUT_HOOKS = {"no_such_tool"}
"""Calls for which Gemini CLI runs no hook: its chat file alone tells of them."""


@dataclass(frozen=True)
class Recorded:
    machine: Installation
    first: Result
    second: Result
    spooled: list[Event]
    """What the hooks left, before the service took it."""
    told: list[Event]
    """What the chat files tell."""

    @property
    def calls(self) -> list[ToolUse]:
        return self.first.calls + self.second.calls

    def ids(self) -> list[str]:
        """Of the calls in the journal."""
        return [row["tool_use_id"] for row in self.machine.rows("select tool_use_id from mem_tool_calls")]

    def row(self, name: str, words: str = "") -> dict[str, Any]:
        rows = self.machine.rows(
            "select * from mem_tool_calls where tool_name = %s order by occurred_at", name
        )
        return next(row for row in rows if words in json.dumps(row["tool_input"]))


@pytest.fixture(scope="module")
def client() -> Path:
    try:
        return gemini.executable()
    except npm.NotAvailableError as reason:
        line = f"REAL GEMINI CLI NOT AVAILABLE: {reason}"
        print(f"\n{line}", file=sys.__stderr__)
        pytest.skip(line)


@pytest.fixture(scope="module")
def recorded(client: Path) -> Iterator[Recorded]:
    with installed({"harbour.md": "Mary\nAnne\n"}) as machine:
        gemini.sign_in(machine.home)
        settings = machine.home / ".gemini" / "settings.json"
        theirs = json.loads(settings.read_text(encoding="utf-8"))
        # Somebody else's hook: what it says stands in front of the prompt.
        says = json.dumps({"hookSpecificOutput": {"additionalContext": "The harbour opens at six."}})
        theirs["hooks"] = {"SessionStart": [{"hooks": [{"type": "command", "command": f"echo '{says}'"}]}]}
        theirs["mcpServers"] = {"tides": {"command": sys.executable, "args": [str(TIDES)]}}
        settings.write_text(json.dumps(theirs, indent=2), encoding="utf-8")
        machine.run("connect", "gemini")
        new = machine.memory / "spool" / "new"
        # The service, which a session's start starts, cannot come up: the spool fills.
        with taken(machine.port):
            first = gemini.run(machine.home, machine.project, SCRIPT, ASKED)
            second = gemini.run(machine.home, machine.project, SCRIPT, ASKED_NEXT, "--resume", "latest")
            until("both ends are in the spool", lambda: sum(_ends(file) for file in new.iterdir()) == 2)
            files = sorted(new.iterdir())
            assert {file.suffix for file in files} == {".gemini"}
            spooled = [
                event
                for file in files
                for event in payload.events(read_payload(file.read_bytes()), datetime.now(UTC))
            ]
        # Beside a start that fails (the last session's, whose port was taken) `up` may leave it at that.
        until("the service is up", lambda: bool(machine.run("up", "--detach")) and machine.answers())
        until("the spool is empty", lambda: not machine.get("/api/health")["spool"]["pending"])
        assert machine.get("/api/health")["spool"]["bad"] == 0
        chats = sorted(transcript.files(machine.home / ".gemini" / "tmp"))
        told = [event for chat in chats for line in transcript.read(chat) for event in line.events]
        found = Recorded(machine, first, second, spooled, told)
        until(
            "the chat files are read", lambda: set(found.ids()) == {f"{c.name}__{c.id}" for c in found.calls}
        )
        yield found


def _ends(file: Path) -> bool:
    return b'"hook_event_name":"SessionEnd"' in file.read_bytes()


def prompts(events: list[Event]) -> Counter[str]:
    return Counter(
        event.body.text for event in events if isinstance(event.body, Prompt) and not event.subagent_id
    )


def calls(events: list[Event]) -> Counter[tuple[str, str, bool | None, str | None, str | None]]:
    """What was called, with what, and how it ended."""
    return Counter(
        (body.name, json.dumps(body.input, sort_keys=True), body.success, body.output, body.error)
        for event in events
        if isinstance(body := event.body, ToolCall)
    )


def test_every_prompt_is_told_once_and_as_it_was_typed(recorded: Recorded) -> None:
    assert prompts(recorded.spooled) == {ASKED: 1, ASKED_NEXT: 1}
    assert prompts(recorded.told) == {ASKED: 1, ASKED_NEXT: 1}
    rows = recorded.machine.rows("select text, kind from mem_user_prompts")
    assert Counter((row["text"], row["kind"]) for row in rows) == {
        (ASKED, "user"): 1,
        (ASKED_NEXT, "user"): 1,
        (ASKED_OF_SUBAGENT, "subagent"): 1,
    }


def test_every_call_is_told_once_by_hooks_and_in_the_same_words_by_the_chat_file(recorded: Recorded) -> None:
    ids = Counter(event.body.tool_use_id for event in recorded.told if isinstance(event.body, ToolCall))
    assert ids == Counter(f"{call.name}__{call.id}" for call in recorded.calls)
    told = Counter({call: n for call, n in calls(recorded.told).items() if call[0] not in WITHOUT_HOOKS})
    assert calls(recorded.spooled) == told
    assert Counter(recorded.ids()) == ids


def test_calls_belong_to_the_prompt_that_drove_them(recorded: Recorded) -> None:
    rows = recorded.machine.rows(
        "select text, count(*) from mem_tool_calls t"
        " join mem_user_prompts p on p.session_id = t.session_id and p.id = t.prompt_id group by text"
    )
    assert {row["text"]: row["count"] for row in rows} == {ASKED: 11, ASKED_NEXT: 1}


def test_failures_are_failures(recorded: Recorded) -> None:
    command = recorded.row("run_shell_command", "exit 3")
    assert (command["success"], command["error"]) == (False, "Exit code 3\nlow water")
    missing = recorded.row("read_file")
    assert missing["success"] is False
    assert "ghosts.md" in missing["error"]


def test_results_are_recorded_and_our_own_tools_answer_is_not(recorded: Recorded) -> None:
    assert recorded.row("run_shell_command", "cat harbour.md")["output"] == "Mary\nAnne"
    assert recorded.row("mcp__tides__high_water")["output"].startswith("High water at Dover")
    ours = recorded.row("mcp__agent-memory__recall")
    assert (ours["success"], ours["output"]) == (True, None)


def test_what_the_model_said_is_told_once(recorded: Recorded) -> None:
    rows = recorded.machine.rows(
        "select text from mem_assistant_messages where agent_id is null order by occurred_at"
    )
    assert [row["text"] for row in rows] == [
        "I look at the harbour.",
        "The tide table is an hour late.",
        "Late.",
    ]


def test_a_subagent_is_told_by_its_own_file(recorded: Recorded) -> None:
    its = [event for event in recorded.told if event.subagent_id]
    assert {event.session_id for event in its} == {recorded.first.session_id}
    assert its[0].body == Prompt(text=ASKED_OF_SUBAGENT, kind="subagent")
    rows = recorded.machine.rows("select tool_name, agent_id from mem_tool_calls where agent_id is not null")
    assert Counter(row["tool_name"] for row in rows) == {"run_shell_command": 1, "complete_task": 1}
    assert {row["agent_id"] for row in rows} == {its[0].subagent_id}


def test_the_session_is_whole(recorded: Recorded) -> None:
    (row,) = recorded.machine.rows("select * from mem_sessions where agent = 'gemini'")
    assert row["id"] == recorded.first.session_id == recorded.second.session_id
    assert row["cwd"] == str(recorded.machine.project)
    assert row["source"] == "startup"
    assert row["ended_at"] is not None
    assert Path(row["transcript_path"]).exists()


def test_reading_the_chat_files_and_the_hooks_once_more_changes_nothing(recorded: Recorded) -> None:
    tables = ("mem_user_prompts", "mem_tool_calls", "mem_assistant_messages")
    before = [recorded.machine.rows(f"select * from {table} order by 1, 2") for table in tables]
    recorded.machine.rows("delete from mem_transcripts returning path")
    recorded.machine.run("backfill", str(recorded.machine.home / ".gemini" / "tmp"))
    assert recorded.machine.rows("select path from mem_transcripts")
    assert [recorded.machine.rows(f"select * from {table} order by 1, 2") for table in tables] == before


def test_the_next_session_is_told_what_the_project_was_about_and_does_not_record_it(
    recorded: Recorded,
) -> None:
    machine = recorded.machine
    until("the turns are remembered", lambda: not machine.get("/api/health")["queue"]["pending"])
    told = gemini.run(machine.home, machine.project, SCRIPT, ASKED_NEXT)
    assert any(
        "What agent-memory recorded in this project" in json.dumps(request) for request in told.requests
    )
    assert any("The tide table is an hour late." in json.dumps(request) for request in told.requests)
    (row,) = machine.items("/api/injections", session_id=told.session_id)
    assert (row["outcome"], row["reason"]) == ("told", "startup")
    until("the session is recorded", lambda: bool(machine.items("/api/prompts", session_id=told.session_id)))
    machine.run("backfill")
    stored = machine.rows(
        "select text from mem_user_prompts union all select text from mem_assistant_messages"
    )
    assert not [row for row in stored if "What agent-memory recorded" in row["text"]]


def test_disconnecting_leaves_the_users_settings(recorded: Recorded) -> None:
    recorded.machine.run("disconnect", "gemini")
    settings = (recorded.machine.home / ".gemini" / "settings.json").read_text(encoding="utf-8")
    assert "agent-memory" not in settings
    assert "The harbour opens at six." in settings
