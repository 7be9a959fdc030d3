"""An agent that nobody here knows. It tells what it does in the form of Claude Code's hooks (docs/PRIMER.md)."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

from agent_memory.agents.claude_code import payload as claude
from agent_memory.journal.event import Event

AGENT = "custom"


def events(payload: dict[str, Any], at: datetime) -> list[Event]:
    """What a payload tells. Raises ValueError for an event that has no meaning here: its sender wants to know."""
    if payload.get("hook_event_name") not in claude.RECORDED:
        known = ", ".join(sorted(claude.RECORDED))
        raise ValueError(f"Its `hook_event_name` must be one of {known}.")
    return [replace(event, agent=AGENT) for event in claude.events(payload, at)]
