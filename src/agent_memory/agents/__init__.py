"""The agents that can be recorded, each with a room that turns its payloads and transcripts into Events."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from agent_memory.agents.claude_code import connect as claude_connect
from agent_memory.agents.claude_code import payload as claude_code
from agent_memory.agents.claude_code.connect import Scope
from agent_memory.agents.settings_file import Change
from agent_memory.errors import AgentMemoryError
from agent_memory.journal.event import Event

Normaliser: TypeAlias = Callable[[dict[str, Any], datetime], list[Event]]
"""One payload and the time at which it was written → what it tells. ValueError where it makes no sense."""


class Connection(Protocol):
    """What connecting an agent, or disconnecting it, would change in its settings; nothing is written."""

    def __call__(self, scope: Scope, project: Path, *, remove: bool = False) -> list[Change]: ...


NORMALISERS: dict[str, Normaliser] = {
    claude_code.AGENT: claude_code.events,
}


CONNECTIONS: dict[str, Connection] = {
    claude_code.AGENT: claude_connect.changes,
}


def connection(agent: str) -> Connection:
    """How to connect this agent. AgentMemoryError where nobody knows."""
    try:
        return CONNECTIONS[agent]
    except KeyError:
        raise AgentMemoryError(
            f"The agent “{agent}” cannot be connected.", f"Known agents: {', '.join(sorted(CONNECTIONS))}."
        ) from None


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
