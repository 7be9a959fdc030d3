"""What the hooks cost a real Claude Code session: `python -m bench.client [runs]`.

The same session of 20 tool calls, one after the other, against a stand-in for the model that answers at once,
so that the hooks are as large a part of it as they ever are; and one without any call, which tells what they cost a
session from what they cost a call. The ways of registering them take turns. The service is a socket that nobody answers
at: what is measured is the hooks alone, and what they left in the spool can be counted.
"""

from __future__ import annotations

import contextlib
import copy
import json
import statistics
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.e2e import claude, npm
from tests.e2e.messages_api import Script, text, tool

from bench.figures import Figure, short
from bench.hook import BARE, connected_settings, listening, temporary_home, timed

CALLS = 20
RUNS = 7
COUNT, GREET = "Count to twenty", "Say hello"
NO_HOOKS = "no hooks"

Settings = dict[str, Any]


@dataclass
class Way:
    """What sessions took that had their hooks registered in one way."""

    with_calls: list[float] = field(default_factory=list)
    """Seconds, of a session of CALLS calls."""
    without: list[float] = field(default_factory=list)
    stored: list[int] = field(default_factory=list)
    """Events that reached the spool in a session of CALLS calls."""

    @property
    def session(self) -> float:
        """Milliseconds of a session without a call."""
        return statistics.median(self.without) * 1000

    @property
    def call(self) -> float:
        """Milliseconds of a call, the session's own time apart."""
        return (statistics.median(self.with_calls) * 1000 - self.session) / CALLS


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else RUNS
    with _home() as home:
        print(table(measure(home, runs)))


def figures() -> list[Figure]:
    """What hooks add to a call and to a session, beside what a bare interpreter takes to start."""
    with _home() as home:
        ways = measure(home, RUNS)
        plain = statistics.median(timed(BARE, b"", home) for _ in range(50))
    bare = ways.pop(NO_HOOKS)
    return [
        Figure(
            name=f"Claude Code, {CALLS} calls, {name}: added per {what}",
            value=added,
            unit="ms",
            beside=f"a bare `python -I -S -c pass`: {short(plain)} ms",
            ratio=added / plain,
            slack=1.0,  # differences of medians of seconds
        )
        for name, way in ways.items()
        for what, added in (("call", way.call - bare.call), ("session", way.session - bare.session))
    ]


@contextlib.contextmanager
def _home() -> Iterator[Path]:
    try:
        claude.executable()
    except npm.NotAvailableError as reason:
        sys.exit(f"REAL CLAUDE CODE NOT AVAILABLE: {reason}")
    with temporary_home() as home:
        yield home


def registered(connected: Settings) -> dict[str, Settings]:
    """The ways of registering the hooks, by name, from the settings that connecting writes."""
    without = copy.deepcopy(connected)
    without["hooks"].pop("PreToolUse", None)
    return {NO_HOOKS: {}, "without PreToolUse": without, "as connected": connected}


def measure(home: Path, runs: int) -> dict[str, Way]:
    project = home / "project"
    project.mkdir()
    subprocess.run(["git", "init", "-q"], cwd=project, check=True)
    settings = registered(connected_settings(home))
    ways = {name: Way() for name in settings}
    script: Script = {
        COUNT: [*([tool("Bash", command=f"echo {n}")] for n in range(CALLS)), [text("Twenty.")]],
        GREET: [[text("Hello.")]],
    }
    with listening(home / ".agent-memory" / "service.sock"):
        for attempt in range(runs + 1):
            for name, way in ways.items():
                (home / ".claude" / "settings.json").write_text(json.dumps(settings[name]), encoding="utf-8")
                counted = claude.run(home, project, script, COUNT, "--strict-mcp-config")
                assert len(counted.calls) == CALLS, counted
                events = taken(home / ".agent-memory" / "spool" / "new")
                greeted = claude.run(home, project, script, GREET, "--strict-mcp-config")
                taken(home / ".agent-memory" / "spool" / "new")
                if attempt:  # the first of each warms the caches
                    way.with_calls.append(counted.seconds)
                    way.without.append(greeted.seconds)
                    way.stored.append(events)
    return ways


def taken(spool: Path) -> int:
    """How many events lay in the spool; they are removed."""
    files = list(spool.glob("*"))
    for file in files:
        file.unlink()
    return len(files)


def table(ways: dict[str, Way]) -> str:
    bare = ways[NO_HOOKS]
    lines = [
        f"{CALLS} tool calls in a row in Claude Code {claude.VERSION}, and none; {len(bare.without)} runs of each",
        "",
        "| hooks | median s, min–max | without a call | added per call, ms | per session, ms | events stored a run |",
        "|---|---|---|---|---|---|",
    ]
    for name, way in ways.items():
        lines.append(
            f"| {name} | {statistics.median(way.with_calls):.3f}, {min(way.with_calls):.3f}–{max(way.with_calls):.3f} "
            f"| {way.session / 1000:.3f} | {way.call - bare.call:.1f} | {way.session - bare.session:.0f} "
            f"| {min(way.stored)}–{max(way.stored)} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
