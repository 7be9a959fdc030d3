"""What sessions are told without having asked."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query

from agent_memory.journal import store as journal
from agent_memory.recall import context_store
from agent_memory.service.auth import By
from agent_memory.service.context import for_a_start
from agent_memory.service.state import Database, Service

router = APIRouter()


@router.get("/injections")
def list_injections(
    conn: Database,
    by: By,
    session_id: str,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    cursor: Annotated[int | None, Query(ge=1)] = None,
) -> dict[str, Any]:
    """What a session was told, newest first: when, how much, of what, and why; and why it was not."""
    by.check(journal.known_projects(conn, [session_id]).get(session_id))
    rows = context_store.injections(conn, session_id=session_id, before=cursor, limit=limit)
    return {"items": rows, "next_cursor": rows[-1]["id"] if len(rows) == limit else None}


@router.get("/context")
def get_context(conn: Database, state: Service, by: By, project: str) -> dict[str, Any]:
    """What a session of this project would be told if it started now, whether the project wants it or not."""
    project_id = by.project(conn, project)
    told = for_a_start(conn, state.settings, project_id=project_id)
    wanted = state.settings.agent_memory_context and context_store.context_wanted(conn, project_id)
    return {"text": told.text, "chars": len(told.text), "wanted": wanted}
