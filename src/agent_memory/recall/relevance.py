"""Whether what was found answers the question at all: nothing relevant gives an empty answer. Pure.

Calibrated on the development half of bench/coding (169 questions with an answer in store, 90 without, near
misses among them): each threshold is the highest that keeps 95 % of the answered ones. What it does to
the other half, and what else was tried, is in docs/recall.md.
"""

from __future__ import annotations

from collections.abc import Sequence

from agent_memory.observations.embed import LOCAL_NAME
from agent_memory.recall.fusion import Ranked

LOOKED_AT = 3
"""Observations, the best first. The answer is not always the first."""
COVERAGE_WEIGHT = 0.5
"""What holding all of the query's words is worth beside the cosine. From 0.3 to 1 separates about equally."""
ENOUGH = 0.424
"""Cosine plus weighted coverage. Questions about something else mostly reach 0.2 to 0.5, answered ones 0.5 to
1.2."""
ENOUGH_WORDS = 0.184
"""Coverage alone, where there are no vectors: much less certain, so it only refuses what shares next to
nothing."""
_CALIBRATED = frozenset({LOCAL_NAME})  # the cosines of other models lie elsewhere: nomic's seldom below 0.4


def certainty(one: Ranked, model: str | None) -> float | None:
    """How surely an observation answers: cosine plus weighted coverage, comparable across questions. None where it
    cannot be told: without a vector, or with one of a model that was not calibrated."""
    if one.cosine is None or model not in _CALIBRATED:
        return None
    return one.cosine + COVERAGE_WEIGHT * one.coverage


def relevant(ranked: Sequence[Ranked], model: str | None) -> bool:
    """Whether one of the first observations answers. `model` made the cosines; of one that was not calibrated
    only the words are judged."""
    return any(
        one.coverage >= ENOUGH_WORDS
        if one.cosine is None or model not in _CALIBRATED
        else one.cosine + COVERAGE_WEIGHT * one.coverage >= ENOUGH
        for one in ranked[:LOOKED_AT]
    )
