"""What a lesson's trigger looks at: one moment of a session, as text and paths. Pure functions."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

Phase: TypeAlias = Literal["before", "after_failure", "prompt", "end"]
"""before a call runs · after a call failed · when the user has sent a prompt · when the agent is about to stop"""
PHASES: tuple[Phase, ...] = get_args(Phase)

MOST_CHARS = 20_000
"""What is looked at of a text: its first half and its last. Nobody waits for a pattern to read a whole file."""
MOST_PATHS = 50

_PATH_FIELD = re.compile(r"(?:^|_)(?:path|file|filename|folder|dir|directory)s?$|(?:Path|File)s?$")
_SHELL_WORD = re.compile(r"""[^\s'"`;|&<>()=,]+""")
_PATH_LIKE = re.compile(r"[\w@.~+-]*/[\w@./~+-]*|[\w@+-]+(?:\.[\w@+-]+)*\.[A-Za-z]\w{0,7}|\.[A-Za-z][\w.-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """Where a lesson could speak. Held in memory only: its texts are not redacted."""

    phase: Phase
    tool: str = ""
    """The tool's name; empty at a prompt and at an end."""
    text: str = ""
    paths: tuple[str, ...] = ()
    """Absolute where `cwd` was known."""


def call(
    phase: Phase,
    tool: str,
    given: Mapping[str, Any],
    *,
    cwd: str | None = None,
    error: str | None = None,
) -> Moment:
    """A tool call. Its text is the command of a shell call; of any other the input's values, a line each, as
    `field: value` (`edits.0.new_string: …` for nested ones). After a failure the error follows."""
    shell = given.get("command")
    is_shell = isinstance(shell, str)
    text = (
        shell if isinstance(shell, str) else "\n".join(f"{name}: {value}" for name, value in _leaves(given))
    )
    if error:
        text = f"{text}\n{error}"
    words = _shell_paths(shell) if isinstance(shell, str) else ()
    named = [value for name, value in _leaves(given) if not is_shell and _names_path(name)]
    paths = dict.fromkeys(os.path.normpath(_absolute(path, cwd)) for path in [*named, *words] if path)
    return Moment(phase=phase, tool=tool, text=shortened(text), paths=tuple(paths)[:MOST_PATHS])


def said(phase: Literal["prompt", "end"], text: str) -> Moment:
    """A prompt of the user's, or the agent's last words of a turn."""
    return Moment(phase=phase, text=shortened(text))


def shortened(text: str) -> str:
    half = MOST_CHARS // 2
    return text if len(text) <= MOST_CHARS else f"{text[:half]}\n{text[-half:]}"


def _leaves(value: Any, name: str = "", depth: int = 0) -> Iterator[tuple[str, str]]:
    """Every plain value in a JSON value, with the names that lead to it."""
    if isinstance(value, Mapping | list | tuple):
        items = value.items() if isinstance(value, Mapping) else enumerate(value)
        if depth < 8:
            for key, item in items:
                yield from _leaves(item, f"{name}.{key}" if name else str(key), depth + 1)
    elif isinstance(value, bool):
        yield name, "true" if value else "false"
    elif value is not None:
        yield name, str(value)


def _names_path(name: str) -> bool:
    fields = [part for part in name.split(".") if not part.isdigit()]
    return bool(fields) and bool(_PATH_FIELD.search(fields[-1]))


def _shell_paths(command: str) -> tuple[str, ...]:
    """The words of a command that look like files: with a slash, or with an extension."""
    words = _SHELL_WORD.findall(shortened(command))
    return tuple(word for word in words if _PATH_LIKE.fullmatch(word) and "://" not in word)


def _absolute(path: str, cwd: str | None) -> str:
    path = os.path.expanduser(path)
    return os.path.join(cwd, path) if cwd and not os.path.isabs(path) else path
