"""A hook's event and the same event in the session's file are one row; what the hooks missed, the file adds."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.integration.test_drain import payload, rows, spooled

from agent_memory import agents, sample, settings
from agent_memory.capture import reconcile
from agent_memory.capture.backfill import backfill, find
from agent_memory.capture.drain import drain
from agent_memory.database import Connection
from agent_memory.journal import store
from agent_memory.journal.event import Event
from agent_memory.journal.ingest import Counts, ingest


def read_hooks(conn: Connection, data: Path) -> None:
    file = data / "claude_code_2.1.330" / "hook_payloads.jsonl"
    for line in file.read_text(encoding="utf-8").split("\n"):
        if line:
            told = json.loads(line)
            at = datetime.fromtimestamp(told["t"], UTC)
            ingest(conn, agents.normaliser("claude")(told["stdin"], at), settings.load())


def read_files(conn: Connection, data: Path) -> None:
    files = find([data / "claude_code_2.1.330" / "transcripts"])
    backfill(conn, files, settings.load(), lambda _: None)


def contents(conn: Connection) -> dict[str, Counter[Any]]:
    return {
        "calls": Counter(
            (r["session_id"], r["tool_use_id"], r["success"]) for r in rows(conn, "mem_tool_calls")
        ),
        "prompts": Counter((r["session_id"], r["id"], r["text"]) for r in rows(conn, "mem_user_prompts")),
        "messages": Counter(
            (r["session_id"], r["agent_id"], r["prompt_id"], r["text"])
            for r in rows(conn, "mem_assistant_messages")
        ),
    }


def test_hooks_and_files_tell_the_same_rows_in_either_order(conn: Connection, shared_data: Path) -> None:
    read_files(conn, shared_data)
    files_alone = contents(conn)
    read_hooks(conn, shared_data)
    files_first = contents(conn)
    for table in ("mem_transcripts", "mem_sessions"):
        conn.execute(f"truncate {table} cascade".encode())
    read_hooks(conn, shared_data)
    hooks_alone = contents(conn)
    read_files(conn, shared_data)
    hooks_first = contents(conn)
    assert hooks_first == files_first
    # What the hooks told is all in the files (a transcript of every session lies beside them), so nothing is added.
    assert files_first == files_alone
    # And the files do tell more: what the agent said between its calls.
    assert hooks_alone["messages"].total() < files_alone["messages"].total()
    assert store.counts(conn)["tool_calls"] == len(hooks_first["calls"])


def test_a_turn_that_ends_has_its_sessions_file_read(conn: Connection, tmp_path: Path) -> None:
    whole = sample.session().read_bytes()
    file = tmp_path / sample.session().name
    file.write_bytes(whole)
    told: list[Event] = []
    spooled(
        payload("PostToolUse", tool_name="Bash", tool_use_id="t", tool_input={}, transcript_path=str(file))
    )
    drain(conn, settings.load(), told.extend)
    assert reconcile.ended(told) == set()
    spooled(payload("Stop", last_assistant_message="Done.", transcript_path=str(file)))
    drain(conn, settings.load(), told.extend)
    assert reconcile.ended(told) == {file}
    assert reconcile.reconcile(conn, {file}, settings.load()).stored.tool_calls == 25
    assert reconcile.reconcile(conn, {file}, settings.load()).stored == Counts()


def test_a_service_that_starts_looks_at_the_files_of_recent_sessions(
    conn: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("new", "gone"):
        spooled(payload("SessionStart", session_id=name, transcript_path=str(tmp_path / f"{name}.jsonl")))
    drain(conn, settings.load())
    assert reconcile.recent(conn) == {tmp_path / "new.jsonl", tmp_path / "gone.jsonl"}
    (tmp_path / "new.jsonl").write_bytes(sample.session().read_bytes())
    report = reconcile.reconcile(conn, reconcile.recent(conn), settings.load())
    assert (report.files, report.stored.prompts) == (1, 5)
    conn.execute("update mem_sessions set last_event_at = now() - interval '30 days'")
    assert reconcile.recent(conn) == set()


def test_a_path_that_no_agent_writes_is_not_read(conn: Connection, tmp_path: Path) -> None:
    (tmp_path / "diary.txt").write_text('{"type": "user"}\n', encoding="utf-8")
    assert reconcile.reconcile(conn, {tmp_path / "diary.txt"}, settings.load()).files == 0
