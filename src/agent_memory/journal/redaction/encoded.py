"""Secrets that are there in another form: in base64, or cut over lines and string literals."""

from __future__ import annotations

import re
from binascii import Error, a2b_base64
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator

from agent_memory.journal.redaction.spans import Source, Span, class_table, runs

RANK = 5

BASE64_BYTES = class_table(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=_-")
SHORTEST = 24  # characters; 18 bytes, less holds no secret and its name
LONGEST = 65_536
PRINTABLE = re.compile(rb"[\t\r\n -~]*\Z")
URL_SAFE = bytes.maketrans(b"-_", b"+/")

# `ghp_abc\` at a line's end, `"ghp_abc" + "def"`, `"ghp_abc"` above `"def"`: a literal that goes on.
CUT = re.compile(
    r"""[\\"'](?=[ \t\r\n+.&\\])(?<=[\w+/=.-]{4}.)
        (?:(?<=\\)\r?\n[ \t]*
          |(?:(?<=(")) | (?<=(')))
           [ \t]*(?:[+.&][ \t]*(?:\\?\r?\n[ \t]*)?|\\?\r?\n[ \t]*(?:[+.&][ \t]*)?)
           (?:(?(1)"|(?(2)')))
        )(?=[\w+/=.-]{4})""",
    re.VERBOSE,
)
AROUND = 256  # characters before and after a cut that may belong to it


def find_base64(source: Source, has_secret: Callable[[str], bool]) -> Iterator[Span]:
    """Runs of base64 whose text has a secret in it go whole."""
    raw = source.raw
    for start, end in runs(raw.translate(BASE64_BYTES), SHORTEST):
        if end - start > LONGEST:
            continue
        if raw[start - 1 : start] == b"\\" and raw[start : start + 1] in b"nrt":
            start += 1
        # "NAME=" before it, or the slash of a path, are no base64; ordinary runs end here, at their first bytes.
        equals = raw.find(b"=", start, end)
        if 0 <= equals < end - SHORTEST:
            start = equals + 1
        if not _is_text(raw[start : start + 8]):
            continue
        body = raw[start:end].rstrip(b"=").translate(URL_SAFE)
        try:
            decoded = a2b_base64(body[: len(body) - (len(body) % 4 == 1)] + b"===")
            text = decoded.decode()
        except (Error, UnicodeDecodeError):
            continue
        if has_secret(text):
            yield Span(start, end, "base64", RANK)


def _is_text(head: bytes) -> bool:
    try:
        return PRINTABLE.match(a2b_base64(head.translate(URL_SAFE))) is not None
    except Error:
        return False


def find_cut(source: Source, find: Callable[[Source], list[Span]]) -> Iterator[Span]:
    """What is a secret only once the pieces are put together."""
    text = source.text
    cuts = list(CUT.finditer(text))
    at = 0
    while at < len(cuts):
        last = at
        while last + 1 < len(cuts) and cuts[last + 1].start() - cuts[last].end() < AROUND:
            last += 1
        yield from _in_window(text, cuts[at : last + 1], find)
        at = last + 1


def _in_window(text: str, cuts: list[re.Match[str]], find: Callable[[Source], list[Span]]) -> Iterator[Span]:
    begin, end = max(0, cuts[0].start() - AROUND), min(len(text), cuts[-1].end() + AROUND)
    pieces: list[str] = []
    # Where each piece begins, in the text put together and in the text as it is.
    joined, original = [0], [begin]
    for cut in cuts:
        pieces.append(text[original[-1] : cut.start()])
        joined.append(joined[-1] + len(pieces[-1]))
        original.append(cut.end())
    pieces.append(text[original[-1] : end])

    def origin(place: int) -> int:
        piece = bisect_right(joined, place) - 1
        return original[piece] + place - joined[piece]

    for span in find(Source("".join(pieces))):
        if bisect_right(joined, span.start) < bisect_left(joined, span.end):  # It goes over a cut.
            yield Span(origin(span.start), origin(span.end - 1) + 1, span.kind, span.rank)
