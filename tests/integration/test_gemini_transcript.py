"""Real chat files of Gemini CLI against a count of their own and against the hooks of the same session."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from agent_memory.agents.gemini import payload, records, transcript
from agent_memory.agents.json_lines import MALFORMED
from agent_memory.database import Connection
from agent_memory.journal.event import AssistantMessage, Event, Prompt, ToolCall
from agent_memory.journal.ingest import ingest
from agent_memory.settings import Settings

RECORDED = "gemini_cli_0.61.0"


def chat(data: Path) -> Path:
    (file,) = (data / RECORDED / "chats").glob("*.jsonl")
    return file


def told(file: Path) -> list[Event]:
    return [event for line in transcript.read(file) for event in line.events]


def hooked(data: Path) -> list[Event]:
    lines = (data / RECORDED / "hook_payloads.jsonl").read_text(encoding="utf-8").splitlines()
    recorded = [json.loads(line) for line in lines]
    return [
        e for one in recorded for e in payload.events(one["stdin"], datetime.fromtimestamp(one["t"], UTC))
    ]


def calls(events: Iterable[Event]) -> Counter[tuple[Any, ...]]:
    return Counter(
        (body.name, json.dumps(body.input, sort_keys=True), body.success, body.output, body.error)
        for event in events
        if isinstance(body := event.body, ToolCall)
    )


def prompts(events: Iterable[Event]) -> list[str]:
    return [event.body.text for event in events if isinstance(event.body, Prompt)]


def test_every_line_is_told_or_skipped_for_a_reason(shared_data: Path) -> None:
    lines = list(transcript.read(chat(shared_data)))
    assert len(lines) == len(chat(shared_data).read_text(encoding="utf-8").splitlines())
    for line in lines:
        assert line.events or line.skipped
        assert not {MALFORMED, records.UNKNOWN, records.NO_SESSION} & set(line.skipped), line


def test_counts_agree_with_a_simple_count(shared_data: Path) -> None:
    raw = [json.loads(line) for line in chat(shared_data).read_text(encoding="utf-8").splitlines()]
    ids = {call["id"] for record in raw for call in record.get("toolCalls", [])}
    failed = {
        call["id"] for record in raw for call in record.get("toolCalls", []) if call["status"] != "success"
    }
    said = {
        record["id"]: record["content"]
        for record in raw
        if record.get("type") == "gemini" and record["content"]
    }
    asked = {
        record["id"]: record["content"][0]["text"]
        for record in raw
        if record.get("type") == "user" and "text" in record["content"][0]
    }
    events = told(chat(shared_data))
    bodies = [event.body for event in events]
    assert Counter(body.tool_use_id for body in bodies if isinstance(body, ToolCall)) == Counter(ids)
    told_as_failed = {b.tool_use_id for b in bodies if isinstance(b, ToolCall) and b.success is False}
    assert failed < told_as_failed
    assert len(told_as_failed - failed) == 1  # the shell's exit 3, which Gemini CLI calls a success
    assert {b.uuid: b.text for b in bodies if isinstance(b, AssistantMessage)} == said
    assert {event.prompt_id: event.body.text for event in events if isinstance(event.body, Prompt)} == asked


def test_hooks_and_the_chat_file_tell_the_same_prompts_and_calls(shared_data: Path) -> None:
    by_hooks, by_file = hooked(shared_data), told(chat(shared_data))
    assert prompts(by_hooks) == prompts(by_file)
    assert calls(by_hooks) == calls(by_file)
    assert {event.session_id for event in by_hooks} == {event.session_id for event in by_file}


def test_reading_it_twice_gives_the_same_rows(conn: Connection, shared_data: Path) -> None:
    events = told(chat(shared_data))
    first = ingest(conn, events, Settings())
    assert (first.sessions, first.prompts, first.tool_calls, first.assistant_messages) == (1, 2, 10, 3)
    again = ingest(conn, events, Settings())
    assert (again.sessions, again.prompts, again.tool_calls, again.assistant_messages) == (0, 0, 0, 0)


def test_hook_payloads_read_twice_give_the_same_rows(conn: Connection, shared_data: Path) -> None:
    events = hooked(shared_data)
    first = ingest(conn, events, Settings())
    assert (first.sessions, first.prompts, first.tool_calls) == (1, 2, 10)
    again = ingest(conn, events, Settings())
    assert (again.sessions, again.prompts, again.tool_calls) == (0, 0, 0)
