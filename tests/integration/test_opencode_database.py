"""OpenCode's session database read as Events, and beside it what the plugin recorded of the same sessions."""

from __future__ import annotations

import json
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests import opencode_database
from tests.opencode_database import Row

from agent_memory.agents.json_lines import MALFORMED, tally
from agent_memory.agents.opencode import payload, transcript
from agent_memory.journal.event import (
    AssistantMessage,
    Event,
    Prompt,
    SessionEnd,
    SessionStart,
    ToolCall,
    TurnEnd,
)

FIXTURES = Path(__file__).parent.parent / "fixtures" / "opencode"
AT = datetime(2026, 11, 23, tzinfo=UTC)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return opencode_database.make(
        tmp_path / "opencode.db", opencode_database.rows(FIXTURES / "session_rows.jsonl")
    )


@pytest.fixture
def real(tmp_path: Path, shared_data: Path) -> Path:
    """A database with the rows of real sessions: tools, a second turn, a subagent, a compaction."""
    rows = opencode_database.rows(shared_data / "opencode_1.18.33" / "session_db.jsonl")
    return opencode_database.make(tmp_path / "opencode.db", rows)


def read(path: Path, offset: int = 0) -> list[Event]:
    return [event for line in transcript.read(path, offset) for event in line.events]


def bodies(kind: type[Any], told: list[Event]) -> list[Any]:
    return [event.body for event in told if isinstance(event.body, kind)]


def keyed(told: list[Event]) -> dict[tuple[str, str, str | None], Event]:
    """Events by what makes a row of the journal."""

    def key(event: Event) -> tuple[str, str, str | None]:
        body = event.body
        id_ = event.prompt_id
        if isinstance(body, ToolCall):
            id_ = body.tool_use_id
        elif isinstance(body, AssistantMessage):
            id_ = body.uuid
        return event.session_id, type(body).__name__, id_

    return {key(event): event for event in told if not isinstance(event.body, SessionStart | SessionEnd)}


def row(table: str, id_: str, at: int, session: str = "ses_1", message: str = "", **data: Any) -> Row:
    return table, {
        "id": id_,
        "session_id": session,
        "message_id": message,
        "time_created": at,
        "time_updated": at,
        "data": data,
    }


def session(id_: str = "ses_1", at: int = 1_000, parent: str | None = None) -> Row:
    about = {"project_id": "p", "slug": "s", "title": "t", "version": "1", "directory": "/home/dev/harbour"}
    return "session", {"id": id_, "parent_id": parent, "time_created": at, "time_updated": at, **about}


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path)) as connection:
        yield connection


def test_every_row_is_accounted_for(database: Path) -> None:
    with opened(database) as connection:
        rows = sum(
            connection.execute(f"select count(*) from {t}").fetchone()[0]
            for t in ("session", "message", "part")
        )
    lines = list(transcript.read(database))
    assert len(lines) == rows
    assert all(line.events or line.skipped for line in lines)
    assert f"skipped: {transcript.UNKNOWN}" not in tally(lines)


def test_the_plugin_and_the_database_tell_the_same_under_the_same_keys(database: Path) -> None:
    records = (FIXTURES / "plugin_records.jsonl").read_text(encoding="utf-8").split("\n")
    hooked = keyed([event for one in records if one for event in payload.events(json.loads(one), AT)])
    stored = keyed(read(database))
    assert hooked.keys() == stored.keys()
    for key, event in hooked.items():
        other = stored[key]
        assert (event.prompt_id, event.subagent_id, event.subagent_type) == (
            other.prompt_id,
            other.subagent_id,
            other.subagent_type,
        )
        if isinstance(event.body, Prompt):
            assert isinstance(other.body, Prompt)
            assert event.body.text == other.body.text  # that it was a command, only the plugin can tell
        elif not isinstance(event.body, TurnEnd):
            assert event.body == other.body
            assert event.occurred_at == other.occurred_at


