"""From the journal to candidates: what mining finds goes through the gate, once. The caller commits.

Done again it changes nothing. A lesson that the user rejected or retired is not proposed again, in whatever words: it
is known by what was seen (its origins), by its trigger, and by its title.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from agent_memory.database import Connection
from agent_memory.errors import AgentMemoryError
from agent_memory.lessons import gate, mined, sessions, store
from agent_memory.lessons.lesson import Draft, Lesson
from agent_memory.lessons.mining import MOST_EVIDENCE, Candidate, Estimate, Mined, mine
from agent_memory.lessons.trigger import Trigger, matches
from agent_memory.settings import Settings

_COVERED = 0.8
"""Share of the failed calls before which an active lesson speaks already, from which no other is needed."""


@dataclass(slots=True)
class Report:
    calls: int = 0
    failed: int = 0
    candidates: list[Candidate] = field(default_factory=list)
    """All that the history suggests, new or not."""
    made: list[Lesson] = field(default_factory=list)
    known: list[Lesson] = field(default_factory=list)
    """Lessons that say it already, whatever their status."""
    refused: list[str] = field(default_factory=list)
    """What the gate did not take, with its reason."""
    dropped: int = 0
    """Candidates that rested on rows that are gone."""


def propose(
    conn: Connection,
    settings: Settings,
    projects: Sequence[int],
    *,
    since: datetime | None = None,
    dry_run: bool = False,
) -> Report:
    """Mine these projects. `dry_run`: only say what would be proposed."""
    report = Report()
    if not dry_run:
        report.dropped = mined.drop_baseless(conn)
    for project_id in projects:
        history = sessions.load(conn, project_id, since=since)
        if not history:
            continue
        report.calls += sum(len(session.steps) for session in history)
        report.failed += sum(step.call.success is False for session in history for step in session.steps)
        there = store.listed(conn, project_id=project_id)
        found = mine(history, _triggers(there))
        report.candidates += found.candidates
        if dry_run:
            continue
        for candidate in found.candidates:
            _propose(conn, settings, candidate, found, there, report)
    return report


def _triggers(lessons: Sequence[Lesson]) -> list[Trigger]:
    return [lesson.trigger for lesson in lessons if lesson.made_by == "mining"]


def _propose(
    conn: Connection,
    settings: Settings,
    candidate: Candidate,
    found: Mined,
    there: Sequence[Lesson],
    report: Report,
) -> None:
    alike = store.of_origins(conn, candidate.origins)
    here = [lesson for lesson in alike if lesson.project_id in (None, candidate.project_id)]
    known = next(iter([*here, *(one for one in there if _says_the_same(one, candidate))]), None)
    if known is None:
        elsewhere = next((one for one in alike if _is_wider(one, candidate)), None)
        if elsewhere is not None:
            mined.widen(conn, elsewhere.id, candidate.rule_anywhere)
            known = gate.find(conn, elsewhere.id)
    if known is None:
        try:
            made = gate.create(conn, _draft(candidate), settings)
        except AgentMemoryError as refused:  # such as a trigger that holds a secret
            report.refused.append(f"{candidate.title}: {refused.problem}")
            return
        (report.made if made.new else report.known).append(made.lesson)
        return
    report.known.append(known)
    if known.made_by == "mining" and known.status in ("candidate", "active") and known in here:
        if known.project_id is None:
            return  # its numbers are of several projects, of which this is one
        whole = (
            candidate.whole if known.trigger == candidate.trigger else found.whole(candidate, known.trigger)
        )
        held_out = candidate.held_out if known.trigger == candidate.trigger else Estimate()
        origins = list(dict.fromkeys([*known.evidence.get("origins", ()), *candidate.origins]))
        evidence = {**evidence_of(candidate), "origins": origins}
        store.set_estimate(conn, known.id, evidence=evidence, estimate=estimate_of(held_out, whole))


def _says_the_same(lesson: Lesson, candidate: Candidate) -> bool:
    """Whether a lesson says what a candidate would: by its trigger, by its title, or by speaking already where the
    candidate would have to."""
    if lesson.trigger == candidate.trigger or lesson.title == candidate.title:
        return True
    if lesson.status != "active":
        return False
    spoken = sum(matches(lesson.trigger, step.moment) for step in candidate.steps)
    return spoken >= _COVERED * len(candidate.steps)


def _is_wider(lesson: Lesson, candidate: Candidate) -> bool:
    """Whether another project's candidate and this one are one lesson for every project: nothing in it is of one
    project alone."""
    same = lesson.trigger == candidate.trigger and lesson.title == candidate.title
    return same and lesson.status == "candidate" and bool(candidate.rule_anywhere)


def _draft(candidate: Candidate) -> Draft:
    return Draft(
        rule=candidate.rule,
        title=candidate.title,
        trigger=candidate.trigger,
        project_id=candidate.project_id,
        severity=candidate.severity,
        made_by="mining",
        origin=candidate.origins[0],
        evidence=evidence_of(candidate),
        estimate=estimate_of(candidate.held_out, candidate.whole),
    )


def evidence_of(candidate: Candidate) -> dict[str, Any]:
    """The journal's rows that a candidate rests on, the latest ones where there are many, and how many there are."""
    failed = sorted({step.call.id for step in candidate.steps})[-MOST_EVIDENCE:]
    fixed = sorted({step.call.id for step in candidate.fixes})[-MOST_EVIDENCE:]
    return {
        "kind": candidate.kind,
        "failures": len(candidate.steps),
        "episodes": candidate.episodes,
        "sessions": candidate.sessions,
        "session_ids": sorted({step.session_id for step in candidate.steps}),  # forgetting one asks for them
        "tool_calls": sorted({*failed, *fixed}),
        "fixed_by": fixed,
        "prompts": candidate.prompts[-MOST_EVIDENCE:],
        "origins": candidate.origins,
    }


def estimate_of(held_out: Estimate, whole: Estimate) -> dict[str, Any]:
    """`right` and `wrong` are of sessions that the lesson was not made from; `all` are of every one."""
    return {**_numbers(held_out), "all": _numbers(whole)}


def _numbers(one: Estimate) -> dict[str, int]:
    return {
        "sessions": one.sessions,
        "calls": one.calls,
        "right": one.right,
        "wrong": one.wrong,
        "missed": one.missed,
    }
