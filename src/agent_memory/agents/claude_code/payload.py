"""One hook payload of Claude Code as Events. Fields as in version 2.1.330; those that an older version lacks
may be missing.

A hook tells neither the model nor the client's version nor the git branch: those come from the transcript.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from datetime import datetime
from typing import Any, Literal

from agent_memory.agents.claude_code import compaction, output
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

log = logging.getLogger(__name__)

AGENT = "claude"
INTERRUPTED = "interrupted by the user"

# Known, and not recorded: what they tell is told again by another event (PostToolBatch, UserPromptExpansion,
# MessageDisplay, PermissionRequest, SubagentStart), or is no part of what happened.
NOT_RECORDED = frozenset(
    (
        *("ConfigChange", "CwdChanged", "DirectoryAdded", "Elicitation", "ElicitationResult", "FileChanged"),
        *("InstructionsLoaded", "MessageDisplay", "Notification", "PermissionDenied", "PermissionRequest"),
        *("PostModelSwitch", "PostToolBatch", "PreCompact", "PreModelSwitch", "Setup", "SubagentStart"),
        *("TaskCompleted", "TaskCreated", "TeammateIdle", "UserPromptExpansion", "WorktreeCreate"),
        "WorktreeRemove",
    )
)

_OUR_TOOLS = re.compile(r"mcp__(?:agent-memory__|plugin_agent-memory_)")


def events(payload: dict[str, Any], at: datetime) -> list[Event]:
    """What `payload`, written at `at`, tells. Empty for an event that is not recorded, and for one that is
    not known: a newer client may send more than this module has heard of, and that is no error.

    Raises ValueError, in words for a person, where something is missing without which there is nothing to
    record.
    """
    name, session_id = (_text(payload, field) for field in ("hook_event_name", "session_id"))
    if name not in _BODIES:
        if name not in NOT_RECORDED:
            log.info("Claude Code sent an event that is not known here: %s", name)
        return []
    return [
        Event(
            agent=AGENT,
            session_id=session_id,
            occurred_at=at,
            body=body,
            cwd=payload.get("cwd"),
            prompt_id=payload.get("prompt_id"),
            subagent_id=payload.get("agent_id"),
            subagent_type=payload.get("agent_type") or None,
            transcript_path=payload.get("transcript_path"),
        )
        for body in _BODIES[name](payload)
    ]


def prompt_kind(text: str) -> Literal["user", "task_notification"]:
    """The client submits the end of a background task as if a person had typed it."""
    return "task_notification" if text.lstrip().startswith("<task-notification>") else "user"


def is_ours(tool: str) -> bool:
    """Whether the tool is this memory's own. Its output is what was remembered, and is not recorded again."""
    return bool(_OUR_TOOLS.match(tool))


def failure(code: str | None, text: str | None) -> str:
    """Why a turn ended, from the API's error code and the sentence that the client showed."""
    text = (text or "").strip()
    if not code or code == "unknown":
        return text or "unknown error"
    return f"{code}: {text}" if text else code


def _session_start(payload: dict[str, Any]) -> list[Body]:
    return [SessionStart(source=payload.get("source"))]


def _session_end(payload: dict[str, Any]) -> list[Body]:
    return [SessionEnd(reason=payload.get("reason"))]


def _prompt(payload: dict[str, Any]) -> list[Body]:
    text = fence.strip(_text(payload, "prompt", empty=True))
    return [Prompt(text=text, kind=prompt_kind(text))]


def _call_begun(payload: dict[str, Any]) -> list[Body]:
    return [_call(payload)]


def _call_ended(payload: dict[str, Any]) -> list[Body]:
    said = None if is_ours(_text(payload, "tool_name")) else output.whole(payload.get("tool_response"))
    return [_call(payload, success=True, output=None if said is None else fence.strip(said))]


def _call_failed(payload: dict[str, Any]) -> list[Body]:
    error = fence.strip(str(payload.get("error") or "unknown error"))
    if payload.get("is_interrupt"):
        error = f"{INTERRUPTED}: {error}"
    return [_call(payload, success=False, error=error)]


def _call(
    payload: dict[str, Any],
    *,
    success: bool | None = None,
    output: str | None = None,
    error: str | None = None,
) -> ToolCall:
    given = payload.get("tool_input")
    took = payload.get("duration_ms")
    return ToolCall(
        tool_use_id=_text(payload, "tool_use_id"),
        name=_text(payload, "tool_name"),
        input=given if isinstance(given, dict) else {} if given is None else {"input": given},
        output=output,
        success=success,
        error=error,
        duration_ms=round(took) if isinstance(took, int | float) else None,
    )


def _subagent_stopped(payload: dict[str, Any]) -> list[Body]:
    # Without a type it is a helper of the client's own, such as the one that writes a compaction's summary.
    return _message(payload) if payload.get("agent_type") else []


def _stopped(payload: dict[str, Any]) -> list[Body]:
    """The answer, and the turn's end: also where `background_tasks` still run. What those do arrives later
    under the same prompt, and their end is a prompt of its own (task_notification)."""
    return [*_message(payload), TurnEnd()]


def _failed(payload: dict[str, Any]) -> list[Body]:
    text = payload.get("last_assistant_message") or payload.get("error_details")
    return [TurnEnd(error=failure(payload.get("error"), text))]


def _compacted(payload: dict[str, Any]) -> list[Body]:
    text = fence.strip(compaction.summary(_text(payload, "compact_summary", empty=True)))
    return [AssistantMessage(text=text, kind="compact_summary")] if text else []


def _message(payload: dict[str, Any]) -> list[Body]:
    text = fence.strip(payload.get("last_assistant_message") or "").strip()
    return [AssistantMessage(text=text)] if text else []


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
    "PostToolUseFailure": _call_failed,
    "SubagentStop": _subagent_stopped,
    "Stop": _stopped,
    "StopFailure": _failed,
    "PostCompact": _compacted,
    "SessionEnd": _session_end,
}
RECORDED = frozenset(_BODIES)
"""The events that tell something."""
