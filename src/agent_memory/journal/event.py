"""What an agent did, in one form for every agent.

An agent's module turns its payloads and its transcripts into these values; ingest turns them into journal rows. An
`Event` says where and when something happened; its `body` says what.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

HOOK_ID = "hook-"
"""What a `tool_use_id` begins with that was made up, where an agent's hooks tell none. The same call has the agent's
own id in the session file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionStart:
    source: str | None = None
    """How it began, in the agent's words: startup, resume, clear, compact, fork."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionEnd:
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """A text that set the agent to work. Only kind `user` was typed by a person."""

    text: str
    kind: Literal["user", "task_notification", "subagent", "command"] = "user"


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """A call begun (`success` None) or ended. Both are one row: the later fills what the earlier left open."""

    tool_use_id: str
    name: str
    input: dict[str, Any]
    output: str | None = None
    """The result as text, whole; ingest cuts it."""
    success: bool | None = None
    error: str | None = None
    duration_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AssistantMessage:
    text: str
    kind: Literal["message", "compact_summary"] = "message"
    uuid: str | None = None
    """The transcript line's id. A hook does not know it: then the same text in the same turn is the same message."""
    usage: dict[str, Any] | None = None
    """Tokens as the model's API counts them; on one message only of those that share an API response."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnEnd:
    """The agent stopped working on a prompt; `error` says why, where it was not of its own will."""

    error: str | None = None


Body = SessionStart | SessionEnd | Prompt | ToolCall | AssistantMessage | TurnEnd


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    agent: str
    """`claude`, `codex`, `gemini`, …: the name of the module in `agents/`, or any other agent's own name."""
    session_id: str
    occurred_at: datetime
    """With a time zone."""
    body: Body
    cwd: str | None = None
    prompt_id: str | None = None
    """The prompt that drove this, in the agent's own numbering."""
    subagent_id: str | None = None
    """Set where a subagent did it, not the main agent."""
    subagent_type: str | None = None
    model: str | None = None
    agent_version: str | None = None
    git_branch: str | None = None
    transcript_path: str | None = None
