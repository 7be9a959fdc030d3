"""Promise 2 across two tellers: what hooks told of a session and what the agent's own session file tells of it are the
same rows, whichever came first."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests import opencode_database

from agent_memory import settings
from agent_memory.agents.copilot import payload as copilot_payload
from agent_memory.agents.copilot import transcript as copilot_file
from agent_memory.agents.opencode import payload as opencode_payload
from agent_memory.agents.opencode import transcript as opencode_file
from agent_memory.database import Connection
from agent_memory.journal.event import Event
from agent_memory.journal.ingest import Counts, ingest

FIXTURES = Path(__file__).parent.parent / "fixtures"
AT = datetime(2026, 11, 23, tzinfo=UTC)

TABLES = {
    "mem_user_prompts": "session_id, id, kind, agent_id, text",
    "mem_tool_calls": "session_id, tool_use_id, prompt_id, agent_id, agent_type, tool_name, tool_input, output,"
    " success, error",
    "mem_assistant_messages": "session_id, prompt_id, agent_id, text, message_uuid, usage",
}


def records(path: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (FIXTURES / path).read_text(encoding="utf-8").split("\n") if line]


def opencode_hooks(tmp_path: Path) -> list[Event]:
    return [e for one in records("opencode/plugin_records.jsonl") for e in opencode_payload.events(one, AT)]


def opencode_rows(tmp_path: Path) -> list[Event]:
    rows = opencode_database.rows(FIXTURES / "opencode" / "session_rows.jsonl")
    database = opencode_database.make(tmp_path / "opencode.db", rows)
    return [event for line in opencode_file.read(database) for event in line.events]


def copilot_hooks(tmp_path: Path) -> list[Event]:
    told = [one["payload"] for one in records("copilot/hook_payloads.jsonl") if one["event"][0].isupper()]
    return [event for payload in told for event in copilot_payload.events(payload, AT)]


def copilot_lines(tmp_path: Path) -> list[Event]:
    return [e for line in copilot_file.read(FIXTURES / "copilot" / "events.jsonl") for e in line.events]


Teller = Callable[[Path], list[Event]]

AGENTS: dict[str, tuple[Teller, Teller, tuple[int, int, int, int]]] = {
    # hooks, file, and how many sessions, prompts, calls and messages there are
    "opencode": (opencode_hooks, opencode_rows, (2, 4, 8, 5)),
    "copilot": (copilot_hooks, copilot_lines, (1, 3, 8, 4)),
}


def store(conn: Connection, events: Sequence[Event]) -> Counts:
    counts = ingest(conn, events, settings.load())
    conn.commit()
    return counts


def stored(conn: Connection) -> dict[str, list[dict[str, Any]]]:
    return {
        table: conn.execute(f"select {columns} from {table} order by 1, 2, 3, 4, 5".encode()).fetchall()
        for table, columns in TABLES.items()
    }


def numbers(conn: Connection) -> tuple[int, ...]:
    tables = ("mem_sessions", *TABLES)
    rows = [conn.execute(f"select count(*) as n from {table}".encode()).fetchone() for table in tables]
    return tuple(int(row["n"]) for row in rows if row)


@pytest.mark.parametrize("agent", AGENTS)
@pytest.mark.parametrize("first", ["hooks", "file"])
def test_hooks_and_the_session_file_make_one_row_of_each_event(
    conn: Connection, tmp_path: Path, agent: str, first: str
) -> None:
    hooks, file, expected = AGENTS[agent]
    tellers = (hooks(tmp_path), file(tmp_path))
    for events in tellers if first == "hooks" else reversed(tellers):
        store(conn, events)
    assert numbers(conn) == expected
    before = stored(conn)
    for events in tellers:
        again = store(conn, events)
        assert again == Counts()
    assert stored(conn) == before


@pytest.mark.parametrize("agent", AGENTS)
def test_one_event_at_a_time_and_all_at_once_make_the_same_rows(
    conn: Connection, tmp_path: Path, agent: str
) -> None:
    hooks, file, expected = AGENTS[agent]
    for event in hooks(tmp_path):
        store(conn, [event])
    for event in file(tmp_path):
        store(conn, [event])
    assert numbers(conn) == expected
    calls = conn.execute("select tool_use_id, prompt_id, success from mem_tool_calls").fetchall()
    prompts = {row["id"]: row["kind"] for row in conn.execute("select id, kind from mem_user_prompts")}
    assert {prompts[call["prompt_id"]] for call in calls} <= {"user", "command"}
    assert all(call["success"] is not None for call in calls)
