"""What lessons cost: `python -m bench.lessons [runs]`.

Matching alone, in this process: a thousand triggers over commands and files, made of the triggers' own words, which is
the worst case, and over this repository's files. The hook that runs before a call, beside a bare `python -I -S -c pass`
in the same seconds: without a lesson, with a thousand that do not fit the call, and with one of them that does, whose
firing is written down. And whole sessions of the real Claude Code, with the hooks as connecting registers them.
"""

from __future__ import annotations

import json
import random
import statistics
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
from tests.e2e import claude, npm
from tests.e2e.messages_api import Script, text, tool

from agent_memory.lessons import moment
from agent_memory.lessons.lesson import Kind
from agent_memory.lessons.trigger import Matcher, Trigger
from bench.hook import agent_memory, alternate, connected_settings, percentile_99, temporary_home

LESSONS = 1_000
RUNS = 200
SESSIONS = 7
CALLS = 20
PROMPT = "Count to twenty"

FITTING = {"trigger_tool": "Bash", "trigger_pattern": r"^deploy --now\b", "rule": "Deploy with --stage."}


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else RUNS
    print(matching(), flush=True)
    with temporary_home() as home:
        project = home / "project"
        project.mkdir()
        subprocess.run(["git", "init", "-q"], cwd=project, check=True)
        settings = connected_settings(home)
        agent_memory(home, "up", "--detach")
        after_only = {"hooks": {name: one for name, one in settings["hooks"].items() if name != "PreToolUse"}}
        print(hook_head(runs), flush=True)
        print(hook_row(home, settings, project, "none", "pytest -q", runs), flush=True)
        told = sessions(
            home, project, {"without PreToolUse": after_only, "as connected, no lesson": settings}
        )
        teach(home, project)
        for lessons, command in (("1,000, none fits", "pytest -q"), ("1,000, one fits", "deploy --now")):
            print(hook_row(home, settings, project, lessons, command, runs), flush=True)
        told += sessions(home, project, {"as connected, 1,000 lessons": settings})
    print("\n".join(["", *told]))


def matching() -> str:
    """A thousand triggers over texts of several lengths, in milliseconds."""
    draw = random.Random(7)
    matcher = Matcher(enumerate(triggers(draw)))
    lines = [
        f"Matching {LESSONS:,} lessons, milliseconds of processor time",
        "",
        "| text | p50 | p99 | most |",
        "|---|---|---|---|",
    ]
    for name, seen in texts(draw):
        times = []
        for one in seen:
            began = time.thread_time()
            matcher.match(one)
            times.append((time.thread_time() - began) * 1000)
        lines.append(
            f"| {name} | {statistics.median(times):.3f} | {percentile_99(times):.3f} | {max(times):.3f} |"
        )
    return "\n".join([*lines, ""])


def triggers(draw: random.Random) -> Iterator[Trigger]:
    """Such as people and mining make: a program with an option, words in a line, a file."""
    for number in range(LESSONS):
        program, option, rest = words(draw, 3)
        kind: Kind = draw.choice(("literal", "glob", "regex", "regex"))
        pattern = {
            "literal": f"{program} {option}",
            "glob": f"{program} * --{option}*",
            "regex": draw.choice(
                (rf"^{program}\s+(--{option}|-{option[0]})\b", rf"\b{program}\b.*\b{option}\s+{rest}")
            ),
        }[kind]
        files = (f"{rest}/**/*.{option[:3]}",) if number % 10 == 0 else ()
        yield Trigger(
            tools=draw.choice((("Bash",), ("Edit", "Write"), ("*",))), pattern=pattern, kind=kind, files=files
        )


def texts(draw: random.Random) -> Iterator[tuple[str, list[moment.Moment]]]:
    for name, count, length in (("a command of 60 characters", 1_000, 60), ("a script of 2,000", 300, 2_000)):
        yield name, [moment.call("before", "Bash", {"command": sentence(draw, length)}) for _ in range(count)]
    files = [sentence(draw, 100_000) for _ in range(100)]
    yield f"a file of 100,000, of which {moment.MOST_CHARS:,} are looked at", list(map(written, files))
    own = [file.read_text(encoding="utf-8") for file in Path(__file__).parents[1].glob("src/**/*.py")]
    yield f"{len(own)} files of this repository", list(map(written, own))


