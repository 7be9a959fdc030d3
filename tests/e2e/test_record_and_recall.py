"""The main job on real parts: Claude Code works, we record, and in the next session the agent recalls it."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import pytest

from tests.e2e import claude
from tests.e2e.claude import Result
from tests.e2e.installation import Installation, installed, until
from tests.e2e.messages_api import Script, ToolUse, text, tool

pytestmark = [pytest.mark.timeout(900), pytest.mark.usefixtures("client")]

# Made up, and put together here so that no scanner takes them for real ones.
TYPED_SECRET = "sk-" + "ant-api03-" + "Zq7Rm2Vx9Lt4Hw6Kc1Nd8Bf3Gs5Jy0Pa"
PRINTED_SECRET = "ghp_" + "w8Kd3Xn6Tq1Rb9Lm4Vz7Hc2Jf5Gs0PyAeUoi"

ASKED = f"Members are logged out after a minute. Find out why, and mend it. The test key is {TYPED_SECRET}."
ASKED_OF_SUBAGENT = "Count the lines of login.py and say which names it defines."
ASKED_NEXT = "Write the reason down in NOTES.md."
TIDES = Path(__file__).parent / "scripts" / "tide_server.py"
PROJECT = {
    "login.py": "LOGIN_TIMEOUT = 60\n\n\ndef expired(age):\n    return age > LOGIN_TIMEOUT\n",
    "service.env": f"GITHUB_TOKEN={PRINTED_SECRET}\nLOG_LEVEL=debug\n",
}


@dataclass(frozen=True)
class Recorded:
    """A session of two prompts that the client ran, and where it was recorded."""

    machine: Installation
    first: Result
    second: Result

    @property
    def session_id(self) -> str:
        return self.first.session_id

    @property
    def calls(self) -> list[ToolUse]:
        return self.first.calls + self.second.calls

    def row(self, call: ToolUse) -> dict[str, object]:
        (row,) = (row for row in self.rows() if row["tool_use_id"] == call.id)
        return row

    def rows(self) -> list[dict[str, object]]:
        return self.machine.items("/api/tool-calls", session_id=self.session_id, limit=5)

    def call(self, name: str, word: str = "") -> ToolUse:
        (found,) = (c for c in self.calls if c.name == name and word in json.dumps(c.input))
        return found


def script(project: Path) -> Script:
    """What the model answers: 15 tool calls."""
    login, test = str(project / "login.py"), str(project / "test_login.py")
    return {
        ASKED: [
            [
                text("I look at the code and at how the service is set up."),
                tool("Read", file_path=login),
                tool("Bash", command="cat service.env"),
                tool("Bash", command="grep -Hn TIMEOUT *.py"),
            ],
            [
                tool(
                    "Agent",
                    description="Look at login.py",
                    prompt=ASKED_OF_SUBAGENT,
                    subagent_type="general-purpose",
                )
            ],
            [tool("Write", file_path=test, content="from login import expired\n\nassert not expired(600)\n")],
            [text("The test fails, as it should."), tool("Bash", command="python3 -I test_login.py; exit 3")],
            [tool("Read", file_path=str(project / "no_such_file.py"))],
            [
                tool(
                    "Edit",
                    file_path=login,
                    old_string="LOGIN_TIMEOUT = 60\n",
                    new_string="LOGIN_TIMEOUT = 60 * 30  # seconds\n",
                )
            ],
            [
                tool("mcp__tides__high_water", harbour="Dover"),
                tool("Bash", command="git add -A && git status -s"),
            ],
            [
                tool(
                    "mcp__agent-memory__save_memory",
                    text="The unit of LOGIN_TIMEOUT is seconds; it was taken for minutes.",
                )
            ],
            [text("LOGIN_TIMEOUT was 60 seconds where 30 minutes were meant; login.py is mended.")],
        ],
        ASKED_OF_SUBAGENT: [
            [tool("Bash", command="wc -l login.py"), tool("Read", file_path=login)],
            [text("login.py has five lines and defines LOGIN_TIMEOUT and expired.")],
        ],
        ASKED_NEXT: [
            [tool("Write", file_path=str(project / "NOTES.md"), content="Timeouts are in seconds.\n")],
            [tool("Bash", command="cat NOTES.md")],
            [text("NOTES.md says that timeouts are in seconds.")],
        ],
    }


@pytest.fixture(scope="module")
def recorded() -> Iterator[Recorded]:
    with installed(PROJECT) as machine:
        machine.run("up", "--detach")
        servers = machine.home / "servers.json"
        tides = {"type": "stdio", "command": sys.executable, "args": [str(TIDES)]}
        servers.write_text(json.dumps({"mcpServers": {"tides": tides}}), encoding="utf-8")
        turns = script(machine.project)
        further = ("--mcp-config", str(servers))
        first = claude.run(machine.home, machine.project, turns, ASKED, *further)
        second = claude.run(
            machine.home, machine.project, turns, ASKED_NEXT, "--resume", first.session_id, *further
        )
        assert "login.py is mended" in first.stdout + second.stdout
        settle(machine)
        yield Recorded(machine, first, second)


def settle(machine: Installation) -> None:
    """Wait until everything that the hooks left is stored and has become a memory."""

    def idle() -> bool:
        health = machine.get("/api/health")
        return not health["spool"]["pending"] and not health["queue"]["pending"]

    until("the spool and the queue are empty", idle)


def test_every_tool_call_is_in_the_journal_exactly_once(recorded: Recorded) -> None:
    assert len(recorded.calls) >= 12
    stored = Counter(row["tool_use_id"] for row in recorded.rows())
    assert stored == Counter(call.id for call in recorded.calls)
    in_table = recorded.machine.rows(
        "select tool_use_id from mem_tool_calls where session_id = %s", recorded.session_id
    )
    assert Counter(row["tool_use_id"] for row in in_table) == stored
    for call in recorded.calls:
        row = recorded.row(call)
        assert row["tool_name"] == call.name
        assert call.input.items() <= dict(row["tool_input"]).items()  # type: ignore[call-overload]


def test_every_prompt_is_in_the_journal_exactly_once(recorded: Recorded) -> None:
    prompts = recorded.machine.items("/api/prompts", session_id=recorded.session_id)
    typed = sorted(prompt["text"] for prompt in prompts if prompt["kind"] == "user")
    assert len(typed) == 2, typed
    assert typed[0].startswith(ASKED.split(TYPED_SECRET)[0])
    assert typed[0].endswith(ASKED.split(TYPED_SECRET)[1])
    assert typed[1] == ASKED_NEXT
    assert {prompt["kind"] for prompt in prompts} <= {"user", "task_notification", "subagent"}


def test_every_tool_call_is_linked_to_the_prompt_that_drove_it(recorded: Recorded) -> None:
    prompts = {p["id"]: p for p in recorded.machine.items("/api/prompts", session_id=recorded.session_id)}
    for call in recorded.calls:
        row = recorded.row(call)
        prompt = prompts[row["prompt_id"]]
        asked = ASKED_NEXT if call.prompt == ASKED_NEXT else ASKED
        assert prompt["kind"] == "user", call
        assert prompt["text"][:30] == asked[:30], call


def test_calls_of_a_subagent_say_so(recorded: Recorded) -> None:
    agents = {call.prompt: recorded.row(call)["agent_id"] for call in recorded.calls}
    assert agents.pop(ASKED_OF_SUBAGENT)
    assert not any(agents.values())
    mine = [call for call in recorded.calls if call.prompt == ASKED_OF_SUBAGENT]
    assert len({recorded.row(call)["agent_id"] for call in mine}) == 1


def test_a_failed_call_is_a_failure_with_its_error(recorded: Recorded) -> None:
    failed = {
        recorded.call("Bash", "exit 3").id: "Exit code 3",
        recorded.call("Read", "no_such_file").id: "does not exist",
    }
    for call in recorded.calls:
        row = recorded.row(call)
        assert row["success"] is (call.id not in failed), row
        assert failed.get(call.id, "") in (row["error"] or ""), row  # type: ignore[operator]
        assert row["duration_ms"] is not None, row


def test_outputs_are_kept(recorded: Recorded) -> None:
    said = [
        (recorded.call("Bash", "grep"), "login.py:1:LOGIN_TIMEOUT = 60"),
        (recorded.call("Bash", "service.env"), "LOG_LEVEL=debug"),
        (recorded.call("mcp__tides__high_water"), "High water at Dover"),
        (recorded.call("Bash", "wc -l"), "5 login.py"),
    ]
    for call, words in said:
        assert words in str(recorded.row(call)["output"])


def test_the_session_is_whole(recorded: Recorded) -> None:
    session = recorded.machine.get(f"/api/sessions/{recorded.session_id}")
    assert session["agent"] == "claude"
    assert session["ended_at"] is not None
    assert session["cwd"] == str(recorded.machine.project)
    assert session["transcript_path"] == str(recorded.first.transcript)
    assert session["tool_calls"] == len(recorded.calls)


def test_a_secret_is_nowhere(recorded: Recorded) -> None:
    secrets = [TYPED_SECRET.encode(), PRINTED_SECRET.encode()]
    seen_by_client = recorded.first.transcript.read_bytes()
    assert all(secret in seen_by_client for secret in secrets), "the session held no secret to be found"
    where = {
        str(file)
        for file in recorded.machine.files()
        for secret in secrets
        if secret in file.read_bytes() or secret in os.fsencode(file)
    }
    assert not where
    dump = recorded.machine.dump().encode()
    assert b"LOG_LEVEL=debug" in dump, "the dump does not hold the output"
    assert not any(secret in dump for secret in secrets)


def test_the_next_session_recalls_what_this_one_did(recorded: Recorded) -> None:
    machine = recorded.machine
    question = "What was wrong with the login?"
    until(
        "the first session can be recalled",
        lambda: bool(
            machine.post("/api/recall", {"query": "login timeout", "project": str(machine.project)})["hits"]
        ),
    )
    asked: Script = {
        question: [
            [tool("mcp__agent-memory__recall", query="why were members logged out after a minute")],
            [text("LOGIN_TIMEOUT was taken for minutes.")],
        ]
    }
    done = claude.run(machine.home, machine.project, asked, question)
    (call,) = done.calls
    told = done.requests[-1].results[call.id]
    assert "login.py" in told
    assert "LOGIN_TIMEOUT" in told
    assert ASKED.split(" The test key")[0] in told
    assert "<agent-memory" in told, "what is recalled must be fenced as data"
    assert TYPED_SECRET not in told
    assert PRINTED_SECRET not in told


def test_the_agent_is_offered_our_tools(recorded: Recorded) -> None:
    offered = recorded.first.requests[0]
    for name in ("recall", "search", "timeline", "get_observations", "save_memory"):
        assert f"mcp__agent-memory__{name}" in [*offered.tools, *offered.shown.split()]


def test_a_call_that_runs_no_hook_is_read_from_the_transcript_and_nothing_doubles(recorded: Recorded) -> None:
    """The client runs no hook for a tool that it does not have: only the transcript tells of that call."""
    machine = recorded.machine
    asked: Script = {"Search it": [[tool("Grep", pattern="TIMEOUT")], [text("I have no such tool.")]]}
    gap = claude.run(machine.home, machine.project, asked, "Search it")
    until(
        "the call without a hook is stored",
        lambda: bool(machine.items("/api/tool-calls", session_id=gap.session_id)),
    )
    told = without_time(recorded.rows())
    machine.run("backfill")
    settle(machine)
    assert without_time(recorded.rows()) == told
    (row,) = machine.items("/api/tool-calls", session_id=gap.session_id)
    assert row["tool_use_id"] == gap.calls[0].id
    assert row["success"] is False
    for session in (recorded.session_id, gap.session_id):
        prompts = machine.items("/api/prompts", session_id=session)
        assert not [text for text, times in Counter(p["text"] for p in prompts).items() if times > 1]
        messages = machine.rows("select text from mem_assistant_messages where session_id = %s", session)
        assert not [text for text, times in Counter(m["text"] for m in messages).items() if times > 1]
        assert messages


def without_time(rows: list[dict[str, object]]) -> list[dict[str, object]]:
    """The transcript saw each call begin a little earlier than the hook."""
    return [{field: value for field, value in row.items() if field != "occurred_at"} for row in rows]


def test_wall_time_with_and_without_hooks(recorded: Recorded, capsys: pytest.CaptureFixture[str]) -> None:
    """The same session in turn. The bound is loose: what it costs is measured by bench/client.py."""
    machine = recorded.machine
    without = machine.home.parent / "unconnected"
    without.mkdir()
    prompt = "Run twelve commands"
    turns: Script = {
        prompt: [
            *([tool("Bash", command=f"echo {n}"), tool("Bash", command=f"echo {-n}")] for n in range(1, 7)),
            [text("Done.")],
        ]
    }
    ways = {
        "without us": (without, ()),
        "with hooks": (machine.home, ("--strict-mcp-config",)),
        "with hooks and the MCP server": (machine.home, ()),
    }
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(4):
        for way, (home, further) in ways.items():
            seconds[way].append(claude.run(home, machine.project, turns, prompt, *further).seconds)
    settle(machine)
    medians = {way: median(times[1:]) for way, times in seconds.items()}
    cost = (medians["with hooks"] - medians["without us"]) / 12
    with capsys.disabled():
        print("\na session of 12 tool calls, median of 3:", end=" ")
        print(", ".join(f"{seconds:.2f} s {way}" for way, seconds in medians.items()), end="; ")
        print(f"hooks {cost * 1000:.0f} ms a call")
    assert cost < 1


def test_down_leaves_no_process(recorded: Recorded) -> None:
    assert recorded.machine.processes()
    recorded.machine.run("down")
    assert recorded.machine.processes() == []
