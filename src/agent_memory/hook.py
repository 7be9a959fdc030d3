"""The recorder: takes one payload of an agent's from stdin and leaves it in the spool as one file.

Run as `python -I -S hook.py AGENT [HOME]`. Contract: it exits with 0 and prints nothing or valid JSON, whatever
happens, since an agent may take anything else as a reason to stop. It needs no service, no network and no lock, and it
imports nothing of the package: each import would be paid at every tool call of the agent's.

The file's name says when and by which agent; its content is the payload, untouched: reading it is the service's work.
There is no fsync: a killed process loses nothing without it, and it would cost a millisecond at every call.
"""

from __future__ import annotations

import os
import sys
import time

SOCKET_WAIT = 0.2  # seconds that a hung service may cost, at a session's start only
STALE = 600  # seconds after which a file still in the spool means that nobody reads it
# What the service gets of the agent's environment, which holds the agent's own keys.
INHERITED = (
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "LANG",
    "TMPDIR",
    "DATABASE_URL",
    "REQUIRE_AUTH",
    "REDACT_SECRETS",
)
INHERITED_PREFIXES = ("AGENT_MEMORY_", "POSTGRES_", "LC_", "XDG_")


def main() -> None:
    agent = sys.argv[1] if len(sys.argv) > 1 else "unknown"
    home = sys.argv[2] if len(sys.argv) > 2 else os.environ.get("AGENT_MEMORY_HOME", "")
    home = os.path.abspath(os.path.expanduser(home or "~/.agent-memory"))
    head = record(agent, home)
    if b'"hook_event_name":"SessionStart"' in head or b'"hook_event_name": "SessionStart"' in head:
        start_session(agent, home)


def record(agent: str, home: str) -> bytes:
    """Copy stdin into a new spool file and return its first bytes."""
    name = f"{time.time_ns():020d}-{os.getpid()}-{os.urandom(4).hex()}.{agent}"
    draft, whole = f"{home}/spool/tmp/{name}", f"{home}/spool/new/{name}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    try:
        file = os.open(draft, flags, 0o600)
    except FileNotFoundError:
        for folder in (home, f"{home}/spool", f"{home}/spool/tmp", f"{home}/spool/new"):
            os.makedirs(folder, mode=0o700, exist_ok=True)
        file = os.open(draft, flags, 0o600)
    head = b""
    try:
        while block := os.read(0, 1 << 20):
            head = head or block
            while block:
                block = block[os.write(file, block) :]
        os.rename(draft, whole)
    except OSError:
        os.unlink(draft)  # half a payload is no event; the transcript still has it
        raise
    finally:
        os.close(file)
    return head


def start_session(agent: str, home: str) -> None:
    """Make sure that the service runs, and pass on in one line what is wrong with it."""
    running = service_answers(f"{home}/service.sock")
    if not running:
        start_service(home)
    if agent == "claude":
        tell(home, running=running)


def service_answers(socket: str) -> bool:
    import _socket  # the C module alone: `socket` would cost 7 ms

    try:
        with_service = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
        with_service.settimeout(SOCKET_WAIT)
        with_service.connect(socket)
        with_service.close()
    except TimeoutError:
        return True  # busy, but there
    except OSError:
        return False
    return True


def start_service(home: str) -> None:
    """Start it detached, so that it outlives the agent, and do not wait."""
    kept = {k: v for k, v in os.environ.items() if k in INHERITED or k.startswith(INHERITED_PREFIXES)}
    nowhere = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
        (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
    ]
    # -I: the agent's working folder is a project of the user's; a module there must not become part of the service.
    command = [sys.executable, "-I", "-m", "agent_memory", "up", "--detach", "--agent-started"]
    os.posix_spawn(
        sys.executable, command, kept | {"AGENT_MEMORY_HOME": home}, file_actions=nowhere, setsid=True
    )


def tell(home: str, *, running: bool) -> None:
    try:
        with open(f"{home}/notice.json", encoding="utf-8") as notice:  # written by the service: promise 8
            sys.stdout.write(notice.read())
            return
    except FileNotFoundError:
        pass
    waiting = os.listdir(f"{home}/spool/new")
    oldest = time.time() - int(min(waiting)[:20]) / 1e9 if waiting else 0
    if not running and oldest > STALE:
        sys.stdout.write(
            f'{{"systemMessage": "agent-memory: {len(waiting)} events wait to be stored, since the service was down.'
            ' It is being started; see: agent-memory status"}'
        )


if __name__ == "__main__":
    try:
        main()
        sys.stdout.flush()
    except BaseException:
        pass
    os._exit(0)
