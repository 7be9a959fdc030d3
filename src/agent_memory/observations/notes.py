"""What somebody asks to be remembered: the one gate for MCP, REST and the command line."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime

from agent_memory.database import Connection
from agent_memory.errors import AgentMemoryError
from agent_memory.journal.ingest import storable
from agent_memory.journal.redaction import redact
from agent_memory.observations import store
from agent_memory.observations.observation import TITLE_CHARS, Observation, shorten, title_of
from agent_memory.settings import Settings

OF_THE_JOURNAL = ("turn", "summary")
"""Kinds that are built from the journal, and built again by reindex."""
LONGEST = 20_000
"""Characters of one note. More is a document: recall shows passages, and nobody reads on."""


def save(conn: Connection, notes: Sequence[Observation]) -> list[int]:
    """Write notes; their ids, in the order given.

    Raises AgentMemoryError (422) where one corrects an observation that its project does not have.
    """
    for one in notes:
        if one.supersedes is not None and store.project_of(conn, one.supersedes) != one.project_id:
            raise AgentMemoryError(
                f"There is no observation {one.supersedes} in this project that could be superseded.",
                "Give the id of one that search or recall shows.",
                status=422,
            )
    return store.save(conn, notes)


def note(
    text: str,
    settings: Settings,
    *,
    project_id: int,
    title: str | None = None,
    kind: str = "note",
    role: str | None = None,
    occurred_at: datetime | None = None,
    session_id: str | None = None,
    external_id: str | None = None,
    supersedes: int | None = None,
) -> Observation:
    """A note, redacted, ready for `save`. Without an `external_id` the same text is the same note.

    Raises AgentMemoryError (422) for an empty or a too long text, and for a kind of the recorder's own.
    """
    text, title = storable(text).strip(), storable(title or "").strip()
    if not text:
        raise AgentMemoryError("The note is empty.", "Say in its text what is to be remembered.", status=422)
    if kind in OF_THE_JOURNAL:
        raise AgentMemoryError(
            f"The kind {kind} is the recorder's own.", "Use another, such as note.", status=422
        )
    if len(text) > LONGEST:
        raise AgentMemoryError(
            f"The note has {len(text):,} characters; at most {LONGEST:,} are kept.",
            "Save what matters of it, or several notes.",
            status=422,
        )
    same = hashlib.sha256(" ".join(text.split()).casefold().encode()).hexdigest()[:32]
    if settings.redact_secrets:
        text, title = redact(text), redact(title)
    return Observation(
        project_id=project_id,
        kind=kind,
        title=shorten(title, TITLE_CHARS) or title_of(text) or shorten(text, TITLE_CHARS),
        text=text,
        occurred_at=occurred_at or datetime.now(UTC),
        role=role,
        session_id=session_id,
        external_id=external_id or f"{kind}/{same}",
        supersedes=supersedes,
    )
