"""The agents that can be recorded, each with a room that turns its payloads and transcripts into Events."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeAlias

from agent_memory.agents.claude_code import payload as claude_code
from agent_memory.errors import AgentMemoryError
from agent_memory.journal.event import Event

Normaliser: TypeAlias = Callable[[dict[str, Any], datetime], list[Event]]
"""One payload and the time at which it was written → what it tells. ValueError where it makes no sense."""

NORMALISERS: dict[str, Normaliser] = {
    claude_code.AGENT: claude_code.events,
}


def normaliser(agent: str) -> Normaliser:
    """How to read this agent's payloads. AgentMemoryError where nobody knows."""
    try:
        return NORMALISERS[agent]
    except KeyError:
        raise AgentMemoryError(
            f"Payloads of the agent “{agent}” cannot be read.",
            f"Known agents: {', '.join(sorted(NORMALISERS))}.",
            status=422,
        ) from None
