"""The tombstones (`mem_tombstones`, `mem_tombstone_keys`): what was forgotten, as keys that say nothing of it.

A key is a hash under the database's own secret. What it is made of, by its `kind`:

- session: a session's id. Nothing of the session comes in any more.
- turn: session and prompt id, and, where that id is random and so unique by itself, the prompt id alone.
- prompt, call, message: session and the row's id, or that id alone, as with turns; `said`: a message by its words.
- external: an observation's external id.
- text: a whole text, folded. passage: a part of texts, folded. Both may hold for one project or for all.
- period: what happened between two moments, in a session, in a project, or anywhere.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from agent_memory.database import Connection, migrate

_LOCK = 0x6D656D5D
_UNIQUE = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[A-Za-z]+_\w{20,}")
"""An id that nobody else has, of another session neither: a copy of a session has the same ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    kind: str
    key: bytes
    project_id: int | None = None
    length: int | None = None
    beginning: int | None = None
    since: datetime | None = None
    until: datetime | None = None


def share(conn: Connection) -> None:
    """Keep forgetting and migrating away until the transaction ends: whoever writes what may be forgotten begins with
    it. It waits for a forgetting that is under way, whose tombstones are seen then. Raises NewerSchemaError."""
    conn.execute(
        "select pg_advisory_xact_lock_shared(%s), pg_advisory_xact_lock_shared(%s)", (migrate.LOCK, _LOCK)
    )
    migrate.refuse_newer(conn)


def own(conn: Connection) -> None:
    """Keep all others who write away until the transaction ends. Raises NewerSchemaError."""
    conn.execute("select pg_advisory_xact_lock_shared(%s), pg_advisory_xact_lock(%s)", (migrate.LOCK, _LOCK))
    migrate.refuse_newer(conn)


def secret(conn: Connection, *, even_if_unused: bool = False) -> bytes | None:
    """What the keys are made with; None where nothing is forgotten."""
    row = conn.execute(
        "select secret from mem_tombstone_secret where %s or exists (select from mem_tombstones)",
        (even_if_unused,),
    ).fetchone()
    return bytes(row["secret"]) if row else None


def key(secret: bytes, *parts: str | bytes) -> bytes:
    told = b"\0".join(part.encode("utf-8", "replace") if isinstance(part, str) else part for part in parts)
    return hashlib.blake2b(told, key=secret, digest_size=16).digest()


def keys(secret: bytes, kind: str, session_id: str, *parts: str | bytes) -> list[bytes]:
    """The keys under which a row of a session is known: within the session, and by a unique id alone."""
    found = [key(secret, kind, session_id, *parts)]
    if isinstance(parts[0], str) and _UNIQUE.fullmatch(parts[0]):
        found.append(key(secret, kind, "", *parts))
    return found


def base(prompt_id: str | None) -> str:
    """A prompt's id without what a second text under it was given."""
    return re.sub(r"/[0-9a-f]{8}$", "", prompt_id or "")


def lay(
    conn: Connection, *, by: str, what: str, counts: Mapping[str, int], keys: Iterable[Key]
) -> tuple[int, datetime]:
    """Write a tombstone; its number and its time."""
    row = conn.execute(
        "insert into mem_tombstones (forgotten_by, what, counts) values (%s, %s, %s::jsonb)"
        " returning id, forgotten_at",
        (by, what, json.dumps(dict(counts))),
    ).fetchone()
    assert row is not None
    unique = list(dict.fromkeys(keys))
    names = ("kind", "key", "project_id", "length", "beginning", "since", "until")
    columns = [[getattr(one, name) for one in unique] for name in names]
    conn.execute(
        "insert into mem_tombstone_keys (tombstone_id, kind, key, project_id, length, beginning, since, until)"
        " select %s, * from unnest(%s::text[], %s::bytea[], %s::bigint[], %s::integer[], %s::integer[],"
        " %s::timestamptz[], %s::timestamptz[])",
        (row["id"], *columns),
    )
    return int(row["id"]), row["forgotten_at"]


def known(conn: Connection, keys: Sequence[bytes]) -> set[tuple[str, bytes, int | None]]:
    """Which of these keys there are: their kind, the key, and the project that it holds for."""
    rows = conn.execute(
        "select kind, key, project_id from mem_tombstone_keys where key = any(%s)", (list(keys),)
    )
    return {(row["kind"], bytes(row["key"]), row["project_id"]) for row in rows}


def scanned(conn: Connection) -> list[Key]:
    """The keys that cannot be looked up: passages and periods."""
    rows = conn.execute(
        "select kind, key, project_id, length, beginning, since, until from mem_tombstone_keys"
        " where kind in ('passage', 'period')"
    )
    return [Key(**{**row, "key": bytes(row["key"])}) for row in rows]


def copy(conn: Connection, source: int, target: int) -> None:
    """Keep out of one project what is kept out of another: what that one had is given to it."""
    conn.execute(
        "insert into mem_tombstone_keys (tombstone_id, kind, key, project_id, length, beginning, since, until)"
        " select tombstone_id, kind, key, %(target)s, length, beginning, since, until from mem_tombstone_keys k"
        " where project_id = %(source)s and not exists (select from mem_tombstone_keys there"
        " where there.tombstone_id = k.tombstone_id and there.kind = k.kind and there.key = k.key"
        " and there.project_id = %(target)s)",
        {"source": source, "target": target},
    )


def listed(conn: Connection, *, limit: int) -> list[dict[str, Any]]:
    """The latest first."""
    return conn.execute(
        "select id, forgotten_at, forgotten_by, what, counts, cleaned_at from mem_tombstones"
        " order by id desc limit %s",
        (limit,),
    ).fetchall()


def lift(conn: Connection, number: int) -> bool:
    """Remove a tombstone: what it kept out may come in again, as far as it is still somewhere. False: there is none."""
    return bool(conn.execute("delete from mem_tombstones where id = %s", (number,)).rowcount)


def latest(conn: Connection) -> int:
    """The number of the last one that was laid; 0: there is none."""
    row = conn.execute("select coalesce(max(id), 0) as id from mem_tombstones").fetchone()
    assert row is not None
    return int(row["id"])


def unclean(conn: Connection) -> list[int]:
    return [row["id"] for row in conn.execute("select id from mem_tombstones where cleaned_at is null")]


def cleaned(conn: Connection, numbers: Sequence[int]) -> None:
    conn.execute(
        "update mem_tombstones set cleaned_at = clock_timestamp() where id = any(%s)", (list(numbers),)
    )
