"""The first page: what is recorded, as it is recorded."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Request
from fastapi.responses import HTMLResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent

from agent_memory.replay import live
from agent_memory.service.auth import By
from agent_memory.service.routes import stream
from agent_memory.service.state import Database, Service
from agent_memory.service.web.page import page, part, projects_of

router = APIRouter()
SHOWN = 60


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
        projects=projects_of(conn, by),
        project_id=project_id,
    )


@router.get("/live", response_class=EventSourceResponse)
async def live_items(
    request: Request,
    state: Service,
    by: By,
    project_id: Annotated[int | None, Depends(stream.watched)],
    since: str = "",
    last_event_id: Annotated[str, Header()] = "",
) -> AsyncIterator[ServerSentEvent]:
    """Like `GET /api/stream`, which a browser's cookie does not open; each event is an item of the page's list.
    `since`: the place up to which the page tells already."""
    place = live.place(last_event_id) or live.place(since)
    async for told in stream.told_to(request, state, by, project_id, place, 0):
        if told is None:
            yield stream.BEGUN
        else:
            yield ServerSentEvent(raw_data=part("happening.html", "happening", told[1]), id=str(told[0]))
