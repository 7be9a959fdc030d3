"""Secrets that a command takes without a name beside them: `curl -u user:…`, `mysql -p…`, `sshpass -p …`."""

from __future__ import annotations

import re
from collections.abc import Iterator

from agent_memory.journal.redaction.spans import Source, Span
from agent_memory.journal.redaction.values import is_literal

RANK = 3

WORD = r"""(?:'(?P<a>[^'\n]{1,512})'|\\?"(?P<b>[^"\\\n]{1,512})|(?P<c>[^\s'"\\;|&<>]{1,512}))"""
USER_AND_PASSWORD = r"""\\?[\"']?[^\s:\"'\\]{0,128}:(?P<c>[^\s\"'\\]{1,512})"""
QUOTED = r"""\s+\\?(?:['"])(?P<c>[^'"\\\n]{1,512})"""

# The option is found first: it is rarer than the commands' names. Then the command has to stand before it.
OPTIONS = (
    (b" -p", r"(?:mysql\w*|mariadb[\w-]*)\b", rf"-p{WORD}"),
    (b" -p", r"sshpass\b", rf"-p[ \t]*{WORD}"),
    (b" -p", r"\w\s+login\b", rf"-p(?:[ \t]+|=)?{WORD}"),
    (b" -p", r"openssl\b", r"-pass(?:in|out)?[ \t]+[\"']?pass:(?P<c>[^\s\"'\\]{1,512})"),
    (b" -u", r"curl\b", rf"-u[ \t]*{USER_AND_PASSWORD}"),
    (b" --user", r"curl\b", rf"--user(?:[ \t]+|=){USER_AND_PASSWORD}"),
    (b" --proxy-user", r"curl\b", rf"--proxy-user(?:[ \t]+|=){USER_AND_PASSWORD}"),
    (b" -a", r"redis-cli\b", rf"-a[ \t]+{WORD}"),
    (b" -a", r"\bhttps?\b", rf"-a[ \t]+{USER_AND_PASSWORD}"),
    (b"identified by", r"", rf"identified by(?:\s+password)?{QUOTED}"),
    (b"identified with", r"", rf"identified with\s+\S+\s+(?:by|as){QUOTED}"),
)
# The command up to its option, over lines continued by a backslash; a new command begins after ; | & or a line's end.
COMMAND = r"(?:[^\n;|&\\]|\\[^\n]|\\\n)*"
COMPILED = [
    (needle, re.compile(rf"{command}{COMMAND}\Z") if command else None, re.compile(option, re.IGNORECASE))
    for needle, command, option in OPTIONS
]
LONGEST_COMMAND = 400


def find(source: Source) -> Iterator[Span]:
    text = source.text
    for needle, command, option in COMPILED:
        for hit in source.hits(needle):
            at = hit + (needle[0] == 32)
            match = option.match(text, at)
            if not match or (command and not command.search(text, max(0, hit - LONGEST_COMMAND), hit)):
                continue
            start, end = next(match.span(group) for group in ("a", "b", "c") if match.groupdict().get(group))
            if is_literal(text[start:end]) and end - start >= 3:
                yield Span(start, end, "password", RANK)
