"""When a lesson speaks: the trigger, what makes one valid, and a thousand of them matched at once. Pure.

Patterns are run by RE2, which takes time in proportion to the text whatever the pattern (docs/decisions/0015).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Generic, TypeVar

import re2

from agent_memory.errors import AgentMemoryError
from agent_memory.lessons.lesson import KINDS, Kind
from agent_memory.lessons.moment import PHASES, Moment, Phase

LONGEST_PATTERN = 500
MOST_NAMES = 20
"""Tools of a trigger, and files."""
EVERY_TOOL = "*"

_LOOK_AROUND = re.compile(r"\(\?(?:<?[=!]|>|\()")
_BACK_REFERENCE = re.compile(r"(?<!\\)(?:\\\\)*\\[1-9]|\(\?P=")
_POSSESSIVE = re.compile(r"[*+?}]\+")

_IN_LINE = r"[^\n]"
_EVERYDAY = (b"", b"ls", b"pwd", b"file_path: a.py", b"1\n2")
"""What fits the first, or all of the others, fits everything."""

K = TypeVar("K")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    """All of what is given must hold; what is not given holds always. Valid once `checked` has returned it."""

    phase: Phase = "before"
    tools: tuple[str, ...] = (EVERY_TOOL,)
    """Names, or globs such as `mcp__github__*`. Case counts. Without meaning at a prompt and at an end."""
    pattern: str = ""
    """Looked for in the moment's text. `literal`: these very characters. `glob`: within one line, `*` stands for
    any characters and `?` for one; where it begins or ends with a letter or a digit, a word must begin or end there.
    `regex`: RE2's syntax; `^` and `$` are those of a line. Case counts (but `(?i)`)."""
    kind: Kind = "literal"
    files: tuple[str, ...] = ()
    """Globs, one of which a path of the input must fit: `*.sql` by its name, `db/**/*.sql` by its last folders,
    `/etc/**` and `~/.ssh/**` whole."""


def checked(trigger: Trigger) -> Trigger:
    """The trigger with its names tidied.

    Raises AgentMemoryError (422): a pattern that cannot be run, an unknown phase or kind, or a trigger that would
    speak at everything.
    """
    if trigger.phase not in PHASES:
        raise _refused(f"There is no phase {trigger.phase!r}.", f"Use one of: {', '.join(PHASES)}.")
    if trigger.kind not in KINDS:
        raise _refused(f"There is no kind of pattern {trigger.kind!r}.", f"Use one of: {', '.join(KINDS)}.")
    at_call = trigger.phase in ("before", "after_failure")
    tools = _names(trigger.tools, "tools") or (EVERY_TOOL,)
    files = _names(trigger.files, "files")
    if not at_call and (files or tools != (EVERY_TOOL,)):
        raise _refused(
            f"A lesson of the phase {trigger.phase} has no tool and no files: nothing is called then.",
            "Leave them out, or use the phase before.",
        )
    if len(trigger.pattern) > LONGEST_PATTERN:
        raise _refused(
            f"The pattern has {len(trigger.pattern)} characters; at most {LONGEST_PATTERN} are taken.",
            "Name what is typical of it; a pattern need not match all of the text.",
        )
    if trigger.pattern and _fits_everything(_compiled(trigger.pattern, trigger.kind)):
        raise _refused(
            f"The pattern {trigger.pattern!r} matches nearly everything.",
            "Say what it must find, or leave it out.",
        )
    exactly = all(not set(tool) & set("*?[") for tool in tools)
    if not trigger.pattern and not files and trigger.phase != "end" and not (at_call and exactly):
        what = "tool call" if at_call else "prompt"
        raise _refused(
            f"This trigger would speak at every {what}.",
            "Give it a pattern" + (", files, or the exact name of a tool." if at_call else "."),
        )
    return Trigger(phase=trigger.phase, tools=tools, pattern=trigger.pattern, kind=trigger.kind, files=files)


def matches(trigger: Trigger, moment: Moment) -> bool:
    """Whether a lesson with this trigger speaks at this moment."""
    return bool(Matcher([(0, trigger)]).match(moment))


def explained(trigger: Trigger, moment: Moment) -> list[str] | None:
    """What of a trigger holds at a moment, and where. None: the lesson does not speak."""
    if not matches(trigger, moment):
        return None
    why = []
    if moment.tool:
        why.append(f"the tool is {moment.tool}")
    if trigger.pattern:
        found = _compiled(trigger.pattern, trigger.kind).search(_bytes(moment.text))
        why.append(f"“{found.group().decode(errors='replace')}” stands in it")
    for glob in trigger.files:
        fitting = [path for path in moment.paths if _file(glob).search(_bytes(path))]
        why += [f"{path} fits {glob}" for path in fitting[:1]]
    return why or ["it speaks at every end"]


class Matcher(Generic[K]):
    """Many triggers, compiled once, matched together in about the time of one."""

    def __init__(self, triggers: Iterable[tuple[K, Trigger]]) -> None:
        self._phases: dict[Phase, _Compiled[K]] = {phase: _Compiled() for phase in PHASES}
        for key, trigger in triggers:
            self._phases[trigger.phase].add(key, trigger)
        for compiled in self._phases.values():
            compiled.finish()

    def match(self, moment: Moment) -> list[K]:
        """The keys of those that hold, in the order in which they were given."""
        return self._phases[moment.phase].match(moment)


