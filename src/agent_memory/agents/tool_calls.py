"""What a tool call becomes, whichever agent made it."""

from __future__ import annotations

import re
from typing import Any

from agent_memory.agents import fields
from agent_memory.journal import fence
from agent_memory.journal.event import ToolCall

# Our server is entered as `agent-memory` everywhere; each agent joins a server's name and a tool's in its own way:
# agent-memory_recall (OpenCode), agent-memory-recall (Copilot), MCP:agent-memory:recall (Cursor), mcp_agent-memory_…
_OURS = re.compile(r"(?:mcp__?|MCP:)?agent-memory(?:__|[-_:/.])(\w+)")


def tool_call(
    tool_use_id: str,
    name: str,
    given: Any,
    *,
    success: bool | None = None,
    output: str | None = None,
    error: str | None = None,
    duration_ms: int | None = None,
) -> ToolCall:
    """A call begun (`success` None) or ended. Our own tools have the same name for every agent, and what they
    answered is dropped: it is what was remembered, and must not be remembered again."""
    ours = _OURS.fullmatch(name)
    return ToolCall(
        tool_use_id=tool_use_id,
        name=f"mcp__agent-memory__{ours[1]}" if ours else name,
        input=fields.given(given),
        output=None if ours or output is None else fence.strip(output),
        success=success,
        error=None if error is None else fence.strip(error),
        duration_ms=duration_ms,
    )


def shell_call(
    tool_use_id: str,
    name: str,
    given: Any,
    *,
    exit_code: int,
    output: str | None,
    duration_ms: int | None = None,
) -> ToolCall:
    """A command that ran to its end. Exit codes other than 0 are failures, as they are for Claude Code, also where the
    agent calls its tool a success because it could run the command at all."""
    if exit_code == 0:
        return tool_call(tool_use_id, name, given, success=True, output=output, duration_ms=duration_ms)
    error = f"Exit code {exit_code}\n{output or ''}".strip()
    return tool_call(tool_use_id, name, given, success=False, error=error, duration_ms=duration_ms)
