"""The ledger: what came of each time that a lesson spoke, and what that says of the lesson."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from agent_memory.database import Connection
from agent_memory.lessons import store
from agent_memory.lessons.lesson import Lesson
from agent_memory.lessons.outcome import OUTCOMES, Outcome, outcome

SETTLES = timedelta(days=1)
"""How long an outcome may still change, since the session goes on."""

ENOUGH = 5
"""Known outcomes before anything is proposed."""
GOOD = 0.8
"""Share of the known outcomes that are good, from which a lesson may be worth asking about."""
FALSE = 0.5
"""Share that is false, from which a lesson is not worth its words."""

_GOOD: tuple[Outcome, ...] = ("prevented", "heeded", "denied")


@dataclass(frozen=True, slots=True)
class Record:
    """How often a lesson spoke with its present trigger, and what came of it."""

    fired: int = 0
    outcomes: Mapping[str, int] = field(default_factory=dict)

    def count(self, *names: Outcome) -> int:
        return sum(self.outcomes.get(name, 0) for name in names)

    @property
    def heeded(self) -> int:
        """The agent did it otherwise, or the call was refused and not tried again."""
        return self.count(*_GOOD)

    @property
    def known(self) -> int:
        return self.count(*(name for name in OUTCOMES if name != "unknown"))


def settle(conn: Connection, *, everything: bool = False) -> int:
    """Read from the journal what came of the firings of the last day and of those that nothing is known of yet, or of
    every one. How many changed. Done again it changes nothing; the caller commits."""
    since = None if everything else datetime.now(UTC) - SETTLES
    changed = 0
    for due in store.unsettled(conn, since):
        found = store.call_at(conn, due.session_id, due.tool_use_id) if due.tool_use_id else None
        result: tuple[Outcome, list[int]] = ("unknown", [])
        if found is not None:
            later = store.calls_after(conn, due.session_id, due.agent_id, found.id)
            result = outcome(due.trigger, due.action, found, later, cwd=due.cwd)
        if result != (due.outcome, due.calls):
            store.set_outcome(conn, due.id, *result)
            changed += 1
    return changed


def proposal(lesson: Lesson, record: Record) -> str | None:
    """What the user might decide about an active lesson, in a sentence; None where there is nothing to say. There are
    at least `ENOUGH` known outcomes behind it."""
    if lesson.status != "active" or record.known < ENOUGH:
        return None
    if not record.heeded:
        return f"Retire it? It was never heeded in {record.known} times."
    false = record.count("false")
    if false >= FALSE * record.known:
        return f"Retire it, or narrow its trigger? {false} of {record.known} calls went well without it."
    if lesson.action == "warn" and lesson.trigger.phase == "before" and record.heeded >= GOOD * record.known:
        return f"Let it ask before such a call? It was heeded {record.heeded} times of {record.known}."
    return None
