"""Which agents have us in their settings, whether as this installation writes it, and whether what they name exists.

`connect` plans its changes as values: no change to connect means that all is as it should be, no change to disconnect
that nothing of ours is there.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from agent_memory import agents
from agent_memory.agents import json_comments
from agent_memory.errors import AgentMemoryError
from agent_memory.health.facts import Connected

OURS = ("agent_memory/hook.py", "agent_memory.mcp")


def connected() -> tuple[Connected, ...]:
    """The agents with something of ours in the user's settings. Reads their files; writes nothing."""
    found = []
    for agent, plan in agents.CONNECTIONS.items():
        try:
            ours = [change for change in plan("user", Path.cwd(), remove=True) if not change.is_backup]
            if not ours:
                continue
            gone = {path for change in ours for path in named(change.before or "") if not path.exists()}
            found.append(Connected(agent, not plan("user", Path.cwd()), tuple(sorted(gone))))
        except AgentMemoryError as error:
            if "connected for a single project" not in error.problem:
                found.append(Connected(agent, unreadable=error.problem))
    return tuple(found)


def named(text: str) -> set[Path]:
    """The programs and files that our entries in a settings file name."""
    return {
        Path(word)
        for entry in _entries(text)
        if any(mark in part.replace("\\", "/") for part in entry for mark in OURS)
        for part in entry
        for word in _words(part)
        if word.startswith("/") and (word.endswith("/hook.py") or "/bin/" in word)
    }


def _entries(text: str) -> Iterator[list[str]]:
    """The texts of each object in a JSON or TOML file; of any other file, what is quoted in it."""
    parsed = _parsed(text)
    if parsed is None:
        yield re.findall(r'"([^"\n]*)"', text)
        return
    waiting: list[Any] = [parsed]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting += value
        elif isinstance(value, dict):
            waiting += value.values()
            parts: list[str] = []
            for part in value.values():
                parts += [part] if isinstance(part, str) else []
                parts += [one for one in part if isinstance(one, str)] if isinstance(part, list) else []
            yield parts


def _parsed(text: str) -> Any:
    import tomllib

    try:
        return json_comments.parse(Path("settings"), text)
    except AgentMemoryError:
        pass
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return None


def _words(part: str) -> list[str]:
    """A command line's words; what is no command line is one word."""
    if Path(part).exists() or " -" not in part:
        return [part]
    try:
        return [word.rstrip(";") for word in shlex.split(part)]
    except ValueError:
        return [part]
