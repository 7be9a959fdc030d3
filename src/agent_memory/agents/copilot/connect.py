"""Our hooks and our MCP server in GitHub Copilot CLI's settings, and out of them again."""

from __future__ import annotations

import json
import os
from pathlib import Path

from agent_memory.agents import entries
from agent_memory.agents.copilot.payload import AGENT
from agent_memory.agents.entries import Scope
from agent_memory.agents.settings_file import Change

EVENTS = (
    "SessionStart",
    "UserPromptSubmit",
    "PostToolUse",
    "PostToolUseFailure",
    "SubagentStop",
    "Stop",
    "SessionEnd",
)
"""In PascalCase: then a payload names its event. PreToolUse is left out: Copilot refuses a call whose hook fails, and
tells nothing there that it does not tell again at the call's end."""

TIMEOUT = 10  # seconds; a hook takes about 0.01


def changes(scope: Scope, project: Path, *, remove: bool = False) -> list[Change]:  # noqa: ARG001
    """What connecting, or disconnecting (`remove`), would change; empty where nothing is to do.

    AgentMemoryError where a file cannot be read or understood, and for the scope `project`: a folder's hooks run only
    after the user has told Copilot to trust it.
    """
    entries.only_for_user(scope, "Copilot CLI")
    folder = home()
    server = entries.server(type="local") | {"tools": ["*"]}
    return [
        *entries.own_file(folder / "hooks" / "agent-memory.json", hooks(AGENT), remove=remove),
        *entries.mcp_server(folder / "mcp-config.json", "mcpServers", server, remove=remove),
    ]


def home() -> Path:
    """Where Copilot keeps its settings and its sessions."""
    moved = os.environ.get("COPILOT_HOME")
    return Path(moved).expanduser().absolute() if moved else Path.home() / ".copilot"


def hooks(agent: str) -> str:
    """The file with our hooks."""
    handler = {"type": "command", "bash": entries.hook_command(agent), "timeoutSec": TIMEOUT}
    return json.dumps({"version": 1, "hooks": {event: [handler] for event in EVENTS}}, indent=2) + "\n"
