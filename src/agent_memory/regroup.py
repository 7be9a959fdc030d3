"""Putting projects together and taking them apart, in every room at once. Above the rooms, below the edges.

What a person says here holds for what comes later as well: a merged project's identity leads to the other, and a folder
that was split off is its own project's, with all below it. So the same sessions read again, in any order, end in the
same projects. The caller commits; rolled back, it was a rehearsal.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from agent_memory import machine
from agent_memory.access import store as access
from agent_memory.database import Connection
from agent_memory.errors import AgentMemoryError
from agent_memory.journal import projects, store, tombstones
from agent_memory.lessons import store as lessons
from agent_memory.observations import store as observations


@dataclass(frozen=True, slots=True)
class Moved:
    """What went from one project to another."""

    source: int
    target: int
    sessions: int = 0
    prompts: int = 0
    tool_calls: int = 0
    assistant_messages: int = 0
    observations: int = 0
    chunks: int = 0
    vectors: int = 0
    same: int = 0
    """Notes that both projects had word for word: one is left."""
    lessons: int = 0
    tokens_revoked: int = 0
    """Tokens that were bound to the merged project. They would open the other one, too."""

    def counts(self) -> dict[str, int]:
        """What moved, by name, without what is zero."""
        names = [field.name for field in fields(self) if field.name not in ("source", "target")]
        return {name: getattr(self, name) for name in names if getattr(self, name)}


def merge(conn: Connection, source: str, target: str) -> Moved:
    """Make `source` part of `target`: all that it has, and all that will come. Again: what is left, if anything.

    Raises AgentMemoryError for a project that is unknown, and for one that cannot be merged.
    """
    into = _known(conn, target)
    former = _itself(conn, source)
    if former == into:
        raise AgentMemoryError(
            "That is one project already.", "agent-memory project list shows which there are.", status=409
        )
    if store.project(conn, former)["identity"] == projects.UNKNOWN.key:
        raise AgentMemoryError(
            "What came from no known folder cannot be given to a project: so would everything that still comes.",
            "Leave it as it is.",
            status=422,
        )
    store.lock_projects(conn, [former, into])
    sessions = [row["id"] for row in store.sessions_of(conn, former)]
    moved = _moved(conn, former, into, sessions, project=former)
    store.merge_projects(conn, former, into)
    return moved


def split(conn: Connection, project: str, *, path: str | None = None, remote: str | None = None) -> Moved:
    """Take sessions out of a project, with all that came from them: those in the folder `path` and below it, or those
    of a git remote (or of another identity) that was merged into it. What comes later goes the same way. Notes and
    lessons that belong to no session stay.

    Raises AgentMemoryError for a project that is unknown, and where there is nothing that could be split off.
    """
    source = _known(conn, project)
    if path is not None:
        folder = os.path.realpath(os.path.expanduser(path))
        target = _own_project(conn, folder)
        store.lock_projects(conn, [source, target])
        sessions = [row["id"] for row in store.sessions_of(conn, source) if _within(row["cwd"], folder)]
        store.give_folder(conn, folder, machine.here(), target)
    else:
        target = _itself(conn, remote or "")
        store.lock_projects(conn, [source, target])
        merged = store.project(conn, target)["merged_into"]
        if target == source or merged not in (None, source):
            raise AgentMemoryError(
                f"{remote} is not something that was merged into this project.",
                "agent-memory project show PROJECT lists what was. To split off a folder, use --path.",
                status=422,
            )
        sessions = [row["id"] for row in store.sessions_of(conn, source) if row["origin_id"] == target]
    store.separate_project(conn, target)
    return _moved(conn, source, target, sessions)


def _moved(
    conn: Connection, source: int, target: int, sessions: Sequence[str], *, project: int | None = None
) -> Moved:
    """Move these sessions and what came from them; with `project`, also all else that it has."""
    tombstones.copy(conn, source, target)
    return Moved(
        source,
        target,
        sessions=store.move_sessions(conn, sessions, target),
        **store.session_counts(conn, sessions),
        **observations.move(conn, target, project=project, sessions=sessions),
        lessons=lessons.move(conn, target, project=project, sessions=sessions),
        tokens_revoked=0 if project is None else access.revoke_of_project(conn, project),
    )


def _known(conn: Connection, argument: str) -> int:
    known = projects.resolve(conn, argument)
    if known is None:
        raise AgentMemoryError(
            f"No project {argument!r} is known here.",
            "Name it by its id, its folder's path, its git remote or its identity: agent-memory project list.",
            status=404,
        )
    return known


def _itself(conn: Connection, argument: str) -> int:
    """The project that an argument names, and not the one that it was merged into."""
    own = projects.named(conn, argument)
    return _known(conn, argument) if own is None else own


def _own_project(conn: Connection, folder: str) -> int:
    """The project of this folder alone, whatever git says of it."""
    home = Path.home()
    if home.is_relative_to(folder):
        raise AgentMemoryError(
            f"{folder} holds everything you have: as a project it would swallow all others.",
            "Name a folder within it.",
            status=422,
        )
    return projects.own(conn, f"path:{folder}", os.path.basename(folder), folder)


def _within(cwd: str | None, folder: str) -> bool:
    return cwd is not None and Path(os.path.realpath(cwd)).is_relative_to(folder)
