"""What a turn's tool calls did, in a few lines worth searching: files, commands, results. Pure functions."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from agent_memory.observations import commands
from agent_memory.observations.observation import shorten

READ_CHARS = 1_500
"""How much of a value in a call's input is read. An edit of that length is not shown: its end is unknown."""

_WRITING = re.compile(r"write|edit|replace|create|patch|insert|update", re.I)
_READING = re.compile(r"read|view|open", re.I)
_LOOKING_UP = re.compile(r"web|fetch|browse", re.I)
_DELEGATING = re.compile(r"^(?:Agent|Task|task|spawn_agent)$")
_OURS = re.compile(r"mcp__(?:agent-memory__|plugin_agent-memory_)")
_NOISE = re.compile(r"\s*(?:2>&1|2>/dev/null|\|\s*(?:head|tail)(?:\s+-\S+)*(?:\s+\d+)?)(?=\s|$)")
_ANSI = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
_RESULT = re.compile(
    r"\b\d+ (?:\w+ ){0,2}?(?:passed|failed|failing|tests?|failures?|errors?|warnings?|issues?|files?)\b"
    r"|^(?:ok|FAIL|PASS|FAILED|PASSED|BUILD|Success|Finished|Compiled|test result)\b|\bAll \w+ passed",
    re.I,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A tool call of the journal, with what of its input and output a memory is made from."""

    id: int
    tool: str
    success: bool | None
    """None: begun, and no end was seen."""
    agent_id: str | None = None
    command: str | None = None
    path: str | None = None
    subject: str | None = None
    """What its input says of its purpose: a description, a query, a URL, a plan."""
    before: str | None = None
    after: str | None = None
    """What an edit replaced, and by what."""
    input: str | None = None
    """The input as JSON, cut; for MCP tools only."""
    error: str | None = None
    """What it said when it failed."""
    output: str | None = None
    """The end of what a command printed; the whole of what a person answered."""


@dataclass(frozen=True, slots=True)
class Tally:
    """How often a tool was called, over all calls of a turn."""

    tool: str
    calls: int
    failed: int


def is_ours(call: Call) -> bool:
    """Whether it asked this memory: its answer would come back as a memory of a memory."""
    return bool(_OURS.match(call.tool)) or (call.command is not None and commands.is_ours(call.command))


def writes(call: Call) -> bool:
    return call.path is not None and bool(_WRITING.search(call.tool))


def relative(path: str, roots: Sequence[str]) -> str:
    """`path` as seen from the project's folder, or from the home folder."""
    for root in roots:
        if path == root:
            return "."
        if path.startswith(root.rstrip("/") + "/"):
            return path[len(root.rstrip("/")) + 1 :]
    return re.sub(r"^/(?:home|Users)/[^/]+/", "~/", path)


def shown(command: str, roots: Sequence[str], limit: int = 140) -> str:
    """A command on one line, without the project's path and without what only trims its output."""
    line = _NOISE.sub("", command.strip().split("\n", 1)[0][: 4 * limit])
    for root in roots:
        line = line.replace(root.rstrip("/") + "/", "").replace(f"cd {root} && ", "")
    return shorten(line, limit)


def plain(output: str) -> str:
    """Output without colours. What hooks print often has its line ends escaped."""
    return _ANSI.sub("", output).replace("\\n", "\n").replace("\r", "\n")


def result_of(call: Call) -> str | None:
    """The line in which a test run, a build or a linter says how it ended."""
    if not call.output or not call.command or not commands.checks(call.command):
        return None
    return _result(call.output)


@lru_cache(maxsize=1_000)  # one turn asks three times
def _result(output: str) -> str | None:
    for line in reversed(plain(output).splitlines()):
        line = line.strip(" \t=─-*")[:300]
        if _RESULT.search(line):
            return shorten(line, 120)
    return None


def work(calls: Sequence[Call], tallies: Sequence[Tally], roots: Sequence[str], took: float | None) -> str:
    """What was done, in lines, the most telling first. `took` is in seconds."""
    done = [call for call in calls if call.success is not False]
    lines = [_counted(tallies, sum(call.agent_id is not None for call in calls), took)]
    changed = Counter(relative(call.path, roots) for call in done if call.path and writes(call))
    lines += _listed("Changed", changed, 25)
    lines += _each("Committed", (commands.commit_subject(call.command) for call in done if call.command), 8)
    lines += _edits(done, roots)
    lines += _ran(done, roots)
    lines += _each("Used", (_use(call) for call in done if call.tool.startswith("mcp__")), 5)
    lines += _each("Looked up", (call.subject for call in done if _LOOKING_UP.search(call.tool)), 8)
    lines += _each("Delegated", (call.subject for call in calls if _DELEGATING.match(call.tool)), 8)
    read = Counter(relative(call.path, roots) for call in done if call.path and _READING.search(call.tool))
    lines += _listed("Read", {path: n for path, n in read.items() if path not in changed}, 15)
    return "\n".join(lines)


def _counted(tallies: Sequence[Tally], by_subagents: int, took: float | None) -> str:
    total = sum(tally.calls for tally in tallies)
    failed = sum(tally.failed for tally in tallies)
    most = sorted(tallies, key=lambda tally: -tally.calls)[:6]
    parts = [f"{total} tool call{'s' * (total != 1)} ({', '.join(f'{t.tool} {t.calls}' for t in most)})"]
    parts += [f"{failed} failed"] * bool(failed)
    parts += [f"{by_subagents} by subagents"] * bool(by_subagents)
    if took is not None and took >= 60:
        parts.append(f"{took / 60:.0f} min" if took < 5400 else f"{took / 3600:.1f} h")
    return "Done: " + ", ".join(parts) + "."


def _listed(label: str, names: Mapping[str, int], limit: int) -> list[str]:
    if not names:
        return []
    shown_names = [name if n == 1 else f"{name} ({n}×)" for name, n in list(names.items())[:limit]]
    more = f", and {len(names) - limit} more" if len(names) > limit else ""
    return [f"{label}: {', '.join(shown_names)}{more}"]


def _each(label: str, values: Iterable[str | None], limit: int) -> list[str]:
    """One line a value, without repeats, the latest ones where there are too many."""
    unique = list(dict.fromkeys(shorten(value, 160) for value in values if value))
    return [f"{label}: {value}" for value in unique[-limit:]]


def _ran(done: Sequence[Call], roots: Sequence[str]) -> list[str]:
    """What checks said last, and the commands that did something."""
    lines: dict[str, str] = {}
    checks: dict[str, str] = {}
    for call in done:
        if not call.command or commands.looks(call.command) or commands.commit_subject(call.command):
            continue
        line = shown(call.command, roots)
        if commands.checks(call.command):
            result = result_of(call)
            checks[line] = f"`{line}` → {result}" if result else f"`{line}`"
        else:
            lines[line] = f"`{line}`" + (f" ({shorten(call.subject, 80)})" if call.subject else "")
    return [f"Ran: {line}" for line in [*list(checks.values())[-6:], *list(lines.values())[-10:]]]


def _edits(done: Sequence[Call], roots: Sequence[str]) -> list[str]:
    """Small edits word for word: a changed setting is what people search for later."""
    lines: dict[str, None] = {}
    for call in done:
        if call.path is None or not call.before or not call.after or len(lines) >= 50:
            continue
        if max(len(call.before), len(call.after)) >= READ_CHARS:
            continue
        old = [line.strip() for line in call.before.splitlines() if line.strip()]
        new = [line.strip() for line in call.after.splitlines() if line.strip()]
        gone = [line for line in old if line not in new]
        come = [line for line in new if line not in old]
        if len(come) == 1 and len(gone) <= 1 and all(8 <= len(line) <= 110 for line in gone + come):
            change = f"`{gone[0]}` → `{come[0]}`" if gone else f"added `{come[0]}`"
            lines[f"In {relative(call.path, roots)}: {change}"] = None
    return list(lines)[-8:]


def _use(call: Call) -> str | None:
    name = call.tool.removeprefix("mcp__").replace("__", " ")
    return f"{name} {call.input}" if call.input and call.input != "{}" else name
