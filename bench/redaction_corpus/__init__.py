"""The labelled corpus on which redaction is measured: made by code, from a seed, in two halves.

The patterns were tuned on `dev`. `test` has another seed, and a quarter of its carriers and of its harmless kinds are
in no other half.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Literal

from bench.redaction_corpus.carriers import CARRIERS, Planted, fits, plant
from bench.redaction_corpus.harmless import HARMLESS
from bench.redaction_corpus.secrets import KINDS, make

__all__ = ["Corpus", "Planted", "corpus"]

SEEDS = {"dev": 20260301, "test": 77003}
OFTEN = {"password": 12, "private-key": 25}
"""Kinds with few carriers, or of many forms, come this many times for each carrier."""


@dataclass(frozen=True, slots=True)
class Corpus:
    planted: tuple[Planted, ...]
    harmless: tuple[tuple[str, str], ...]
    """(kind, text) pairs, no text twice."""


def corpus(half: Literal["dev", "test"], *, per_harmless: int = 110) -> Corpus:
    """Every kind of secret in every carrier that takes it, and up to `per_harmless` texts of each harmless kind."""
    rng = Random(SEEDS[half])
    planted = [
        plant(carrier, kind, make(kind, rng), rng)
        for kind in KINDS
        for carrier in CARRIERS
        if fits(carrier, kind) and (half == "test" or not carrier.held_out)
        for _ in range(OFTEN.get(kind.name, 1))
    ]
    texts = {
        kind.make(rng): kind.name
        for kind in HARMLESS
        if half == "test" or not kind.held_out
        for _ in range(per_harmless)
    }
    return Corpus(tuple(planted), tuple((name, text) for text, name in texts.items()))
