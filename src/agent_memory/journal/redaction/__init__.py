"""Takes secrets out of what was captured, before anything is stored.

Every secret becomes a marker that names its kind and nothing of it: `[REDACTED:github-token]`. What is no secret stays
as it was, to the character. Redacting twice changes nothing more.
"""

from __future__ import annotations

import re
from typing import Any

import re2

from agent_memory.journal.redaction import blocks, commands, encoded, pairs, requests, tokens
from agent_memory.journal.redaction.names import given_away
from agent_memory.journal.redaction.spans import MARKER, Source, Span, without
from agent_memory.journal.redaction.values import is_literal, is_secret

__all__ = ["redact", "redact_value"]

SHORTEST = 8  # characters; `pw=abc` and the like are not worth the look
PASSES = 8
HEADERS = frozenset(("authorization", "proxy-authorization", "cookie", "set-cookie"))
MANIFEST = "kubernetes-secret"


def redact(text: str) -> str:
    """The text with a marker in the place of each secret. Any string is fine, also one with lone surrogates."""
    # A marker may uncover what stood behind it ("ghp_…sk-…"), so it goes on until nothing more is found: one pass for a
    # text without secrets, nearly always two for one with.
    for _ in range(PASSES):
        if len(text) < SHORTEST or not (spans := _find(Source(text))):
            break
        text = without(text, spans)
    return text


def _find(source: Source) -> list[Span]:
    spans = _find_plain(source)
    spans += encoded.find_base64(source, lambda text: bool(_find_plain(Source(text))))
    spans += encoded.find_cut(source, _find_plain)
    return spans


# Half of what is stored has none of the words that a secret stands beside. RE2 looks for all of them in one pass, which
# takes as long as looking for three of them one by one.
LATIN_1 = re2.Options()
LATIN_1.encoding = re2.Options.Encoding.LATIN1
WORDS = re2.compile(
    b"|".join(
        map(re.escape, sorted({*blocks.NEEDLES, *requests.NEEDLES, *commands.NEEDLES, *pairs.NEEDLES}))
    ),
    LATIN_1,
)


def _find_plain(source: Source) -> list[Span]:
    if not WORDS.search(source.low):
        return list(tokens.find(source)) if len(source.text) >= tokens.SHORTEST_RUN else []
    return [
        *blocks.find(source),
        *tokens.find(source),
        *requests.find(source),
        *commands.find(source),
        *pairs.find(source),
    ]


def redact_value(value: Any) -> Any:
    """A JSON value with every string in it redacted, keys too; the value itself is not changed.

    A key that names a secret gives its string (or list of strings) away whatever it looks like, unless it is a
    reference such as `$TOKEN`. Numbers, booleans and None stay.
    """
    result: list[Any] = [None]
    # A list of work, not recursion: how deep JSON nests is for whoever sent it to say.
    work: list[tuple[Any, Any, Any, str | None]] = [(value, result, 0, None)]
    while work:
        item, parent, place, given = work.pop()
        if isinstance(item, str):
            parent[place] = f"{MARKER}{given}]" if given and is_literal(item) else redact(item)
        elif isinstance(item, dict):
            fields: dict[Any, Any] = {}
            parent[place] = fields
            for key, field in item.items():
                name = redact(key) if isinstance(key, str) else key
                # Set now, so that the fields keep their order; what is no header is looked into later.
                fields[name] = _header(_label(item, key), field)
                if fields[name] is None:
                    given_field = _given(item, key, field) or (given if given == MANIFEST else None)
                    work.append((field, fields, name, given_field))
        elif isinstance(item, list | tuple):
            parent[place] = items = [None] * len(item)
            work.extend((member, items, index, given) for index, member in enumerate(item))
        else:
            parent[place] = item
    return result[0]


def _label(item: dict[Any, Any], key: Any) -> Any:
    """What a field is called: by its key, or, where that is `value`, by the `name` or `key` beside it."""
    return (item.get("name") or item.get("key")) if key == "value" else key


def _given(item: dict[Any, Any], key: Any, field: Any) -> str | None:
    """The kind of secret that a field's name says it is."""
    if item.get("kind") == "Secret" and key in ("data", "stringData"):
        return MANIFEST
    label = _label(item, key)
    if not isinstance(label, str) or not (name := given_away(label)) or name.kind.endswith("signature"):
        return None
    if name.weight == "key" and not (isinstance(field, str) and is_secret(field, "key", "quoted")):
        return None
    return name.kind


def _header(label: Any, field: Any) -> str | None:
    """The header's value without its credentials, None where this is no such header."""
    if not isinstance(label, str) or not isinstance(field, str) or label.lower() not in HEADERS:
        return None
    value = redact(f"{label}: {field}")[len(label) + 2 :]
    scheme, _, credential = field.rpartition(" ")
    if value == field and "authorization" in label.lower() and is_literal(credential):
        return f"{scheme} {MARKER}authorization]".lstrip()
    return value
