"""A lesson that nobody wrote, with the real Claude Code: a session fails and finds out, the mining makes a candidate of
it, the user approves it, and the next session is warned before it makes the same mistake."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e import claude
from tests.e2e.installation import Installation, installed, until
from tests.e2e.messages_api import Script, text, tool

pytestmark = [pytest.mark.usefixtures("client"), pytest.mark.timeout(600)]

FAILS = "python3 release.py --now"
WORKS = "python3 release.py --stage blue"
FILES = {
    "release.py": """\
import argparse

parser = argparse.ArgumentParser()
parser.add_argument("--stage", required=True)
parser.add_argument("--now", action="store_true")
print("released to", parser.parse_args().stage)
"""
}


@pytest.fixture(scope="module")
def machine(client: Path) -> Iterator[Installation]:
    with installed(FILES) as machine:
        machine.run("up", "--detach")
        yield machine


def session(machine: Installation, prompt: str, *commands: str) -> claude.Result:
    """A session in which the model runs these commands, one after the other. All of it is stored."""
    script: Script = {prompt: [*([tool("Bash", command=command)] for command in commands), [text("Done.")]]}
    done = claude.run(machine.home, machine.project, script, prompt)
    until(
        "the session is stored",
        lambda: len(machine.items("/api/tool-calls", session_id=done.session_id)) == len(commands),
    )
    return done


def test_a_failure_becomes_a_lesson_that_warns_the_next_session(machine: Installation) -> None:
    failed = session(machine, "Release it", FAILS, FAILS, WORKS)
    mine = ("lesson", "mine", "--project", str(machine.project))
    assert "1 would be proposed" in machine.run(*mine, "--dry-run")
    machine.run(*mine)
    (candidate,) = json.loads(machine.run("lesson", "list", "--project", str(machine.project), "--json"))
    assert (candidate["status"], candidate["made_by"]) == ("candidate", "mining")
    assert "failed 2 times here" in candidate["rule"]
    assert candidate["rule"].endswith("what worked: `python3 release.py --stage blue`.")
    stored = {row["id"] for row in machine.items("/api/tool-calls", session_id=failed.session_id)}
    assert set(candidate["evidence"]["tool_calls"]) == stored
    before = machine.rows("select *, xmin::text from mem_lessons")
    assert "Nothing new" in machine.run(*mine)
    assert machine.rows("select *, xmin::text from mem_lessons") == before

    machine.run("lesson", "approve", str(candidate["id"]))
    asks = machine.memory / "asks"
    until(
        "the hooks ask", lambda: asks.exists() and "PreToolUse 100 Bash" in asks.read_text(encoding="ascii")
    )
    warned = session(machine, "Release it again", FAILS, WORKS)
    requests = [
        json.dumps(one.body["messages"], ensure_ascii=False)
        for one in warned.requests
        if one.prompt is not None
    ]
    rule = json.dumps(candidate["rule"], ensure_ascii=False)[1:-1]
    assert "rules that the user approved" not in requests[0]
    assert "rules that the user approved" in requests[1], "it comes with the call's result"
    assert rule in requests[1]
    (firing,) = machine.rows("select * from mem_lesson_events where session_id = %s", warned.session_id)
    assert (firing["lesson_id"], firing["tool_use_id"]) == (candidate["id"], warned.calls[0].id)

    machine.run("lesson", "retire", str(candidate["id"]))
    session(machine, "Release it once more", FAILS, FAILS, WORKS)
    assert "Nothing new" in machine.run(*mine)
