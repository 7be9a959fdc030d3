"""Finding forgotten passages in a text, with nothing known of them but hashes.

Of each passage the length, 16 bits of a hash of its first characters, and a hash of all of it are known. The first
is rolled over a text in one pass, and where it meets, the second decides.
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterable, Iterator, Sequence

from agent_memory.journal import folding, tombstones
from agent_memory.journal.tombstones import Key

SHORTEST, SHORTEST_UNSPACED = 3, 2
"""Characters of a passage, folded, and where words have no spaces between. A shorter one would be in every text."""
_BEGINNING = 8
CUT = "[forgotten]"
_AT_ONCE = 32_768
"""Characters: the numbers made of so many stay in a processor's cache."""
_BETWEEN = "\n"
"""Stands in no folded text, and so in no passage."""


def passage_key(secret: bytes, passage: str, project_id: int | None) -> Key:
    """The key of a folded passage."""
    (beginning,) = _hashes(secret, passage[:_BEGINNING], len(passage[:_BEGINNING]))
    return Key(
        kind="passage",
        key=tombstones.key(secret, "passage", passage),
        project_id=project_id,
        length=len(passage),
        beginning=int(beginning),
    )


def long_enough(passage: str) -> bool:
    """Whether a folded passage says something."""
    return len(passage) >= (SHORTEST_UNSPACED if folding.unspaced(passage) else SHORTEST)


def holding(texts: Iterable[str], secret: bytes, keys: Sequence[Key]) -> set[str]:
    """Those of the texts in which one of the passages stands. Short ones are looked through together: each look costs
    more than a short text does."""
    shortest = min((one.length or 0 for one in keys), default=0)
    found: set[str] = set()
    for several in _together(texts, shortest):
        ends = list(itertools.accumulate(len(folded) + len(_BETWEEN) for _, folded in several))
        joined = _BETWEEN.join(folded for _, folded in several)
        found.update(several[bisect.bisect(ends, start)][0] for start, _ in spans(joined, secret, keys))
    return found


def _together(texts: Iterable[str], shortest: int) -> Iterator[list[tuple[str, str]]]:
    """The texts that differ and are long enough, each with its folded form, in portions."""
    several: list[tuple[str, str]] = []
    chars = 0
    for text in dict.fromkeys(texts):
        folded = folding.fold(text)
        if len(folded) < shortest:
            continue
        if several and chars + len(folded) > _AT_ONCE:
            yield several
            several, chars = [], 0
        several.append((text, folded))
        chars += len(folded)
    if several:
        yield several


def without(text: str, secret: bytes, keys: Sequence[Key]) -> str:
    """`text` with a mark in the place of each of the passages; itself where there is none."""
    folded = folding.fold(text)
    if not spans(folded, secret, keys):
        return text
    folded, parts = folding.places(text)
    found = spans(folded, secret, keys)
    if not found:
        return CUT  # the folding of the whole crosses words: what exactly to cut is not known
    kept: list[str] = []
    end = 0
    for start, stop in found:
        kept += [text[end : max(end, parts[start][0])], CUT]
        end = max(end, parts[stop - 1][1])
    return "".join([*kept, text[end:]])


def spans(folded: str, secret: bytes, keys: Sequence[Key]) -> list[tuple[int, int]]:
    """Where the passages stand in a folded text, in order, none within another."""
    import numpy as np

    found: list[tuple[int, int]] = []
    lengths = {min(one.length or 0, _BEGINNING) for one in keys}
    for length in lengths:
        if not 0 < length <= len(folded):
            continue
        mine = [one for one in keys if min(one.length or 0, _BEGINNING) == length]
        hashes = _hashes(secret, folded, length)
        wanted = np.array([one.beginning for one in mine], dtype=np.uint64)
        for start in np.nonzero(np.isin(hashes, wanted))[0].tolist():
            for one in mine:
                end = start + (one.length or 0)
                if (
                    one.beginning == hashes[start]
                    and end <= len(folded)
                    and folding.whole_words(folded, start, end)
                    and tombstones.key(secret, "passage", folded[start:end]) == one.key
                ):
                    found.append((start, end))
    merged: list[tuple[int, int]] = []
    for start, end in sorted(found):
        if merged and start < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return merged


def _hashes(secret: bytes, text: str, length: int):  # type: ignore[no-untyped-def]  # numpy loads at the first use
    """16 bits for each `length` characters of a text, from every place on: of the polynomial of their codes in a factor
    that is part of the secret. That of several characters is made of those of its halves, the odd one first."""
    import numpy as np

    factor = int.from_bytes(secret[:8], "little") | 1
    mix = np.uint64(int.from_bytes(secret[8:16], "little") | 1)
    if text.isascii():
        codes = np.frombuffer(text.encode("ascii"), np.uint8).astype(np.uint64)
    else:
        codes = np.frombuffer(text.encode("utf-32-le", "replace"), np.uint32).astype(np.uint64)

    def polynomials(length: int):  # type: ignore[no-untyped-def]
        if length == 1:
            return codes
        half = length // 2
        halves = polynomials(half)
        count = len(codes) - length + 1
        made = halves[length % 2 : length % 2 + count] * np.uint64(pow(factor, half, 1 << 64))
        made += halves[length - half :][:count]
        if length % 2:
            made += codes[:count] * np.uint64(pow(factor, length - 1, 1 << 64))
        return made

    with np.errstate(over="ignore"):
        hashes = polynomials(length) * mix
    hashes >>= np.uint64(48)
    return hashes
