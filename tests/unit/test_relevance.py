"""What of an answer is worth showing."""

from __future__ import annotations

from datetime import UTC, datetime

from agent_memory.observations.embed import LOCAL_NAME
from agent_memory.recall import relevance
from agent_memory.recall.fusion import Ranked


def one(number: int, *, cosine: float | None = None, coverage: float = 0.0, score: float = 0.5) -> Ranked:
    return Ranked(
        observation_id=number,
        occurred_at=datetime(2026, 3, 1, tzinfo=UTC),
        score=score,
        chunks=[number],
        legs={},
        coverage=coverage,
        cosine=cosine,
    )


def shown(
    *ranked: Ranked, places: dict[int, tuple[str, int]] | None = None, model: str = LOCAL_NAME
) -> list[int]:
    return [found.observation_id for found in relevance.speaking(ranked, places or {}, model)]


def test_a_hit_is_shown_for_its_meaning_or_its_words() -> None:
    assert shown(one(1, cosine=0.7), one(2, cosine=0.1), one(3, cosine=0.1, coverage=0.4)) == [1, 3]


def test_a_hit_is_shown_where_what_answers_stands_near_it_in_its_session() -> None:
    found = (one(1, cosine=0.7), one(2, cosine=0.1), one(3, cosine=0.1), one(4, cosine=0.1))
    places = {1: ("a", 5), 2: ("a", 7), 3: ("a", 8), 4: ("b", 5)}
    assert shown(*found, places=places) == [1, 2]
    assert shown(one(1, cosine=0.3), one(2, cosine=0.1), places=places) == [1]  # it answers nothing itself


def test_without_a_vector_or_a_model_that_was_measured_the_score_decides() -> None:
    assert shown(one(1, score=1.0), one(2, score=0.1)) == [1]
    assert shown(one(1, cosine=0.8, score=1.0), one(2, cosine=0.7, score=0.1), model="other") == [1]


def test_what_is_shown_has_a_score() -> None:
    """The farthest of a small project is measured as nothing, near as it may be."""
    (found,) = relevance.speaking([one(1, cosine=0.6, score=0.0)], {}, LOCAL_NAME)
    assert found.score > 0.005
