"""Zed: our MCP server in its settings. Zed has no hooks, so nothing of what its agent does is recorded."""

from __future__ import annotations

import os
from pathlib import Path

from agent_memory.agents import entries
from agent_memory.agents.entries import Scope
from agent_memory.agents.settings_file import Change

AGENT = "zed"


def changes(scope: Scope, project: Path, *, remove: bool = False) -> list[Change]:  # noqa: ARG001
    """What connecting, or disconnecting (`remove`), would change; empty where nothing is to do. AgentMemoryError where
    the file cannot be read or understood."""
    entries.only_for_user(scope, "Zed")
    moved = os.environ.get("XDG_CONFIG_HOME")
    settings = (Path(moved) if moved else Path.home() / ".config") / "zed" / "settings.json"
    return entries.mcp_server(
        settings, "context_servers", entries.server(), remove=remove, dialect=entries.JSON_WITH_COMMENTS
    )
