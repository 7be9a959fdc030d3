"""How much of each hit is shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_memory.recall import budget

LINES = [f"line {number} says something about part {number} of the house" for number in range(200)]
TEXT = "\n".join(LINES)


def test_a_text_that_fits_is_shown_whole() -> None:
    assert budget.excerpt("two words", ["words"], 9) == "two words"


def test_an_excerpt_holds_the_passage_and_says_that_something_is_missing_on_both_sides() -> None:
    passage = LINES[100]
    shown = budget.excerpt(TEXT, [passage], 400)
    assert passage in shown
    assert shown.startswith("…\n")
    assert shown.endswith("\n…")
    assert len(shown) <= 400


def test_an_excerpt_uses_its_room_for_what_surrounds_the_best_passage() -> None:
    shown = budget.excerpt(TEXT, [LINES[100]], 400)
    assert LINES[99] in shown
    assert LINES[101] in shown
    assert len(shown) > 300


def test_two_passages_stand_in_the_order_of_the_text_with_a_gap_between() -> None:
    shown = budget.excerpt(TEXT, [LINES[150], LINES[10]], 200)
    assert shown.index(LINES[10]) < shown.index("\n…\n", 5) < shown.index(LINES[150])


def test_neighbouring_passages_are_joined_without_a_gap() -> None:
    shown = budget.excerpt(TEXT, [LINES[10], LINES[11]], 130)
    assert f"{LINES[10]}\n{LINES[11]}" in shown


def test_a_passage_is_found_where_the_text_has_spaces_at_its_lines_ends() -> None:
    text = "first line  \nsecond line \nthird line\n" + "x" * 100
    assert "first line\nsecond line" in budget.excerpt(text, ["first line\nsecond line"], 40)


def test_a_passage_that_the_text_does_not_hold_is_shown_by_itself() -> None:
    assert budget.excerpt("y " * 100, ["a passage"], 50) == "a passage"


def test_without_a_passage_the_beginning_is_shown() -> None:
    assert budget.excerpt("one two three four", [""], 10) == "one two…"
    assert budget.excerpt("one two three four", [], 10) == "one two…"


def test_a_cut_falls_between_words() -> None:
    assert budget.cut("one two three", 10) == "one two…"
    assert budget.cut("one two three", 8) == "one two…"


def test_a_text_without_spaces_is_cut_anyway() -> None:
    assert budget.cut("x" * 50, 10) == "x" * 9 + "…"


def test_hits_that_do_not_fit_are_left_out_rather_than_cut() -> None:
    assert budget.allot([(10, 100, 100), (10, 100, 100), (10, 100, 100)], 250) == [100, 100]


def test_only_the_first_hit_may_be_cut() -> None:
    assert budget.allot([(10, 500, 500), (10, 5, 5)], 210) == [200]


def test_nothing_is_shown_where_not_even_a_stump_fits() -> None:
    assert budget.allot([(60, 500, 500)], 100) == []


def test_what_is_left_goes_to_the_first_hits() -> None:
    assert budget.allot([(0, 10, 1_000), (0, 10, 15), (0, 10, 1_000)], 130) == [83, 15, 32]


@given(
    st.lists(
        st.tuples(st.integers(0, 200), st.integers(1, 1_500), st.integers(1, 9_000)).map(
            lambda need: (need[0], min(need[1], need[2]), need[2])
        ),
        max_size=8,
    ),
    st.integers(-50, 10_000),
)
def test_allotments_and_their_overheads_never_exceed_the_budget(
    needs: list[tuple[int, int, int]], chars: int
) -> None:
    allotted = budget.allot(needs, chars)
    spent = sum(overhead + size for (overhead, _, _), size in zip(needs, allotted, strict=False))
    assert spent <= max(0, chars)
    assert all(size <= whole for (_, _, whole), size in zip(needs, allotted, strict=False))


@given(st.text(alphabet="ab \n.…", max_size=400), st.data())
def test_an_excerpt_is_never_longer_than_its_limit(text: str, data: st.DataObject) -> None:
    spans = data.draw(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 400)), max_size=4))
    passages = [text[min(span) : max(span)] for span in spans]
    limit = data.draw(st.integers(0, 450))
    assert len(budget.excerpt(text, passages, limit)) <= limit


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("rename the branch", 5),
        ("getUserName", 3),
        ("d41d8cd9", 6),
        ("セッション", 5),
        ("", 0),
        ("a == 1", 4),
    ],
)
def test_tokens_are_guessed_by_pieces_of_words(text: str, tokens: int) -> None:
    assert budget.tokens(text) == tokens


@given(st.text(max_size=200), st.integers(0, 40))
def test_what_is_within_some_tokens_is_not_more(text: str, most: int) -> None:
    shown = budget.within(text, most)
    assert budget.tokens(shown) <= most
    assert shown == text or budget.tokens(text) > most
