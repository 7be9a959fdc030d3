"""What was done differently when it worked, from a failed call to the call that fixed it. Pure functions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from agent_memory.lessons.history import ABSENT, INVOCATION, NO_SUCH, Episode, Step, asks_for_help
from agent_memory.lessons.signature import Signature
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
    put: tuple[str, ...] = ()
    """The words that the fix put in."""
    sure: bool = field(default=True, compare=False)
    """False: it may have been something else that mended it, unless the same change mends it again."""


def change(episode: Episode) -> Change | None:
    """None: the fix tells nothing about the call, as after an edit of the code."""
    fix, failed = episode.fix, episode.failures[-1]
    if failed.run is None or not failed.call.command:
        return _given(failed, fix) if fix else Change("never")
    head = failed.run.words[: 1 + failed.run.key.count(" ")]
    if fix is None:
        return None if failed.about_code else Change("never", head)
    if not fix.call.command:
        return None
    edited = any(writes(step.call) and step.ok for step in episode.between)
    differs = _instead(failed, fix, failed.run, episode.signature)
    if differs and (not edited or INVOCATION.search(episode.signature.error)):
        return replace(differs, sure=not edited and not failed.about_code)
    if failed.about_code:
        return None
    first = _first(episode.between, failed.run.key)
    if edited:
        # The edits may have mended it; a command counts only where the error itself speaks of it.
        said = set(re.findall(r"[\w.-]+", (failed.call.error or failed.call.output or "").lower()))
        first = tuple(command for command in first if command.split()[-1].lower() in said)
    if first and (edited or not differs):
        return Change("first", head, first)
    return None


def _given(failed: Step, fix: Step) -> Change | None:
    """What was given in another way to a tool that runs no command. An edit says too much for a rule."""
    if writes(failed.call):
        return Change("never")
    before, after = failed.given, fix.given
    added = tuple(name for name in after if name not in before)
    changed = tuple(
        f"{name}: {after[name]}" for name in after if name in before and before[name] != after[name]
    )
    if not added and not changed:
        return None
    return Change("instead", (), tuple(f"with {name}" for name in added) or changed[:2])


def _instead(failed: Step, fix: Step, run: Run, failed_with: Signature) -> Change | None:
    assert failed.call.command is not None
    assert fix.call.command is not None
    before = _words(run.text)
    best: tuple[int, Change] | None = None
    context = _context(failed.call.command, run)
    absent = bool(ABSENT.match(failed_with.error))
    shared = set(run.words if NO_SUCH.search(failed_with.error) else run.words[1:])
    least = 1 if absent else 1 + run.key.count(" ")
    for good in commands.runs(fix.call.command):
        if not good.key or asks_for_help(good) or (good.key != run.key and not shared & set(good.words)):
            continue
        after = _words(good.text)
        head = _common(before, after)
        tail = _common(before[head:][::-1], after[head:][::-1])
        gone, come = before[head : len(before) - tail], after[head : len(after) - tail]
        added = [part for part in _context(fix.call.command, good) if part not in context]
        if not (added or _matters(gone, come, at_program=head < least, inside=tail > 0) or (absent and gone)):
            continue
        place = tuple(word for part in added for word in (*part.split(), "&&"))
        # Up to the last word that changed, and never less than the program and its subcommand.
        rest = min(tail, max(len(before) - least, 0))
        until = max(len(after) - rest, 1 + good.key.count(" "))
        named = before[:1] if absent else before[: len(before) - rest]
        found = Change("instead", named, (*place, *after[:until]), gone, (*place, *come))
        if best is None or len(gone) + len(come) < best[0]:
            best = (len(gone) + len(come), found)
    return best[1] if best else None


def _matters(gone: Sequence[str], come: Sequence[str], *, at_program: bool, inside: bool) -> bool:
    """Whether words that changed are part of how the program is called, and not only of what it was called for."""
    if not gone and not come:
        return False
    if any(word.startswith("-") or _ASSIGNED.match(word) for word in (*gone, *come)):
        return True
    return bool(come) and (at_program or (inside and not gone))


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
