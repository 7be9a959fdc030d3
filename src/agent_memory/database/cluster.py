"""The cluster on disk and its server: make it, start it, look at it, stop it.

A few lines around initdb, pg_ctl and postgres. `embedded` holds the lock and says when they run.
"""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import subprocess
import tempfile
import time
from enum import Enum
from pathlib import Path

from agent_memory import paths
from agent_memory.database import configuration, placement
from agent_memory.database.placement import SOCKET_NAME, Place
from agent_memory.errors import AgentMemoryError

MAJOR_VERSION = "18"
DATABASE = "agent_memory"
PATIENCE_S = 60
"""How long a start (with the recovery after a crash) or a stop may take."""
LONGEST_LOG = 10_000_000  # bytes; a longer one is put aside at the next start
LOWEST_FREE_DISK = 20_000_000  # bytes; a start writes a segment of the write-ahead log, 16 MB


class State(Enum):
    """What the server is doing."""

    DOWN = "down"
    BUSY = "busy"  # starting, recovering or stopping
    READY = "ready"


def state(place: Place) -> State:
    """A socket that answers is the proof of life: after a crash a pid in a file may be anybody's."""
    folder = line_of(place.data / "postmaster.pid", 5)
    if not folder:
        return State.DOWN
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(1)
        try:
            client.connect(os.path.join(folder, SOCKET_NAME))
        except (BlockingIOError, TimeoutError):
            return State.BUSY  # it lives, but too many wait at its door
        except OSError:
            return State.DOWN
    return State.READY if line_of(place.data / "postmaster.pid", 8) == "ready" else State.BUSY


def settled_state(place: Place) -> State:
    """READY or DOWN, after a start or a stop that is under way."""
    end = time.monotonic() + PATIENCE_S
    while (now := state(place)) is State.BUSY:
        if time.monotonic() > end:
            raise AgentMemoryError(
                f"The embedded Postgres has been starting or stopping for {PATIENCE_S} seconds.",
                f"It may be recovering from a crash: look into {log_file()}, and try again later.",
            )
        time.sleep(0.02)
    return now


def initialise(place: Place) -> None:
    """Make the cluster under another name and rename it, so that one which is cut short does no harm."""
    draft = Path(tempfile.mkdtemp(prefix="data.new-", dir=place.folder))
    placement.give(draft, place)
    try:
        # The built-in locale sorts and folds case alike on every machine.
        locale = ("--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")
        closed = ("--auth-local=peer", "--auth-host=reject")
        made = run(
            place, "initdb", "-D", draft, "-U", configuration.ROLE, *locale, *closed, "--no-instructions"
        )
        if made.returncode == 0:
            single = ("--single", "-D", draft, "-c", "exit_on_error=on", "postgres")
            made = run(place, "postgres", *single, text=f"create database {DATABASE};\n")
        if made.returncode:
            raise _failure("could not make its data folder", place, made.stdout + made.stderr)
        draft.rename(place.data)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def check_data(place: Place) -> None:
    """Raise AgentMemoryError where the data folder is not one of this Postgres."""
    version = line_of(place.data / "PG_VERSION", 1)
    if not version:
        raise AgentMemoryError(
            f"{place.data} is not a Postgres data folder: its PG_VERSION is missing or empty.",
            "Restore a backup, or move the folder aside to start with an empty database.",
        )
    if version != MAJOR_VERSION:
        raise AgentMemoryError(
            f"{place.data} was written by Postgres {version}; this is Postgres {MAJOR_VERSION}.",
            f"Dump it with Postgres {version} (pg_dumpall), move the folder aside, start agent-memory and "
            "load the dump; or only move it aside, to start with an empty database.",
        )
    if place.data.stat().st_mode & 0o077:
        place.data.chmod(0o700)  # Postgres refuses a folder that others can read


