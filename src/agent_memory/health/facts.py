"""What is known about the installation, as values. None or empty: nobody has looked, or it could not be seen."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal, TypeAlias

from agent_memory.capture.spool import Backlog
from agent_memory.database.backup.archive import Failure
from agent_memory.database.backup.schedule import Scheduled

Level: TypeAlias = Literal["problem", "advice"]
"""A problem is told at the next session's start and makes the exit code 1; advice is only shown to who looks."""


@dataclass(frozen=True, slots=True)
class Finding:
    check: str
    """What was looked at, such as `spool`."""
    level: Level
    problem: str
    remedy: str
    fix: str | None = None
    """What `agent-memory doctor --fix` does about it, as a name in `fixes.FIXES`."""


@dataclass(frozen=True, slots=True)
class Queue:
    pending: int
    failed: int
    oldest_s: float
    unembedded: int
    """Chunks that wait for their vector."""


@dataclass(frozen=True, slots=True)
class Disk:
    what: str
    """What lies on it, for a person."""
    free: int
    """Bytes."""


@dataclass(frozen=True, slots=True)
class Backups:
    newest: datetime | None = None
    """When the newest one of the user's or the night's was made."""
    broken: str | None = None
    """The newest one's name, where its verification failed."""
    scheduled: Scheduled | None = None
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class Connected:
    """An agent that has our hooks or our MCP server in its settings."""

    agent: str
    current: bool = True
    """Whether they are as this installation would write them."""
    gone: tuple[Path, ...] = ()
    """Programs and files that they name and that are not there."""
    unreadable: str | None = None


@dataclass(frozen=True, slots=True)
class Coverage:
    """What should have been made of what is stored, and was not, although nothing waits to be done."""

    turns: tuple[tuple[str, str], ...] = ()
    """(session, prompt) without an observation; a sample, where there are very many."""
    observations: int = 0
    """Without chunks."""
    chunks: int = 0
    """Without vectors."""


@dataclass(frozen=True, slots=True)
class Versions:
    ours: str
    service: str | None = None
    """Of the running service."""
    postgres: str | None = None
    """Of the running server."""
    postgres_installed: str | None = None
    """Of the embedded server's programs."""
    vector: str | None = None
    vector_installed: str | None = None
    pending_migrations: tuple[str, ...] = ()
    newer_migration: str | None = None
    """One that a newer program applied."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    now: datetime
    backlog: Backlog
    queue: Queue | None = None
    database_error: str | None = None
    newest_event: datetime | None = None
    database_since: datetime | None = None
    """When the tables were made."""
    embedder_error: str | None = None
    disks: tuple[Disk, ...] = ()
    backups: Backups = Backups()
    uptime_s: float | None = None
    """How long the service has been up, without the time that the machine slept."""
    deaf: tuple[str, ...] = ()
    """Agents that work and whose hooks tell nothing."""
    newer_migration: str | None = None
    """One of the database's that a newer program applied, as another machine's may at any time."""
    stale_runs: int = 0
    """Models that learned from what was forgotten since."""
    threads: tuple[str, ...] = ()
    """Parts of the service that fail again and again."""
    # What only the doctor looks at.
    unknown_settings: tuple[str, ...] = ()
    """What stands in the home's settings and is none."""
    service_pid: int | None = None
    service_answers: bool | None = None
    versions: Versions | None = None
    connected: tuple[Connected, ...] | None = None
    too_open: tuple[Path, ...] = ()
    coverage: Coverage | None = None
    clock_off_s: float = 0.0
    """The database's clock against ours."""
