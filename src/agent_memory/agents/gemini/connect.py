"""Our hooks and our MCP server in Gemini CLI's settings, one file, and out of it again."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from agent_memory.agents import entries, hook_groups, json_comments, settings_file
from agent_memory.agents.entries import JSON, Dialect, Scope
from agent_memory.agents.gemini.payload import AGENT
from agent_memory.agents.settings_file import Change
from agent_memory.errors import AgentMemoryError

TIMEOUTS = {
    "SessionStart": 10_000,
    "BeforeAgent": 5_000,
    "AfterTool": 5_000,
    "AfterAgent": 5_000,
    "SessionEnd": 10_000,
}
"""Milliseconds after which Gemini CLI gives a hook up; it takes about 10. The other events tell nothing that these do
not, and a client that starts no process for them is the quicker one."""


def changes(scope: Scope, project: Path, *, remove: bool = False) -> list[Change]:
    """What connecting, or disconnecting (`remove`), would change; empty where nothing is to do. AgentMemoryError where
    the file cannot be read or understood."""
    file = (project / ".gemini" if scope == "project" else home()) / "settings.json"
    add, take_out = partial(_connected, file), partial(_disconnected, file)
    if remove:
        return settings_file.removal(file, add, take_out, parse=COMMENTED.parse)
    return settings_file.addition(file, add, take_out, mode=0o600 if scope == "user" else 0o644)


def home() -> Path:
    """Where Gemini CLI keeps its settings and its chats."""
    moved = os.environ.get("GEMINI_CLI_HOME")
    return (Path(moved).expanduser().absolute() if moved else Path.home()) / ".gemini"


def _connected(file: Path, text: str) -> str:
    dialect = _dialect(text)
    command = entries.hook_command(AGENT)
    handlers = {
        event: {"name": entries.SERVER, "type": "command", "command": command, "timeout": timeout}
        for event, timeout in TIMEOUTS.items()
    }
    there = _servers(file, text).get(entries.SERVER)
    if there is not None and not _runs_ours(there):
        raise AgentMemoryError(
            f"{file} has an MCP server named “{entries.SERVER}” that is not ours.",
            "Rename or remove it, then try again.",
        )
    if there != entries.server():
        text = dialect.put(text, ("mcpServers", entries.SERVER), entries.server())
    return hook_groups.hooked(file, text, handlers, dialect)


def _disconnected(file: Path, text: str, original: dict[str, Any] | None = None) -> str:
    dialect = _dialect(text)
    text = hook_groups.unhooked(file, text, original or {}, dialect)
    if _runs_ours(_servers(file, text).get(entries.SERVER)):
        text = dialect.remove(text, ("mcpServers", entries.SERVER))
        if not _servers(file, text) and "mcpServers" not in (original or {}):
            text = dialect.remove(text, ("mcpServers",))
    return text


def _dialect(text: str) -> Dialect:
    try:
        json.loads(text)
    except json.JSONDecodeError:
        return COMMENTED
    return JSON


def _emptied(text: str, path: Sequence[str]) -> str:
    """Gemini CLI reads comments, but no trailing comma, which taking a key out may leave behind. So what is around the
    key is written anew, and a key that nothing is around is left empty."""
    *above, last = path
    if not above:
        return json_comments.put(text, path, {})
    value: Any = json_comments.parse(Path(), text)
    for name in above:
        value = value[name]
    return json_comments.put(text, above, {name: one for name, one in value.items() if name != last})


COMMENTED = Dialect(json_comments.parse, json_comments.put, _emptied)


def _servers(file: Path, text: str) -> dict[str, Any]:
    servers = COMMENTED.parse(file, text).get("mcpServers", {})
    if not isinstance(servers, dict):
        raise AgentMemoryError(
            f"In {file}, `mcpServers` is no JSON object.",
            "Nothing was changed. Mend the file, then try again.",
        )
    return servers


def _runs_ours(server: Any) -> bool:
    return isinstance(server, dict) and entries.MODULE in (server.get("args") or [])
