"""What is remembered, before it is stored."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

TITLE_CHARS = 120

_MARKUP = re.compile(r"^[\s#>*_=~|-]+|[\s#*_=~|:]+$")
_LETTERS = re.compile(r"[^\W\d_]")


@dataclass(frozen=True, slots=True)
class Section:
    """A part of an observation's text that is one party's words, or nobody's."""

    text: str
    role: str | None = None
    """user, assistant, or None where it is mixed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    project_id: int
    kind: str
    """turn, summary, note, or what a caller names."""
    title: str
    text: str
    occurred_at: datetime
    """With a time zone."""
    role: str | None = None
    """Whose words it is, where it has no sections."""
    session_id: str | None = None
    external_id: str | None = None
    """One observation a project has this; saving another one replaces it."""
    supersedes: int | str | None = None
    """The observation that this one corrects: its id, or, until a note is saved, its external id."""
    valid_from: datetime | None = None
    """None: it holds since it occurred."""
    valid_until: datetime | None = None
    """None: it holds until it is superseded or retracted."""
    sources: Mapping[str, Sequence[int | str]] = field(default_factory=dict)
    sections: Sequence[Section] = ()
    """The text in its parts, where they have different roles. They are cut into chunks apart."""


def title_of(text: str) -> str:
    """The first line of `text` that says something, without its Markdown, at most 120 characters. Empty where
    no line holds a letter."""
    for line in text[:5_000].splitlines():
        if len(_LETTERS.findall(line)) >= 2:
            return shorten(_MARKUP.sub("", line).replace("**", ""), TITLE_CHARS)
    return ""


def shorten(text: str, limit: int) -> str:
    """`text` on one line and at most `limit` characters long, cut at a word where one ends nearby."""
    line = " ".join(text[: 8 * limit].split())
    if len(line) <= limit:
        return line
    cut = line[: limit - 1]
    space = cut.rfind(" ", limit - 25)
    return (cut[:space] if space > 0 else cut).rstrip(" ,;:.") + "…"


def clip(text: str, limit: int) -> str:
    """`text`, or its beginning and its end with a mark between, at most `limit` characters together."""
    if len(text) <= limit:
        return text
    head = limit * 2 // 3
    return f"{text[:head].rstrip()}\n[…]\n{text[len(text) - (limit - head - 6) :].lstrip()}"
