"""The bar: of the secrets in the corpus's test half at least 98 of 100 are found, of the harmless texts at most 5 of
1,000 are changed. `make bench-redact` prints the whole table."""

from __future__ import annotations

import pytest
from bench.redaction_corpus import Corpus, corpus
from bench.redaction_corpus.score import is_exact, survives

from agent_memory.journal.redaction import redact


@pytest.fixture(scope="module")
def half() -> Corpus:
    return corpus("test", per_harmless=80)


def test_the_corpus_is_as_large_as_the_bar_asks(half: Corpus) -> None:
    assert len(half.planted) >= 400
    assert len({planted.kind for planted in half.planted}) >= 40
    assert len(half.harmless) >= 2_000
    assert len({text for _, text in half.harmless}) == len(half.harmless)


def test_planted_secrets_do_not_survive(half: Corpus) -> None:
    missed = [(p.kind, p.carrier, p.text) for p in half.planted if survives(p, redact(p.text))]
    assert len(missed) <= 0.02 * len(half.planted), missed[:20]


def test_no_kind_of_secret_is_forgotten(half: Corpus) -> None:
    for kind in {planted.kind for planted in half.planted}:
        of_kind = [planted for planted in half.planted if planted.kind == kind]
        missed = [(p.carrier, p.text) for p in of_kind if survives(p, redact(p.text))]
        assert len(missed) <= 0.1 * len(of_kind), (kind, missed)


def test_nothing_but_the_secret_is_replaced(half: Corpus) -> None:
    more = [(p.text, redact(p.text)) for p in half.planted if not is_exact(p, redact(p.text))]
    assert len(more) <= 0.02 * len(half.planted), more[:20]


def test_harmless_texts_come_back_unchanged(half: Corpus) -> None:
    changed = [(kind, text, redact(text)) for kind, text in half.harmless if redact(text) != text]
    assert len(changed) <= 0.005 * len(half.harmless), changed[:20]
