"""Cline: its hook payloads as Events, and our entries in its settings. Written after Cline's documentation and source
of 2026; not run here.

`userId`, which every payload holds, is not read. A task is a session. No payload tells an id of a call, so a call is
recorded when it ends, under an id made from what is told of its end.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from agent_memory.agents import entries, fields, vscode
from agent_memory.agents.entries import Scope
from agent_memory.agents.settings_file import Change
from agent_memory.agents.tool_calls import tool_call
from agent_memory.journal import fence
from agent_memory.journal.event import AssistantMessage, Body, Event, Prompt, SessionStart, TurnEnd

AGENT = "cline"
INTERRUPTED = "interrupted by the user"

ANSWER = '{"cancel": false}'
"""What a hook prints: go on."""

# What Cline puts around what a person typed.
_TAGGED = re.compile(r"\s*<(task|feedback|user_message|answer)>\s*(.*?)\s*</\1>\s*", re.S)


def events(payload: dict[str, Any], at: datetime) -> list[Event]:
    """What `payload`, written at `at`, tells. Empty for an event that is not recorded, and for one that is not known.

    Raises ValueError, in words for a person, where something is missing without which there is nothing to record.
    """
    name, session_id = fields.text(payload, "hookName"), fields.text(payload, "taskId")
    if name not in _BODIES:
        return []
    about = fields.mapping(payload.get(name[0].lower() + name[1:]))
    roots = payload.get("workspaceRoots")
    root = roots[0] if isinstance(roots, list) and roots and isinstance(roots[0], str) else None
    id_ = f"made-up-{fields.key(session_id, payload.get('timestamp'), about, at.timestamp())}"
    return [
        Event(
            agent=AGENT,
            session_id=session_id,
            occurred_at=fields.moment(payload.get("timestamp"), at),
            body=body,
            cwd=root,
            model=fields.optional(fields.mapping(payload.get("model")), "slug", "id"),
            agent_version=fields.optional(payload, "clineVersion"),
        )
        for body in _BODIES[name](about, id_)
    ]


def _task_started(about: dict[str, Any], id_: str) -> list[Body]:  # noqa: ARG001
    return [SessionStart(source="startup")]


def _task_resumed(about: dict[str, Any], id_: str) -> list[Body]:  # noqa: ARG001
    return [SessionStart(source="resume")]


def _prompt(about: dict[str, Any], id_: str) -> list[Body]:  # noqa: ARG001
    text = fence.strip(fields.text(about, "prompt"))
    tagged = _TAGGED.fullmatch(text)
    return [Prompt(text=tagged[2] if tagged else text)]


def _call_ended(about: dict[str, Any], id_: str) -> list[Body]:
    name, given = fields.text(about, "toolName", "tool"), fields.mapping(about.get("parameters"))
    if name == "use_mcp_tool" and isinstance(given.get("tool_name"), str):
        name = f"mcp__{given.get('server_name')}__{given['tool_name']}"
        given = fields.given(given.get("arguments"))
    failed = about.get("success") is False
    said = fields.optional(about, "result")
    took = fields.milliseconds(about.get("executionTimeMs"))
    if failed:
        return [tool_call(id_, name, given, success=False, error=said or "unknown error", duration_ms=took)]
    return [tool_call(id_, name, given, success=True, output=said, duration_ms=took)]


def _task_done(about: dict[str, Any], id_: str) -> list[Body]:  # noqa: ARG001
    said = fields.optional(fields.mapping(about.get("taskMetadata")), "result")
    text = fence.strip(said or "").strip()
    return [*([AssistantMessage(text=text)] if text else []), TurnEnd()]


def _task_cancelled(about: dict[str, Any], id_: str) -> list[Body]:  # noqa: ARG001
    return [TurnEnd(error=INTERRUPTED)]


_BODIES: dict[str, Callable[[dict[str, Any], str], list[Body]]] = {
    "TaskStart": _task_started,
    "TaskResume": _task_resumed,
    "UserPromptSubmit": _prompt,
    "PostToolUse": _call_ended,
    "TaskComplete": _task_done,
    "TaskCancel": _task_cancelled,
}


def changes(scope: Scope, project: Path, *, remove: bool = False) -> list[Change]:  # noqa: ARG001
    """What connecting, or disconnecting (`remove`), would change; empty where nothing is to do.

    AgentMemoryError where a file cannot be read or understood, or where the user has a hook of that name: Cline runs
    one file an event.
    """
    entries.only_for_user(scope, "Cline")
    folder = Path.home() / "Documents" / "Cline" / "Hooks"
    script = f"#!/bin/sh\n# Records for agent-memory, and lets Cline go on.\n{entries.hook_command(AGENT, ANSWER)}\n"
    files = [
        change
        for event in _BODIES
        for change in entries.own_file(folder / event, script, remove=remove, mode=0o700)
    ]
    return [*files, *entries.mcp_server(_settings(), "mcpServers", entries.server(), remove=remove)]


def _settings() -> Path:
    """The MCP settings of the extension in VS Code, or, where that is not installed, of the command line."""
    name = Path("settings") / "cline_mcp_settings.json"
    extension = vscode.user_folder() / "globalStorage" / "saoudrizwan.claude-dev"
    return extension / name if extension.exists() else Path.home() / ".cline" / "data" / name
