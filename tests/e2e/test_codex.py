"""The real Codex, connected as a user does it: what it did is in the spool, in the journal and in its own rollouts,
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

from agent_memory.agents.codex import connect, payload, transcript
from agent_memory.capture.drain import read_payload
from agent_memory.journal.event import AssistantMessage, Event, Prompt, ToolCall
from tests.conftest import isolate
from tests.e2e import codex, npm
from tests.e2e.codex import Result
from tests.e2e.installation import Installation, installed, until
from tests.e2e.messages_api import text, tool
from tests.e2e.responses_api import freeform
from tests.e2e.scripted import Script
from tests.e2e.test_service_dies import taken

pytestmark = pytest.mark.timeout(900)

ASKED = "Find out why boats miss the tide"
ASKED_NEXT = "Say it in one word"
ASKED_OF_ANOTHER = "Send a scout to the quay"
ASKED_OF_SUBAGENT = "Count the boats in harbour.md"
ASKED_IN_CODE = "Look once more, in code"
TIDES = Path(__file__).parent / "scripts" / "tide_server.py"
MEND = "*** Begin Patch\n*** Update File: harbour.md\n@@\n-Anne\n+Ann\n*** End Patch\n"
GHOST = "*** Begin Patch\n*** Update File: ghosts.md\n@@\n-a\n+b\n*** End Patch\n"

SCRIPT: Script = {
    ASKED: [
        [
            text("I look at the harbour."),
            tool("exec_command", cmd="cat harbour.md"),
            tool("exec_command", cmd="cat harbour.md"),
        ],
        [tool("exec_command", cmd="echo low water; exit 3")],
        [freeform("apply_patch", MEND)],
        [freeform("apply_patch", GHOST)],
        [tool("mcp__tides__high_water", harbour="Dover")],
        [tool("mcp__tides__high_water", port="Dover")],
        [tool("mcp__agent_memory__recall", query="why do boats miss the tide")],
        [text("The tide table is an hour late.")],
    ],
    ASKED_NEXT: [[tool("exec_command", cmd="echo late")], [text("Late.")]],
    ASKED_OF_ANOTHER: [
        [tool("multi_agent_v1__spawn_agent", message=ASKED_OF_SUBAGENT)],
        [tool("exec_command", cmd="sleep 3; echo back")],
        [text("The scout counted two.")],
    ],
    ASKED_OF_SUBAGENT: [[tool("exec_command", cmd="wc -l harbour.md")], [text("There are two boats.")]],
    ASKED_IN_CODE: [
        [
            freeform(
                "functions__exec",
                "const r = await tools.exec_command({cmd: 'cat harbour.md'}); text(r.output);",
            )
        ],
        [freeform("functions__exec", "throw new Error('no wind')")],
        [text("Nothing new.")],
    ],
}


@dataclass(frozen=True)
class Recorded:
    machine: Installation
    sessions: list[Result]
    """Two runs of one session, one with a subagent, and one in code mode."""
    spooled: list[Event]
    """What the hooks left, before the service took it."""
    told: list[Event]
    """What the rollouts tell."""

    def id(self, words: str) -> str:
        """The id of the call whose input holds these words."""
        calls = [call for session in self.sessions for call in session.calls]
        return next(call.id for call in calls if words in json.dumps([call.name, call.input]))

    def rows(self) -> list[dict[str, Any]]:
        return self.machine.rows("select * from mem_tool_calls order by occurred_at")

    def ended(self) -> list[bool]:
        return [row["success"] is not None for row in self.rows()]

    def row(self, id_: str) -> dict[str, Any]:
        (found,) = (row for row in self.rows() if row["tool_use_id"] == id_)
        return found


@pytest.fixture(scope="module")
def client() -> Path:
    try:
        return codex.executable()
    except npm.NotAvailableError as reason:
        line = f"REAL CODEX NOT AVAILABLE: {reason}"
        print(f"\n{line}", file=sys.__stderr__)
        pytest.skip(line)


@pytest.fixture(scope="module")
def recorded(client: Path) -> Iterator[Recorded]:
    with installed({"harbour.md": "Mary\nAnne\n"}) as machine:
        folder = machine.home / ".codex"
        folder.mkdir()
        config = folder / "config.toml"
        # Required servers are waited for. The model, which is not slow here, could else ask before they are up.
        config.write_text(
            f'[mcp_servers.tides]\ncommand = "{sys.executable}"\nargs = ["{TIDES}"]\nrequired = true\n',
            encoding="utf-8",
        )
        assert "/hooks" in machine.run("connect", "codex")
        ours = "[mcp_servers.agent-memory]\n"
        connected = config.read_text(encoding="utf-8").replace(ours, f"{ours}required = true\n")
        config.write_text(connected, encoding="utf-8")
        listed = codex.trust_hooks(machine.home, machine.project)
        assert {hook["trustStatus"] for hook in listed} == {"trusted"}
        assert len(listed) == len(connect.TIMEOUTS)
        new = machine.memory / "spool" / "new"
        # The service, which a session's start starts, cannot come up: the spool fills.
        with taken(machine.port):
            first = codex.run(machine.home, machine.project, SCRIPT, ASKED)
            second = codex.run(machine.home, machine.project, SCRIPT, ASKED_NEXT, "resume", first.session_id)
            with_subagent = codex.run(
                machine.home, machine.project, SCRIPT, ASKED_OF_ANOTHER, model=codex.WITH_SUBAGENTS
            )
            in_code = codex.run(machine.home, machine.project, SCRIPT, ASKED_IN_CODE, model=codex.CODE_MODE)
            files = sorted(new.iterdir())
            assert {file.suffix for file in files} == {".codex"}
            spooled = [
                event
                for file in files
                for event in payload.events(read_payload(file.read_bytes()), datetime.now(UTC))
            ]
        rollouts = {rollout for session in (first, with_subagent, in_code) for rollout in session.rollouts}
        told = [
            event
            for rollout in sorted(rollouts)
            for line in transcript.read(rollout)
            for event in line.events
        ]
        # Beside a start that fails (the last session's, whose port was taken) `up` may leave it at that.
        until("the service is up", lambda: bool(machine.run("up", "--detach")) and machine.answers())
        until("the spool is empty", lambda: not machine.get("/api/health")["spool"]["pending"])
        assert machine.get("/api/health")["spool"]["bad"] == 0
        found = Recorded(machine, [first, second, with_subagent, in_code], spooled, told)
        until("the rollouts are read", lambda: len(found.rows()) >= len(calls(told)) and all(found.ended()))
        yield found


def prompts(events: list[Event]) -> Counter[tuple[str, str | None, str]]:
    return Counter(
        (event.session_id, event.prompt_id, event.body.text)
        for event in events
        if isinstance(event.body, Prompt)
    )


def calls(events: list[Event]) -> dict[str, ToolCall]:
    """Each call as it was told at its beginning."""
    begun: dict[str, ToolCall] = {}
    for event in events:
        if isinstance(event.body, ToolCall):
            begun.setdefault(event.body.tool_use_id, event.body)
    return begun


def test_every_prompt_is_told_once_by_hooks_and_by_rollouts(recorded: Recorded) -> None:
    asked = [ASKED, ASKED_NEXT, ASKED_OF_ANOTHER, ASKED_OF_SUBAGENT, ASKED_IN_CODE]
    by_hooks = prompts(recorded.spooled)
    assert sorted(words for _, _, words in by_hooks.elements()) == sorted(asked)
    assert by_hooks == prompts(recorded.told)
    rows = recorded.machine.rows("select session_id, id, text, kind from mem_user_prompts")
    assert Counter((row["session_id"], row["id"], row["text"]) for row in rows) == by_hooks
    kinds = {row["text"]: row["kind"] for row in rows}
    assert kinds.pop(ASKED_OF_SUBAGENT) == "subagent"
    assert set(kinds.values()) == {"user"}


def test_every_call_is_told_once_by_hooks_and_by_rollouts(recorded: Recorded) -> None:
    by_hooks, by_rollouts = calls(recorded.spooled), calls(recorded.told)
    made = {call.id for session in recorded.sessions for call in session.calls}
    # Hooks tell the calls that a script makes, and not the script itself.
    scripts = {id_ for id_, call in by_rollouts.items() if call.name == "exec"}
    inner = {id_ for id_ in by_hooks if id_.startswith("exec-")}
    assert len(scripts) == 2
    assert len(inner) == 1
    assert set(by_hooks) == made - scripts | inner
    assert set(by_rollouts) == made | inner
    for id_, call in by_hooks.items():
        assert (call.name, call.input) == (by_rollouts[id_].name, by_rollouts[id_].input)
    begun = Counter(
        event.body.tool_use_id
        for event in recorded.spooled
        if isinstance(event.body, ToolCall) and event.body.output is None and event.body.success is None
    )
    assert begun == Counter(list(by_hooks))
    assert Counter(row["tool_use_id"] for row in recorded.rows()) == Counter(list(by_rollouts))


def test_calls_belong_to_the_prompt_that_drove_them(recorded: Recorded) -> None:
    rows = recorded.machine.rows(
        "select tool_use_id, text, t.agent_id from mem_tool_calls t"
        " join mem_user_prompts p on p.session_id = t.session_id and p.id = t.prompt_id"
    )
    drove = {row["tool_use_id"]: row["text"] for row in rows}
    for session in recorded.sessions[:3]:
        for call in session.calls:
            assert drove[call.id] == call.prompt
    assert [row["text"] for row in rows if row["agent_id"]] == [ASKED_OF_SUBAGENT]


def test_what_hooks_do_not_tell_the_rollout_does(recorded: Recorded) -> None:
    by_hooks: dict[str, bool | None] = {}
    for event in recorded.spooled:
        if isinstance(event.body, ToolCall):
            by_hooks[event.body.tool_use_id] = event.body.success
    failed, patched, refused = (recorded.id(words) for words in ("exit 3", "ghosts", '"port"'))
    assert {by_hooks[id_] for id_ in (failed, patched, refused)} == {None}
    errors = {row["tool_use_id"]: row["error"] for row in recorded.rows() if row["success"] is False}
    assert errors.pop(failed) == "Exit code 3\nlow water"
    assert "ghosts.md" in errors.pop(patched)
    assert "harbour" in errors.pop(refused)
    (script,) = errors.values()
    assert "no wind" in script


def test_results_are_recorded_and_our_own_tools_answer_is_not(recorded: Recorded) -> None:
    assert "Mary" in recorded.row(recorded.id("cat harbour.md"))["output"]
    high_water = recorded.row(recorded.id("Dover"))
    assert (high_water["tool_name"], high_water["success"]) == ("mcp__tides__high_water", True)
    assert "04:12" in high_water["output"]
    ours = recorded.row(recorded.id("recall"))
    assert ours["tool_name"] == "mcp__agent-memory__recall"
    assert ours["output"] is None
    patch = recorded.row(recorded.id("harbour.md\\n@@"))
    assert (patch["success"], patch["tool_input"]) == (True, {"command": MEND})


def test_what_was_said_is_told_once(recorded: Recorded) -> None:
    said = Counter(
        (event.session_id, event.prompt_id, event.body.text)
        for event in recorded.told
        if isinstance(event.body, AssistantMessage)
    )
    rows = recorded.machine.rows("select session_id, prompt_id, text, usage from mem_assistant_messages")
    assert Counter((row["session_id"], row["prompt_id"], row["text"]) for row in rows) == said
    assert all(row["usage"]["output_tokens"] == 20 for row in rows)
    # Hooks tell what was said last in a turn.
    by_hooks = {event.body.text for event in recorded.spooled if isinstance(event.body, AssistantMessage)}
    assert {text for *_, text in said} - by_hooks == {"I look at the harbour."}


def test_the_sessions_are_whole(recorded: Recorded) -> None:
    first, _, with_subagent, in_code = recorded.sessions
    rows = recorded.machine.rows("select * from mem_sessions where agent = 'codex'")
    assert {row["id"] for row in rows} == {first.session_id, with_subagent.session_id, in_code.session_id}
    for row in rows:
        assert row["cwd"] == str(recorded.machine.project)
        assert row["ended_at"] is not None
        assert Path(row["transcript_path"]).exists()
    models = {row["id"]: row["model"] for row in rows}
    assert models[first.session_id] == codex.PLAIN
    assert models[in_code.session_id] == codex.CODE_MODE


def test_the_hash_that_tells_whether_a_hook_is_trusted_is_codexs(recorded: Recorded) -> None:
    with pytest.MonkeyPatch.context() as patch:
        isolate(patch, recorded.machine.home)
        patch.delenv("CODEX_HOME", raising=False)
        assert connect.untrusted() == []
        assert connect.note() is None


def test_reading_the_rollouts_once_more_changes_nothing(recorded: Recorded) -> None:
    tables = ("mem_user_prompts", "mem_tool_calls", "mem_assistant_messages")
    before = [recorded.machine.rows(f"select * from {table} order by 1, 2") for table in tables]
    recorded.machine.rows("delete from mem_transcripts returning path")
    recorded.machine.run("backfill", str(recorded.machine.home / ".codex" / "sessions"))
    assert recorded.machine.rows("select path from mem_transcripts")
    assert [recorded.machine.rows(f"select * from {table} order by 1, 2") for table in tables] == before


def test_an_untrusted_hook_does_not_run_and_we_know_it(client: Path) -> None:
    with installed({"harbour.md": "Mary\n"}) as machine:
        machine.run("connect", "codex")
        with pytest.MonkeyPatch.context() as patch:
            isolate(patch, machine.home)
            patch.delenv("CODEX_HOME", raising=False)
            assert len(connect.untrusted()) == len(connect.TIMEOUTS)
        done = codex.run(machine.home, machine.project, SCRIPT, ASKED_NEXT)
        assert done.exit_code == 0
        assert not list((machine.memory / "spool").rglob("*.codex"))
        machine.run("disconnect", "codex")
        settings = [machine.home / ".codex" / name for name in ("config.toml", "hooks.json")]
        assert not any(
            "agent-memory" in file.read_text(encoding="utf-8") for file in settings if file.exists()
        )


def test_the_next_session_is_told_what_the_project_was_about_and_does_not_record_it(
    recorded: Recorded,
) -> None:
    machine = recorded.machine
    until("the turns are remembered", lambda: not machine.get("/api/health")["queue"]["pending"])
    told = codex.run(machine.home, machine.project, SCRIPT, ASKED_NEXT)
    request = json.dumps(told.requests[0])
    assert request.count("What agent-memory recorded in this project") == 1
    assert "The tide table is an hour late." in request
    (row,) = machine.items("/api/injections", session_id=told.session_id)
    assert (row["outcome"], row["reason"]) == ("told", "startup")
    stored = machine.rows(
        "select text from mem_user_prompts union all select text from mem_assistant_messages"
    )
    assert not [row for row in stored if "What agent-memory recorded" in row["text"]]
