"""The files that a run made: their size and SHA-256, counted once for each file that does not change."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from agent_memory.finetune.run import Run

_CACHE = "files.json"


def made(run: Run) -> dict[str, dict[str, Any]]:
    """By path, relative to the run's folder where it lies in there: `bytes`, `sha256`. Checkpoints and the copy of the
    base are not counted among them: nobody is given those."""
    known = _known(run)
    found: dict[str, dict[str, Any]] = {}
    for file in _files(run):
        name = str(file.relative_to(run.folder)) if file.is_relative_to(run.folder) else str(file)
        state = file.stat()
        at = state.st_mtime_ns
        before = known.get(name)
        if before and (before["bytes"], before["at"]) == (state.st_size, at):
            found[name] = before
            continue
        found[name] = {"bytes": state.st_size, "sha256": sha256(file), "at": at}
    with contextlib.suppress(OSError):
        if found:
            (run.folder / _CACHE).write_text(json.dumps(found), encoding="utf-8")
    return {name: {"bytes": one["bytes"], "sha256": one["sha256"]} for name, one in found.items()}


def sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _known(run: Run) -> dict[str, Any]:
    try:
        known = json.loads((run.folder / _CACHE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _files(run: Run) -> Iterator[Path]:
    own = [] if run.config.data.folder else [run.data]
    for folder in (*own, run.adapter, run.merged, run.evaluation, run.models):
        yield from sorted(file for file in folder.rglob("*") if file.is_file() and not file.is_symlink())
    if run.metrics.is_file():
        yield run.metrics


def delete(run: Run) -> list[Path]:
    """Delete what holds texts or weights: everything but the configuration and how the steps ended. What is gone.

    A data set that this run did not make is not its own, and stays.
    """
    gone = []
    for place in (*run.folder.iterdir(), run.models):
        if place.name in ("run.json", "config.yaml", "lock") or not place.exists():
            continue
        if place.is_dir() and not place.is_symlink():
            shutil.rmtree(place)
        else:
            place.unlink()
        gone.append(place)
    return gone


def left(run: Run) -> list[Path]:
    """What there is of a run that holds texts, or weights that learned them."""
    own = [] if run.config.data.folder else [run.data]
    places = (
        *own,
        *(run.smoke, run.checkpoints, run.adapter, run.merged, run.evaluation, run.models, run.logs),
        *((run.report, run.report.with_suffix(".json")) if run.evaluation.exists() else ()),
    )
    return [place for place in places if place.exists()]
