"""What a session of the real client is told unasked: its model's requests show it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent_memory import hook
from tests.e2e import claude
from tests.e2e.claude import Result
from tests.e2e.installation import Installation, installed, until
from tests.e2e.messages_api import Script, text, tool
from tests.e2e.test_record_and_recall import settle

pytestmark = [pytest.mark.timeout(900), pytest.mark.usefixtures("client")]

FIRST = "Find out why members are logged out after a minute, and mend it."
ANSWER = (
    "LOGIN_TIMEOUT was 60 seconds where 30 minutes were meant; login.py is mended.\n\nNext steps:\n- Tell all"
)
SECOND = "Write the release notes for March."
AGAIN = "Why were the members logged out after a minute? Was it LOGIN_TIMEOUT?"
GO_ON = "yes, go on"
SCRIPT: Script = {
    FIRST: [[tool("Bash", command="cat login.py")], [text(ANSWER)]],
    SECOND: [[text("The notes for March are in NOTES.md.")]],
    AGAIN: [[text("It was the unit of LOGIN_TIMEOUT, as I was told.")]],
    GO_ON: [[text("There is nothing to go on with.")]],
}
FENCED = re.compile(r"<agent-memory note=.*?</agent-memory>", re.S)


@pytest.fixture(scope="module")
def machine() -> Iterator[Installation]:
    """A user who wants to be shown things at prompts too, with one session behind him."""
    with installed({"login.py": "LOGIN_TIMEOUT = 60\n"}) as machine:
        with (machine.memory / "config.toml").open("a", encoding="utf-8") as config:
            config.write("agent_memory_prompt_context = true\n")
        machine.run("up", "--detach")
        claude.run(machine.home, machine.project, SCRIPT, FIRST)
        settle(machine)
        until("vectors are there", lambda: machine.get("/api/counts")["vectors"] > 0)
        yield machine


def told(result: Result) -> list[str]:
    """What of ours stands in the model's first request of a run that answers a prompt."""
    first = next(request for request in result.requests if request.tools)
    return FENCED.findall(first.shown)


def journal(machine: Installation) -> str:
    """Everything that is remembered or journalled, as one text."""
    rows = machine.rows(
        "select text from mem_user_prompts union all select text from mem_assistant_messages"
        " union all select coalesce(output, '') from mem_tool_calls"
        " union all select title || text from mem_observations"
    )
    return "\n".join(row["text"] for row in rows)


def test_the_second_session_knows_of_the_first_and_why_says_so(machine: Installation) -> None:
    second = claude.run(machine.home, machine.project, SCRIPT, SECOND)
    assert second.exit_code == 0
    (context,) = told(second)
    assert "recalled notes, not instructions" in context
    assert FIRST in context
    assert "LOGIN_TIMEOUT was 60 seconds" in context
    assert "said to be left: Tell all" in context
    assert len(context) <= 2_000
    why = machine.run("why", second.session_id)
    assert f"SessionStart: {len(context)} characters (startup" in why
    assert FIRST in why
    at_prompt, at_start = machine.items("/api/injections", session_id=second.session_id)
    assert (at_start["outcome"], at_start["chars"]) == ("told", len(context))
    assert (at_prompt["outcome"], at_prompt["chars"]) == ("silent", 0)


def test_another_projects_session_does_not(machine: Installation) -> None:
    bakery = machine.home.parent / "bakery"
    bakery.mkdir()
    subprocess.run(["git", "init", "-q"], cwd=bakery, check=True)
    assert told(claude.run(machine.home, bakery, SCRIPT, SECOND)) == []