def test_real_sessions_are_told_whole(real: Path, shared_data: Path) -> None:
    """Counted by an own reading of the exported rows."""
    rows = [one["row"] for one in map(json.loads, _lines(shared_data, "session_db.jsonl"))]
    parts = [one["data"] for one in rows if "message_id" in one]
    roles = {one["id"]: one["data"]["role"] for one in rows if "data" in one and "message_id" not in one}
    calls = {part["callID"]: part["state"]["status"] for part in parts if part["type"] == "tool"}
    told = read(real)
    ended = bodies(ToolCall, told)
    assert Counter(call.tool_use_id for call in ended) == Counter(calls.keys())
    exits = {p["callID"]: p["state"].get("metadata", {}).get("exit", 0) for p in parts if p["type"] == "tool"}
    for call in ended:
        assert call.success is (calls[call.tool_use_id] == "completed" and exits[call.tool_use_id] == 0)
    typed = [
        one["data"]["text"]
        for one in rows
        if "message_id" in one
        and one["data"]["type"] == "text"
        and roles[one["message_id"]] == "user"
        and not one["data"].get("synthetic")
    ]
    prompts = [prompt.text for prompt in bodies(Prompt, told)]
    assert len(prompts) == len(typed) == 5
    assert sorted(prompts) == sorted(text.removeprefix('"').removesuffix('"') for text in typed)
    said = [
        p["text"]
        for p in parts
        if p["type"] == "text" and p.get("time", {}).get("end") and not p.get("synthetic")
    ]
    assert sorted(message.text for message in bodies(AssistantMessage, told)) == sorted(said)
    (summary,) = [m for m in bodies(AssistantMessage, told) if m.kind == "compact_summary"]
    assert summary.text == "ok"


def test_after_a_compaction_the_work_belongs_to_the_prompt_that_was_typed(real: Path) -> None:
    told = read(real)
    (prompt,) = [e for e in told if isinstance(e.body, Prompt) and e.body.text == "Work until compaction."]
    after = [
        e for e in told if isinstance(e.body, AssistantMessage) and e.body.text == "After the compaction."
    ]
    assert [event.prompt_id for event in after] == [prompt.prompt_id]


def test_real_hooks_and_the_real_database_agree(real: Path, shared_data: Path) -> None:
    """The plugin of the recording wrote raw hooks; what our plugin would have taken from them has the same ids."""
    hooks = [json.loads(line) for line in _lines(shared_data, "plugin_hooks.jsonl")]
    parts = [
        hook["input"]["event"]["properties"]["part"]
        for hook in hooks
        if hook["hook"] == "event" and hook["input"]["event"]["type"] == "message.part.updated"
    ]
    ended = {p["callID"]: payload.call_of(p) for p in parts if p["type"] == "tool" and payload.call_of(p)}
    stored = {call.tool_use_id: call for call in bodies(ToolCall, read(real))}
    assert ended.keys() == stored.keys()
    for id_, call in ended.items():
        assert call == stored[id_]
    prompts = {h["output"]["message"]["id"] for h in hooks if h["hook"] == "chat.message"}
    assert prompts == {e.prompt_id for e in read(real) if isinstance(e.body, Prompt)}


def test_reading_goes_on_where_it_was_left_and_tells_a_changed_row_again(database: Path) -> None:
    lines = list(transcript.read(database))
    ends = [line.end for line in lines]
    assert ends == sorted(ends)
    again = list(transcript.read(database, lines[-1].end))
    assert 0 < len(again) < len(lines)
    now = ends[-1] + 100_000
    opencode_database.write(
        database,
        [
            session("ses_9", now),
            row("message", "msg_9", now, "ses_9", role="user", time={"created": now}),
            row("part", "prt_9", now, "ses_9", "msg_9", type="text", text="One more"),
        ],
    )
    assert [prompt.text for prompt in bodies(Prompt, read(database, ends[-1] + 50_000))] == ["One more"]


def test_a_call_is_told_as_begun_and_later_as_ended(tmp_path: Path) -> None:
    state = {"status": "running", "input": {"command": "make"}, "time": {"start": 3_000}}
    call: dict[str, Any] = {"type": "tool", "tool": "bash", "callID": "call_1", "state": state}
    path = opencode_database.make(
        tmp_path / "opencode.db",
        [
            session(),
            row("message", "msg_1", 2_000, role="user", time={"created": 2_000}),
            row("part", "prt_1", 2_000, message="msg_1", type="text", text="Build it"),
            row("message", "msg_2", 2_500, role="assistant", parentID="msg_1", time={"created": 2_500}),
            row("part", "prt_2", 3_000, message="msg_2", **call),
        ],
    )
    (begun,) = bodies(ToolCall, read(path))
    assert (begun.success, begun.tool_use_id) == (None, "call_1")
    done = state | {
        "status": "completed",
        "output": "ok",
        "metadata": {"exit": 0},
        "time": {"start": 3_000, "end": 3_500},
    }
    later = row("part", "prt_2", 9_000, message="msg_2", **call | {"state": done})
    opencode_database.write(path, [later])
    (event,) = [e for e in read(path, 5_000) if isinstance(e.body, ToolCall)]
    assert isinstance(event.body, ToolCall)
    assert (event.body.success, event.body.output, event.prompt_id) == (True, "ok", "msg_1")


