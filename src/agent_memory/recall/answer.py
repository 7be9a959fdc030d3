"""What recall gives back, as values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """When an observation held, as far as anybody said."""

    since: datetime | None = None
    """None: since it occurred."""
    until: datetime | None = None
    """None: it holds."""
    superseded_by: int | None = None
    because: str | None = None
    """Why it was retracted, in the words of whoever did."""


ALWAYS = Held()


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """An observation that answers a query."""

    id: int
    kind: str
    title: str
    text: str
    """The passages that were found and as much of the rest as the budget allowed; … marks what is left
    out."""
    occurred_at: datetime
    score: float
    """The fused score, about 0 to 1. It ranks the hits of one answer; it says nothing across answers."""
    session_id: str | None
    external_id: str | None
    sources: Mapping[str, Any]
    """The journal rows that it came from."""
    legs: Mapping[str, Mapping[str, Any]]
    """Why it is here: its rank and its raw score in each leg, and the words that matched."""
    instead_of: int | None = None
    """The observation that was found, where this one superseded it."""
    held: Held = ALWAYS


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    hits: Sequence[Hit] = ()
    abstained: bool = False
    """Nothing in store is relevant, so there are no hits."""
    legs: Sequence[str] = ()
    """Which legs took part: text, vector."""
    notice: str | None = None
    """What the reader should know, such as that the vectors were out of reach."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """An observation as a line of an index."""

    id: int
    kind: str
    title: str
    snippet: str
    occurred_at: datetime
    session_id: str | None
    score: float | None = None
    held: Held = ALWAYS


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """Like `Answer`, with lines in place of texts."""

    entries: Sequence[Entry] = ()
    abstained: bool = False
    legs: Sequence[str] = ()
    notice: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Full:
    """An observation, whole."""

    id: int
    kind: str
    role: str | None
    title: str
    text: str
    occurred_at: datetime
    session_id: str | None
    external_id: str | None
    sources: Mapping[str, Any] = field(default_factory=dict)
    supersedes: int | None = None
    superseded_by: int | None = None
    held: Held = ALWAYS
