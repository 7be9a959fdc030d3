"""How soon the viewer's pages come, at the server.

    make bench-viewer

A session of 10,000 calls of the main agent (with outputs of 3 KB, edits, failures), 2,500 messages and 200 prompts, and
1,000 more calls by 20 subagents, beside 60 ordinary sessions, recorded through the product's own ingest. When the
worker has nothing left to do, the running service is asked for whole pages over its socket, each 30 times in turn;
beside them a page that asks the database for nothing. CPU is the service's, without the database's.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import psutil

from agent_memory import running, settings
from agent_memory.database import server
from agent_memory.database.migrate import migrate
from agent_memory.journal.event import AssistantMessage, Event, Prompt, ToolCall
from agent_memory.journal.ingest import ingest
from bench.home import scratch_home

CALLS, SUBAGENT_CALLS, SUBAGENTS, OTHERS = 10_000, 1_000, 20, 60
RUNS = 30
LIMIT_MS = 300.0
PATIENCE = 1_200.0  # seconds that the worker gets
FOLDER = "/home/dev/large"
BIG = "big-session"
BEGAN = datetime(2026, 11, 25, 8, tzinfo=UTC)


def main() -> None:
    with scratch_home():
        config = settings.load()
        with server.connect(server.conninfo(config, adopt=True)) as conn:
            migrate(conn)
            events = [*big(), *(event for number in range(OTHERS) for event in ordinary(number))]
            for start in range(0, len(events), 2_000):
                ingest(conn, events[start : start + 2_000], config)
                conn.commit()
            conn.autocommit = True
            conn.execute("vacuum analyze")
            row = conn.execute("select id from mem_tool_calls where tool_use_id = 'big-9000'").fetchone()
            assert row
        running.start(adopt=True)
        try:
            settled()
            measure(int(row["id"]))
        finally:
            running.stop()


def settled() -> None:
    """Wait until the worker has built and embedded everything."""
    deadline = time.monotonic() + PATIENCE
    with running.client(timeout=60) as client:
        while (queue := client.get("/api/health").json()["queue"])["pending"] or queue["unembedded"]:
            if time.monotonic() > deadline:
                sys.exit(f"The worker is not done: {queue}")
            time.sleep(1)


def measure(call: int) -> None:
    big = f"/sessions/{BIG}"
    pages = {
        "nothing asked (the login page)": "/login",
        "the big session, first page": big,
        "the big session, page 30": f"{big}?page=30",
        "where a call is in it": f"{big}?call={call}",
        "one of its subagents": f"{big}?agent=agent-7",
        "sessions": "/sessions",
        "sessions with a word that none has": "/sessions?text=zebra",
        "live": "/",
        "timeline": "/timeline",
        "recall": "/recall?q=migrate+the+vouchers",
    }
    took: dict[str, list[float]] = {name: [] for name in pages}
    sizes: dict[str, int] = {}
    with running.client(timeout=60) as client:
        for name, path in pages.items():
            sizes[name] = len(client.get(path).content)  # the first one compiles templates, loads the model
        for _ in range(RUNS):
            for name, path in pages.items():
                began = time.perf_counter()
                client.get(path)
                took[name].append((time.perf_counter() - began) * 1000)
        service = psutil.Process(running.process_id())
        cpu: dict[str, float] = {}
        for name, path in pages.items():
            before = sum(service.cpu_times()[:2])
            for _ in range(RUNS):
                client.get(path)
            cpu[name] = (sum(service.cpu_times()[:2]) - before) / RUNS * 1000
    print(f"{'page':<40}{'median':>10}{'p95':>10}{'most':>10}{'CPU':>10}{'KB':>8}")
    for name, times in took.items():
        p95 = statistics.quantiles(times, n=20)[-1]
        shown = "".join(
            f"{value:>7.1f} ms" for value in (statistics.median(times), p95, max(times), cpu[name])
        )
        print(f"{name:<40}{shown}{sizes[name] / 1024:>8.0f}")
    first = statistics.median(took["the big session, first page"])
    print(f"\nThe first page of {CALLS:,} calls takes {first:.0f} ms (aim: under {LIMIT_MS:.0f}).")
    if first > LIMIT_MS:
        sys.exit(1)


def big() -> Iterator[Event]:
    output = "\n".join(f"line {n}: " + "x" * 60 for n in range(40))
    for number in range(CALLS):
        at = BEGAN + timedelta(seconds=2 * number)
        if number % 50 == 0:
            yield event(at, f"p{number}", Prompt(text=f"Do the next thing, number {number}."))
        if number % 4 == 0:
            yield event(at + timedelta(seconds=0.5), f"p{number - number % 50}", said(f"big-m{number}"))
        yield event(
            at + timedelta(seconds=1), f"p{number - number % 50}", call(f"big-{number}", number, output)
        )
    for number in range(SUBAGENT_CALLS):
        at = BEGAN + timedelta(seconds=20 * number + 1)
        yield event(at, "p0", call(f"sub-{number}", number, output), f"agent-{number % SUBAGENTS}")


def ordinary(number: int) -> Iterator[Event]:
    session, began = f"session-{number}", BEGAN - timedelta(hours=number)
    yield event(began, "p", Prompt(text=f"Migrate the vouchers, part {number}."), session=session)
    for n in range(60):
        at = began + timedelta(seconds=3 * n)
        yield event(at, "p", call(f"c{n}", n, "12 passed"), session=session)


def call(name: str, number: int, output: str) -> ToolCall:
    if number % 5 == 0:
        before = "\n".join(f"    value_{n} = {n}" for n in range(20))
        edit = {"file_path": f"{FOLDER}/a.py", "old_string": before, "new_string": before.replace("7", "8")}
        return ToolCall(tool_use_id=name, name="Edit", input=edit, output="ok", success=True)
    failed = number % 13 == 0
    return ToolCall(
        tool_use_id=name,
        name="Bash",
        input={"command": f"make test-{number}", "description": "Run a part of the tests"},
        output=None if failed else output,
        error=output if failed else None,
        success=not failed,
        duration_ms=800,
    )


def said(uuid: str) -> AssistantMessage:
    return AssistantMessage(
        text=f"Now the tests of {uuid}; then the rest of it.\n\nIt is nearly done.", uuid=uuid
    )


def event(
    at: datetime,
    prompt_id: str,
    body: Prompt | ToolCall | AssistantMessage,
    subagent: str | None = None,
    session: str = BIG,
) -> Event:
    return Event(
        agent="claude",
        session_id=session,
        occurred_at=at,
        cwd=FOLDER,
        prompt_id=prompt_id,
        subagent_id=subagent,
        subagent_type="Explore" if subagent else None,
        body=body,
    )


if __name__ == "__main__":
    main()
