"""An export holds all that is remembered of what was asked for, and nothing else."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.integration.test_drain import payload
from typer.testing import CliRunner

from agent_memory import settings
from agent_memory.capture.drain import events_of
from agent_memory.cli.main import app
from agent_memory.database import Connection
from agent_memory.journal.ingest import ingest
from agent_memory.observations import worker

SECRET = "ghp_" + "Q7w2kR9tLm4XzB1vHc8YpD3nFs6JgA5eUo0I"


@pytest.fixture
def filled(conn: Connection, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Connection:
    monkeypatch.setenv("DATABASE_URL", database_url)
    blind = settings.load().model_copy(update={"redact_secrets": False})
    for folder in ("shop", "other"):
        said = payload("UserPromptSubmit", prompt=f"Why does {folder} time out? {SECRET}")
        said |= {"session_id": folder, "cwd": f"/home/dev/{folder}"}
        call = {
            "tool_name": "Bash",
            "tool_use_id": "t1",
            "tool_input": {"command": "make test"},
            "tool_response": {},
        }
        done = payload("PostToolUse", **call) | {"session_id": folder, "cwd": f"/home/dev/{folder}"}
        for one in (said, done):
            ingest(conn, events_of("claude", one, datetime.now(UTC)), blind)
        worker.build_turn(conn, folder, "p1")
    conn.commit()
    return conn


def exported(text: str) -> dict[str, list[dict[str, Any]]]:
    first, *rest = map(json.loads, text.splitlines())
    assert first["format"].startswith("agent-memory export")
    tables: dict[str, list[dict[str, Any]]] = {}
    for line in rest:
        tables.setdefault(line["table"], []).append(line["row"])
    return tables


def test_everything_is_exported_without_the_secrets_that_are_known_by_now(filled: Connection) -> None:
    done = CliRunner().invoke(app, ["export"])
    tables = exported(done.stdout)
    assert {name: len(rows) for name, rows in tables.items()} == {
        "mem_projects": 2,
        "mem_sessions": 2,
        "mem_user_prompts": 2,
        "mem_tool_calls": 2,
        "mem_observations": 2,
    }
    assert tables["mem_tool_calls"][0]["tool_input"] == {"command": "make test"}
    assert SECRET not in done.stdout
    assert "[REDACTED:github-token]" in done.stdout


def test_one_project_is_exported_alone_into_a_private_file(filled: Connection, tmp_path: Path) -> None:
    out = tmp_path / "shop.jsonl"
    run = CliRunner().invoke
    assert "rows to" in run(app, ["export", "--project", "/home/dev/shop", "--out", str(out)]).stdout
    assert {row["session_id"] for row in exported(out.read_text())["mem_user_prompts"]} == {"shop"}
    assert "other" not in out.read_text()
    assert out.stat().st_mode & 0o777 == 0o600
    again = run(app, ["export", "--out", str(out)])
    assert "exists already" in str(again.exception)
    nowhere = run(app, ["export", "--out", str(tmp_path / "no" / "x.jsonl")])
    assert "cannot be written" in str(nowhere.exception)
    assert list(tmp_path.iterdir()) == [out]
