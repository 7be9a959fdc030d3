"""docs/PRIMER.md does what it says: its commands and requests run as they stand, in their order."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.conftest import REPOSITORY
from tests.e2e import claude
from tests.e2e.installation import Installation, installed, until

pytestmark = pytest.mark.timeout(600)

PRIMER = REPOSITORY / "docs" / "PRIMER.md"


@pytest.fixture(scope="module")
def followed() -> Iterator[Installation]:
    """A user who did all that the primer says."""
    if shutil.which("curl") is None:
        pytest.skip("NOT TESTED: docs/PRIMER.md needs curl")
    with installed({"ferry.py": "hull = None\n"}, connected=False) as machine:
        environment = claude.environment(machine.home)
        environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
        blocks = re.findall(
            r"^```sh\n(.*?)^```$", PRIMER.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
        )
        assert len(blocks) >= 7
        done = subprocess.run(
            ["bash", "-eux", "-o", "pipefail", "-c", "\n".join(blocks)],
            cwd=machine.project,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=400,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        yield machine


def test_what_a_custom_agent_told_is_stored_and_linked(followed: Installation) -> None:
    until("the hook's event is stored", lambda: bool(followed.items("/api/prompts", session_id="demo-1")))
    (prompt,) = followed.items("/api/prompts", session_id="demo-2")
    (call,) = followed.items("/api/tool-calls", session_id="demo-2")
    assert (prompt["text"], call["tool_name"], call["success"]) == ("Mend the ferry.", "Bash", True)
    assert call["prompt_id"] == prompt["id"]
    assert followed.get("/api/sessions/demo-2")["agent"] == "custom"
    assert followed.get("/api/sessions/demo-3")["prompts"] == 1


def test_an_unknown_agent_and_an_unknown_event_are_refused_in_words(followed: Installation) -> None:
    transport = httpx.HTTPTransport(uds=str(followed.memory / "service.sock"))
    with httpx.Client(transport=transport, base_url="http://localhost") as client:
        for agent, event, said in (("aider", "Stop", "custom"), ("custom", "Jump", "UserPromptSubmit")):
            body = {"hook_event_name": event, "session_id": "s"}
            answer = client.post("/api/queue", json=body, headers={"x-agent-name": agent})
            assert answer.status_code == 422
            assert said in answer.json()["detail"] + answer.json()["remedy"]


def test_every_agent_that_can_be_connected_is_in_the_primer() -> None:
    from agent_memory import agents

    text = PRIMER.read_text(encoding="utf-8")
    for agent in agents.CONNECTIONS:
        assert f"`{agent}`" in text
        assert f"agents/{agent}.md" in text
        assert (REPOSITORY / "docs" / "agents" / f"{agent}.md").exists()
