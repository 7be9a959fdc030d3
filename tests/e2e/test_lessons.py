"""The second mistake, with the real Claude Code: a failure in one session, a lesson of it, and what the next one hears.

What is asked of lessons as a whole: what fails is recorded, a lesson of it is approved, the warning stands in the next
session's request to the model, a refused call does not run, another project hears nothing, and a service that hangs or
is gone costs nothing and says nothing.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import claude
from tests.e2e.installation import Installation, installed, until
from tests.e2e.messages_api import Request, Script, text, tool

pytestmark = [pytest.mark.usefixtures("client"), pytest.mark.timeout(600)]

FAILS = "python3 manage.py deploy --now"
WORKS = "python3 manage.py deploy --stage blue"
RULE = "Deploy with --stage: without one the deployment fails."
WARNED = "rules that the user approved"
"""What stands beside a rule that a hook tells in the middle of the work; at a session's start it may stand alone."""
FILES = {
    "manage.py": """\
import pathlib, sys
pathlib.Path("ran.txt").open("a").write(" ".join(sys.argv[1:]) + "\\n")
if "--stage" not in sys.argv:
    sys.exit("error: no stage was given")
print("deployed")
"""
}


@pytest.fixture(scope="module")
def machine(client: Path) -> Iterator[Installation]:
    with installed(FILES) as machine:
        machine.run("up", "--detach")
        yield machine


def session(machine: Installation, prompt: str, *commands: str, project: Path | None = None) -> claude.Result:
    """A session in which the model runs these commands, one after the other."""
    script: Script = {prompt: [*([tool("Bash", command=command)] for command in commands), [text("Done.")]]}
    return claude.run(machine.home, project or machine.project, script, prompt)


def heard(result: claude.Result) -> list[str]:
    """What the client put into each request beside the conversation: what the hooks said stands there."""
    return [json.dumps(request.body["messages"], ensure_ascii=False) for request in main(result)]


def main(result: claude.Result) -> list[Request]:
    return [request for request in result.requests if request.prompt is not None]


def ran(machine: Installation) -> list[str]:
    file = machine.project / "ran.txt"
    return file.read_text(encoding="utf-8").split("\n")[:-1] if file.exists() else []


def stored(machine: Installation, result: claude.Result, calls: int) -> None:
    until(
        "the session is stored",
        lambda: len(machine.items("/api/tool-calls", session_id=result.session_id)) == calls,
    )


def lesson_of(machine: Installation, failed: claude.Result) -> int:
    """The candidate that the failure leads to. An agent proposes it here, over the socket and under its own name, as a
    finding of the mining would be: it cannot speak before the user has approved it."""
    proposed = machine.post(
        "/api/lessons",
        {
            "rule": RULE,
            "project": str(machine.project),
            "trigger_tool": "Bash",
            "trigger_pattern": r"manage\.py deploy(?:$| --now)",
            "severity": "critical",
        },
        agent="claude",
    )
    assert (proposed["status"], proposed["made_by"]) == ("candidate", "model")
    assert failed.calls
    return int(proposed["id"])


def asked(machine: Installation) -> str:
    asks = machine.memory / "asks"
    return asks.read_text(encoding="ascii") if asks.exists() else ""


@pytest.fixture(scope="module")
def lesson(machine: Installation) -> int:
    """An approved lesson of a real failure. Until it is approved, nothing is said."""
    failed = session(machine, "Deploy it", FAILS, FAILS)
    stored(machine, failed, 2)
    assert all(
        row["success"] is False for row in machine.items("/api/tool-calls", session_id=failed.session_id)
    )
    number = lesson_of(machine, failed)
    silent = session(machine, "Deploy once more", FAILS)
    assert RULE not in "".join(heard(silent))
    assert "PreToolUse" not in asked(machine)
    machine.run("lesson", "approve", str(number))
    until("the hooks ask about it", lambda: "PreToolUse 100 Bash" in asked(machine))
    return number


def test_the_next_session_is_warned_inside_the_models_request(machine: Installation, lesson: int) -> None:
    done = session(machine, "Deploy again", FAILS, WORKS)
    first, after_failure, *rest = heard(done)
    assert WARNED not in first
    assert f"{WARNED}, learned from earlier mistakes" in after_failure, "it comes with the call's result"
    assert after_failure.count(RULE) == first.count(RULE) + 1
    assert all(later.count(WARNED) == 1 for later in rest), "not told twice"
    stored(machine, done, 2)
    (firing,) = machine.rows("select * from mem_lesson_events where session_id = %s", done.session_id)
    assert (firing["lesson_id"], firing["tool_use_id"]) == (lesson, done.calls[0].id)
    assert firing["phase"] == "before"
    until(
        "what came of it is known",
        lambda: next(one for one in listed(machine) if one["id"] == lesson)["prevented"] == 1,
    )


def listed(machine: Installation) -> list[dict[str, Any]]:
    lessons: list[dict[str, Any]] = json.loads(machine.run("lesson", "list", "--json"))
    return lessons


