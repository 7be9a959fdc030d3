"""Secrets that give themselves away by their shape: the keys and tokens of the providers.

Every token has a long run of letters, digits, "_" and "-"; ordinary text has few. The runs are found first, and only
what is around them is compared with the shapes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from agent_memory.journal.redaction.shapes import BROKEN_SHAPES, PASSWORD_HASH, SHAPES
from agent_memory.journal.redaction.spans import Source, Span, class_table, runs

RANK = 2

# Nearest reach of a prefix before the random run that it belongs to: "access_token$production$" is the longest.
REACH = 24
LONGEST_LEAD = 80
# Four letters behind a slash or a plus are nothing special within base64.
IN_BASE64 = re.compile(r"[A-Za-z0-9+/]{33}[+/]\Z")
JUDGED = 1024  # characters of a token that decide; then it goes whole
REST = re.compile(r"[A-Za-z0-9_\-.+/=~%]*")

Compiled = tuple[str, re.Pattern[str], re.Pattern[str] | None]


def _compiled() -> dict[str, list[Compiled]]:
    by_prefix: dict[str, list[Compiled]] = {}
    for shape in SHAPES:
        for prefix in shape.prefixes.split():
            lead = re.compile(rf"(?:{shape.lead})\Z") if shape.lead else None
            by_prefix.setdefault(prefix, []).append(
                (shape.kind, re.compile(re.escape(prefix) + shape.body), lead)
            )
    return by_prefix


def _trie(words: Iterable[str]) -> str:
    """One expression for any of the words, the longest that fits, that does not try the words one by one."""
    by_first: dict[str, set[str]] = {}
    for word in words:
        by_first.setdefault(word[:1], set()).add(word[1:])
    optional = by_first.pop("", None) is not None
    if not by_first:
        return ""
    branches = (re.escape(first) + _trie(rest) for first, rest in sorted(by_first.items()))
    return f"(?:{'|'.join(branches)}){'?' if optional else ''}"


BY_PREFIX = _compiled()
# What comes behind a part of the token that has no fixed text.
LED = [prefix for shape in SHAPES if shape.lead for prefix in shape.prefixes.split()]
AT_WORD_START = _trie(prefix for prefix in BY_PREFIX if prefix not in LED)
# A prefix at a word's start, also behind an escaped newline ("\nghp_…"), a colour ("\x1b[1mghp_…"), "%3D" and "\u0022";
# or one of the few that may stand within a word, found by the sign that they begin or end with. The first character
# stands alone so that the engine skips over the inside of words by a table: 5 ns a character instead of 50.
PREFIX = re.compile(
    rf"""[^A-Za-z0-9](?:
        (?:(?<=\\)(?:u[0-9A-Fa-f]{{4}}|[nrtbf])|(?<=[\[;])\d{{1,2}}m|(?<=%)[0-9A-Fa-f]{{2}})?(?P<prefix>{AT_WORD_START})
      | (?<=:)AA|(?<=\.)atlasv1\.|(?<=Q~)|(?<=-)us(?=\d)|(?<=_)mmk
      | (?<=gh[pousr]_)|(?<=github_pat_)|(?<=glpat-)|(?<=sk-ant-)|(?<=xox[bp]-)|(?<=[sr]k_live_)
    )""",
    re.VERBOSE,
)
WITHIN_WORDS = re.compile(r"gh[pousr]_|github_pat_|glpat-|sk-ant-|xox[bp]-|[sr]k_live_")
PREFIX_AT_START = re.compile(rf"(?P<prefix>{AT_WORD_START})")
TOKEN_BYTES = class_table(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")
SHORTEST_RUN = 20  # characters, prefix included: an AWS key id is no longer


def find(source: Source) -> Iterator[Span]:
    """Only the surroundings of runs of 20 and more token characters are looked at: one in 1,000 characters of code."""
    text, done = source.text, 0
    for kind, needle, pattern in BROKEN_SHAPES:
        for hit in source.hits(needle):
            if hit >= done and (match := pattern.match(text, hit)):
                done = match.end()
                yield Span(hit, done, kind, RANK)
        done = 0
    for match in PASSWORD_HASH.finditer(text):
        yield Span(*match.span(), "password-hash", RANK)
    for start, end in runs(source.raw.translate(TOKEN_BYTES), SHORTEST_RUN):
        at = max(start - REACH, done)
        if at == 0 and (found := PREFIX_AT_START.match(text)) and (span := _token(text, 0, found["prefix"])):
            yield span
            at = done = span.end
        while found := PREFIX.search(text, at, end):
            prefix = found["prefix"]
            span = _token(text, found.start("prefix"), prefix) if prefix else None
            if span := span or _within(text, found.start()):
                yield span
            at = done = span.end if span else found.start() + 1


def _within(text: str, sign: int) -> Span | None:
    """A token whose prefix has the sign at `sign` at its beginning or its end."""
    for prefix in LED:
        for start in (sign, sign + 1 - len(prefix)):
            if text.startswith(prefix, start) and (span := _token(text, start, prefix)):
                return span
    for found in WITHIN_WORDS.finditer(text, max(0, sign - 12), sign + 1):
        if found.end() == sign + 1 and (span := _token(text, found.start(), found[0])):
            return span
    return None


def _token(text: str, at: int, prefix: str) -> Span | None:
    # A longer prefix that fails may have a shorter one inside that fits: "sk-proj-" and "sk-".
    for length in range(len(prefix), 1, -1):
        for kind, pattern, lead in BY_PREFIX.get(prefix[:length], ()):
            match = pattern.match(text, at, at + JUDGED)
            if not match:
                continue
            start = at
            if lead:
                before = lead.search(text, max(0, at - LONGEST_LEAD), at)
                if not before:
                    continue
                start = before.start()
            if prefix[:length].isalnum() and IN_BASE64.search(text, max(0, at - 34), at):
                continue
            if is_varied(text[start:at] + match[0][length:]):
                end = match.end()
                if end == at + JUDGED:
                    end = REST.match(text, end).end()  # type: ignore[union-attr]
                return Span(start, end, kind, RANK)
    return None


DIGIT = re.compile(r"\d")


def is_varied(body: str) -> bool:
    """Neither a row of x nor words: `your-key-here`, `xxxxxxxxxxxx`."""
    body = body[:128]
    if DIGIT.search(body) or not (body.islower() or body.isupper()):
        return len(set(body)) >= 5
    return len(set(body)) >= 8 and "-" not in body and "_" not in body
