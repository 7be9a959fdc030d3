"""Two ranked lists of chunks to one ranked list of observations. Pure.

Each leg's scores are brought to 0…1 and added by weight. Reciprocal ranks with k = 60 are not used: they
flatten so far that a chunk at place 30 in both lists beats the first of one, which on LoCoMo made the
fusion worse than its text leg alone (session R@5 .853 against .883; this one .896).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

TEXT_WEIGHT = 0.6
VECTOR_WEIGHT = 0.4
MOST = 100
"""Observations that are worth telling of: twice what a caller may ask for."""
USER_BOOST = 1.1
"""For what the user said: 79 % of the evidence in BEAM's coding chats is the user's own words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """An observation with what the legs say for it. Its best chunk stands for it."""

    observation_id: int
    score: float
    chunks: Sequence[int]
    """Its chunks that were found, best first."""
    legs: Mapping[str, Mapping[str, Any]]
    coverage: float
    """The share of the query's words, weighted by their rarity, that its found chunks hold together."""
    cosine: float | None
    """The highest of its chunks, or None without vectors."""


def fuse(
    text: Sequence[Mapping[str, Any]], vector: Sequence[Mapping[str, Any]], *, limit: int
) -> list[Ranked]:
    """The first observations of both legs' chunks, best first; of equal ones the newest first.

    `text` and `vector` are the legs as recall/store.py gives them, best first; `limit` is how many each
    was asked for, `vector` empty where there are no vectors.
    """
    rows = {row["chunk_id"]: row for row in (*vector, *text)}
    words = _to_unit([(row["chunk_id"], row["score"]) for row in text], full=len(text) >= limit)
    nearness = _to_unit([(row["chunk_id"], row["cosine"]) for row in vector], full=True)
    scores = {
        chunk: _fused(words.get(chunk, 0.0), nearness.get(chunk))
        * (USER_BOOST if row["role"] == "user" else 1.0)
        for chunk, row in rows.items()
    }
    text_rank = {row["chunk_id"]: rank for rank, row in enumerate(text, start=1)}
    vector_rank = {row["chunk_id"]: rank for rank, row in enumerate(vector, start=1)}
    cosines = {row["chunk_id"]: float(row["cosine"]) for row in vector}

    owned: dict[int, list[int]] = {}
    for chunk in sorted(rows, key=lambda chunk: (-scores[chunk], -chunk)):
        owned.setdefault(rows[chunk]["observation_id"], []).append(chunk)
    # The best first; of equal ones the newest, which a stable sort in two steps gives.
    order = sorted(owned, key=lambda number: (rows[owned[number][0]]["occurred_at"], number), reverse=True)
    order.sort(key=lambda number: round(scores[owned[number][0]], 4), reverse=True)

    ranked = []
    for number in order[:MOST]:
        best = owned[number][0]
        found = [rows[chunk] for chunk in owned[number] if chunk in text_rank]
        matched = {
            lexeme: rarity
            for row in found
            for lexeme, rarity in zip(row["lexemes"], row["rarities"], strict=True)
        }
        legs: dict[str, Mapping[str, Any]] = {}
        if best in text_rank:
            score = round(float(rows[best]["score"]), 3)
            legs["text"] = {"rank": text_rank[best], "score": score, "words": sorted(rows[best]["lexemes"])}
        if best in vector_rank:
            legs["vector"] = {"rank": vector_rank[best], "score": round(cosines[best], 3)}
        ranked.append(
            Ranked(
                observation_id=number,
                score=round(scores[best], 4),
                chunks=owned[number],
                legs=legs,
                coverage=sum(matched.values()) / text[0]["asked"] if matched else 0.0,
                cosine=max((cosines[chunk] for chunk in owned[number] if chunk in cosines), default=None),
            )
        )
    return ranked


def _to_unit(scored: Sequence[tuple[int, float]], *, full: bool) -> dict[int, float]:
    """Scores as shares of the best. The floor is the worst that was asked for, or 0 where all that match
    are here: what is absent then scored no more."""
    if not scored:
        return {}
    values = [score for _, score in scored]
    high = max(values)
    low = min(values) if full else 0.0
    span = high - low
    return {chunk: (score - low) / span if span > 0 else 1.0 for chunk, score in scored}


def _fused(words: float, nearness: float | None) -> float:
    """A chunk whose vector is not there, or not there yet, is judged by its words alone."""
    return words if nearness is None else TEXT_WEIGHT * words + VECTOR_WEIGHT * nearness