def start(place: Place) -> None:
    """Start the server and wait until it takes connections. The caller has found that none answers."""
    for leftover in place.folder.glob("data.new-*"):  # of a first start that was killed
        shutil.rmtree(leftover, ignore_errors=True)
    configuration.write(place)
    if is_ours(place.data / "postmaster.pid", place):
        stop(place)  # it lives, but its socket is gone: somebody has cleaned up /tmp or moved the home
    # Postgres recovers by itself from the lock files of a dead process, but refuses to start where that one's
    # number went to another process, as it does after a reboot.
    for lock_file in (place.data / "postmaster.pid", place.socket_folder / f"{SOCKET_NAME}.lock"):
        if is_ours(lock_file, place) is False:
            lock_file.unlink()
    log = log_file()
    paths.make_private(log.parent)
    if log.exists() and log.stat().st_size > LONGEST_LOG:
        log.replace(log.with_suffix(".log.1"))
    settings = f"-c config_file={shlex.quote(str(place.folder / 'postgresql.conf'))}"
    command = ("start", "-D", place.data, "-o", settings, "-w", "-s", "-t", PATIENCE_S)
    end = time.monotonic() + PATIENCE_S
    # The log is opened here and inherited: root's logs are closed to the server's user.
    with open(os.open(log, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600), "rb") as written:
        while True:
            before = written.seek(0, os.SEEK_END)
            if run(place, "pg_ctl", *command, output=written.fileno()).returncode == 0:
                return
            written.seek(before)
            said = written.read().decode(errors="replace")
            # The children of a postmaster that was killed hold its memory for a moment.
            if "shared memory block" not in said or time.monotonic() > end:
                raise _failure("did not start", place, said)
            time.sleep(0.05)


def stop(place: Place) -> None:
    """Stop the server, cutting off its clients, and wait until it is down."""
    done = run(place, "pg_ctl", "stop", "-D", place.data, "-m", "fast", "-w", "-s", "-t", PATIENCE_S)
    if done.returncode:
        raise AgentMemoryError(
            f"The embedded Postgres did not stop: {done.stderr.strip()}", f"Look into {log_file()}."
        )


def is_ours(lock_file: Path, place: Place) -> bool | None:
    """Whether the process that a lock file of Postgres names is this server; None where there is no such
    process, or it does not tell."""
    import psutil

    pid = line_of(lock_file, 1)
    if not pid.isdigit():
        return None
    try:
        process = psutil.Process(int(pid))
        # A killed postmaster stays as a zombie where nobody reaps, as in a container without an init.
        if process.status() == psutil.STATUS_ZOMBIE or "postgres" not in process.name():
            return False
        return Path(process.cwd()) == place.data
    except psutil.Error:
        return None


def run(
    place: Place, program: str, *arguments: object, text: str = "", output: int = subprocess.PIPE
) -> subprocess.CompletedProcess[str]:
    """Run one of the server's programs as the server's user: in a session of its own, since our Ctrl-C is not
    meant for it, and without our environment, which may be a project's with its secrets."""
    command = [str(placement.programs() / program), *map(str, arguments)]
    switch = placement.is_root()
    return subprocess.run(
        command,
        input=text,
        stdout=output,
        stderr=output,
        encoding="utf-8",
        errors="replace",
        check=False,
        cwd="/",
        env={"PATH": os.defpath, "LC_ALL": "C"},
        start_new_session=True,
        umask=0o077,
        user=place.uid if switch else None,
        group=place.gid if switch else None,
        extra_groups=[] if switch else None,
    )


def _failure(what: str, place: Place, said: str) -> AgentMemoryError:
    no_room = "No space left on device" in said or "Disk quota exceeded" in said
    if no_room or shutil.disk_usage(place.folder).free < LOWEST_FREE_DISK:
        return full_disk(place.folder)
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return AgentMemoryError(
        f"The embedded Postgres {what}: {' | '.join(lines[-6:]) or 'it gave no reason'}",
        f"Its log is {log_file()}, its folder {place.folder}.",
    )


def full_disk(*folders: Path) -> AgentMemoryError:
    """The error that names the fuller one of the disks of these folders, which need not exist yet."""
    ancestors = ((folder, *folder.parents) for folder in map(Path.resolve, folders))
    there = [next(folder for folder in line if folder.exists()) for line in ancestors]
    free, fullest = min((shutil.disk_usage(folder).free, folder) for folder in there)
    return AgentMemoryError(
        f"The disk of {fullest} is full: {free / 1e6:.0f} MB are free.",
        "Make room (an empty database takes 60 MB), or move the home by AGENT_MEMORY_HOME.",
    )


def log_file() -> Path:
    return paths.logs() / "postgres.log"


def line_of(file: Path, number: int) -> str:
    """A line of a small file, or nothing. In postmaster.pid 1 is the process, 5 the socket's folder, 8 the
    state."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return ""
    return lines[number - 1].strip() if len(lines) >= number else ""
