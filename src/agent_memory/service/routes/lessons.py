"""Lessons: made, looked at, changed, and asked which of them would speak."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from agent_memory.errors import AgentMemoryError
from agent_memory.journal import projects
from agent_memory.lessons import gate, ledger, moment, render, search, store
from agent_memory.lessons.lesson import Action, Draft, Kind, Lesson, Maker, Severity, Status
from agent_memory.lessons.moment import Phase
from agent_memory.lessons.trigger import EVERY_TOOL, Trigger
from agent_memory.service.auth import By, Caller
from agent_memory.service.state import Database, Service

router = APIRouter()

Tools = str | list[str]
"""One tool or several, as a list or with commas between: names, or globs such as `mcp__*`."""


class NewLesson(BaseModel):
    rule: str
    title: str = ""
    severity: Severity = "warning"
    project: str | None = None
    """None: every project."""
    trigger_phase: Phase = "before"
    trigger_tool: Tools | None = None
    trigger_pattern: str | None = None
    trigger_kind: Kind = "regex"
    trigger_files: list[str] = []
    action: Action = "warn"
    status: Status = "candidate"
    confirm_deny: bool = False
    """That the user has said of this very lesson that it is to refuse calls."""


class LessonChange(BaseModel):
    """Fields that are not given stay as they are."""

    rule: str | None = None
    title: str | None = None
    severity: Severity | None = None
    trigger_phase: Phase | None = None
    trigger_tool: Tools | None = None
    trigger_pattern: str | None = None
    trigger_kind: Kind | None = None
    trigger_files: list[str] | None = None
    action: Action | None = None
    status: Status | None = None
    confirm_deny: bool = False


class Seen(BaseModel):
    """A moment: a tool call, or a prompt's or an end's text."""

    project: str | None = None
    phase: Phase = "before"
    tool_name: str = ""
    tool_input: dict[str, Any] = {}
    error: str | None = Field(default=None, max_length=1_000_000)
    text: str = Field(default="", max_length=1_000_000)
    cwd: str | None = None
    statuses: list[Status] = ["active"]


@router.post("/lessons", status_code=201)
def create_lesson(new: NewLesson, conn: Database, state: Service, by: By) -> dict[str, Any]:
    """Make a lesson. The user's may be active at once; an agent's is a candidate. The same one again is found, not
    made: `new` says which."""
    project_id = projects.ensure_argument(conn, new.project) if new.project is not None else None
    by.check(project_id)
    maker = _maker(by)
    if new.status not in ("candidate", "active"):
        raise AgentMemoryError("A new lesson is a candidate or active.", "Change it afterwards.", status=422)
    draft = Draft(
        rule=new.rule,
        title=new.title,
        severity=new.severity,
        project_id=project_id,
        trigger=Trigger(
            phase=new.trigger_phase,
            tools=_tools(new.trigger_tool),
            pattern=new.trigger_pattern or "",
            kind=new.trigger_kind,
            files=tuple(new.trigger_files),
        ),
        action=new.action,
        made_by=maker,
    )
    made = gate.create(
        conn,
        draft,
        state.settings,
        active=new.status == "active",
        may_deny=new.confirm_deny and maker == "user",
    )
    return {**_shown(made.lesson, by), "new": made.new}


@router.get("/lessons")
def list_lessons(
    conn: Database,
    by: By,
    project: str | None = None,
    status: Annotated[list[Status] | None, Query()] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    cursor: int = 0,
) -> dict[str, Any]:
    """A project's lessons and the global ones, or every project's, in the order in which they were made; with what
    came of them."""
    project_id = by.narrowed(conn, project)
    found = store.listed(
        conn,
        project_id=project_id,
        every_project=project_id is None,
        statuses=status,
        after=cursor,
        limit=limit,
    )
    ledger.settle(conn)
    records = store.records(conn)
    items = [_shown(one, by, records.get(one.id)) for one in found]
    return {"items": items, "next_cursor": found[-1].id if len(found) == limit else None}


@router.get("/lessons/{number}")
def get_lesson(number: int, conn: Database, by: By) -> dict[str, Any]:
    """One lesson, with when it spoke last."""
    lesson = find(conn, number, by)
    ledger.settle(conn)
    return {
        **_shown(lesson, by, store.records(conn).get(number)),
        "firings": store.firings(conn, number, project_id=by.project_id),
    }


@router.patch("/lessons/{number}")
def change_lesson(
    number: int, change: LessonChange, conn: Database, state: Service, by: By
) -> dict[str, Any]:
    """Change a lesson, or decide on it. Only the user may."""
    lesson = find(conn, number, by)
    by.check(lesson.project_id)
    if _maker(by) != "user":
        raise AgentMemoryError(
            "Only the user changes a lesson.", "Use the owner's token, or: agent-memory lesson", status=403
        )
    before = lesson.trigger
    trigger = Trigger(
        phase=change.trigger_phase or before.phase,
        tools=before.tools if change.trigger_tool is None else _tools(change.trigger_tool),
        pattern=before.pattern if change.trigger_pattern is None else change.trigger_pattern,
        kind=change.trigger_kind or before.kind,
        files=before.files if change.trigger_files is None else tuple(change.trigger_files),
    )
    changed = gate.change(
        conn,
        number,
        state.settings,
        title=change.title,
        rule=change.rule,
        severity=change.severity,
        action=change.action,
        status=change.status,
        trigger=trigger,
        may_deny=change.confirm_deny,
    )
    return _shown(changed, by, store.records(conn).get(number))


@router.post("/lessons/match")
def match_lessons(seen: Seen, conn: Database, by: By) -> dict[str, Any]:
    """Which lessons would speak at a moment, and why. Nothing is recorded."""
    project_id = by.narrowed(conn, seen.project)
    if seen.phase == "prompt" or seen.phase == "end":
        at = moment.said(seen.phase, seen.text)
    else:
        at = moment.call(seen.phase, seen.tool_name, seen.tool_input, cwd=seen.cwd, error=seen.error)
    found = search.matching(conn, at, project_id=project_id, statuses=seen.statuses)
    return {
        "items": [{**_shown(one.lesson, by), "why": list(one.why), "speaks": one.speaks} for one in found],
        "next_cursor": None,
    }


def find(conn: Database, number: int, by: Caller) -> Lesson:
    """A lesson that this caller may see: of its own project, or for every project. Raises AgentMemoryError (404)."""
    lesson = gate.find(conn, number)
    if lesson.project_id is not None and not by.may_reach(lesson.project_id):
        raise AgentMemoryError(f"There is no lesson {number}.", "List what there is.", status=404)
    return lesson


def _shown(lesson: Lesson, by: Caller, outcomes: Mapping[str, int] | None = None) -> dict[str, Any]:
    """A lesson as this caller may see it: where one for every project comes from is told to who may see them all."""
    told = render.as_dict(lesson, outcomes)
    if lesson.project_id is None and by.project_id is not None:
        told |= {"session_id": None, "evidence": {}}
    return told


def _maker(by: Caller) -> Maker:
    """The user, or an agent: who names an agent on the socket, or shows a token that may not administer, is one."""
    is_agent = by.name.startswith("socket:") and by.name != "socket:local"
    return "user" if by.scope == "admin" and not is_agent else "model"


def _tools(given: Tools | None) -> tuple[str, ...]:
    names = given.split(",") if isinstance(given, str) else given or []
    return tuple(names) or (EVERY_TOOL,)
