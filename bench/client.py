"""What the hooks cost a real Claude Code session: `python -m bench.client [runs]`.

The same session of 20 tool calls, one after the other, against a stand-in for the model that answers at once,
so that the hooks are as large a part of it as they ever are. The ways of registering them take turns. The
service is a socket that nobody answers at: what is measured is the hooks alone, and what they left in the
spool can be counted.
"""

from __future__ import annotations

import copy
import json
import statistics
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from tests.e2e import claude, npm
from tests.e2e.messages_api import Script, text, tool

from bench.figures import Figure, short
from bench.hook import BARE, connected_settings, listening, temporary_home, timed

CALLS = 20
RUNS = 7
PROMPT = "Count to twenty"

AS_CONNECTED = "as connected, MCP server too"

Settings = dict[str, Any]


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else RUNS
    try:
        claude.executable()
    except npm.NotAvailableError as reason:
        sys.exit(f"REAL CLAUDE CODE NOT AVAILABLE: {reason}")
    with temporary_home() as home:
        print(table(*measure(home, runs)))


def figures() -> list[Figure]:
    """What hooks add to a call, beside what a bare interpreter takes to start."""
    try:
        claude.executable()
    except npm.NotAvailableError as reason:
        sys.exit(f"REAL CLAUDE CODE NOT AVAILABLE: {reason}")
    with temporary_home() as home:
        seconds, _ = measure(home, RUNS)
        plain = statistics.median(timed(BARE, b"", home) for _ in range(50))
    bare = statistics.median(seconds.pop("no hooks"))
    return [
        Figure(
            name=f"Claude Code, {CALLS} calls, {way}: added per call",
            value=(added := (statistics.median(times) - bare) / CALLS * 1000),
            unit="ms",
            beside=f"a bare `python -I -S -c pass`: {short(plain)} ms",
            ratio=added / plain,
            slack=1.0,  # the difference of two medians of seconds
        )
        for way, times in seconds.items()
    ]


def ways(connected: Settings) -> dict[str, Settings]:
    """The ways of registering the hooks, by name, from the settings that connecting writes."""
    without = copy.deepcopy(connected)
    without["hooks"].pop("PreToolUse", None)
    return {
        "no hooks": {},
        "without PreToolUse": without,
        "as connected": connected,
        AS_CONNECTED: connected,
    }


def measure(home: Path, runs: int) -> tuple[dict[str, list[float]], dict[str, list[Counter[str]]]]:
    """Seconds, and the events that reached the spool, of each run of each way."""
    project = home / "project"
    project.mkdir()
    subprocess.run(["git", "init", "-q"], cwd=project, check=True)
    registered = ways(connected_settings(home))
    seconds: dict[str, list[float]] = {way: [] for way in registered}
    stored: dict[str, list[Counter[str]]] = {way: [] for way in registered}
    script: Script = {
        PROMPT: [*([tool("Bash", command=f"echo {n}")] for n in range(CALLS)), [text("Twenty.")]],
    }
    with listening(home / ".agent-memory" / "service.sock"):
        for attempt in range(runs + 1):
            for way, settings in registered.items():
                (home / ".claude" / "settings.json").write_text(json.dumps(settings), encoding="utf-8")
                further = [] if way == AS_CONNECTED else ["--strict-mcp-config"]
                done = claude.run(home, project, script, PROMPT, *further)
                assert len(done.calls) == CALLS, done
                events = taken(home / ".agent-memory" / "spool" / "new")
                if attempt:  # the first of each warms the caches
                    seconds[way].append(done.seconds)
                    stored[way].append(events)
    return seconds, stored


def taken(spool: Path) -> Counter[str]:
    """The events in the spool by name; the files are removed."""
    events: Counter[str] = Counter()
    for file in spool.glob("*"):
        events[json.loads(file.read_bytes())["hook_event_name"]] += 1
        file.unlink()
    return events


def table(seconds: dict[str, list[float]], stored: dict[str, list[Counter[str]]]) -> str:
    runs = len(next(iter(seconds.values())))
    bare = statistics.median(seconds["no hooks"])
    lines = [
        f"{CALLS} tool calls in a row in Claude Code {claude.VERSION}, {runs} runs of each in turn",
        "",
        "| hooks | median s | min | max | added per call, ms | events stored a run |",
        "|---|---|---|---|---|---|",
    ]
    for way, times in seconds.items():
        median = statistics.median(times)
        totals = sorted(events.total() for events in stored[way])
        lines.append(
            f"| {way} | {median:.3f} | {min(times):.3f} | {max(times):.3f} "
            f"| {(median - bare) / CALLS * 1000:.1f} "
            f"| {totals[0]}–{totals[-1]} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
