"""What the memory says to an agent in the middle of its work, before it takes the form that the agent reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

Decision: TypeAlias = Literal["ask", "deny"]


MOST_CONTEXT = 9_000
"""Characters. Claude Code cuts a longer text; nobody said what the others do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    context: str = ""
    """For the model."""
    message: str = ""
    """For the user, one line."""
    decision: Decision | None = None
    """Whether the tool call has to be confirmed by the user, or is refused. None: the agent goes on as it would."""
    reason: str = ""
    """Why, with a decision."""


def as_context(event: str, reply: Reply) -> dict[str, Any]:
    """A reply in the form of Codex and Gemini CLI at a session's start: the model's part of it, or nothing. Codex
    refuses other fields."""
    if not reply.context:
        return {}
    context = reply.context[:MOST_CONTEXT]
    return {"hookSpecificOutput": {"hookEventName": event, "additionalContext": context}}


def joined(replies: Sequence[Reply]) -> Reply | None:
    """Several as one: their texts one after the other, the strictest decision. None where nobody said anything."""
    if not replies:
        return None
    strictest: Decision | None = None
    for decision in ("ask", "deny"):
        if any(reply.decision == decision for reply in replies):
            strictest = decision
    return Reply(
        context="\n\n".join(reply.context for reply in replies if reply.context),
        message="\n".join(reply.message for reply in replies if reply.message),
        decision=strictest,
        reason="\n".join(reply.reason for reply in replies if reply.decision == strictest and reply.reason),
    )
