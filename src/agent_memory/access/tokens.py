"""API tokens: one for each program that calls over TCP, with no more rights than it needs.

A token is shown once and stored as its hash. The owner's own token is a file of the home's (`settings.owner_token`)
and is not among these.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from agent_memory.access import store
from agent_memory.errors import AgentMemoryError

if TYPE_CHECKING:  # the command line asks for the scopes alone, at every start
    from agent_memory.database import Connection

Scope: TypeAlias = Literal["read", "write", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
"""Each contains those before it."""
PREFIX = "agmem_"
"""By this the redaction knows our own tokens."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")


@dataclass(frozen=True, slots=True)
class Token:
    """A token in force."""

    name: str
    scope: Scope
    project_id: int | None
    """The one project that it reaches, or None for all."""


def create(
    conn: Connection,
    name: str,
    *,
    scope: Scope = "write",
    project_id: int | None = None,
    expires_at: datetime | None = None,
) -> str:
    """Make a token and return it: this is the only time that it can be seen.

    Raises AgentMemoryError where the name is taken or cannot be one, where it would have run out already, and for
    `admin` within one project: what an administrator does concerns all of them.
    """
    if not _NAME.fullmatch(name):
        raise AgentMemoryError(
            f"{name!r} cannot be a token's name.",
            "Use up to 64 letters, digits and . _ @ -, beginning with a letter or a digit.",
            status=422,
        )
    if scope == "admin" and project_id is not None:
        raise AgentMemoryError(
            "An admin token cannot be bound to one project.",
            "Leave out the project, or take the scope read or write.",
            status=422,
        )
    if expires_at is not None and expires_at <= datetime.now(UTC):
        raise AgentMemoryError(
            f"{expires_at:%Y-%m-%d %H:%M} is past.", "Name a time that is still to come.", status=422
        )
    token = PREFIX + secrets.token_urlsafe(32)
    store.revoke_expired(conn, name)
    if not store.insert_token(
        conn, name=name, scope=scope, project_id=project_id, sha256=_hash(token), expires_at=expires_at
    ):
        raise AgentMemoryError(
            f"A token named {name!r} is in force.",
            f"Choose another name, or revoke it first: agent-memory token revoke {name}",
            status=409,
        )
    return token


def find(conn: Connection, token: str) -> Token | None:
    """The token that was shown, where it is in force."""
    if not token.startswith(PREFIX):
        return None
    row = store.valid_token(conn, _hash(token))
    return Token(row["name"], row["scope"], row["project_id"]) if row else None


def listed(conn: Connection) -> list[dict[str, Any]]:
    """Every token ever made, the newest first, without what would let anybody use it."""
    return store.tokens(conn)


def revoke(conn: Connection, name: str) -> None:
    """From now on the token opens nothing. Raises AgentMemoryError where none of this name is in force."""
    if not store.revoke_token(conn, name):
        raise AgentMemoryError(
            f"No token named {name!r} is in force.", "See: agent-memory token list", status=404
        )


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
