"""Which rows are nearly the same: MinHash signatures of their words, and the bands by which like ones meet."""

from __future__ import annotations

import array
from collections.abc import Iterator

PERMUTATIONS = 120
BANDS = 20
ALIKE = 0.8
"""Of two texts' runs of five words, the share that both have (estimated) from which they are nearly the same."""
_RUN = 5
_SEED = 20


def signature(text: str) -> bytes:
    import rensa

    words = text.split()
    runs = {" ".join(words[n : n + _RUN]) for n in range(max(len(words) - _RUN + 1, 1))}
    made = rensa.RMinHash(PERMUTATIONS, _SEED)
    made.update(list(runs))
    return array.array("I", made.digest()).tobytes()


def bands(signature: bytes) -> Iterator[bytes]:
    """Two that are alike have one of these in common, nearly certainly."""
    width = len(signature) // BANDS
    for n in range(BANDS):
        yield bytes([n]) + signature[n * width : (n + 1) * width]


def likeness(one: bytes, other: bytes) -> float:
    """The estimated share of runs that both have."""
    mine, its = array.array("I", one), array.array("I", other)
    return sum(a == b for a, b in zip(mine, its, strict=True)) / len(mine)
