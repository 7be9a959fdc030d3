"""What failed in a turn and what fixed it. Pure functions.

A failure is a call that failed, the lines of its output that name the error, and the later call on the same
target (the same program and subcommand, the same file) that worked.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from agent_memory.observations import commands
from agent_memory.observations.calls import Call, plain, relative, result_of, shown, writes
from agent_memory.observations.observation import shorten

_MOST = 50  # failures that are looked at; those of a turn that goes in circles say the same

# What the agent's harness says when the agent slips: nothing about the project.
_SLIP = re.compile(
    r"Sibling tool call errored|has not been read yet|has been modified since|String to replace not found"
    r"|Found \d+ matches of the string|No changes to make|exceeds maximum allowed|InputValidationError"
    r"|^(?:<tool_use_error>)?(?:File|Path|Directory) does not exist|EISDIR|Cancelled|No task found"
    r"|Unknown skill|stay in plan mode|parallel tool call|No such tool available",
    re.I,
)
REFUSED = re.compile(
    r"The user doesn't want to (?:proceed|take this action)|Request interrupted by user|rejected by the user",
    re.I,
)
_TAGS = re.compile(r"</?tool_use_error>|^Exit code \d+\s*$|^Error:\s*$", re.M)
_TELLING = re.compile(
    r"error|exception|fail|fatal|panic|denied|refused|cannot|can't|could not|couldn't|unable|not found"
    r"|no such|undefined|unexpected|invalid|missing|expected|mismatch|unknown|unresolved|timed? ?out|abort"
    r"|conflict|not formatted|too complex|permission|required|^\s*[✗✘×✖]"
    r"|(?-i:\bE[A-Z]{4,}|\b[A-Z]{1,4}\d{3,5}\b|\[(?!INFO|DEBUG|OK)[A-Z]{1,12}\])",
    re.I,
)
_FRAME = re.compile(
    r"^[=_-]{4,} .* [=_-]{4,}$|"
    r'^\s*(?:File "|at |from |\.{3}|~+\^|\^+$|-->|\||\d+ \|)|^\s*\[\d+/\d+\]|^Traceback|github\.com/\S*issues'
)
# What an error in a log looks like: stricter than above, for most of what a command that worked prints is no error.
_LOGGED = re.compile(
    r"\b(?:error|exception|fatal|panic(?:ked)?|traceback|denied|refused|deadlock|crash\w*|timed out|out of memory"
    r"|killed|unable to|could not|cannot)\b|(?-i:\bE[A-Z]{4,}\b|\b[A-Z]\w+(?:Error|Exception)\b)",
    re.I,
)
_LOGS = re.compile(r"\blogs?\b|journalctl|logcat|dmesg|describe|\bstatus\b")  # looks that are no look at code
_FINE = re.compile(r"\b(?:no|0|without|zero) (?:\w+ )?(?:errors?|exceptions?)\b|\berrors?[:=] ?0\b", re.I)
_BROKEN = re.compile(
    r"\b[1-9]\d* (?:\w+ )?(?:failed|failing|failures?|errors?)\b|Compilation error|build failed"
    r"|(?-i:^FAILED\b|\bFAIL(?:ED)?\s*$)",
    re.I | re.M,
)


@dataclass(slots=True)
class Failure:
    """Calls on one target that failed, one after the other."""

    calls: list[Call]
    fixed_by: Call | None = None
    between: Sequence[Call] = field(default_factory=list)
    """What was done from the last failure to the call that worked."""


def failed(call: Call) -> bool:
    """Whether it failed, or is a test run whose failure a pipe (`| tail`) hid."""
    if call.success is False:
        return True
    result = result_of(call)
    return result is not None and bool(_BROKEN.search(result))


def failures(calls: Sequence[Call]) -> list[Failure]:
    """The failures that say something about the project, in order."""
    found: list[Failure] = []
    still: dict[str, Failure] = {}
    last: dict[str, int] = {}
    for position, call in enumerate(calls):
        target = _target(call)
        if failed(call):
            if says_nothing(call):
                continue
            if target in still:
                still[target].calls.append(call)
            elif len(found) < _MOST:
                still[target] = Failure([call])
                found.append(still[target])
            last[target] = position
        elif call.success and target in still:
            failure = still.pop(target)
            failure.fixed_by = call
            failure.between = calls[last[target] + 1 : position]
    return found


def told(failure: Failure, roots: Sequence[str]) -> str:
    """A failure in one or two lines."""
    first = failure.calls[0]
    times = f" {len(failure.calls)} times" if len(failure.calls) > 1 else ""
    some = failure.calls if len(failure.calls) < 4 else [first, *failure.calls[-2:]]
    shown_errors = " / ".join(dict.fromkeys(filter(None, map(telling_lines, some))))
    line = f"Failed{times}: {_named(first, roots)}: {shorten(shown_errors, 420)}"
    return f"{line}\n{_fix(failure, roots)}"


def logged(calls: Sequence[Call], roots: Sequence[str]) -> list[str]:
    """Errors that commands showed which worked themselves, such as a look into a log: a line for each of the last
    few. What people search for is the error's own words."""
    lines: dict[str, str] = {}
    for call in calls:
        if not call.command or not call.output or failed(call):
            continue
        if commands.looks(call.command) and not _LOGS.search(call.command):
            continue  # code speaks of errors all the time
        shown_lines = (line.strip() for line in plain(call.output).splitlines())
        errors = [line for line in shown_lines if _LOGGED.search(line) and not _FINE.search(line)]
        if errors:
            said = " / ".join(shorten(line, 200) for line in dict.fromkeys([errors[0], errors[-1]]))
            lines.setdefault(said, f"Saw: `{shown(call.command, roots, 80)}`: {said}")
    return list(lines.values())[-4:]


