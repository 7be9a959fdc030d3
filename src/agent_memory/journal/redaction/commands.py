"""Secrets that a command takes without a name beside them: `curl -u user:…`, `mysql -p…`, `sshpass -p …`."""

from __future__ import annotations

import re
from collections.abc import Iterator

from agent_memory.journal.redaction.spans import Source, Span
from agent_memory.journal.redaction.values import is_literal

RANK = 3
SPACE = 0x20

WORD = r"""(?:'(?P<a>[^'\n]{1,512})'|\\?"(?P<b>[^"\\\n]{1,512})|(?P<c>[^\s'"\\;|&<>]{1,512}))"""
USER_AND_PASSWORD = r"""\\?[\"']?[^\s:\"'\\]{0,128}:(?P<c>[^\s\"'\\]{1,512})"""
QUOTED = r"""\s+\\?(?:['"])(?P<c>[^'"\\\n]{1,512})"""

# (the command, the option, the option with its value). SQL has no option: there the words themselves are both.
OPTIONS = (
    (b"mysql", b" -p", rf"-p{WORD}"),
    (b"mariadb", b" -p", rf"-p{WORD}"),
    (b"sshpass", b" -p", rf"-p[ \t]*{WORD}"),
    (b" login", b" -p", rf"-p(?:[ \t]+|=)?{WORD}"),
    (b"openssl", b" -p", r"-pass(?:in|out)?[ \t]+[\"']?pass:(?P<c>[^\s\"'\\]{1,512})"),
    (b"curl", b" -u", rf"-u[ \t]*{USER_AND_PASSWORD}"),
    (b"curl", b" --user", rf"--user(?:[ \t]+|=){USER_AND_PASSWORD}"),
    (b"curl", b" --proxy-user", rf"--proxy-user(?:[ \t]+|=){USER_AND_PASSWORD}"),
    (b"redis-cli", b" -a", rf"-a[ \t]+{WORD}"),
    (b"identified", b"identified by", rf"identified by(?:\s+password)?{QUOTED}"),
    (b"identified", b"identified with", rf"identified with\s+\S+\s+(?:by|as){QUOTED}"),
)
NEEDLES = tuple(dict.fromkeys(command for command, *_ in OPTIONS))
COMPILED = [(command, option, re.compile(whole, re.IGNORECASE)) for command, option, whole in OPTIONS]
# What may stand between the two, also over lines continued by a backslash; ; | & or a line's end begin a new command.
SAME_COMMAND = re.compile(r"(?:[^\n;|&\\]|\\[^\n]|\\\n)*+")
LONGEST_COMMAND = 1024
USER_BEFORE = re.compile(rb"\b(?:user|role|grant|login)\b")


def find(source: Source) -> Iterator[Span]:
    present = {needle for needle in NEEDLES if needle in source.low}
    if not present:
        return
    text, low = source.text, source.low
    for command, option, whole in COMPILED:
        if command not in present:
            continue
        for hit in source.hits(option):
            match = whole.match(text, hit + (option[0] == SPACE))
            if not match:
                continue
            if option.startswith(command):
                if not USER_BEFORE.search(low, max(0, hit - 200), hit):
                    continue
            else:
                begin = low.rfind(command, max(0, hit - LONGEST_COMMAND), hit)
                if begin < 0 or not SAME_COMMAND.fullmatch(text, begin, hit):
                    continue
            start, end = next(match.span(group) for group in ("a", "b", "c") if match.groupdict().get(group))
            if is_literal(text[start:end]) and end - start >= 3:
                yield Span(start, end, "password", RANK)
