"""Runs as they are listed, with what was forgotten of their data; and taking one back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from agent_memory.database import Connection
from agent_memory.errors import AgentMemoryError
from agent_memory.finetune import compared, files, register, report, store
from agent_memory.finetune import run as runs
from agent_memory.finetune.run import Run


def listed(conn: Connection) -> list[dict[str, Any]]:
    """All runs, the latest first: those of this home's folders, and those that the database knows and whose folder is
    gone. `stale`: what was forgotten of their data, by tombstone."""
    found = [_told(run, [asdict(one) for one in register.forgotten(conn, run)]) for run in runs.every()]
    here = {one["folder"] for one in found}
    found += [
        _told_by_database(row)
        for row in store.training_runs(conn)
        if row["folder"] not in here and not (Path(row["folder"]) / "run.json").exists()
    ]
    return sorted(found, key=lambda one: str(one["created"]), reverse=True)


def _told_by_database(row: Mapping[str, Any]) -> dict[str, Any]:
    retracted = {"at": str(row["retracted_at"]), "because": row["retracted_because"]}
    return {
        "name": row["name"],
        "folder": row["folder"],
        "created": row["created_at"].isoformat(),
        "base": row["config"]["base"]["model"],
        "standing": "its folder is gone",
        "rows": ((row["data_set"] or {}).get("rows") or {}).get("train"),
        "retracted": retracted if row["retracted_at"] else None,
        "stale": [],
    }


def _told(run: Run, stale: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "name": run.name,
        "folder": str(run.folder),
        "created": run.created,
        "base": run.config.base.model,
        "standing": compared.standing(run),
        "rows": ((register.manifest(run) or {}).get("rows") or {}).get("train"),
        "retracted": run.retracted,
        "stale": stale if files.left(run) else [],
    }


def retract(run: Run, because: str, *, delete_files: bool) -> list[str]:
    """Take a run back, and where that is wanted delete what it made. What was done, and what is left to do, for a
    person. Raises AgentMemoryError: there is no reason, or somebody is at work on it."""
    if not because.strip():
        raise AgentMemoryError("A run is retracted for a reason.", 'Say it: --because "…"')
    with runs.locked(run):
        run.retracted = {"at": runs.now(), "because": because.strip()}
        runs.save(run)
        done = _uninstalled(run)
        if delete_files:
            done += [f"deleted {place}" for place in files.delete(run)]
            if run.config.data.folder:
                done.append(f"its data set {run.config.data.folder} is not its own, and stays")
        else:
            done.append(f"its files stay in {run.folder} and {run.models}; --delete-files deletes them")
    report.write(run)
    return done


def _uninstalled(run: Run) -> list[str]:
    from agent_memory.finetune.gguf import install

    return [f"taken back from LM Studio: {file}" for file in install.remove(run)]
