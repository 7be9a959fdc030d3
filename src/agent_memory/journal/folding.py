"""Texts that a person takes for the same are the same here: case, white space, invisible characters, and letters that
look alike do not count. Pure functions.

Two foldings are at odds. Greek Ν looks like N and its small ν like v, so a table of look-alikes alone would part
ΝΑΙ from ναι. Hence a run of letters that has Latin ones in it (somebody put a look-alike into a Latin word) is read
by its looks, and any other is first put into small letters, of which each stands for what its capital looks like.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import cache, lru_cache

_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f"
    "\ufeff\uffa0\ufff0-\ufff8\U000e0000-\U000e0fff]"
)
_WORD = re.compile(r"\S+")
_LETTERS = re.compile(r"[^\W\d_]+")
_LATIN = re.compile("[A-Za-z]")
# Scripts that put no spaces between words: a line's end in them is no space either.
_UNSPACED = "\u3000-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_UNSPACED_LETTER = re.compile(f"[{_UNSPACED}]")
_NEXT_TO_UNSPACED = re.compile(f"(?<=[{_UNSPACED}]) | (?=[{_UNSPACED}])")
_IN_UNSPACED = re.compile(f"[{_UNSPACED}\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]")

# Of others (Arabic, Hebrew, …) several letters look like one Latin stroke: folding them would make words alike.
_SCRIPTS = frozenset(("LATIN", "GREEK", "CYRILLIC", "ARMENIAN", "CHEROKEE", "COPTIC", "LISU"))


def fold(text: str) -> str:
    """What two texts that look the same have in common: words with one space between them."""
    if text.isascii():
        return " ".join(text.lower().split())
    words = text.split()
    others = []
    for n, word in enumerate(words):
        if word.isascii():
            words[n] = word.lower()
        else:
            words[n] = _folded(word)
            others.append(words[n])
    joined = " ".join(filter(None, words))
    # Only there does a space depend on what is beside it, and such letters are few in most texts.
    return _NEXT_TO_UNSPACED.sub("", joined) if _UNSPACED_LETTER.search("".join(others)) else joined


def find(text: str, passage: str) -> Iterator[tuple[int, int]]:
    """Where a folded passage stands in a folded text, by whole words."""
    at = text.find(passage)
    while at >= 0:
        end = at + len(passage)
        if whole_words(text, at, end):
            yield at, end
        at = text.find(passage, at + 1)


def whole_words(text: str, start: int, end: int) -> bool:
    """Whether `text[start:end]` begins and ends where words do."""
    return _apart(text, start) and _apart(text, end)


def places(text: str) -> tuple[str, list[tuple[int, int]]]:
    """The folded text, and for each of its characters the part of the text that it stands for."""
    folded: list[str] = []
    parts: list[tuple[int, int]] = []
    for word in _WORD.finditer(text):
        shown = word[0].lower() if word[0].isascii() else _folded(word[0])
        if not shown:
            continue
        if folded:
            folded.append(" ")
            parts.append((parts[-1][1], word.start()))
        alike = len(shown) == len(word[0])
        folded += shown
        parts += [
            (word.start() + n, word.start() + n + 1) if alike else word.span() for n in range(len(shown))
        ]
    joined = "".join(folded)
    dropped = {met.start() for met in _NEXT_TO_UNSPACED.finditer(joined)}
    if dropped:
        parts = [part for n, part in enumerate(parts) if n not in dropped]
        joined = _NEXT_TO_UNSPACED.sub("", joined)
    return joined, parts


def unspaced(text: str) -> bool:
    """Whether it is in a script that puts no spaces between words."""
    return all(map(_IN_UNSPACED.match, text))


def _apart(text: str, at: int) -> bool:
    """Whether a word may begin or end at this place."""
    if at in (0, len(text)) or not (text[at - 1].isalnum() and text[at].isalnum()):
        return True
    return bool(_IN_UNSPACED.match(text[at - 1]) or _IN_UNSPACED.match(text[at]))


@lru_cache(maxsize=50_000)
def _folded(word: str) -> str:
    word = unicodedata.normalize("NFKC", _INVISIBLE.sub("", word))
    word = _LETTERS.sub(lambda run: _folded_run(run[0]), word)
    return " ".join(unicodedata.normalize("NFKC", word).split())


def _folded_run(run: str) -> str:
    if run.isascii():
        return run.lower()
    if _LATIN.search(run):
        run = run.translate(_looks())
    return run.casefold().translate(_as_capitals()).translate(_looks()).casefold()


@cache
def _looks() -> dict[int, str]:
    """Letters of other scripts that look like a Latin one."""
    from confusable_homoglyphs.confusables import confusables_data  # type: ignore[import-untyped]

    found = {}
    for one, alike in confusables_data.items():
        if len(one) != 1 or one.isascii() or not one.isalpha() or _script(one) not in _SCRIPTS:
            continue
        latin = [other["c"] for other in alike if len(other["c"]) == 1 and _LATIN.match(other["c"])]
        if latin:
            # Unicode's table takes I for an l.
            found[ord(one)] = "I" if latin[0] == "l" and one.isupper() else latin[0]
    return found


@cache
def _as_capitals() -> dict[int, str]:
    """Small letters of other scripts, as the small form of what their capitals look like; where a capital looks like
    none, as what they look like themselves, if no other letter of the script has that place."""
    looks = _looks()
    small = sorted({chr(code).lower() for code in looks} - {""})
    small = [one for one in small if len(one) == 1 and not one.isascii() and one.casefold() == one]
    found: dict[int, str] = {}
    taken: set[tuple[str, str]] = set()
    for by_capital in (True, False):
        for one in small:
            look = looks.get(ord(one.upper()) if by_capital and len(one.upper()) == 1 else ord(one))
            place = (_script(one), (look or "").lower())
            if look is None or ord(one) in found or place in taken:
                continue
            found[ord(one)] = look.lower()
            taken.add(place)
    return found


def _script(letter: str) -> str:
    return unicodedata.name(letter, "").partition(" ")[0]
