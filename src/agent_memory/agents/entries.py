"""What `connect` puts into the settings of agents, and `disconnect` takes out again: a command for hooks, an MCP
server, and files that are ours alone. Only these are touched.

Each agent's module says where they go and how they are written there.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeAlias

import agent_memory
from agent_memory import paths
from agent_memory.agents import json_comments, json_text, settings_file
from agent_memory.agents.settings_file import Change
from agent_memory.errors import AgentMemoryError

Scope: TypeAlias = Literal["user", "project"]

SERVER = "agent-memory"
MODULE = "agent_memory.mcp"
HOOK = Path(agent_memory.__file__).with_name("hook.py")
_MARK = "agent_memory/hook.py"
"""What tells our hooks from anybody else's."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a settings file is read and changed."""

    parse: Callable[[Path, str], dict[str, Any]]
    put: Callable[[str, Sequence[str], Any], str]
    remove: Callable[[str, Sequence[str]], str]


JSON = Dialect(settings_file.parse, json_text.put, json_text.remove)
JSON_WITH_COMMENTS = Dialect(json_comments.parse, json_comments.put, json_comments.remove)


def own_home() -> str | None:
    """The home that hooks and the server must be told of; None where they find it by themselves."""
    return None if paths.home() == Path.home() / ".agent-memory" else str(paths.home())


def hook_command(agent: str, answer: str = "") -> str:
    """A line for a POSIX shell that records what it gets on standard input, prints `answer`, and never fails: not even
    where Python or our file is gone. Agents take a hook's failure as a reason to stop."""
    words = [sys.executable, "-I", "-S", str(HOOK), agent, *([home] if (home := own_home()) else [])]
    last = f"printf %s {shlex.quote(answer)}" if answer else "true"
    return f"{shlex.join(words)} 2>/dev/null; {last}"


def server(**more: Any) -> dict[str, Any]:
    """The memory's MCP server as most agents write one: `command`, `args`, `env`."""
    # -I: it starts in the project's folder, and must not import a module of the project's.
    entry = {"command": sys.executable, "args": ["-I", "-m", MODULE]}
    home = own_home()
    return {**more, **entry, **({"env": {"AGENT_MEMORY_HOME": home}} if home else {})}


def own_file(path: Path, text: str, *, remove: bool, mode: int = 0o600) -> list[Change]:
    """A file of which every line is ours. AgentMemoryError where somebody else's has its name."""
    before = settings_file.read(path)
    if before is not None and _MARK not in before.replace("\\", "/"):
        if remove:
            return []
        raise AgentMemoryError(
            f"{path} is there already, and is not ours.", f"Rename it, or add to it by hand:\n\n{text}"
        )
    after = None if remove else text
    return [] if before == after else [Change(path, before, after, mode)]


def mcp_server(
    path: Path, key: str, entry: dict[str, Any], *, remove: bool, dialect: Dialect = JSON, mode: int = 0o600
) -> list[Change]:
    """Our server under `key` of a settings file that is the user's."""
    add, take_out = partial(_served, path, key, entry, dialect), partial(_unserved, path, key, dialect)
    if remove:
        return settings_file.removal(path, add, take_out, parse=dialect.parse)
    return settings_file.addition(path, add, take_out, mode=mode)


def listed_hooks(
    path: Path, handlers: Mapping[str, dict[str, Any]], *, remove: bool, head: Mapping[str, Any] | None = None
) -> list[Change]:
    """Our handlers in a settings file that is the user's, of the form {"hooks": {event: [handler, …]}}. `head` is
    what a new file has besides."""
    add, take_out = partial(_hooked, path, handlers, head or {}), partial(_unhooked, path, head or {})
    if remove:
        return settings_file.removal(path, add, take_out)
    return settings_file.addition(path, add, take_out, mode=0o600)


