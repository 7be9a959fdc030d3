"""Backup and restore as their user does it: with the command line, while the service runs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from agent_memory import hook
from tests.e2e import claude
from tests.e2e.installation import COMMAND, Installation, installed, until

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def machine() -> Iterator[Installation]:
    with installed({"README.md": "A shop.\n"}) as machine:
        machine.run("up", "--detach")
        yield machine


def tell(machine: Installation, **payload: Any) -> None:
    """What the agent's hook does."""
    told = {"session_id": "11111111-2222-4333-8444-555555555555", "cwd": str(machine.project), **payload}
    subprocess.run(
        [sys.executable, "-I", "-S", hook.__file__, "claude"],
        input=json.dumps(told).encode(),
        env=claude.environment(machine.home),
        check=True,
    )


def turn(machine: Installation, prompt_id: str, prompt: str, answer: str) -> None:
    tell(machine, hook_event_name="UserPromptSubmit", prompt_id=prompt_id, prompt=prompt)
    tell(machine, hook_event_name="Stop", prompt_id=prompt_id, last_assistant_message=answer)


def settled(machine: Installation) -> bool:
    health = machine.get("/api/health")
    waiting: list[int] = [
        health["spool"]["pending"],
        health["queue"]["pending"],
        health["queue"]["unembedded"],
    ]
    return not any(waiting)


def prompts(machine: Installation) -> set[str]:
    return {item["text"] for item in machine.items("/api/prompts")}


FIRST = ("p1", "Why does the login fail on localhost?", "The session cookie was marked secure.")
LATER = ("p2", "Rename the shop", "Renamed it.")


def test_the_drill_with_a_running_service_and_events_that_wait(machine: Installation) -> None:
    turn(machine, *FIRST)
    until("it is stored", lambda: len(prompts(machine)) == 1 and settled(machine))
    question = ("recall", "login cookie", "--json")
    before = json.loads(machine.run(*question))
    assert before["hits"]
    made = json.loads(machine.run("backup", "now", "--json"))
    turn(machine, *LATER)
    until("the later one is stored", lambda: len(prompts(machine)) == 2 and settled(machine))
    # An event that waits in the spool while the database is replaced comes into the new one.
    os.kill(machine.service_pid(), signal.SIGSTOP)
    turn(machine, "p3", "And what waited?", "It waited.")
    os.kill(machine.service_pid(), signal.SIGKILL)
    machine.rows("delete from mem_user_prompts returning id")
    machine.rows("delete from mem_observations returning id")
    pid = machine.service_pid()
    machine.run("up", "--detach")
    said = machine.run("backup", "restore", made["name"], "--yes")
    assert "The service runs again" in said
    assert machine.service_pid() != pid
    until("what waited is stored", lambda: settled(machine) and FIRST[1] in prompts(machine))
    after = json.loads(machine.run(*question))
    assert [(hit["id"], hit["text"]) for hit in after["hits"]] == [
        (h["id"], h["text"]) for h in before["hits"]
    ]
    kinds = [backup["kind"] for backup in json.loads(machine.run("backup", "list", "--json"))]
    assert kinds == ["before-restore", "manual"]
    assert json.loads(machine.run("backup", "verify", "--json"))["verify_problem"] is None
    assert machine.get("/api/health")["status"] == "ok"


def test_a_restore_that_is_killed_leaves_all_as_it_was(machine: Installation) -> None:
    turn(machine, *FIRST)
    until("it is stored", lambda: len(prompts(machine)) == 1 and settled(machine))
    machine.run("backup", "now")
    turn(machine, *LATER)
    until("the later one is stored", lambda: len(prompts(machine)) == 2 and settled(machine))
    expected = prompts(machine)
    environment = claude.environment(machine.home) | {"PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        [COMMAND, "backup", "restore", "--yes"], env=environment, stdout=subprocess.PIPE, text=True
    ) as restoring:
        assert restoring.stdout is not None
        for line in restoring.stdout:
            if "restoring beside it" in line:
                time.sleep(0.1)
                restoring.kill()
    assert restoring.returncode == -signal.SIGKILL
    machine.run("up", "--detach")
    assert prompts(machine) == expected
    machine.run("backup", "now")
    names = [row["datname"] for row in machine.rows("select datname from pg_database")]
    assert not [name for name in names if "temporary" in name]
    assert json.loads(machine.run("doctor", "--json"))["findings"] == []


def test_without_a_word_nothing_is_overwritten(machine: Installation) -> None:
    machine.run("backup", "now")
    for answer, said in (("", "nobody is here to ask"), ("no\n", "Nothing was changed")):
        done = subprocess.run(
            [COMMAND, "backup", "restore"],
            input=answer,
            env=claude.environment(machine.home),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1
        assert said in done.stdout + done.stderr
    assert len(json.loads(machine.run("backup", "list", "--json"))) == 1
