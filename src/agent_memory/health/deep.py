"""Gather what the doctor looks at besides: every agent's settings, the whole index, the model, modes, versions."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx

from agent_memory import __version__, paths, running, settings
from agent_memory.database import Connection, migrate, placement, server
from agent_memory.errors import AgentMemoryError
from agent_memory.health import connections, look, store
from agent_memory.health.facts import Coverage, Facts, Versions
from agent_memory.observations import embed, turns
from agent_memory.observations import store as observations
from agent_memory.settings import Settings

UNDER_WAY = timedelta(minutes=10)
"""A turn that is younger may still be going on."""


def examine(config: Settings) -> Facts:
    """Everything that can be known. Starts the embedded database where it is down; changes nothing else."""
    facts = look.at_home(
        service_pid=running.process_id(),
        connected=connections.connected(),
        too_open=_too_open(),
        embedder_error=_embedder_error(config),
        unknown_settings=tuple(settings.unknown()),
    )
    facts = replace(facts, **_service(facts))
    versions = Versions(__version__, service=_service_version() if facts.service_answers else None)
    try:
        conninfo = server.conninfo(config)
        with server.connect(conninfo) as conn:
            versions = replace(versions, **_versions(conn, conninfo))
            if versions.newer_migration or versions.pending_migrations:
                return replace(facts, versions=versions)
            known = look.at_database(conn)
            return replace(facts, **known, versions=versions, coverage=_coverage(conn, facts))
    except (AgentMemoryError, *look.AWAY) as error:
        said = error.problem if isinstance(error, AgentMemoryError) else type(error).__name__
        return replace(facts, versions=versions, database_error=said)


def _service(facts: Facts) -> dict[str, Any]:
    answers = facts.service_pid is not None and running.answers()
    told = _asked() if answers else {}
    return {"service_answers": answers, "uptime_s": told.get("uptime_s")}


def _asked() -> dict[str, Any]:
    try:
        with running.client(timeout=10) as service:
            said: dict[str, Any] = service.get("/api/health").json()
            return said
    except (httpx.HTTPError, ValueError):
        return {}


def _service_version() -> str | None:
    return _asked().get("version")


def _versions(conn: Connection, conninfo: str) -> dict[str, Any]:
    vector = store.vector_versions(conn)
    pending, newer = migrate.state(conn)
    return {
        "postgres": str(conn.info.parameter_status("server_version")).split()[0],
        "postgres_installed": _postgres_installed() if server.is_embedded(conninfo) else None,
        "vector": vector["used"],
        "vector_installed": vector["installed"],
        "pending_migrations": tuple(pending),
        "newer_migration": newer,
    }


def _postgres_installed() -> str | None:
    said = subprocess.run(
        [placement.programs() / "postgres", "--version"], capture_output=True, text=True, check=False
    )
    return said.stdout.split()[-1] if said.returncode == 0 else None


def _embedder_error(config: Settings) -> str | None:
    try:
        embed.load(config).embed(["a test"], query=True)
    except AgentMemoryError as error:
        return f"{error.problem} {error.remedy}"
    return None


def _coverage(conn: Connection, facts: Facts) -> Coverage:
    """A turn counts only where something would be made of it: many are not worth a memory."""
    missing = [
        (session, prompt)
        for session, prompt in store.turns_without_observation(conn, facts.now - UNDER_WAY)
        if (turn := observations.load_turn(conn, session, prompt)) and turns.build(turn)
    ]
    return Coverage(
        tuple(missing), len(store.observations_without_chunks(conn)), store.chunks_without_vector(conn)
    )


def _too_open() -> tuple[Path, ...]:
    """What of the home others can read or write. A home that is closed closes all that is in it."""
    home = paths.home()
    if home.exists() and not home.stat().st_mode & 0o077:
        return ()
    inside = (
        *(paths.config_file(), paths.env_file(), paths.token(), paths.service_socket(), paths.spool()),
        *(paths.spool_new(), paths.spool_tmp(), paths.spool_bad(), paths.backups(), paths.logs()),
    )
    found = []
    for path in (home, *inside):
        try:
            status = path.lstat()
        except OSError:
            continue
        if status.st_uid == os.getuid() and status.st_mode & 0o077 and not path.is_symlink():
            found.append(path)
    return tuple(found)
