"""Small changes to JSON with comments and trailing commas, as VS Code, Zed and OpenCode read it: every comment stays
where it is. `json_text` does the same for plain JSON.

A comment mostly stands above what it tells of, or behind it. So a new key comes first in its object, on lines of its
own, and removing it takes those lines and nothing else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent_memory.errors import AgentMemoryError

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|//[^\n]*|/\*.*?\*/', re.S)
_TRAILING_COMMA = re.compile(r'("(?:[^"\\]|\\.)*")|,(?=\s*[}\]])', re.S)
_DECODER = json.JSONDecoder()


@dataclass(frozen=True, slots=True)
class _Member:
    key: str
    start: int
    value: int
    end: int


def parse(path: Path, text: str) -> dict[str, Any]:
    """The object in `text`, which was read from `path`. A blank text is an empty one."""
    remedy = "Nothing was changed. Mend the file, then try again."
    plain = _plain(text)
    try:
        value = json.loads(plain) if plain.strip() else {}
    except (json.JSONDecodeError, RecursionError) as error:
        raise AgentMemoryError(f"{path} is not valid JSON: {error}.", remedy) from None
    if not isinstance(value, dict):
        raise AgentMemoryError(f"{path} holds no JSON object.", remedy)
    return value


def put(text: str, path: Sequence[str], value: Any) -> str:
    """Set the value at `path`, keys all of them. What is missing on the way is made; a new key comes first. `text` must
    be one that `parse` takes."""
    plain = _plain(text)
    if not plain.strip():
        return text + put("{\n}\n", path, value)
    *above, last = path
    container = _find(plain, above)
    if container is None:
        return put(text, above, {last: value})
    for member in reversed(_members(plain, container)):
        if member.key == last:
            written = json.dumps(value, ensure_ascii=False, indent=_unit(text))
            written = written.replace("\n", "\n" + _indentation(text, member.start))
            return text[: member.value] + written + text[member.end :]
    unit, outer = _unit(text), _indentation(text, container)
    inner = outer + unit
    written = json.dumps({last: value}, ensure_ascii=False, indent=unit)[1:-1].strip()
    written = f"\n{inner}" + written.replace("\n" + unit, "\n" + inner)
    rest = text[container + 1 :]
    if _members(plain, container):
        written += ","
        if "\n" not in rest[: len(rest) - len(rest.lstrip(" \t\r\n"))]:
            written, rest = f"{written}\n{inner}", rest.lstrip(" \t")
    elif not rest.lstrip(" \t").startswith("\n"):
        written += f"\n{outer}"
    return text[: container + 1] + written + rest


def remove(text: str, path: Sequence[str]) -> str:
    """Remove what is at `path`, which must be there, with the lines that it stands on where nothing else does."""
    plain = _plain(text)
    *above, last = path
    container = _find(plain, above)
    assert container is not None
    member = next(member for member in reversed(_members(plain, container)) if member.key == last)
    end = member.end
    comma = re.compile(r"\s*,").match(text, end)
    if comma:
        end = comma.end()
    start = member.start
    before = text[container + 1 : start]
    if not before.strip():  # the first one: from the brace on
        start = container + 1
    else:
        start -= len(before) - len(before.rstrip(" \t\r\n"))
    return text[:start] + text[end:]


def _plain(text: str) -> str:
    """`text` as plain JSON of the same length: comments and trailing commas are blanked."""
    blanked = _TOKEN.sub(lambda found: found[0] if found[0].startswith('"') else _blank(found[0]), text)
    blanked = _TRAILING_COMMA.sub(lambda found: found[1] or " ", blanked)
    return " " + blanked[1:] if blanked.startswith("\ufeff") else blanked


def _blank(comment: str) -> str:
    return re.sub(r"[^\n]", " ", comment)


def _find(plain: str, path: Sequence[str]) -> int | None:
    at = _skip(plain, 0)
    for step in path:
        values = [member.value for member in _members(plain, at) if member.key == step]
        if not values:
            return None
        at = values[-1]
    return at


def _members(plain: str, container: int) -> list[_Member]:
    members: list[_Member] = []
    at = _skip(plain, container + 1)
    while plain[at] != "}":
        start = at
        key, at = _DECODER.raw_decode(plain, at)
        value = _skip(plain, _skip(plain, at) + 1)
        _, at = _DECODER.raw_decode(plain, value)
        members.append(_Member(key, start, value, at))
        at = _skip(plain, at)
        if plain[at] == ",":
            at = _skip(plain, at + 1)
    return members


def _skip(plain: str, at: int) -> int:
    while plain[at : at + 1].isspace():
        at += 1
    return at


def _unit(text: str) -> str:
    """One step of indentation: that of the first line that has any."""
    found = re.search(r'\n([ \t]+)["/]', text)
    return found[1] if found else "  "


def _indentation(text: str, at: int) -> str:
    line = text[text.rfind("\n", 0, at) + 1 : at]
    return line[: len(line) - len(line.lstrip(" \t"))]
