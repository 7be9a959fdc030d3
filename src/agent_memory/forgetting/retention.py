"""Retention: let go of old sessions, by age and by size, where that is set. Off until then.

It is not forgetting. What goes is a project's oldest sessions, whole; a session stays as a row that says up to when it
was let go, so that reading its old file again brings nothing back, while what happens in it anew is recorded. Notes
and decisions that somebody saved stay, unless the policy says otherwise.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from agent_memory.database import Connection
from agent_memory.errors import AgentMemoryError
from agent_memory.forgetting import store
from agent_memory.journal import tombstones
from agent_memory.settings import Settings

UNTOUCHED = timedelta(days=1)
"""A session of which something happened within this time never goes."""
DAILY = timedelta(hours=24)
MEGABYTE = 1 << 20
PORTION = 200
"""Sessions that go at once: some seconds, in which what agents do waits in the spool."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    project_id: int | None
    """None: every project without a policy of its own."""
    days: int | None = None
    megabytes: int | None = None
    notes: bool = False
    """Whether notes go by age, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """What would go of a project."""

    project_id: int
    project: str
    sessions: Sequence[str]
    notes: Sequence[int]
    rows: int
    bytes: int
    kept_bytes: int | None
    """What its other sessions take. None: nobody looked, as only their age counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    counts: dict[str, int]
    bytes: int


def policies(conn: Connection, settings: Settings) -> list[Policy]:
    """What is set: by the command, and by the settings for every project that the command says nothing of."""
    found = [
        Policy(**{name: row[name] for name in ("project_id", "days", "megabytes", "notes")})
        for row in store.policies(conn)
    ]
    days, megabytes = settings.agent_memory_retention_days, settings.agent_memory_retention_mb
    if (days or megabytes) and all(one.project_id is not None for one in found):
        found.insert(0, Policy(project_id=None, days=days, megabytes=megabytes))
    return found


def change(conn: Connection, policy: Policy) -> None:
    """Set a policy in the place of the one there was. One that bounds nothing keeps everything."""
    if policy.notes and not policy.days:
        raise AgentMemoryError("Notes go by their age only.", "Give --days, too.", status=422)
    store.set_policy(
        conn, policy.project_id, days=policy.days, megabytes=policy.megabytes, notes=policy.notes
    )


def plan(conn: Connection, settings: Settings) -> list[Due]:
    """What would go now, project by project; those of which nothing would are left out."""
    by_project = {one.project_id: one for one in policies(conn, settings)}
    if not by_project:
        return []
    found = []
    for project in store.projects(conn):
        policy = by_project.get(project["id"]) or by_project.get(None)
        if policy and (due := _due(conn, project, policy)):
            found.append(due)
    return found


def _due(conn: Connection, project: dict[str, Any], policy: Policy) -> Due | None:
    now = datetime.now(UTC)
    oldest = now - timedelta(days=policy.days) if policy.days else None
    # Where nothing bounds the size, only what is old is looked at: its size takes reading it.
    sizes = store.session_sizes(conn, project["id"], before=None if policy.megabytes else oldest)
    left = sum(row["bytes"] for row in sizes)
    limit = policy.megabytes * MEGABYTE if policy.megabytes else None
    gone = []
    for row in sizes:  # the oldest first
        if row["last_event_at"] > now - UNTOUCHED:
            break
        too_old = oldest is not None and row["last_event_at"] < oldest
        if not too_old and (limit is None or left <= limit):
            break
        gone.append(row)
        left -= row["bytes"]
    notes = store.notes_before(conn, project["id"], oldest) if policy.notes and oldest else []
    if not gone and not notes:
        return None
    return Due(
        project_id=project["id"],
        project=project["name"],
        sessions=[row["id"] for row in gone],
        notes=notes,
        rows=sum(row["rows"] for row in gone) + len(notes),
        bytes=sum(row["bytes"] for row in gone),
        kept_bytes=left if policy.megabytes else None,
    )


def run(conn: Connection, settings: Settings) -> Run:
    """Let go of what is due, and remember what was done. The caller commits."""
    tombstones.own(conn)  # a worker that is at one of these turns would write it again
    found = plan(conn, settings)
    counts: Counter[str] = Counter()
    for due in found:
        counts += _let_go(conn, due.sessions, due.notes)
    return _done(conn, counts, found)


def run_if_due(conn: Connection, settings: Settings) -> Run | None:
    """Like `run`, once a day, whichever machine comes first. None: it is not due, or another machine has done it.

    It commits after every PORTION of sessions: nobody can write meanwhile, and the first time it may be years that go.
    """
    if not is_due(conn, settings):
        return None
    found = plan(conn, settings)
    untouched = datetime.now(UTC) - UNTOUCHED
    counts: Counter[str] = Counter()
    for due in found:
        for start in range(0, max(1, len(due.sessions)), PORTION):
            conn.commit()
            tombstones.own(conn)
            if not is_due(conn, settings):
                return None
            sessions = store.quiet_since(conn, due.sessions[start : start + PORTION], untouched)
            counts += _let_go(conn, sessions, due.notes if start == 0 else ())
    return _done(conn, counts, found)


def _let_go(conn: Connection, sessions: Sequence[str], notes: Sequence[int]) -> Counter[str]:
    counts = Counter(store.retire(conn, sessions)) + Counter(store.delete_observations(conn, notes))
    counts["mem_sessions"] += len(sessions)
    return counts


def _done(conn: Connection, counts: Counter[str], found: Sequence[Due]) -> Run:
    done = Run(
        counts={table: n for table, n in sorted(counts.items()) if n}, bytes=sum(due.bytes for due in found)
    )
    store.save_run(conn, done.counts, done.bytes)
    return done


def is_due(conn: Connection, settings: Settings) -> bool:
    """Whether anything is set, and a day has passed since the last run."""
    if not policies(conn, settings):
        return False
    last = store.last_run(conn)
    return last is None or last["ran_at"] < datetime.now(UTC) - DAILY


def report(conn: Connection, settings: Settings) -> dict[str, Any]:
    """For health: how many policies are set, and what the last run did."""
    last = store.last_run(conn)
    return {"policies": len(policies(conn, settings)), "last_run": dict(last) if last else None}
