"""Lessons as people, programs and models read them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agent_memory.lessons import wording
from agent_memory.lessons.ledger import Record, proposal
from agent_memory.lessons.lesson import Lesson
from agent_memory.lessons.trigger import EVERY_TOOL, Trigger

_PHASES = {
    "before": "before a call",
    "after_failure": "after a failed call",
    "prompt": "at a prompt of the user's",
    "end": "when the agent is about to stop",
}


def when(trigger: Trigger) -> str:
    """When a lesson speaks, in half a sentence."""
    said = _PHASES[trigger.phase]
    if trigger.phase in ("before", "after_failure"):
        tools = "any tool" if trigger.tools == (EVERY_TOOL,) else _either(trigger.tools)
        said += f" of {tools}"
    if trigger.pattern:
        found = {"literal": "where this stands:", "glob": "where this fits:", "regex": "where this is found:"}
        said += f", {found[trigger.kind]} {trigger.pattern}"
    if trigger.files:
        said += f"{';' if trigger.pattern else ','} on files like {_either(trigger.files)}"
    return said


def basis(lesson: Lesson) -> list[str]:
    """What a lesson rests on, in lines for whoever decides on it."""
    evidence, estimate = lesson.evidence, lesson.estimate
    # What was forgotten took its part of the evidence along.
    whole = lesson.made_by == "mining" and "kind" in evidence and "all" in estimate
    lines = wording.basis(evidence, estimate) if whole else []
    for name in ("tool_calls", "prompts"):
        if ids := evidence.get(name):
            more = f" and {len(ids) - 5} more" if len(ids) > 5 else ""
            lines.append(f"from {name.replace('_', ' ')} {', '.join(map(str, ids[:5]))}{more}")
    return lines


def as_dict(lesson: Lesson, outcomes: Mapping[str, int] | None = None) -> dict[str, Any]:
    """A lesson with its record, for REST and `--json`. `outcomes`: see `store.records`."""
    outcomes = outcomes or {}
    record = Record(sum(outcomes.values()), outcomes)
    return {
        "id": lesson.id,
        "title": lesson.title,
        "rule": lesson.rule,
        "severity": lesson.severity,
        "status": lesson.status,
        "action": lesson.action,
        "project": lesson.project,
        "project_id": lesson.project_id,
        "trigger_phase": lesson.trigger.phase,
        "trigger_tool": list(lesson.trigger.tools),
        "trigger_pattern": lesson.trigger.pattern,
        "trigger_kind": lesson.trigger.kind,
        "trigger_files": list(lesson.trigger.files),
        "made_by": lesson.made_by,
        "session_id": lesson.session_id,
        "evidence": dict(lesson.evidence),
        "estimate": dict(lesson.estimate),
        "created_at": lesson.created_at,
        "decided_at": lesson.decided_at,
        "fired": record.fired,
        "heeded": record.heeded,
        "prevented": record.count("prevented"),
        "ignored": record.count("ignored"),
        "false": record.count("false"),
        "proposal": proposal(lesson, record),
    }


def line(lesson: Lesson) -> str:
    """A lesson for a model that looks lessons up."""
    where = "every project" if lesson.project_id is None else "this project"
    does = {"warn": "", "ask": "; the user is asked then", "deny": "; such a call is refused"}[lesson.action]
    return f"#{lesson.id} ({lesson.severity}, {where}): {lesson.rule} [{when(lesson.trigger)}{does}]"


def _either(names: tuple[str, ...]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"
