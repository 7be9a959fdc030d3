"""The two servers that a relay can reach: a session that the running service holds, and a process of its own."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator

from agent_memory import __version__, paths

ANSWERS_WITHIN = 2.0  # seconds for the service's first line, which takes it no work
SILENT = 5.0  # seconds without a word on a request, after which it is seen whether the service is still alive
STARTS_WITHIN = 5.0  # seconds that a service which is starting is waited for
BLOCK = 1 << 20  # bytes

Json = dict[str, object]


class Service:
    """A session that the running service holds. `busy` tells whether the agent waits for an answer."""

    def __init__(self, connection: socket.socket, busy: Callable[[], bool]) -> None:
        self._connection = connection
        self._busy = busy
        connection.settimeout(SILENT)
        self.lines = lines(self._read)

    def send(self, line: bytes) -> None:
        """Raises OSError where it is gone, or takes nothing."""
        self._connection.sendall(line)

    def finish(self) -> None:
        """Nothing more will be sent."""
        self._connection.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)  # wakes the thread that reads
        self._connection.close()

    def _read(self) -> bytes:
        while True:
            try:
                return self._connection.recv(BLOCK)
            except TimeoutError:
                if self._busy() and not answers():
                    return b""
            except OSError:
                return b""


class Process:
    """A server of this session's own. It ends when its standard input does, so it never outlives this process."""

    def __init__(self) -> None:
        import subprocess  # 10 ms

        self._process = subprocess.Popen(
            [sys.executable, "-I", "-m", "agent_memory.mcp.server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._to, self._from = self._process.stdin, self._process.stdout
        self.lines = self._lines()

    def send(self, line: bytes) -> None:
        """Raises OSError where it is gone."""
        while line:
            line = line[self._to.write(line) :]

    def finish(self) -> None:
        """Nothing more will be sent."""
        self._to.close()

    close = finish

    def _lines(self) -> Iterator[bytes]:
        with self._from:
            yield from lines(lambda: os.read(self._from.fileno(), BLOCK))
        self._process.wait()


def service(hello: Json, busy: Callable[[], bool], *, patience: float = STARTS_WITHIN) -> Service | None:
    """A session of the service's; None where there is none to be had. A service that starts just now is waited for."""
    until = time.monotonic() + patience
    while True:
        try:
            connection = knock(hello)
        except (ConnectionRefusedError, FileNotFoundError):
            if time.monotonic() >= until or not starting():
                return None
            time.sleep(0.02)
        except OSError:
            return None
        else:
            return Service(connection, busy) if connection else None


def knock(hello: Json) -> socket.socket | None:
    """Open a session of the service's. None: it does not serve this agent, or not this version.

    Raises OSError: nobody listens (ConnectionRefusedError, FileNotFoundError), or nobody answers in time.
    """
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.settimeout(ANSWERS_WITHIN)
        connection.connect(str(paths.mcp_socket()))
        connection.sendall(json.dumps({"agent-memory": __version__, **hello}).encode() + b"\n")
        said = b""
        while not said.endswith(b"\n"):  # it says no more than this line, until it is asked
            block = connection.recv(BLOCK)
            if not block:
                raise ConnectionResetError("it ended")
            said += block
    except OSError:
        connection.close()
        raise
    answer = parsed(said)
    if answer.get("agent-memory") == __version__ and answer.get("refused") is None:
        return connection
    connection.close()
    return None


def answers() -> bool:
    """Whether the service is alive."""
    try:
        connection = knock({})
    except OSError:
        return False
    if connection:
        connection.close()
    return True


def starting() -> bool:
    """Whether somebody is about to be the service: its lock is held, or it was started a moment ago."""
    try:
        with paths.service_pid().open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        pass
    try:
        began = (paths.logs() / "start.log").stat().st_mtime
    except OSError:
        return False
    return 0 <= time.time() - began < STARTS_WITHIN


def lines(read: Callable[[], bytes], end: bytes = b"") -> Iterator[bytes]:
    """Whole lines, with their ends. `end` makes one of what comes after the last; without it that is dropped, as the
    beginning of what a killed server was about to say."""
    rest = b""
    while block := read():
        *whole, rest = (rest + block).split(b"\n")
        for line in whole:
            yield line + b"\n"
    if rest and end:
        yield rest + end


def parsed(line: bytes) -> Json:
    """The message; empty for what is none. The server says what is wrong with it."""
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return message if isinstance(message, dict) else {}


def fields(message: Json, name: str) -> Json:
    """The object in a message's field; empty where it is none."""
    value = message.get(name)
    return value if isinstance(value, dict) else {}
