"""The sessions, and one of them as it went."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse

from agent_memory.journal import store as journal
from agent_memory.replay import store
from agent_memory.service.auth import By
from agent_memory.service.state import Database
from agent_memory.service.web.page import page

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
        projects=[row for row in journal.projects(conn) if by.may_reach(row["id"])],
        agents=store.agents(conn),
        project_id=project_id,
        agent=agent,
        text=text,
        filtered=any(kept.values()),
    )
