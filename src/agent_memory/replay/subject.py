"""What a tool call is about, in one line. Pure functions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

LONGEST = 300
"""Characters of a line."""

# What tells most of a call, in this order, in the words of the agents' tools.
_TELLING = (
    *("command", "cmd", "file_path", "filePath", "absolute_path", "notebook_path", "path"),
    *("pattern", "query", "url", "description", "subject", "title", "prompt", "question", "skill"),
)


def subject(given: Mapping[str, Any] | None) -> str:
    """The telling part of a call's input, else all of it as JSON; empty where there is none."""
    if not given:
        return ""
    for name in _TELLING:
        value = given.get(name)
        if isinstance(value, list) and all(isinstance(word, str) for word in value):
            value = " ".join(value)  # a command as its words
        if isinstance(value, str) and value.strip():
            return line(value)
    return line(json.dumps(given, ensure_ascii=False))


def line(text: str, longest: int = LONGEST) -> str:
    """A text's words on one line, cut with …"""
    flat = " ".join(text[: 4 * longest].split())
    return flat if len(flat) <= longest and len(text) <= 4 * longest else flat[: longest - 1] + "…"
