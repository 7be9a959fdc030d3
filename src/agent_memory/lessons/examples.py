"""Triggers from examples: what the calls that failed have in common. Pure functions.

Several are proposed for a failure, from the general to the narrow; which one is best is counted over the history.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from agent_memory.lessons.changes import Change
from agent_memory.lessons.corrections import Correction
from agent_memory.lessons.history import ABSENT, Step
from agent_memory.lessons.trigger import LONGEST_PATTERN, Trigger
from agent_memory.observations.calls import relative, writes
from agent_memory.observations.commands import Run

_BEFORE = r"(?:^|[;&|(]|\b(?:sudo|time|env|timeout \S+|\w+=\S+)\s)\s*"
_ALONE = r"^\s*"
"""The first thing on a line: not behind a `cd` or an assignment."""
_AFTER = r"(?:[\s;&|)]|$)"
_END = r"(?:[=\s;&|)]|$)"
_NOTHING_MORE = r"\s*(?:\d*>\S*\s*)*(?:[;&|)]|$)"
_SAME_COMMAND = r"[^\n;&|]*\s"

EDITS = ("Edit", "MultiEdit", "NotebookEdit", "Write")


def triggers(steps: Sequence[Step], change: Change, roots: Sequence[str]) -> list[Trigger]:
    """Triggers that would have spoken before at least most of these failed calls, which have one signature."""
    if steps[0].run is not None:
        return _of_commands([step for step in steps if step.run], change)
    if writes(steps[0].call):
        return _of_files(steps, roots)
    return _of_inputs(steps)


def trigger_of(correction: Correction) -> Trigger:
    """What the user spoke against, whenever it is about to be done again."""
    if correction.run is None:
        (name,) = correction.named
        return Trigger(tools=EDITS, files=(f"{name}**" if name.endswith("/") else name,))
    options = [word for word in correction.named if word.startswith("--")]
    named = r"\s+".join(re.escape(word) for word in correction.named if word not in options)
    pattern = (
        _BEFORE + named + (rf"\s(?:{_SAME_COMMAND})?{re.escape(options[0])}{_END}" if options else _AFTER)
    )
    return Trigger(tools=(correction.step.call.tool,), pattern=pattern, kind="regex")


def _of_commands(steps: Sequence[Step], change: Change) -> list[Trigger]:
    found = [step.run for step in steps if step.run]
    tools = tuple(sorted({step.call.tool for step in steps}))
    patterns: dict[str, None] = {}
    for head in _heads(found, steps[0].failure.error if steps[0].failure else ""):
        named = r"\s+".join(map(re.escape, head))
        patterns.setdefault(_BEFORE + named + _AFTER)
        for word in [*dict.fromkeys(map(_option, change.gone)), *_shared(found, len(head))]:
            patterns.setdefault(rf"{_BEFORE}{named}\s(?:{_SAME_COMMAND})?{re.escape(word)}{_END}")
        if (through := _through_the_gap(found, change)) and through[: len(head)] == head:
            patterns.setdefault(_BEFORE + r"\s+".join(map(re.escape, through)) + _AFTER)
        if any("&&" in change.worked or "=" in word for word in change.worked[:1]):
            patterns.setdefault(_ALONE + named + _AFTER)
        if all(len(run.words) <= len(head) for run in found):
            patterns.setdefault(_BEFORE + named + _NOTHING_MORE)
    return [
        Trigger(tools=tools, pattern=pattern, kind="regex")
        for pattern in patterns
        if len(pattern) <= LONGEST_PATTERN
    ]


def _heads(found: Sequence[Run], error: str) -> list[tuple[str, ...]]:
    """The program as it was typed, with its subcommand and without: the commonest ways."""
    heads: Counter[tuple[str, ...]] = Counter()
    missing = ABSENT.match(error)
    if missing and all(missing[1] in run.text.split() for run in found):
        return [(missing[1],)]
    for run in found:
        heads[run.words[: 1 + run.key.count(" ")]] += 1
    common = [head for head, count in heads.most_common(3) if 3 * count >= len(found)]
    return list(dict.fromkeys([*common, *(head[:1] for head in common)]))


def _through_the_gap(found: Sequence[Run], change: Change) -> tuple[str, ...]:
    """Where the fix put words in between: the words before the gap and the one behind it."""
    if change.kind != "instead" or change.gone or not change.failed:
        return ()
    size = len(change.failed) + 1
    begins = {run.words[:size] for run in found}
    return begins.pop() if len(begins) == 1 and all(len(run.words) >= size for run in found) else ()


def _option(word: str) -> str:
    return word.split("=")[0] if word.startswith("-") else word


def _shared(found: Sequence[Run], skip: int) -> list[str]:
    """The further words that all of these commands have, where there are several commands."""
    if len({run.text for run in found}) < 2:
        return []
    shared = set.intersection(*(set(run.words[skip:]) for run in found))
    return [word for word in found[0].words[skip:] if word in shared and 1 < len(word) <= 60][:4]


def _of_files(steps: Sequence[Step], roots: Sequence[str]) -> list[Trigger]:
    paths = list(dict.fromkeys(relative(step.call.path or "", roots) for step in steps))
    tools = tuple(sorted({*EDITS, *(step.call.tool for step in steps)}))
    found = [Trigger(tools=tools, files=tuple(paths[:20]))]
    folders = {path.rpartition("/")[0] for path in paths}
    endings = {path.rpartition(".")[2] for path in paths}
    if len(paths) > 1 and len(folders) == 1 and (folder := folders.pop()):
        found.append(Trigger(tools=tools, files=(f"{folder}/*",)))
    if len(paths) > 1 and len(endings) == 1 and "." in paths[0].rpartition("/")[2]:
        found.append(Trigger(tools=tools, files=(f"*.{endings.pop()}",)))
    return found


def _of_inputs(steps: Sequence[Step]) -> list[Trigger]:
    tools = (steps[0].call.tool,)
    shared = set.intersection(*(set(step.moment.text.splitlines()) for step in steps))
    lines = [line for line in steps[0].moment.text.splitlines() if line in shared and 3 < len(line) <= 120][
        :5
    ]
    return [Trigger(tools=tools), *(Trigger(tools=tools, pattern=line, kind="literal") for line in lines)]
