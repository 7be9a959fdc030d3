"""`agent-memory tail` beside a real service: live, over its death, to the end by Ctrl-C."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.e2e import claude
from tests.e2e.installation import COMMAND, Installation, installed, until

pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def machine() -> Iterator[Installation]:
    with installed({"ferry.py": "hull = None\n"}, connected=False) as made:
        made.run("up", "--detach")
        yield made


@contextmanager
def tailing(machine: Installation, *arguments: str, **more: Any) -> Iterator[subprocess.Popen[str]]:
    environment = claude.environment(machine.home) | {"COLUMNS": "60", "TERM": "xterm-256color"}
    options = {"cwd": machine.project, "env": environment, "text": True, "stdin": subprocess.DEVNULL, **more}
    # Whoever runs the tests in the background has left Ctrl-C ignored, and children inherit that.
    options["preexec_fn"] = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen([COMMAND, "tail", *arguments], **options) as process:
        try:
            yield process
        finally:
            process.kill()


def say(machine: Installation, prompt: str) -> None:
    body = {
        "hook_event_name": "UserPromptSubmit",
        "session_id": "s-1",
        "cwd": str(machine.project),
        "prompt": prompt,
    }
    machine.post("/api/queue", body, agent="custom")


def ended(process: subprocess.Popen[str]) -> int:
    process.send_signal(signal.SIGINT)
    return process.wait(30)


def test_what_is_recorded_is_followed_over_the_services_death_until_ctrl_c(machine: Installation) -> None:
    say(machine, "Why does the ferry sink?")
    with tailing(machine, "--json", stdout=subprocess.PIPE, stderr=subprocess.PIPE) as tail:
        assert tail.stdout
        assert tail.stderr
        events = (json.loads(line)["text"] for line in tail.stdout)
        assert "Why does the ferry sink?" in events  # it is read up to there
        machine.run("down")
        assert "waiting" in tail.stderr.readline()
        machine.run("up", "--detach")
        say(machine, "Mend the hull.")
        assert "Mend the hull." in events
        assert ended(tail) == 0
        assert "Traceback" not in tail.stderr.read()


def test_on_a_terminal_an_event_is_a_line_that_fits_and_obeys_nothing(machine: Installation) -> None:
    say(machine, "\x1b[2J\x1b[31mPaint 船 " + "red " * 40)
    ours, theirs = pty.openpty()
    seen = b""

    def shown() -> bool:
        nonlocal seen
        seen += os.read(ours, 4096)
        return b"Paint" in seen and seen.endswith(b"\n")

    with tailing(machine, "--project", ".", "-n", "1", stdout=theirs, stderr=theirs) as tail:
        os.close(theirs)
        until("the line is there", shown)
        assert ended(tail) == 0
    os.close(ours)
    text = seen.decode()
    assert "\x1b[2J" not in text
    assert "␛[31mPaint 船" in text
    assert text.rstrip().count("\n") == 0
    assert "…" in text


def test_a_reader_that_goes_away_ends_it_without_a_word(machine: Installation) -> None:
    say(machine, "One more.")
    with tailing(machine, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as tail:
        assert tail.stdout
        assert tail.stderr
        tail.stdout.readline()
        tail.stdout.close()
        say(machine, "Nobody reads this.")
        tail.wait(60)
        assert tail.stderr.read() == ""


def test_a_project_that_is_not_known_is_refused_in_words(machine: Installation) -> None:
    with tailing(machine, "-p", "/nowhere", stdout=subprocess.PIPE, stderr=subprocess.PIPE) as tail:
        _, said = tail.communicate(timeout=60)
        assert tail.returncode == 1
        assert "what to do:" in said
