"""When each agent's hooks were heard last, and whether its session files have grown without them since (promise 8).

One small file an agent in the home, `heard/<agent>`: its content says since when hooks were expected (ISO 8601: when it
was connected, or the first event that came), its time of change when one was heard last.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from agent_memory import agents, paths
from agent_memory.agents.claude_code import payload as claude
from agent_memory.agents.claude_code import plugin
from agent_memory.agents.json_lines import Line
from agent_memory.errors import AgentMemoryError
from agent_memory.journal.event import Event, Prompt, ToolCall

GRACE = timedelta(minutes=10)
"""How much later than the last hook something may have happened: hooks wait in the spool for a busy service."""


def connected(agent: str, at: datetime | None = None) -> None:
    """From now on hooks of this agent are expected, for the sessions that begin from now on."""
    at = at or datetime.now(UTC)
    file = paths.make_private(paths.heard()) / agent
    file.write_text(at.isoformat(), encoding="ascii")
    os.utime(file, (at.timestamp(), at.timestamp()))


def disconnected(agent: str) -> None:
    """No hooks of this agent are expected any more."""
    (paths.heard() / agent).unlink(missing_ok=True)


def note(agent: str, at: datetime) -> None:
    """A hook of this agent's has told something at this time."""
    try:
        file = paths.heard() / agent
        if file.stat().st_mtime < at.timestamp():
            os.utime(file, (at.timestamp(), at.timestamp()))
    except FileNotFoundError:
        connected(agent, at)


def expected() -> dict[str, datetime | None]:
    """The agents whose hooks are expected, with when each was heard last; None: not since it was connected."""
    found: dict[str, datetime | None] = {}
    for file in sorted(paths.heard().glob("*")):
        with contextlib.suppress(OSError, ValueError):
            since = datetime.fromisoformat(file.read_text(encoding="ascii"))
            at = datetime.fromtimestamp(file.stat().st_mtime, UTC)
            found[file.name] = (
                at if at - since > timedelta(milliseconds=1) else None
            )  # a file's time is rounded
    return found


def deaf() -> list[str]:
    """The agents that are connected, that have worked in a session which began since, and whose hooks told nothing of
    it. Reads the end of files that have grown, and nothing where hooks were heard as late as that."""
    return [agent for agent in agents.SESSION_FILES if _is_deaf(agent)]


def _is_deaf(agent: str) -> bool:
    try:
        file = paths.heard() / agent
        since = datetime.fromisoformat(file.read_text(encoding="ascii"))
        heard = datetime.fromtimestamp(file.stat().st_mtime, UTC)
    except (OSError, ValueError):
        return False
    late = heard + GRACE
    grown = [path for path in _session_files(agent) if _changed(path) > late]
    return bool(grown) and _expected(agent) and any(_worked(agent, path, since, late) for path in grown)


def _session_files(agent: str) -> Iterable[Path]:
    kept = agents.SESSION_FILES[agent]
    place = kept.default()
    if place.is_file():
        return [place]
    return (path for path in place.rglob("*") if agents.owner(path) == agent and path.is_file())


def _changed(path: Path) -> datetime:
    try:
        return datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except OSError:
        return datetime.fromtimestamp(0, UTC)


def _expected(agent: str) -> bool:
    """Whether our hooks are in the user's settings still."""
    try:
        changes = agents.connection(agent)("user", Path.cwd(), remove=True)
    except (AgentMemoryError, OSError):
        return False
    return any(not change.is_backup for change in changes) or (agent == claude.AGENT and plugin.installed())


def _worked(agent: str, path: Path, since: datetime, late: datetime) -> bool:
    """Whether a session of this file that began after `since` has prompts or calls from after `late`."""
    began: dict[str, datetime] = {}
    working = set()
    with contextlib.suppress(OSError):
        for event in _events(agents.SESSION_FILES[agent].read(path, 0)):
            began[event.session_id] = min(began.get(event.session_id, event.occurred_at), event.occurred_at)
            if event.occurred_at > late and event.subagent_id is None and _sets_hooks_off(event):
                working.add(event.session_id)
    return any(began[session_id] > since for session_id in working)


def _sets_hooks_off(event: Event) -> bool:
    """A person's prompt, or a call. For a command of the client's own no hook runs."""
    return isinstance(event.body, ToolCall) or (isinstance(event.body, Prompt) and event.body.kind == "user")


def _events(lines: Iterable[Line]) -> Iterable[Event]:
    return (event for line in lines for event in line.events)
