"""A curve in characters: Braille patterns, two dots wide and four high each."""

from __future__ import annotations

from collections.abc import Sequence

_EMPTY = 0x2800
_DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
"""By column and row of a character."""


def plot(values: Sequence[float], width: int, height: int) -> list[str]:
    """Lines of characters, with the largest and the smallest value at the left. Nothing for fewer than two values, or
    where there is no room."""
    known = [value for value in values if value == value and abs(value) != float("inf")]
    most, least = max(known, default=0.0), min(known, default=0.0)
    marks = [f"{most:.2f}", f"{least:.2f}"]
    margin = max(map(len, marks)) + 1
    columns, rows = (width - margin) * 2, height * 4
    if len(known) < 2 or columns < 4 or height < 1:
        return []
    cells = [[_EMPTY] * (width - margin) for _ in range(height)]
    span = most - least or 1.0
    before: int | None = None
    for column in range(columns):
        value = _at(known, column / (columns - 1))
        row = round((most - value) / span * (rows - 1))
        # Down or up to where the column before was, so that a steep fall is one line.
        for dot in range(min(row, row if before is None else before), max(row, before or row) + 1):
            cells[dot // 4][column // 2] |= _DOTS[column % 2][dot % 4]
        before = row
    lines = ["".join(map(chr, line)) for line in cells]
    heads = [marks[0], *[""] * (height - 2), marks[1]] if height > 1 else [marks[0]]
    return [f"{head:>{margin - 1}} {line}" for head, line in zip(heads, lines, strict=True)]


def _at(values: Sequence[float], share: float) -> float:
    """The value at this share of the way, between its neighbours."""
    place = share * (len(values) - 1)
    low = int(place)
    high = min(low + 1, len(values) - 1)
    return values[low] + (values[high] - values[low]) * (place - low)
