"""Agents whose hooks tell no ids of prompts and calls, while their session files do. What a hook told and what the file
tells again is one row: it is found by what it says, and by its time.

A hook tells a prompt or a call a moment before the file does, since the agent waits for the hook. So a call of the file
is the latest one of a hook's that is not later, and a call of a hook's is the earliest one of the file's that is not
earlier. The same command twice is two calls, whichever source came first. Told a second time by the same source, an
event has the same time and is itself.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from agent_memory.database import Connection
from agent_memory.journal import store
from agent_memory.journal.event import HOOK_ID, Event, Prompt, ToolCall

WITHOUT_IDS = frozenset(("gemini",))
"""The agents. For all others nothing is looked up."""

PATIENCE = timedelta(seconds=60)
"""How much later than a hook the file may tell a prompt: people repeat themselves (“continue”), but not that soon."""

_NAMED_BY_TIME = re.compile(r"\d{8}T\d{12}-[0-9a-f]{8}")
"""A prompt's id that ingest made from its time, for a hook told none."""


@dataclass(slots=True)
class Told:
    """A prompt or a call that is known already."""

    id: str | None
    """None: a prompt that a hook told in this very batch."""
    at: datetime


def matched(conn: Connection, events: Sequence[Event], shown: Callable[[Any], Any]) -> list[Event]:
    """The events, with the ids of those that were told already by the other source. A call that a hook told gets the
    agent's own id as soon as the file tells it, also in the journal.

    `shown` is how a value looks in the journal.
    """
    mine = [event for event in events if event.agent in WITHOUT_IDS]
    if not mine:
        return list(events)
    sessions, since = {event.session_id for event in mine}, min(event.occurred_at for event in mine)
    calls: dict[tuple[str, str, str], list[Told]] = {}
    ids = [event.body.tool_use_id for event in mine if isinstance(event.body, ToolCall)]
    for row in store.calls_told(conn, sorted(sessions), ids, since):
        key = _key(row["session_id"], row["tool_name"], row["tool_input"])
        calls.setdefault(key, []).append(Told(row["tool_use_id"], row["occurred_at"]))
    prompts: dict[tuple[str, str], list[Told]] = {}
    ids = [event.prompt_id for event in mine if event.prompt_id]
    for row in store.prompts_told(conn, sorted(sessions), ids, since - PATIENCE):
        prompts.setdefault((row["session_id"], row["text"]), []).append(Told(row["id"], row["occurred_at"]))
    found: list[tuple[Event, Told | None]] = []
    for event in sorted(events, key=lambda event: event.occurred_at):
        body, told = event.body, None
        if event.agent in WITHOUT_IDS and isinstance(body, ToolCall):
            known = calls.setdefault(_key(event.session_id, body.name, shown(body.input)), [])
            told = same_call(body.tool_use_id, event.occurred_at, known)
            if told is None:
                told = Told(body.tool_use_id, event.occurred_at)
                known.append(told)
            elif told.id != body.tool_use_id and not body.tool_use_id.startswith(HOOK_ID):
                store.rename_call(conn, event.session_id, str(told.id), body.tool_use_id)
                told.id = body.tool_use_id
        elif event.agent in WITHOUT_IDS and isinstance(body, Prompt) and event.subagent_id is None:
            known = prompts.setdefault((event.session_id, str(shown(body.text))), [])
            told = same_prompt(event.prompt_id, event.occurred_at, known)
            if told is None:
                told = Told(event.prompt_id, event.occurred_at)
                known.append(told)
            told.id = told.id or event.prompt_id
        if told is not None:
            told.at = min(told.at, event.occurred_at)
        found.append((event, told))
    return [event if told is None else _with_id(event, told.id) for event, told in found]


def same_call(id_: str, at: datetime, known: Sequence[Told]) -> Told | None:
    """Which of the calls of this name and input the call with this id is; None: a new one."""
    itself = next((one for one in known if one.id == id_), None)
    if itself is not None:
        return itself
    if id_.startswith(HOOK_ID):
        later = [one for one in known if not _made_up(one) and one.at >= at]
        return min(later, key=lambda one: one.at, default=None)
    earlier = [one for one in known if _made_up(one) and one.at <= at]
    return max(earlier, key=lambda one: one.at, default=None)


def same_prompt(id_: str | None, at: datetime, known: Sequence[Told]) -> Told | None:
    """Which of the prompts of this text the prompt with this id is (None: told by a hook); None: a new one."""
    if id_ is None:
        itself = next((one for one in known if _named_by_time(one) and one.at == at), None)
        later = [one for one in known if not _named_by_time(one) and at <= one.at <= at + PATIENCE]
        return itself or min(later, key=lambda one: one.at, default=None)
    itself = next((one for one in known if one.id == id_), None)
    earlier = [one for one in known if _named_by_time(one) and at - PATIENCE <= one.at <= at]
    return itself or max(earlier, key=lambda one: one.at, default=None)


def _made_up(call: Told) -> bool:
    return call.id is None or call.id.startswith(HOOK_ID)


def _named_by_time(prompt: Told) -> bool:
    return prompt.id is None or _NAMED_BY_TIME.fullmatch(prompt.id) is not None


def _key(session_id: str, name: str, given: Any) -> tuple[str, str, str]:
    return session_id, name, json.dumps(given, sort_keys=True)


def _with_id(event: Event, id_: str | None) -> Event:
    if isinstance(event.body, ToolCall) and id_:
        return replace(event, body=replace(event.body, tool_use_id=id_))
    return replace(event, prompt_id=id_)