def test_a_compacted_session_is_told_again_and_a_resumed_one_is_not(machine: Installation) -> None:
    first = claude.run(machine.home, machine.project, SCRIPT, GO_ON)
    settle(machine)
    (context,) = told(first)
    resume = ("--resume", first.session_id)
    resumed = claude.run(machine.home, machine.project, SCRIPT, GO_ON, *resume)
    assert told(resumed) == [context], "the client sends it again by itself; more than that is one too many"
    claude.run(machine.home, machine.project, SCRIPT, "/compact", *resume)
    after = claude.run(machine.home, machine.project, SCRIPT, GO_ON, *resume)
    (again,) = told(after)
    assert again == context, "the same state gives the same bytes"
    reasons = [
        row["reason"]
        for row in reversed(machine.items("/api/injections", session_id=first.session_id))
        if row["chars"]
    ]
    assert reasons == ["startup", "compact"]


def test_a_prompt_is_shown_what_certainly_belongs_to_it_once(machine: Installation) -> None:
    asked = claude.run(machine.home, machine.project, SCRIPT, AGAIN)
    context, hits = told(asked)
    assert "login.py is mended" in hits
    assert len(hits) <= 1_500
    at_prompt = [
        r
        for r in machine.items("/api/injections", session_id=asked.session_id)
        if r["event"] != "SessionStart"
    ]
    assert [(row["outcome"], row["chars"]) for row in at_prompt] == [("told", len(hits))]
    repeated = claude.run(machine.home, machine.project, SCRIPT, AGAIN, "--resume", asked.session_id)
    assert told(repeated) == [context, hits]


def test_what_was_told_is_no_memory(machine: Installation) -> None:
    settle(machine)
    machine.run("backfill")
    settle(machine)
    stored = journal(machine)
    assert AGAIN in stored
    for ours in (
        "recalled notes",
        "What agent-memory recorded",
        "additional context",
        "get_observations gives one",
    ):
        assert ours not in stored


def test_a_project_that_wants_silence_has_it(machine: Installation) -> None:
    machine.run("context", "--off")
    assert told(claude.run(machine.home, machine.project, SCRIPT, SECOND)) == []
    machine.run("context", "--on")
    assert told(claude.run(machine.home, machine.project, SCRIPT, SECOND))


def test_a_session_goes_on_beside_a_hung_service(machine: Installation) -> None:
    quick = claude.run(machine.home, machine.project, SCRIPT, SECOND, "--strict-mcp-config")
    pid = machine.service_pid()
    os.kill(pid, signal.SIGSTOP)
    try:
        hung = claude.run(machine.home, machine.project, SCRIPT, SECOND, "--strict-mcp-config")
    finally:
        os.kill(pid, signal.SIGCONT)
    assert hung.exit_code == 0
    assert told(hung) == []
    assert "NOTES.md" in hung.stdout
    assert (
        hung.seconds < quick.seconds + 5
    )  # 0.5 s at the start and 0.12 s at the prompt, on a machine that is busy


def test_the_first_session_of_the_day_starts_the_service_and_waits_for_what_it_tells(
    machine: Installation,
) -> None:
    """The client goes on whether the service is up in time or not; the hook, given time, tells what it would have."""
    machine.run("down")
    first = claude.run(machine.home, machine.project, SCRIPT, SECOND)
    assert first.exit_code == 0
    assert "NOTES.md" in first.stdout
    until("the session's start has started the service", machine.answers)
    machine.run("down")
    source = Path(hook.__file__).read_text(encoding="utf-8")
    patient = machine.home / "hook.py"
    patient.write_text(source.replace("START_WAIT = 3.0", "START_WAIT = 60.0"), encoding="utf-8")
    assert patient.read_text(encoding="utf-8") != source
    start = {
        "hook_event_name": "SessionStart",
        "session_id": "early",
        "cwd": str(machine.project),
        "source": "startup",
    }
    told = subprocess.run(
        [sys.executable, "-I", "-S", patient, "claude"],
        input=json.dumps(start),
        env=claude.environment(machine.home),
        cwd=machine.project,
        capture_output=True,
        text=True,
        check=True,
    )
    assert FENCED.fullmatch(json.loads(told.stdout)["hookSpecificOutput"]["additionalContext"])
    (row,) = machine.items("/api/injections", session_id="early")
    assert row["outcome"] == "told"
