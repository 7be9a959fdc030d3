"""One hook payload of Codex CLI as Events. Fields as in version 0.169.0.

What Codex does not tell by hooks, and its rollout (`transcript`) does: how a command ended, how long a call took, and
the end of a call that failed, of which a hook sees the beginning alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from typing import Any

from agent_memory.agents.claude_code import output
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

_OURS = re.compile(r"mcp__agent[-_]memory__")


def events(payload: dict[str, Any], at: datetime) -> list[Event]:
    """What `payload`, written at `at`, tells. Empty for an event that is not recorded, and for one that is not known:
    a newer client may send more than this module has heard of, and that is no error.

    Raises ValueError, in words for a person, where something is missing without which there is nothing to record.
    """
    name, session_id = (_text(payload, field) for field in ("hook_event_name", "session_id"))
    bodies = _BODIES[name](payload) if name in _BODIES else []
    return [
        Event(
            agent=AGENT,
            session_id=session_id,
            occurred_at=at,
            body=body,
            cwd=payload.get("cwd"),
            prompt_id=payload.get("turn_id"),
            subagent_id=payload.get("agent_id"),
            subagent_type=payload.get("agent_type") or None,
            model=payload.get("model"),
            transcript_path=None if payload.get("agent_id") else payload.get("transcript_path"),
        )
        for body in bodies
    ]


def tool_name(name: str) -> str:
    """A tool's name as the journal has it: that of our own server, whose `-` Codex turns into `_`, is the same under
    every agent."""
    return _OURS.sub("mcp__agent-memory__", name, count=1)


def is_ours(tool: str) -> bool:
    """Whether the tool is this memory's own. Its output is what was remembered, and is not recorded again."""
    return bool(_OURS.match(tool))


def _session_start(payload: dict[str, Any]) -> list[Body]:
    return [SessionStart(source=payload.get("source"))]


def _session_end(payload: dict[str, Any]) -> list[Body]:
    return [SessionEnd(reason=payload.get("reason"))]


def _prompt(payload: dict[str, Any]) -> list[Body]:
    # A subagent's task comes as if a person had typed it.
    text = fence.strip(_text(payload, "prompt", empty=True))
    return [Prompt(text=text, kind="subagent" if payload.get("agent_id") else "user")]


def _call_begun(payload: dict[str, Any]) -> list[Body]:
    return [_call(payload)]


def _call_ended(payload: dict[str, Any]) -> list[Body]:
    """No hook comes for a call that failed, but for a command that failed: of that nothing tells here."""
    name, response = _text(payload, "tool_name"), payload.get("tool_response")
    success: bool | None = None if name == "Bash" else True
    said = whole(response)
    if name == "apply_patch" and said and (head := PATCH_HEAD.match(said)):
        success, said = head[1] == "0", said[head.end() :]
    if isinstance(response, dict) and response.get("isError"):
        success = False
    if said is not None:
        said = None if is_ours(name) else fence.strip(said)
    return [_call(payload, success=success, output=said, error=said if success is False else None)]


def whole(response: Any) -> str | None:
    """The text of a result: plain, or as MCP gives it."""
    if isinstance(response, dict) and isinstance(response.get("content"), list):
        return output.of_blocks(response["content"])
    return output.whole(response)


def _call(
    payload: dict[str, Any],
    *,
    success: bool | None = None,
    output: str | None = None,
    error: str | None = None,
) -> ToolCall:
    given = payload.get("tool_input")
    return ToolCall(
        tool_use_id=_text(payload, "tool_use_id"),
        name=tool_name(_text(payload, "tool_name")),
        input=given if isinstance(given, dict) else {} if given is None else {"input": given},
        output=output,
        success=success,
        error=error,
    )


def _stopped(payload: dict[str, Any]) -> list[Body]:
    text = fence.strip(payload.get("last_assistant_message") or "").strip()
    return [*([AssistantMessage(text=text)] if text else []), TurnEnd()]


def _interrupted(_payload: dict[str, Any]) -> list[Body]:
    return [TurnEnd(error=INTERRUPTED)]


def _text(payload: dict[str, Any], field: str, *, empty: bool = False) -> str:
    value = payload.get(field)
    if not isinstance(value, str) or not (value or empty):
        event = payload.get("hook_event_name")
        of = f"the {event} payload" if isinstance(event, str) and event else "the payload"
        raise ValueError(f"There is no text `{field}` in {of}.")
    return value


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
