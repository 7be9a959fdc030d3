"""The first page: what is recorded, as it is recorded."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from fastapi.sse import EventSourceResponse

from agent_memory.journal import store as journal
from agent_memory.replay import live
from agent_memory.service.auth import By
from agent_memory.service.routes import stream
from agent_memory.service.state import Database
from agent_memory.service.web.page import page

router = APIRouter()
SHOWN = 60

# The same stream as that of `/api`, which the browser's cookie does not open.
router.add_api_route("/live", stream.stream, response_class=EventSourceResponse)


@router.get("/")
def look_on(request: Request, conn: Database, by: By, project: str = "") -> HTMLResponse:
    """The latest that was recorded; the page's script adds what comes."""
    project_id = by.narrowed(conn, project or None)
    told = live.latest(conn, project_id=project_id, limit=SHOWN)
    return page(
        request,
        "live.html",
        happenings=[happening for _, happening in reversed(told)],
        place=str(told[-1][0]) if told else "",
        projects=[row for row in journal.projects(conn) if by.may_reach(row["id"])],
        project_id=project_id,
    )
