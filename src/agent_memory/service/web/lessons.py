"""Lessons: those that wait for the user's word, those that speak, and what came of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Form, Path, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse

from agent_memory.database import Connection
from agent_memory.lessons import ledger, render, store
from agent_memory.lessons.lesson import (
    ACTIONS,
    LONGEST_RULE,
    LONGEST_TITLE,
    SEVERITIES,
    Action,
    Kind,
    Lesson,
    Severity,
    Status,
)
from agent_memory.lessons.moment import Phase
from agent_memory.replay import live
from agent_memory.replay.live import Happening
from agent_memory.service.auth import By
from agent_memory.service.routes import lessons as routes
from agent_memory.service.routes.lessons import LessonChange
from agent_memory.service.state import Database, Service
from agent_memory.service.web.page import page, projects_of
from agent_memory.service.web.show import typed

router = APIRouter(prefix="/lessons")
PAGE = 100
Number = Annotated[int, Path(ge=1, lt=2**63)]


@router.get("")
def list_lessons(
    request: Request, conn: Database, by: By, *, project: str = "", decided: bool = False
) -> HTMLResponse:
    """The candidates and the active ones; `decided`: those that were retired or rejected."""
    project_id = by.narrowed(conn, project or None)
    ledger.settle(conn)
    statuses: tuple[Status, ...] = ("retired", "rejected") if decided else ("candidate", "active")
    found = store.listed(
        conn, project_id=project_id, every_project=project_id is None, statuses=statuses, limit=1_000
    )
    records = store.records(conn)
    rows = [(one, _shown(one, records)) for one in found]
    return page(
        request,
        "lessons.html",
        candidates=[row for row in rows if row[0].status == "candidate"],
        others=[row for row in rows if row[0].status != "candidate"],
        decided=decided,
        projects=projects_of(conn, by),
        project_id=project_id,
    )


@router.get("/ledger")
def show_ledger(
    request: Request,
    conn: Database,
    by: By,
    project: str = "",
    cursor: Annotated[int | None, Query(ge=1, lt=2**63)] = None,
) -> HTMLResponse:
    """Each time that a lesson spoke, and what happened next."""
    project_id = by.narrowed(conn, project or None)
    ledger.settle(conn)
    rows = store.ledger(conn, project_id=project_id, before=cursor, limit=PAGE)
    more = f"?project={project_id or ''}&cursor={rows[-1]['id']}" if len(rows) == PAGE else None
    return page(
        request,
        "ledger.html",
        rows=rows,
        next=_by_id(conn, _calls(rows), project_id),
        older=f"/lessons/ledger{more}" if more else None,
        projects=projects_of(conn, by),
        project_id=project_id,
    )


@router.get("/{number}")
def show_lesson(request: Request, number: Number, conn: Database, by: By) -> HTMLResponse:
    """One lesson: what it says and when, what it rests on, and what came of it."""
    lesson = routes.find(conn, number, by)
    ledger.settle(conn)
    rows = store.ledger(conn, lesson_id=number, project_id=by.project_id, limit=PAGE)
    evidence = lesson.evidence
    return page(
        request,
        "lesson.html",
        one=lesson,
        shown=_shown(lesson, store.records(conn)),
        evidence=live.named(
            conn,
            sessions=evidence.get("session_ids", ()),
            prompts=[str(name) for name in evidence.get("prompts", ())],
            calls=evidence.get("tool_calls", ()),
            project_id=by.project_id,
        ),
        fixed_by=set(evidence.get("fixed_by", ())),
        rows=rows,
        next=_by_id(conn, _calls(rows), by.project_id),
        choices={"severity": SEVERITIES, "action": ACTIONS},
        longest={"rule": LONGEST_RULE, "title": LONGEST_TITLE},
    )


@router.post("/{number}/status")
def decide(
    request: Request,
    number: Number,
    conn: Database,
    state: Service,
    by: By,
    *,
    status: Annotated[Status, Form()],
    back: Annotated[bool, Form()] = False,
) -> RedirectResponse:
    """Approve, retire or reject it. `back`: go on with the list."""
    routes.change_lesson(number, LessonChange(status=status), conn, state, by)
    request.state.target = f"lesson {number}: {status}"
    where = "/lessons" if back else f"/lessons/{number}"
    return RedirectResponse(f"{where}?done={status}", status_code=303)


@router.post("/{number}/edit")
def edit(
    request: Request,
    number: Number,
    conn: Database,
    state: Service,
    by: By,
    *,
    title: Annotated[str, Form()],
    rule: Annotated[str, Form()],
    severity: Annotated[Severity, Form()],
    action: Annotated[Action, Form()],
    phase: Annotated[Phase, Form()],
    kind: Annotated[Kind, Form()],
    pattern: Annotated[str, Form()] = "",
    tools: Annotated[str, Form()] = "",
    files: Annotated[str, Form()] = "",
    may_deny: Annotated[bool, Form()] = False,
) -> RedirectResponse:
    """Change it. With another trigger its record starts anew."""
    before = routes.find(conn, number, by)
    change = LessonChange(
        title=title,
        rule=rule if " ".join(rule.split()) != before.rule else None,
        severity=severity,
        action=action if action != before.action else None,
        trigger_phase=phase,
        trigger_kind=kind,
        trigger_pattern=typed(pattern),
        trigger_tool=_names(tools),
        trigger_files=_names(files),
        confirm_deny=may_deny,
    )
    routes.change_lesson(number, change, conn, state, by)
    request.state.target = f"lesson {number}"
    return RedirectResponse(f"/lessons/{number}?done=edited", status_code=303)


def _shown(lesson: Lesson, records: Mapping[int, Mapping[str, int]]) -> dict[str, Any]:
    outcomes = records.get(lesson.id)
    return render.as_dict(lesson, outcomes) | {
        "when": render.when(lesson.trigger),
        "basis": [line for line in render.basis(lesson) if not line.startswith("from ")],  # those are linked
        "outcomes": outcomes or {},
    }


def _calls(rows: Iterable[Mapping[str, Any]]) -> list[int]:
    """The calls that a ledger's rows name."""
    named = [number for row in rows for number in (row["call_id"], *row["calls"]) if number is not None]
    return list(dict.fromkeys(named))


def _by_id(conn: Connection, calls: list[int], project_id: int | None) -> dict[int, Happening]:
    return {int(one.id): one for one in live.named(conn, calls=calls, project_id=project_id)}


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.replace("\n", ",").split(",") if name.strip()]
