"""One hook payload of Gemini CLI as Events. Fields as in version 0.61.0.

Hooks tell neither an id of a prompt or a call nor the model, and a turn's answer only together with everything that
was said before it in the turn: the answers come from the chat file (`transcript`). Nothing that the beginning of a call
tells would lead to its end (the same command may run twice at once), so a call is recorded when it ends. The ids made
here are told from an agent's own by `MADE_UP`: the same call has another one in the chat file.
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
    HOOK_ID,
    Body,
    Event,
    Prompt,
    SessionEnd,
    SessionStart,
    ToolCall,
    TurnEnd,
)

AGENT = "gemini"

NOT_RECORDED = frozenset(
    ("AfterModel", "BeforeModel", "BeforeTool", "BeforeToolSelection", "Notification", "PreCompress")
)
"""Known, and not recorded. `PreCompress` comes before every request to the model, also where nothing is compressed."""

_CONTEXT = re.compile(r"\s*<hook_context>.*?</hook_context>", re.S)
_UNTRUSTED = re.compile(r"<untrusted_context>\n(.*?)\n</untrusted_context>", re.S)
_SHELL_TAIL = re.compile(r"(Exit Code|Signal|Background PIDs|Process Group PGID): (.*)")
"""What the shell tool writes below a command's output, a line each, where there is something to say."""


def events(payload: dict[str, Any], at: datetime) -> list[Event]:
    """What `payload`, written at `at`, tells. Empty for an event that is not recorded, and for one that is not known:
    a newer client may send more than this module has heard of, and that is no error.

    Raises ValueError, in words for a person, where something is missing without which there is nothing to record.
    """
    name, session_id = fields.text(payload, "hook_event_name"), fields.text(payload, "session_id")
    when = fields.moment(payload.get("timestamp"), at)
    body = _BODIES[name](payload, when) if name in _BODIES else None
    if body is None:
        return []
    return [
        Event(
            agent=AGENT,
            session_id=session_id,
            occurred_at=when,
            body=body,
            cwd=fields.optional(payload, "cwd"),
            transcript_path=fields.optional(payload, "transcript_path"),
        )
    ]


def typed(text: str) -> str:
    """A prompt as the user typed it: without what hooks, our own among them, put before and behind it."""
    while context := _CONTEXT.match(text):
        text = text[context.end() :]
    return fence.strip(_without_added(text)).strip()


def ended(id_: str, name: str, given: Any, said: str, *, error: str | None) -> ToolCall:
    """The call to which the tool answered `said`, or `error`."""
    if error is not None:
        return tool_call(id_, name, given, success=False, error=_plain(error))
    said = _plain(said)
    if name != "run_shell_command" or not said.startswith("Output: "):
        return tool_call(id_, name, given, success=True, output=said)
    output, tail = said.removeprefix("Output: ").rstrip(), {}
    while told := _SHELL_TAIL.fullmatch(output.rpartition("\n")[2]):
        tail[told[1]], output = told[2], output.rpartition("\n")[0]
    output = "" if output == "(empty)" else output
    if signal := tail.get("Signal"):
        return tool_call(id_, name, given, success=False, error=f"Ended by signal {signal}\n{output}".strip())
    return shell_call(id_, name, given, exit_code=int(tail.get("Exit Code", 0)), output=output)


def mcp_tool(server: str, tool: str) -> str:
    """The name under which the journal has a tool of an MCP server, the same for every agent."""
    return f"mcp__{server}__{tool}"


def _session_start(payload: dict[str, Any], at: datetime) -> Body:  # noqa: ARG001
    return SessionStart(source=fields.optional(payload, "source"))


def _session_end(payload: dict[str, Any], at: datetime) -> Body:  # noqa: ARG001
    return SessionEnd(reason=fields.optional(payload, "reason"))


def _prompt(payload: dict[str, Any], at: datetime) -> Body | None:  # noqa: ARG001
    text = payload.get("prompt")
    if not isinstance(text, str):
        raise ValueError("There is no text `prompt` in the payload.")
    text = typed(text)
    return Prompt(text=text) if text else None


def _call_ended(payload: dict[str, Any], at: datetime) -> Body:
    name, given = fields.text(payload, "tool_name"), payload.get("tool_input")
    milliseconds = round(at.astimezone(UTC).timestamp() * 1000)
    id_ = f"{HOOK_ID}{fields.key(payload['session_id'], milliseconds, name, given)}"
    served = fields.mapping(payload.get("mcp_context"))
    if served:
        name = mcp_tool(fields.text(served, "server_name"), fields.text(served, "tool_name"))
    response = fields.mapping(payload.get("tool_response"))
    failure = response.get("error")
    error = None
    if isinstance(failure, dict):
        error = fields.optional(failure, "message", "type") or "unknown error"
    return ended(id_, name, given, words(response.get("llmContent")), error=error)


def _turn_ended(payload: dict[str, Any], at: datetime) -> Body:  # noqa: ARG001
    return TurnEnd()


def words(content: Any) -> str:
    """The text of a message or a result: a text, or parts."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else [content]
    return "\n".join(
        part if isinstance(part, str) else str(part["text"])
        for part in parts
        if isinstance(part, str) or (isinstance(part, dict) and isinstance(part.get("text"), str))
    )


def _plain(text: str) -> str:
    """A result without what Gemini CLI wraps around it, and without what hooks added."""
    return _without_added(_UNTRUSTED.sub(r"\1", text) if "<untrusted_context>" in text else text)


def _without_added(text: str) -> str:
    while text.rstrip().endswith("</hook_context>") and "<hook_context>" in text:
        text = text[: text.rindex("<hook_context>")].rstrip()
    return text


_BODIES: dict[str, Callable[[dict[str, Any], datetime], Body | None]] = {
    "SessionStart": _session_start,
    "BeforeAgent": _prompt,
    "AfterTool": _call_ended,
    "AfterAgent": _turn_ended,
    "SessionEnd": _session_end,
}
