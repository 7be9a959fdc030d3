"""What lands in the journal, as it lands: short values for whoever looks on, and from where on to look again."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, TypeAlias, cast

from agent_memory.database import Connection
from agent_memory.replay import store
from agent_memory.replay.subject import line, subject

MOST = 200
"""So many are told at once to one who comes, or comes back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Happening:
    """Something that was recorded. Its text was redacted before it was stored."""

    kind: Literal["prompt", "call", "message", "session"]
    id: str
    """With kind and session it names the row; the same row may be told again when its end is known."""
    session_id: str
    project_id: int
    project: str
    """The project's name."""
    agent: str
    agent_id: str | None
    """The subagent that it is about, or None."""
    prompt_id: str | None
    at: datetime
    sort: str | None
    """Of a prompt: user | task_notification | subagent | command; of a message: message | compact_summary; of a
    session: begun | ended."""
    tool: str | None
    success: bool | None
    """Of a call: None while it runs."""
    duration_ms: int | None
    text: str
    """In one line: what was asked or said, what a call is about, how a session came or went."""
    error: str | None
    """What a failed call said, in one line."""


_NOTHING = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Place:
    """How far somebody has been told. Its text form is an event's id."""

    calls: int = 0
    messages: int = 0
    prompts: datetime = _NOTHING

    def __str__(self) -> str:
        return f"{self.calls}-{self.messages}-{(self.prompts - _NOTHING) // timedelta(microseconds=1)}"

    def after(self, row: Mapping[str, Any]) -> Place:
        """This place moved on to where `row` (as `store.recorded` gives it) has been told, too."""
        number = row["number"] or 0
        return Place(
            max(self.calls, number) if row["kind"] == "call" else self.calls,
            max(self.messages, number) if row["kind"] == "message" else self.messages,
            max(self.prompts, row["at"]) if row["kind"] == "prompt" else self.prompts,
        )


Told: TypeAlias = tuple[Place, Happening]


def place(text: str) -> Place | None:
    """A place from its text form; None for what is none."""
    if not re.fullmatch(r"\d{1,18}-\d{1,18}-\d{1,18}", text, re.ASCII):
        return None
    calls, messages, microseconds = map(int, text.split("-"))
    try:
        return Place(calls, messages, _NOTHING + timedelta(microseconds=microseconds))
    except OverflowError:
        return None


def happening(row: Mapping[str, Any]) -> Happening:
    """A row of `store.recorded` or `store.latest` as a value."""
    call = row["kind"] == "call"
    said = row["text"] or ""
    same = ("id", "session_id", "project_id", "project", "agent", "agent_id", "prompt_id", "at")
    rest = ("sort", "tool", "success", "duration_ms")
    return Happening(
        kind=cast(Any, row["kind"]),
        text=subject(row["input"]) if call else line(said),
        error=line(said) if call and row["success"] is False else None,
        **{name: row[name] for name in (*same, *rest)},
    )


def recorded(conn: Connection, announced: Mapping[str, Any], place: Place) -> list[Told]:
    """What an announcement (see `journal.announce`) is about, the oldest first, with the places it brings one to from
    `place` on."""
    return _told(store.recorded(conn, announced), place)


def latest(
    conn: Connection, *, project_id: int | None, since: Place | None = None, limit: int = MOST
) -> list[Told]:
    """The last that was recorded, or what was since a place: at most `limit`, the oldest first, each with the place
    that it brings one to."""
    at = since or Place()
    rows = store.latest(
        conn,
        project_id=project_id,
        calls=at.calls,
        messages=at.messages,
        prompts=at.prompts if since else None,
        limit=limit,
    )
    return _told(rows, at)


def named(
    conn: Connection,
    *,
    sessions: Sequence[str] = (),
    prompts: Sequence[str] = (),
    calls: Sequence[int] = (),
    messages: Sequence[int] = (),
    project_id: int | None,
) -> list[Happening]:
    """What these rows of the journal tell, in order of time; those that are not there, or of another project, are left
    out. The prompts are looked for in `sessions`."""
    rows = store.named(
        conn, sessions=sessions, prompts=prompts, calls=calls, messages=messages, project_id=project_id
    )
    return [happening(row) for row in rows]


def _told(rows: Sequence[Mapping[str, Any]], at: Place) -> list[Told]:
    told = []
    for row in rows:
        at = at.after(row)
        told.append((at, happening(row)))
    return told
