"""What one run of the hook costs: `python -m bench.hook [runs]`.

Beside each run of the hook stands a run of a bare `python -I -S -c pass` in the same seconds, since the start
of a process is most of what there is, and it moves with the machine's load. The hook of a tool call is
measured with the service up, down and hung, one and eight at once; so is that of a session's start, which
looks for the service.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.figures import SLACK, Figure, short, show

RUNS = 200
STARTS = 10
"""Runs of a session's start with the service down: each of them starts it, which takes seconds."""

TOOL_CALL = {
    "cwd": "/home/dev/project",
    "permission_mode": "default",
    "hook_event_name": "PostToolUse",
    "tool_name": "Bash",
    "tool_input": {"command": "python -m pytest -q", "description": "Run the tests"},
    "tool_response": {"stdout": "." * 2_000, "stderr": "", "interrupted": False},
    "duration_ms": 1200,
}
SESSION_START = {"cwd": "/home/dev/project", "hook_event_name": "SessionStart", "source": "startup"}
BARE = [sys.executable, "-I", "-S", "-c", "pass"]


def main() -> None:
    show(figures(int(sys.argv[1]) if len(sys.argv) > 1 else RUNS))


def figures(runs: int = RUNS) -> list[Figure]:
    with temporary_home() as home:
        return measure(home, runs)


def measure(home: Path, runs: int) -> list[Figure]:
    """Two figures a case: p50 and p99."""
    found: list[Figure] = []
    hooks = connected_settings(home)["hooks"]
    after_call, session_start = command(hooks["PostToolUse"]), command(hooks["SessionStart"])

    def row(what: str, service: str, argv: list[str], payload: dict[str, Any], at_once: int) -> None:
        found.extend(case(what, service, at_once, *alternate(home, argv, payload, runs, at_once)))

    with listening(home / ".agent-memory" / "service.sock"):
        for at_once in (1, 8):
            row("a tool call", "hung", after_call, TOOL_CALL, at_once)
            row("a session's start", "hung", session_start, SESSION_START, at_once)
    for at_once in (1, 8):
        row("a tool call", "down", after_call, TOOL_CALL, at_once)
    _, starts = alternate(home, session_start, SESSION_START, STARTS, 1, before=lambda: stopped(home))
    # It starts the service and waits for what it has to tell: no bare interpreter stands beside that.
    name = "hook of a session's start, service down, with its start: p50"
    found.append(Figure(name=name, value=statistics.median(starts), unit="ms"))
    agent_memory(home, "up", "--detach")
    for at_once in (1, 8):
        row("a tool call", "up", after_call, TOOL_CALL, at_once)
        row("a session's start", "up", session_start, SESSION_START, at_once)
    return found


def alternate(
    home: Path,
    argv: list[str],
    payload: dict[str, Any],
    runs: int,
    at_once: int,
    *,
    before: Callable[[], None] = lambda: None,
) -> tuple[list[float], list[float]]:
    """Milliseconds of bare runs and of runs of the hook, in turn, `at_once` beside each other."""
    bare: list[float] = []
    hook: list[float] = []
    with ThreadPoolExecutor(at_once) as threads:
        for _ in range(-(-runs // at_once)):
            before()
            for times, command in ((bare, BARE), (hook, argv)):
                stdins = [stdin(payload) for _ in range(at_once)]
                times += threads.map(lambda given, argv=command: timed(argv, given, home), stdins)
    return bare, hook


def timed(argv: list[str], given: bytes, home: Path) -> float:
    """Milliseconds from the start of a process to its end."""
    started = time.perf_counter()
    done = subprocess.run(argv, input=given, env=environment(home), capture_output=True, check=False)
    milliseconds = (time.perf_counter() - started) * 1000
    assert done.returncode == 0, done
    assert not done.stderr, done
    return milliseconds


def stdin(payload: dict[str, Any]) -> bytes:
    """The payload as the agent sends it, under ids of its own."""
    ids = {"session_id": str(uuid.uuid4()), "tool_use_id": f"toolu_{uuid.uuid4().hex[:24]}"}
    return json.dumps({**ids, **payload}, separators=(",", ":")).encode() + b"\n"


def connected_settings(home: Path) -> dict[str, Any]:
    """Claude Code's settings as `agent-memory connect claude` writes them for the user with this home."""
    agent_memory(home, "connect", "claude")
    settings: dict[str, Any] = json.loads((home / ".claude" / "settings.json").read_bytes())
    return settings


def command(registered: list[dict[str, Any]]) -> list[str]:
    """The command line of the one hook that is registered for an event."""
    (hook,) = [hook for matcher in registered for hook in matcher["hooks"]]
    return [hook["command"], *hook.get("args", [])]


def agent_memory(home: Path, *arguments: str) -> None:
    """Run the command line that is installed beside this interpreter."""
    subprocess.run(
        [Path(sys.executable).parent / "agent-memory", *arguments],
        env=environment(home) | {"AGENT_MEMORY_PORT": str(free_port())},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        check=True,
    )


def stopped(home: Path) -> None:
    """Wait for a service that is being started, then stop it."""
    deadline = time.monotonic() + 60
    while (home / ".agent-memory" / "spool" / "new").is_dir() and time.monotonic() < deadline:
        if not any((home / ".agent-memory" / "spool" / "new").iterdir()):
            break
        time.sleep(0.1)
    agent_memory(home, "down")


def environment(home: Path) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "HOME": str(home), "LANG": "C.UTF-8"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def temporary_home() -> Iterator[Path]:
    """A user's HOME for as long as the block lasts. What was started in it is stopped."""
    home = Path(tempfile.mkdtemp(prefix="am-"))  # short: a unix socket's path has 107 characters at most
    try:
        yield home
    finally:
        agent_memory(home, "down")
        shutil.rmtree((home / ".agent-memory" / "postgres").resolve(), ignore_errors=True)
        shutil.rmtree(home)


@contextmanager
def listening(path: Path) -> Iterator[None]:
    """A service that hangs: the kernel accepts what connects to `path`, and nobody answers."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with socket.socket(socket.AF_UNIX) as service:
        service.bind(str(path))
        service.listen(4096)
        yield
    path.unlink()


def case(what: str, service: str, at_once: int, bare: list[float], hook: list[float]) -> list[Figure]:
    name = f"hook of {what}, service {service}" + (f", {at_once} at once" if at_once > 1 else "")
    told = (
        ("p50", statistics.median(bare), statistics.median(hook), SLACK),
        ("p99", percentile_99(bare), percentile_99(hook), 1.0),  # of 200 runs the second-worst
    )
    return [
        Figure(
            name=f"{name}: {which}",
            value=ours,
            unit="ms",
            beside=f"a bare `python -I -S -c pass`: {short(plain)} ms",
            ratio=ours / plain,
            slack=slack,
        )
        for which, plain, ours, slack in told
    ]


def percentile_99(milliseconds: list[float]) -> float:
    return statistics.quantiles(milliseconds, n=100, method="inclusive")[98]


if __name__ == "__main__":
    main()
