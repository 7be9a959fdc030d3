"""GitHub Copilot in VS Code: its hook payloads as Events, and our entries in its settings. Written after Microsoft's
documentation of July 2026; not run here.

VS Code also runs the hooks of Copilot CLI (`~/.copilot/hooks`) and of Claude Code (`~/.claude/settings.json`), and
Copilot CLI runs those that we write for VS Code and those of a project's `.claude/settings.json`. So the payload tells
whose it is, not the hook that it was given to. The same event by way of two hooks is one row.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, TypeAlias

from agent_memory.agents import entries, fields
from agent_memory.agents.claude_code import output
from agent_memory.agents.copilot import connect as copilot_cli
from agent_memory.agents.copilot import payload as copilot_payload
from agent_memory.agents.entries import Scope
from agent_memory.agents.settings_file import Change
from agent_memory.agents.tool_calls import tool_call
from agent_memory.journal import fence
from agent_memory.journal.event import Body, Event, Prompt, SessionStart, TurnEnd

AGENT = "vscode"

EVENTS = ("SessionStart", "UserPromptSubmit", "PreToolUse", "PostToolUse", "Stop")
"""PreToolUse too: a call that fails has no PostToolUse, and would not be recorded at all."""

TIMEOUT = 10  # seconds; a hook takes about 0.01


Events: TypeAlias = Callable[[dict[str, Any], datetime], list[Event]]


def shared(own: Events) -> Events:
    """How to read what is given to the hook of an agent whose hooks other agents run too: payloads of VS Code and of
    Copilot CLI as theirs, all others as `own` does."""

    def by_payload(payload: dict[str, Any], at: datetime) -> list[Event]:
        if _is_ours(payload):
            return events(payload, at)
        return copilot_payload.events(payload, at) if copilot_payload.is_ours(payload) else own(payload, at)

    return by_payload


def events(payload: dict[str, Any], at: datetime) -> list[Event]:
    """What `payload`, written at `at`, tells. Empty for an event that is not recorded, and for one that is not known.

    Raises ValueError, in words for a person, where something is missing without which there is nothing to record.
    """
    if not _is_ours(payload):
        return copilot_payload.events(payload, at)
    body = _body(fields.text(payload, "hookEventName"), payload)
    if body is None:
        return []
    return [
        Event(
            agent=AGENT,
            session_id=fields.text(payload, "sessionId"),
            occurred_at=fields.moment(payload.get("timestamp"), at),
            body=body,
            cwd=fields.optional(payload, "cwd"),
            subagent_id=fields.optional(payload, "agent_id"),
            subagent_type=fields.optional(payload, "agent_type"),
            transcript_path=fields.optional(payload, "transcript_path"),
        )
    ]


def _is_ours(payload: dict[str, Any]) -> bool:
    return "hookEventName" in payload


def _body(name: str, payload: dict[str, Any]) -> Body | None:
    if name == "SessionStart":
        return SessionStart(source=fields.optional(payload, "source"))
    if name == "UserPromptSubmit":
        text = fence.strip(fields.text(payload, "prompt"))
        return Prompt(text=text, kind="subagent" if payload.get("agent_id") else "user")
    if name in ("PreToolUse", "PostToolUse"):
        ended = name == "PostToolUse"
        return tool_call(
            fields.text(payload, "tool_use_id"),
            fields.text(payload, "tool_name"),
            payload.get("tool_input"),
            success=True if ended else None,
            output=output.whole(payload.get("tool_response")) if ended else None,
        )
    return TurnEnd() if name == "Stop" and not payload.get("agent_id") else None


def changes(scope: Scope, project: Path, *, remove: bool = False) -> list[Change]:  # noqa: ARG001
    """What connecting, or disconnecting (`remove`), would change; empty where nothing is to do.

    AgentMemoryError where a file cannot be read or understood.
    """
    entries.only_for_user(scope, "VS Code")
    return [
        *entries.own_file(copilot_cli.home() / "hooks" / "agent-memory-vscode.json", _hooks(), remove=remove),
        *entries.mcp_server(
            user_folder() / "mcp.json",
            "servers",
            entries.server(type="stdio"),
            remove=remove,
            dialect=entries.JSON_WITH_COMMENTS,
        ),
    ]


def user_folder() -> Path:
    """Where VS Code keeps the user's settings."""
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "Code" / "User"
    moved = os.environ.get("XDG_CONFIG_HOME")
    return (Path(moved) if moved else Path.home() / ".config") / "Code" / "User"


def _hooks() -> str:
    handler = {"type": "command", "command": entries.hook_command(AGENT), "timeout": TIMEOUT}
    return json.dumps({"hooks": {event: [handler] for event in EVENTS}}, indent=2) + "\n"
