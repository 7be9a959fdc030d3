"""A newcomer without a history sees the memory answer from the sample session."""

from __future__ import annotations

import json
import shlex

import pytest

from agent_memory import sample
from tests.e2e.installation import installed

pytestmark = pytest.mark.timeout(300)


def test_a_newcomer_sees_the_sample_answered_and_a_second_run_adds_nothing() -> None:
    lines = [json.loads(line) for line in sample.session().read_text(encoding="utf-8").split("\n") if line]
    calls = [
        block["id"]
        for line in lines
        if line["type"] == "assistant"
        for block in line["message"]["content"]
        if block["type"] == "tool_use"
    ]
    project = {line["cwd"] for line in lines if "cwd" in line}.pop()
    with installed({"README.md": "A shop.\n"}) as machine:
        machine.run("up", "--detach")
        said = machine.run("welcome")
        assert sample.QUESTION in said
        assert "The login timeout is now a sliding one" in " ".join(said.split())
        assert "Recorded: claude." in said
        machine.run("disconnect", "claude")
        again = machine.run("welcome")
        assert "connect claude" in again
        assert "nothing new" in again
        assert sample.QUESTION in again
        (asked,) = (line for line in again.splitlines() if sample.QUESTION in line)
        command, *arguments = shlex.split(asked)  # it can be typed as it is shown
        assert command.endswith("agent-memory")
        assert "The login timeout is now a sliding one" in machine.run(*arguments)
        stored = machine.items("/api/tool-calls", project=project)
        assert sorted(row["tool_use_id"] for row in stored) == sorted(calls)
        assert len(machine.items("/api/prompts", project=project)) == 5
        answer = machine.post("/api/recall", {"query": sample.QUESTION, "project": project, "k": 1})
        (hit,) = answer["hits"]
        assert "SESSION_IDLE" in hit["text"]
        assert "sessions.touch(key)" in hit["text"]
        unrelated = machine.post("/api/recall", {"query": "how do we bake rye bread", "project": project})
        assert unrelated["hits"] == []
