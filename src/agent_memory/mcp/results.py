"""What every tool's result and error look like."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec

from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import CallToolResult, TextContent, ToolAnnotations
from pydantic import BaseModel

from agent_memory.errors import AgentMemoryError

META = "agent-memory"

READS = ToolAnnotations(read_only_hint=True, idempotent_hint=True, open_world_hint=False)
ADDS = ToolAnnotations(
    read_only_hint=False, destructive_hint=False, idempotent_hint=True, open_world_hint=False
)
DESTROYS = ToolAnnotations(
    read_only_hint=False, destructive_hint=True, idempotent_hint=True, open_world_hint=False
)

P = ParamSpec("P")


def told(tool: Callable[P, CallToolResult]) -> Callable[P, CallToolResult]:
    """What the user can mend reaches the agent as the tool's error; the SDK hides the words of any other. The
    docstring becomes the description, on one line."""

    @functools.wraps(tool)
    def run(*args: P.args, **kwargs: P.kwargs) -> CallToolResult:
        try:
            return tool(*args, **kwargs)
        except AgentMemoryError as error:
            raise ToolError(_said(error)) from error

    run.__doc__ = " ".join((tool.__doc__ or "").split())
    return run


def failed(error: AgentMemoryError) -> CallToolResult:
    """What a call of a tool gets that was not begun."""
    return CallToolResult(content=[TextContent(type="text", text=_said(error))], is_error=True)


def _said(error: AgentMemoryError) -> str:
    return f"{error.problem} {error.remedy}"


def result(text: str, facts: BaseModel) -> CallToolResult:
    return CallToolResult(
        content=[TextContent(type="text", text=text)], _meta={META: facts.model_dump(mode="json")}
    )
