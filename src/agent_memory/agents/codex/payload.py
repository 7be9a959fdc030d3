"""One hook payload of Codex CLI as Events. Fields as in version 0.169.0.

What Codex does not tell by hooks, and its rollout (`transcript`) does: how a command ended, how long a call took, and
the end of a call that failed, of which a hook sees the beginning alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from typing import Any

from agent_memory.agents import fields
from agent_memory.agents.claude_code import output
from agent_memory.agents.entries import SERVER
from agent_memory.agents.tool_calls import tool_call
from agent_memory.journal import fence
from agent_memory.journal.event import (
    AssistantMessage,
    Body,
    Event,
    Prompt,
    SessionEnd,
    SessionStart,
    ToolCall,
    TurnEnd,
)

AGENT = "codex"
INTERRUPTED = "interrupted by the user"

NOT_RECORDED = frozenset(("PermissionRequest", "PostCompact", "PreCompact", "SubagentStart"))
"""Known, and not recorded: a compaction's hook does not tell the summary, and the others are told again."""

PATCH_HEAD = re.compile(r"Exit code: (-?\d+)\n(?:Wall time: .*\n)?(?:Output:\n)?")
"""What Codex writes above what `apply_patch` printed."""


def events(payload: dict[str, Any], at: datetime) -> list[Event]:
    """What `payload`, written at `at`, tells. Empty for an event that is not recorded, and for one that is not known:
    a newer client may send more than this module has heard of, and that is no error.

    Raises ValueError, in words for a person, where something is missing without which there is nothing to record.
    """
    name, session_id = fields.text(payload, "hook_event_name"), fields.text(payload, "session_id")
    bodies = _BODIES[name](payload) if name in _BODIES else []
    subagent = fields.optional(payload, "agent_id")
    return [
        Event(
            agent=AGENT,
            session_id=session_id,
            occurred_at=at,
            body=body,
            cwd=fields.optional(payload, "cwd"),
            prompt_id=fields.optional(payload, "turn_id"),
            subagent_id=subagent,
            subagent_type=fields.optional(payload, "agent_type") if subagent else None,
            model=fields.optional(payload, "model"),
            # A subagent has a file of its own, which its end names apart from the session's.
            transcript_path=fields.optional(payload, "agent_transcript_path", "transcript_path"),
        )
        for body in bodies
    ]


def tool_name(name: str) -> str:
    """A tool's name as the journal has it: Codex turns the `-` of our server's name into `_`."""
    return name.replace("mcp__agent_memory__", f"mcp__{SERVER}__", 1)


def _session_start(payload: dict[str, Any]) -> list[Body]:
    return [SessionStart(source=fields.optional(payload, "source"))]


def _session_end(payload: dict[str, Any]) -> list[Body]:
    return [SessionEnd(reason=fields.optional(payload, "reason"))]


def _prompt(payload: dict[str, Any]) -> list[Body]:
    # A subagent's task comes as if a person had typed it.
    text = payload.get("prompt")
    if not isinstance(text, str):
        raise ValueError("There is no text `prompt` in the payload.")
    return [Prompt(text=fence.strip(text), kind="subagent" if payload.get("agent_id") else "user")]


def _call_begun(payload: dict[str, Any]) -> list[Body]:
    return [_call(payload)]


def _call_ended(payload: dict[str, Any]) -> list[Body]:
    """No hook comes for a call that failed, but for a command that failed: of that nothing tells here."""
    response, said = payload.get("tool_response"), result(payload.get("tool_response"))
    success: bool | None = None if payload.get("tool_name") == "Bash" else True
    if payload.get("tool_name") == "apply_patch" and said and (head := PATCH_HEAD.match(said)):
        success, said = head[1] == "0", said[head.end() :]
    if isinstance(response, dict) and response.get("isError"):
        success = False
    return [_call(payload, success=success, said=said)]


def result(response: Any) -> str | None:
    """The text of a tool's result: plain, or as MCP gives it."""
    if isinstance(response, dict) and isinstance(response.get("content"), list):
        return output.of_blocks(response["content"])
    return output.whole(response)


def _call(payload: dict[str, Any], *, success: bool | None = None, said: str | None = None) -> ToolCall:
    return tool_call(
        fields.text(payload, "tool_use_id"),
        tool_name(fields.text(payload, "tool_name")),
        payload.get("tool_input"),
        success=success,
        output=None if success is False else said,
        error=(said or "failed") if success is False else None,
    )


def _stopped(payload: dict[str, Any]) -> list[Body]:
    text = fence.strip(fields.optional(payload, "last_assistant_message") or "").strip()
    return [*([AssistantMessage(text=text)] if text else []), TurnEnd()]


def _interrupted(_payload: dict[str, Any]) -> list[Body]:
    return [TurnEnd(error=INTERRUPTED)]


_BODIES: dict[str, Callable[[dict[str, Any]], list[Body]]] = {
    "SessionStart": _session_start,
    "UserPromptSubmit": _prompt,
    "PreToolUse": _call_begun,
    "PostToolUse": _call_ended,
    "SubagentStop": _stopped,
    "Stop": _stopped,
    "Interrupt": _interrupted,
    "SessionEnd": _session_end,
}
