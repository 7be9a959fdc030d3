"""What the hooks did not tell: when a turn ends, the session's own file is read from where it was left.

Hooks know nothing of what the agent said between its calls, of the tokens it used, and of a call that its user
interrupted. The journal's keys make what both tell one row.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from agent_memory import agents, machine
from agent_memory.capture.backfill import Report, backfill
from agent_memory.database import Connection
from agent_memory.journal import store
from agent_memory.journal.event import Event, SessionEnd, TurnEnd
from agent_memory.settings import Settings

RECENT_DAYS = 7
"""How far back a starting service looks for sessions that went on without it."""


def ended(events: Iterable[Event]) -> set[Path]:
    """The session files of the turns and sessions that ended with these events."""
    return {
        Path(event.transcript_path)
        for event in events
        if event.transcript_path and isinstance(event.body, TurnEnd | SessionEnd)
    }


def recent(conn: Connection) -> set[Path]:
    """The session files of the sessions of the last days."""
    return {Path(path) for path in store.recent_transcripts(conn, machine.here(), days=RECENT_DAYS)}


def reconcile(conn: Connection, files: Iterable[Path], settings: Settings) -> Report:
    """Read what is new in these sessions' files, their subagents' too. Commits as it goes. A file that is not there, or
    that no agent is known to write, is passed over."""
    return backfill(conn, _present(files), settings, lambda _: None)


def _present(files: Iterable[Path]) -> Sequence[Path]:
    found = []
    for file in sorted(files):
        agent = agents.owner(file)
        if agent is not None:
            found += agents.SESSION_FILES[agent].of_session(file)
    return found
