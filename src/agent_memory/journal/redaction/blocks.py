"""Secrets of many lines: `<private>` blocks, PEM private keys, Kubernetes Secrets, private JSON Web Keys."""

from __future__ import annotations

import re
from collections.abc import Iterator

from agent_memory.journal.redaction.spans import Source, Span
from agent_memory.journal.redaction.values import is_literal

RANK_OF_PRIVATE = 0
RANK = 1

NEEDLES = (b"private", b"secret", b"kty")

PRIVATE_TAG = re.compile(
    r"(?:<|\\u003c)(?P<end>(?:\\?/)?)private(?:\s[^<>]{0,200}?)?(?:>|\\u003e)", re.IGNORECASE
)

PEM_BEGIN = re.compile(r"-----BEGIN (?:[A-Z0-9]{1,20} ){0,4}PRIVATE KEY(?: BLOCK)?-----", re.IGNORECASE)
PEM_END = re.compile(r"-----END (?:[A-Z0-9]{1,20} ){0,4}PRIVATE KEY(?: BLOCK)?-----", re.IGNORECASE)
LONGEST_PEM = 32_768  # characters; an RSA key of 16,384 bits has 13,000
# What a key's text is made of, also numbered, quoted, indented, in a diff, or with its line ends escaped.
PEM_MARGIN = r"""[ \t]*+(?:\d{1,6}[→\t:|])?+[ \t]*+[+\-|>*\#"'(]{0,3}+[ \t]*+"""
PEM_LINE = rf"""(?:{PEM_MARGIN}
        (?:[A-Za-z0-9+/]{{16,}}={{0,2}}|[A-Za-z0-9+/]{{1,15}}={{1,2}}|=[A-Za-z0-9+/]{{4}}
          |(?:Proc-Type|DEK-Info|Version|Comment|Hash|Charset):[^\n\\]{{0,200}})?
        ["'+),;]{{0,4}}+[ \t]*+)"""
PEM_LAST = rf"(?:{PEM_MARGIN}(?=[a-z]*[A-Z0-9+/])[A-Za-z0-9+/]{{1,15}})"
LINE_END = r"""(?:\r?\n|\\{1,6}r\\{1,6}n|\\{1,6}n|\\{1,6}\r?\n)"""
PEM_REST = re.compile(
    rf"{LINE_END}?(?:{PEM_LINE}{LINE_END}){{0,400}}+(?:{PEM_LINE}(?=\s|\\|\Z))?(?:{PEM_LAST}(?=\s|\\|\Z))?",
    re.VERBOSE,
)
PEM_BODY = re.compile(rf"{PEM_MARGIN}[A-Za-z0-9+/=]{{16,80}}\r?$", re.VERBOSE)
BASE64 = re.compile(r"[A-Za-z0-9+/]{16}")

PUTTY = re.compile(r"Private-Lines: \d+\s+(?P<secret>(?:[A-Za-z0-9+/=]+\s+){1,100}Private-(?:MAC|Hash): \w+)")

SECRET_MANIFEST = re.compile(r"""kind\\{0,3}["']?[ \t]*:[ \t]*\\{0,3}["']?Secret\b""")
DOCUMENT_END = re.compile(r"^[ \t]*+(?:\d++[→\t])?+---", re.MULTILINE)
LINE_MARGIN = r"(?:[ \t]*+\d++[→\t])?+[+-]?+(?P<indent>[ \t]*+)"
DATA = re.compile(rf"^{LINE_MARGIN}(?:data|stringData):[ \t]*+$", re.MULTILINE)
DATA_LINE = re.compile(rf"\n{LINE_MARGIN}(?:[\w.\-\"']++:(?:[ \t]++|$))?+(?P<value>[^\n]*+)", re.MULTILINE)
BLOCK_SIGNS = ("|", "|-", ">", ">-", "{}")
DATA_OBJECT = re.compile(r"""\\{0,3}"(?:data|stringData)\\{0,3}"\s*:\s*\{(?P<fields>[^{}]{0,60000})\}""")
FIELD = re.compile(r"""\\{0,3}"[\w.\-]+\\{0,3}"\s*:\s*(?P<quote>\\{0,3}")(?P<value>[^"\\]{1,60000})""")

