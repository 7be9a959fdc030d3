"""Telling whoever looks on what a batch has brought, when it is committed: names of rows, never a text.

Only what happened just now is told: an import of history is nothing to look on at.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Literal

import orjson

RECENT = timedelta(minutes=10)
LONGEST = 7_500
"""Bytes of one announcement; Postgres takes 8,000."""

What = Literal["prompts", "calls", "messages", "marks"]
"""Prompts by their id, calls by the agent's id for them, messages by their text's hash; what became of the session:
begun, ended."""
Name = tuple[datetime, str, What, str]
"""When, in which session, what, and its name."""


def announcements(names: Iterable[Name], *, now: datetime | None = None) -> Iterator[str]:
    """What is recent among these as JSON, of one session each: `{"session": …, "calls": […], …}`."""
    since = (now or datetime.now(UTC)) - RECENT
    sessions: dict[str, list[tuple[What, str]]] = {}
    for at, session, what, name in names:
        if at >= since:
            sessions.setdefault(session, []).append((what, name))
    for session, rows in sessions.items():
        told: dict[str, list[str]] = defaultdict(list)
        size = room = LONGEST - 100 - _size(session)
        for what, name in rows:
            cost = _size(name) + 1
            if cost > room:
                continue  # no agent names its rows like this
            if cost > size:
                yield _packed(session, told)
                told, size = defaultdict(list), room
            told[what].append(name)
            size -= cost
        if told:
            yield _packed(session, told)


def _packed(session: str, told: dict[str, list[str]]) -> str:
    return orjson.dumps({"session": session, **told}).decode()


def _size(text: str) -> int:
    return len(orjson.dumps(text))
