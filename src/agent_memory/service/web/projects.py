"""The projects: which there are, what is one, and what is told in them unasked."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from agent_memory.journal import store
from agent_memory.recall import context_store
from agent_memory.service.auth import By
from agent_memory.service.state import Database, Service
from agent_memory.service.web.page import page, projects_of

router = APIRouter()


@router.get("/projects")
def list_projects(request: Request, conn: Database, state: Service, by: By) -> HTMLResponse:
    """Every project, that which was worked on last first, with what was merged into it and given to it."""
    rows = [store.project(conn, row["id"]) for row in projects_of(conn, by)]
    return page(
        request,
        "projects.html",
        projects=rows,
        silent={row["id"] for row in rows if not context_store.context_wanted(conn, row["id"])},
        told=state.settings.agent_memory_context,
    )
