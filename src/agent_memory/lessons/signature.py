"""What a failure is known by: the tool, the program, and the line that names the error without what varies in it.
Pure functions.

Two failures with one cause read the same here; the file, the line number, the hash and the time in them do not count.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from agent_memory.observations import commands
from agent_memory.observations.calls import Call, writes
from agent_memory.observations.commands import Run
from agent_memory.observations.failures import error_lines, tells

LONGEST = 200
_MOST_LINES = 400

# What is taken out, in this order. No replacement holds anything that a pattern takes.
_REDACTED = re.compile(r"\[REDACTED[^\]]*\]")
_VARYING: tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...] = (
    (re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s'\"`<>]+", re.I), "<url>"),
    (re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+"), "<email>"),
    (re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", re.I), "<id>"),
    (re.compile(r"(?<![\w<])(?:[A-Za-z]:\\|~?/|\.{1,2}/)[^\s'\"`:,;()\[\]{}<>]*"), "<path>"),
    (re.compile(r"(?<![\w<-])[\w.@+-]+(?:/[\w.@+-]+)+/?"), "<path>"),
    (
        re.compile(
            r"(?<![\w<])[\w@+-][\w.@+-]*\.(?:[cm]?[jt]sx?|pyi?|exs?|rs|go|java|kt|rb|php|sh|sql|c|h|cc|cpp|hpp|cs|swift"
            r"|html?|s?css|vue|svelte|json|ya?ml|toml|lock|md|txt|csv|log|xml|ini|cfg|env)\b(?![\w(])"
        ),
        "<path>",
    ),
    (re.compile(r"\b(?=[a-f]*\d)(?=\d*[a-f])[0-9a-f]{7,64}\b", re.I), "<hash>"),
    (re.compile(r"\b0x[0-9a-f]+\b", re.I), "<hash>"),
    (
        re.compile(r"\b([A-Z]{1,5}-?\d{3,5})\b|\d+"),
        lambda found: found[1] or "<n>",
    ),  # E0432, TS2322 are names
    (re.compile(r"<n>(?:(?:[.:,/T_-]|\s(?=<n>))?(?:<n>|Z\b|ms\b|s\b|kB\b|MB\b|GB\b|%))+"), "<n>"),
    (re.compile(r"<path>(?::<n>|\(<n>\))+"), "<path>"),
)
# A quoted value stays where it reads like the name of something: an option, a module, a script, a variable.
_QUOTED = re.compile(r"(?<!\w)(['\"`‘“])([^'\"`’”\n]*)(['\"`’”])(?!\w)")
_NAME = re.compile(r"-{0,2}[A-Za-z_@][A-Za-z_.:-]{1,39}$")

_EXCEPTION = re.compile(
    r"^(?:E\s+)?(?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:Error|Exception|Exit|Interrupt|NotFound)\b(?::|$)"
)
_PYTEST = re.compile(r"^E\s{2,}\S")
_SHELL = re.compile(
    r"command not found|not recognized as an internal|: not found$|No such file or directory|no matches found"
    r"|unknown (?:option|flag|command|argument|shorthand)|unrecognized (?:option|argument|command)|No module named"
    r"|^! \[(?:remote )?rejected\]|Cannot find module|Missing script|is not a \w+ command|(?:invalid|illegal) option"
    r"|ambiguous argument",
    re.I,
)
_NOT_FOUND = re.compile(r"^(?:.*:\s)?(?:command not found: (\S+)|(\S+): (?:command )?not found)$")
_SHELL_NAME = re.compile(r"^(?:E\s{2,}|(?:\(eval\)|(?:/\S*/)?(?:ba|z|da)?sh)(?::\s*(?:line\s+)?\d+)?:\s*)")
_NPM = re.compile(
    r"^(?:npm|yarn|pnpm)\s*(?:ERR!|ERR_\w+|error)\s+(?!errno|syscall|path|A complete log|command|cwd)", re.I
)
_PLAIN = re.compile(r"^(?:[\w./-]+:\s*)?(?:fatal|error|panic|abort\w*)\b\s*[:\[(]", re.I)
_PASSING = re.compile(r"^\s*(?:hint|note|warning|info)\b", re.I)


@dataclass(frozen=True, slots=True, order=True)
class Signature:
    tool: str
    """`Edit` for all that write a file."""
    program: str
    """The program and its subcommand where the tool runs commands; empty for others."""
    error: str

    def __str__(self) -> str:
        return " · ".join(part for part in (self.tool, self.program, self.error) if part)


def signature(call: Call) -> Signature | None:
    """A failed call's signature. None: it says nothing that another failure could be told from it by."""
    line = telling_line(call.error or call.output or "")
    if not line:
        return None
    run = culprit(call.command, line) if call.command else None
    return Signature("Edit" if writes(call) else call.tool, run.key if run else "", normalised(line))


def normalised(line: str) -> str:
    """A line without paths, numbers, hashes, ids, times, addresses, and quoted values that are not names."""
    line = " ".join(_REDACTED.sub("<secret>", _SHELL_NAME.sub("", line.strip())).split())[:1_000]
    if found := _NOT_FOUND.match(line):
        line = f"command not found: {found[1] or found[2]}"
    while (again := _normalised_once(line)) != line:
        line = again
    return line


def telling_line(text: str) -> str:
    """The one line of a failed call's output that says best why it failed; empty where none says anything."""
    lines = [line for line in error_lines(text)[-_MOST_LINES:] if not _PASSING.match(line)]
    for pattern, last in (
        (_SHELL, False),
        (_EXCEPTION, True),
        (_PYTEST, False),
        (_NPM, False),
        (_PLAIN, False),
    ):
        found = [place for place, line in enumerate(lines) if pattern.search(line)]
        if found:
            return _with_next(lines, found[-1 if last else 0])
    return (
        _with_next(lines, next((place for place, line in enumerate(lines) if tells(line)), 0))
        if lines
        else ""
    )


def culprit(command: str, line: str) -> Run | None:
    """The program of a command line that a telling line is about: the one that it names, or else the one that the
    command is known by."""
    found = [run for run in commands.runs(command) if run.key]
    said = set(re.findall(r"[\w.+-]+", line))
    for run in found:
        name = run.words[0].rsplit("/", 1)[-1] if run.words else ""
        if name and (name in said or (name == "git" and line.startswith("fatal:"))):
            return run
    key = commands.key_of(command)
    return next((run for run in found if run.key == key), found[0] if found else None)


def _with_next(lines: Sequence[str], place: int) -> str:
    """A line, and the next one where it only announces that."""
    line = lines[place]
    return f"{line} {lines[place + 1]}" if line.endswith(":") and place + 1 < len(lines) else line


def _normalised_once(line: str) -> str:
    for pattern, instead in _VARYING:
        line = pattern.sub(instead, line)
    line = _QUOTED.sub(lambda quoted: quoted[0] if _NAME.match(quoted[2]) else "<value>", line)
    return " ".join(line.split())[:LONGEST].rstrip()
