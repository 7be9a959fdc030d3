"""Where a text hides something, and the text without it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

MARKER = "[REDACTED:"
"""How every replacement begins; the kind and a closing bracket follow."""

MARKERS = re.compile(r"\[REDACTED:[a-z0-9-]+\]")


class Span(NamedTuple):
    start: int
    end: int
    kind: str
    rank: int
    """Of spans that overlap, the one of lowest rank names the kind of them all."""


class Source:
    """A text in the three forms that the finders read. All three have the same offsets."""

    __slots__ = ("_hits", "low", "raw", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        # One byte a character, so that offsets agree: bytes are searched and translated at 1–2 GB/s, text is not.
        # What is not Latin-1 becomes "?", which no name and no token contains.
        self.raw = text.encode("latin-1", "replace")
        self.low = self.raw.lower()
        self._hits: dict[bytes, list[int]] = {}

    def hits(self, needle: bytes) -> list[int]:
        """Where the lower-case needle stands, in whatever case."""
        if needle not in self.low:
            return NOWHERE
        if (places := self._hits.get(needle)) is None:
            places = self._hits[needle] = []
            find, step = self.low.find, len(needle)
            at = find(needle)
            while at >= 0:
                places.append(at)
                at = find(needle, at + step)
        return places


NOWHERE: list[int] = []


def runs(classes: bytes, shortest: int) -> Iterator[tuple[int, int]]:
    """The stretches of "x" in a translated text that are at least `shortest` long."""
    find, needle = classes.find, b"x" * shortest
    start = find(needle)
    while start >= 0:
        end = find(b" ", start + shortest)
        if end < 0:
            end = len(classes)
        yield start, end
        start = find(needle, end)


def class_table(members: bytes) -> bytes:
    """For `bytes.translate`: "x" for each member, a space for everything else."""
    return bytes(0x78 if byte in members else 0x20 for byte in range(256))


def merged(spans: Iterable[Span]) -> list[Span]:
    """In order, overlapping ones made one."""
    result: list[Span] = []
    for span in sorted(spans):
        if result and span.start < result[-1].end:
            last = result[-1]
            kind, rank = (span.kind, span.rank) if span.rank < last.rank else (last.kind, last.rank)
            result[-1] = Span(last.start, max(last.end, span.end), kind, rank)
        else:
            result.append(span)
    return result


def without(text: str, spans: Iterable[Span]) -> str:
    pieces: list[str] = []
    at = 0
    for span in merged(spans):
        pieces += (text[at : span.start], MARKER, span.kind, "]")
        at = span.end
    pieces.append(text[at:])
    return "".join(pieces)
