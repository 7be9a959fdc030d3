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

# (what has to be in the text, the option, the command before it, the option with its value)
OPTIONS = (
    (b"mysql", b" -p", r"mysql\w*\b", rf"-p{WORD}"),
    (b"mariadb", b" -p", r"mariadb[\w-]*\b", rf"-p{WORD}"),
    (b"sshpass", b" -p", r"sshpass\b", rf"-p[ \t]*{WORD}"),
    (b" login", b" -p", r"\w\s+login\b", rf"-p(?:[ \t]+|=)?{WORD}"),
    (b"openssl", b" -p", r"openssl\b", r"-pass(?:in|out)?[ \t]+[\"']?pass:(?P<c>[^\s\"'\\]{1,512})"),
    (b"curl", b" -u", r"curl\b", rf"-u[ \t]*{USER_AND_PASSWORD}"),
    (b"curl", b" --user", r"curl\b", rf"--user(?:[ \t]+|=){USER_AND_PASSWORD}"),
    (b"curl", b" --proxy-user", r"curl\b", rf"--proxy-user(?:[ \t]+|=){USER_AND_PASSWORD}"),
    (b"redis-cli", b" -a", r"redis-cli\b", rf"-a[ \t]+{WORD}"),
    (b"identified", b"identified by", r"", rf"identified by(?:\s+password)?{QUOTED}"),
    (b"identified", b"identified with", r"", rf"identified with\s+\S+\s+(?:by|as){QUOTED}"),
)
NEEDLES = tuple(dict.fromkeys(needle for needle, *_ in OPTIONS))
# The command up to its option, over lines continued by a backslash; a new command begins after ; | & or a line's end.
COMMAND = r"(?:[^\n;|&\\]|\\[^\n]|\\\n)*"
COMPILED = [
    (
        needle,
        option,
        re.compile(rf"{command}{COMMAND}\Z") if command else None,
        re.compile(whole, re.IGNORECASE),
    )
    for needle, option, command, whole in OPTIONS
]
LONGEST_COMMAND = 400


def find(source: Source) -> Iterator[Span]:
    text = source.text
    present = {needle for needle in NEEDLES if needle in source.low}
    if not present:
        return
    for needle, option, command, whole in COMPILED:
        if needle not in present:
            continue
        for hit in source.hits(option):
            match = whole.match(text, hit + (option[0] == 32))
            if not match or (command and not command.search(text, max(0, hit - LONGEST_COMMAND), hit)):
                continue
            start, end = next(match.span(group) for group in ("a", "b", "c") if match.groupdict().get(group))
            if is_literal(text[start:end]) and end - start >= 3:
                yield Span(start, end, "password", RANK)
