"""The sockets that the service listens on: TCP on the loopback, and unix sockets for the owner alone."""

from __future__ import annotations

import contextlib
import errno
import hmac
import ipaddress
import os
import platform
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from agent_memory.errors import AgentMemoryError
from agent_memory.settings import Settings, owner_token

OTHER = {"127.0.0.1": "::1", "::1": "127.0.0.1"}
"""Where a browser also looks for a name under localhost, and first of all at ::1."""
_SOL_LOCAL, _LOCAL_PEERCRED = 0, 1  # macOS, <sys/un.h>


def address(config: Settings) -> str:
    host = f"[{config.agent_memory_host}]" if ":" in config.agent_memory_host else config.agent_memory_host
    return f"http://{host}:{config.agent_memory_port}/"


def own_name(config: Settings) -> str:
    """A name of this home's own under localhost, which browsers know for the loopback without asking anybody. A cookie
    knows no ports: that of 127.0.0.1 goes to every program's page there, that of this name to ours alone, since
    nobody can guess it."""
    return (
        f"agent-memory-{hmac.digest(owner_token(config).encode(), b'viewer', 'sha256').hex()[:24]}.localhost"
    )


def viewer(config: Settings) -> str:
    """Where a browser finds the viewer."""
    if _host(config) not in OTHER or not _browsers_know(own_name(config)):
        return address(config)
    return f"http://{own_name(config)}:{config.agent_memory_port}/"


def _browsers_know(name: str) -> bool:
    """Chromium and Firefox know every name under localhost, and all browsers of Linux do; Safari asks the system."""
    if platform.system() != "Darwin":
        return True
    try:
        return {found[4][0] for found in socket.getaddrinfo(name, None)} <= OTHER.keys()
    except OSError:
        return False


def _host(config: Settings) -> str:
    return "127.0.0.1" if config.agent_memory_host == "localhost" else config.agent_memory_host


@contextlib.contextmanager
def tcp(config: Settings) -> Iterator[list[socket.socket]]:
    """The configured address and its sister on the loopback, where the machine has that: else another program could
    take the port there, and a browser would bring it what is ours.

    Raises AgentMemoryError for an address that others reach, and where the port is taken.
    """
    host = _host(config)
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
    with contextlib.ExitStack() as listening:
        found = [listening.enter_context(_listening(host, config.agent_memory_port))]
        if host in OTHER:
            with contextlib.suppress(_NoSuchAddressError):
                found.append(listening.enter_context(_listening(OTHER[host], config.agent_memory_port)))
        yield found


class _NoSuchAddressError(AgentMemoryError):
    """This machine has no such address, as one without IPv6."""


def _listening(host: str, port: int) -> socket.socket:
    problem = f"Port {port} on {host} cannot be had"
    remedy = "Stop the program that uses it, or set AGENT_MEMORY_PORT (in the environment or config.toml)."
    try:
        listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    except OSError as error:
        raise _NoSuchAddressError(f"{problem}: {error.strerror}.", remedy) from None
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        kind = _NoSuchAddressError if error.errno == errno.EADDRNOTAVAIL else AgentMemoryError
        raise kind(f"{problem}: {error.strerror}.", remedy) from None
    return listening


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
