"""Cursor: its hook payloads as Events, and our entries in its settings. Written after Cursor's documentation of August
2026; not run here.

`user_email`, which every payload holds, is not read. A generation is what follows one prompt: its id is the prompt's.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from agent_memory.agents import entries, fields
from agent_memory.agents.entries import Scope
from agent_memory.agents.settings_file import Change
from agent_memory.agents.tool_calls import shell_call, tool_call
from agent_memory.journal import fence
from agent_memory.journal.event import (
    AssistantMessage,
    Body,
    Event,
    Prompt,
    SessionEnd,
    SessionStart,
    TurnEnd,
)

AGENT = "cursor"
INTERRUPTED = "interrupted by the user"

ANSWER = "{}"
"""What the hook prints: Cursor reads JSON there, and this has no effect."""


def events(payload: dict[str, Any], at: datetime) -> list[Event]:
    """What `payload`, written at `at`, tells. Empty for an event that is not recorded, and for one that is not known:
    `afterShellExecution`, `afterMCPExecution` and `afterFileEdit` tell once more what `postToolUse` tells.

    Raises ValueError, in words for a person, where something is missing without which there is nothing to record.
    """
    name = fields.text(payload, "hook_event_name")
    body = _BODIES[name](payload) if name in _BODIES else None
    if body is None:
        return []
    roots = payload.get("workspace_roots")
    root = roots[0] if isinstance(roots, list) and roots and isinstance(roots[0], str) else None
    return [
        Event(
            agent=AGENT,
            session_id=fields.text(payload, "conversation_id", "session_id"),
            occurred_at=at,
            body=body,
            cwd=root or fields.optional(payload, "cwd"),
            prompt_id=fields.optional(payload, "generation_id"),
            model=fields.optional(payload, "model_id", "model"),
            agent_version=fields.optional(payload, "cursor_version"),
            transcript_path=fields.optional(payload, "transcript_path"),
        )
    ]


def _session_start(payload: dict[str, Any]) -> Body:
    return SessionStart(source="background" if payload.get("is_background_agent") is True else None)


def _session_end(payload: dict[str, Any]) -> Body:
    return SessionEnd(reason=fields.optional(payload, "reason"))


def _prompt(payload: dict[str, Any]) -> Body:
    return Prompt(text=fence.strip(fields.text(payload, "prompt")))


def _call_ended(payload: dict[str, Any]) -> Body:
    id_, name = fields.text(payload, "tool_use_id"), fields.text(payload, "tool_name")
    took = fields.milliseconds(payload.get("duration"))
    raw = payload.get("tool_output")
    told = fields.mapping(raw)  # an object as JSON in a text, such as {"exitCode": 0, "output": …}
    code = told.get("exitCode")
    text = (
        _printed(told) if told else raw if isinstance(raw, str) else None if raw is None else json.dumps(raw)
    )
    if isinstance(code, int):
        return shell_call(id_, name, payload.get("tool_input"), exit_code=code, output=text, duration_ms=took)
    return tool_call(id_, name, payload.get("tool_input"), success=True, output=text, duration_ms=took)


def _printed(told: dict[str, Any]) -> str:
    """What a command printed; of another tool's result all of it, as JSON."""
    printed = [told[name] for name in ("output", "stdout", "stderr") if isinstance(told.get(name), str)]
    return "\n".join(part for part in printed if part) if printed else json.dumps(told, ensure_ascii=False)


def _call_failed(payload: dict[str, Any]) -> Body:
    error = (
        fields.optional(payload, "error_message")
        or fields.optional(payload, "failure_type")
        or "unknown error"
    )
    if payload.get("is_interrupt") is True:
        error = f"{INTERRUPTED}: {error}"
    return tool_call(
        fields.text(payload, "tool_use_id"),
        fields.text(payload, "tool_name"),
        payload.get("tool_input"),
        success=False,
        error=error,
        duration_ms=fields.milliseconds(payload.get("duration")),
    )


def _message(payload: dict[str, Any]) -> Body | None:
    text = fence.strip(fields.optional(payload, "text") or "").strip()
    return AssistantMessage(text=text) if text else None


def _stopped(payload: dict[str, Any]) -> Body:
    status = fields.optional(payload, "status")
    if status in (None, "completed"):
        return TurnEnd()
    return TurnEnd(error=INTERRUPTED if status == "aborted" else status)


_BODIES: dict[str, Callable[[dict[str, Any]], Body | None]] = {
    "sessionStart": _session_start,
    "beforeSubmitPrompt": _prompt,
    "postToolUse": _call_ended,
    "postToolUseFailure": _call_failed,
    "afterAgentResponse": _message,
    "stop": _stopped,
    "sessionEnd": _session_end,
}


def changes(scope: Scope, project: Path, *, remove: bool = False) -> list[Change]:
    """What connecting, or disconnecting (`remove`), would change; empty where nothing is to do.

    Scope `user` is for all of the user's projects, `project` for the one in the folder `project`. AgentMemoryError
    where a file cannot be read or understood.
    """
    folder = (Path.home() if scope == "user" else project) / ".cursor"
    handler = {"command": entries.hook_command(AGENT, ANSWER)}
    return [
        *entries.listed_hooks(
            folder / "hooks.json", dict.fromkeys(_BODIES, handler), remove=remove, head={"version": 1}
        ),
        *entries.mcp_server(folder / "mcp.json", "mcpServers", entries.server(), remove=remove),
    ]
