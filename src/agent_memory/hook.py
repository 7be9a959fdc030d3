"""The recorder: takes one payload of an agent's from stdin and leaves it in the spool as one file. Then, for the events
that the service wants to answer, it asks the service and prints the answer.

Run as `python -I -S hook.py AGENT [HOME]`. Contract: it exits with 0 and prints nothing or valid JSON, whatever
happens, since an agent may take anything else as a reason to stop. It needs no service, no network and no lock, and it
imports nothing of the package: each import would be paid at every tool call of the agent's.

The file's name says when and by which agent; its content is the payload, untouched: reading it is the service's work.
There is no fsync: a killed process loses nothing without it, and it would cost a millisecond at every call.

What the service wants to answer stands in the home's file `asks`, one line an event: `EVENT MILLISECONDS [TOOL…]`, a
tool's name or the beginning of one with `*`. An answer that is not whole within its milliseconds is no answer.
"""

from __future__ import annotations

import os
import sys
import time

BLOCK = 1 << 20  # bytes
SOCKET_WAIT = 0.2  # seconds that a hung service may cost at a session's start
START_WAIT = 3.0  # seconds that a session's start waits for a service that it has to start
ANSWERED = ("claude", "codex", "gemini")  # agents that take an answer at a session's start
LARGEST_ASKED = 4 << 20  # bytes; a larger payload is recorded, but not asked about
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
    blocks = record(agent, home)
    head = blocks[0] if blocks else b""
    event = field(head, b"hook_event_name")
    if event == "SessionStart":
        start_session(agent, home, blocks)
    elif milliseconds := asked(home, event, head):
        sys.stdout.write(ask(agent, home, blocks, milliseconds / 1000) or "")


def record(agent: str, home: str) -> list[bytes]:
    """Copy stdin into a new spool file and return what it was, in blocks."""
    name = f"{time.time_ns():020d}-{os.getpid()}-{os.urandom(4).hex()}.{agent}"
    draft, whole = f"{home}/spool/tmp/{name}", f"{home}/spool/new/{name}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    try:
        file = os.open(draft, flags, 0o600)
    except FileNotFoundError:
        for folder in (home, f"{home}/spool", f"{home}/spool/tmp", f"{home}/spool/new"):
            os.makedirs(folder, mode=0o700, exist_ok=True)
        file = os.open(draft, flags, 0o600)
    blocks = []
    try:
        while block := os.read(0, BLOCK):
            blocks.append(block)
            while block:
                block = block[os.write(file, block) :]
        os.rename(draft, whole)
    except OSError:
        os.unlink(draft)  # half a payload is no event; the transcript still has it
        raise
    finally:
        os.close(file)
    return blocks


def field(head: bytes, name: bytes) -> str:
    """A short text field of the payload, without a JSON parser; empty where it is not there. Quotes within a text are
    escaped, so that no text can pose as a field."""
    _, found, rest = head.partition(b'"%b":' % name)
    words = rest[:200].split(b'"', 2) if found else []
    return words[1].decode("ascii", "replace") if len(words) == 3 and not words[0].strip() else ""


def asked(home: str, event: str, head: bytes) -> int:
    """How many milliseconds the service gets to answer this event; 0: it does not want to."""
    try:
        with open(f"{home}/asks", encoding="ascii") as file:
            lines = file.read().splitlines()
    except OSError:
        return 0
    for line in lines:
        name, milliseconds, *tools = line.split()
        if name == event:
            tool = field(head, b"tool_name") if tools else ""
            fits = not tools or any(tool.startswith(t[:-1]) if t.endswith("*") else tool == t for t in tools)
            return int(milliseconds) if fits else 0
    return 0


def ask(agent: str, home: str, blocks: list[bytes], seconds: float) -> str | None:
    """The service's answer to this payload, which may be empty; None where none came whole in time."""
    import _socket  # the C module alone: `socket` would cost 7 ms

    deadline = time.monotonic() + seconds
    size = sum(map(len, blocks))
    if size > LARGEST_ASKED:
        return None
    head = f"POST /api/hook HTTP/1.1\r\nHost: localhost\r\nX-Agent-Name: {agent}\r\nConnection: close\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {size}\r\n\r\n"
    service = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    answer = b""
    try:
        service.settimeout(seconds)
        service.connect(f"{home}/service.sock")
        service.sendall(head.encode("ascii", "replace") + b"".join(blocks))
        while (left := deadline - time.monotonic()) > 0:
            service.settimeout(left)
            block = service.recv(1 << 16)
            if not block:
                break
            answer += block
        else:
            return None
    except OSError:
        return None
    finally:
        service.close()
    status, _, body = answer.partition(b"\r\n\r\n")
    length = status.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0]
    if status[8:13] != b" 200 " or int(length or 0) != len(body):
        return None
    return body.decode("utf-8")


def start_session(agent: str, home: str, blocks: list[bytes]) -> None:
    """Make sure that the service runs. Pass on what it has to say, or in one line what is wrong with it."""
    running = service_answers(f"{home}/service.sock")
    milliseconds = asked(home, "SessionStart", b"") if agent in ANSWERED else 0
    if not running:
        started = start_service(home)
        running = milliseconds > 0 and came_up(started, f"{home}/service.sock")
    answer = ask(agent, home, blocks, milliseconds / 1000) if running and milliseconds else None
    if answer is not None:
        sys.stdout.write(answer)
    elif agent == "claude":
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


def came_up(started: int, socket: str) -> bool:
    """Whether the service that the process `started` starts answers soon. No longer waited for where that failed."""
    deadline = time.monotonic() + START_WAIT
    while time.monotonic() < deadline:
        time.sleep(0.02)
        if service_answers(socket):
            return True
        ended, status = os.waitpid(started, os.WNOHANG) if started else (0, 0)
        if status:
            return service_answers(socket)
        started = 0 if ended else started  # it found that another starts the service
    return False


def start_service(home: str) -> int:
    """Start it as a process that outlives the agent; its id. Not with `up --detach`: a second interpreter would double
    the time until it answers."""
    kept = {k: v for k, v in os.environ.items() if k in INHERITED or k.startswith(INHERITED_PREFIXES)}
    logs = f"{home}/logs"
    said = (
        f"{logs}/start.log" if os.path.isdir(logs) else os.devnull
    )  # what it says until it writes its own log
    away = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    # -I: the agent's working folder is a project of the user's; a module there must not become part of the service.
    command = [sys.executable, "-I", "-m", "agent_memory", "up", "--agent-started"]
    return os.posix_spawn(
        sys.executable, command, kept | {"AGENT_MEMORY_HOME": home}, file_actions=away, setsid=True
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
