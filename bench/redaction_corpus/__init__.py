"""The labelled corpus on which redaction is measured: made by code, from a seed, in two halves.

The patterns were tuned on `dev`. `test` has another seed, and a quarter of its carriers and of its harmless kinds are
in no other half.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Literal

from redaction_corpus.carriers import CARRIERS, Planted
from redaction_corpus.harmless import HARMLESS
from redaction_corpus.secrets import KINDS, make

SEEDS = {"dev": 20260301, "test": 77003}


@dataclass(frozen=True, slots=True)
class Corpus:
    planted: tuple[Planted, ...]
    harmless: tuple[tuple[str, str], ...]
    """(kind, text) pairs."""


def corpus(half: Literal["dev", "test"], *, per_carrier: int = 1, per_harmless: int = 50) -> Corpus:
    """Every kind of secret in every carrier that takes it, `per_carrier` times, and `per_harmless` of each harmless kind."""
    rng = Random(SEEDS[half])
    planted = [
        Planted(kind.name, carrier.name, *carrier.fill(rng, rng.choice(kind.variables), secret), secret)
        for kind in KINDS
        for carrier in CARRIERS
        if carrier.takes(kind) and (half == "test" or not carrier.held_out)
        for _ in range(per_carrier * (10 if kind.name in ("password", "private-key") else 1))
        if (secret := make(kind, rng))
    ]
    texts = [
        (kind.name, kind.make(rng))
        for kind in HARMLESS
        if half == "test" or not kind.held_out
        for _ in range(per_harmless)
    ]
    return Corpus(tuple(planted), tuple(texts))
