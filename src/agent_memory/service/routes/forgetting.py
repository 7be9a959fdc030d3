"""Forgetting: one observation, or whatever an admin names; the tombstones."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import AwareDatetime, BaseModel, Field

from agent_memory.errors import AgentMemoryError
from agent_memory.forgetting import forget as forgetting
from agent_memory.forgetting.forget import Plan, Receipt, Wanted
from agent_memory.journal import tombstones
from agent_memory.observations import store as observations
from agent_memory.service.auth import By
from agent_memory.service.state import Database

router = APIRouter()


class Request(BaseModel):
    """One of `ids`, `session_id`, `text`, a time (`since`, `until`), or a `project` alone. A project beside another
    bounds it."""

    ids: list[int] = Field(default=[], max_length=1000)
    session_id: str | None = Field(default=None, max_length=200)
    text: str | None = Field(default=None, max_length=20_000)
    since: AwareDatetime | None = None
    until: AwareDatetime | None = None
    project: str | None = None
    dry_run: bool = False


@router.delete("/observations/{number}")
def delete_observation(number: int, conn: Database, by: By) -> Receipt:
    """Forget an observation with the rows of the journal that it was made from. It does not come back."""
    project_id = observations.project_of(conn, number) if 0 < number < 2**63 else None
    if project_id is None or not by.may_reach(project_id):
        raise AgentMemoryError(
            f"There is no observation {number}.", "Search lists what there is.", status=404
        )
    return forgetting.forget(conn, Wanted(ids=(number,)), by=by.name)


@router.post("/admin/forget")
def forget(request: Request, conn: Database, by: By) -> Receipt | Plan:
    """Forget what is named. With `dry_run` nothing changes, and what would go is told."""
    project_id = by.narrowed(conn, request.project)
    wanted = Wanted(
        ids=tuple(request.ids),
        session=request.session_id,
        text=request.text,
        since=request.since,
        until=request.until,
        project_id=project_id,
    )
    if request.dry_run:
        return forgetting.plan(conn, wanted)
    return forgetting.forget(conn, wanted, by=by.name)


@router.get("/admin/tombstones")
def list_tombstones(conn: Database, limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> dict[str, Any]:
    """What was forgotten, the latest first: when, by whom, and how many rows. No text."""
    return {"items": tombstones.listed(conn, limit=limit), "next_cursor": None}


@router.delete("/admin/tombstones/{number}", status_code=204)
def lift_tombstone(number: int, conn: Database) -> None:
    """Let in again what it kept out, as far as it is still somewhere."""
    if not tombstones.lift(conn, number):
        raise AgentMemoryError(
            f"There is no tombstone {number}.", "GET /api/admin/tombstones lists them.", status=404
        )