def test_another_project_hears_nothing(machine: Installation, lesson: int) -> None:
    other = machine.home.parent / "bookshop"
    other.mkdir()
    (other / "manage.py").write_text(FILES["manage.py"], encoding="utf-8")
    subprocess.run(["git", "init", "-q"], cwd=other, check=True)
    done = session(machine, "Deploy the bookshop", FAILS, project=other)
    assert RULE not in "".join(heard(done))
    assert not machine.rows("select * from mem_lesson_events where session_id = %s", done.session_id)


def test_a_service_that_hangs_says_nothing_and_costs_a_tenth_of_a_second(
    machine: Installation, lesson: int
) -> None:
    pid = machine.service_pid()
    os.kill(pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        done = session(machine, "Deploy while it hangs", FAILS)
        took = time.monotonic() - began
    finally:
        os.kill(pid, signal.SIGCONT)
    assert done.exit_code == 0
    assert WARNED not in "".join(heard(done))
    assert took < 60, "nothing waits for more than its deadline"
    stored(machine, done, 1)


def test_a_denied_call_does_not_run_and_the_model_hears_why(machine: Installation, lesson: int) -> None:
    machine.run("lesson", "edit", str(lesson), "--action", "deny")
    until("the service has heard of it", lambda: denies(machine))
    before = len(ran(machine))
    done = session(machine, "Deploy at last", FAILS, FAILS, WORKS)
    assert [line.split()[-1] for line in ran(machine)[before:]] == ["blue"]
    results = {call.id: main(done)[-1].results[call.id] for call in done.calls}
    refused = [results[call.id] for call in done.calls[:2]]
    assert all(f"Refused by agent-memory, lesson {lesson}: {RULE}" in said for said in refused)
    assert "deployed" in results[done.calls[2].id]

    def ends() -> list[bool | None]:
        return [row["success"] for row in machine.items("/api/tool-calls", session_id=done.session_id)]

    until(
        "their ends are read from the session's file", lambda: sorted(ends(), key=str) == [False, False, True]
    )
    firings = machine.rows(
        "select * from mem_lesson_events where session_id = %s order by id", done.session_id
    )
    assert [one["action"] for one in firings] == ["deny", "deny"]

    def settled() -> bool:
        sql = "select outcome from mem_lesson_events where session_id = %s order by id"
        return [one["outcome"] for one in machine.rows(sql, done.session_id)] == ["ignored", "prevented"]

    until("what came of them is known", settled)


def denies(machine: Installation) -> bool:
    payload = {
        "session_id": f"probe-{time.monotonic_ns()}",
        "cwd": str(machine.project),
        "hook_event_name": "PreToolUse",
        "tool_name": "Bash",
        "tool_use_id": "probe",
        "tool_input": {"command": FAILS},
    }
    said = machine.post("/api/hook", payload)
    return bool(said["hookSpecificOutput"].get("permissionDecision") == "deny")


def test_without_the_service_a_denied_call_runs_and_nothing_is_said(
    machine: Installation, lesson: int
) -> None:
    machine.run("down")
    before = len(ran(machine))
    with socket.socket() as taken:  # so that the session's start cannot bring the service back
        taken.bind(("127.0.0.1", machine.port))
        taken.listen()
        done = session(machine, "Deploy without the service", FAILS)
    assert len(ran(machine)) == before + 1
    assert WARNED not in "".join(heard(done))
    assert done.exit_code == 0
    machine.run("up", "--detach")
    stored(machine, done, 1)


def test_after_a_failure_and_at_the_end_the_model_is_told_too(machine: Installation, lesson: int) -> None:
    machine.run("lesson", "retire", str(lesson))
    failure = ("--phase", "after_failure", "--tool", "Bash", "--pattern", "no stage was given")
    machine.run("lesson", "add", "The stages are blue and green.", *failure)
    machine.run("lesson", "add", "Say which stage was deployed.", "--phase", "end")
    until("the hooks ask", lambda: {"PostToolUseFailure", "Stop"} <= set(asked(machine).split()))
    prompt = "Deploy and tell"
    script: Script = {
        prompt: [[tool("Bash", command=FAILS)], [text("It failed.")], [text("None was deployed.")]]
    }
    done = claude.run(machine.home, machine.project, script, prompt)
    first, second, third = heard(done)
    told = "(warning): The stages are blue and green.", "(warning): Say which stage was deployed."
    assert [said in first for said in told] == [False, False]
    assert [said in second for said in told] == [True, False]
    assert [said in third for said in told] == [True, True]
    assert done.stdout.strip() == "None was deployed."


def test_a_call_whose_client_is_killed_is_known_from_its_file(machine: Installation, lesson: int) -> None:
    """That a call begins is not recorded by the hook any more: the session's own file tells of it (promise 2)."""
    prompt = "Wait for the deployment"
    script: Script = {prompt: [[tool("Bash", command="touch begun && sleep 120")], [text("Done.")]]}
    with claude.running(machine.home, machine.project, script, prompt) as (session_id, process):
        until("the call has begun", (machine.project / "begun").exists)
        claude.end_group(process)
    machine.run("down")
    machine.run("up", "--detach")

    def known() -> bool:
        rows = machine.items("/api/tool-calls", session_id=session_id)
        return [(row["tool_input"]["command"], row["success"]) for row in rows] == [
            ("touch begun && sleep 120", None)
        ]

    until("the call is known", known)
