"""Claude Code's transcripts, from 1.0 to 2.1.330: a file of JSON lines, read as Events from a byte offset on.

    for line in read(path, offset):
        …ingest line.events…, and keep line.end as the offset to go on from

A live file is safe: a last line that is not whole yet is left for the next time. To go on from an offset the
file is read from its beginning again, and only what lies beyond the offset is told: what a line means depends
on those before it, and reading is cheap beside storing (docs/decisions/0006-claude-code.md has the numbers).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson

from agent_memory.agents import json_lines
from agent_memory.agents.claude_code import reasons
from agent_memory.agents.claude_code.records import Conversation
from agent_memory.agents.json_lines import Line
from agent_memory.journal.event import AssistantMessage, Event, Prompt


def default_folder() -> Path:
    """Where Claude Code keeps its transcripts, a folder for each project."""
    config = os.environ.get("CLAUDE_CONFIG_DIR")
    return (Path(config) if config else Path.home() / ".claude") / "projects"


def of_session(path: Path) -> list[Path]:
    """A session's transcript and those of its subagents, as far as they are there."""
    return [file for file in (path, *path.with_suffix("").glob("subagents/**/*.jsonl")) if file.is_file()]


def read(path: Path, offset: int = 0) -> Iterator[Line]:
    """The lines of the transcript at `path` (a session's or a subagent's) that end behind the byte `offset`.

    A file shorter than `offset` was written anew and is read whole. Raises OSError where it cannot be read.
    """
    if path.stat().st_size < offset:
        offset = 0
    return (line for line in _with_final_usage(_lines(path)) if line.end > offset)


def _lines(path: Path) -> Iterator[tuple[Line, dict[str, Any]]]:
    """Every whole line, with its record (empty where it is none)."""
    conversation = _conversation(path)
    end = 0
    with path.open("rb") as file:
        for raw in file:  # bytes: split on \n only; texts hold U+2028 and the like
            end += len(raw)
            text = raw.strip(b"\0 \t\r\n")
            if not text:
                yield Line(end, (), (reasons.EMPTY,)), {}
                continue
            record = json_lines.parse(text)
            if record is None:
                if not raw.endswith(b"\n"):
                    return  # still being written: a part of a record is never a whole one
                yield Line(end, (), (reasons.MALFORMED,)), {}
                continue
            events, skipped = conversation.read(record)
            yield Line(end, tuple(events), tuple(skipped)), record


def _conversation(path: Path) -> Conversation:
    """A session's file is named after it. A subagent's is `agent-ID.jsonl`, in `SESSION/subagents/` or, in
    old versions, beside the session's; a file beside it tells the subagent's type."""
    if not path.name.startswith("agent-"):
        return Conversation(session_id=path.stem, transcript_path=str(path))
    above = str(path.parent).rpartition("/subagents")[0]
    try:
        about = orjson.loads(path.with_suffix(".meta.json").read_bytes())
    except (OSError, orjson.JSONDecodeError):
        about = {}
    kind = about.get("agentType") if isinstance(about, dict) else None
    return Conversation(session_id=Path(above or path).stem, subagent_type=kind)


def _with_final_usage(lines: Iterable[tuple[Line, dict[str, Any]]]) -> Iterator[Line]:
    """A response of the API is several lines, and versions before 2.1.2xx wrote the first ones while it still
    streamed, with a token or so of its output counted: only the last line's usage is true. So lines are held
    back from a response's first message on until the response is over. (In 2.1.39: 103 of 345 responses.)
    """
    held: list[Line] = []
    response = usage = None
    for line, record in lines:
        message = record.get("message") if record.get("type") == "assistant" else None
        if held:
            if message and message.get("id") == response:
                usage = message.get("usage") or usage
            elif message or any(isinstance(event.body, Prompt) for event in line.events):
                yield from _metered(held, usage)
                held = []
        if held:
            held.append(line)
        elif message and _streaming(message) and any(_usage(event) for event in line.events):
            held, response, usage = [line], message.get("id"), message.get("usage")
        else:
            yield line
    yield from _metered(held, usage)


def _streaming(message: dict[str, Any]) -> bool:
    return message.get("stop_reason") is None


def _usage(event: Event) -> dict[str, Any] | None:
    return event.body.usage if isinstance(event.body, AssistantMessage) else None


def _metered(held: list[Line], usage: dict[str, Any] | None) -> list[Line]:
    """The lines, with `usage` in the first one's first message."""
    if not held:
        return held
    events = list(held[0].events)
    at = next(index for index, event in enumerate(events) if _usage(event))
    body = events[at].body
    assert isinstance(body, AssistantMessage)
    events[at] = replace(events[at], body=replace(body, usage=usage))
    return [replace(held[0], events=tuple(events)), *held[1:]]
