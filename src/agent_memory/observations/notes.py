"""What somebody asks to be remembered: the one gate for MCP, REST and the command line."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from agent_memory.database import Connection
from agent_memory.errors import AgentMemoryError
from agent_memory.journal import forgotten
from agent_memory.journal.ingest import storable
from agent_memory.journal.redaction import redact
from agent_memory.observations import store
from agent_memory.observations.observation import TITLE_CHARS, Observation, shorten, title_of
from agent_memory.settings import Settings

OF_THE_JOURNAL = ("turn", "summary")
"""Kinds that are built from the journal, and built again by reindex."""
LONGEST = 20_000
"""Characters of one note. More is a document: recall shows passages, and nobody reads on."""
LONGEST_REASON = 500
"""Characters of the reason why something no longer holds."""
MOST_TIMES = 20
"""How often the same text can be taken back and said again as a note of its own."""

_OWN_KEY = re.compile(r"[a-z][a-z0-9_-]*/[0-9a-f]{32}(/|$)|(turn|summary|correction)/")
_OF_THE_TEXT = re.compile(r"[a-z][a-z0-9_-]*/[0-9a-f]{32}")
"""An external id that was made from the note's kind and text."""


def save(conn: Connection, notes: Sequence[Observation]) -> list[int]:
    """Write notes; their ids, in the order given. A note may supersede one that is given with it, by its external id.

    Raises AgentMemoryError where one was forgotten (409), where it supersedes an observation that its project does not
    have, or one that supersedes it (422).
    """
    if any(forgotten_among(conn, notes)):
        raise AgentMemoryError(
            "This was forgotten, and is not stored again.",
            "Where it should be after all, the owner lifts its tombstone: agent-memory tombstones --lift ID.",
            status=409,
        )
    ids = store.save(conn, [replace(one, supersedes=None, external_id=_key(conn, one)) for one in notes])
    for number, one in zip(ids, notes, strict=True):
        if one.supersedes is not None:
            _stand_for(conn, number, one.supersedes, one.project_id)
    return ids


def forgotten_among(conn: Connection, notes: Sequence[Observation]) -> list[bool]:
    """Which of these notes were forgotten: by their external id, as a text, or for a passage in it."""
    gone = forgotten.look(conn)
    if gone is None:
        return [False] * len(notes)
    external = gone.external([(one.external_id or "", one.project_id) for one in notes])
    whole = gone.whole([(one.text, one.project_id) for one in notes], shortest=1)
    return [
        by_id or by_text or any(gone.text(text, one.project_id) != text for text in (one.text, one.title))
        for one, by_id, by_text in zip(notes, external, whole, strict=True)
    ]


def correct(conn: Connection, number: int, *, title: str, text: str, settings: Settings) -> int:
    """Say an observation anew: as a note that supersedes it, whose id is returned. The first stays, marked.

    Raises AgentMemoryError: there is none (404), nothing of it is new, or the text is not fit (422), it was forgotten
    (409).
    """
    row = _known(conn, number)
    kind = "note" if row["kind"] in OF_THE_JOURNAL else row["kind"]
    project_id = row["project_id"]
    anew = note(
        text, settings, project_id=project_id, title=title, kind=kind, role=row["role"], supersedes=number
    )
    if (anew.title, anew.text) == (row["title"], row["text"]):
        raise AgentMemoryError(
            f"Observation {number} says exactly this already.", "Change its title or its text.", status=422
        )
    if _folded(anew.text) == _folded(row["text"]):  # by its text alone it would be the same note
        named = hashlib.sha256(f"{anew.title}\n{anew.text}".encode()).hexdigest()[:32]
        anew = replace(anew, external_id=f"correction/{number}/{named}")
    return save(conn, [anew])[0]


def supersede(conn: Connection, number: int, earlier: int) -> None:
    """Say that an observation stands in the place of an earlier one of its project.

    Raises AgentMemoryError: there is none (404), it stands for another one already (409), or the earlier one supersedes
    it (422).
    """
    row = _known(conn, number)
    if row["supersedes"] not in (None, earlier):
        raise AgentMemoryError(
            f"Observation {number} supersedes {row['supersedes']} already.",
            "Say it as a correction: a new note that supersedes this one.",
            status=409,
        )
    _stand_for(conn, number, earlier, row["project_id"])


