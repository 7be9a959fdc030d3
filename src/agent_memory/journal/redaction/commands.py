"""Secrets that a command takes without a name beside them: `curl -u user:…`, `mysql -p…`, `sshpass -p …`."""

from __future__ import annotations

import re
from collections.abc import Iterator

from agent_memory.journal.redaction.spans import Source, Span
from agent_memory.journal.redaction.values import is_literal

RANK = 3

WORD = r"""(?:'(?P<a>[^'\n]{1,512})'|\\?"(?P<b>[^"\\\n]{1,512})|(?P<c>[^\s'"\\;|&<>]{1,512}))"""
USER = r"""(?:-u|--user|--proxy-user|-U|-a|--auth)(?:[ \t]+|=)?"""

OPTIONS = (
    (b"curl", "password", re.compile(rf"\s{USER}(?P<q>\\?[\"']?)[^\s:\"'\\]{{0,128}}:(?P<c>[^\s\"'\\]{{1,512}})")),
    (b"mysql", "password", re.compile(rf"\s-p{WORD}")),
    (b"mariadb", "password", re.compile(rf"\s-p{WORD}")),
    (b"sshpass", "password", re.compile(rf"\s-p[ \t]*{WORD}")),
    (b"redis-cli", "password", re.compile(rf"\s(?:-a|--pass)[ \t]+{WORD}")),
    (b" login ", "password", re.compile(rf"\s-p(?:[ \t]+|=)?{WORD}")),
    (b"htpasswd", "password", re.compile(rf"\s-\w*b\w*[ \t]+\S+[ \t]+\S+[ \t]+{WORD}")),
    (b"openssl", "password", re.compile(r"\s-pass(?:in|out)?[ \t]+[\"']?pass:(?P<c>[^\s\"'\\]{1,512})")),
    (b"identified by", "password", re.compile(r"""\s+(?:password\s+)?\\?(?P<q>['"])(?P<c>[^'"\\\n]{1,512})""", re.IGNORECASE)),
    (b"identified with", "password", re.compile(r"""\s+\S+\s+(?:by|as)\s+\\?(?P<q>['"])(?P<c>[^'"\\\n]{1,512})""", re.IGNORECASE)),
)
# The rest of the command, over lines continued by a backslash.
COMMAND = re.compile(r"(?:[^\n\\]|\\[^\n]|\\\n){0,2000}+")


def find(source: Source) -> Iterator[Span]:
    text = source.text
    for needle, kind, option in OPTIONS:
        done = 0
        for hit in source.hits(needle):
            if hit < done:
                continue
            at = hit + len(needle.rstrip())
            done = COMMAND.match(text, at).end()  # type: ignore[union-attr]
            for match in option.finditer(text, at, done):
                start, end = next(match.span(group) for group in ("a", "b", "c") if match.groupdict().get(group))
                if is_literal(text[start:end]) and end - start >= 3:
                    yield Span(start, end, kind, RANK)
