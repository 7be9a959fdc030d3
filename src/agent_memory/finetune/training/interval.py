"""How sure a rate is: intervals of 95 % for a rate, and for the difference of two rates over the same questions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

Z = 1.959964
"""Of the normal distribution, for 95 %."""


@dataclass(frozen=True, slots=True)
class Rate:
    hits: int
    of: int

    @property
    def value(self) -> float:
        return self.hits / self.of if self.of else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's score interval; all that is possible where nothing was measured."""
        if not self.of:
            return 0.0, 1.0
        centre = (self.value + Z**2 / (2 * self.of)) / (1 + Z**2 / self.of)
        spread = math.sqrt(self.value * (1 - self.value) / self.of + Z**2 / (4 * self.of**2))
        half = Z * spread / (1 + Z**2 / self.of)
        return max(0.0, centre - half), min(1.0, centre + half)

    def __str__(self) -> str:
        low, high = self.interval
        return (
            f"{self.value:.1%} ({low:.0%} to {high:.0%}, N = {self.of})"
            if self.of
            else "not measured (N = 0)"
        )

    def as_dict(self) -> dict[str, Any]:
        low, high = self.interval
        return {**asdict(self), "rate": self.value, "low": low, "high": high}


@dataclass(frozen=True, slots=True)
class Difference:
    """A later rate minus an earlier one, of the same questions."""

    value: float
    low: float
    high: float
    of: int

    def __str__(self) -> str:
        if not self.of:
            return "not measured (N = 0)"
        return (
            f"{self.value * 100:+.1f} points ({self.low * 100:+.0f} to {self.high * 100:+.0f}, N = {self.of})"
        )

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def difference(pairs: Sequence[tuple[bool, bool]]) -> Difference:
    """Of pairs (earlier, later). Wilson's intervals squared and added, with the pairs' correlation (Newcombe 1998,
    method 8): it holds for few pairs, too, and where all are alike."""
    if not pairs:
        return Difference(0.0, -1.0, 1.0, 0)
    both = sum(earlier and later for earlier, later in pairs)
    lost = sum(earlier and not later for earlier, later in pairs)
    won = sum(later and not earlier for earlier, later in pairs)
    neither = len(pairs) - both - lost - won
    later, earlier = Rate(both + won, len(pairs)), Rate(both + lost, len(pairs))
    spread = math.sqrt((both + won) * (lost + neither) * (both + lost) * (won + neither))
    phi = (both * neither - lost * won) / spread if spread else 0.0

    def half(one: float, other: float) -> float:
        return math.sqrt(max(0.0, one**2 - 2 * phi * one * other + other**2))

    (later_low, later_high), (earlier_low, earlier_high) = later.interval, earlier.interval
    value = later.value - earlier.value
    return Difference(
        value,
        value - half(later.value - later_low, earlier_high - earlier.value),
        value + half(later_high - later.value, earlier.value - earlier_low),
        len(pairs),
    )
