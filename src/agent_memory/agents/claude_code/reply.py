"""A reply in the form that Claude Code's hooks print: JSON on standard output (docs/decisions/0006)."""

from __future__ import annotations

from typing import Any

from agent_memory.agents.reply import Reply

MOST_CHARS = 9_000
"""Claude Code gives its model no more than 10,000 characters of one hook; of more, only a file's name."""


def rendered(event: str, reply: Reply) -> dict[str, Any]:
    """The hook's output for this event; empty where there is nothing to say."""
    output: dict[str, Any] = {}
    if reply.message:
        output["systemMessage"] = reply.message
    specific: dict[str, Any] = {}
    if reply.context:
        specific["additionalContext"] = reply.context[:MOST_CHARS]
    if reply.decision and event == "PreToolUse":
        specific |= {"permissionDecision": reply.decision, "permissionDecisionReason": reply.reason}
    if specific:
        output["hookSpecificOutput"] = {"hookEventName": event, **specific}
    return output
