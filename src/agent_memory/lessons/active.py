"""The active lessons, compiled: what speaks at a moment, in which words. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence

from agent_memory.agents.reply import Reply
from agent_memory.journal.fence import fence_rule
from agent_memory.lessons.lesson import ACTIONS, SEVERITIES, Lesson
from agent_memory.lessons.moment import Moment, Phase
from agent_memory.lessons.trigger import Matcher

MOST_AT_ONCE = 3


class Active:
    """Every project's active lessons, matched in one go. A value: what changes is a new one."""

    def __init__(self, lessons: Iterable[Lesson] = ()) -> None:
        self.lessons = tuple(lessons)
        self._matcher = Matcher((one, one.trigger) for one in self.lessons)

    def matching(self, moment: Moment, project: Callable[[], str]) -> list[Lesson]:
        """The lessons that hold at this moment in this project, and the global ones. `project` gives the project's
        identity; it is asked only where a lesson's trigger holds. Another project's lesson is none (promise 4)."""
        found = self._matcher.match(moment)
        if not found:
            return []
        here = project()
        return [one for one in found if one.project_id is None or one.project == here]

    def tools(self, phase: Phase) -> tuple[str, ...] | None:
        """The tools, as names or globs, at which a lesson of this phase may speak. None: there is no such lesson."""
        triggers = [one.trigger for one in self.lessons if one.trigger.phase == phase]
        return tuple(sorted({tool for trigger in triggers for tool in trigger.tools})) if triggers else None


def chosen(lessons: Sequence[Lesson], told: Collection[int]) -> list[Lesson]:
    """At most three of those that hold: what stops the call first, then the critical ones. One that only warns is not
    told twice in a turn (`told`: the ids); one that asks or denies does so every time."""
    due = [one for one in lessons if one.action != "warn" or one.id not in told]
    by_weight = sorted(
        due, key=lambda one: (-ACTIONS.index(one.action), -SEVERITIES.index(one.severity), one.id)
    )
    return by_weight[:MOST_AT_ONCE]


def reply(lessons: Sequence[Lesson]) -> Reply | None:
    """What they say: to the model, to the user, and whether the call may run. None where there are none.

    A refusal reaches the model as the call's error, so its lesson is not said again beside it.
    """
    if not lessons:
        return None
    denying = [one for one in lessons if one.action == "deny"]
    asking = [one for one in lessons if one.action == "ask"]
    told = [one for one in lessons if one.action != "deny"]
    stopping = denying or asking
    return Reply(
        context=fence_rule("\n".join(f"Lesson {_numbered(one)}: {one.rule}" for one in told)) if told else "",
        message="\n".join(f"agent-memory: lesson {_numbered(one)}: {one.rule}" for one in lessons),
        decision="deny" if denying else "ask" if asking else None,
        reason="\n".join(reason(one) for one in stopping),
    )


def reason(lesson: Lesson) -> str:
    """Why a call is refused, or asked about. In the session's file, and in the journal, it is the call's error."""
    if lesson.action == "deny":
        return (
            f"{REFUSED} {lesson.id}: {lesson.rule} The user has decided that such a call is refused;"
            " do it another way, or ask them."
        )
    return f"agent-memory asks, by lesson {lesson.id}: {lesson.rule}"


REFUSED = "Refused by agent-memory, lesson"
"""What the error of a call that a lesson refused says."""


def _numbered(lesson: Lesson) -> str:
    return f"{lesson.id} ({lesson.severity})"
