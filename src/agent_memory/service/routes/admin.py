"""Administration: tokens, the audit log, backups, and which projects are one. Always takes the scope admin."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from pydantic import AliasChoices, AwareDatetime, BaseModel, Field, model_validator

from agent_memory import machine, regroup
from agent_memory.access import audit, tokens
from agent_memory.database.backup import archive, make, restore
from agent_memory.journal import store
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


@router.get("/machines")
def list_machines(conn: Database) -> dict[str, Any]:
    """The machines that share this database, the one that was heard last first. `here` is this one."""
    return {"items": store.machines(conn), "here": machine.here(), "next_cursor": None}


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


class Merge(BaseModel):
    source: str = Field(validation_alias=AliasChoices("source", "from"))
    target: str = Field(validation_alias=AliasChoices("target", "into"))
    dry_run: bool = False


class Split(BaseModel):
    project: str
    path: str | None = None
    remote: str | None = None
    dry_run: bool = False

    @model_validator(mode="after")
    def _one_of_them(self) -> Split:
        if (self.path is None) == (self.remote is None):
            raise ValueError("give either path or remote")
        return self


@router.get("/projects/{project:path}")
def show_project(project: str, conn: Database, by: By) -> dict[str, Any]:
    """A project, with what was merged into it and the folders that were given to it."""
    return store.project(conn, by.project(conn, project))


@router.post("/projects/merge")
def merge_projects(merge: Merge, conn: Database, request: Request) -> dict[str, Any]:
    """Make one project part of another: what it has, and what will come."""
    request.state.target = f"{merge.source} into {merge.target}{' (dry run)' if merge.dry_run else ''}"
    with conn.transaction(force_rollback=merge.dry_run):
        return asdict(regroup.merge(conn, merge.source, merge.target))


@router.post("/projects/split")
def split_project(split: Split, conn: Database, request: Request) -> dict[str, Any]:
    """Take sessions out of a project: those of a folder, or of a remote that was merged into it."""
    off = split.path or split.remote
    request.state.target = f"{off} out of {split.project}{' (dry run)' if split.dry_run else ''}"
    with conn.transaction(force_rollback=split.dry_run):
        return asdict(regroup.split(conn, split.project, path=split.path, remote=split.remote))
