"""Runs as they are listed, with what was forgotten of their data; and taking one back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC
from pathlib import Path
from typing import Any

from agent_memory import machine
from agent_memory.database import Connection
from agent_memory.errors import AgentMemoryError
from agent_memory.finetune import compared, files, register, report, store
from agent_memory.finetune import run as runs
from agent_memory.finetune.run import Run


def listed(conn: Connection) -> list[dict[str, Any]]:
    """All runs, the latest first: those of this home's folders, those of other machines, and those that the database
    knows and whose folder is gone. `stale`: what was forgotten of their data, by tombstone."""
    found = [_told(run, [asdict(one) for one in register.forgotten(conn, run)]) for run in runs.every()]
    here = {one["folder"] for one in found}
    for row in store.training_runs(conn):
        if row["machine"] not in ("", machine.here()):
            found.append(_told_by_database(row, _elsewhere(conn, row)))
        elif row["folder"] not in here and not (Path(row["folder"]) / "run.json").exists():
            found.append(_told_by_database(row, {"standing": "its folder is gone", "stale": []}))
    return sorted(found, key=lambda one: str(one["created"]), reverse=True)


def _elsewhere(conn: Connection, row: Mapping[str, Any]) -> dict[str, Any]:
    """What is known of where a run of another machine stands."""
    states = {name: str(step["state"]) for name, step in row["steps"].items()}
    stale = register.forgotten_of(conn, row["data_set_id"]) if row["data_set_id"] else []
    return {
        "standing": compared.standing_of(states, retracted=row["retracted_at"] is not None),
        "stale": [asdict(one) for one in stale],
    }


def _told_by_database(row: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    retracted = {"at": str(row["retracted_at"]), "because": row["retracted_because"]}
    return {
        "name": row["name"],
        "folder": row["folder"],
        "machine": row["machine"],
        "created": row["created_at"].astimezone(UTC).isoformat(timespec="seconds"),
        "base": row["config"]["base"]["model"],
        "rows": ((row["data_set"] or {}).get("rows") or {}).get("train"),
        "retracted": retracted if row["retracted_at"] else None,
        **known,
    }


def _told(run: Run, stale: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "name": run.name,
        "folder": str(run.folder),
        "machine": machine.here(),
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
