"""When the journal is looked through for lessons: at a quiet time, by a process of its own that ends."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from pathlib import Path

from agent_memory.database import Connection
from agent_memory.lessons import miner

log = logging.getLogger(__name__)

LOOK_EVERY = 60.0  # seconds
STOP_WITHIN = 10.0  # seconds


def keep_mining(conn: Connection, conninfo: str, stopping: threading.Event, log_file: Path) -> None:
    """Mine whenever there is something to mine, until the service stops."""
    while not stopping.wait(LOOK_EVERY):
        with conn.transaction():
            due = bool(miner.due(conn))
        if due:
            _run(conninfo, stopping, log_file)


def _run(conninfo: str, stopping: threading.Event, log_file: Path) -> None:
    command = [sys.executable, "-I", "-m", "agent_memory.lessons.miner"]
    with log_file.open("ab") as out, subprocess.Popen(command, stdin=subprocess.PIPE, stderr=out) as child:
        assert child.stdin is not None
        child.stdin.write(conninfo.encode() + b"\n")
        child.stdin.close()
        while child.poll() is None and not stopping.wait(0.2):
            pass
        if child.poll() is None:
            child.terminate()  # what it had not committed is mined the next time
            try:
                child.wait(STOP_WITHIN)
            except subprocess.TimeoutExpired:
                child.kill()
        elif child.returncode:
            log.warning("mining for lessons ended with %s", child.returncode)
