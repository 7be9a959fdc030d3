"""Two ranked lists of chunks to one list of observations."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from agent_memory.observations.embed import LOCAL_NAME
from agent_memory.recall import fusion, relevance
from agent_memory.recall.fusion import Ranked


def text(chunk: int, score: float, *, of: int | None = None, **more: Any) -> dict[str, Any]:
    matched: dict[str, float] = more.pop("matched", {"word": 1.0})
    return {
        **chunk_row(chunk, of, more),
        "score": score,
        "lexemes": list(matched),
        "rarities": list(matched.values()),
        "asked": 4.0,
    }


def vector(chunk: int, cosine: float, *, of: int | None = None, **more: Any) -> dict[str, Any]:
    return {**chunk_row(chunk, of, more), "cosine": cosine}


def chunk_row(chunk: int, of: int | None, more: dict[str, Any]) -> dict[str, Any]:
    return {
        "chunk_id": chunk,
        "observation_id": chunk if of is None else of,
        "role": more.get("role"),
        "occurred_at": datetime(2026, 1, more.get("day", 1), tzinfo=UTC),
    }


def order(ranked: list[Ranked]) -> list[int]:
    return [one.observation_id for one in ranked]


def test_the_first_of_one_leg_beats_the_middle_of_both() -> None:
    words = [text(number, 10 - number) for number in range(9)]
    near = [vector(8, 0.9), *(vector(number, 0.5 - number / 100) for number in range(1, 8))]
    assert order(fusion.fuse(words, near))[:2] == [0, 1]


def test_a_chunk_that_both_legs_found_beats_those_of_one_leg() -> None:
    near = [vector(2, 0.7), vector(3, 0.6), vector(1, 0.5)]
    ranked = fusion.fuse([text(1, 5), text(2, 4.9)], near)
    assert order(ranked)[0] == 2
    assert ranked[0].legs["text"]["rank"] == 2
    assert ranked[0].legs["vector"] == {"rank": 1, "score": 0.7}


def test_without_vectors_the_words_decide() -> None:
    ranked = fusion.fuse([text(1, 5, matched={}), text(2, 3, matched={})], [])
    assert [(one.observation_id, one.score, one.cosine) for one in ranked] == [(1, 1.0, None), (2, 0.6, None)]
    assert set(ranked[0].legs) == {"text"}


def test_a_chunk_that_is_not_embedded_yet_is_judged_by_its_words() -> None:
    ranked = fusion.fuse([text(9, 5), text(1, 4)], [vector(1, 0.9), vector(2, 0.1)])
    assert order(ranked) == [9, 1, 2]


def test_the_best_chunk_stands_for_its_observation() -> None:
    rows = [text(1, 9, of=7), text(2, 8, of=8), text(3, 7, of=7)]
    ranked = fusion.fuse(rows, [])
    assert order(ranked) == [7, 8]
    assert ranked[0].chunks == [1, 3]
    assert ranked[0].legs["text"]["rank"] == 1


def test_of_equal_ones_the_newest_is_first() -> None:
    rows = [text(3, 5, day=2), text(1, 5, day=9), text(2, 5, day=2)]
    assert order(fusion.fuse(rows, [])) == [1, 3, 2]


def test_the_words_are_measured_from_nothing_and_the_vectors_from_the_farthest() -> None:
    words = fusion.fuse([text(1, 5, matched={}), text(2, 4, matched={}), text(3, 3, matched={})], [])
    assert [one.score for one in words] == [1.0, 0.8, 0.6]
    near = fusion.fuse([], [vector(1, 0.9), vector(2, 0.7), vector(3, 0.5)])
    assert [one.score for one in near] == [0.4, 0.2, 0.0]


def test_coverage_is_what_an_observations_chunks_hold_together() -> None:
    rows = [text(1, 5, of=7, matched={"port": 1.0}), text(2, 4, of=7, matched={"redis": 2.0, "port": 1.0})]
    assert fusion.fuse(rows, [])[0].coverage == pytest.approx(0.75)


def test_nothing_found_gives_nothing() -> None:
    assert fusion.fuse([], []) == []
    assert not relevance.relevant([], LOCAL_NAME)


def one(number: int = 1, *, score: float = 1.0, coverage: float = 0.0, cosine: float | None = None) -> Ranked:
    return Ranked(
        observation_id=number,
        occurred_at=datetime(2026, 1, 1, tzinfo=UTC),
        score=score,
        chunks=[number],
        legs={},
        coverage=coverage,
        cosine=cosine,
    )


def test_words_that_stand_together_beat_the_same_words_apart() -> None:
    rows = [text(1, 5), text(2, 4.9)]
    assert order(fusion.fuse(rows, [], {2: 0.5})) == [2, 1]


def test_more_of_the_words_beat_fewer() -> None:
    rows = [text(1, 5, matched={"port": 1.0}), text(2, 4.9, matched={"port": 1.0, "redis": 2.0})]
    assert order(fusion.fuse(rows, [])) == [2, 1]


def test_what_stands_next_to_good_hits_in_a_session_is_lifted_and_others_are_not() -> None:
    ranked = [one(1, score=0.9), one(2, score=0.85), one(3, score=0.8), one(4, score=0.8)]
    places = {1: ("a", 9), 3: ("b", 4), 4: ("b", 5), 2: ("a", 1)}
    lifted = fusion.with_neighbours(ranked, places)
    assert order(lifted) == [4, 3, 1, 2]
    assert [found.score for found in lifted] == [0.96, 0.96, 0.9, 0.85]


def test_neighbours_after_next_count_half_and_a_session_of_its_own_has_none() -> None:
    lifted = fusion.with_neighbours([one(1), one(2, score=0.5), one(3)], {1: ("a", 1), 3: ("a", 3)})
    assert {found.observation_id: found.score for found in lifted} == {1: 1.1, 2: 0.5, 3: 1.1}


def test_many_of_the_words_or_a_near_vector_answer_and_a_little_of_both_does_not() -> None:
    assert relevance.relevant([one(coverage=0.9, cosine=0.1)], LOCAL_NAME)
    assert relevance.relevant([one(coverage=0.0, cosine=0.55)], LOCAL_NAME)
    assert not relevance.relevant([one(coverage=0.15, cosine=0.3)], LOCAL_NAME)


def test_without_a_calibrated_cosine_the_words_alone_are_judged() -> None:
    for model, cosine in (("nomic-embed-text", 0.7), (None, None), (LOCAL_NAME, None)):
        assert relevance.relevant([one(coverage=0.3, cosine=cosine)], model)
        assert not relevance.relevant([one(coverage=0.1, cosine=cosine)], model)


def test_an_answer_below_the_first_places_counts_and_one_far_below_does_not() -> None:
    poor, good = one(coverage=0.0, cosine=0.2), one(coverage=1.0, cosine=0.6)
    assert relevance.relevant([poor] * 2 + [good], LOCAL_NAME)
    assert not relevance.relevant([poor] * 3 + [good], LOCAL_NAME)
