"""How near to each other a query's words stand."""

from __future__ import annotations

from typing import Any

import pytest

from agent_memory.recall.proximity import nearness


def row(chunk: int, **matched: float) -> dict[str, Any]:
    return {
        "chunk_id": chunk,
        "lexemes": list(matched),
        "rarities": list(matched.values()),
        "asked": 6.0,
    }


TEXT = [row(1, rate=1.0, limit=2.0, api=3.0), row(2, rate=1.0, limit=2.0)]


def test_a_pair_counts_where_its_words_follow_each_other_closely() -> None:
    positions = {1: {"rate": [4], "limit": [5], "api": [40]}, 2: {"rate": [1], "limit": [30]}}
    assert nearness(["rate", "limit", "api"], TEXT, positions) == {1: pytest.approx(3 / 8)}


def test_the_order_of_the_words_counts() -> None:
    assert nearness(["rate", "limit"], TEXT, {1: {"rate": [6], "limit": [4]}}) == {}


def test_any_of_a_words_places_will_do() -> None:
    assert nearness(["rate", "limit"], TEXT, {1: {"rate": [1, 50], "limit": [20, 53]}}) == {1: 1.0}


def test_a_pair_with_a_word_that_nothing_holds_counts_against() -> None:
    found = nearness(
        ["rate", "limit", "moon"], [row(1, rate=1.0, limit=2.0)], {1: {"rate": [1], "limit": [2]}}
    )
    assert found == {1: pytest.approx(3 / 8)}


def test_one_word_has_no_neighbours() -> None:
    assert nearness(["rate"], TEXT, {1: {"rate": [1]}}) == {}
    assert nearness([], [], {}) == {}
