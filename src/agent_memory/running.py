"""The running service as every other process meets it: whether one runs, starting and stopping it, asking it.

The lock on `service.pid` says who is the service. It is the kernel's, so a killed service leaves none behind, and
whoever holds it may clear away a stale socket.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from agent_memory import paths
from agent_memory.errors import AgentMemoryError

if TYPE_CHECKING:
    import httpx

START_WITHIN = 60.0  # seconds
STOP_WITHIN = 20.0  # seconds that it gets to end by itself: its worker may take ten of them


def process_id() -> int | None:
    """The process id of the running service, or None."""
    try:
        with paths.service_pid().open("rb") as file:
            try:  # a shared lock: two who look do not take each other for the service
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return int(file.read() or 0) or None
    except FileNotFoundError:
        pass
    return None


def start(*, adopt: bool) -> int:
    """Start the service as a process of its own and wait until it answers. Its process id.

    Raises AgentMemoryError with the service's own words where it does not come up.
    """
    paths.make_private(paths.logs())
    said = paths.logs() / "start.log"
    command = [sys.executable, "-I", "-m", "agent_memory", "up"]
    with open(os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
        child = subprocess.Popen(
            command + ([] if adopt else ["--agent-started"]),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
            cwd="/",
        )
    deadline = time.monotonic() + START_WITHIN
    while time.monotonic() < deadline:
        ended = child.poll() is not None
        if answers() and (number := process_id()) is not None:
            return number  # the child's, or that of somebody who was quicker
        if ended and process_id() is None:
            raise _start_error(said.read_text(encoding="utf-8", errors="replace"))
        time.sleep(0.05)
    child.terminate()
    raise AgentMemoryError(
        f"The service did not answer within {START_WITHIN:.0f} s and was stopped.",
        f"Its log is {paths.logs()}.",
    )


def _start_error(said: str) -> AgentMemoryError:
    """What a service that did not come up printed, as the error that it was."""
    problem = re.search(r"^error: (.+)$", said, re.M)
    remedy = re.search(r"^ *what to do: (.+)$", said, re.M)
    if problem and remedy:
        return AgentMemoryError(problem[1], remedy[1])
    return AgentMemoryError(f"The service did not start. {said.strip()}", f"Its log is in {paths.logs()}.")


def answers() -> bool:
    """Whether the service answers on its socket."""
    import httpx  # 0.1 s, which a start would pay for nothing

    try:
        with client(timeout=2) as service:
            return service.get("/api/health").status_code < 500
    except httpx.HTTPError:
        return False


def client(timeout: float) -> httpx.Client:
    """An HTTP client of the running service, over its unix socket."""
    import httpx

    transport = httpx.HTTPTransport(uds=str(paths.service_socket()))
    return httpx.Client(transport=transport, base_url="http://localhost", timeout=timeout)


def stop() -> bool:
    """Stop the running service and wait for its end. False: none ran."""
    pid = process_id()
    if pid is None:
        return False
    for how, patience in ((signal.SIGTERM, STOP_WITHIN), (signal.SIGKILL, 5.0)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, how)
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            if process_id() is None and not _lives(pid):  # it gives up its lock a moment before it is gone
                return True
            time.sleep(0.05)
    raise AgentMemoryError(
        f"The service (process {pid}) does not stop.", "Look at what holds it, and end it by hand."
    )


def _lives(pid: int) -> bool:
    import psutil  # nobody else who only asks needs it

    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@contextlib.contextmanager
def the_one_service() -> Iterator[None]:
    """Be the service, or keep anybody from being it. Raises AgentMemoryError where somebody is."""
    with open(os.open(paths.service_pid(), os.O_RDWR | os.O_CREAT, 0o600), "rb+") as file:
        if not _locked(file.fileno()):
            raise AgentMemoryError(
                f"The service runs already (process {file.read().decode()}).",
                "Stop it with: agent-memory down",
                status=409,
            )
        file.truncate()
        file.write(str(os.getpid()).encode())
        file.flush()
        yield


def _locked(file: int) -> bool:
    """Take the lock. Whoever looks whether it is held, holds it for a moment (`process_id`), so once is not enough."""
    for wait in (0.05, 0.2, 0.5, 0.0):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(wait)
        else:
            return True
    return False


@contextlib.contextmanager
def standing_still() -> Iterator[bool]:
    """Stop the service, let nobody start it, and start it again afterwards, where it ran (True). The hooks' events wait
    in the spool meanwhile."""
    ran = stop()
    try:
        with the_one_service():
            yield ran
    finally:
        if ran:
            start(adopt=True)
