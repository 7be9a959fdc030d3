"""The agents that can be recorded. Each is a room of its own: how its payloads and its session files are read as
Events, and how it is connected. These tables are all that the rest of the house knows of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol, TypeAlias, TypeVar

from agent_memory.agents import cline, cursor, custom, vscode, windsurf, zed
from agent_memory.agents.claude_code import connect as claude_connect
from agent_memory.agents.claude_code import payload as claude_payload
from agent_memory.agents.claude_code import plugin as claude_plugin
from agent_memory.agents.claude_code import reply as claude_reply
from agent_memory.agents.claude_code import transcript as claude_transcript
from agent_memory.agents.claude_code.connect import Scope
from agent_memory.agents.codex import connect as codex_connect
from agent_memory.agents.codex import payload as codex_payload
from agent_memory.agents.codex import transcript as codex_transcript
from agent_memory.agents.copilot import connect as copilot_connect
from agent_memory.agents.copilot import payload as copilot_payload
from agent_memory.agents.copilot import transcript as copilot_transcript
from agent_memory.agents.gemini import connect as gemini_connect
from agent_memory.agents.gemini import payload as gemini_payload
from agent_memory.agents.gemini import transcript as gemini_transcript
from agent_memory.agents.json_lines import Line
from agent_memory.agents.opencode import connect as opencode_connect
from agent_memory.agents.opencode import payload as opencode_payload
from agent_memory.agents.opencode import transcript as opencode_transcript
from agent_memory.agents.reply import Reply, as_context
from agent_memory.agents.settings_file import Change
from agent_memory.errors import AgentMemoryError
from agent_memory.journal.event import Event

T = TypeVar("T")

Normaliser: TypeAlias = Callable[[dict[str, Any], datetime], list[Event]]
"""One payload and the time at which it was written → what it tells. ValueError where it makes no sense."""


class Connection(Protocol):
    """What connecting an agent, or disconnecting it, would change in its settings; nothing is written."""

    def __call__(self, scope: Scope, project: Path, *, remove: bool = False) -> list[Change]: ...


class Read(Protocol):
    """The lines of a session file that lie behind `offset`. OSError where it cannot be read."""

    def __call__(self, path: Path, offset: int = 0) -> Iterator[Line]: ...


@dataclass(frozen=True, slots=True)
class SessionFiles:
    """Where an agent keeps what it did, and how that is read."""

    default: Callable[[], Path]
    """The folder, or the one file."""
    patterns: tuple[str, ...]
    """What its files are called, as globs. The first agent of the table whose pattern fits has the file."""
    read: Read
    of_session: Callable[[Path], list[Path]] = lambda path: [path] if path.is_file() else []
    """A session's file with those that belong to it, its subagents' among them, as far as they are there."""
    offset_is_size: bool = True
    """A line's end counts bytes, so a file as long as its offset holds nothing new."""


NORMALISERS: dict[str, Normaliser] = {
    claude_payload.AGENT: vscode.shared(claude_payload.events),
    codex_payload.AGENT: codex_payload.events,
    gemini_payload.AGENT: gemini_payload.events,
    opencode_payload.AGENT: opencode_payload.events,
    copilot_payload.AGENT: vscode.shared(copilot_payload.events),
    vscode.AGENT: vscode.events,
    cursor.AGENT: cursor.events,
    windsurf.AGENT: windsurf.events,
    cline.AGENT: cline.events,
    custom.AGENT: custom.events,
}

CONNECTIONS: dict[str, Connection] = {
    claude_payload.AGENT: claude_connect.changes,
    codex_payload.AGENT: codex_connect.changes,
    gemini_payload.AGENT: gemini_connect.changes,
    opencode_payload.AGENT: opencode_connect.changes,
    copilot_payload.AGENT: copilot_connect.changes,
    vscode.AGENT: vscode.changes,
    cursor.AGENT: cursor.changes,
    windsurf.AGENT: windsurf.changes,
    cline.AGENT: cline.changes,
    zed.AGENT: zed.changes,
}

SESSION_FILES: dict[str, SessionFiles] = {
    codex_payload.AGENT: SessionFiles(
        codex_transcript.default_folder,
        ("*/rollout-*.jsonl",),
        codex_transcript.read,
        codex_transcript.of_session,
    ),
    gemini_payload.AGENT: SessionFiles(
        gemini_transcript.default_folder,
        ("*/chats/session-*.jsonl", "*/chats/session-*.json", "*/chats/*/*.jsonl"),
        gemini_transcript.read,
        gemini_transcript.of_session,
    ),
    copilot_payload.AGENT: SessionFiles(
        copilot_transcript.default_folder, ("*/events.jsonl", "*.events.jsonl"), copilot_transcript.read
    ),
    opencode_payload.AGENT: SessionFiles(
        opencode_transcript.default_path,
        ("*/opencode*.db",),
        opencode_transcript.read,
        offset_is_size=False,
    ),
    claude_payload.AGENT: SessionFiles(
        claude_transcript.default_folder, ("*.jsonl",), claude_transcript.read, claude_transcript.of_session
    ),
}


REPLIES: dict[str, Callable[[str, Reply], dict[str, Any]]] = {
    claude_payload.AGENT: claude_reply.rendered,
    codex_payload.AGENT: as_context,
    gemini_payload.AGENT: as_context,
}
"""Agents that take an answer from their hooks: the event's name and the reply → what the hook prints, as JSON."""
AT_START_ONLY = frozenset((codex_payload.AGENT, gemini_payload.AGENT))
"""Those of them that are answered at a session's start and nowhere else."""

AFTER_CONNECTING: dict[str, Callable[[], str | None]] = {
    claude_payload.AGENT: claude_plugin.note,
    codex_payload.AGENT: codex_connect.note,
}
"""What is left for the user to do or to know once an agent is connected, or None."""


def connection(agent: str) -> Connection:
    """How to connect this agent. AgentMemoryError where nobody knows."""
    return _known(CONNECTIONS, agent, f"The agent “{agent}” cannot be connected.")


def normaliser(agent: str) -> Normaliser:
    """How to read this agent's payloads. AgentMemoryError where nobody knows."""
    return _known(NORMALISERS, agent, f"Payloads of the agent “{agent}” cannot be read.")


def owner(file: Path) -> str | None:
    """The agent whose session file this is, by its name; None for a file that is nobody's."""
    for agent, files in SESSION_FILES.items():
        if any(file.absolute().match(pattern) for pattern in files.patterns):
            return agent
    return None


def _known(table: Mapping[str, T], agent: str, problem: str) -> T:
    try:
        return table[agent]
    except KeyError:
        known = f"Known agents: {', '.join(sorted(table))}."
        raise AgentMemoryError(problem, known, status=422) from None
