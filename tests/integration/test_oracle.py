"""Claude Code's transcripts as the reader of Anthropic's own SDK sees them, against what we tell of them.

The SDK gives the conversation as the model would be given it again: the chain that ends in the last line, after the
last compaction. We tell all that happened. So what it gives, we must tell, but for what is named here one by one.
"""

from __future__ import annotations

import json
import shutil
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from claude_agent_sdk import SessionMessage, get_session_messages

from agent_memory.agents.claude_code import transcript
from agent_memory.journal.event import AssistantMessage, Prompt, ToolCall


def files(data: Path) -> list[Path]:
    """The transcripts of main sessions: the SDK finds a subagent's only beside its session's."""
    found = [
        *(data / "transcripts").rglob("*.jsonl"),
        *(data / "claude_code_2.1.330").rglob("projects/**/*.jsonl"),
    ]
    found += (data / "claude_code_2.1.330" / "transcripts").rglob("*.jsonl")
    return sorted(
        {file for file in found if "subagents" not in file.parts and not file.name.startswith("agent-")}
    )


def as_the_sdk_reads(file: Path, monkeypatch: pytest.MonkeyPatch) -> list[SessionMessage]:
    session_id = str(uuid.uuid4())
    config = Path.home() / ".claude"
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(config))
    copy = config / "projects" / "-home-dev-shop" / f"{session_id}.jsonl"
    copy.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(file, copy)
    return get_session_messages(session_id)


def blocks(message: SessionMessage) -> list[dict[str, Any]]:
    content = message.message.get("content")
    return content if isinstance(content, list) else [{"type": "text", "text": content or ""}]


def records(file: Path) -> Iterator[dict[str, Any]]:
    for line in file.read_bytes().split(b"\n"):
        try:
            record = json.loads(line.strip(b"\0 \t\r"))
        except ValueError:
            continue
        if isinstance(record, dict):
            yield record


def left_out(role: str, text: str, record: dict[str, Any]) -> str | None:
    """Why we do not tell a text as the SDK gives it; None: there is no reason."""
    if record.get("isCompactSummary"):
        return "a compaction's summary: told as one, without the client's words around it"
    if role == "assistant":
        if record.get("isApiErrorMessage"):
            return "an error of the API: told as the turn's end"
        if (record.get("message") or {}).get("model") == "<synthetic>":
            return "the client's own words in the model's place"
        return "nothing was said" if not text else None
    if text.startswith(("<command-name>", "<command-message>")):
        return "a command: told as it was typed"
    if text.startswith("<local-command-stdout>"):
        return "what a command of the client's printed"
    return (
        "an interruption: told as the turn's end" if text.startswith("[Request interrupted by user") else None
    )


def test_what_the_sdks_reader_gives_is_told(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = texts = 0
    reasons: Counter[str] = Counter()
    for file in files(shared_data):
        told = [event for line in transcript.read(file, 0) for event in line.events]
        our_calls = {event.body.tool_use_id for event in told if isinstance(event.body, ToolCall)}
        said = {event.body.text.strip() for event in told if isinstance(event.body, AssistantMessage)}
        asked = {event.body.text.strip() for event in told if isinstance(event.body, Prompt)}
        by_uuid = {record.get("uuid"): record for record in records(file)}
        messages = as_the_sdk_reads(file, monkeypatch)
        given = {
            block["id"]
            for message in messages
            for block in blocks(message)
            if block.get("type") == "tool_use"
        }
        assert given <= our_calls, f"{file}: calls that the SDK gives and we do not tell"
        if more := our_calls - given:
            assert any(record.get("subtype") == "compact_boundary" for record in by_uuid.values()), (
                f"{file}: {len(more)} calls that we tell and the SDK does not, without a compaction"
            )
            reasons["calls before a compaction, which the SDK leaves out"] += len(more)
        calls += len(given)
        for message in messages:
            for block in blocks(message):
                if block.get("type") != "text":
                    continue
                text = block["text"].strip()
                texts += 1
                if text not in (said if message.type == "assistant" else asked):
                    why = left_out(message.type, text, by_uuid.get(message.uuid, {}))
                    assert why, f"{file}: {message.type} said {text[:200]!r}, and we do not tell it"
                    reasons[why] += 1
    print(f"\n{calls} calls and {texts} texts of the SDK's; told otherwise or left out:")
    for why, count in reasons.most_common():
        print(f"{count:>5} {why}")
    assert calls > 200
