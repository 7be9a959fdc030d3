"""Small changes to a JSON text that leave every other byte of it as it is: a user's settings are not ours to
format.

A path is the keys and indices that lead to a value. The text must be valid JSON.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

Path: TypeAlias = Sequence[str | int]

_SPACE = re.compile(r"[\ufeff \t\r\n]*")
_DECODER = json.JSONDecoder()


@dataclass(frozen=True, slots=True)
class _Member:
    key: str | int
    start: int
    """Where it begins: at its key, or in a list at its value."""
    value: int
    end: int


def put(text: str, path: Path, value: Any) -> str:
    """Set the value at `path`. What is missing on the way is made, as objects; a new key comes last."""
    *above, last = path
    container = _find(text, above)
    if container is None:
        return put(text, above, {last: value})
    for member in reversed(_members(text, container)):
        if member.key == last:
            return text[: member.value] + _written(text, value, member.start) + text[member.end :]
    return _insert(text, container, {last: value})


def append(text: str, path: Path, value: Any) -> str:
    """Add `value` to the end of the list at `path`, which is made where it is missing."""
    container = _find(text, path)
    return put(text, path, [value]) if container is None else _insert(text, container, [value])


def remove(text: str, path: Path) -> str:
    """Remove what is at `path`, which must be there. Undoes `put` of a new key, and `append`."""
    *above, last = path
    container = _find(text, above)
    assert container is not None
    members = _members(text, container)
    index = max(index for index, member in enumerate(members) if member.key == last)
    if len(members) == 1:
        return text[: container + 1] + text[_closing(text, container, members) :]
    if index == len(members) - 1:
        return text[: members[index - 1].end] + text[members[index].end :]
    return text[: members[index].start] + text[members[index + 1].start :]


def _find(text: str, path: Path) -> int | None:
    """Where the value at `path` begins. Of a key that is there twice the last one counts, as for every
    parser."""
    at = _skip(text, 0)
    for step in path:
        values = [member.value for member in _members(text, at) if member.key == step]
        if not values:
            return None
        at = values[-1]
    return at


def _members(text: str, container: int) -> list[_Member]:
    members: list[_Member] = []
    in_object = text[container] == "{"
    at = _skip(text, container + 1)
    while text[at] not in "}]":
        start, key = at, len(members)
        if in_object:
            key, at = _DECODER.raw_decode(text, at)
            at = _skip(text, _skip(text, at) + 1)
        value = at
        _, at = _DECODER.raw_decode(text, at)
        members.append(_Member(key, start, value, at))
        at = _skip(text, at)
        if text[at] == ",":
            at = _skip(text, at + 1)
    return members


def _closing(text: str, container: int, members: Sequence[_Member]) -> int:
    return _skip(text, members[-1].end if members else container + 1)


def _insert(text: str, container: int, addition: dict[str | int, Any] | list[Any]) -> str:
    """Add the one member of `addition` as the container's last, written like its neighbours."""
    members = _members(text, container)
    closing = _closing(text, container, members)
    in_one_line = _in_one_line(text) or (members and "\n" not in text[container:closing])
    if in_one_line:
        written = json.dumps(addition, ensure_ascii=False, separators=_separators(text))[1:-1]
        if not members:
            return text[: container + 1] + written + text[closing:]
        return text[: members[-1].end] + _separators(text)[0] + written + text[members[-1].end :]
    newline, unit = _newline(text), _unit(text)
    outer = _indentation(text, container)
    inner = _indentation(text, members[-1].start) if members else outer + unit
    written = json.dumps(addition, ensure_ascii=False, indent=unit)[1:-1].strip()
    written = written.replace("\n" + unit, newline + inner)
    if not members:
        return text[: container + 1] + newline + inner + written + newline + outer + text[closing:]
    return text[: members[-1].end] + "," + newline + inner + written + text[members[-1].end :]


def _written(text: str, value: Any, at: int) -> str:
    """`value` as the text writes values, for a place in the line of `at`."""
    if _in_one_line(text):
        return json.dumps(value, ensure_ascii=False, separators=_separators(text))
    written = json.dumps(value, ensure_ascii=False, indent=_unit(text))
    return written.replace("\n", _newline(text) + _indentation(text, at))


def _skip(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    assert found is not None
    return found.end()


def _in_one_line(text: str) -> bool:
    return "\n" not in text.strip() and text.strip() not in ("{}", "[]")


def _separators(text: str) -> tuple[str, str]:
    return (", ", ": ") if re.search(r'": ', text) else (",", ":")


def _newline(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"


def _unit(text: str) -> str:
    """One step of indentation: that of the first line that has any."""
    found = re.search(r"\n([ \t]+)", text)
    return found[1] if found else "  "


def _indentation(text: str, at: int) -> str:
    """The white space that begins the line of `at`."""
    line = text[text.rfind("\n", 0, at) + 1 : at]
    return line[: len(line) - len(line.lstrip(" \t"))]
