"""A session as it went, a page at a time: what was asked, said and called, with what the memory told in between."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from agent_memory.database import Connection
from agent_memory.recall import context_store
from agent_memory.replay import store
from agent_memory.replay.diff import Diff, diffs
from agent_memory.replay.subject import line, subject

PAGE = 100
"""Steps of a page."""
CHARS = 4_000
"""Of an output or an error that a page holds; the whole is on the call's own page."""
_MOST_TOLD = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A tool call, as a page shows it."""

    id: int
    tool: str
    subject: str
    input: str | None
    """All of it as JSON in lines, where `subject` does not say it all; None also where it is too long for a page."""
    input_chars: int
    diffs: Sequence[Diff]
    output: str | None
    output_left: int
    """Characters that a page does not show."""
    output_lost: int
    """Characters that were not stored."""
    error: str | None
    error_left: int
    success: bool | None
    """None: no end was seen."""
    duration_ms: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing that happened. `row` is that of the store's function for its kind; a call is a `Call`."""

    kind: Literal["prompt", "message", "call", "subagent", "told", "spoke"]
    at: datetime
    place: int | None = None
    """Among the agent's own steps, from 1."""
    row: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    steps: Sequence[Step]
    number: int
    """Of this page, from 1."""
    pages: int
    total: int
    turns: Sequence[Mapping[str, Any]]
    """All of this agent's: see `store.turns`."""
    subagents: Sequence[Mapping[str, Any]]
    """All of the session's: see `store.subagents`."""


def page_of(place: int) -> int:
    """The page that a step's place is on."""
    return (max(place, 1) - 1) // PAGE + 1


def replay(conn: Connection, session_id: str, *, agent_id: str | None = None, number: int = 1) -> Replay:
    """A page of what the main agent or one of its subagents did. A subagent is one step of the main agent's, where it
    began."""
    rows = store.steps(conn, session_id, agent_id=agent_id, after=(number - 1) * PAGE, limit=PAGE + 1)
    own, following = rows[:PAGE], rows[PAGE:]
    since = own[0]["at"] if own and number > 1 else None
    until = following[0]["at"] if following else None
    subagents = store.subagents(conn, session_id)
    steps = _own(conn, session_id, own, after=(number - 1) * PAGE)
    if own or number == 1:
        steps += _between(conn, session_id, agent_id, subagents, since, until)
    steps.sort(key=lambda step: (step.at, step.place is None and step.kind != "told", step.place or 0))
    turns = store.turns(conn, session_id, agent_id=agent_id)
    total = sum(turn["steps"] for turn in turns)
    return Replay(
        steps=steps, number=number, pages=page_of(total), total=total, turns=turns, subagents=subagents
    )


def _own(conn: Connection, session_id: str, rows: Sequence[Mapping[str, Any]], *, after: int) -> list[Step]:
    """The agent's own steps, of which these rows follow the place `after`."""

    def numbers(kind: str) -> list[int]:
        return [row["number"] for row in rows if row["kind"] == kind]

    prompts = store.prompts(conn, session_id, [row["name"] for row in rows if row["kind"] == "prompt"])
    messages = store.messages(conn, numbers("message"))
    calls = store.calls(conn, numbers("call"), chars=CHARS)

    def whole(row: Mapping[str, Any]) -> Any:
        match row["kind"]:
            case "prompt":
                return prompts.get(row["name"])
            case "message":
                return messages.get(row["number"])
        return _call(calls[row["number"]]) if row["number"] in calls else None

    steps = [
        Step(kind=row["kind"], at=row["at"], place=place, row=whole(row))
        for place, row in enumerate(rows, after + 1)
    ]
    return [step for step in steps if step.row is not None]  # forgotten in between


def _between(
    conn: Connection,
    session_id: str,
    agent_id: str | None,
    subagents: Sequence[Mapping[str, Any]],
    since: datetime | None,
    until: datetime | None,
) -> list[Step]:
    """What happened beside the agent's own steps in a time."""

    def meant(at: datetime) -> bool:
        return (since is None or at >= since) and (until is None or at < until)

    spoke = store.spoke(conn, session_id, agent_id=agent_id, since=since, until=until)
    steps = [Step(kind="spoke", at=row["at"], row=row) for row in spoke]
    if agent_id is None:
        told = context_store.injections(conn, session_id=session_id, limit=_MOST_TOLD)
        steps += [
            Step(kind="told", at=row["occurred_at"], row=row) for row in told if meant(row["occurred_at"])
        ]
        steps += [
            Step(kind="subagent", at=row["began_at"], row=row) for row in subagents if meant(row["began_at"])
        ]
    return steps


def _call(row: Mapping[str, Any]) -> Call:
    return whole_call(
        row,
        output_left=max(0, (row["kept"] or 0) - len(row["output"] or "")),
        error_left=max(0, (row["error_chars"] or 0) - len(row["error"] or "")),
    )


def whole_call(row: Mapping[str, Any], *, output_left: int = 0, error_left: int = 0) -> Call:
    """A row of a call as a value."""
    given = row["tool_input"]
    changed = diffs(row["tool_name"], given)
    about = subject(given)
    kept = len(row["output"] or "") + output_left
    # A command or a path alone is told by the subject, an edit by its lines.
    short = isinstance(given, dict) and len(given) <= 1 and line(str(next(iter(given.values()), ""))) == about
    told = given is None or short or bool(changed)
    return Call(
        id=row["id"],
        tool=row["tool_name"],
        subject=about,
        input=None if told else json.dumps(given, indent=2, ensure_ascii=False),
        input_chars=len(json.dumps(given)) if given is not None else row["input_chars"],
        diffs=changed,
        output=row["output"],
        output_left=output_left,
        output_lost=max(0, (row["output_chars"] or 0) - kept),
        error=row["error"],
        error_left=error_left,
        success=row["success"],
        duration_ms=row["duration_ms"],
    )
