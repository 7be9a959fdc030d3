"""What the database knows of a run: where it stands, and whether its data may be used. A run that is trained where no
database can be reached goes on without; it says so."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from agent_memory import machine, settings
from agent_memory.database import Connection, migrate, server
from agent_memory.errors import AgentMemoryError
from agent_memory.finetune import dataset, files, store
from agent_memory.finetune.gates import PARTS
from agent_memory.finetune.run import Run

MOST_POINTS = 2_000
"""Of a curve, in the database."""


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What was forgotten of a run's data since the run."""

    tombstone: int
    forgotten_at: str | None
    """ISO 8601; None: the tombstone was lifted."""
    rows: list[str]
    """The ids of the data set's rows that may hold it, those of the sessions that it was in; none where its files are
    not at hand."""


@contextlib.contextmanager
def database() -> Iterator[Connection]:
    """Raises AgentMemoryError or psycopg.Error where it cannot be reached."""
    with server.connect(server.conninfo(settings.load())) as conn:
        migrate.migrate(conn)
        yield conn


def record(run: Run) -> str | None:
    """Write down how far the run is; what hindered it, for a person."""
    try:
        with database() as conn:
            known = _data_set(conn, run)
            store.record_run(
                conn,
                {
                    "name": run.name,
                    "folder": str(run.folder),
                    "machine": machine.here(),
                    "created_at": run.created,
                    "config": run.config.model_dump(mode="json"),
                    "data_set_id": known["id"] if known else None,
                    "data_set": manifest(run),
                    "steps": run.steps_told(),
                    "metrics": _thinned(metrics(run)),
                    "files": files.made(run),
                    "retracted_at": run.retracted["at"] if run.retracted else None,
                    "retracted_because": run.retracted["because"] if run.retracted else None,
                },
            )
    except (AgentMemoryError, psycopg.Error, OSError) as error:
        return f"The run is not in the database, only in its folder: {_first_line(error)}"
    return None


def refuse_stale(run: Run) -> str | None:
    """Raises AgentMemoryError where the run's data set was changed, is not known to have passed its gates, or holds
    what was forgotten since. What could not be asked, for a person."""
    if not (run.data / dataset.MANIFEST).is_file():
        raise AgentMemoryError(
            f"The data set {run.data} is gone.",
            "Go back to the data set: agent-memory wizard … --from dataset. Or retract the run: agent-memory finetune"
            " retract.",
        )
    if changed := dataset.changed_files(run.data):
        raise AgentMemoryError(
            f"The data set {run.data} is not as it was published: {', '.join(changed[:3])}.",
            "What was changed has passed no gate. Make it again: --from dataset.",
        )
    try:
        with database() as conn:
            known = dataset.state_of(conn, run.data)
            gone = forgotten(conn, run) if known and known["stale_since"] else []
    except (AgentMemoryError, psycopg.Error) as error:
        return f"Whether something was forgotten since could not be asked: {_first_line(error)}"
    if known is None:
        raise AgentMemoryError(
            f"Nobody knows whether the data set {run.data} passed its gates: it is not in the register.",
            "Make one here: leave data.folder out, or name one of agent-memory finetune datasets.",
        )
    if known["stale_since"]:
        raise AgentMemoryError(
            f"Something that the data set {run.data} holds was forgotten on {known['stale_since']:%Y-%m-%d}:"
            f" {'; '.join(map(_told, gone))}.",
            "Make it again without: --from dataset. Delete the old one where it is not this run's own.",
        )
    return None


def forgotten(conn: Connection, run: Run) -> list[Forgotten]:
    """What was forgotten of the run's data since it was made, by tombstone."""
    known = _data_set(conn, run)
    return forgotten_of(conn, known["id"], run.data) if known else []


def forgotten_of(conn: Connection, data_set: int, folder: Path | None = None) -> list[Forgotten]:
    """What was forgotten of a data set since it was made, by tombstone. `folder`: where its files are at hand."""
    gone = store.forgotten(conn, data_set)
    rows = _rows_by_session(folder) if gone and folder else {}
    told: dict[int, Forgotten] = {}
    for one in gone:
        number, at = one["tombstone_id"], one["forgotten_at"]
        entry = told.setdefault(number, Forgotten(number, at.isoformat() if at else None, []))
        entry.rows.extend(rows.get(one["session_id"], ()))
    return list(told.values())


def _told(one: Forgotten) -> str:
    """Which rows may hold it, in a few words."""
    more = f" and {len(one.rows) - 5:,} more" if len(one.rows) > 5 else ""
    rows = f"rows {', '.join(one.rows[:5])}{more}" if one.rows else "its rows are not at hand"
    return f"tombstone {one.tombstone}, {rows}"


def manifest(run: Run) -> dict[str, Any] | None:
    """Of the run's data set; None: not there (yet)."""
    try:
        told = json.loads((run.data / dataset.MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return told if isinstance(told, dict) else None


def metrics(run: Run) -> list[dict[str, Any]]:
    """The curve: what was logged at each step, the later where a training went over a step again. A line that was cut
    off by a crash is passed over."""
    found: dict[Any, dict[str, Any]] = {}
    with contextlib.suppress(OSError):
        for number, line in enumerate(run.metrics.read_text(encoding="utf-8").splitlines()):
            with contextlib.suppress(ValueError):
                point = json.loads(line)
                if isinstance(point, dict):
                    step = point.get("step")
                    found[step if isinstance(step, int) else f"line {number}"] = {
                        **found.get(step, {}),
                        **point,
                    }
    return sorted(found.values(), key=lambda point: point.get("step") or 0)


def _thinned(points: list[dict[str, Any]]) -> list[dict[str, Any]]:
    every = -(-len(points) // MOST_POINTS) or 1
    return points[::every]


def _data_set(conn: Connection, run: Run) -> dict[str, Any] | None:
    if (run.data / dataset.MANIFEST).is_file():
        return dataset.state_of(conn, run.data)
    return store.data_set_of_run(conn, str(run.folder), machine.here())


def _rows_by_session(folder: Path) -> dict[str, list[str]]:
    """The ids of a data set's rows: those of a session begin with it."""
    found: dict[str, list[str]] = {}
    for part in PARTS:
        with (
            contextlib.suppress(FileNotFoundError),
            (folder / f"{part}.jsonl").open(encoding="utf-8") as lines,
        ):
            for line in lines:
                id_ = str(json.loads(line)["id"])
                found.setdefault(id_.rsplit("/", 2)[0], []).append(id_)
    return found


def _first_line(error: Exception) -> str:
    told = error.problem if isinstance(error, AgentMemoryError) else str(error)
    return told.strip().partition("\n")[0]
