"""What was forgotten since a backup was made is forgotten again when the backup is brought back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, TypeVar

from agent_memory.database import Connection
from agent_memory.forgetting import store
from agent_memory.forgetting.forget import delete, take_whole
from agent_memory.forgetting.rows import Rows
from agent_memory.journal import tombstones
from agent_memory.journal.forgotten import Forgotten

BATCH = 500
T = TypeVar("T")


def carry(old: Connection, new: Connection) -> None:
    """Bring the tombstones of one database, and how far retention has let go of its sessions, into an older copy of it,
    and hold them against all that is there. The caller commits."""
    if not store.knows_tombstones(old):
        return
    store.copy_tombstones(old, new)
    store.copy_retired(old, new)
    apply(new)


def apply(conn: Connection) -> int:
    """Remove all that is stored and was forgotten. How many rows and observations of the journal's went."""
    tombstones.own(conn)
    secret = tombstones.secret(conn)
    if secret is None:
        return 0
    gone = Forgotten(conn, secret)
    rows = Rows(secret)
    rows.sessions = gone.sessions(set(store.all_sessions(conn)))
    every: dict[str, Any] = {"project": None}
    places = store.all_identities(conn)
    for batch in _batches(store.prompts(conn, "all", every)):
        for row in _met(gone, places, batch, "prompt"):
            rows.prompt(row)
    for batch in _batches(store.calls(conn, "all", every, texts=True)):
        for row in _met(gone, places, batch, "call"):
            rows.call(row)
    for batch in _batches(store.messages(conn, "all", every)):
        for row in _met(gone, places, batch, "message"):
            rows.message(row)
    for row in store.summaries_of_messages(conn, rows.messages):
        rows.observation(row)
    for row in store.observations_of_sessions(conn, sorted(rows.sessions)):
        rows.observation(row)
    for batch in _batches(store.observations(conn, project_id=None)):
        posted = [row for row in batch if row["kind"] not in ("turn", "summary")]
        external = gone.external([(row["external_id"] or "", row["project_id"]) for row in posted])
        whole = gone.whole([(row["text"], row["project_id"]) for row in posted], shortest=1)
        for row, by_id, by_text in zip(posted, external, whole, strict=True):
            if by_id or by_text or gone.text(row["text"], row["project_id"]) != row["text"]:
                rows.observation(row)
    delete(conn, rows)
    # A turn whose text holds what none of its rows holds by itself.
    left = [
        row
        for row in (store.observations(conn, project_id=None) if gone.cuts else ())
        if gone.text(row["text"], row["project_id"]) != row["text"]
    ]
    if left:
        more = Rows(secret)
        take_whole(conn, more, left)
        delete(conn, more)
        rows.data_sets |= more.data_sets
    store.mark_stale(conn, sorted(rows.data_sets), None)
    return len(rows.prompts) + len(rows.calls) + len(rows.messages) + len(rows.observations)


def _met(
    gone: Forgotten, places: Mapping[str, str], batch: list[dict[str, Any]], kind: str
) -> list[dict[str, Any]]:
    """Those of these rows that are forgotten: by their keys, their time or their words."""
    by_key = gone.rows(batch, kind)
    texts = [(row.get("text") or "", row["project_id"]) for row in batch]
    whole = gone.whole(texts) if kind != "call" else [False] * len(batch)
    met = []
    for row, is_known, is_whole in zip(batch, by_key, whole, strict=True):
        project = row["project_id"]
        value = [row.get(name) for name in ("text", "tool_input", "output", "error")]
        if (
            is_known
            or is_whole
            or gone.in_period(row["session_id"], [places.get(row["session_id"], "")], row["occurred_at"])
            or (gone.cuts and gone.value(value, project) != value)
        ):
            met.append(row)
    return met


def _batches(rows: Iterable[T]) -> Iterator[list[T]]:
    found = iter(rows)
    while batch := list(islice(found, BATCH)):
        yield batch
