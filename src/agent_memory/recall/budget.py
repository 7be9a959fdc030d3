"""How much of each hit is shown, in characters. Pure.

A hit is whole or says with … where it was cut, between words; where the budget is too small for all hits,
there are fewer of them rather than stumps.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

GAP = "…"
_JOINT = f"\n{GAP}\n"
MARKS = len(_JOINT) + 1
"""Characters that the marks around one passage take."""
_MIN_WORDS = 80
"""Characters. The first hit is cut rather than left out, but not to less than this."""


def allot(needs: Sequence[tuple[int, int, int]], budget: int) -> list[int]:
    """How many characters each hit's text may have: `needs` are (overhead, passage, whole) by rank.

    Hits are taken in order while their overhead and passage fit; the list ends with the first that does
    not. What is left goes to the first ones: each may grow by half of the rest, the last round by all.
    """
    allotted: list[int] = []
    left = budget
    for overhead, passage, _ in needs:
        least = passage if allotted else min(passage, max(_MIN_WORDS, left - overhead))
        if overhead + least > left:
            break
        allotted.append(least)
        left -= overhead + least
    for share in (2, 1):
        for index, (_, _, whole) in enumerate(needs[: len(allotted)]):
            more = min(whole - allotted[index], left // share)
            if more > 0:
                allotted[index] += more
                left -= more
    return allotted


def excerpt(text: str, passages: Sequence[str], limit: int) -> str:
    """`text` whole where it fits, else its `passages`, the best first, in the text's order and with what
    surrounds the best. At most `limit` characters, … where something is left out."""
    if len(text) <= limit:
        return text
    text = "\n".join(line.rstrip() for line in text.split("\n"))  # as chunks have it
    spans = [span for passage in passages if (span := _find(text, passage))]
    if not spans:
        return cut(next(filter(None, passages), text), limit)
    taken = [spans[0]]
    if _length(text, taken) > limit:
        start, end = taken[0]
        return cut((f"{GAP}\n" if text[:start].strip() else "") + text[start:end], limit)
    for span in spans[1:]:
        if _length(text, _merged([*taken, span])) <= limit:
            taken = _merged([*taken, span])
    return _joined(text, _grown(text, taken, around=spans[0], limit=limit))


def cut(text: str, limit: int) -> str:
    """The beginning of a text, at most `limit` characters, cut between words and marked."""
    if len(text) <= limit:
        return text
    if limit <= len(GAP):
        return GAP[:limit]
    head = text[: limit - len(GAP)]
    if not text[len(head)].isspace():
        border = max(head.rfind(" "), head.rfind("\n"))
        # A text without spaces has no better place.
        head = head[:border] if border > len(head) // 2 else head
    return head.rstrip() + GAP


_TOKEN = re.compile(r"[A-Z]?[a-z]{1,4}|[A-Z]{1,2}|\d{1,3}|[^\sA-Za-z\d]")


def tokens(text: str) -> int:
    """About how many tokens a text is to a model: rather too many than too few. On coding sessions o200k_base has
    0.8 for each of these on average, and hardly ever more than 1."""
    return len(_TOKEN.findall(text))


def within(text: str, most: int) -> str:
    """The beginning of a text that is at most so many tokens, cut between words and marked."""
    ends = [met.end() for met in _TOKEN.finditer(text)]
    if len(ends) <= most:
        return text
    return cut(text, ends[most - 2] + len(GAP)) if most > 1 else GAP[:most]


def _find(text: str, passage: str) -> tuple[int, int] | None:
    start = text.find(passage) if passage else -1
    return (start, start + len(passage)) if start >= 0 else None


def _merged(spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1] + len(_JOINT):
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _grown(
    text: str, spans: list[tuple[int, int]], *, around: tuple[int, int], limit: int
) -> list[tuple[int, int]]:
    """`spans` with the one around the best passage grown by whole lines, the following first, while they
    fit."""
    best = next(i for i, (start, end) in enumerate(spans) if start <= around[0] and around[1] <= end)
    grew = True
    while grew:
        grew = False
        for after in (True, False):
            start, end = spans[best]
            if after:
                stop = text.find("\n", end + 1)
                wider = (start, len(text) if stop < 0 else stop)
            else:
                wider = (text.rfind("\n", 0, max(0, start - 1)) + 1, end)
            candidate = _merged([*spans[:best], wider, *spans[best + 1 :]])
            if wider != (start, end) and _length(text, candidate) <= limit:
                spans = candidate
                best = next(i for i, (s, e) in enumerate(spans) if s <= wider[0] and wider[1] <= e)
                grew = True
    return spans


def _joined(text: str, spans: Sequence[tuple[int, int]]) -> str:
    body = _JOINT.join(text[start:end].strip() for start, end in spans)
    return (
        (f"{GAP}\n" if text[: spans[0][0]].strip() else "")
        + body
        + (f"\n{GAP}" if text[spans[-1][1] :].strip() else "")
    )


def _length(text: str, spans: Sequence[tuple[int, int]]) -> int:
    return len(_joined(text, spans))
