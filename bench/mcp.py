"""What an agent waits for its MCP server, and what a session costs: `make bench-mcp`, or `python -m bench.mcp [runs]`

From the start of the process to the tools, and to the first recall: with a service that has served before, with one
that has just been started, and without any. The server as a process of its own stands beside them, in turn.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from agent_memory import paths, running
from bench.figures import Figure, show
from bench.home import scratch_home

RUNS = 7
SESSIONS = 20
"""Open at once, for what one costs the service."""
WARM, COLD, DOWN, ALONE = "service up", "the first session of a service", "no service", "a process of its own"
RELAY = [sys.executable, "-I", "-m", "agent_memory.mcp"]
OWN = [sys.executable, "-I", "-m", "agent_memory.mcp.server"]
INITIALIZE = {
    "protocolVersion": "2025-06-18",
    "capabilities": {},
    "clientInfo": {"name": "bench", "version": "1"},
}


@dataclass(frozen=True, slots=True)
class Session:
    """One run, in seconds since the start of the process."""

    listed: float
    recalled: float
    megabytes: float
    """Resident memory of what the agent started, with the processes that this started."""


class Client:
    """An agent that talks to the server that it starts with `command`."""

    def __init__(self, command: list[str], folder: Path) -> None:
        self.process = subprocess.Popen(
            command, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        self.number = 0

    def ask(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.number += 1
        message = {"jsonrpc": "2.0", "id": self.number, "method": method, "params": params}
        self.process.stdin.write(json.dumps(message).encode() + b"\n")
        self.process.stdin.flush()
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer

    def begin(self) -> None:
        self.ask("initialize", INITIALIZE)
        assert self.process.stdin is not None
        self.process.stdin.write(b'{"jsonrpc":"2.0","method":"notifications/initialized"}\n')
        assert len(self.ask("tools/list", {})["result"]["tools"]) == 8

    def recall(self) -> None:
        call = {"name": "recall", "arguments": {"query": "which unit has LOGIN_TIMEOUT?"}}
        assert not self.ask("tools/call", call)["result"].get("isError")

    def megabytes(self) -> float:
        started = psutil.Process(self.process.pid)
        return sum(p.memory_info().rss for p in (started, *started.children(recursive=True))) / 2**20

    def end(self) -> None:
        self.process.communicate()


def session(command: list[str], folder: Path) -> Session:
    began = time.perf_counter()
    client = Client(command, folder)
    client.begin()
    listed = time.perf_counter() - began
    client.recall()
    recalled = time.perf_counter() - began
    done = Session(listed, recalled, client.megabytes())
    client.end()
    return done


def service_megabytes() -> float:
    pid = running.process_id()
    assert pid is not None
    return psutil.Process(pid).memory_info().rss / 2**20


def measure(runs: int) -> tuple[dict[str, list[Session]], dict[str, float]]:
    """Sessions of each way, in turn, and the service's memory in megabytes."""
    done: dict[str, list[Session]] = {way: [] for way in (WARM, COLD, DOWN, ALONE)}
    memory: dict[str, float] = {}
    with scratch_home() as home:
        folder = paths.make_private(home) / "project"
        folder.mkdir()
        try:
            session(OWN, folder)  # makes the database, and warms the disk
            for _ in range(runs):
                done[ALONE].append(session(OWN, folder))
                done[DOWN].append(session(RELAY, folder))
                running.start(adopt=True)
                memory["that has just started"] = service_megabytes()
                done[COLD].append(session(RELAY, folder))
                done[WARM].append(session(RELAY, folder))
                memory["with its model loaded, two sessions later"] = service_megabytes()
                running.stop()
            running.start(adopt=True)
            session(RELAY, folder)
            before = service_megabytes()
            clients = [Client(RELAY, folder) for _ in range(SESSIONS)]
            for client in clients:
                client.begin()
                client.recall()
            memory["for one session more"] = (service_megabytes() - before) / SESSIONS
            memory[f"with {SESSIONS} sessions open"] = service_megabytes()
            for client in clients:
                client.end()
        finally:
            running.stop()
    return done, memory


def figures(runs: int = RUNS) -> list[Figure]:
    done, memory = measure(runs)
    own = done.pop(ALONE)
    found: list[Figure] = []
    for way, sessions in done.items():
        for what in ("listed", "recalled"):
            times = [getattr(session, what) for session in sessions]
            beside = [getattr(session, what) for session in own]
            found.append(
                Figure(
                    name=f"MCP, {way}: start → {'tools' if what == 'listed' else 'first recall'}, median of {runs}",
                    value=statistics.median(times),
                    unit="s",
                    beside=f"the server as a process of its own: {statistics.median(beside):.2f} s",
                    ratio=statistics.median(t / b for t, b in zip(times, beside, strict=True)),
                )
            )
        found.append(
            Figure(
                name=f"MCP, {way}: memory of what the agent starts",
                value=statistics.median(session.megabytes for session in sessions),
                unit="MB",
                beside=f"a process of its own: {statistics.median(s.megabytes for s in own):.0f} MB",
            )
        )
    return found + [
        Figure(name=f"the service {when}: memory", value=mb, unit="MB") for when, mb in memory.items()
    ]


def main() -> None:
    show(figures(int(sys.argv[1]) if len(sys.argv) > 1 else RUNS))


if __name__ == "__main__":
    main()