class _Compiled(Generic[K]):
    """The triggers of one phase."""

    def __init__(self) -> None:
        self._all: list[tuple[K, Trigger, tuple[re2._Regexp, ...]]] = []
        self._texts = re2.Filter()
        self._patterned: list[int] = []
        self._plain: list[int] = []
        self._tools: dict[tuple[str, ...], re2._Regexp] = {}

    def add(self, key: K, trigger: Trigger) -> None:
        number = len(self._all)
        self._all.append((key, trigger, tuple(_file(glob) for glob in trigger.files)))
        if trigger.tools not in self._tools:
            self._tools[trigger.tools] = _tool(trigger.tools)
        if trigger.pattern:
            self._texts.Add(_source(trigger.pattern, trigger.kind), _options())
            self._patterned.append(number)
        else:
            self._plain.append(number)

    def finish(self) -> None:
        if self._patterned:
            self._texts.Compile()

    def match(self, moment: Moment) -> list[K]:
        if not self._all:
            return []
        text = _bytes(moment.text)
        # A filter looks for the patterns' literal parts, all at once; only those that may match are run. RE2's set runs
        # every one in a single automaton, and is a hundred times slower on a long text (docs/decisions/0015).
        found = (self._texts.Match(text, potential=True) or []) if self._patterned else []
        numbers = sorted([*(self._patterned[place] for place in found), *self._plain])
        tool = _bytes(moment.tool)
        paths = [_bytes(path) for path in moment.paths]
        fits = {tools: bool(one.fullmatch(tool)) for tools, one in self._tools.items()} if numbers else {}
        matching = []
        for number in numbers:
            key, trigger, files = self._all[number]
            if not fits[trigger.tools]:
                continue
            if files and not any(file.search(path) for file in files for path in paths):
                continue
            if trigger.pattern and not _compiled(trigger.pattern, trigger.kind).search(text):
                continue
            matching.append(key)
        return matching


def _options() -> re2.Options:
    options = re2.Options()
    options.log_errors = False
    return options


def _fits_everything(pattern: re2._Regexp) -> bool:
    nothing, *everyday = (bool(pattern.search(text)) for text in _EVERYDAY)
    return nothing or all(everyday)


@lru_cache(maxsize=10_000)
def _compiled(pattern: str, kind: Kind) -> re2._Regexp:
    try:
        if kind == "regex":
            re2.compile(
                pattern.encode(), _options()
            )  # alone first: `a)(b` must not close the group around it
        return re2.compile(_source(pattern, kind), _options())
    except (re2.error, UnicodeEncodeError) as error:
        raise _cannot_run(pattern, error) from None


def _source(pattern: str, kind: Kind) -> bytes:
    """The pattern in RE2's syntax."""
    if kind == "regex":
        return f"(?m:{pattern})".encode()
    if kind == "literal":
        return _literal(pattern).encode()
    before = r"\b" if re.match(r"\w", pattern, re.ASCII) else ""
    after = r"\b" if re.search(r"\w$", pattern, re.ASCII) else ""
    return f"{before}{_glob(pattern, any_char=_IN_LINE)}{after}".encode()


def _glob(pattern: str, *, any_char: str) -> str:
    parts = {"*": f"{any_char}*", "?": any_char}
    return "".join(parts.get(char) or _literal(char) for char in pattern)


def _literal(text: str) -> str:
    escaped: str = re2.escape(text)
    return escaped


@lru_cache(maxsize=4_000)
def _tool(globs: tuple[str, ...]) -> re2._Regexp:
    source = "|".join(_glob(glob, any_char=r"(?s:.)") for glob in globs)
    return re2.compile(source.encode(), _options())


@lru_cache(maxsize=4_000)
def _file(glob: str) -> re2._Regexp:
    """`*` stays within a folder's name, `**` does not."""
    source = ""
    for part in re.findall(r"\*\*/|\*\*|\*|\?|[^*?]+", glob):
        source += {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}.get(part) or _literal(part)
    start = "^" if glob.startswith("/") else "(?:^|/)"
    return re2.compile(f"(?s){start}{source}$".encode(), _options())


def _names(names: tuple[str, ...], what: str) -> tuple[str, ...]:
    import os

    tidy = tuple(dict.fromkeys(name.strip() for name in names if name.strip()))
    if len(tidy) > MOST_NAMES or any(len(name) > LONGEST_PATTERN for name in tidy):
        raise _refused(f"There are too many {what}, or too long ones.", f"At most {MOST_NAMES} are taken.")
    return tuple(os.path.expanduser(name) for name in tidy) if what == "files" else tidy


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "replace")


def _cannot_run(pattern: str, error: Exception) -> AgentMemoryError:
    if _LOOK_AROUND.search(pattern):
        why = "looks ahead or behind, which RE2 cannot"
        remedy = (
            "Match the text around it as well, or use two lessons; RE2 runs in time whatever the text is."
        )
    elif _BACK_REFERENCE.search(pattern):
        why, remedy = "refers back to a group, which RE2 cannot", "Write the text out."
    elif _POSSESSIVE.search(pattern):
        why, remedy = "has a possessive quantifier, which RE2 does not need", "Leave the second + out."
    else:
        said = error.args[0] if error.args else error
        why = f"cannot be read: {said.decode(errors='replace') if isinstance(said, bytes) else said}"
        remedy = "Correct it, or use the kind literal, which takes every character as it is."
    return _refused(f"The regular expression {pattern!r} {why}.", remedy)


def _refused(problem: str, remedy: str) -> AgentMemoryError:
    return AgentMemoryError(problem, remedy, status=422)