def retract(
    conn: Connection,
    number: int,
    *,
    at: datetime | None = None,
    because: str | None = None,
    settings: Settings,
) -> None:
    """Say that an observation no longer holds, since `at` (None: since now), without another in its place.

    Raises AgentMemoryError (404) where there is none.
    """
    reason = storable(because or "").strip()[:LONGEST_REASON]
    values: dict[str, datetime | str | None] = {
        "valid_until": at or datetime.now(UTC),
        "retracted_because": (redact(reason) if settings.redact_secrets else reason) or None,
    }
    change_validity(conn, number, values)


def hold_again(conn: Connection, number: int) -> None:
    """Take a retraction back. Raises AgentMemoryError (404) where there is no such observation."""
    change_validity(conn, number, {"valid_until": None, "retracted_because": None})


def change_validity(conn: Connection, number: int, values: Mapping[str, datetime | str | None]) -> None:
    """Set some of `valid_from`, `valid_until` and `retracted_because`.

    Raises AgentMemoryError: no such observation (404), or it would end before it begins (422).
    """
    if not 0 < number < 2**63 or not store.set_validity(conn, number, values):
        raise AgentMemoryError(
            f"There is no observation {number}.",
            "Give the id of one that search or recall shows.",
            status=404,
        )
    (row,) = store.get(conn, [number])
    if row["valid_from"] and row["valid_until"] and row["valid_from"] > row["valid_until"]:
        raise AgentMemoryError(
            f"Observation {number} would cease to hold before it begins to.",
            "Give a valid_until that is later than its valid_from.",
            status=422,
        )


def _key(conn: Connection, one: Observation) -> str | None:
    """Under which external id a note is stored. A text that is said again after it had ceased to hold is a note of
    its own, and holds; the same text from before that is the note that was there."""
    key = one.external_id
    if key is None or not _OF_THE_TEXT.fullmatch(key):
        return key
    keys = [key, *(f"{key}/{n}" for n in range(2, MOST_TIMES + 1))]
    said = store.said_before(conn, one.project_id, keys)
    for before in said:
        if before["ended"] is None or one.occurred_at <= before["ended"]:
            return str(before["external_id"])
    return keys[min(len(said), MOST_TIMES - 1)]


def _known(conn: Connection, number: int) -> dict[str, Any]:
    found = store.get(conn, [number]) if 0 < number < 2**63 else []
    if not found:
        raise AgentMemoryError(
            f"There is no observation {number}.",
            "Give the id of one that search or recall shows.",
            status=404,
        )
    return found[0]


def _stand_for(conn: Connection, number: int, given: int | str, project_id: int) -> None:
    """Let an observation supersede one of this project, which is given by its id or its external id."""
    earlier: int | None
    if isinstance(given, str):
        earlier = store.by_external_id(conn, project_id, given)
    else:
        known = 0 < given < 2**63 and store.project_of(conn, given) == project_id
        earlier = given if known else None
    if earlier is None:
        raise AgentMemoryError(
            f"There is no observation {given} in this project that could be superseded.",
            "Give the id of one that search or recall shows, or an external_id of this project.",
            status=422,
        )
    store.supersede(conn, number, earlier)
    if number in store.earlier_of(conn, number):
        raise AgentMemoryError(
            f"Observation {earlier} supersedes {number}, so {number} cannot supersede it.",
            "To say that the earlier one holds again, save its text anew, as superseding the later one.",
            status=422,
        )


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
    supersedes: int | str | None = None,
    valid_from: datetime | None = None,
    valid_until: datetime | None = None,
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
    same = hashlib.sha256(_folded(text).encode()).hexdigest()[:32]
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
        valid_from=valid_from,
        valid_until=valid_until,
    )


def is_own_key(external_id: str) -> bool:
    """Whether we made this external id ourselves, of a text or of a turn."""
    return bool(_OWN_KEY.match(external_id))


def _folded(text: str) -> str:
    """Two texts with the same are one note."""
    return " ".join(text.split()).casefold()
