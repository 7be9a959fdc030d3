"""Which events the hooks ask the service about. The hook reads the file at every event, so it holds no more than is
needed, and is gone where the service has nothing to say."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agent_memory import paths


@dataclass(frozen=True, slots=True)
class Ask:
    event: str
    milliseconds: int
    """How long the hook waits for the answer."""
    tools: tuple[str, ...] = ()
    """Tools' names, or beginnings of names with `*`. Empty: whatever the tool, or none."""


class Board:
    """What each part of the service wants to answer. The file says what all of them want."""

    def __init__(self) -> None:
        self._wanted: dict[str, tuple[Ask, ...]] = {}
        self._open = False
        self._lock = threading.Lock()

    def want(self, who: str, asks: Sequence[Ask]) -> None:
        """From now on `who` wants to answer these, and nothing else."""
        with self._lock:
            before = merged(self._wanted)
            self._wanted[who] = tuple(asks)
            after = merged(self._wanted)
            if self._open and before != after:
                write(after)

    def open(self) -> None:
        """The service answers from now on."""
        with self._lock:
            self._open = True
            write(merged(self._wanted))

    def close(self, leave: Sequence[Ask] = ()) -> None:
        """It does not any more. What it leaves is what is worth to wait for until it is started again."""
        with self._lock:
            self._open = False
            write(leave)


def merged(wanted: Mapping[str, Sequence[Ask]]) -> list[Ask]:
    """One line an event: the longest deadline, and every tool that somebody wants."""
    events: dict[str, Ask] = {}
    for ask in (ask for asks in wanted.values() for ask in asks):
        there = events.setdefault(ask.event, ask)
        tools = tuple(sorted({*there.tools, *ask.tools})) if there.tools and ask.tools else ()
        events[ask.event] = Ask(ask.event, max(there.milliseconds, ask.milliseconds), tools)
    return list(events.values())


def write(asks: Sequence[Ask]) -> None:
    """Say what is to be asked from now on."""
    text = "".join(f"{' '.join((ask.event, str(ask.milliseconds), *ask.tools))}\n" for ask in asks)
    if not text:
        paths.asks().unlink(missing_ok=True)
        return
    draft = paths.asks().with_suffix(".new")
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="ascii") as file:
        file.write(text)
    draft.rename(paths.asks())