def written(content: str) -> moment.Moment:
    return moment.call("before", "Write", {"file_path": "/home/dev/shop/a.py", "content": content})


_WORDS = ["".join(random.Random(n).choices("abcdefghijklmnopqrstuvwxyz", k=3 + n % 7)) for n in range(3_000)]


def words(draw: random.Random, count: int) -> list[str]:
    return draw.sample(_WORDS, count)


def sentence(draw: random.Random, length: int) -> str:
    said = ""
    while len(said) < length:
        said += draw.choice(_WORDS) + draw.choice((" ", " ", " ", " --", "/", "\n", "."))
    return said[:length]


def teach(home: Path, project: Path) -> None:
    """A thousand active lessons, one of which fits `deploy --now`."""
    draw = random.Random(7)
    transport = httpx.HTTPTransport(uds=str(home / ".agent-memory" / "service.sock"))
    with httpx.Client(transport=transport, base_url="http://localhost", timeout=60) as service:
        for number, trigger in enumerate(triggers(draw)):
            lesson: dict[str, Any] = {
                "rule": f"Rule {number}.",
                "trigger_tool": list(trigger.tools),
                "trigger_pattern": trigger.pattern,
                "trigger_kind": trigger.kind,
                "trigger_files": list(trigger.files),
            }
            lesson |= FITTING if number == LESSONS - 1 else {}
            made = service.post("/api/lessons", json={**lesson, "project": str(project), "status": "active"})
            made.raise_for_status()
    asks = home / ".agent-memory" / "asks"
    while "PreToolUse" not in asks.read_text(encoding="ascii"):
        time.sleep(0.05)
    time.sleep(2)


def hook_row(
    home: Path, settings: dict[str, Any], project: Path, lessons: str, command: str, runs: int
) -> str:
    (group,) = settings["hooks"]["PreToolUse"]
    (handler,) = group["hooks"]
    payload = {
        "cwd": str(project),
        "prompt_id": str(uuid.uuid4()),
        "hook_event_name": "PreToolUse",
        "tool_name": "Bash",
        "tool_input": {"command": command, "description": "Do it"},
    }
    bare, hook = alternate(home, [handler["command"], *handler["args"]], payload, runs, 1)
    p50, p99 = (statistics.median(bare), statistics.median(hook)), (percentile_99(bare), percentile_99(hook))
    return (
        f"| {lessons} | {p50[0]:.1f} | {p50[1]:.1f} | {p50[1] / p50[0]:.2f} "
        f"| {p99[0]:.1f} | {p99[1]:.1f} | {p99[1] / p99[0]:.2f} |"
    )


def hook_head(runs: int) -> str:
    return (
        f"The hook before a call, {runs} runs in turn with a bare `python -I -S -c pass`, milliseconds\n\n"
        "| lessons | bare p50 | hook p50 | ratio | bare p99 | hook p99 | ratio |\n|---|---|---|---|---|---|---|"
    )


def sessions(home: Path, project: Path, ways: dict[str, dict[str, Any]]) -> list[str]:
    """What hooks add to a tool call in a session of the real client, a line for each way of registering them."""
    try:
        claude.executable()
    except npm.NotAvailableError as reason:
        return [f"REAL CLAUDE CODE NOT AVAILABLE, so no sessions: {reason}"]
    ways = {"no hooks": {}, **ways}
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(SESSIONS + 1):
        for way, settings in ways.items():
            seconds[way].append(session(home, project, settings))
    medians = {
        way: statistics.median(times[1:]) for way, times in seconds.items()
    }  # the first warms the caches
    return [
        f"a session of {CALLS} calls, {way}: {median:.2f} s (median of {SESSIONS}),"
        f" {(median - medians['no hooks']) / CALLS * 1000:+.1f} ms a call"
        for way, median in medians.items()
    ]


def session(home: Path, project: Path, settings: dict[str, Any]) -> float:
    """Seconds of a session whose calls come one after the other."""
    (home / ".claude" / "settings.json").write_text(json.dumps(settings), encoding="utf-8")
    script: Script = {PROMPT: [*([tool("Bash", command=f"echo {n}")] for n in range(CALLS)), [text("Done.")]]}
    return claude.run(home, project, script, PROMPT, "--strict-mcp-config").seconds


if __name__ == "__main__":
    main()
