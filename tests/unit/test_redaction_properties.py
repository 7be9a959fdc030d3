"""What holds for any text and any JSON."""

from __future__ import annotations

from random import Random
from typing import Any

from bench.redaction_corpus.secrets import KINDS, make
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_memory.journal.redaction import redact, redact_value

ANY_TEXT = st.text(st.characters())  # lone surrogates too
TELLING = [kind for kind in KINDS if not kind.needs_name and not kind.public]
SECRETS = st.builds(
    lambda kind, seed: make(kind, Random(seed)), st.sampled_from(TELLING), st.integers(0, 10_000)
)
# What the patterns look at, in an order that nobody thought of.
PIECES = st.sampled_from(
    """password token= secret: API_KEY "apiKey" --token Bearer Authorization: Cookie: Set-Cookie: <private> </private>
    -----BEGIN PRIVATE KEY----- -----END PRIVATE KEY----- postgres://app: @host ghp_ sk-ant- eyJ AKIA = : " ' \\"
    \\ { } ( ) , ; & ? % - _ . / [REDACTED:password] [REDACTED: ] kind: Secret data: value name: curl -u mysql -p
    $2b$12$ <password> hunter2 Tr0ub4dor&3 3f786850e387550fdab836ed7e6dc881de23001b
    QUtJQUlPU0ZPRE5ON0VYQU1QTEU=""".split()  # noqa: SIM905
)
JUMBLED = st.lists(st.one_of(PIECES, PIECES, SECRETS, st.sampled_from([" ", "\n", "\t"]), ANY_TEXT)).map(
    "".join
)
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), ANY_TEXT, JUMBLED),
    lambda children: st.one_of(st.lists(children), st.dictionaries(st.one_of(ANY_TEXT, PIECES), children)),
    max_leaves=12,
)
SIGNS = st.sampled_from(["", " ", "\n", '"', "'", "=", ": ", "(", "\\n", "`", "|", "→"])


@settings(max_examples=400, deadline=None)
@given(JUMBLED)
def test_redacting_twice_changes_nothing_more(text: str) -> None:
    once = redact(text)
    assert redact(once) == once


@settings(max_examples=300, deadline=None)
@given(JSON)
def test_redacting_a_value_twice_changes_nothing_more(value: Any) -> None:
    once = redact_value(value)
    assert redact_value(once) == once


@settings(max_examples=300, deadline=None)
@given(ANY_TEXT)
def test_no_text_is_too_strange(text: str) -> None:
    assert isinstance(redact(text), str)
    assert redact_value([text]) == [redact(text)]


@settings(max_examples=300, deadline=None)
@given(JSON)
def test_a_value_keeps_its_shape_and_what_is_not_text(value: Any) -> None:
    def same_shape(before: Any, after: Any) -> bool:
        if isinstance(before, dict):
            return isinstance(after, dict) and len(after) <= len(before)
        if isinstance(before, list):
            return len(before) == len(after) and all(map(same_shape, before, after))
        return isinstance(after, str) if isinstance(before, str) else before is after

    assert same_shape(value, redact_value(value))


def places(value: Any, secret: str) -> Any:
    """The value with the secret in the place of every text that says SECRET."""
    if isinstance(value, dict):
        return {key.replace("SECRET", secret): places(field, secret) for key, field in value.items()}
    if isinstance(value, list):
        return [places(member, secret) for member in value]
    return value.replace("SECRET", secret) if isinstance(value, str) else value


def strings(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [*value, *(text for field in value.values() for text in strings(field))]
    if isinstance(value, list):
        return [text for member in value for text in strings(member)]
    return [value] if isinstance(value, str) else []


PLANTED = st.recursive(
    st.one_of(
        st.integers(),
        st.builds(
            lambda before, sign, after: f"{before} {sign}SECRET{sign} {after}", ANY_TEXT, SIGNS, ANY_TEXT
        ),
    ),
    lambda children: st.one_of(
        st.lists(children), st.dictionaries(st.sampled_from(["a", "b", "SECRET"]), children)
    ),
    max_leaves=12,
)


@settings(max_examples=400, deadline=None)
@given(PLANTED, SECRETS)
def test_a_secret_survives_in_no_place_of_any_value(value: Any, secret: str) -> None:
    for text in strings(redact_value(places(value, secret))):
        assert secret not in text
