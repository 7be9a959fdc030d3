"""The sessions, and one of them as it went."""

from __future__ import annotations

import json
from typing import Annotated
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from agent_memory.errors import AgentMemoryError
from agent_memory.journal import store as journal
from agent_memory.replay import session, store
from agent_memory.replay.subject import line
from agent_memory.service.auth import By
from agent_memory.service.state import Database
from agent_memory.service.web.page import page, projects_of

router = APIRouter()
PAGE = 50


@router.get("/sessions")
def list_sessions(
    request: Request,
    conn: Database,
    by: By,
    project: str = "",
    agent: str = "",
    text: Annotated[str, Query(max_length=200)] = "",
    cursor: str = "",
) -> HTMLResponse:
    """The sessions in which something happened last, the latest first."""
    project_id = by.narrowed(conn, project or None)
    rows = store.sessions(
        conn, project_id=project_id, agent=agent or None, text=text or None, after=cursor or None, limit=PAGE
    )
    kept = {"project": project, "agent": agent, "text": text}
    older = (
        urlencode({name: value for name, value in kept.items() if value} | {"cursor": rows[-1]["cursor"]})
        if len(rows) == PAGE
        else ""
    )
    return page(
        request,
        "sessions.html",
        sessions=rows,
        older=f"/sessions?{older}" if older else None,
        projects=projects_of(conn, by),
        agents=store.agents(conn),
        project_id=project_id,
        agent=agent,
        text=text,
        filtered=any(kept.values()),
    )


@router.get("/sessions/{session_id:path}")
def show_session(
    request: Request,
    session_id: str,
    conn: Database,
    by: By,
    agent: Annotated[str | None, Query(max_length=200)] = None,
    number: Annotated[int, Query(alias="page", ge=1, le=100_000)] = 1,
    prompt: Annotated[str | None, Query(max_length=500)] = None,
    call: Annotated[int | None, Query(ge=1, lt=2**63)] = None,
) -> Response:
    """A page of a session, or of one of its subagents (`agent`); `prompt` and `call` lead to where they are."""
    known = journal.session(conn, session_id)
    if known is None or not by.may_reach(known["project_id"]):
        raise AgentMemoryError(
            "No such session is known here.",
            "It may have been forgotten. All there are: Sessions.",
            status=404,
        )
    here = f"/sessions/{quote(session_id, safe='')}"
    if prompt is not None or call is not None:
        found = store.place_of(conn, session_id, prompt_id=prompt, call=call)
        owner, place = found or (None, 1)
        where = urlencode({"page": session.page_of(place)} | ({"agent": owner} if owner else {}))
        return RedirectResponse(f"{here}?{where}#s{place}", status_code=303)
    shown = session.replay(conn, session_id, agent_id=agent, number=number)
    kept = {"agent": agent} if agent is not None else {}
    return page(
        request,
        "session.html",
        session=known,
        here=here,
        agent=agent,
        subagent=next((one for one in shown.subagents if one["agent_id"] == agent), None),
        replay=shown,
        title=next((line(turn["text"]) for turn in shown.turns if turn["text"]), None),
        page_of=session.page_of,
        earlier=f"{here}?{urlencode(kept | {'page': number - 1})}" if number > 1 else None,
        later=f"{here}?{urlencode(kept | {'page': number + 1})}" if number < shown.pages else None,
    )


@router.get("/calls/{number}")
def show_call(
    request: Request, number: Annotated[int, Path(ge=1, lt=2**63)], conn: Database, by: By
) -> HTMLResponse:
    """One call, whole."""
    row = store.call(conn, number)
    if row is None or not by.may_reach(row["project_id"]):
        raise AgentMemoryError("No such call is known here.", "It may have been forgotten.", status=404)
    return page(
        request,
        "call.html",
        row=row,
        call=session.whole_call(row | {"input_chars": 0}),
        given=json.dumps(row["tool_input"], indent=2, ensure_ascii=False),
    )