JSON_WEB_KEY = re.compile(r"""["'](?:d|p|q|dp|dq|qi|k)["']\s*:\s*["'](?P<value>[A-Za-z0-9_-]{16,})""")


def find_private(text: str) -> Iterator[Span]:
    """Whole blocks, also nested; one that is never closed reaches to the end."""
    depth = start = 0
    for tag in PRIVATE_TAG.finditer(text):
        if not tag["end"]:
            if depth == 0:
                start = tag.start()
            depth += 1
        elif depth:
            depth -= 1
            if depth == 0:
                yield Span(start, tag.end(), "private", RANK_OF_PRIVATE)
    if depth:
        yield Span(start, len(text), "private", RANK_OF_PRIVATE)


def find(source: Source) -> Iterator[Span]:
    low, text = source.low, source.text
    if b"private" in low:
        yield from find_private(text)
        if b"private key" in low:
            yield from _pem(text)
        if b"private-lines" in low:
            for match in PUTTY.finditer(text):
                yield Span(*match.span("secret"), "private-key", RANK)
    if source.hits(b"secret") and b"kind" in low:
        yield from _manifests(text)
    if b"kty" in low:
        for match in JSON_WEB_KEY.finditer(text):
            yield Span(*match.span("value"), "private-key", RANK)


def _pem(text: str) -> Iterator[Span]:
    done = 0
    while begin := PEM_BEGIN.search(text, done):
        next_begin = text.find("-----BEGIN ", begin.end(), begin.end() + LONGEST_PEM)
        limit = next_begin if next_begin >= 0 else begin.end() + LONGEST_PEM
        end = PEM_END.search(text, begin.end(), limit)
        if end and BASE64.search(text, begin.end(), end.start()):
            done = end.end()
        else:
            rest = PEM_REST.match(text, begin.end())
            done = begin.end() + len(rest[0].rstrip()) if rest else begin.end()
        if BASE64.search(text, begin.end(), done):  # A constant in code has no body.
            yield Span(begin.start(), done, "private-key", RANK)
    # The end of a key whose beginning was cut off.
    for end in PEM_END.finditer(text, done):
        start = line = end.start()
        while (line := text.rfind("\n", max(0, line - 120), line)) >= 0:
            previous = text.rfind("\n", max(0, line - 120), line) + 1
            if not PEM_BODY.match(text, previous, line):
                break
            start = previous
        if start < end.start():
            yield Span(start, end.end(), "private-key", RANK)


def _manifests(text: str) -> Iterator[Span]:
    done = 0
    for kind in SECRET_MANIFEST.finditer(text):
        if kind.start() < done:
            continue
        start = max(
            (m.end() for m in DOCUMENT_END.finditer(text, max(0, kind.start() - 65_536), kind.start())),
            default=done,
        )
        following = DOCUMENT_END.search(text, kind.end(), kind.end() + 65_536)
        done = following.start() if following else min(len(text), kind.end() + 65_536)
        for data in DATA.finditer(text, start, done):
            yield from _data_lines(text, data, done)
        for data in DATA_OBJECT.finditer(text, start, done):
            for field in FIELD.finditer(text, *data.span("fields")):
                if is_literal(field["value"]):
                    yield Span(*field.span("value"), "kubernetes-secret", RANK)


def _data_lines(text: str, data: re.Match[str], end: int) -> Iterator[Span]:
    at = data.end()
    while (line := DATA_LINE.match(text, at, end)) and len(line["indent"]) > len(data["indent"]):
        value = line["value"].strip(" \t\r\"'")
        if value and value not in BLOCK_SIGNS and is_literal(value):
            start = line.start("value") + line["value"].index(value)
            yield Span(start, start + len(value), "kubernetes-secret", RANK)
        at = line.end()
