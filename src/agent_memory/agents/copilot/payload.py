"""One hook payload of GitHub Copilot CLI as Events. Fields as in version 1.0.102.

An event that is configured in PascalCase (`PostToolUse`), as our `connect` does, comes in snake_case and with its
name; one in camelCase (`postToolUse`) comes in camelCase and without a name, and is told by its fields. Both are read.

Hooks tell no id of a call or a prompt. The ids made here are those that `transcript` makes: session-state files
hold what was given to hooks, their times among it. Nothing that the beginning of a call tells would lead to its
end (the same command may run twice at once), so a call is recorded when it ends.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from agent_memory.agents import fields
from agent_memory.agents.tool_calls import shell_call, tool_call
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

AGENT = "copilot"

TOOLS = {
    "bash": "Bash",
    "create": "Write",
    "edit": "Edit",
    "grep": "Grep",
    "glob": "Glob",
    "task": "Agent",
    "view": "Read",
}
"""Copilot's own names → the ones that its PascalCase payloads give. The journal has the latter."""

# What Copilot writes behind a command's output.
_EXIT = re.compile(r"\n?<shellId: [^>\n]* completed with exit code (-?\d+)>\s*\Z")


def events(payload: dict[str, Any], at: datetime) -> list[Event]:
    """What `payload`, written at `at`, tells. Empty for an event that is not recorded, and for one that is not
    known: a newer client may send more than this module has heard of, and that is no error.

    Raises ValueError, in words for a person, where something is missing without which there is nothing to record.
    """
    name = _event_name(payload)
    if (
        name not in _BODIES or "hookEventName" in payload
    ):  # VS Code's, which runs these hooks too: see `vscode.shared`
        return []
    session_id = fields.text(payload, "session_id", "sessionId")
    subagent = fields.optional(payload, "agent_id", "agentId")
    # In a subagent's own hooks the session is the subagent.
    root = (
        fields.optional(payload, "parent_agent_id", "parentAgentId") if subagent == session_id else session_id
    )
    when = fields.moment(payload.get("timestamp"), at)
    body, prompt = _BODIES[name](payload, when, subagent), None
    if isinstance(body, Prompt):
        prompt = prompt_id(session_id, when, str(payload.get("prompt")))
    return (
        [
            Event(
                agent=AGENT,
                session_id=root or session_id,
                occurred_at=when,
                body=body,
                cwd=fields.optional(payload, "cwd"),
                prompt_id=prompt,
                subagent_id=subagent,
                subagent_type=fields.optional(payload, "agent_type", "agentType"),
                transcript_path=fields.optional(payload, "transcript_path", "transcriptPath"),
            )
        ]
        if body
        else []
    )


def is_ours(payload: dict[str, Any]) -> bool:
    """Whether a payload with Claude's names is Copilot's: Claude Code tells no time, and always its transcript."""
    transcript = fields.optional(payload, "transcript_path")
    return "timestamp" in payload and (transcript is None or "/session-state/" in transcript)


def tool_use_id(session_id: str, at: datetime, given: Any) -> str:
    """The id of the call that ended at this time with this input: from the payload of the hook that told its end.
    A subagent's session is the subagent, as its hooks have it."""
    return f"made-up-{fields.key(session_id, _milliseconds(at), given)}"


def prompt_id(session_id: str, at: datetime, text: str) -> str:
    """The id of the prompt that was submitted at this time: from the payload of the hook that told it."""
    return f"made-up-{fields.key(session_id, _milliseconds(at), text)}"


def ended(
    id_: str, name: str, given: Any, text: str | None, *, failed: bool, duration_ms: int | None = None
) -> ToolCall:
    """The call whose result is `text`, or whose error, where it `failed`."""
    name = TOOLS.get(name, name)
    if failed:
        error = text or "unknown error"
        return tool_call(id_, name, given, success=False, error=error, duration_ms=duration_ms)
    shell = _EXIT.search(text or "")
    if text and shell:
        said, code = text[: shell.start()], int(shell[1])
        return shell_call(id_, name, given, exit_code=code, output=said, duration_ms=duration_ms)
    return tool_call(id_, name, given, success=True, output=text, duration_ms=duration_ms)


def _milliseconds(at: datetime) -> int:
    return round(at.astimezone(UTC).timestamp() * 1000)


def _event_name(payload: dict[str, Any]) -> str | None:
    """The event, by its PascalCase name, or by the fields that only it has."""
    if name := fields.optional(payload, "hook_event_name"):
        return name
    for fields_of_event, name in (
        (("hookName",), None),  # permissionRequest: nothing of it is recorded
        (("toolResult",), "PostToolUse"),
        (("toolName", "error"), "PostToolUseFailure"),
        (("toolName",), None),
        (("transformedPrompt",), None),
        (("prompt",), "UserPromptSubmit"),
        (("source",), "SessionStart"),
        (("response", "stopReason"), "SubagentStop"),
        (("stopReason",), "Stop"),
        (("reason",), "SessionEnd"),
    ):
        if all(field in payload for field in fields_of_event):
            return name
    return None


_Told = Callable[[dict[str, Any], datetime, str | None], Body | None]


def _session_start(payload: dict[str, Any], at: datetime, subagent: str | None) -> Body | None:  # noqa: ARG001
    return SessionStart(source=fields.optional(payload, "source"))


def _session_end(payload: dict[str, Any], at: datetime, subagent: str | None) -> Body | None:  # noqa: ARG001
    return SessionEnd(reason=fields.optional(payload, "reason"))


def _prompt(payload: dict[str, Any], at: datetime, subagent: str | None) -> Body | None:  # noqa: ARG001
    text = payload.get("prompt")
    if not isinstance(text, str):
        raise ValueError("There is no text `prompt` in the payload.")
    return Prompt(text=fence.strip(text), kind="subagent" if subagent else "user")


def _call_ended(payload: dict[str, Any], at: datetime, subagent: str | None) -> Body | None:  # noqa: ARG001
    result = fields.mapping(payload.get("tool_result") or payload.get("toolResult"))
    text = fields.optional(result, "text_result_for_llm", "textResultForLlm")
    kind = fields.optional(result, "result_type", "resultType")
    return _call(payload, at, text, failed=kind not in ("success", None))


def _call_failed(payload: dict[str, Any], at: datetime, subagent: str | None) -> Body | None:  # noqa: ARG001
    error = payload.get("error")
    text = error if isinstance(error, str) else fields.optional(fields.mapping(error), "message")
    return _call(payload, at, text, failed=True)


def _call(payload: dict[str, Any], at: datetime, text: str | None, *, failed: bool) -> Body:
    given = payload.get("tool_input", payload.get("toolArgs"))
    id_ = tool_use_id(fields.text(payload, "session_id", "sessionId"), at, given)
    return ended(id_, fields.text(payload, "tool_name", "toolName"), given, text, failed=failed)


def _subagent_stopped(payload: dict[str, Any], at: datetime, subagent: str | None) -> Body | None:  # noqa: ARG001
    text = fence.strip(fields.optional(payload, "last_assistant_message", "response") or "").strip()
    return AssistantMessage(text=text) if text else None


def _stopped(payload: dict[str, Any], at: datetime, subagent: str | None) -> Body | None:  # noqa: ARG001
    return None if subagent else TurnEnd()


_BODIES: dict[str, _Told] = {
    "SessionStart": _session_start,
    "UserPromptSubmit": _prompt,
    "PostToolUse": _call_ended,
    "PostToolUseFailure": _call_failed,
    "SubagentStop": _subagent_stopped,
    "Stop": _stopped,
    "SessionEnd": _session_end,
}
