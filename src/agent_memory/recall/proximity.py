"""How near to each other a query's words stand in a chunk. Pure.

"rate limit" is answered by a text about the rate limit rather than by one in which a rate and a limit occur. So each
pair of neighbouring words of the query counts, by its rarity, where a chunk has them in the same order and close by.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

WITHIN = 5
"""Words, stop words included, by which the second of a pair may follow the first."""


def nearness(
    query: Sequence[str],
    text: Sequence[Mapping[str, Any]],
    positions: Mapping[int, Mapping[str, Sequence[int]]],
) -> dict[int, float]:
    """For each chunk of the text leg, the share of the query's pairs that it holds, 0 to 1. Those with none are not
    in it.

    `query` are its stemmed words in order, `text` is the leg as recall/store.py gives it, `positions` says where in a
    chunk each of the words stands.
    """
    pairs = list(dict.fromkeys(itertools.pairwise(query)))
    if not pairs or not text:
        return {}
    rarity: dict[str, float] = {}
    for row in text:
        rarity.update(zip(row["lexemes"], row["rarities"], strict=True))
    # What no chunk holds is about as rare as what is left of the sum.
    unknown = [word for word in dict.fromkeys(query) if word not in rarity]
    left = max(0.0, text[0]["asked"] - sum(rarity.values()))
    rarity |= {word: left / len(unknown) for word in unknown}
    weighted = [(first, second, rarity[first] + rarity[second]) for first, second in pairs]
    whole = sum([weight for _, _, weight in weighted])
    found = {}
    for chunk, words in positions.items():
        held = sum(
            [
                weight
                for first, second, weight in weighted
                if first in words and second in words and _follows(words[first], words[second])
            ]
        )
        if held and whole:
            found[chunk] = held / whole
    return found


def _follows(first: Sequence[int], second: Sequence[int]) -> bool:
    for a in first:
        for b in second:  # by far most of the time that nearness takes: no generator
            if 0 < b - a <= WITHIN:
                return True
    return False
