"""What sessions were told without having asked, and why: the answer to "why was this shown"."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse

from agent_memory.errors import AgentMemoryError
from agent_memory.journal import store as journal
from agent_memory.lessons import ledger
from agent_memory.lessons import store as lessons
from agent_memory.recall import context_store
from agent_memory.service.auth import By
from agent_memory.service.state import Database
from agent_memory.service.web.page import page, projects_of

router = APIRouter()
PAGE = 50


@router.get("/told")
def list_told(
    request: Request,
    conn: Database,
    by: By,
    project: str = "",
    session: Annotated[str, Query(max_length=200)] = "",
    cursor: Annotated[int | None, Query(ge=1, lt=2**63)] = None,
) -> HTMLResponse:
    """What was told at sessions' starts and at prompts, the latest first; of one `session` also the lessons that
    spoke in it."""
    project_id = by.narrowed(conn, project or None)
    known = None
    if session:
        named = context_store.sessions_named(conn, session)
        known = journal.session(conn, named[0]) if len(named) == 1 else None
        if known is None or not by.may_reach(known["project_id"]):
            raise AgentMemoryError(
                f"No session {session!r} is known here, or several begin so.",
                "Give the agent's own session id, whole: Sessions lists them.",
                status=404,
            )
        ledger.settle(conn)
    session_id = known["id"] if known else None
    rows = context_store.injections(
        conn, session_id=session_id, project_id=project_id, before=cursor, limit=PAGE
    )
    kept = {"project": project, "session": session_id or ""}
    more = {name: value for name, value in kept.items() if value} | {"cursor": rows[-1]["id"] if rows else ""}
    return page(
        request,
        "told.html",
        rows=rows,
        session=known,
        spoke=lessons.ledger(conn, session_id=session_id) if session_id else [],
        older=f"/told?{urlencode(more)}" if len(rows) == PAGE else None,
        projects=projects_of(conn, by),
        project_id=project_id,
    )
