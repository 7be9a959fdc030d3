"""A secret that was stored before its pattern was known is taken out of everything: texts, index, vectors, files."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.integration.test_drain import payload

from agent_memory import paths, settings
from agent_memory.access import store as access
from agent_memory.capture.drain import events_of
from agent_memory.database import Connection, placement, texts
from agent_memory.journal import ingest, projects
from agent_memory.journal.redaction import redact
from agent_memory.observations import embed, notes, rescan, worker

SECRET = "ghp_" + "Q7w2kR9tLm4XzB1vHc8YpD3nFs6JgA5eUo0I"


@pytest.fixture
def stored(conn: Connection) -> Connection:
    """A turn, a note and a file that hold the secret, as an installation without its pattern would have stored them."""
    from datetime import UTC, datetime

    blind = settings.load().model_copy(update={"redact_secrets": False})
    call: dict[str, Any] = {
        "tool_name": "Bash",
        "tool_use_id": "t1",
        "tool_input": {
            "command": f"curl -H 'X-Key: {SECRET}' https://api.example",
            "nested": [{"k": SECRET}],
        },
    }
    for said in (
        payload("UserPromptSubmit", prompt=f"Deploy with {SECRET} please"),
        payload("PostToolUseFailure", **call, error=f"Exit code 1\nbad token {SECRET}"),
        payload("Stop", last_assistant_message=f"The token {SECRET} was refused."),
        payload("UserPromptSubmit", prompt="And now without any.", prompt_id="p2"),
    ):
        ingest.ingest(conn, events_of("claude", said, datetime.now(UTC)), blind)
    project = projects.ensure(conn, projects.identify("/home/dev/shop"))
    notes.save(conn, [notes.note("The ferry sails at noon.", blind, project_id=project)])
    notes.save(conn, [notes.note(f"Staging's token is {SECRET}.", blind, project_id=project, title=SECRET)])
    access.insert_audit(
        conn, machine="desk-0001", who="cli", action="save", target=SECRET, project_id=None, status=200
    )
    conn.commit()
    model = embed.load(settings.load())
    while worker.run_once(conn, model):
        pass
    logs = paths.make_private(paths.logs())
    (logs / "service.log").write_text(f"cannot read token={SECRET}\nall is well\n")
    return conn


def dump(conn: Connection) -> str:
    program = placement.programs() / "pg_dump"
    done = subprocess.run(
        [program, "--dbname", conn.info.dsn], capture_output=True, check=True, encoding="utf-8"
    )
    return done.stdout


def vectors_of(conn: Connection) -> dict[int, str]:
    rows = conn.execute(
        "select c.id, c.text from mem_observation_chunks c join mem_chunk_vectors v on v.chunk_id = c.id"
    )
    return {row["id"]: row["text"] for row in rows}


def test_a_secret_found_late_goes_from_every_table_the_index_the_vectors_and_the_logs(
    stored: Connection,
) -> None:
    before = vectors_of(stored)
    assert dump(stored).count(SECRET) > 8
    counted = rescan.rescan(stored, lambda *_: None, dry_run=True)
    assert dump(stored).count(SECRET) > 8
    report = rescan.rescan(stored, lambda *_: None)
    assert report.changed == counted.changed
    assert set(report.changed) >= {
        "mem_user_prompts.text",
        "mem_tool_calls.tool_input",
        "mem_tool_calls.error",
        "mem_assistant_messages.text",
        "mem_observations.text",
        "mem_observations.title",
        "mem_observation_chunks.text",
        "mem_audit_log.target",
    }
    left = dump(stored)
    assert SECRET not in left
    assert SECRET.lower()[:20] not in left.lower()  # nor as a word of the index
    assert report.files == [paths.logs() / "service.log"]
    assert (paths.logs() / "service.log").read_text() == redact(f"cannot read token={SECRET}\nall is well\n")
    kept = vectors_of(stored)
    assert kept
    assert all(before[number] == text for number, text in kept.items())  # the others wait for new vectors
    chunks = stored.execute("select id from mem_observation_chunks").fetchall()
    waiting = stored.execute("select chunk_id from mem_embedding_queue").fetchall()
    assert {row["chunk_id"] for row in waiting} == {row["id"] for row in chunks} - set(kept) != set()
    model = embed.load(settings.load())
    while worker.run_once(stored, model):
        pass
    assert len(vectors_of(stored)) == len(chunks)
    assert not rescan.rescan(stored, lambda *_: None).changed


def test_a_clean_memory_is_left_as_it_is(stored: Connection) -> None:
    rescan.rescan(stored, lambda *_: None)
    first = dump(stored).partition("SET ")[2]
    report = rescan.rescan(stored, lambda *_: None)
    assert (report.changed, report.files, report.observations) == ({}, [], 0)
    assert [line for line in dump(stored).partition("SET ")[2].splitlines() if "restrict" not in line] == [
        line for line in first.splitlines() if "restrict" not in line
    ]


def test_every_table_with_a_text_is_read(conn: Connection) -> None:
    named = {f"{table.name}.{column}" for table in texts.tables(conn) for column in table.columns}
    assert {
        "mem_user_prompts.text",
        "mem_tool_calls.output",
        "mem_sessions.cwd",
        "mem_lessons.rule",
        "mem_audit_log.target",
    } <= named
    conn.execute("create table mem_later (id bigint primary key, said text, given jsonb)")
    assert texts.TextTable("mem_later", ("id",), ("said", "given")) in texts.tables(conn)


def test_the_command_says_what_it_would_do_and_does_it(
    database_url: str, conn: Connection, stored: Connection, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from typer.testing import CliRunner

    from agent_memory.cli.main import app

    monkeypatch.setenv("DATABASE_URL", database_url)
    file = tmp_path / "note.txt"
    file.write_text(f"token={SECRET}\n")
    run = CliRunner().invoke
    assert run(app, ["redact", str(file)]).stdout == redact(f"token={SECRET}\n")
    would = run(app, ["redact", "--rescan", "--dry-run"]).stdout
    assert "mem_user_prompts.text would be cleaned" in would
    assert "mem_user_prompts.text were cleaned" in run(app, ["redact", "--rescan"]).stdout
    assert "No secret was found." in run(app, ["redact", "--rescan"]).stdout
    monkeypatch.setenv("REDACT_SECRETS", "false")
    refused = run(app, ["redact", "--rescan"])
    assert "REDACT_SECRETS is off" in str(refused.exception)
