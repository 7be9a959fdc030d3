"""Gemini CLI's chat files (`~/.gemini/tmp/<project>/chats/session-….jsonl`), read as Events from a byte offset on.

    for line in read(path, offset):
        …ingest line.events…, and keep line.end as the offset to go on from

A subagent has a file of its own, in a folder named after its session. Before 2026 a chat was one JSON object in a
`.json` file, which is read as a single line.
"""

from __future__ import annotations

import glob
from collections.abc import Iterator
from pathlib import Path

from agent_memory.agents import json_lines
from agent_memory.agents.gemini import connect
from agent_memory.agents.gemini.records import Chat
from agent_memory.agents.json_lines import MALFORMED, Line


def default_folder() -> Path:
    """Where Gemini CLI keeps its chats, a folder for each project."""
    return connect.home() / "tmp"


def files(folder: Path) -> Iterator[Path]:
    """The chats in `folder`, at any depth."""
    for file in folder.rglob("chats/**/*"):
        if file.suffix in (".json", ".jsonl") and file.is_file():
            yield file


def of_session(path: Path) -> list[Path]:
    """A session's chat with those of its subagents, as far as they are there."""
    of_subagents = path.parent.glob(f"{glob.escape(path.stem[-8:])}*/*.jsonl")
    return [*([path] if path.is_file() else []), *sorted(of_subagents)]


def read(path: Path, offset: int = 0) -> Iterator[Line]:
    """The lines of the chat at `path` that end behind the byte `offset`. Raises OSError where it cannot be read."""
    of_subagent = path.parent.name != "chats" and path.parent.parent.name == "chats"
    if of_subagent:
        chat = Chat(str(path), parent=path.parent.name, cwd=_project(path.parent))
    else:
        chat = Chat(str(path), cwd=_project(path))
    if path.suffix == ".json":
        return _whole(path, offset, chat)
    return json_lines.read(path, offset, chat.read)


def _whole(path: Path, offset: int, chat: Chat) -> Iterator[Line]:
    raw = path.read_bytes()
    if len(raw) != offset:
        record = json_lines.parse(raw)
        events, skipped = chat.read(record) if record else ([], [MALFORMED])
        yield Line(len(raw), tuple(events), tuple(skipped))


def _project(path: Path) -> str | None:
    """The folder of the project, which Gemini CLI writes down beside its chats."""
    try:
        return (path.parent.parent / ".project_root").read_text(encoding="utf-8").strip() or None
    except (OSError, UnicodeDecodeError):
        return None