def telling_lines(call: Call) -> str:
    """The lines of a failed call's output that name the error: the first two and the last one of them."""
    lines = error_lines(call.error or call.output or "")
    telling = [line for line in lines if tells(line)] or lines[:1] + lines[1:][-1:]
    chosen = dict.fromkeys(shorten(line, 200) for line in [*telling[:2], *telling[-1:]])
    return " / ".join(chosen)


def error_lines(text: str) -> list[str]:
    """What a failed call said, without colours, frames of a stack, and the client's own words."""
    lines = [line.strip()[:300] for line in _TAGS.sub("", plain(text)).splitlines() if line.strip()]
    return [line for line in lines if not _FRAME.match(line)] or lines


def tells(line: str) -> bool:
    """Whether a line reads like an error."""
    return bool(_TELLING.search(line))


def refusal(call: Call) -> str | None:
    """What the person said when refusing a call; empty where they said nothing. None: it was not refused."""
    if call.success is not False or not call.error or not REFUSED.search(call.error):
        return None
    _, said, reason = call.error.partition("the user said:")
    return reason.strip() if said else ""


def _target(call: Call) -> str:
    if call.command:
        return commands.key_of(call.command)
    return f"{call.tool} {call.path or ''}"


def says_nothing(call: Call) -> bool:
    """Whether a failure is the agent's own slip, the user's refusal, or a search that found nothing."""
    if call.success is not False:
        return False
    error = call.error or ""
    if _SLIP.search(error[:300]) or REFUSED.search(error):
        return True
    if call.command and commands.looks(call.command):  # grep found nothing
        return not re.search(r"command not found|denied", error)
    return not telling_lines(call)


def _named(call: Call, roots: Sequence[str]) -> str:
    if call.command:
        return f"`{shown(call.command, roots, 120)}`"
    name = call.tool.removeprefix("mcp__").replace("__", " ")
    about = relative(call.path, roots) if call.path else shorten(call.input or call.subject or "", 120)
    return f"{name} {about}".strip()


def _fix(failure: Failure, roots: Sequence[str]) -> str:
    fix = failure.fixed_by
    if fix is None:
        return "Not fixed in this turn."
    edited = dict.fromkeys(
        relative(c.path, roots) for c in failure.between if c.path and c.success and writes(c)
    )
    ran = dict.fromkeys(
        shown(call.command, roots, 100)
        for call in failure.between
        if call.command
        and call.success
        and not commands.looks(call.command)
        and not commands.checks(call.command)
    )
    steps = []
    if edited:
        steps.append(f"edited {', '.join(list(edited)[-4:])}")
    if ran:
        steps.append("ran " + ", ".join(f"`{command}`" for command in list(ran)[-3:]))
    named, before = _named(fix, roots), _named(failure.calls[-1], roots)
    if named != before:
        steps.append(f"{named} worked")
    return f"Fixed: {'; '.join(steps)}." if steps else "A later try worked."
