"""Small changes to a TOML text that leave every other byte of it as it is: a user's settings are not ours to format.

A table is put at the end of the text under a header of its own, `[above.name]`, or in the place of the one that is
there. Whatever is done is read again and compared: what cannot be done so (a table that is written in one line with its
neighbours) is left alone.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agent_memory.errors import AgentMemoryError

_HEADER = re.compile(r"[ \t]*\[\[?[ \t]*(?P<keys>[^\]\n]+?)[ \t]*\]\]?[ \t]*(?:#[^\n]*)?\n?$")
_KEY = re.compile(r"""[ \t]*(?:"((?:[^"\\]|\\.)*)"|'([^']*)'|([A-Za-z0-9_-]+))[ \t]*(?:\.|$)""")
_LONG_TEXT = re.compile(
    r""""{3}(?:\\.|[^\\])*?"{3}|'{3}.*?'{3}|"(?:\\.|[^"\\\n])*"|'[^'\n]*'|#[^\n]*""", re.S
)
"""Texts over several lines, and what may hold their quotes."""
_BARE = re.compile(r"[A-Za-z0-9_-]+")


def parse(path: Path, text: str) -> dict[str, Any]:
    """The table in `text`, which was read from `path`. `{}` stands for an empty one, as in JSON."""
    try:
        return tomllib.loads("" if text.strip() == "{}" else text.removeprefix("\ufeff"))
    except tomllib.TOMLDecodeError as error:
        raise AgentMemoryError(
            f"{path} is not valid TOML: {error}.", "Nothing was changed. Mend the file, then try again."
        ) from None


def put(text: str, path: Sequence[str], table: dict[str, Any]) -> str:
    """Set the values of the table at `path`. Others that it has, and the tables in it, stay.

    Values are texts, lists of texts, numbers, booleans, and tables of those. AgentMemoryError where the text is
    written in such a way that nothing can be added to it.
    """
    text = "" if text.strip() == "{}" else text
    there = _at(tomllib.loads(text.removeprefix("\ufeff")), path)
    lines = _lines(text)
    block = _block(lines, path, whole=False)
    if block is None:
        if lines and not lines[-1].endswith("\n"):
            lines[-1] += "\n"
        lines += [*["\n"] * bool(lines), *_written(path, table)]
    else:
        kept = {
            name: value
            for name, value in (there or {}).items()
            if not isinstance(value, dict) or _block(lines, [*path, name]) is None
        }
        lines[slice(*block)] = _written(path, {**kept, **table})
    return _checked("".join(lines), text, path, {**(there or {}), **table})


def remove(text: str, path: Sequence[str]) -> str:
    """Remove the table at `path`, which must be there, and the tables in it. Undoes `put` of a new one."""
    lines = _lines(text)
    while (block := _block(lines, path)) is not None:
        start, end = block
        if start and not lines[start - 1].strip():
            start -= 1
        del lines[start:end]
    return _checked("".join(lines), text, path, None)


def _written(path: Sequence[str], table: dict[str, Any]) -> list[str]:
    header = ".".join(map(_key, path))
    return [f"[{header}]\n", *(f"{_key(name)} = {_value(value)}\n" for name, value in table.items())]


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else _value(name)


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_key(name)} = {_value(one)}" for name, one in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _lines(text: str) -> list[str]:
    return [line for line in re.split(r"(?<=\n)", text) if line]


def _block(lines: Sequence[str], path: Sequence[str], *, whole: bool = True) -> tuple[int, int] | None:
    """The lines of the first header and its values, from and to, of the table, or (`whole`) of a table in it."""
    headers = [_keys(line) for line in _lines(_LONG_TEXT.sub(_blank, "".join(lines)))]
    starts = [
        number
        for number, keys in enumerate(headers)
        if keys is not None and (keys[: len(path)] if whole else keys) == list(path)
    ]
    if not starts:
        return None
    start = starts[0]
    end = next((number for number in range(start + 1, len(lines)) if headers[number] is not None), len(lines))
    while end > start + 1 and (not lines[end - 1].strip() or lines[end - 1].lstrip().startswith("#")):
        end -= 1  # comments and blank lines behind the last value belong to what follows
    return start, end


def _blank(found: re.Match[str]) -> str:
    """A text over several lines as so many blank ones: a line in it may look like a header."""
    return re.sub(r"[^\n]", " ", found[0]) if found[0].startswith(('"""', "'''")) else found[0]


def _keys(line: str) -> list[str] | None:
    """The keys of a table's header; None where the line is none."""
    header = _HEADER.match(line)
    if header is None:
        return None
    keys, at = [], 0
    while at < len(header["keys"]):
        found = _KEY.match(header["keys"], at)
        if found is None:
            return None  # such as the end of a list that goes over several lines
        keys.append(json.loads(f'"{found[1]}"') if found[1] is not None else found[2] or found[3])
        at = found.end()
    return keys


def _at(table: dict[str, Any], path: Sequence[str]) -> dict[str, Any] | None:
    value: Any = table
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else None


def _checked(after: str, before: str, path: Sequence[str], table: dict[str, Any] | None) -> str:
    """`after`, where it says what `before` says and `table` at `path` (None: nothing there)."""
    wanted = tomllib.loads(before.removeprefix("\ufeff"))
    *above, last = path
    container = wanted
    for name in above:
        container = container.setdefault(name, {})
    if table is None:
        container.pop(last, None)
    else:
        container[last] = table
    try:
        done = tomllib.loads(after.removeprefix("\ufeff"))
    except tomllib.TOMLDecodeError:
        done = None
    if done is None or _without_empty(done) != _without_empty(wanted):
        what = "" if table is None else f"\n\n{''.join(_written(path, table))}"
        raise AgentMemoryError(
            f"`{'.'.join(path)}` cannot be {'taken out of' if table is None else 'put into'} the TOML file.",
            f"Nothing was changed. Do it by hand.{what}",
        )
    return after


def _without_empty(table: dict[str, Any]) -> dict[str, Any]:
    """Without tables that hold nothing: a header's going takes the table above it along."""
    kept = {
        name: _without_empty(value) if isinstance(value, dict) else value for name, value in table.items()
    }
    return {name: value for name, value in kept.items() if value != {}}
