"""Administration: tokens, the audit log, backups. Takes the scope admin, whichever the method."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from pydantic import AwareDatetime, BaseModel

from agent_memory.access import audit, tokens
from agent_memory.database.backup import archive, make, restore
from agent_memory.service.auth import By
from agent_memory.service.state import Database, Service

router = APIRouter(prefix="/admin")


class NewToken(BaseModel):
    name: str
    scope: Literal["read", "write", "admin"] = "write"
    project: str | None = None
    expires_at: AwareDatetime | None = None


@router.post("/tokens", status_code=201)
def create_token(new: NewToken, conn: Database, by: By, request: Request) -> dict[str, Any]:
    """Make a token. It is shown in this answer and never again."""
    request.state.target = f"token {new.name}"
    project_id = by.narrowed(conn, new.project)
    made = tokens.create(conn, new.name, scope=new.scope, project_id=project_id, expires_at=new.expires_at)
    return {"name": new.name, "scope": new.scope, "project_id": project_id, "token": made}


@router.get("/tokens")
def list_tokens(conn: Database) -> dict[str, Any]:
    """Every token ever made, the newest first; none can be read from this."""
    return {"items": tokens.listed(conn), "next_cursor": None}


@router.delete("/tokens/{name}", status_code=204)
def revoke_token(name: str, conn: Database) -> None:
    """From now on it opens nothing."""
    tokens.revoke(conn, name)


@router.get("/audit")
def audit_log(
    conn: Database,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    cursor: Annotated[int | None, Query(ge=1)] = None,
) -> dict[str, Any]:
    """Who changed what, the newest first."""
    rows = audit.read(conn, before=cursor, limit=limit)
    return {"items": rows, "next_cursor": rows[-1]["id"] if len(rows) == limit else None}


@router.get("/backups")
def list_backups() -> dict[str, Any]:
    """The backups, the newest first. None is brought back over REST: the service has to stand still for that."""
    return {"items": [archive.manifest(backup) for backup in archive.every()], "next_cursor": None}


@router.post("/backups", status_code=201)
def make_backup(state: Service) -> dict[str, Any]:
    """Make a manual backup, and answer when it is whole."""
    with archive.lock():
        made = make.backup(_conninfo(state), "manual")
        archive.prune()
    return archive.manifest(made)


@router.post("/backups/{name}/verify")
def verify_backup(name: str, state: Service) -> dict[str, Any]:
    """Restore it into a scratch database and compare; `verify_problem` says what is wrong with it."""
    with archive.lock():
        return archive.manifest(restore.verify(_conninfo(state), archive.find(name)))


def _conninfo(state: Service) -> str:
    known = state.pool.conninfo
    return known if isinstance(known, str) else known()
