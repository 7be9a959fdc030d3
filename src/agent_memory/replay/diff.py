"""What an edit changed, as lines with signs. Pure functions over a call's input, in the words of the agents' tools."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any, Literal, TypeAlias

MOST_LINES = 600
"""Of both sides together: longer ones are not compared, since that takes a time that grows with the square."""
_CONTEXT = 2  # unchanged lines around a change

Sign: TypeAlias = Literal["+", "-", " ", "…"]


@dataclass(frozen=True, slots=True)
class Diff:
    """The changes of one file."""

    path: str
    lines: Sequence[tuple[Sign, str]]
    """… stands for lines that did not change."""

    @property
    def added(self) -> int:
        return sum(sign == "+" for sign, _ in self.lines)

    @property
    def removed(self) -> int:
        return sum(sign == "-" for sign, _ in self.lines)


_PATHS = ("file_path", "filePath", "absolute_path", "notebook_path", "path")
_BEFORE = ("old_string", "oldString", "old_str")
_AFTER = ("new_string", "newString", "new_str")
_WHOLE = ("content", "contents", "file_text", "new_source")
_WRITES = re.compile(r"write|create|edit|replace|insert", re.I)
_PATCHED = re.compile(r"^\*\*\* (?:Add|Update|Delete) File: (.*)$")


def diffs(tool: str, given: Mapping[str, Any] | None) -> list[Diff]:
    """The changes that a call asked for; none where it is no edit."""
    if not given:
        return []
    patch = next((text for text in _texts(given) if "*** Begin Patch" in text), None)
    if patch is not None:
        return list(_patched(patch))
    path = _text(given, _PATHS) or ""
    edits = given.get("edits")
    pairs = [
        (before or "", after or "")
        for edit in (edits if isinstance(edits, list) else [given])
        if isinstance(edit, dict)
        for before, after in [(_text(edit, _BEFORE), _text(edit, _AFTER))]
        if before is not None or after is not None
    ]
    if pairs:
        lines: list[tuple[Sign, str]] = []
        for before, after in pairs:
            lines += [("…", "")] * bool(lines)
            lines += _compared(before.splitlines(), after.splitlines())
        return [Diff(path, lines)]
    whole = _text(given, _WHOLE)
    if whole is not None and path and _WRITES.search(tool):
        return [Diff(path, [("+", line) for line in whole.splitlines()])]
    return []


def _compared(before: list[str], after: list[str]) -> Iterator[tuple[Sign, str]]:
    if len(before) + len(after) > MOST_LINES:
        yield from (("-", line) for line in before)
        yield from (("+", line) for line in after)
        return
    matcher = SequenceMatcher(None, before, after, autojunk=False)
    for number, group in enumerate(matcher.get_grouped_opcodes(_CONTEXT)):
        if number:
            yield "…", ""
        for what, i, i_end, j, j_end in group:
            if what == "equal":
                yield from ((" ", line) for line in before[i:i_end])
            else:
                yield from (("-", line) for line in before[i:i_end])
                yield from (("+", line) for line in after[j:j_end])


def _patched(patch: str) -> Iterator[Diff]:
    """The files of a patch as Codex writes it."""
    path, lines = "", list[tuple[Sign, str]]()
    for line in patch[patch.index("*** Begin Patch") :].splitlines()[1:]:
        named = _PATCHED.match(line)
        if named or line.startswith("*** End Patch"):
            if path:
                yield Diff(path, lines)
            if named is None:
                return
            path, lines = named[1], []
        elif line.startswith("@@"):
            lines += [("…", line[2:].strip())] * bool(lines)
        elif line[:1] in ("+", "-", " "):
            lines.append((line[0], line[1:]))  # type: ignore[arg-type]
    if path:
        yield Diff(path, lines)


def _texts(given: Mapping[str, Any]) -> Iterator[str]:
    for value in given.values():
        if isinstance(value, str):
            yield value
        elif isinstance(value, list):
            yield from (word for word in value if isinstance(word, str))


def _text(given: Mapping[str, Any], names: Sequence[str]) -> str | None:
    return next((given[name] for name in names if isinstance(given.get(name), str)), None)