def only_for_user(scope: Scope, agent: str) -> None:
    """AgentMemoryError for a scope other than the user's."""
    if scope != "user":
        raise AgentMemoryError(
            f"{agent} cannot be connected for a single project.", "Leave out --scope project."
        )


def _served(path: Path, key: str, entry: dict[str, Any], dialect: Dialect, text: str) -> str:
    there = _servers(path, key, dialect, text).get(SERVER)
    if there is not None and not _runs_ours(there):
        raise AgentMemoryError(
            f"{path} has an MCP server named “{SERVER}” that is not ours.",
            "Rename or remove it, then try again.",
        )
    return text if there == entry else dialect.put(text, (key, SERVER), entry)


def _unserved(
    path: Path, key: str, dialect: Dialect, text: str, original: dict[str, Any] | None = None
) -> str:
    if not _runs_ours(_servers(path, key, dialect, text).get(SERVER)):
        return text
    text = dialect.remove(text, (key, SERVER))
    if not _servers(path, key, dialect, text) and key not in (original or {}):
        text = dialect.remove(text, (key,))
    return text


def _servers(path: Path, key: str, dialect: Dialect, text: str) -> dict[str, Any]:
    servers: dict[str, Any] = _expected(path, dialect.parse(path, text).get(key, {}), dict, f"`{key}`")
    return servers


def _runs_ours(entry: Any) -> bool:
    """Whether an MCP server is ours, whether its command is a text with `args` or a list."""
    if not isinstance(entry, dict):
        return False
    return any(
        isinstance(words, list) and MODULE in words for words in (entry.get("args"), entry.get("command"))
    )


def _hooked(path: Path, handlers: Mapping[str, dict[str, Any]], head: Mapping[str, Any], text: str) -> str:
    present = settings_file.parse(path, text)
    for name, value in head.items():
        if name not in present:
            text = json_text.put(text, (name,), value)
    for event, index in reversed(_ours(path, text)):
        if event not in handlers:
            text = json_text.remove(text, ("hooks", event, index))
    for event, handler in handlers.items():
        there = [place for place in _ours(path, text) if place[0] == event]
        if not there:
            text = json_text.append(text, ("hooks", event), handler)
        elif settings_file.parse(path, text)["hooks"][event][there[0][1]] != handler:
            text = json_text.put(text, ("hooks", *there[0]), handler)
    return text


def _unhooked(path: Path, head: Mapping[str, Any], text: str, original: dict[str, Any] | None = None) -> str:
    """The settings without our handlers. What is empty without them goes too, where `original` does not have it."""
    was = original or {}
    touched = {event for event, _ in _ours(path, text)}
    for event, index in reversed(_ours(path, text)):
        text = json_text.remove(text, ("hooks", event, index))
    for event in touched:
        if not settings_file.parse(path, text)["hooks"][event] and event not in was.get("hooks", {}):
            text = json_text.remove(text, ("hooks", event))
    if touched and not settings_file.parse(path, text)["hooks"] and "hooks" not in was:
        text = json_text.remove(text, ("hooks",))
        if settings_file.parse(path, text) == head and not was:
            text = "{}\n"
    return text


def _ours(path: Path, text: str) -> list[tuple[str, int]]:
    hooks = _expected(path, settings_file.parse(path, text).get("hooks", {}), dict, "`hooks`")
    return [
        (event, index)
        for event, handlers in hooks.items()
        for index, handler in enumerate(_expected(path, handlers, list, f"`hooks.{event}`"))
        if isinstance(handler, dict) and _MARK in str(handler.get("command", "")).replace("\\", "/")
    ]


def _expected(path: Path, value: Any, kind: type[Any], name: str) -> Any:
    if not isinstance(value, kind):
        words: dict[type[Any], str] = {dict: "object", list: "list"}
        raise AgentMemoryError(
            f"In {path}, {name} is no JSON {words[kind]}.",
            "Nothing was changed. Mend the file, then try again.",
        )
    return value
