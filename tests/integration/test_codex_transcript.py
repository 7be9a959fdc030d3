"""Real rollouts of Codex against a count of their own and against the hooks of the same sessions."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from agent_memory.agents.codex import payload, records, transcript
from agent_memory.agents.json_lines import MALFORMED
from agent_memory.database import Connection
from agent_memory.journal.event import AssistantMessage, Event, Prompt, ToolCall
from agent_memory.journal.ingest import ingest
from agent_memory.settings import Settings

RECORDED = "codex_0.169.0"


def rollouts(data: Path) -> list[Path]:
    files = sorted(transcript.files(data / RECORDED / "sessions"))
    assert len(files) == 6
    return files


def told(files: Iterable[Path]) -> list[Event]:
    return [event for file in files for line in transcript.read(file) for event in line.events]


def hooked(data: Path) -> list[Event]:
    lines = (data / RECORDED / "hook_payloads.jsonl").read_text(encoding="utf-8").splitlines()
    recorded = [json.loads(line) for line in lines]
    return [
        e for one in recorded for e in payload.events(one["stdin"], datetime.fromtimestamp(one["t"], UTC))
    ]


def calls(events: Iterable[Event]) -> dict[str, dict[str, Any]]:
    """Each call, merged as the journal does it: what was told first stays."""
    merged: dict[str, dict[str, Any]] = {}
    for event in events:
        if isinstance(event.body, ToolCall):
            row = merged.setdefault(
                event.body.tool_use_id, {"prompt": event.prompt_id, "agent": event.subagent_id}
            )
            for name in event.body.__slots__:
                value = getattr(event.body, name)
                if value is not None:
                    row.setdefault(name, value)
    return merged


def raw(files: Iterable[Path]) -> Iterator[dict[str, Any]]:
    """The payloads of the files, read in the simplest way there is."""
    for file in files:
        for line in file.read_text(encoding="utf-8").splitlines():
            yield json.loads(line)["payload"]


def test_every_line_is_told_or_skipped_for_a_reason(shared_data: Path) -> None:
    for file in rollouts(shared_data):
        lines = list(transcript.read(file))
        assert len(lines) == len(file.read_text(encoding="utf-8").splitlines())
        for line in lines:
            assert line.events or line.skipped
            assert not {MALFORMED, records.UNKNOWN, records.ORPHAN, records.COPY} & set(line.skipped), line


def test_counts_agree_with_a_simple_count(shared_data: Path) -> None:
    files = rollouts(shared_data)
    found, asked, said, failed = set(), Counter[str](), Counter[str](), set()
    for one in raw(files):
        if one.get("type") in ("function_call", "custom_tool_call"):
            found.add(one["call_id"])
        item = one.get("item") or {}
        if item.get("type") in ("CommandExecution", "FileChange", "McpToolCall", "CollabAgentToolCall"):
            found.add(item["id"])
            if item["status"] != "completed":
                failed.add(item["id"])
        elif item.get("type") == "UserMessage":
            asked[item["content"][0]["text"]] += 1
        elif item.get("type") == "AgentMessage":
            said[item["content"][0]["text"]] += 1
    events = told(files)
    rows = calls(events)
    assert set(rows) == found
    assert Counter(event.body.text for event in events if isinstance(event.body, Prompt)) == asked
    messages = [event.body for event in events if isinstance(event.body, AssistantMessage)]
    assert Counter(message.text for message in messages if message.kind == "message") == said
    # Two failures have no item: a patch that does not fit, and a script that throws.
    told_as_failed = {id_ for id_, row in rows.items() if row["success"] is False}
    assert failed < told_as_failed
    assert len(told_as_failed - failed) == 2


def test_hooks_and_rollouts_tell_the_same_prompts_and_calls(shared_data: Path) -> None:
    by_hooks, by_files = hooked(shared_data), told(rollouts(shared_data))

    def prompts(events: list[Event]) -> Counter[tuple[Any, ...]]:
        return Counter(
            (event.session_id, event.prompt_id, event.subagent_id, event.body.kind, event.body.text)
            for event in events
            if isinstance(event.body, Prompt)
        )

    assert prompts(by_hooks) == prompts(by_files)
    rows, again = calls(by_hooks), calls(by_files)
    scripts = {id_ for id_, row in again.items() if row["name"] == "exec"}
    assert set(again) - set(rows) == scripts
    for id_, row in rows.items():
        other = again[id_]
        patched_by_script = id_.startswith("exec-") and row["name"] == "apply_patch"
        assert row["input"] == other["input"] or patched_by_script
        for name in ("name", "prompt", "agent"):
            assert row[name] == other[name], (id_, name)
        if other["success"]:
            assert row.get("output") in (None, other.get("output")), id_
        assert row.get("success") in (None, other["success"])


def test_reading_it_all_twice_gives_the_same_rows(conn: Connection, shared_data: Path) -> None:
    events = told(rollouts(shared_data))
    first = ingest(conn, events, Settings())
    assert (first.sessions, first.prompts, first.tool_calls) == (5, 7, len(calls(events)))
    again = ingest(conn, events, Settings())
    assert (again.sessions, again.prompts, again.tool_calls, again.assistant_messages) == (0, 0, 0, 0)
