"""What was done differently when it worked, from a failed call to the call that fixed it. Pure functions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from agent_memory.lessons.history import INVOCATION, Episode, Step
from agent_memory.observations import commands
from agent_memory.observations.calls import writes
from agent_memory.observations.commands import Run

_ASSIGNED = re.compile(r"\w+=")
_CONTEXT = re.compile(r"(?:cd|source|\.|export|pushd)$")


@dataclass(frozen=True, slots=True)
class Change:
    """How a failure was fixed."""

    kind: Literal["instead", "first", "never"]
    """instead: the call was made in another way · first: other commands were run before the same call · never: nothing
    made it work"""
    failed: tuple[str, ...] = ()
    """The words of the failed call up to the last one that changed."""
    worked: tuple[str, ...] = ()
    """The words of the call that worked up to the last one that changed; or the commands that were run first."""
    gone: tuple[str, ...] = ()
    """The words that the fix left out or replaced."""


def change(episode: Episode) -> Change | None:
    """None: the fix tells nothing about the call, as after an edit of the code."""
    fix, failed = episode.fix, episode.failures[-1]
    invocation = bool(INVOCATION.search(episode.signature.error))
    if fix is None:
        return Change("never", _words(failed.run.text)[:2] if failed.run else ())
    if not failed.call.command or not fix.call.command or failed.run is None:
        # Of an edit or an MCP call there is no short way to say what was different.
        return Change("never") if not failed.call.command else None
    edited = any(writes(step.call) and step.ok for step in episode.between)
    differs = _instead(failed, fix, failed.run)
    if differs and (invocation or not edited):
        return differs
    first = _first(episode.between, failed.run.key)
    if first and not differs and (not edited or not commands.checks(failed.run.key)):
        return Change("first", _words(failed.run.text)[:2], first)
    return None


def _instead(failed: Step, fix: Step, run: Run) -> Change | None:
    assert failed.call.command is not None
    assert fix.call.command is not None
    before = _words(run.text)
    best: tuple[int, Change] | None = None
    context = _context(failed.call.command, run)
    for good in commands.runs(fix.call.command):
        if not good.key or (good.key != run.key and not set(run.words[1:]) & set(good.words)):
            continue
        after = _words(good.text)
        head = _common(before, after)
        tail = _common(before[head:][::-1], after[head:][::-1])
        gone, come = before[head : len(before) - tail], after[head : len(after) - tail]
        added = [part for part in _context(fix.call.command, good) if part not in context]
        if not (_matters(gone, come, head, run) or added):
            continue
        place = tuple(word for part in added for word in (*part.split(), "&&"))
        shown = (*place, *after[: max(len(after) - tail, 1 + (" " in good.key))])
        found = Change("instead", before[: max(len(before) - tail, 1 + (" " in run.key))], shown, gone)
        if best is None or len(gone) + len(come) < best[0]:
            best = (len(gone) + len(come), found)
    return best[1] if best else None


def _matters(gone: Sequence[str], come: Sequence[str], head: int, run: Run) -> bool:
    """Whether words that changed are part of how the program is called, and not only of what it was called for."""
    if not gone and not come:
        return False
    if any(word.startswith("-") or _ASSIGNED.match(word) for word in (*gone, *come)):
        return True
    fixed = 1 + run.key.count(" ")  # the program and its subcommand
    return head < fixed and bool(gone) and bool(come)


def _context(command: str, run: Run) -> list[str]:
    """Where a program of a command line runs: the `cd`, `source` and `export` before it."""
    found = []
    for other in commands.runs(command):
        if other.text == run.text:
            break
        if other.words and _CONTEXT.match(other.words[0]):
            found.append(other.text)
    return found


def _first(between: Sequence[Step], key: str) -> tuple[str, ...]:
    """The commands that were run before the same call then worked."""
    found: dict[str, None] = {}
    for step in between:
        if not step.ok or not step.call.command:
            continue
        for run in commands.runs(step.call.command):
            if (
                run.key
                and run.key != key
                and not commands.looks(run.text)
                and not run.key.startswith("git add")
            ):
                words = _words(run.text)
                found.setdefault(" ".join(words[: 1 + run.key.count(" ")]), None)
    return tuple(found)


def _words(text: str) -> tuple[str, ...]:
    """The words of a command as they were typed, without where its output goes."""
    return tuple(re.sub(r"(?:^|\s)(?:\d*|&)>>?&?\s?\S+", "", text).split())


def _common(left: Sequence[str], right: Sequence[str]) -> int:
    count = 0
    for a, b in zip(left, right, strict=False):
        if a != b:
            break
        count += 1
    return count
