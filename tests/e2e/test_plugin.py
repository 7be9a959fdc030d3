"""The Claude Code plugin, validated, installed and used by the real client."""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.e2e import claude
from tests.e2e.claude import Result
from tests.e2e.installation import Installation, installed, until
from tests.e2e.messages_api import Script, text, tool

pytestmark = [pytest.mark.timeout(600), pytest.mark.usefixtures("client")]

ASKED = "Why do members get two invoices? Mend it."
ASKED_NEXT = "What was wrong with the invoices?"
RECALL = "mcp__plugin_agent-memory_agent-memory__recall"


@dataclass(frozen=True)
class Used:
    """A session that was recorded through the plugin alone."""

    machine: Installation
    first: Result


def manage(client: Path, home: Path, *arguments: str) -> str:
    """`claude plugin …` as the user would call it."""
    done = subprocess.run(
        [client, "plugin", *arguments],
        cwd=home,
        env=claude.environment(home),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"claude plugin {' '.join(arguments)}: {done.stdout}{done.stderr}"
    return done.stdout


@pytest.mark.parametrize("folder", [REPOSITORY, REPOSITORY / "plugin"])
def test_the_client_finds_nothing_wrong_with_it(client: Path, folder: Path, tmp_path: Path) -> None:
    said = manage(client, tmp_path, "validate", str(folder))
    assert "Validation passed" in said


@pytest.fixture(scope="module")
def used(client: Path) -> Iterator[Used]:
    files = {"invoice.py": "def bill(order):\n    send(order)\n    send(order)\n"}
    with installed(files, connected=False) as machine:
        machine.run("up", "--detach")
        manage(client, machine.home, "marketplace", "add", str(REPOSITORY))
        manage(client, machine.home, "install", "agent-memory@agent-memory")
        assert "agent_memory" not in (machine.home / ".claude" / "settings.json").read_text(encoding="utf-8")
        invoice = str(machine.project / "invoice.py")
        turns: Script = {
            ASKED: [
                [text("I look first."), tool("Read", file_path=invoice), tool("Bash", command="ls; exit 3")],
                [
                    tool(
                        "Edit",
                        file_path=invoice,
                        old_string="    send(order)\n    send(order)\n",
                        new_string="    send(order)\n",
                    )
                ],
                [text("bill() sent the invoice twice; once is enough.")],
            ]
        }
        first = claude.run(machine.home, machine.project, turns, ASKED)
        settle(machine)
        yield Used(machine, first)


def settle(machine: Installation) -> None:
    def idle() -> bool:
        health = machine.get("/api/health")
        return not health["spool"]["pending"] and not health["queue"]["pending"]

    until("the spool and the queue are empty", idle)


def test_what_the_plugin_records_is_in_the_journal_once(used: Used) -> None:
    machine, first = used.machine, used.first
    stored = machine.items("/api/tool-calls", session_id=first.session_id)
    assert Counter(row["tool_use_id"] for row in stored) == Counter(call.id for call in first.calls)
    assert sorted(row["success"] for row in stored) == [False, True, True]
    assert all(row["duration_ms"] is not None for row in stored), "only a hook knows how long a call took"
    (prompt,) = machine.items("/api/prompts", session_id=first.session_id)
    assert prompt["text"] == ASKED
    assert machine.get(f"/api/sessions/{first.session_id}")["ended_at"] is not None


def test_the_next_session_recalls_through_the_plugins_server(used: Used) -> None:
    asked: Script = {
        ASKED_NEXT: [[tool(RECALL, query="why were invoices sent twice")], [text("bill() sent it twice.")]]
    }
    done = claude.run(used.machine.home, used.machine.project, asked, ASKED_NEXT)
    (call,) = done.calls
    assert "invoice.py" in done.requests[-1].results[call.id]
    assert "<agent-memory" in done.requests[-1].results[call.id]
    assert "agent-memory:recall" in str(done.requests[0].body), "the skill is not offered"


def test_connected_as_well_each_event_is_still_one(used: Used) -> None:
    machine = used.machine
    said = machine.run("connect", "claude")
    assert "plugin agent-memory is installed too" in said
    asked: Script = {"List it": [[tool("Bash", command="ls invoice.py")], [text("One file.")]]}
    done = claude.run(machine.home, machine.project, asked, "List it")
    settle(machine)
    (row,) = machine.items("/api/tool-calls", session_id=done.session_id)
    assert row["tool_use_id"] == done.calls[0].id
    assert len(machine.items("/api/prompts", session_id=done.session_id)) == 1
    machine.run("disconnect", "claude")


def test_where_agent_memory_is_gone_the_client_works_on(used: Used) -> None:
    machine = used.machine
    installation = machine.memory / "installation"
    kept = installation.read_text(encoding="utf-8")
    installation.write_text("/gone/python\n/gone/agent_memory/hook.py\n", encoding="utf-8")
    asked: Script = {"Go on": [[tool("Bash", command="echo on")], [text("It went on.")]]}
    done = claude.run(machine.home, machine.project, asked, "Go on")
    assert (done.exit_code, done.requests[-1].results[done.calls[0].id]) == (0, "on")
    installation.write_text(kept, encoding="utf-8")
