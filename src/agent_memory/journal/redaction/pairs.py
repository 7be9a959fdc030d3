"""Names and their values: `DB_PASSWORD=hunter2`, `"apiKey": "…"`, `--token …`, `<password>…</password>`, `?sig=…`.

A word such as "secret" is found first, then the name around it, then what joins it to a value; most words end at the
second step. One pass serves shell, JSON (also escaped in JSON), YAML, TOML, .env, XML, query strings, code and logs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from agent_memory.journal.redaction.literals import JUDGED, Value, value_at, whole_end
from agent_memory.journal.redaction.names import given_away
from agent_memory.journal.redaction.spans import MARKER, Source, Span
from agent_memory.journal.redaction.values import is_secret

RANK = 4

# Each name that `names.given_away` knows has one of these in it.
NEEDLES = (b"pass", b"pw", b"secret", b"token", b"key", b"cred", b"auth", b"sig")

NAME_CHARACTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-."
LONGEST_NAME = 64
REST_OF_NAME = re.compile(r"[A-Za-z0-9_-]{0,64}+")

JOINT = re.compile(
    r"""
    (?:(?P<close>\\{0,6}["'`])\]?+)?+
    (?:
        (?P<block>:[ ]?[|>][+-]?[ \t]*\n[ \t]+)
      | (?P<typed>:[ ]?[&\w.\[\]|<>? ]{1,40}?[ ]?=[ \t]*(?=\\{0,6}["'`]))
      | (?P<assign>[ \t]*(?:=>|:=|={1,3}|:(?!:)|→|%3[DAda]|\\{1,6}u003[DAda])[ \t]*+(?:\(\s{0,80}(?=["']))?)
      | (?P<element>>(?=[^<\n]{1,4096}</))
      | (?P<call>\([ \t]*(?=["'`]))
      | (?P<tuple>[ \t]*,[ \t]*(?=\\{0,6}["'`]))
      | (?P<is>[ \t]+(?:(?:for|of|on)[ ][\w./ -]{1,40}?[ ])?(?:is|was)[ \t]*:?[ \t]+)
      | (?P<space>[ \t]+)
    )
    """,
    re.VERBOSE,
)
# {"name": "DB_PASSWORD", "value": "…"}, also as YAML and as <add key="…" value="…"/>.
VALUE_FIELD = re.compile(
    r"""\\{0,6}["']?[,\s]{1,200}\\{0,6}["']?value\\{0,6}["']?[ \t]*[:=][ \t]*""", re.IGNORECASE
)

BEGINS_FIELD = frozenset("\\\"',\r\n")
BEGINS_JOINT = frozenset("\\\"'`:=>%→(, \t\r\n")

HEADER = re.compile(r"(?:x-|api-key|private-token|apikey)", re.IGNORECASE)
SET_BEFORE = re.compile(r"(?:^|\s)(?:ENV|ARG|set|SET|setx|setenv|put|add)\s+$")
LOGIN_BEFORE = re.compile(r"(?:^|\s)login\s+\S+\s+$")
SQL_BEFORE = re.compile(r"\b(?:user|role|login|with|set|alter|create|encrypted|for)\b[^\n;]*$", re.IGNORECASE)
LINE_BEFORE = re.compile(r"[ \t]*+(?:\d+[→\t:])?+[ \t]*+(?:[+-][ \t]*+)?+(?:-[ \t]++)?+[\"']?$")
ATTRIBUTES = re.compile(r"[^<>\n]{1,200}>(?=[^<\n]{1,4096}</)")
SENTENCE_AFTER = re.compile(r"[ \t]+[a-z]{2,}\b(?![./=:-])")


def find(source: Source) -> Iterator[Span]:
    text = source.text
    for needle in NEEDLES:
        done = 0
        for hit in source.hits(needle):
            if hit < done:
                continue
            rest = REST_OF_NAME.match(text, hit)
            done = end = rest.end() if rest else hit
            sign = text[end : end + 1]
            if sign not in BEGINS_JOINT:
                continue
            field = VALUE_FIELD.match(text, end) if sign in BEGINS_FIELD else None
            joint = None if field else JOINT.match(text, end)
            if not field and not joint:
                continue
            start = name_start(text, hit)
            name = given_away(text[start:end].strip("-."))
            if name is None or text.startswith(MARKER, start - len(MARKER)):
                continue
            if name.kind.endswith("signature") and text[start - 1 : start] not in ("?", "&", ";"):
                continue  # Only a signed URL's signature lets anybody in.
            if joint:
                value = _joined(text, start, end, joint)
            elif field:
                value = value_at(text, field.end(), "loose")
            if value is None or (value.text.isdigit() and text[start:end].lower() == "pass"):  # "pass: 12"
                continue
            is_variable = _is_variable(text[start:end], joint)
            if is_secret(value.text[:JUDGED], name.weight, value.place, is_variable=is_variable):
                done = whole_end(text, value)
                yield Span(value.start, done, name.kind, RANK)


def name_start(text: str, hit: int) -> int:
    """Where the name that the word at `hit` is in begins; the letter of an escape such as \\n is no part of it."""
    head = text[max(0, hit - LONGEST_NAME) : hit]
    start = hit - len(head) + len(head.rstrip(NAME_CHARACTERS))
    if start < hit and text[start - 1 : start] == "\\" and text[start] in "nrt":
        start += 1
    return start


def _is_variable(name: str, joint: re.Match[str] | None) -> bool:
    """A variable of the environment: `JWT_SECRET=…`, `JWT_SECRET: …`; a constant in code has spaces around its sign."""
    if not name.isupper():
        return False
    return (
        joint is None or joint.lastgroup != "assign" or joint["assign"].strip(" \t") in (joint["assign"], ":")
    )


def _joined(text: str, start: int, end: int, joint: re.Match[str]) -> Value | None:
    at = joint.end()
    match joint.lastgroup:
        case "assign":
            return _assigned(text, start, end, joint)
        case "typed":
            return value_at(text, at, "loose")
        case "block":
            return value_at(text, at, "assigned")
        case "element":
            return (
                value_at(text, at, "assigned", whole=True) if text[start - 1 : start] in ("<", ":") else None
            )
        case "call":
            return value_at(text, at, "loose", quoted="argument")
        case "tuple":
            return value_at(text, at, "loose", quoted="argument") if joint["close"] else None
        case "is":
            return value_at(text, at, "loose", quoted="loose")
        case _:
            return None if joint["close"] else _after_space(text, start, end, at)


def _assigned(text: str, start: int, end: int, joint: re.Match[str]) -> Value | None:
    sign = joint["assign"]
    if sign == ":" and text[start - 1 : start] == ":":
        return None  # arn:aws:…:secret:name
    tight = sign in ("=", "%3D", "%3d", "=(") and not joint["close"]
    is_flag = text.startswith("--", start)
    whole = tight and text[start:end].isupper()
    value = value_at(text, joint.end(), "assigned" if tight or is_flag else "loose", whole=whole)
    if value is None or value.place in ("quoted", "argument"):
        return value
    after = text[value.end : value.end + 1]
    if tight and after in (",", ")") and not is_flag and not whole:
        # `f(password=value, …)`: code, where letters alone are a variable.
        return value._replace(place="loose")
    if (
        value.place == "loose"
        and ":" in sign
        and (HEADER.match(text, start) or (after in "\r\n" and _begins_line(text, start)))
    ):
        # `X-Api-Key: …`, or `password: letmein` as a line of YAML.
        return value._replace(place="assigned")
    return value


def _begins_line(text: str, start: int) -> bool:
    line = text.rfind("\n", max(0, start - 200), start) + 1
    return bool(LINE_BEFORE.match(text, line, start))


def _after_space(text: str, start: int, end: int, at: int) -> Value | None:
    """`--token …`, `ENV TOKEN …`, `login x password …`, `PASSWORD '…'`; in other places a space joins nothing."""
    before = text[max(0, start - 80) : start]
    if before.endswith("<") and (attributes := ATTRIBUTES.match(text, end)):
        return value_at(text, attributes.end(), "assigned", whole=True)
    if text[start:end] == "password" and LOGIN_BEFORE.search(before):
        return value_at(text, at, "assigned")
    if text.startswith("-", start) or SET_BEFORE.search(before):
        value = None if text.startswith("-", at) else value_at(text, at, "assigned")
        if value and value.text.isalpha() and SENTENCE_AFTER.match(text, value.end):
            return None  # "use the --password option to …", "set password ages and …"
        return value
    if text[start:end].lower() in ("requirepass", "masterauth"):
        return value_at(text, at, "assigned")
    if text[at : at + 1] in ("'", '"'):
        return value_at(text, at, "loose", quoted="quoted" if SQL_BEFORE.search(before) else "argument")
    return None
