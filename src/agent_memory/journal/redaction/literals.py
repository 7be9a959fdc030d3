"""What stands as a value in a text: in quotes of any depth, or bare; also cut over lines and string literals."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

Place = Literal["quoted", "assigned", "loose", "argument"]
"""How a value stands beside its name. `quoted`: a literal in quotes. `assigned`: `NAME=value`, a flag, a query, an
element: a literal unless it says otherwise. `loose`: `name: value` or `name = value`, where code and prose look the
same. `argument`: `f("name", "value")`, where most pairs are no such thing."""


class Value(NamedTuple):
    start: int
    end: int
    place: Place
    text: str
    """What stands there, put together where it is cut; of a bare value no more than decides."""


LONGEST_QUOTED = 65_536  # characters; a longer literal is a file, not a secret
JUDGED = 200  # characters of a value that decide; then it goes whole
MOST_PIECES = 64

OPEN_QUOTE = re.compile(r"""(?:[bBrRfFuU@$]{1,2})?(?P<quote>\\{0,6}["'`])""")
# The rest of a literal that is never closed, also of a line that ends in an escaped \n.
CUT_OFF = re.compile(r"(?:[^\n\\]|\\(?!n)){0,512}+")

# What ends a value outside quotes: white space, quotes, an escape such as \n, and a separator before the next field.
BARE_CHARACTER = r"""(?:[^\s"'`<>|\\;&,\x00-\x1f]
    |;(?![ \t]*[A-Za-z][\w .]{0,40}=|\s|;|\Z)
    |&(?!&(?:\s|\Z)|\s|\Z)
    |,(?![ \t]*["']?[A-Za-z_][\w-]{0,60}["']?[ \t]*[=:]|\s|\Z)
    |\|(?![|\s])
    |\\[!$&@\#%^*()])"""
BARE = re.compile(rf"{BARE_CHARACTER}{{1,{JUDGED}}}", re.VERBOSE)
BARE_REST = re.compile(rf"{BARE_CHARACTER}*", re.VERBOSE)
# The next field of a query or a form. Outside a URL it has to look like a name: passwords hold "&" and "=" too.
NEXT_PARAMETER = re.compile(r"&[\w.\-\[\]%]{1,60}=")
NEXT_FIELD = re.compile(r"&[a-z][a-z_]{3,30}=")
QUERY_BEFORE = re.compile(r"[?&][^\s\"'`<>]*$")
CLOSER = re.compile(r"[)\]}](?=[)\]},;.:]|\Z)")

# `"abc" + "def"`, `"abc"` above `"def"`, and a line's end under a backslash.
NEXT_LITERAL = re.compile(
    r"""(?P<quote>["'])[ \t]*(?:[+.&][ \t]*(?:\\?\r?\n[ \t]*)?|\\?\r?\n[ \t]*(?:[+.&][ \t]*)?)(?P=quote)"""
)
NEXT_LINE = re.compile(r"\\\r?\n[ \t]*")


def value_at(
    text: str, at: int, place: Place, *, quoted: Place = "quoted", whole: bool = False
) -> Value | None:
    """The value that begins at `at`, without its quotes, None where there is none.

    `place` is what it is if bare, `quoted` if in quotes. `whole`: a bracket that was opened before it belongs to it.
    """
    opening = OPEN_QUOTE.match(text, at)
    return _quoted(text, opening, quoted) if opening else _bare(text, at, place, whole=whole)


def whole_end(text: str, value: Value) -> int:
    """Where the value ends, also where it is longer than what was judged."""
    if len(value.text) < JUDGED or value.place in ("quoted", "argument"):
        return value.end
    rest = BARE_REST.match(text, value.end)
    end = rest.end() if rest else value.end
    following = _next_field(text, value.start, text[value.end : end])
    return end if following is None else value.end + following


def _quoted(text: str, opening: re.Match[str], place: Place) -> Value:
    start = opening.end()
    end = _closing(text, start, opening["quote"])
    pieces = [text[start:end]]
    while len(pieces) < MOST_PIECES and (following := NEXT_LITERAL.match(text, end)):
        end = _closing(text, following.end(), following["quote"])
        pieces.append(text[following.end() : end])
    return Value(start, end, place, "".join(pieces))


def _bare(text: str, at: int, place: Place, *, whole: bool) -> Value | None:
    found = BARE.match(text, at)
    if not found:
        return None
    pieces = [found[0]]
    end = found.end()
    while (
        len(pieces) < MOST_PIECES
        and (line := NEXT_LINE.match(text, end))
        and (found := BARE.match(text, line.end()))
    ):
        pieces.append(found[0])
        end = found.end()
    value = "".join(pieces)
    if (following := _next_field(text, at, value)) is not None:
        value, end = value[:following], at + following
    kept = value if whole else value[: _unopened(value)]
    kept = kept.rstrip(".:,;")
    return Value(at, end - (len(value) - len(kept)), place, kept) if kept else None


def _next_field(text: str, start: int, value: str) -> int | None:
    """Where in the value the next field of a query or a form begins; `start`: where the value begins in the text."""
    if "&" not in value:
        return None
    in_query = QUERY_BEFORE.search(text, max(0, start - 300), start)
    following = (NEXT_PARAMETER if in_query else NEXT_FIELD).search(value)
    return following.start() if following else None


def _unopened(value: str) -> int | None:
    """Where a bracket closes that was opened before the value: `f(password=x)`, `{token: x}`."""
    for closer in CLOSER.finditer(value):
        opener = "([{"[")]}".index(closer[0])]
        if value.count(closer[0], 0, closer.end()) > value.count(opener, 0, closer.start()):
            return closer.start()
    return None


def _closing(text: str, start: int, quote: str) -> int:
    """Where the literal ends: at the same quote under as many backslashes, else with the line or the text."""
    level = len(quote) - 1
    limit = min(len(text), start + LONGEST_QUOTED)
    at = text.find(quote, start, limit)
    while at >= 0:
        before = text[max(start, at - 8) : at + level]
        slashes = len(before) - len(before.rstrip("\\"))
        if slashes == level or (level == 0 and slashes % 2 == 0):
            break
        at = text.find(quote, at + 1, limit)
    if at >= 0 and (quote == "`" or text.find("\n", start, at) < 0):
        return at
    rest = CUT_OFF.match(text, start)
    return rest.end() if rest else start
