"""Gather what costs milliseconds: the service does it every half a minute and at every poll."""

from __future__ import annotations

import contextlib
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import psycopg_pool

from agent_memory import paths
from agent_memory.capture import spool
from agent_memory.database import Connection, migrate
from agent_memory.database.backup import archive, schedule
from agent_memory.health import store
from agent_memory.health.facts import Backups, Disk, Facts, Queue
from agent_memory.observations import queue

AWAY = (psycopg.OperationalError, psycopg_pool.PoolTimeout)
"""What a database that does not answer raises."""


def at_home(**more: Any) -> Facts:
    """What the home's files tell, with `more`."""
    return Facts(now=datetime.now(UTC), backlog=spool.backlog(), disks=_disks(), backups=_backups(), **more)


def at_database(conn: Connection) -> dict[str, Any]:
    """What the database tells cheaply, as facts by name."""
    known = store.times(conn)
    counts = queue.counts(conn)
    return {
        "queue": Queue(
            int(counts["pending"]),
            int(counts["failed"]),
            float(counts["oldest_s"]),
            int(counts["unembedded"]),
        ),
        "stale_runs": store.stale_runs(conn),
        "newest_event": known["newest"],
        "database_since": known["since"],
        "newer_migration": migrate.newer(conn),
        "clock_off_s": (known["now"] - datetime.now(UTC)).total_seconds(),
    }


def _disks() -> tuple[Disk, ...]:
    found: dict[int, Disk] = {}
    for what, folder in (
        ("the home", paths.home()),
        ("the database", paths.postgres()),
        ("backups", paths.backups()),
    ):
        with contextlib.suppress(OSError):
            device = Path(folder).stat().st_dev
            found.setdefault(device, Disk(what, shutil.disk_usage(folder).free))
    return tuple(found.values())


def _backups() -> Backups:
    known = [backup for backup in archive.every() if backup.kind != "before-restore"]
    newest = known[0] if known else None
    return Backups(
        newest=newest.made_at if newest else None,
        broken=newest.name if newest and newest.verify_problem else None,
        scheduled=schedule.asked(),
        failure=archive.last_failure(),
    )
