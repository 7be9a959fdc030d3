"""The SQL of API tokens and of the audit log."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agent_memory.database import Connection


def insert_token(
    conn: Connection,
    *,
    name: str,
    scope: str,
    project_id: int | None,
    sha256: bytes,
    expires_at: datetime | None,
) -> bool:
    """False: a token of this name is in force."""
    return (
        conn.execute(
            "insert into mem_api_tokens (name, scope, project_id, sha256, expires_at) values (%s, %s, %s, %s, %s)"
            " on conflict (name) where revoked_at is null do nothing",
            (name, scope, project_id, sha256, expires_at),
        ).rowcount
        == 1
    )


def revoke_expired(conn: Connection, name: str) -> None:
    """Free the name of a token that has run out."""
    conn.execute(
        "update mem_api_tokens set revoked_at = expires_at"
        " where name = %s and revoked_at is null and expires_at <= now()",
        (name,),
    )


def valid_token(conn: Connection, sha256: bytes) -> dict[str, Any] | None:
    """The token in force with this hash. That it was used is noted, once a minute."""
    row = conn.execute(
        "select id, name, scope, project_id, last_used_at < now() - interval '1 minute' as stale,"
        " last_used_at is null as unused from mem_api_tokens"
        " where sha256 = %s and revoked_at is null and (expires_at is null or expires_at > now())",
        (sha256,),
    ).fetchone()
    if row and (row["stale"] or row["unused"]):
        conn.execute("update mem_api_tokens set last_used_at = now() where id = %s", (row["id"],))
    return row


def tokens(conn: Connection) -> list[dict[str, Any]]:
    """Every token ever made, the newest first, without its hash."""
    return conn.execute(
        "select t.id, t.name, t.scope, t.project_id, p.name as project, t.created_at, t.expires_at,"
        " t.last_used_at, t.revoked_at,"
        " t.revoked_at is null and (t.expires_at is null or t.expires_at > now()) as valid"
        " from mem_api_tokens t left join mem_projects p on p.id = t.project_id order by t.id desc"
    ).fetchall()


def revoke_token(conn: Connection, name: str) -> bool:
    """False: no token of this name is in force."""
    return (
        conn.execute(
            "update mem_api_tokens set revoked_at = now() where name = %s and revoked_at is null", (name,)
        ).rowcount
        == 1
    )


def insert_audit(
    conn: Connection,
    *,
    who: str,
    machine: str,
    action: str,
    target: str | None,
    project_id: int | None,
    status: int,
) -> None:
    conn.execute(
        "insert into mem_audit_log (who, machine, action, target, project_id, status) values (%s, %s, %s, %s, %s, %s)",
        (who, machine, action, target, project_id, status),
    )


def audit_log(conn: Connection, *, before: int | None, limit: int) -> list[dict[str, Any]]:
    """The newest first; `before` is the id of the last one that was read."""
    return conn.execute(
        "select id, occurred_at, who, machine, action, target, project_id, status from mem_audit_log"
        " where %(before)s::bigint is null or id < %(before)s order by id desc limit %(limit)s",
        {"before": before, "limit": limit},
    ).fetchall()


def delete_audit(conn: Connection, *, days: int) -> int:
    """Delete what is older; how many rows."""
    return conn.execute(
        "delete from mem_audit_log where occurred_at < now() - make_interval(days => %s)", (days,)
    ).rowcount


def revoke_of_project(conn: Connection, project_id: int) -> int:
    """Revoke every token that is bound to this project. How many."""
    return conn.execute(
        "update mem_api_tokens set revoked_at = now() where project_id = %s and revoked_at is null",
        (project_id,),
    ).rowcount
