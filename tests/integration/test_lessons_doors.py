"""Lessons over REST, MCP and the command line: one gate behind all three."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from tests.integration.test_mcp import call, facts, told
from typer.testing import CliRunner

from agent_memory import settings
from agent_memory.access import tokens
from agent_memory.cli.lessons import RUN_BY_AGENTS
from agent_memory.cli.main import app
from agent_memory.database import Connection
from agent_memory.errors import AgentMemoryError
from agent_memory.mcp.memory import Memory

FORCE = {
    "rule": "Use --force-with-lease.",
    "project": "/home/dev/shop",
    "trigger_tool": "Bash",
    "trigger_pattern": r"git push.*--force\b",
}


def command(*words: str) -> str:
    """What `agent-memory lesson …` prints."""
    done = CliRunner().invoke(app, ["lesson", *words])
    if isinstance(done.exception, AgentMemoryError):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output


@pytest.fixture
def shell(database_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder in which commands run, against this test's database."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    for agent in RUN_BY_AGENTS:
        monkeypatch.delenv(agent, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def memory(shell: Path) -> Iterator[Memory]:
    with Memory(settings.load(), str(shell)) as opened:
        yield opened


# REST


def test_the_owner_makes_lessons_over_rest_and_changes_them(api: TestClient) -> None:
    made = api.post("/api/lessons", json=FORCE)
    assert made.status_code == 201
    lesson = made.json()
    assert (lesson["status"], lesson["action"], lesson["made_by"]) == ("candidate", "warn", "user")
    assert (lesson["trigger_tool"], lesson["trigger_kind"]) == (["Bash"], "regex")
    assert api.post("/api/lessons", json=FORCE).json()["new"] is False
    changed = api.patch(f"/api/lessons/{lesson['id']}", json={"status": "active", "severity": "critical"})
    assert (changed.json()["status"], changed.json()["severity"]) == ("active", "critical")
    everywhere = api.post("/api/lessons", json={**FORCE, "project": None, "status": "active"}).json()
    assert (everywhere["project"], everywhere["status"]) == (None, "active")
    items = api.get("/api/lessons", params={"project": FORCE["project"]}).json()["items"]
    assert [one["id"] for one in items] == [lesson["id"], everywhere["id"]]
    page = api.get("/api/lessons", params={"limit": 1}).json()
    assert page["next_cursor"] == lesson["id"]
    rest = api.get("/api/lessons", params={"limit": 1, "cursor": page["next_cursor"]}).json()
    assert [one["id"] for one in rest["items"]] == [everywhere["id"]]
    assert api.get("/api/lessons", params={"status": "retired"}).json()["items"] == []
    assert api.get(f"/api/lessons/{lesson['id']}").json()["firings"] == []
    assert api.get("/api/lessons/99").status_code == 404


def test_over_rest_deny_takes_a_word_of_its_own(api: TestClient) -> None:
    refused = api.post("/api/lessons", json={**FORCE, "action": "deny", "status": "active"})
    assert refused.status_code == 403
    assert "confirm_deny" in refused.json()["remedy"]
    wanted = {**FORCE, "action": "deny", "status": "active", "confirm_deny": True}
    made = api.post("/api/lessons", json=wanted).json()
    assert made["action"] == "deny"
    warn = api.patch(f"/api/lessons/{made['id']}", json={"action": "warn"}).json()
    assert warn["action"] == "warn"
    assert api.patch(f"/api/lessons/{made['id']}", json={"action": "deny"}).status_code == 403
    again = api.patch(f"/api/lessons/{made['id']}", json={"action": "deny", "confirm_deny": True})
    assert again.json()["action"] == "deny"


def test_an_agents_token_proposes_and_decides_nothing(api: TestClient, conn: Connection) -> None:
    token = tokens.create(conn, "codex", scope="write", project_id=None, expires_at=None)
    conn.commit()
    agent = {"authorization": f"Bearer {token}"}
    made = api.post("/api/lessons", json=FORCE, headers=agent).json()
    assert (made["made_by"], made["status"]) == ("model", "candidate")
    for more in ({"status": "active"}, {"action": "ask"}, {"action": "deny", "confirm_deny": True}):
        assert api.post("/api/lessons", json={**FORCE, **more}, headers=agent).status_code == 403
    approved = api.patch(f"/api/lessons/{made['id']}", json={"status": "active"}, headers=agent)
    assert approved.status_code == 403


def test_a_token_of_another_project_sees_nothing_of_it(api: TestClient, conn: Connection) -> None:
    made = api.post("/api/lessons", json=FORCE).json()
    other = api.post("/api/lessons", json={**FORCE, "project": "/home/dev/other"}).json()
    token = tokens.create(conn, "other", scope="write", project_id=other["project_id"], expires_at=None)
    conn.commit()
    bound = {"authorization": f"Bearer {token}"}
    listed = api.get("/api/lessons", headers=bound).json()["items"]
    assert [one["id"] for one in listed] == [other["id"]]
    assert api.get(f"/api/lessons/{made['id']}", headers=bound).status_code == 404
    refused = [
        api.patch(f"/api/lessons/{made['id']}", json={"status": "active"}, headers=bound),
        api.post("/api/lessons", json=FORCE, headers=bound),
        api.post("/api/lessons", json={**FORCE, "project": None}, headers=bound),
    ]
    assert all(answer.status_code in (403, 404) for answer in refused)
    seen = {"tool_name": "Bash", "tool_input": {"command": "git push --force"}, "statuses": ["candidate"]}
    found = api.post("/api/lessons/match", json=seen, headers=bound).json()["items"]
    assert [one["id"] for one in found] == [other["id"]]


def test_a_call_is_matched_without_being_recorded(api: TestClient, conn: Connection) -> None:
    api.post("/api/lessons", json={**FORCE, "status": "active"})
    seen = {"project": FORCE["project"], "tool_name": "Bash", "tool_input": {"command": "git push --force"}}
    (found,) = api.post("/api/lessons/match", json=seen).json()["items"]
    assert found["speaks"] is True
    assert found["why"] == ["the tool is Bash", "“git push --force” stands in it"]
    assert api.post("/api/lessons/match", json={**seen, "project": "/home/x"}).status_code == 404
    assert conn.execute("select count(*) as n from mem_lesson_events").fetchone() == {"n": 0}


@pytest.mark.parametrize(
    "wrong",
    [
        {"rule": "x" * 281},
        {"rule": ""},
        {"severity": "huge"},
        {"trigger_pattern": "(?=x)"},
        {"trigger_pattern": "", "trigger_tool": None},
        {"status": "retired"},
    ],
)
def test_what_does_not_fit_is_refused_with_the_remedy(api: TestClient, wrong: dict[str, Any]) -> None:
    refused = api.post("/api/lessons", json={**FORCE, **wrong})
    assert refused.status_code == 422
    assert refused.json()["remedy"]


# MCP


def test_a_model_proposes_and_is_told_that_it_only_proposed(memory: Memory, conn: Connection) -> None:
    given = {"rule": "Use uv pip.", "tools": ["Bash"], "pattern": r"^pip install"}
    proposed = call(memory, "create_lesson", **given)
    assert "a candidate: it stays silent until the user approves it" in told(proposed)
    assert facts(proposed) == {"id": facts(proposed)["id"], "status": "candidate", "new": True}
    assert "There is already lesson" in told(call(memory, "create_lesson", **given))
    refused = call(memory, "create_lesson", **{**given, "rule": "x" * 281})
    assert refused.is_error
    assert "281 characters; at most 280" in told(refused)
    assert call(memory, "search_lessons", query="pip").content
    assert "No lesson fits." in told(call(memory, "search_lessons", query="pip")), "candidates are not shown"


def test_a_model_looks_up_the_rules_of_its_project_and_the_global_ones(memory: Memory, shell: Path) -> None:
    command("add", "Use uv pip.", "--tool", "Bash", "--pattern", "^pip install")
    command("add", "Migrations are numbered.", "--file", "migrations/*.sql", "--severity", "critical")
    command("add", "Say which region.", "--phase", "prompt", "--pattern", "deploy", "--global")
    other = shell / "other"
    other.mkdir()
    command("add", "Not yours.", "--pattern", "pip install", "--project", str(other))
    by_command = told(call(memory, "search_lessons", query="pip install requests"))
    assert "Use uv pip." in by_command
    assert "Not yours." not in by_command
    assert by_command.startswith('<agent-memory note="rules that the user approved')
    assert "Say which region." in told(call(memory, "search_lessons", query="deployment to a region"))
    every = told(call(memory, "search_lessons"))
    order = [every.index(rule) for rule in ("Migrations are", "Use uv", "Say which")]
    assert order == sorted(order), "the weightiest first"


# The command line


def test_the_users_lesson_speaks_at_once_and_is_listed_tried_and_retired(shell: Path) -> None:
    said = command(
        "add", "Use uv pip.", "--tool", "Bash", "--pattern", "^pip install", "--severity", "critical"
    )
    assert "Made lesson 1 (active, warn): it speaks before a call of Bash" in said
    assert "There is already lesson 1" in command(
        "add", "Use uv pip.", "--tool", "Bash", "--pattern", "^pip install"
    )
    (listed,) = json.loads(command("list", "--json"))
    assert (listed["id"], listed["status"], listed["fired"]) == (1, "active", 0)
    assert "Use uv pip." in command("list")
    assert "lesson 1 warns: Use uv pip." in command("test", "pip install x")
    assert "No lesson would speak." in command("test", "uv pip install x")
    (tried,) = json.loads(
        command(
            "test", json.dumps({"tool_name": "Bash", "tool_input": {"command": "pip install x"}}), "--json"
        )
    )
    assert tried["speaks"] is True
    assert "speaks before a call of Bash" in command("show", "1")
    assert "silent" in command("retire", "1")
    assert json.loads(command("list", "--json")) == []
    assert json.loads(command("list", "--status", "retired", "--json"))[0]["id"] == 1
    assert "speaks from now on" in command("approve", "1")


def test_on_the_command_line_deny_is_said_by_name(shell: Path) -> None:
    command("add", "Never.", "--tool", "Bash", "--pattern", "rm -rf /", "--action", "deny")
    (made,) = json.loads(command("list", "--json"))
    assert made["action"] == "deny"
    assert "refuses the call" in command("test", "rm -rf /")


def test_a_lesson_is_edited(shell: Path) -> None:
    command("add", "Use uv pip.", "--tool", "Bash", "--pattern", "^pip install")
    said = command("edit", "1", "--tool", "Bash,mcp__sh__*", "--pattern", "pip install", "--kind", "literal")
    assert "Bash or mcp__sh__*, where this stands: pip install" in said
    with pytest.raises(AgentMemoryError, match="looks ahead"):
        command("edit", "1", "--pattern", "(?=x)", "--kind", "regex")


def test_an_agent_on_the_command_line_only_proposes(shell: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLAUDECODE", "1")
    said = command("add", "Use uv pip.", "--tool", "Bash", "--pattern", "^pip install")
    assert "(candidate, warn)" in said
    assert "An agent ran this" in said
    for words in (("approve", "1"), ("edit", "1", "--rule", "x"), ("reject", "1"), ("review",)):
        with pytest.raises(AgentMemoryError, match="decided on by the user"):
            command(*words)
    with pytest.raises(AgentMemoryError, match="Only the user"):
        command("add", "Never.", "--tool", "Bash", "--pattern", "rm", "--action", "deny")


def test_what_will_never_speak_is_said(shell: Path) -> None:
    said = command("add", "Read less.", "--tool", "Read", "--pattern", "big.csv")
    assert "not before Read" in said
