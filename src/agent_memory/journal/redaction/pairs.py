"""Names and their values: `DB_PASSWORD=hunter2`, `"apiKey": "…"`, `--token …`, `<password>…</password>`, `?sig=…`.

A word such as "secret" is found first, then the name around it, then what joins it to a value; most words end at the
second step. One pass serves shell, JSON (also escaped in JSON), YAML, TOML, .env, XML, query strings, code and logs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from agent_memory.journal.redaction.names import Name, given_away
from agent_memory.journal.redaction.spans import MARKER, Source, Span
from agent_memory.journal.redaction.values import Place, is_secret

RANK = 4

# Each name that `names.given_away` knows has one of these in it.
NEEDLES = (b"pass", b"pw", b"secret", b"token", b"key", b"cred", b"auth", b"sig")

NAME_BYTES = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-."
LONGEST_NAME = 64
LONGEST_VALUE = 65_536  # characters; a longer literal is a file, not a secret

REST_OF_NAME = re.compile(r"[A-Za-z0-9_-]{0,64}+")

JOINT = re.compile(
    r"""
    (?P<close>\\{0,6}["'`])?+ \]?+ \)?+
    (?:
        (?P<block>:[ ]?[|>][+-]?[ \t]*\n[ \t]+)
      | (?P<typed>:[ ]?[&\w.\[\]|<>? ]{1,40}?[ ]?=[ \t]*(?=\\{0,6}["'`]))
      | (?P<assign>[ \t]*(?:=>|:=|={1,3}|:(?!:)|→|%3[DAda])[ \t]*+(?:\(\s{0,80}(?=["']))?)
      | (?P<element>>)
      | (?P<call>\([ \t]*(?=["'`]))
      | (?P<tuple>[ \t]*,[ \t]*(?=\\{0,6}["'`]))
      | (?P<is>[ \t]+(?:is|was)[ \t]*:?[ \t]+)
      | (?P<space>[ \t]+)
    )
    """,
    re.VERBOSE,
)
# {"name": "DB_PASSWORD", "value": "…"}, also as YAML and as <add key="…" value="…"/>.
VALUE_FIELD = re.compile(
    r"""\\{0,6}["']?[,\s]{1,200}\\{0,6}["']?value\\{0,6}["']?[ \t]*[:=][ \t]*""", re.IGNORECASE
)

OPEN_QUOTE = re.compile(r"""(?:[bBrRfFuU@$]{1,2})?(?P<quote>\\{0,6}["'`])""")

# What ends a value outside quotes: white space, quotes, an escape such as \n, and a separator before the next field.
UNQUOTED = re.compile(
    r"""(?:[^\s"'`<>|\\;&,\x00-\x1f]
        |;(?![ \t]*[A-Za-z][\w .]*=|\s|;|\Z)
        |&(?![\w.\-\[\]%]+=|&|\s|\Z)
        |,(?![ \t]*["']?[A-Za-z_][\w-]*["']?[ \t]*[=:]|\s|\Z)
        |\|(?![|\s])
        |\\[!$&@\#%^*()])+""",
    re.VERBOSE,
)
CUT_LINE = re.compile(r"(?:[^\n\\]|\\(?!n)){0,512}+")
CLOSER = re.compile(r"[)\]}](?=[)\]},;.:]|\Z)")
MOST_PIECES = 64
JUDGED = 512  # characters of an unquoted value that decide; then it goes whole
SET_BEFORE = re.compile(r"(?:^|\s)(?:ENV|ARG|set|SET|setx|setenv|put|add)\s+$")
LOGIN_BEFORE = re.compile(r"(?:^|\s)(?:login|account)\s+\S+\s+$")
SQL_BEFORE = re.compile(r"\b(?:user|role|login|with|set|alter|create|encrypted|for)\b[^\n;]*$", re.IGNORECASE)
LINE_ALONE = re.compile(r"[ \t]*(?:\d+[→\t:])?[ \t]*[+-]?[ \t]*(?:- )?[ \t]*[\"']?$")


GOES_ON = re.compile(
    r"""(?P<q>["'])[ \t]*(?:[+.&][ \t]*(?:\\?\r?\n[ \t]*)?|\\?\r?\n[ \t]*(?:[+.&][ \t]*)?)(?P=q)"""
)
GOES_ON_UNQUOTED = re.compile(r"\\\r?\n[ \t]*")
HEADER = re.compile(r"(?:x-|api-key|private-token|authorization|apikey)", re.IGNORECASE)


class Value(NamedTuple):
    start: int
    end: int
    place: Place
    text: str
    """What stands there, put together where it is cut over lines or literals."""


def find(source: Source) -> Iterator[Span]:
    text = source.text
    for needle in NEEDLES:
        done = 0
        for hit in source.hits(needle):
            if hit < done:
                continue
            end = REST_OF_NAME.match(text, hit).end()  # type: ignore[union-attr]
            done = end
            if not (joint := JOINT.match(text, end)) and not VALUE_FIELD.match(text, end):
                continue
            start = name_start(text, hit)
            if text.startswith(MARKER, start - len(MARKER)):
                continue
            name = given_away(text[start:end].strip("-."))
            if name is None:
                continue
            for value in _values(text, start, end, joint, name):
                yield Span(value.start, value.end, name.kind, RANK)
                done = value.end


def name_start(text: str, hit: int) -> int:
    """Where the name that the word at `hit` is in begins; the letter of an escape such as \\n is no part of it."""
    head = text[max(0, hit - LONGEST_NAME) : hit]
    start = hit - len(head) + len(head.rstrip(NAME_BYTES))
    if start < hit and text[start - 1 : start] == "\\" and text[start] in "nrt":
        start += 1
    return start


def _values(text: str, start: int, end: int, joint: re.Match[str] | None, name: Name) -> Iterator[Value]:
    field = VALUE_FIELD.match(text, end)
    if field:
        value = value_at(text, field.end(), "loose")
    elif joint is None:
        return
    else:
        value = _joined(text, start, end, joint)
    if value is None:
        return
    written = text[start:end].strip("-.")
    if written.lower() == "pass" and value.text.isdigit():
        return  # A count of tests.
    is_variable = written.isupper() and value.place in ("assigned", "quoted")
    if is_secret(value.text[:JUDGED], name.weight, value.place, is_variable=is_variable):
        yield value


def _joined(text: str, start: int, end: int, joint: re.Match[str]) -> Value | None:
    how, at = joint.lastgroup, joint.end()
    before = text[max(0, start - 80) : start]
    if how in ("block", "typed"):
        return value_at(text, at, "assigned" if how == "block" else "loose")
    if how == "assign":
        tight = joint["assign"] in ("=", "%3D", "%3d", "=(") and not joint["close"]
        value = value_at(text, at, "assigned" if tight or text[start : start + 2] == "--" else "loose")
        if value and value.place == "loose" and ":" in joint["assign"]:
            # `X-Api-Key: …`, or `password: letmein` as a line of YAML; letters alone after a spaced `=` are a variable.
            if HEADER.match(text, start) or _is_line(text, start, value):
                return value._replace(place="assigned")
        return value
    if how == "element":
        return (
            value_at(text, at, "assigned")
            if before.endswith(("<", ":")) and text[at : at + 1] != "<"
            else None
        )
    if how == "call":
        return value_at(text, at, "loose", quoted="argument")
    if how == "tuple":
        return value_at(text, at, "loose", quoted="argument") if joint["close"] else None
    if joint["close"]:
        return None
    if how == "is":
        return value_at(text, at, "loose", quoted="loose")
    if text[start : start + 1] == "-":
        return value_at(text, at, "assigned") if text[at : at + 1] != "-" else None
    if SET_BEFORE.search(before) or LOGIN_BEFORE.search(before):
        return value_at(text, at, "assigned")
    if text[start:end].lower() in ("requirepass", "masterauth"):
        return value_at(text, at, "assigned")
    if text[at : at + 1] in ("'", '"'):
        return value_at(text, at, "loose", quoted="quoted" if SQL_BEFORE.search(before) else "argument")
    return None


def _is_line(text: str, start: int, value: Value) -> bool:
    line = text.rfind("\n", max(0, start - 200), start) + 1
    return text[value.end : value.end + 1] in ("", "\n", "\r") and bool(LINE_ALONE.match(text, line, start))


def value_at(text: str, at: int, place: Place, *, quoted: Place = "quoted") -> Value | None:
    """The literal that begins at `at`, without its quotes. `place` and `quoted` say what it is outside and inside quotes."""
    if opening := OPEN_QUOTE.match(text, at):
        start, quote = opening.end(), opening["quote"]
        end = closing_quote(text, start, quote)
        pieces = [text[start:end]]
        while len(pieces) < MOST_PIECES and (cut := GOES_ON.match(text, end)):
            end = closing_quote(text, cut.end(), cut["q"])
            pieces.append(text[cut.end() : end])
        return Value(start, end, quoted, "".join(pieces))
    found = UNQUOTED.match(text, at)
    if not found:
        return None
    end = found.end()
    pieces = [found[0]]
    while (
        len(pieces) < MOST_PIECES
        and (cut := GOES_ON_UNQUOTED.match(text, end))
        and (found := UNQUOTED.match(text, cut.end()))
    ):
        pieces.append(found[0])
        end = found.end()
    value = "".join(pieces)
    # A shell variable holds what stands there; in `f(password=x)` and `{token: x}` the bracket is not the value's.
    variable = place == "assigned" and text[at - 2 : at - 1].isupper()
    kept = value[: closer.start()] if not variable and (closer := _unopened(value)) else value
    kept = kept.rstrip(".:,;")
    return Value(at, end - (len(value) - len(kept)), place, kept) if kept else None


def _unopened(value: str) -> re.Match[str] | None:
    """The bracket that closes what was opened before the value: `f(password=x)`, `{token: x}`."""
    for closer in CLOSER.finditer(value, 0, JUDGED):
        opener = "([{"[")]}".index(closer[0])]
        if value.count(closer[0], 0, closer.end()) > value.count(opener, 0, closer.start()):
            return closer
    return None


def closing_quote(text: str, start: int, quote: str) -> int:
    """Where the literal ends: at the same quote under as many backslashes, else with the line or the text."""
    level = len(quote) - 1
    limit = min(len(text), start + LONGEST_VALUE)
    at = text.find(quote, start, limit)
    while at >= 0:
        before = text[max(start, at - 8) : at + level]
        slashes = len(before) - len(before.rstrip("\\"))
        if slashes == level or (level == 0 and slashes % 2 == 0):
            break
        at = text.find(quote, at + 1, limit)
    if at >= 0 and (quote == "`" or text.find("\n", start, at) < 0):
        return at
    # Cut off: the rest of the line, also of a line that ends in an escaped \n.
    return CUT_LINE.match(text, start).end()  # type: ignore[union-attr]
