"""How many rows a project may have, and which sessions are set apart."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as some

from agent_memory.finetune import near
from agent_memory.finetune.balance import _apart, most_each


@given(some.lists(some.integers(1, 400), min_size=1, max_size=12), some.floats(0.05, 1))
def test_no_project_keeps_more_than_its_share_and_none_loses_more_than_it_must(
    counts: list[int], share: float
) -> None:
    most = most_each(counts, share)
    if most:
        left = [min(n, most) for n in counts]
        assert max(left) <= share * sum(left) or math.isclose(max(left), share * sum(left))
    more = most + 1
    if more <= max(counts):
        assert more > share * sum(min(n, more) for n in counts)


def test_a_large_session_is_not_set_apart_where_small_ones_are_there() -> None:
    chosen = _apart({"large": 60, **{f"s{n}": 2 for n in range(20)}})
    assert "large" not in chosen
    assert 8 <= 2 * len(chosen) <= 12
    assert _apart({"only": 5}) == []


def test_texts_that_differ_in_a_word_are_near_and_others_are_not() -> None:
    text = " ".join(f"word{n}" for n in range(300))
    one, other, none = map(near.signature, (text, text + " more", " ".join(f"else{n}" for n in range(300))))
    assert near.likeness(one, other) >= near.ALIKE > near.likeness(one, none)
    assert set(near.bands(one)) & set(near.bands(other))
    assert not set(near.bands(one)) & set(near.bands(none))
