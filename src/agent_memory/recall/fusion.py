"""Two ranked lists of chunks to one ranked list of observations. Pure.

Each leg's scores are brought to 0…1 and added by weight. Reciprocal ranks with k = 60 are not used: they
flatten so far that a chunk at place 30 in both lists beats the first of one, which on LoCoMo made the
fusion worse than its text leg alone. What each weight here brings: docs/recall.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

TEXT_WEIGHT = 0.6
VECTOR_WEIGHT = 0.4
MOST = 100
"""Observations that are worth telling of: twice what a caller may ask for."""
PROXIMITY_WEIGHT = 0.3
"""For a chunk that holds all neighbouring words of the query as neighbours."""
COVERAGE_WEIGHT = 0.15
"""For an observation whose chunks together hold all words of the query."""
NEIGHBOUR_WEIGHTS = (0.2, 0.1)
"""Of an observation's score, what those next to it in its session get, and those after next: a turn is often answered
by the one before, and said again in the one after."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """An observation with what the legs say for it. Its best chunk stands for it."""

    observation_id: int
    occurred_at: datetime
    score: float
    chunks: Sequence[int]
    """Its chunks that were found, best first."""
    legs: Mapping[str, Mapping[str, Any]]
    coverage: float
    """The share of the query's words, weighted by their rarity, that its found chunks hold together."""
    cosine: float | None
    """The highest of its chunks, or None without vectors."""


def fuse(
    text: Sequence[Mapping[str, Any]],
    vector: Sequence[Mapping[str, Any]],
    nearness: Mapping[int, float] | None = None,
) -> list[Ranked]:
    """The first observations of both legs' chunks, best first; of equal ones the newest first.

    `text` and `vector` are the legs as recall/store.py gives them, best first, `vector` empty where there are no
    vectors; `nearness` says of a chunk how near to each other the query's words stand in it, 0 to 1.
    """
    rows = {row["chunk_id"]: row for row in (*vector, *text)}
    words = _to_unit([(row["chunk_id"], row["score"]) for row in text], low=0.0)
    likeness = _to_unit(
        [(row["chunk_id"], row["cosine"]) for row in vector],
        low=min((row["cosine"] for row in vector), default=0.0),
    )
    near = nearness or {}
    scores = {
        chunk: _fused(words.get(chunk, 0.0), likeness.get(chunk)) + PROXIMITY_WEIGHT * near.get(chunk, 0.0)
        for chunk in rows
    }
    text_rank = {row["chunk_id"]: rank for rank, row in enumerate(text, start=1)}
    vector_rank = {row["chunk_id"]: rank for rank, row in enumerate(vector, start=1)}
    cosines = {row["chunk_id"]: float(row["cosine"]) for row in vector}

    owned: dict[int, list[int]] = {}
    for chunk in sorted(rows, key=lambda chunk: (-scores[chunk], -chunk)):
        owned.setdefault(rows[chunk]["observation_id"], []).append(chunk)
    scored = []
    for number, chunks in owned.items():
        matched: dict[str, float] = {}
        for chunk in chunks:
            if chunk in text_rank:
                matched.update(zip(rows[chunk]["lexemes"], rows[chunk]["rarities"], strict=True))
        coverage = sum(matched.values()) / text[0]["asked"] if matched else 0.0
        best = chunks[0]
        score = round(scores[best] + COVERAGE_WEIGHT * coverage, 4)
        scored.append((score, rows[best]["occurred_at"], number, coverage))
    scored.sort(reverse=True)

    ranked = []
    for score, occurred_at, number, coverage in scored[:MOST]:
        chunks = owned[number]
        best = chunks[0]
        legs: dict[str, Mapping[str, Any]] = {}
        if best in text_rank:
            points = round(float(rows[best]["score"]), 3)
            legs["text"] = {"rank": text_rank[best], "score": points, "words": sorted(rows[best]["lexemes"])}
        if best in vector_rank:
            legs["vector"] = {"rank": vector_rank[best], "score": round(cosines[best], 3)}
        ranked.append(
            Ranked(
                observation_id=number,
                occurred_at=occurred_at,
                score=score,
                chunks=chunks,
                legs=legs,
                coverage=coverage,
                cosine=max((cosines[chunk] for chunk in chunks if chunk in cosines), default=None),
            )
        )
    return ranked


def with_neighbours(ranked: Sequence[Ranked], places: Mapping[int, tuple[str, int]]) -> list[Ranked]:
    """The same observations in the order that they have where each gives a share of its score to those around it in
    its session. `places` says which session an observation is in, and as the how manieth; those in none are not in it.
    """
    scores = {places[one.observation_id]: one.score for one in ranked if one.observation_id in places}
    lifted = []
    for one in ranked:
        more = 0.0
        if one.observation_id in places:
            session, place = places[one.observation_id]
            for step, weight in enumerate(NEIGHBOUR_WEIGHTS, start=1):
                around = (scores.get((session, place - step), 0.0), scores.get((session, place + step), 0.0))
                more += weight * sum(around)
        lifted.append(replace(one, score=round(one.score + more, 4)))
    return sorted(lifted, key=lambda one: (one.score, one.occurred_at, one.observation_id), reverse=True)


def _to_unit(scored: Sequence[tuple[int, float]], *, low: float) -> dict[int, float]:
    """Scores as shares of the way from `low` to the best."""
    span = max((score for _, score in scored), default=low) - low
    return {chunk: (score - low) / span if span > 0 else 1.0 for chunk, score in scored}


def _fused(words: float, nearness: float | None) -> float:
    """A chunk whose vector is not there, or not there yet, is judged by its words alone."""
    return words if nearness is None else TEXT_WEIGHT * words + VECTOR_WEIGHT * nearness
