"""The embedded Postgres: made at the first start, shared by every process of this home, stopped by `stop`.

It listens on a unix socket only, in a folder of its owner's, and lets in nobody but the owner (peer
authentication: the kernel says who is at the other end). It outlives the process that started it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from psycopg.conninfo import make_conninfo

from agent_memory import paths
from agent_memory.database import cluster, configuration, placement
from agent_memory.database.cluster import State
from agent_memory.database.placement import Place
from agent_memory.errors import AgentMemoryError


@dataclass(frozen=True)
class Facts:
    """What `agent-memory status` tells of the embedded server."""

    state: State
    version: str | None
    """The major version that wrote the data folder, or None where there is no data yet."""
    data: Path
    size: int
    """Bytes on disk."""


def ensure_running() -> str:
    """Start the server where it is not running, and return its libpq connection string.

    Any number of processes may call it at once. Raises AgentMemoryError where the server cannot start.
    """
    with _os_errors_explained():
        place = placement.find()
        if place and cluster.state(place) is State.READY:
            return _conninfo(place)
        with _lock():
            place = placement.prepare()
            if cluster.settled_state(place) is State.DOWN:
                if not place.data.exists():
                    cluster.initialise(place)
                cluster.check_data(place)
                cluster.start(place)
            return _conninfo(place)


def stop() -> bool:
    """Stop the server and wait until it is down. False where it was not running."""
    with _os_errors_explained():
        place = placement.find()
        if place is None:
            return False
        with _lock():
            down = cluster.settled_state(place) is State.DOWN
            if down and not cluster.is_ours(place.data / "postmaster.pid", place):
                return False
            cluster.stop(place)
            return True


def running() -> bool:
    """Whether the server takes connections."""
    with _os_errors_explained():
        place = placement.find()
        return place is not None and cluster.state(place) is State.READY


def facts() -> Facts:
    """The server's state, and its data folder with version and size."""
    with _os_errors_explained():
        place = placement.find()
        if place is None:
            return Facts(State.DOWN, None, paths.postgres() / "data", 0)
        size = 0
        for folder, _, files in os.walk(place.data):
            for file in files:
                with contextlib.suppress(FileNotFoundError):  # the server removes files as we walk
                    size += os.lstat(os.path.join(folder, file)).st_blocks * 512
        version = cluster.line_of(place.data / "PG_VERSION", 1) or None
        return Facts(cluster.state(place), version, place.data, size)


def _conninfo(place: Place) -> str:
    folder = Path(cluster.line_of(place.data / "postmaster.pid", 5) or place.socket_folder)
    placement.check_socket_folder(folder, place)
    return make_conninfo(
        host=str(folder),
        port=5432,
        dbname=cluster.DATABASE,
        user=configuration.ROLE,
        requirepeer=place.user,  # the client, too, checks who is at the other end
    )


@contextlib.contextmanager
def _os_errors_explained() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise cluster.full_disk(paths.home(), paths.postgres()) from error
        raise AgentMemoryError(
            f"The embedded Postgres cannot use {error.filename or paths.home()}: {error.strerror}.",
            f"Make {paths.home()} a folder of your own that you can write, or move it by AGENT_MEMORY_HOME.",
        ) from error


@contextlib.contextmanager
def _lock() -> Iterator[None]:
    """One starter or stopper at a time. The lock dies with its holder."""
    file = paths.make_private(paths.home()) / "postgres.lock"
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
