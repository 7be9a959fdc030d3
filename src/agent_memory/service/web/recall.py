"""Asking the memory, with the reason for each hit."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse

from agent_memory.recall import search
from agent_memory.recall.answer import Hit
from agent_memory.service.auth import By
from agent_memory.service.state import Database, Service
from agent_memory.service.web.page import page, projects_of

router = APIRouter()
HITS = 12
BUDGET = 40_000
"""Characters of all hits: a person scrolls."""


@router.get("/recall")
def recall(
    request: Request,
    conn: Database,
    state: Service,
    by: By,
    q: Annotated[str, Query(max_length=10_000)] = "",
    project: str = "",
) -> HTMLResponse:
    """What an agent would get for this question in this project, and why each hit is there."""
    projects = projects_of(conn, by)
    project_id = by.narrowed(conn, project or None) or (projects[0]["id"] if projects else None)
    answer = None
    if q.strip() and project_id is not None:
        answer = search.recall(
            conn, q, project_id=project_id, embedder=state.embedder(), k=HITS, budget_chars=BUDGET
        )
    hits = list(answer.hits) if answer else []
    return page(
        request,
        "recall.html",
        q=q,
        projects=projects,
        project_id=project_id,
        answer=answer,
        hits=[(hit, source(hit)) for hit in hits],
        best=max((hit.score for hit in hits), default=1.0),
    )


def source(hit: Hit) -> dict[str, Any]:
    """Where a hit comes from: its session, the `prompt` of its turn, and how many rows of each kind."""
    rows = {name: list(ids) for name, ids in hit.sources.items() if isinstance(ids, list | tuple)}
    prompts = rows.get("prompts", [])
    return asdict(hit.held) | {
        "session_id": hit.session_id,
        "prompt": str(prompts[0]) if prompts else None,
        "calls": rows.get("tool_calls", []),
        "messages": rows.get("assistant_messages", []),
        "prompts": prompts,
    }
