"""Our plugin and our MCP server in OpenCode's settings, and out of them again."""

from __future__ import annotations

import json
import os
import sys
from importlib import resources
from pathlib import Path

from agent_memory import paths
from agent_memory.agents import entries
from agent_memory.agents.entries import Scope
from agent_memory.agents.settings_file import Change


def changes(scope: Scope, project: Path, *, remove: bool = False) -> list[Change]:
    """What connecting, or disconnecting (`remove`), would change; empty where nothing is to do.

    Scope `user` is for all of the user's projects, `project` for the one in the folder `project`. AgentMemoryError
    where a file cannot be read or understood.
    """
    folder = _folder() if scope == "user" else project / ".opencode"
    settings = _settings(folder if scope == "user" else project)
    command = [sys.executable, "-I", "-m", entries.MODULE]
    server = {"type": "local", "command": command, "enabled": True}
    if home := entries.own_home():
        server["environment"] = {"AGENT_MEMORY_HOME": home}
    mode = 0o600 if scope == "user" else 0o644
    return [
        *entries.own_file(folder / "plugin" / "agent-memory.js", plugin(), remove=remove, mode=mode),
        *entries.mcp_server(
            settings, "mcp", server, remove=remove, dialect=entries.JSON_WITH_COMMENTS, mode=mode
        ),
    ]


def plugin() -> str:
    """The plugin that OpenCode loads, with the paths of this installation."""
    source = resources.files("agent_memory.agents.opencode").joinpath("plugin.js").read_text(encoding="utf-8")
    settings = {"python": sys.executable, "hook": str(entries.HOOK), "home": str(paths.home())}
    return source.replace("__SETTINGS__", json.dumps(settings), 1)


def _folder() -> Path:
    moved = os.environ.get("XDG_CONFIG_HOME")
    return (Path(moved) if moved else Path.home() / ".config") / "opencode"


def _settings(folder: Path) -> Path:
    """The settings file that is there, or the one to make. OpenCode reads all of them, the first one last."""
    names = ("opencode.jsonc", "opencode.json")
    return next((folder / name for name in names if (folder / name).exists()), folder / "opencode.json")
