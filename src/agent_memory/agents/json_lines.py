"""A file of JSON lines, such as an agent's transcript, read as Events from a byte offset on. What a line means is the
agent's matter: it gives a function that reads one record after the other."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import orjson

from agent_memory.journal.event import AssistantMessage, Event, Prompt, SessionEnd, SessionStart, ToolCall

Record: TypeAlias = dict[str, Any]
Told: TypeAlias = tuple[list[Event], list[str]]
"""A record's events, and the reasons for what in it is not recorded. Never both empty."""

EMPTY = "empty"
MALFORMED = "not a whole record"


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a transcript: what it told, and what of it was left out and why. Never neither."""

    end: int
    """The byte offset behind it."""
    events: tuple[Event, ...]
    skipped: tuple[str, ...]
    """Reasons, one for each thing left out. A line may have both events and reasons."""


def read(path: Path, offset: int, tell: Callable[[Record], Told]) -> Iterator[Line]:
    """The lines of the file at `path` that end behind the byte `offset`.

    The lines before it are given to `tell` too, since what a line means depends on those before it, but are not told
    again. A last line that is not whole yet is left for the next time. A file shorter than `offset` was written anew
    and is read whole. Raises OSError where it cannot be read.
    """
    if path.stat().st_size < offset:
        offset = 0
    end = 0
    with path.open("rb") as file:
        for raw in file:  # bytes: split on \n only; texts hold U+2028 and the like
            end += len(raw)
            text = raw.strip(b"\0 \t\r\n")
            record = parse(text)
            if record is None and not raw.endswith(b"\n"):
                return  # still being written: a part of a record is never a whole one
            if record is not None:
                events, skipped = tell(record)
            else:
                events, skipped = [], [MALFORMED if text else EMPTY]
            if end > offset:
                yield Line(end, tuple(events), tuple(skipped))


def parse(text: bytes) -> Record | None:
    """The JSON object that `text` is, or None."""
    if not text:
        return None
    try:
        record = orjson.loads(text)
    except orjson.JSONDecodeError:
        # A text cut within an emoji leaves half a surrogate pair, which the standard parser bears.
        try:
            lenient = json.loads(text.decode("utf-8", "replace"))
            record = orjson.loads(json.dumps(lenient, ensure_ascii=False).encode("utf-8", "replace"))
        except (ValueError, RecursionError):
            return None
    return record if isinstance(record, dict) else None


def tally(lines: Iterable[Line]) -> Counter[str]:
    """How often each kind of thing was told or left out, for a report."""
    return Counter(
        name
        for line in lines
        for name in (*map(_kind, line.events), *(f"skipped: {reason}" for reason in line.skipped))
    )


def _kind(event: Event) -> str:
    body = event.body
    if isinstance(body, Prompt):
        return f"prompt: {body.kind}"
    if isinstance(body, AssistantMessage):
        return body.kind
    if isinstance(body, ToolCall):
        return "tool call" if body.success is None else "tool result"
    if isinstance(body, SessionStart | SessionEnd):
        return "session start" if isinstance(body, SessionStart) else "session end"
    return "turn end"
