"""Changes to an agent's settings files, which belong to the user: planned as values, shown as a diff, then
written."""

from __future__ import annotations

import difflib
import json
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent_memory.errors import AgentMemoryError

BACKUP = ".before-agent-memory"


@dataclass(frozen=True, slots=True)
class Change:
    path: Path
    before: str | None
    """The text of the file as it was read; None where there is no file."""
    after: str | None
    """None: the file is removed."""
    mode: int
    """The file's permissions afterwards."""

    @property
    def is_backup(self) -> bool:
        return self.path.name.endswith(BACKUP)


def read(path: Path) -> str | None:
    """The file's text, byte for byte; None where there is none. AgentMemoryError where it cannot be read."""
    try:
        return path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise AgentMemoryError(
            f"{path} cannot be read: {error}.", "Nothing was changed. Mend the file, then try again."
        ) from None


def parse(path: Path, text: str) -> dict[str, Any]:
    """The JSON object in `text`, which was read from `path`. A blank text is an empty one."""
    remedy = "Nothing was changed. Mend the file (JSON has no comments), then try again."
    try:
        value = json.loads(text.removeprefix("\ufeff")) if text.strip() else {}
    except (json.JSONDecodeError, RecursionError) as error:
        raise AgentMemoryError(f"{path} is not valid JSON: {error}.", remedy) from None
    if not isinstance(value, dict):
        raise AgentMemoryError(f"{path} holds no JSON object.", remedy)
    return value


def addition(
    path: Path, add: Callable[[str], str], take_out: Callable[[str], str], *, mode: int
) -> list[Change]:
    """Our entries into the file at `path`. A file that has none of them yet is kept beside it first, as it
    is.

    `add` and `take_out` turn a text into one with our entries and without them. `mode` is for a new file.
    """
    before = read(path)
    after = add(_object(before))
    if after == before:
        return []
    mode = _mode(path, mode)
    backup = path.with_name(path.name + BACKUP)
    changes = [Change(path, before, after, mode)]
    if before is not None and take_out(_object(before)) == _object(before):
        changes.insert(0, Change(backup, read(backup), before, mode))
    return changes


def removal(
    path: Path,
    add: Callable[[str], str],
    take_out: Callable[[str, dict[str, Any]], str],
    *,
    parse: Callable[[Path, str], dict[str, Any]] = parse,
) -> list[Change]:
    """Our entries out of the file at `path`, and its backup away.

    Where nobody has touched the file since, it becomes the backup again, byte for byte; else only our entries
    go. `take_out` gets the file as it was before us, too. `parse` is for a file that is not plain JSON.
    """
    before = read(path)
    backup_path = path.with_name(path.name + BACKUP)
    backup = read(backup_path)
    changes = [] if backup is None else [Change(backup_path, backup, None, 0o600)]
    if before is None:
        return changes
    text = _object(before)
    after: str | None = take_out(text, parse(backup_path, backup or ""))
    if after == text:
        return changes
    if backup is not None and add(_object(backup)) == before:
        after = backup
    elif backup is None and not parse(path, after or ""):
        after = None  # we made the file
    return [Change(path, before, after, _mode(path, 0o600)), *changes]


def diff(changes: Sequence[Change]) -> str:
    """What `write` would do, as unified diffs. Backups are not shown."""
    return "".join(_diff(change) for change in changes if not change.is_backup)


def write(changes: Sequence[Change]) -> None:
    """Write them, each file at once or not at all, and through symbolic links.

    AgentMemoryError where a file is no longer what the change was planned for, or cannot be written.
    """
    for change in changes:
        if read(change.path) != change.before:
            raise AgentMemoryError(
                f"{change.path} was changed by another program in this moment.",
                "Try again; nothing was changed.",
            )
    for change in changes:
        try:
            _write(change)
        except OSError as error:
            raise AgentMemoryError(
                f"{change.path} cannot be written: {error}.", "Mend its folder's permissions, then try again."
            ) from None


def _write(change: Change) -> None:
    target = Path(os.path.realpath(change.path))  # a link into a dotfiles folder stays a link
    if change.after is None:
        target.unlink()
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, draft = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(change.after.encode("utf-8"))
            file.flush()
            os.fsync(file.fileno())
            os.fchmod(file.fileno(), change.mode)
        os.replace(draft, target)
    except BaseException:
        os.unlink(draft)
        raise


def _object(text: str | None) -> str:
    return text if text and text.strip() else "{}\n"


def _mode(path: Path, otherwise: int) -> int:
    try:
        return path.stat().st_mode & 0o7777
    except FileNotFoundError:
        return otherwise


def _diff(change: Change) -> str:
    before, after = ((text or "").splitlines(keepends=True) for text in (change.before, change.after))
    absent = "/dev/null"
    lines = difflib.unified_diff(
        before,
        after,
        absent if change.before is None else str(change.path),
        absent if change.after is None else str(change.path),
    )
    return "".join(
        line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines
    )
