"""Finding forgotten passages in a text, with nothing known of them but hashes.

Of each passage the length, 16 bits of a hash of its first characters, and a hash of all of it are known. The first
is rolled over a text in one pass, and where it meets, the second decides.
"""

from __future__ import annotations

from collections.abc import Sequence

from agent_memory.journal import folding, tombstones
from agent_memory.journal.tombstones import Key

SHORTEST, SHORTEST_UNSPACED = 3, 2
"""Characters of a passage, folded, and where words have no spaces between. A shorter one would be in every text."""
_BEGINNING = 8
CUT = "[forgotten]"


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
    """16 bits for each `length` characters of a text, from every place on."""
    import numpy as np

    factor = np.uint64(int.from_bytes(secret[:8], "little") | 1)
    mix = np.uint64(int.from_bytes(secret[8:16], "little") | 1)
    codes = np.frombuffer(text.encode("utf-32-le", "replace"), np.uint32).astype(np.uint64)
    count = len(codes) - length + 1
    hashes = np.zeros(count, np.uint64)
    with np.errstate(over="ignore"):
        for n in range(length):
            hashes = hashes * factor + codes[n : n + count]
        return (hashes * mix) >> np.uint64(48)
