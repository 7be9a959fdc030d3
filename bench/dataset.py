"""How fast a data set is made, and that it takes no more memory from a larger journal.

    make bench-dataset

Made-up journals of two sizes, the second four times the first: sessions of 25 calls of about 2.5 KB with different
tools, in eight projects. For each the product's own `dataset.make` runs in a process of its own. Rows a second and
megabytes of journal a second are over all passes (read, cut, audit, render); the peak is the process's resident set.
"""

from __future__ import annotations

import json
import random
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from rich.console import Console
from rich.table import Table

from agent_memory import paths, settings
from agent_memory.database import Connection, migrate, server
from agent_memory.finetune import dataset
from agent_memory.journal.event import AssistantMessage, Body, Event, Prompt, ToolCall
from agent_memory.journal.ingest import ingest
from bench.home import scratch_home

SIZES = (400, 1_600)
"""Sessions."""
CALLS = 25
PROJECTS = 8
TOOLS = ("Read", "Edit", "Grep", "Glob", "Write", "WebFetch", "Task")
BEGAN = datetime(2026, 1, 5, 9, tzinfo=UTC)
LETTERS = "abcdefghijklmnoprstuw"


def session(number: int) -> Iterator[Event]:
    rng = random.Random(number)
    words = ["".join(rng.choices(LETTERS, k=rng.randrange(3, 9))) for _ in range(400)]
    at = BEGAN + timedelta(minutes=number)
    told: list[Body] = []
    for n in range(CALLS):
        if n % 8 == 0:
            told.append(Prompt(text="Please " + " ".join(rng.choices(words, k=20))))
        told.append(AssistantMessage(text=" ".join(rng.choices(words, k=25)), uuid=f"{number}-{n}"))
        lines = "\n".join(f"/home/dev/{' '.join(rng.choices(words, k=10))}" for _ in range(35))
        given = {"target": " ".join(rng.choices(words, k=6))}
        call = f"toolu_{number}_{n}"
        told.append(
            ToolCall(tool_use_id=call, name=rng.choice(TOOLS), input=given, output=lines, success=n % 9 > 0)
        )
        told.append(AssistantMessage(text=" ".join(rng.choices(words, k=12)), uuid=f"{number}-{n}-end"))
    for second, body in enumerate(told):
        moment = at + timedelta(seconds=second)
        folder = f"/home/dev/project{number % PROJECTS}"
        yield Event(agent="claude", session_id=f"s{number}", occurred_at=moment, cwd=folder, body=body)


def fill(conn: Connection, sessions: range) -> None:
    for number in sessions:
        ingest(conn, list(session(number)), settings.load())
        conn.commit()


def measure(out: Path) -> None:
    """Make one, in this process alone, and print what it took."""
    with server.connect(server.conninfo(settings.load())) as conn:
        began = time.perf_counter()
        published = dataset.make(conn, dataset.Wanted(), out, settings.load())
        took = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"rows": sum(published.manifest["rows"].values()), "seconds": took, "peak_mb": peak}))


def main() -> None:
    table = Table("sessions", "journal MB", "rows", "seconds", "rows/s", "journal MB/s", "peak RSS MB")
    with scratch_home():
        conninfo = server.conninfo(settings.load())
        with server.connect(conninfo) as conn:
            migrate.migrate(conn)
            filled = 0
            for size in SIZES:
                fill(conn, range(filled, size))
                filled = size
                row = conn.execute(
                    "select (select sum(octet_length(output) + octet_length(tool_input::text)) from mem_tool_calls)"
                    " + (select sum(octet_length(text)) from mem_assistant_messages) as bytes"
                ).fetchone()
                conn.commit()
                assert row is not None
                megabytes = float(row["bytes"]) / 1e6
                out = paths.home() / f"set{size}"
                told = subprocess.run(
                    [sys.executable, "-m", "bench.dataset", str(out)],
                    check=True,
                    stdout=subprocess.PIPE,
                    text=True,
                )
                got = json.loads(told.stdout.splitlines()[-1])
                table.add_row(
                    f"{size:,}",
                    f"{megabytes:,.0f}",
                    f"{got['rows']:,}",
                    f"{got['seconds']:.1f}",
                    f"{got['rows'] / got['seconds']:,.0f}",
                    f"{megabytes / got['seconds']:.2f}",
                    f"{got['peak_mb']:,.0f}",
                )
    Console().print(table)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        measure(Path(sys.argv[1]))
    else:
        main()
