"""The audit log: who changed what, and when. Never a text that was stored, never a secret."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from agent_memory import machine
from agent_memory.access import store
from agent_memory.database import Connection
from agent_memory.settings import Settings

Kind: TypeAlias = Literal["read", "write", "admin"]
KEPT_DAYS = 30
_TARGET_CHARS = 200


def wanted(settings: Settings, kind: Kind, status: int) -> bool:
    """Whether an action of this kind is recorded. What was refused for want of a right always is, unless the log is
    off."""
    match settings.audit_log_level:
        case "off":
            return False
        case "admin":
            return kind == "admin" or status in (401, 403)
        case "write":
            return kind != "read" or status in (401, 403)
        case "all":
            return True


def record(
    conn: Connection,
    settings: Settings,
    *,
    who: str,
    action: str,
    kind: Kind,
    target: str | None = None,
    project_id: int | None = None,
    status: int = 200,
) -> None:
    """Write one line, where the level asks for it. The caller commits."""
    if wanted(settings, kind, status):
        target = target[:_TARGET_CHARS] if target else None
        store.insert_audit(
            conn,
            who=who[:_TARGET_CHARS],
            machine=machine.here(),
            action=action,
            target=target,
            project_id=project_id,
            status=status,
        )


def read(conn: Connection, *, before: int | None = None, limit: int = 100) -> list[dict[str, Any]]:
    """The newest first; `before` is the id of the last one that was read."""
    return store.audit_log(conn, before=before, limit=limit)


def prune(conn: Connection) -> int:
    """Delete what is older than `KEPT_DAYS`; how many lines."""
    return store.delete_audit(conn, days=KEPT_DAYS)
