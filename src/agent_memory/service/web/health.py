"""How the service is: what is wrong and what to do about it, what waits, what is stored and what is saved; the audit
log. Pages of the whole machine: not for a caller that is bound to one project."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse

from agent_memory import machine, paths
from agent_memory.access import audit, tokens
from agent_memory.capture import spool
from agent_memory.database.backup import archive
from agent_memory.health import look, store
from agent_memory.journal import store as journal
from agent_memory.service import health
from agent_memory.service.auth import By
from agent_memory.service.routes import admin
from agent_memory.service.state import Database, Service
from agent_memory.service.web.page import page

router = APIRouter()
TAIL = 12
PAGE = 200


@router.get("/health")
def show_health(request: Request, conn: Database, state: Service, by: By) -> HTMLResponse:
    """The whole of it on one page; what only an admin may see is left out for others."""
    by.check(None)
    is_admin = by.scope == "admin"
    return page(
        request,
        "health.html",
        report=health.report(state),
        bad=spool.bad() if is_admin else [],
        bad_folder=paths.spool_bad(),
        tables=store.sizes(conn),
        disks=look.at_home().disks,
        backups=archive.every() if is_admin else [],
        failure=archive.last_failure() if is_admin else None,
        backups_folder=paths.backups(),
        machines=journal.machines(conn) if is_admin else [],
        here=machine.here(),
        tokens=[row for row in tokens.listed(conn) if row["valid"]] if is_admin else [],
        log=audit.read(conn, limit=TAIL) if is_admin else [],
        is_admin=is_admin,
    )


@router.get("/admin/audit")
def show_audit_log(
    request: Request, conn: Database, by: By, cursor: Annotated[int | None, Query(ge=1, lt=2**63)] = None
) -> HTMLResponse:
    """Who changed what, the newest first."""
    by.check(None)
    rows = audit.read(conn, before=cursor, limit=PAGE)
    older = f"/admin/audit?cursor={rows[-1]['id']}" if len(rows) == PAGE else None
    return page(request, "audit.html", rows=rows, older=older)


@router.post("/admin/backups")
def back_up(request: Request, state: Service, by: By) -> RedirectResponse:
    """Make a backup, and come back when it is whole."""
    by.check(None)
    request.state.target = f"backup {admin.make_backup(state)['name']}"
    return RedirectResponse("/health?done=saved#backups", status_code=303)


@router.post("/admin/backups/{name}/verify")
def verify(name: str, state: Service, by: By) -> RedirectResponse:
    """Prove a backup by restoring it into a scratch database."""
    by.check(None)
    admin.verify_backup(name, state)
    return RedirectResponse("/health?done=verified#backups", status_code=303)
