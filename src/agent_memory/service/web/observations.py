"""What is remembered, one by one: whole, with its sources and what was said before and after it; to correct, to
retract, to forget."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Form, Path, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse

from agent_memory import machine
from agent_memory.database import Connection
from agent_memory.errors import AgentMemoryError
from agent_memory.forgetting import forget as forgetting
from agent_memory.forgetting.forget import Wanted
from agent_memory.journal import store as journal
from agent_memory.observations import notes, store
from agent_memory.recall import context_store
from agent_memory.recall import search as recalling
from agent_memory.recall.answer import Full
from agent_memory.replay import live
from agent_memory.service.auth import By
from agent_memory.service.routes import forgetting as forgetting_routes
from agent_memory.service.routes import memory
from agent_memory.service.state import Database, Service
from agent_memory.service.web.page import page, projects_of
from agent_memory.service.web.show import typed

router = APIRouter(prefix="/observations")
PAGE = 50
MOST_LATER = 50
TOLD = 10

Number = Annotated[int, Path(ge=1, lt=2**63)]


@router.get("")
def list_observations(
    request: Request,
    conn: Database,
    by: By,
    project: str = "",
    kind: Annotated[str, Query(max_length=40)] = "",
    cursor: datetime | None = None,
) -> HTMLResponse:
    """What one project remembers, the latest first."""
    projects = projects_of(conn, by)
    project_id = by.narrowed(conn, project or None) or (projects[0]["id"] if projects else None)
    kinds = [kind] if kind else None
    entries = []
    if project_id is not None:
        entries = recalling.timeline(
            conn, project_id=project_id, around=cursor, before=PAGE, after=0, kinds=kinds
        )[::-1]
    older = {"project": project_id, "kind": kind, "cursor": entries[-1].occurred_at} if entries else {}
    return page(
        request,
        "observations.html",
        entries=entries,
        older=f"/observations?{urlencode(older)}" if len(entries) == PAGE else None,
        projects=projects,
        project_id=project_id,
        kind=kind,
    )


@router.post("")
def remember(
    conn: Database,
    state: Service,
    by: By,
    project: Annotated[str, Form()],
    text: Annotated[str, Form()],
    title: Annotated[str, Form()] = "",
) -> RedirectResponse:
    """Remember a note of the user's."""
    project_id = by.project(conn, project)
    note = notes.note(typed(text), state.settings, project_id=project_id, title=title, role="user")
    (number,) = notes.save(conn, [note])
    return RedirectResponse(f"/observations/{number}?done=saved", status_code=303)


@router.get("/{number}")
def show_observation(request: Request, number: Number, conn: Database, by: By) -> HTMLResponse:
    """One observation, whole."""
    known = memory.get_observation(number, conn, by)
    project_id = store.project_of(conn, number)
    assert project_id is not None
    sources = known.sources
    return page(
        request,
        "observation.html",
        one=known,
        project=journal.project(conn, project_id),
        sources=live.named(
            conn,
            sessions=[known.session_id] if known.session_id else [],
            prompts=[str(name) for name in sources.get("prompts", ())],
            calls=sources.get("tool_calls", ()),
            messages=sources.get("assistant_messages", ()),
            project_id=project_id,
        ),
        history=_history(conn, known, project_id),
        told=context_store.injections(conn, observation_id=number, project_id=project_id, limit=TOLD),
        named=known.external_id and not notes.is_own_key(known.external_id),
        longest=notes.LONGEST,
    )


@router.post("/{number}/correct")
def correct(
    request: Request,
    number: Number,
    conn: Database,
    state: Service,
    by: By,
    title: Annotated[str, Form()],
    text: Annotated[str, Form()],
) -> RedirectResponse:
    """Say it anew: what is said now supersedes it."""
    known = memory.get_observation(number, conn, by)
    if known.superseded_by is not None:
        raise AgentMemoryError(
            f"Observation {number} was superseded by {known.superseded_by} already.",
            f"Correct that one: /observations/{known.superseded_by}",
            status=409,
        )
    anew = notes.correct(conn, number, title=title, text=typed(text), settings=state.settings)
    request.state.target = f"observation {number}, now {anew}"
    return RedirectResponse(f"/observations/{anew}?done=corrected", status_code=303)


@router.post("/{number}/supersede")
def supersede(
    request: Request, number: Number, conn: Database, by: By, later: Annotated[int, Form(ge=1, lt=2**63)]
) -> RedirectResponse:
    """Say that another one, `later`, stands in its place."""
    memory.get_observation(number, conn, by)
    memory.get_observation(later, conn, by)
    notes.supersede(conn, later, number)
    request.state.target = f"observation {number} by {later}"
    return RedirectResponse(f"/observations/{number}?done=superseded", status_code=303)


@router.post("/{number}/retract")
def retract(
    request: Request,
    number: Number,
    conn: Database,
    state: Service,
    by: By,
    because: Annotated[str, Form()] = "",
) -> RedirectResponse:
    """Say that it no longer holds."""
    request.state.target = f"observation {number}"
    memory.get_observation(number, conn, by)
    notes.retract(conn, number, because=because, settings=state.settings)
    return RedirectResponse(f"/observations/{number}?done=retracted", status_code=303)


@router.post("/{number}/hold")
def hold(request: Request, number: Number, conn: Database, by: By) -> RedirectResponse:
    """Take a retraction back."""
    request.state.target = f"observation {number}"
    memory.get_observation(number, conn, by)
    notes.hold_again(conn, number)
    return RedirectResponse(f"/observations/{number}?done=held", status_code=303)


@router.post("/{number}/forget")
def forget(
    request: Request, number: Number, conn: Database, by: By, *, sure: Annotated[bool, Form()] = False
) -> HTMLResponse:
    """Tell what would go; where the user is `sure`, forget it."""
    request.state.target = f"observation {number}"
    known = memory.get_observation(number, conn, by)
    if sure:
        receipt = forgetting_routes.delete_observation(number, conn, by)
        return page(request, "forgotten.html", receipt=receipt, here=machine.here())
    request.state.target = f"observation {number} (dry run)"
    return page(
        request,
        "forget.html",
        one=known,
        plan=forgetting.plan(conn, Wanted(ids=(number,))),
    )


def _history(conn: Connection, known: Full, project_id: int) -> list[Full]:
    """All that was said in turn of the same thing, the earliest first; empty where it was said once."""
    newest, seen = known, {known.id}
    while newest.superseded_by is not None and newest.superseded_by not in seen and len(seen) < MOST_LATER:
        seen.add(newest.superseded_by)
        later = recalling.get(conn, project_id=project_id, ids=[newest.superseded_by])
        if not later:
            break
        newest = later[0]
    chain = [*store.earlier_of(conn, newest.id)[::-1], newest.id]
    if known.id not in chain or len(chain) == 1:
        return []
    told = {one.id: one for one in recalling.get(conn, project_id=project_id, ids=chain)}
    return [told[number] for number in chain if number in told]
