"""Answers as text for an agent: fenced as data, in a stable order, each with its date and its sources."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from agent_memory.journal.fence import fence
from agent_memory.recall.answer import Answer, Entry, Full, Held, Hit, Index
from agent_memory.recall.budget import cut

NOTHING = "Nothing relevant is in this project's memory."
_SEPARATOR = "\n\n"


def answer(found: Answer) -> str:
    """The hits, best first. Never longer than the budget that they were recalled with."""
    parts = [f"{heading(hit)}\n{hit.text}" for hit in found.hits]
    return fence(_SEPARATOR.join([*_notes(found.notice, nothing=found.abstained), *parts]))


def index(found: Index) -> str:
    """One line for each entry, best first; at most 80 tokens each."""
    lines = [line(entry) for entry in found.entries]
    return fence("\n".join([*_notes(found.notice, nothing=found.abstained), *lines]))


def timeline(entries: Sequence[Entry], *, around: int | None = None) -> str:
    """One line for each entry, the oldest first; `around` is marked."""
    if not entries:
        return fence("Nothing has been remembered in this project yet.")
    return fence("\n".join(("> " if entry.id == around else "") + line(entry) for entry in entries))


def full(found: Sequence[Full], *, missing: Sequence[int] = (), limit: int | None = None) -> str:
    """Observations whole, the oldest first. With a `limit` in characters those that no longer fit are named
    instead; the first is cut."""
    parts: list[str] = []
    left_out: list[int] = []
    left = limit
    for one in found:
        text = one.text
        if left is not None and overhead(one) + len(text) > left:
            if parts:
                left_out.append(one.id)
                continue
            text = cut(text, max(0, left - overhead(one)))
        parts.append(f"{heading(one)}\n{text}")
        left = None if left is None else left - overhead(one) - len(text)
    if left_out:
        parts.append(f"Left out for their length, ask for them by themselves: {_numbers(left_out)}.")
    if missing:
        parts.append(f"Not in this project: {_numbers(missing)}.")
    return fence(_SEPARATOR.join(parts))


def overhead(hit: Hit | Full) -> int:
    """Characters that a hit takes beside its text."""
    return len(heading(hit)) + 1 + len(_SEPARATOR)


def frame(notice: str | None) -> int:
    """Characters that an answer takes beside its hits, at most."""
    return len(fence("")) + sum(len(note) + len(_SEPARATOR) for note in _notes(notice, nothing=False))


def heading(one: Hit | Full) -> str:
    """`#12 · 2026-11-22 14:03 · turn · title`, then where it comes from."""
    title = " ".join(one.title.split())
    first = f"#{one.id} · {moment(one.occurred_at)} · {one.kind} · {title}"
    origin = sources(one.session_id, one.sources)
    if isinstance(one, Full):
        if one.supersedes is not None:
            origin.append(f"supersedes #{one.supersedes}")
    elif one.instead_of is not None:
        origin.append(f"supersedes #{one.instead_of}, which was found")
    origin += marks(one.held)
    return f"{first}\n({'; '.join(origin)})" if origin else first


def line(entry: Entry) -> str:
    said = "".join(f" [{mark}]" for mark in marks(replace(entry.held, because=None)))
    return f"#{entry.id} · {moment(entry.occurred_at)} · {entry.kind} · {entry.title}{said} — {entry.snippet}"


def marks(held: Held) -> list[str]:
    """`held until 2026-07-03 09:12: superseded by #9`, and the like; empty for what simply holds."""
    told = [f"holds from {moment(held.since)}"] if held.since and held.since > datetime.now(UTC) else []
    if held.until is None:
        return told
    why = f"superseded by #{held.superseded_by}" if held.superseded_by is not None else held.because
    verb = "held" if held.until <= datetime.now(UTC) else "holds"
    return [*told, f"{verb} until {moment(held.until)}" + (f": {why}" if why else "")]


def moment(at: datetime) -> str:
    """To the minute, in UTC: the same moment always gives the same text."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M}"


def sources(session_id: str | None, rows: Mapping[str, Any]) -> list[str]:
    """Where an observation comes from, in short; its ids are in the structured result."""
    told = [f"session {session_id}"] if session_id else []
    for name, singular in (
        ("prompts", "prompt"),
        ("tool_calls", "tool call"),
        ("assistant_messages", "message"),
    ):
        count = len(rows.get(name) or ())
        if count:
            told.append(f"{count} {singular}{'s' if count != 1 else ''}")
    return told


def _numbers(ids: Sequence[int]) -> str:
    return ", ".join(f"#{number}" for number in ids)


def _notes(notice: str | None, *, nothing: bool) -> list[str]:
    return [note for note in (NOTHING if nothing else None, f"Note: {notice}" if notice else None) if note]
