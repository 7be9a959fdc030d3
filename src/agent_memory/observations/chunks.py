"""Observations cut into chunks: what is indexed, embedded and shown. Pure functions.

MiniLM reads 256 tokens, which is about a thousand characters of prose and less of code, and whole sessions
embed badly (session recall .458 whole, .721 by its best part). So a chunk is about 900 bytes, cut where the
text itself has borders. Its first line tells the date and the title: a date in the text won 2.8 points in the
words' leg and 4.1 in the vectors' (LoCoMo).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from agent_memory.observations.observation import Section
from agent_memory.observations.words import indexable

CHUNK_BYTES = 900
"""No chunk is longer, in UTF-8: a token is about four bytes in English, and scripts that need more tokens a
character have more bytes a character, too."""
MAX_CHUNKS = 100
"""Chunks that one observation may have. A vector costs up to 0.1 s of a core: a pasted log of megabytes must
not keep all others waiting for an hour. What lies beyond is stored and shown, but not found."""
_TITLE_CHARS = 120
# Where a text may be cut, the best first: between paragraphs, lines, sentences, words.
_BORDERS = tuple(
    re.compile(p) for p in (r"(?<=\n\n)(?=\S)", r"(?<=\n)", r"(?<=[.!?;]\s)|(?<=[。！？])", r"(?<=\s)")
)


@dataclass(frozen=True, slots=True)
class Chunk:
    ordinal: int
    """From 0, over all chunks of an observation."""
    role: str | None
    text: str
    words: str
    """What `to_tsvector('english', …)` indexes."""


def cut(title: str, text: str, occurred_at: datetime, role: str | None) -> list[Chunk]:
    """The chunks of a text that is one party's words. At least one: a title alone is worth finding."""
    return cut_sections(title, [Section(text, role)], occurred_at)


def cut_sections(title: str, sections: Sequence[Section], occurred_at: datetime) -> list[Chunk]:
    """The chunks of a text in parts. No chunk holds the words of two roles.

    A part that begins with the title does not get it into the first line of its chunks: it would be the same words
    again and again, which made the session that was asked for come first less often (LoCoMo, MRR .857 to .845).
    """
    day = occurred_at.astimezone(UTC)
    titled = f"{day:%Y-%m-%d} · {title[:_TITLE_CHARS]}".rstrip(" ·\n")
    chunks: list[Chunk] = []
    for role, text in _runs(sections):
        text = text[: CHUNK_BYTES * MAX_CHUNKS].strip()
        heading = f"{day:%Y-%m-%d}" if _begins(text, title) else titled
        for body in _bodies(text, CHUNK_BYTES - _size(heading) - 1):
            whole = f"{heading}\n{body}".rstrip()
            # The month's name, so that "in November" finds it.
            chunks.append(Chunk(len(chunks), role, whole, indexable(f"{whole} {day:%B}")))
            if len(chunks) == MAX_CHUNKS:
                return chunks
    return chunks or [Chunk(0, None, titled, indexable(f"{titled} {day:%B}"))]


def _runs(sections: Sequence[Section]) -> Iterator[tuple[str | None, str]]:
    """Neighbours of the same role together: few full chunks embed in less time than many short ones."""
    role: str | None = None
    texts: list[str] = []
    for section in sections:
        if texts and section.role != role:
            yield role, "\n\n".join(texts)
            texts = []
        role = section.role
        texts.append(section.text)
    if texts:
        yield role, "\n\n".join(texts)


def _begins(text: str, title: str) -> bool:
    """Whether a text begins with its title, which may be cut there and without Markdown."""
    beginning = " ".join(title.removesuffix("…").split())
    return bool(beginning) and " ".join(text[: 4 * len(title)].lstrip("#>*_ ").split()).startswith(beginning)


def _bodies(text: str, room: int) -> Iterator[str]:
    """`text` in pieces of at most `room` bytes; one empty piece for an empty text."""
    body = ""
    size = 0
    for piece in _pieces("\n".join(line.rstrip() for line in text.split("\n")), room, 0):
        if size + _size(piece) > room and body:
            yield body.strip("\n")
            body, size = "", 0
        body += piece
        size += _size(piece)
    if body.strip() or not text.strip():
        yield body.strip("\n")


def _pieces(text: str, room: int, border: int) -> Iterator[str]:
    if _size(text) <= room:
        yield text
    elif border < len(_BORDERS):
        for part in _BORDERS[border].split(text):
            yield from _pieces(part, room, border + 1)
    else:  # one giant word
        step = room if text.isascii() else room // 4
        for start in range(0, len(text), step):
            yield text[start : start + step]


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "replace"))
