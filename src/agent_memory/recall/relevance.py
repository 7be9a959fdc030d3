"""Whether what was found answers the question at all, and what of it is worth showing: nothing relevant gives an empty
answer. Pure.

Calibrated on the development half of bench/coding (169 questions with an answer in store, 90 without, near
misses among them): each threshold of an answer is the highest that keeps 95 % of the answered ones; that of a hit
lets all of their evidence through. What it does to the other half, and what else was tried, is in docs/recall.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from agent_memory.observations.embed import LOCAL_NAME
from agent_memory.recall.fusion import NEIGHBOUR_WEIGHTS, Ranked

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
SPEAKS = 0.2
"""Of a single hit: its certainty, or, where that cannot be told, its score. Two texts about different things mostly
stay below. From 0 to 0.25 no evidence of dev is lost, and the hits become ever fewer."""
LEAST_SCORE = 0.01
"""Of a hit that is shown. The farthest of the vector leg has none by its measure, and may be near all the same."""
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


def speaking(
    ranked: Sequence[Ranked], places: Mapping[int, tuple[str, int]], model: str | None
) -> list[Ranked]:
    """Those for which something speaks: what they say themselves, or that what answers stands around them in their
    session. `places` as in `fusion.with_neighbours`."""
    sure = {one.observation_id: certainty(one, model) for one in ranked}
    answering = {
        places[number]
        for number, how in sure.items()
        if number in places and how is not None and how >= ENOUGH
    }
    steps = [step for step in range(-len(NEIGHBOUR_WEIGHTS), len(NEIGHBOUR_WEIGHTS) + 1) if step]

    def speaks(one: Ranked) -> bool:
        own = sure[one.observation_id]
        if (one.score if own is None else own) >= SPEAKS:
            return True
        session, place = places.get(one.observation_id, ("", 0))
        return any((session, place + step) in answering for step in steps)

    return [replace(one, score=max(one.score, LEAST_SCORE)) for one in ranked if speaks(one)]
