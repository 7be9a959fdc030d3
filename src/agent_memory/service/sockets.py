"""The sockets that the service listens on: TCP on the loopback, and unix sockets for the owner alone."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from agent_memory.errors import AgentMemoryError
from agent_memory.settings import Settings

_SOL_LOCAL, _LOCAL_PEERCRED = 0, 1  # macOS, <sys/un.h>


def address(config: Settings) -> str:
    host = f"[{config.agent_memory_host}]" if ":" in config.agent_memory_host else config.agent_memory_host
    return f"http://{host}:{config.agent_memory_port}/"


@contextlib.contextmanager
def tcp(config: Settings) -> Iterator[socket.socket]:
    """Raises AgentMemoryError for an address that others reach, and where the port is taken."""
    host = "127.0.0.1" if config.agent_memory_host == "localhost" else config.agent_memory_host
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        ip = None
    if ip is None or not ip.is_loopback:
        raise AgentMemoryError(
            f"AGENT_MEMORY_HOST is {config.agent_memory_host!r}: that address can be reached from other machines, and"
            " this memory holds what you said and did.",
            "Leave it at 127.0.0.1; from elsewhere, use an SSH tunnel:"
            f" ssh -L {config.agent_memory_port}:127.0.0.1:{config.agent_memory_port} this-machine",
        )
    family = socket.AF_INET6 if ip.version == 6 else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((host, config.agent_memory_port))
        except OSError as error:
            raise AgentMemoryError(
                f"Port {config.agent_memory_port} on {host} cannot be had: {error.strerror}.",
                "Stop the program that uses it, or set AGENT_MEMORY_PORT (in the environment or config.toml).",
            ) from None
        yield listening


@contextlib.contextmanager
def unix(path: Path) -> Iterator[socket.socket]:
    """Raises AgentMemoryError where the path is too long or cannot be written."""
    path.unlink(missing_ok=True)  # a killed service's: we hold the lock, so nobody listens there
    with OwnersOnly(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        before = os.umask(0o177)
        try:
            listening.bind(str(path))
        except OSError as error:
            raise AgentMemoryError(
                f"The socket {path} cannot be made: {error}.",
                "A path may have about 100 characters: move the home with AGENT_MEMORY_HOME.",
            ) from None
        finally:
            os.umask(before)
        try:
            yield listening
        finally:
            path.unlink(missing_ok=True)


class OwnersOnly(socket.socket):
    """A listening unix socket that takes connections of the owner's (and root's) processes only. The file's mode says
    the same; this holds too where somebody has loosened the mode, or the folder lies on a disk that knows none."""

    def accept(self) -> tuple[socket.socket, Any]:
        connection, where = super().accept()
        if _peer(connection) in (os.geteuid(), 0):
            return connection, where
        connection.close()
        raise ConnectionAbortedError("not the owner's process")  # which the event loop passes over


def _peer(connection: socket.socket) -> int | None:
    """The user id of the process at the other end; None where the system does not tell."""
    try:
        if hasattr(socket, "SO_PEERCRED"):  # Linux
            said = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
            return int(struct.unpack("3i", said)[1])
        said = connection.getsockopt(_SOL_LOCAL, _LOCAL_PEERCRED, 76)
        return int(struct.unpack_from("II", said)[1])
    except OSError:
        return None
