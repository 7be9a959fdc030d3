"""Looking lessons up: those that would speak at what is asked about, then those whose words are like it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agent_memory.database import Connection
from agent_memory.lessons import active, moment, store
from agent_memory.lessons.lesson import Lesson, Status
from agent_memory.lessons.moment import Moment
from agent_memory.lessons.trigger import Matcher, explained


@dataclass(frozen=True, slots=True)
class Match:
    lesson: Lesson
    why: Sequence[str]
    """What of the trigger holds, and where."""
    speaks: bool
    """Whether it would speak: it is active, and not behind three that are weightier."""


def search(conn: Connection, query: str, *, project_id: int, limit: int = 10) -> list[Lesson]:
    """The active lessons of a project and the global ones, best first; without a query the weightiest. A query may be a
    command: the lessons that would speak at it come first."""
    lessons = [one for one in store.active(conn) if one.project_id in (None, project_id)]
    if not query.strip():
        return lessons[:limit]
    commanded = moment.call("before", "Bash", {"command": query})
    speaking = [one for one in lessons if explained(one.trigger, commanded)]
    rank = store.ranked(conn, query, [one.id for one in lessons])
    worded = sorted((one for one in lessons if one.id in rank), key=lambda one: -rank[one.id])
    return list({one.id: one for one in [*speaking, *worded]}.values())[:limit]


def matching(
    conn: Connection, seen: Moment, *, project_id: int | None, statuses: Sequence[Status] = ("active",)
) -> list[Match]:
    """The lessons whose trigger holds at a moment in a project, and the global ones. Nothing is recorded."""
    lessons = store.listed(conn, project_id=project_id, statuses=statuses, limit=100_000)
    found = Matcher((one, one.trigger) for one in lessons).match(seen)
    speaking = active.chosen([one for one in found if one.status == "active"], told=())
    others = [one for one in found if one not in speaking]
    return [Match(one, explained(one.trigger, seen) or [], one in speaking) for one in [*speaking, *others]]