def test_a_prompt_that_may_not_be_whole_yet_is_left_for_the_next_time(tmp_path: Path) -> None:
    now = round(time.time() * 1000)
    user = row("message", "msg_1", now, role="user", time={"created": now})
    first = row("part", "prt_1", now, message="msg_1", type="text", text="Look at")
    path = opencode_database.make(tmp_path / "opencode.db", [session(at=now - 10), user, first])
    lines = list(transcript.read(path))
    assert [type(event.body) for line in lines for event in line.events] == [SessionStart]
    answer = row("message", "msg_2", now + 1, role="assistant", parentID="msg_1", time={"created": now})
    second = row("part", "prt_2", now, message="msg_1", type="text", text="the quay")
    opencode_database.write(path, [second, answer])
    (prompt,) = bodies(Prompt, read(path, lines[-1].end))
    assert prompt.text == "Look at\nthe quay"


def test_what_nobody_typed_is_no_prompt_and_a_command_is_one(tmp_path: Path) -> None:
    path = opencode_database.make(
        tmp_path / "opencode.db",
        [
            session(),
            row("message", "msg_1", 2_000, role="user"),
            row("part", "prt_1", 2_000, message="msg_1", type="text", text="The following …", synthetic=True),
            row("message", "msg_2", 3_000, role="user"),
            row(
                "part",
                "prt_2",
                3_000,
                message="msg_2",
                type="subtask",
                prompt="Count",
                command="count",
                agent="x",
            ),
            row("message", "msg_3", 4_000, role="assistant", parentID="msg_1", time={"completed": 4_100}),
            row("part", "prt_3", 4_000, message="msg_3", type="text", text="Hm."),
        ],
    )
    told = read(path)
    assert [(prompt.text, prompt.kind) for prompt in bodies(Prompt, told)] == [("Count", "command")]
    (message,) = [event for event in told if isinstance(event.body, AssistantMessage)]
    assert message.prompt_id is None  # nothing was typed before it


def test_an_error_ends_the_turn_with_its_reason(tmp_path: Path) -> None:
    error = {"name": "APIError", "data": {"message": "no credit"}}
    path = opencode_database.make(
        tmp_path / "opencode.db",
        [
            session(),
            row("message", "msg_1", 2_000, role="user"),
            row("part", "prt_1", 2_000, message="msg_1", type="text", text="Go"),
            row(
                "message",
                "msg_2",
                3_000,
                role="assistant",
                parentID="msg_1",
                error=error,
                time={"completed": 3_100},
            ),
        ],
    )
    assert bodies(TurnEnd, read(path)) == [TurnEnd(error="APIError: no credit")]


def test_a_broken_row_is_counted_and_hides_no_other(tmp_path: Path) -> None:
    path = opencode_database.make(
        tmp_path / "opencode.db",
        [
            session(),
            row("message", "msg_1", 2_000, role="user"),
            row("part", "prt_1", 2_000, message="msg_1", type="text", text="Go"),
            row("part", "prt_2", 2_100, message="msg_1", type="tool", state={"status": "running"}),
            row("part", "prt_3", 2_200, message="msg_1", type="brand-new"),
        ],
    )
    with opened(path) as connection, connection:
        connection.execute("insert into part values ('prt_4', 'msg_1', 'ses_1', 2300, 2300, '{half')")
    lines = list(transcript.read(path))
    reasons = Counter(reason for line in lines for reason in line.skipped)
    assert reasons[MALFORMED] == 2
    assert reasons[transcript.UNKNOWN] == 1
    assert [prompt.text for prompt in bodies(Prompt, read(path))] == ["Go"]


def test_it_is_read_while_opencode_writes_and_nothing_of_it_is_changed(database: Path) -> None:
    with opened(database) as writer:
        writer.execute("begin immediate")
        writer.execute("delete from part")
        assert bodies(ToolCall, read(database))  # as it was before
        writer.rollback()
    before = database.read_bytes()
    read(database)
    assert database.read_bytes() == before


def test_what_is_no_database_of_opencodes_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        list(transcript.read(tmp_path / "none.db"))
    other = tmp_path / "other.db"
    with opened(other) as connection, connection:
        connection.execute("create table t (x)")
    with pytest.raises(OSError, match="OpenCode"):
        list(transcript.read(other))
    text = tmp_path / "text.db"
    text.write_text("no database at all, but a text that is long enough to be looked at", encoding="utf-8")
    with pytest.raises(OSError, match="OpenCode"):
        list(transcript.read(text))


def _lines(shared_data: Path, name: str) -> list[str]:
    text = (shared_data / "opencode_1.18.33" / name).read_text(encoding="utf-8")
    return [line for line in text.split("\n") if line]
