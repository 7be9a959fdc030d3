"""The spool: one file an event, written by the hook, read here. Maildir's way: whole files only ever appear in `new`.

A file's name is `<nanoseconds since 1970, 20 digits>-<process>-<random>.<agent>`; its content is the payload as the
agent gave it, secrets and all, so the folder is the owner's alone and a file lives no longer than it must.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from agent_memory import paths
from agent_memory.journal.redaction import redact

ABANDONED = 3_600
"""Seconds after which a file still in `tmp` is what a killed hook left behind."""

HALF_WRITTEN = 60
"""Seconds after which no living hook is still at it."""


@dataclass(frozen=True, slots=True)
class SpoolFile:
    path: Path
    written_at: datetime
    agent: str


@dataclass(frozen=True, slots=True)
class Backlog:
    pending: int
    bad: int
    oldest_s: float
    """Seconds that the oldest pending file has waited; 0 where none waits."""


def waiting() -> list[SpoolFile]:
    """The whole files, oldest first. A name that is not ours is set aside."""
    files, folder = [], paths.spool_new()
    for name in sorted(_names(folder)):
        path = folder / name
        try:
            files.append(SpoolFile(path, _written_at(name), name.split(".", 1)[1]))
        except (ValueError, IndexError, OverflowError, OSError):
            set_aside(path, "Its name is not one that the hook writes.")
    return files


def set_aside(path: Path, reason: str) -> None:
    """Move a file that cannot be read to `bad`, its reason beside it. Its text is kept, but redacted."""
    bad = paths.make_private(paths.spool_bad())
    try:
        text = path.read_bytes().decode("utf-8", "surrogateescape")
    except FileNotFoundError:
        return
    for target, content in (
        (bad / path.name, redact(text).encode("utf-8", "surrogateescape")),
        (bad / f"{path.name}.reason", redact(reason).encode("utf-8", "replace") + b"\n"),
    ):
        with open(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(content)
    path.unlink()


def set_aside_abandoned() -> None:
    """Set aside what hooks left half-written when they were killed."""
    for name in _names(paths.spool_tmp()):
        path = paths.spool_tmp() / name
        try:
            if time.time() - path.stat().st_mtime > ABANDONED:
                set_aside(path, "The hook was killed while it wrote this file.")
        except FileNotFoundError:
            continue  # just finished, after all


def leftovers() -> list[Path]:
    """What lies there and is read no more: the files set aside, and what a killed hook left half-written."""
    now = time.time()
    found = [paths.spool_bad() / name for name in _names(paths.spool_bad()) if not name.endswith(".reason")]
    for name in _names(paths.spool_tmp()):
        path = paths.spool_tmp() / name
        with contextlib.suppress(FileNotFoundError):
            if now - path.stat().st_mtime > HALF_WRITTEN:
                found.append(path)
    return found


@dataclass(frozen=True, slots=True)
class Bad:
    """A file that could not be read."""

    name: str
    size: int
    """Bytes."""
    reason: str


def bad(limit: int = 100) -> list[Bad]:
    """The newest files that were set aside, each with why."""
    folder = paths.spool_bad()
    found = []
    for name in sorted((name for name in _names(folder) if not name.endswith(".reason")), reverse=True)[
        :limit
    ]:
        with contextlib.suppress(FileNotFoundError):
            size = (folder / name).stat().st_size
            try:
                reason = (folder / f"{name}.reason").read_text(encoding="utf-8", errors="replace").strip()
            except FileNotFoundError:
                reason = ""
            found.append(Bad(name, size, reason))
    return found


def remove(path: Path) -> None:
    """Delete one of these, with its reason."""
    path.unlink(missing_ok=True)
    path.with_name(f"{path.name}.reason").unlink(missing_ok=True)


def retry_bad() -> int:
    """Put the files that could not be read back, as after an upgrade. How many; one whose name is not ours stays."""
    count = 0
    new = paths.make_private(paths.spool_new())
    for name in _names(paths.spool_bad()):
        if name.endswith(".reason") or not re.fullmatch(r"\d{20}-[^.]+\..+", name):
            continue
        (paths.spool_bad() / name).rename(new / name)
        (paths.spool_bad() / f"{name}.reason").unlink(missing_ok=True)
        count += 1
    return count


def backlog() -> Backlog:
    names = _names(paths.spool_new())
    bad = sum(not name.endswith(".reason") for name in _names(paths.spool_bad()))
    oldest = 0.0
    if names:
        try:
            oldest = max(0.0, time.time() - _written_at(min(names)).timestamp())
        except (ValueError, OverflowError, OSError):
            oldest = 0.0
    return Backlog(len(names), bad, oldest)


def _written_at(name: str) -> datetime:
    return datetime.fromtimestamp(int(name[:20]) / 1e9, UTC)


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except FileNotFoundError:
        return []
