"""BM25 over posting lists. Pure: numbers in, numbers out.

A project's segments lie one behind the other, and a chunk is known by its place in that row. A list names its
segment's chunks by two bytes each, beginning at 0 in each segment, and says in one byte how often each holds
the word.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

K1 = 0.9
"""How soon a word's repetition stops to count."""
B = 0.4
"""How much the words of a long chunk are discounted."""


def rarity(chunks: float, total: float) -> float:
    """The inverse document frequency of a word that `chunks` of `total` chunks hold."""
    return math.log(1 + (total - chunks + 0.5) / (chunks + 0.5))


def weight(idf: Any, frequency: Any, length: Any, average: float) -> Any:
    """What a word adds to a chunk's score. Numbers, or arrays of them."""
    return idf * frequency * (K1 + 1) / (frequency + K1 * (1 - B + B * length / average))


@dataclass(frozen=True, slots=True)
class List:
    """In which chunks of one segment a word stands, and how often."""

    segment: int
    """The segment's number in the row of them, from 0."""
    positions: bytes
    frequencies: bytes


class Scores:
    """The scores of a project's chunks, word by word."""

    def __init__(self, lengths: Sequence[bytes], average: float) -> None:
        """`lengths` are those of each segment's chunks in words, two bytes each; `average` is of them all."""
        self._lengths = np.frombuffer(b"".join(lengths), ">i2")
        self._starts = np.cumsum([0, *(len(one) // 2 for one in lengths)])
        self._average = average
        self._scores = np.zeros(len(self._lengths))
        self._met: dict[str, Any] = {}

    def add(self, lexeme: str, idf: float, lists: Sequence[List]) -> None:
        """Add a word's weight to all chunks that hold it. `lists` in the order of their segments."""
        counts = [len(one.frequencies) for one in lists]
        places = np.frombuffer(b"".join(one.positions for one in lists), ">i2").astype(np.intp)
        places += np.repeat(self._starts[[one.segment for one in lists]], counts)
        frequencies = np.frombuffer(b"".join(one.frequencies for one in lists), np.uint8).astype(float)
        self._scores[places] += weight(idf, frequencies, self._lengths[places], self._average)
        self._met[lexeme] = places

    def best(self, limit: int) -> Any:
        """The places of the `limit` best chunks, best first, and of those as good as the last of them."""
        worst = 0.0
        # The rarest words' lists alone tell what score the best have at least: few of a million chunks remain.
        for met in sorted(self._met.values(), key=len):
            if len(met) >= limit:
                worst = _nth_best(self._scores[met], limit)
                break
        places = np.flatnonzero(self._scores >= worst if worst else self._scores)
        if len(places) > limit:
            places = places[self._scores[places] >= _nth_best(self._scores[places], limit)]
        return places[np.argsort(-self._scores[places], kind="stable")]

    def scores(self, places: Any) -> list[float]:
        found: list[float] = self._scores[places].tolist()
        return found

    def segments(self, places: Any) -> tuple[list[int], list[int]]:
        """The number of each place's segment, and the place within that."""
        segments = np.searchsorted(self._starts, places, side="right") - 1
        return segments.tolist(), (places - self._starts[segments]).tolist()

    def lexemes(self, places: Any) -> list[list[str]]:
        """Which words each of the places holds."""
        found: list[list[str]] = [[] for _ in places]
        for lexeme, met in self._met.items():
            at = np.minimum(np.searchsorted(met, places), len(met) - 1)
            for number in np.flatnonzero(met[at] == places):
                found[number].append(lexeme)
        return found


def _nth_best(scores: Any, number: int) -> float:
    return float(np.partition(scores, len(scores) - number)[len(scores) - number])
