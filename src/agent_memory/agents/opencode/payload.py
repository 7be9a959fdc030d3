"""What our plugin for OpenCode (`plugin.js`) recorded, as Events. Shapes as in version 1.18.33.

A subagent of OpenCode's is a session with a parent. Here it is a subagent of the session at the top, as with
other agents, and its own id and its agent's name tell it apart. Its calls carry the prompt that a person typed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Literal

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

AGENT = "opencode"

_QUOTED = re.compile(r'"((?:[^"]|(?<=\\)")*\s(?:[^"]|(?<=\\)")*)"', re.S)


def events(payload: dict[str, Any], at: datetime) -> list[Event]:
    """What one record of the plugin's, written at `at`, tells. Empty where it is of a kind that is not known.

    Raises ValueError, in words for a person, where something is missing without which there is nothing to record.
    """
    name, session_id = fields.text(payload, "event"), fields.text(payload, "sessionID")
    root = fields.optional(payload, "rootID") or session_id
    subagent = None if session_id == root else session_id
    prompt = fields.optional(payload, "promptID")
    message = fields.mapping(payload.get("message"))
    if name == "prompt":
        prompt = fields.text(message, "id")
    return (
        [
            Event(
                agent=AGENT,
                session_id=root,
                occurred_at=when,
                body=body,
                cwd=fields.optional(payload, "directory"),
                prompt_id=prompt,
                subagent_id=subagent,
                subagent_type=fields.optional(payload, "agent") if subagent else None,
                model=fields.optional(payload, "model"),
                agent_version=fields.optional(payload, "version"),
            )
            for when, body in _BODIES[name](payload, fields.moment(payload.get("at"), at), subagent)
        ]
        if name in _BODIES
        else []
    )


def prompt_text(parts: Sequence[dict[str, Any]]) -> str | None:
    """What set the agent to work, from a user message's parts. None where nobody typed it: OpenCode adds texts of its
    own (`synthetic`), such as the contents of mentioned files and the “Continue…” after a compaction."""
    typed = [
        str(part.get("prompt" if part.get("type") == "subtask" else "text") or "")
        for part in parts
        if part.get("type") in ("text", "subtask") and not part.get("synthetic") and not part.get("ignored")
    ]
    return unquoted(fence.strip("\n".join(typed))) if typed else None


def unquoted(text: str) -> str:
    """`opencode run "fix it"` puts an argument with a space into quotes again. They are taken off where they can be
    nothing else: around the whole text, with every quote within escaped."""
    quoted = _QUOTED.fullmatch(text)
    return quoted[1].replace('\\"', '"') if quoted else text


def call_of(part: dict[str, Any]) -> ToolCall | None:
    """The call that a tool part tells of, begun or ended. None while the model is still writing its input."""
    state = fields.mapping(part.get("state"))
    status, time = state.get("status"), fields.mapping(state.get("time"))
    id_, name, given = fields.text(part, "callID"), fields.text(part, "tool"), state.get("input")
    started, ended = time.get("start"), time.get("end")
    took = (
        fields.milliseconds(ended - started) if isinstance(started, int) and isinstance(ended, int) else None
    )
    if status == "running":
        return tool_call(id_, name, given)
    if status == "error":
        error = str(state.get("error") or "unknown error")
        return tool_call(id_, name, given, success=False, error=error, duration_ms=took)
    if status != "completed":
        return None
    output = state.get("output")
    output = output if isinstance(output, str) else None
    exit_code = fields.mapping(state.get("metadata")).get("exit")
    if isinstance(exit_code, int):
        return shell_call(id_, name, given, exit_code=exit_code, output=output, duration_ms=took)
    return tool_call(id_, name, given, success=True, output=output, duration_ms=took)


def began_at(part: dict[str, Any], otherwise: datetime) -> datetime:
    return fields.moment(
        fields.mapping(fields.mapping(part.get("state")).get("time")).get("start"), otherwise
    )


def messages_of(
    info: dict[str, Any], parts: Sequence[dict[str, Any]], otherwise: datetime
) -> list[tuple[datetime, Body]]:
    """The texts of a complete assistant message. Its tokens are told with the first of them."""
    kind: Literal["message", "compact_summary"] = (
        "compact_summary" if info.get("summary") is True else "message"
    )
    usage = _usage(fields.mapping(info.get("tokens")))
    found: list[tuple[datetime, Body]] = []
    for part in parts:
        text = fence.strip(str(part.get("text") or "")).strip()
        if part.get("type") != "text" or part.get("synthetic") or part.get("ignored") or not text:
            continue
        when = fields.moment(fields.mapping(part.get("time")).get("start"), otherwise)
        found.append(
            (when, AssistantMessage(text=text, kind=kind, uuid=fields.optional(part, "id"), usage=usage))
        )
        usage = None
    return found


def error_of(error: Any) -> str:
    """Why a turn failed: the name of OpenCode's error, and what it says."""
    error = fields.mapping(error)
    said = fields.optional(fields.mapping(error.get("data")), "message")
    name = fields.optional(error, "name") or "unknown error"
    return f"{name}: {said}" if said else name


def _usage(tokens: dict[str, Any]) -> dict[str, Any] | None:
    cache = fields.mapping(tokens.get("cache"))
    counted = {
        "input_tokens": tokens.get("input"),
        "output_tokens": tokens.get("output"),
        "reasoning_tokens": tokens.get("reasoning"),
        "cache_read_input_tokens": cache.get("read"),
        "cache_creation_input_tokens": cache.get("write"),
    }
    return {name: value for name, value in counted.items() if isinstance(value, int)} or None


_Told = list[tuple[datetime, Body]]


def _start(payload: dict[str, Any], at: datetime, subagent: str | None) -> _Told:
    return [] if subagent else [(at, SessionStart(source=fields.optional(payload, "source")))]


def _end(payload: dict[str, Any], at: datetime, subagent: str | None) -> _Told:  # noqa: ARG001
    return [] if subagent else [(at, SessionEnd(reason="dispose"))]


def _prompt(payload: dict[str, Any], at: datetime, subagent: str | None) -> _Told:
    text = prompt_text([fields.mapping(part) for part in payload.get("parts") or []])
    if text is None:
        return []
    kind: Literal["user", "subagent", "command"] = "user"
    if subagent:
        kind = "subagent"
    elif payload.get("command"):
        kind = "command"
    time = fields.mapping(fields.mapping(payload.get("message")).get("time"))
    return [(fields.moment(time.get("created"), at), Prompt(text=text, kind=kind))]


def _tool(payload: dict[str, Any], at: datetime, subagent: str | None) -> _Told:  # noqa: ARG001
    part = fields.mapping(payload.get("part"))
    call = call_of(part)
    return [(began_at(part, at), call)] if call else []


def _message(payload: dict[str, Any], at: datetime, subagent: str | None) -> _Told:  # noqa: ARG001
    parts = [fields.mapping(part) for part in payload.get("parts") or []]
    return messages_of(fields.mapping(payload.get("info")), parts, at)


def _idle(payload: dict[str, Any], at: datetime, subagent: str | None) -> _Told:  # noqa: ARG001
    return [] if subagent else [(at, TurnEnd())]


def _error(payload: dict[str, Any], at: datetime, subagent: str | None) -> _Told:
    return [] if subagent else [(at, TurnEnd(error=error_of(payload.get("error"))))]


_BODIES: dict[str, Callable[[dict[str, Any], datetime, str | None], _Told]] = {
    "start": _start,
    "prompt": _prompt,
    "tool": _tool,
    "message": _message,
    "idle": _idle,
    "error": _error,
    "end": _end,
}
