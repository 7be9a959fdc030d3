"""The backups in the home's `backups/`: each a folder with the dump and a manifest that says what it holds.

A folder is written under another name and renamed when it is whole and on the disk, so a name that does not begin with
a dot is a whole backup.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypeAlias

from agent_memory import paths
from agent_memory.database.backup.fingerprint import Table
from agent_memory.errors import AgentMemoryError

Kind: TypeAlias = Literal["daily", "manual", "before-restore"]

DUMP, MANIFEST = "database.dump", "manifest.json"
DRAFT = ".new-"
FORMAT = 1
"""Raised when an older agent-memory could not read the manifest."""
KEPT = 3
"""So many of the newest daily ones stay, and of those made before a restore. A manual one goes only by hand."""


@dataclass(frozen=True, slots=True)
class Backup:
    folder: Path
    kind: Kind
    made_at: datetime
    agent_memory: str
    """The version that made it."""
    postgres: str
    schema_version: int
    size: int
    """The dump's, in bytes."""
    sha256: str
    tables: dict[str, Table]
    verified_at: datetime | None = None
    """When it was last proven by a restore into a scratch database, or tried."""
    verify_problem: str | None = None
    """What that found to be wrong."""

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def dump(self) -> Path:
        return self.folder / DUMP

    @property
    def rows(self) -> int:
        return sum(table.rows for table in self.tables.values())


def manifest(backup: Backup) -> dict[str, Any]:
    """What `manifest.json` holds, and what is shown of a backup as JSON."""
    values = asdict(backup)
    del values["folder"]
    return {"format": FORMAT, "name": backup.name, **values}


def write_manifest(backup: Backup, folder: Path) -> None:
    draft = folder / f"{MANIFEST}.new"
    text = json.dumps(manifest(backup), indent=2, default=datetime.isoformat)
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
    draft.rename(folder / MANIFEST)
    sync(folder)


def record_verified(backup: Backup, problem: str | None) -> Backup:
    """Write into the manifest that it was tried now, and what was wrong with it."""
    tried = replace(backup, verified_at=datetime.now(UTC), verify_problem=problem)
    write_manifest(tried, backup.folder)
    return tried


def read(folder: Path) -> Backup:
    """The backup in a folder. AgentMemoryError where there is none that we can read."""
    remedy = "Choose another one: agent-memory backup list"
    try:
        values = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if values["format"] > FORMAT:
            raise AgentMemoryError(
                f"The backup {folder.name} was made by a newer agent-memory ({values['agent_memory']}).",
                "Upgrade this one: pip install --upgrade agent-memory.",
            )
        tried = values["verified_at"]
        return Backup(
            folder=folder,
            kind=values["kind"],
            made_at=datetime.fromisoformat(values["made_at"]),
            agent_memory=values["agent_memory"],
            postgres=values["postgres"],
            schema_version=int(values["schema_version"]),
            size=int(values["size"]),
            sha256=values["sha256"],
            tables={name: Table(**table) for name, table in values["tables"].items()},
            verified_at=datetime.fromisoformat(tried) if tried else None,
            verify_problem=values["verify_problem"],
        )
    except FileNotFoundError:
        raise AgentMemoryError(f"There is no backup at {folder}.", remedy, status=404) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise AgentMemoryError(
            f"The manifest of the backup {folder} cannot be read: {error!r}.", remedy
        ) from None


def every() -> list[Backup]:
    """The whole backups of this home, the newest first. Folders that are none are passed over."""
    found = []
    with contextlib.suppress(FileNotFoundError):
        for folder in paths.backups().iterdir():
            if not folder.name.startswith(".") and (folder / MANIFEST).exists():
                with contextlib.suppress(AgentMemoryError):
                    found.append(read(folder))
    return sorted(found, key=lambda backup: (backup.made_at, backup.name), reverse=True)


def find(argument: str | None) -> Backup:
    """The backup that an argument names, as a name or a folder's path; None: the newest that the user or the night
    made. AgentMemoryError where there is none."""
    if argument is None:
        for backup in every():
            if backup.kind != "before-restore":
                return backup
        raise AgentMemoryError("There is no backup yet.", "Make one: agent-memory backup now", status=404)
    inside = paths.backups() / argument
    return read(
        inside if os.sep not in argument and inside.is_dir() else Path(argument).expanduser().absolute()
    )


def surplus(backups: list[Backup]) -> list[Backup]:
    """Those of these, newest first, that are to go."""
    return [
        backup
        for kind in ("daily", "before-restore")
        for backup in [backup for backup in backups if backup.kind == kind][KEPT:]
    ]


def prune() -> list[Backup]:
    """Remove what is to go, and what a killed backup left behind. Returns what was removed. Needs `lock`."""
    gone = surplus(every())
    for backup in gone:
        away = backup.folder.with_name(f"{DRAFT}old-{backup.name}")  # a half removed one is no backup
        backup.folder.rename(away)
    for leftover in paths.backups().glob(f"{DRAFT}*"):
        shutil.rmtree(leftover, ignore_errors=True)
    return gone


@dataclass(frozen=True, slots=True)
class Failure:
    at: datetime
    problem: str


@contextlib.contextmanager
def failure_recorded() -> Iterator[None]:
    """Keep why the nightly backup failed, until one is made: nobody sees what a scheduler's job prints."""
    file = paths.backups() / ".failed.json"
    try:
        yield
    except AgentMemoryError as error:
        with contextlib.suppress(OSError):  # the disk may be full, which is why
            file.write_text(
                json.dumps({"at": datetime.now(UTC).isoformat(), "problem": error.problem}), "utf-8"
            )
        raise
    file.unlink(missing_ok=True)


def last_failure() -> Failure | None:
    """Why the last nightly backup failed; None where it did not."""
    try:
        said = json.loads((paths.backups() / ".failed.json").read_text("utf-8"))
        return Failure(datetime.fromisoformat(said["at"]), str(said["problem"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


@contextlib.contextmanager
def lock() -> Iterator[None]:
    """One backup or restore at a time. AgentMemoryError while another one runs. The lock dies with its holder."""
    file = os.open(paths.make_private(paths.backups()) / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AgentMemoryError(
                "Another backup, verification or restore runs.",
                "Wait until it is done, then try again.",
                status=409,
            ) from None
        yield
    finally:
        os.close(file)


def sync(path: Path) -> None:
    """Make sure that a file or a folder's names are on the disk."""
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
