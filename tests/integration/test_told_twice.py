"""What hooks tell and what session files tell again is one row each, in whatever order: Codex and Gemini CLI."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from agent_memory.agents.codex import payload as codex_payload
from agent_memory.agents.codex import transcript as codex_transcript
from agent_memory.agents.gemini import payload as gemini_payload
from agent_memory.agents.gemini import transcript as gemini_transcript
from agent_memory.database import Connection
from agent_memory.journal.event import Event
from agent_memory.journal.ingest import ingest
from agent_memory.settings import Settings

CODEX, GEMINI = "codex_0.169.0", "gemini_cli_0.61.0"


def hooks(data: Path, agent: str) -> list[list[Event]]:
    """The events of each recorded hook payload, in order."""
    normalise = codex_payload.events if agent == CODEX else gemini_payload.events
    told = []
    for line in (data / agent / "hook_payloads.jsonl").read_text(encoding="utf-8").splitlines():
        recorded = json.loads(line)
        told.append(normalise(recorded["stdin"], datetime.fromtimestamp(recorded["t"], UTC)))
    return told


def session_files(data: Path, agent: str) -> list[list[Event]]:
    """The events of each line of the session files."""
    if agent == CODEX:
        files = sorted((data / CODEX / "sessions").glob("*.jsonl"))
        return [list(line.events) for file in files for line in codex_transcript.read(file)]
    files = sorted((data / GEMINI / "chats").glob("*.jsonl"))
    return [list(line.events) for file in files for line in gemini_transcript.read(file)]


def store(conn: Connection, batches: Sequence[Sequence[Event]]) -> None:
    for batch in batches:
        ingest(conn, list(batch), Settings())


def rows(conn: Connection) -> dict[str, Counter[Any]]:
    """What is stored, without what the order of the sources changes: the names of prompts, and how a patch is told
    that a script of Codex's applied."""
    calls = conn.execute(
        "select t.session_id, tool_use_id, tool_name, success, p.text as prompt,"
        " case when tool_use_id ^@ 'exec-' and tool_name = 'apply_patch' then '' else tool_input::text end as input"
        " from mem_tool_calls t left join mem_user_prompts p on p.session_id = t.session_id and p.id = t.prompt_id"
    ).fetchall()
    prompts = conn.execute("select session_id, kind, agent_id, text from mem_user_prompts").fetchall()
    messages = conn.execute("select session_id, kind, agent_id, text from mem_assistant_messages").fetchall()
    sessions = conn.execute("select id, cwd, agent, model from mem_sessions").fetchall()
    tables = {"calls": calls, "prompts": prompts, "messages": messages, "sessions": sessions}
    return {name: Counter(tuple(row.values()) for row in told) for name, told in tables.items()}


@pytest.mark.parametrize("agent", [CODEX, GEMINI])
def test_every_order_and_every_repetition_gives_the_same_rows(
    conn: Connection, shared_data: Path, agent: str
) -> None:
    by_hooks, by_files = hooks(shared_data, agent), session_files(shared_data, agent)
    mixed = [
        batch for pair in itertools.zip_longest(by_hooks, by_files, fillvalue=list[Event]()) for batch in pair
    ]
    whole = [
        [event for batch in by_hooks for event in batch],
        [event for batch in by_files for event in batch],
    ]
    orders = {
        "hooks, then files": [*by_hooks, *by_files],
        "files, then hooks": [*by_files, *by_hooks],
        "mixed": mixed,
        "in two batches": whole,
        "in two batches, files first": whole[::-1],
        "in one batch": [[*whole[0], *whole[1]]],
        "twice": [*by_hooks, *by_hooks, *by_files, *by_hooks, *by_files],
    }
    found = {}
    for name, batches in orders.items():
        with conn.transaction(force_rollback=True):
            store(conn, batches)
            found[name] = rows(conn)
    expected = found["hooks, then files"]
    assert expected["calls"]
    for name, stored in found.items():
        for table, told in stored.items():
            assert told == expected[table], (name, table, told - expected[table], expected[table] - told)


def test_each_call_and_prompt_of_gemini_is_one_row(conn: Connection, shared_data: Path) -> None:
    store(conn, [*hooks(shared_data, GEMINI), *session_files(shared_data, GEMINI)])
    # Counted without our reader: every id that any toolCalls of the file has.
    file = next((shared_data / GEMINI / "chats").glob("*.jsonl"))
    records = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    ids = {call["id"] for record in records for call in record.get("toolCalls", [])}
    found = conn.execute("select tool_use_id, prompt_id from mem_tool_calls").fetchall()
    assert Counter(row["tool_use_id"] for row in found) == Counter(ids)
    prompts = conn.execute("select id, text from mem_user_prompts order by occurred_at").fetchall()
    assert [row["text"] for row in prompts] == [
        "The service cannot reach the database. Fix the port and write it down.",
        "Show what changed.",
    ]
    assert {row["prompt_id"] for row in found} == {row["id"] for row in prompts}


def told(name: str, at: datetime, **more: Any) -> list[Event]:
    base = {"session_id": "s1", "cwd": "/nowhere", "hook_event_name": name, "timestamp": at.isoformat()}
    return gemini_payload.events(base | more, at)


def test_the_same_command_twice_is_two_calls(conn: Connection) -> None:
    at = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
    call = {
        "tool_name": "run_shell_command",
        "tool_input": {"command": "make"},
        "tool_response": {"llmContent": ""},
    }
    store(conn, [told("AfterTool", at + timedelta(seconds=second), **call) for second in (0, 7, 0, 7)])
    assert conn.execute("select count(*) from mem_tool_calls").fetchone() == {"count": 2}


def test_the_same_prompt_twice_is_two_prompts(conn: Connection) -> None:
    at = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
    store(conn, [told("BeforeAgent", at + timedelta(seconds=s), prompt="continue") for s in (0, 7, 0, 7)])
    assert conn.execute("select count(*) from mem_user_prompts").fetchone() == {"count": 2}
