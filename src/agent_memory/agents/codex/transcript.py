"""Codex's rollouts (`~/.codex/sessions/YYYY/MM/DD/rollout-….jsonl`), read as Events from a byte offset on.

    for line in read(path, offset):
        …ingest line.events…, and keep line.end as the offset to go on from

A thread has a file: a session's own, and one for each of its subagents. A live file is safe, and a session that is
resumed goes on in its file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from agent_memory.agents import json_lines
from agent_memory.agents.codex import connect
from agent_memory.agents.codex.records import Rollout
from agent_memory.agents.json_lines import Line
from agent_memory.journal.event import AssistantMessage, TurnEnd


def default_folder() -> Path:
    """Where Codex keeps its rollouts, a folder for each day."""
    return connect.home() / "sessions"


def files(folder: Path) -> Iterator[Path]:
    """The rollouts in `folder`, at any depth."""
    return folder.rglob("rollout-*.jsonl")


def of_session(path: Path) -> list[Path]:
    """A session's rollout, with those of the subagents that it sent out on its first day, as far as they are there. A
    subagent that ended names its own file (`payload`)."""
    told = b'"session_id":"%s"' % path.stem[-36:].encode()
    later = (file for file in path.parent.glob("rollout-*.jsonl") if file.name > path.name)
    return [*([path] if path.is_file() else []), *sorted(file for file in later if told in _head(file))]


def read(path: Path, offset: int = 0) -> Iterator[Line]:
    """The lines of the rollout at `path` that end behind the byte `offset`. Raises OSError where it cannot be read."""
    rollout = Rollout(transcript_path=str(path))
    return _with_usage(json_lines.read(path, offset, rollout.read), rollout)


def _with_usage(lines: Iterable[Line], rollout: Rollout) -> Iterator[Line]:
    """Hold a message back until the line that tells the tokens of its response, which comes a few lines later."""
    held: list[Line] = []
    for line in lines:
        if any(isinstance(event.body, AssistantMessage) for event in line.events):
            yield from held
            held = [line]
        elif not held:
            yield line
        else:
            held.append(line)
            if rollout.usage:
                held[0] = _told_with(held[0], rollout.usage)
            if rollout.usage or any(isinstance(event.body, TurnEnd) for event in line.events):
                yield from held
                held = []
    yield from held


def _told_with(line: Line, usage: dict[str, Any]) -> Line:
    return replace(
        line,
        events=tuple(
            replace(event, body=replace(event.body, usage=usage))
            if isinstance(event.body, AssistantMessage) and event.body.kind == "message"
            else event
            for event in line.events
        ),
    )


def _head(file: Path) -> bytes:
    """The beginning of the first line: what the session is, before the instructions that its model got."""
    with file.open("rb") as lines:
        return lines.read(1_000)
