"""The one way in for lessons: from MCP, REST, the command line and mining.

Who makes a lesson decides what it may be. The user's is active at once, if so asked; a model's or mining's is a
candidate, which never speaks, until the user approves it. Only the user's explicit word for that lesson makes it deny.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from agent_memory.database import Connection
from agent_memory.errors import AgentMemoryError
from agent_memory.journal.ingest import storable
from agent_memory.journal.redaction import redact, redact_value
from agent_memory.lessons import store
from agent_memory.lessons.lesson import (
    ACTIONS,
    LONGEST_RULE,
    LONGEST_TITLE,
    SEVERITIES,
    STATUSES,
    Action,
    Draft,
    Lesson,
    Severity,
    Status,
)
from agent_memory.lessons.trigger import Trigger, checked
from agent_memory.observations.observation import shorten
from agent_memory.settings import Settings


@dataclass(frozen=True, slots=True)
class Created:
    lesson: Lesson
    new: bool
    """False: there was one already, and it was left as it is."""


def create(
    conn: Connection,
    draft: Draft,
    settings: Settings,
    *,
    active: bool = False,
    may_deny: bool = False,
) -> Created:
    """Make a lesson, or find the one that says the same already.

    `active`: it speaks at once; for the user's own only. `may_deny`: the user said of this very lesson that it is to
    refuse calls. The user's lesson is the same as another with its trigger and its rule; a candidate is the same as
    one with its trigger or its origin, also where the user rejected or retired that one.

    Raises AgentMemoryError (422, 403) where the lesson is not fit or its maker may not make it so.
    """
    by_user = draft.made_by == "user"
    if active and not by_user:
        raise AgentMemoryError(
            "Only the user makes a lesson active.", "Propose it; the user decides.", status=403
        )
    if draft.action != "warn" and not by_user:
        raise AgentMemoryError(
            f"Only the user makes a lesson {draft.action}.", "Propose it with the action warn.", status=403
        )
    _allow_action(draft.action, draft.trigger, may_deny=may_deny)
    draft = _fit(draft, settings)
    status: Status = "active" if active else "candidate"
    store.lock(conn)
    if there := _same(conn, draft):
        if by_user and active and there.status != "active":
            # The user says again what was proposed, rejected or retired.
            changed = {"status": status, "action": draft.action, "severity": draft.severity}
            store.update(conn, there.id, changed)
            return Created(_known(conn, there.id), new=False)
        return Created(there, new=False)
    return Created(_known(conn, store.insert(conn, draft, status)), new=True)


def change(
    conn: Connection,
    number: int,
    settings: Settings,
    *,
    title: str | None = None,
    rule: str | None = None,
    severity: Severity | None = None,
    action: Action | None = None,
    status: Status | None = None,
    trigger: Trigger | None = None,
    may_deny: bool = False,
) -> Lesson:
    """Change a lesson, as the user asks. What is None stays.

    Raises AgentMemoryError: 404 no such lesson, 422 not fit, 403 `action` deny without `may_deny`.
    """
    lesson = _known(conn, number)
    if status is not None and status not in STATUSES:
        raise _refused(f"There is no status {status!r}.", f"Use one of: {', '.join(STATUSES)}.")
    if status == "candidate" and lesson.status != "candidate":
        raise _refused(
            "A lesson that was decided on is no candidate again.", "Use active, retired or rejected."
        )
    if status == "retired" and lesson.status in ("candidate", "rejected"):
        raise _refused(f"Lesson {number} is {lesson.status}: it never spoke.", "Reject it instead.")
    if status == "rejected" and lesson.status in ("active", "retired"):
        raise _refused(f"Lesson {number} is {lesson.status}.", "Retire it instead.")
    asked = action is not None and action != lesson.action
    _allow_action(action or lesson.action, trigger or lesson.trigger, may_deny=may_deny or not asked)
    draft = _fit(
        Draft(
            title=lesson.title if title is None else title,
            rule=lesson.rule if rule is None else rule,
            severity=severity or lesson.severity,
            action=action or lesson.action,
            trigger=trigger or lesson.trigger,
            project_id=lesson.project_id,
            made_by=lesson.made_by,
        ),
        settings,
        longest_rule=LONGEST_RULE if rule is not None else None,
    )
    columns: dict[str, Any] = {
        name: getattr(draft, name)
        for name in ("title", "rule", "severity", "action")
        if getattr(draft, name) != getattr(lesson, name)
    }
    if draft.trigger != lesson.trigger:
        columns |= store.trigger_columns(draft.trigger)
    if status is not None and status != lesson.status:
        columns["status"] = status
    if columns:
        store.update(conn, number, columns)
    return _known(conn, number)


def find(conn: Connection, number: int) -> Lesson:
    """One lesson. Raises AgentMemoryError (404)."""
    return _known(conn, number)


def _allow_action(action: Action, trigger: Trigger, *, may_deny: bool) -> None:
    if action not in ACTIONS:
        raise _refused(f"There is no action {action!r}.", f"Use one of: {', '.join(ACTIONS)}.")
    if action != "warn" and trigger.phase != "before":
        raise _refused(
            f"A lesson of the phase {trigger.phase} cannot {action}: there is no call to stop.",
            "Use the action warn, or the phase before.",
        )
    if action == "deny" and not may_deny:
        raise AgentMemoryError(
            "A lesson refuses calls only if the user has said so for that lesson.",
            "On the command line: agent-memory lesson edit ID --action deny. Over REST: `confirm_deny`: true.",
            status=403,
        )


def _fit(draft: Draft, settings: Settings, *, longest_rule: int | None = LONGEST_RULE) -> Draft:
    """The draft as it may be stored: tidied, redacted, its trigger checked."""
    rule, title = _line(draft.rule), _line(draft.title)
    if not rule:
        raise _refused("The lesson has no rule.", "Say in a sentence or two what to do instead.")
    if longest_rule is not None and len(rule) > longest_rule:
        raise _refused(
            f"The rule has {len(rule)} characters; at most {longest_rule} are taken.",
            f"Shorten it by {len(rule) - longest_rule}: what to do, and why.",
        )
    if len(title) > LONGEST_TITLE:
        raise _refused(
            f"The title has {len(title)} characters; at most {LONGEST_TITLE} are taken.", "Shorten it."
        )
    if draft.severity not in SEVERITIES:
        raise _refused(f"There is no severity {draft.severity!r}.", f"Use one of: {', '.join(SEVERITIES)}.")
    trigger = checked(draft.trigger)
    given = (trigger.pattern, *trigger.tools, *trigger.files)
    if any(storable(text) != text for text in given):
        raise _refused("The trigger holds characters that cannot be stored.", "Leave them out.")
    evidence, estimate = dict(draft.evidence), dict(draft.estimate)
    if settings.redact_secrets:
        rule, title = redact(rule), redact(title)
        evidence, estimate = redact_value(evidence), redact_value(estimate)
        if any(redact(text) != text for text in given):
            raise _refused(
                "The trigger holds a secret, and lessons are stored as text.",
                "Match what stands around it, such as the option's or the variable's name.",
            )
    return dataclasses.replace(
        draft,
        rule=rule,
        title=title or shorten(rule, LONGEST_TITLE),
        trigger=trigger,
        evidence=evidence,
        estimate=estimate,
    )


def _same(conn: Connection, draft: Draft) -> Lesson | None:
    """The lesson that says the same already."""
    if draft.origin and (known := store.of_origin(conn, draft.project_id, draft.origin)):
        return known
    there = store.same_trigger(conn, draft.project_id, draft.trigger)
    if draft.made_by != "user":
        everywhere = store.same_trigger(conn, None, draft.trigger) if draft.project_id is not None else []
        return next(iter([*there, *everywhere]), None)
    return next((one for one in there if one.rule.casefold() == draft.rule.casefold()), None)


def _known(conn: Connection, number: int) -> Lesson:
    lesson = store.get(conn, number)
    if lesson is None:
        raise AgentMemoryError(
            f"There is no lesson {number}.", "agent-memory lesson list shows what there is.", status=404
        )
    return lesson


def _line(text: str) -> str:
    return " ".join(storable(text).split())


def _refused(problem: str, remedy: str) -> AgentMemoryError:
    return AgentMemoryError(problem, remedy, status=422)
