"""Texts that look the same fold to the same, and others do not."""

from __future__ import annotations

import random
import re
import string
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_memory.journal import folding, passages
from agent_memory.journal.folding import fold
from agent_memory.journal.tombstones import Key

SECRET = b"0123456789abcdef0123456789abcdef"
LOOK_ALIKES = {
    **dict(zip("aceijopsxy", "асеіјорѕху", strict=True)),
    **dict(zip("ABEHKMOPTX", "АВЕНКМОРТХ", strict=True)),
    "v": "ν",
    "o": "ο",
    "d": "ԁ",
    "i": "ı",
    "N": "Ν",
    "Z": "Ζ",
}
WORDS = st.lists(
    st.text(string.ascii_letters + string.digits, min_size=1, max_size=12), min_size=1, max_size=12
)
SPACES = (" ", "  ", "\n", "\t", "\u00a0", "\u2003", " \r\n ", "\u200b ")


@st.composite
def variants(draw: st.DrawFn) -> tuple[str, str]:
    """A text and another that a person takes for the same."""
    words = draw(WORDS)
    rng = random.Random(draw(st.integers()))

    def other(letter: str) -> str:
        shape = rng.randrange(6)
        if shape == 0 and letter in LOOK_ALIKES:
            return LOOK_ALIKES[letter]
        if shape == 1:
            return letter.upper()
        if shape == 2:
            return letter.lower()
        if shape == 3 and letter.isascii():
            return chr(ord(letter) + 0xFEE0)  # full width
        if shape == 4:
            return letter + rng.choice(("\u200b", "\u00ad", "\ufe0f", "\u2060"))
        return letter

    def run(met: re.Match[str]) -> str:
        # A look-alike stands among Latin letters: a run that is all of another script is a word of that script.
        changed = "".join(map(other, met[0]))
        return changed if re.search("[A-Za-z]", unicodedata.normalize("NFKC", changed)) else met[0]

    changed = [re.sub("[A-Za-z]+", run, word) for word in words]
    return " ".join(words), rng.choice(SPACES).join(changed) + rng.choice(("", " ", "\n"))


@settings(deadline=None)
@given(variants())
def test_another_case_other_spaces_and_look_alikes_are_the_same_text(pair: tuple[str, str]) -> None:
    text, variant = pair
    assert fold(text) == fold(variant)


@settings(deadline=None)
@given(WORDS, WORDS)
def test_different_words_stay_different(one: list[str], other: list[str]) -> None:
    same = [word.lower() for word in one] == [word.lower() for word in other]
    assert (fold(" ".join(one)) == fold(" ".join(other))) is same


@settings(deadline=None)
@given(st.text())
def test_folding_twice_changes_nothing(text: str) -> None:
    assert fold(fold(text)) == fold(text)


@settings(deadline=None)
@given(st.text())
def test_case_and_composition_do_not_count_in_any_script(text: str) -> None:
    once = fold(text)
    assert fold(unicodedata.normalize("NFD", text)) == once
    assert fold(unicodedata.normalize("NFC", text)) == once


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ВОТ ТАК", "вот так"),
        ("ΝΑΙ", "ναι"),
        ("ПАРОЛЬ zebra", "пароль ZEBRA"),
        ("STRASSE", "straße"),
        ("数据库 連線", "数据\n库連線"),
        ("ﬁne", "FINE"),
        ("СОСО", "coco"),
    ],
)
def test_scripts_keep_their_case_pairs(one: str, other: str) -> None:
    assert fold(one) == fold(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("modern", "modem"),
        ("port 10", "port lO"),
        ("O0", "OO"),
        ("résumé", "resume"),
        ("now here", "nowhere"),
        ("кот", "ток"),
        ("ναι", "ναί"),
        ("كتاب", "كاتب"),
    ],
)
def test_what_only_a_font_confuses_stays_apart(one: str, other: str) -> None:
    assert fold(one) != fold(other)


@settings(deadline=None)
@given(st.text(min_size=1, max_size=200))
def test_the_places_of_a_folded_text_lie_in_the_text_and_in_order(text: str) -> None:
    folded, parts = folding.places(text)
    assert len(folded) == len(parts)
    assert all(0 <= start <= end <= len(text) for start, end in parts)
    assert [start for start, _ in parts] == sorted(start for start, _ in parts)


def key(passage: str) -> Key:
    return passages.passage_key(SECRET, fold(passage), None)


@settings(deadline=None)
@given(WORDS, variants(), WORDS)
def test_a_passage_is_cut_out_wherever_and_however_it_stands(
    before: list[str], pair: tuple[str, str], after: list[str]
) -> None:
    passage, variant = pair
    if len(fold(passage)) < passages.SHORTEST:
        return
    text = f"{' '.join(before)} {variant} {' '.join(after)}"
    left = passages.without(text, SECRET, [key(passage)])
    assert passages.CUT in left
    assert not list(folding.find(fold(left), fold(passage)))
    assert passages.without(text, SECRET, []) == text


def test_only_the_passage_goes_and_only_whole_words_are_met() -> None:
    keys = [key("the Heron"), key("库連")]
    text = "Look: THE  hеrоn! But the herons stay."
    assert passages.without(text, SECRET, keys) == "Look: [forgotten]! But the herons stay."
    assert passages.without("数据库連線", SECRET, keys) == "数据[forgotten]線"
    assert passages.without("nothing of it", SECRET, keys) == "nothing of it"


def test_a_key_of_a_passage_does_not_hold_it() -> None:
    made = key("The heron nests behind the lighthouse")
    assert "heron" not in repr(made)
    assert made.beginning is not None
    assert 0 <= made.beginning < 1 << 16


@settings(deadline=None)
@given(
    st.lists(st.text("abC é\n库連\u200b.", max_size=40), max_size=12),
    st.lists(st.text("abC é库連.", max_size=14)),
)
def test_many_texts_at_once_tell_what_each_tells_alone(texts: list[str], forgotten: list[str]) -> None:
    keys = [key(one) for one in forgotten if len(fold(one)) >= passages.SHORTEST_UNSPACED]
    held = {text for text in texts if passages.spans(fold(text), SECRET, keys)}
    assert passages.holding(texts, SECRET, keys) == held


def test_a_passage_in_one_of_very_many_texts_is_met() -> None:
    texts = [f"{n} {'the heron flies off ' * 50}" for n in range(100)]
    texts[70] += "The HERON\nnests. Here."
    assert passages.holding(texts, SECRET, [key("the heron nests")]) == {texts[70]}


@pytest.mark.parametrize(
    ("passage", "beginning"), [("the heron nests", 50428), ("数据库連線", 4435), ("abc", 36081)]
)
def test_a_passage_forgotten_by_an_earlier_version_keeps_its_key(passage: str, beginning: int) -> None:
    assert key(passage).beginning == beginning
