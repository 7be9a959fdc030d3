"""What the service costs while nothing happens: processor and memory, at once after its start and after 100,000 events.

    make bench-idle

Memory is what the process tree of `agent-memory up` holds: the service, its worker with the embedder loaded; Postgres
apart. The processor is measured over IDLE_SECONDS in which nothing is asked and the queue is empty.
"""

from __future__ import annotations

import sys
import time

import psutil

from agent_memory import paths, settings
from agent_memory.capture.drain import drain
from agent_memory.database import Connection, migrate, server
from bench.figures import Figure, show
from bench.home import scratch_home
from bench.ingest import idle, payloads, running_service, spool, wait_until

EVENTS = 100_000
AT_ONCE = 2_000
IDLE_SECONDS = 30
MEMORY_AIM = 350
"""MB, of one process with the embedder loaded."""
CPU_AIM = 0.5
"""Percent of a core."""


def figures(events: int = EVENTS) -> list[Figure]:
    with scratch_home():
        conninfo = server.conninfo(settings.load())
        with server.connect(conninfo) as conn:
            migrate.migrate(conn)
        found: list[Figure] = []
        with running_service(), server.connect(conninfo) as conn:
            conn.autocommit = True
            store(conn, conninfo, 100, "warm")  # so that the embedder is loaded
            found += resting("at its start")
            store(conn, conninfo, events, "many")
            found += resting(f"after {events:,} events")
        return found


def store(conn: Connection, conninfo: str, count: int, session: str) -> None:
    """Record events and wait until they are remembered and embedded. Most are drained here, since a spool of a hundred
    thousand files is not what this is about."""
    given = payloads(count, seed=len(session), session=session)
    with server.connect(conninfo) as own:
        for number, payload in enumerate(given):
            spool(payload, number)
            if number % AT_ONCE == AT_ONCE - 1:
                drain(own, settings.load())
                print(f"\r{number + 1:,} events", end="", file=sys.stderr)
    wait_until(lambda: not any(paths.spool_new().iterdir()), 120)
    wait_until(lambda: idle(conn), 7_200)


def resting(when: str) -> list[Figure]:
    """After ten seconds of rest."""
    time.sleep(10)
    service = psutil.Process(int(paths.service_pid().read_text().split()[0]))
    tree = [service, *service.children(recursive=True)]
    before = spent(tree)
    time.sleep(IDLE_SECONDS)
    percent = (spent(tree) - before) / IDLE_SECONDS * 100
    largest = max(process.memory_info().rss for process in tree) / 1e6
    whole = sum(process.memory_info().rss for process in tree) / 1e6
    return [
        Figure(
            name=f"service and worker idle, {when}: processor",
            value=percent,
            unit="% of a core",
            beside=f"the aim: {CPU_AIM} %",
            ratio=percent / CPU_AIM,
            slack=1.0,
        ),
        Figure(
            name=f"the larger of service and worker, {when}: memory",
            value=largest,
            unit="MB",
            beside=f"the aim: {MEMORY_AIM} MB",
            ratio=largest / MEMORY_AIM,
        ),
        Figure(name=f"service and worker together, {when}: memory", value=whole, unit="MB"),
    ]


def spent(tree: list[psutil.Process]) -> float:
    return sum(sum(process.cpu_times()[:2]) for process in tree)


if __name__ == "__main__":
    show(figures(int(sys.argv[1]) if len(sys.argv) > 1 else EVENTS))
