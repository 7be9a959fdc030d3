"""Training runs and the data sets that they learned from. They are made of several projects: not for a caller that is
bound to one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any

import yaml
from fastapi import APIRouter, Path, Request
from fastapi.responses import HTMLResponse
from markupsafe import Markup

from agent_memory import machine
from agent_memory.errors import AgentMemoryError
from agent_memory.finetune import curve, store
from agent_memory.service.auth import By
from agent_memory.service.state import Database
from agent_memory.service.web.page import page

router = APIRouter(prefix="/training")


@router.get("")
def list_runs(request: Request, conn: Database, by: By) -> HTMLResponse:
    """The runs and the data sets, the latest first."""
    by.check(None)
    runs, data_sets = store.training_runs(conn), store.data_sets(conn)
    return page(
        request,
        "training.html",
        several=len({row["machine"] for row in (*runs, *data_sets)} - {None, ""}) > 1,
        runs=[row | cost(row["steps"]) | {"losses": curve.losses(row["metrics"])} for row in runs],
        data_sets=data_sets,
    )


@router.get("/{number}")
def show_run(
    request: Request, number: Annotated[int, Path(ge=1, lt=2**63)], conn: Database, by: By
) -> HTMLResponse:
    """One run: its steps and gates, its curve, what it cost and what it made."""
    by.check(None)
    run = next((row for row in store.training_runs(conn) if row["id"] == number), None)
    if run is None:
        raise AgentMemoryError(f"There is no training run {number}.", "Training lists them.", status=404)
    return page(
        request,
        "run.html",
        run=run | cost(run["steps"]),
        elsewhere=run["machine"] not in ("", machine.here()),
        steps=sorted(run["steps"].items(), key=lambda step: str(step[1].get("began", ""))),
        losses=Markup(curve.draw(run["metrics"])),  # of numbers alone
        written=_written,
        forgotten=_forgotten(store.forgotten(conn, run["data_set_id"])) if run["data_set_id"] else [],
    )


def _written(value: Any) -> str:
    """Nested values as a person reads them."""
    text: str = yaml.safe_dump(value, sort_keys=False, allow_unicode=True)
    return text


def cost(steps: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What the steps took together: seconds, peak_mb; and state, that of the last that is not passed."""
    states = [str(step.get("state")) for step in steps.values()]
    return {
        "seconds": sum(float(step.get("seconds") or 0) for step in steps.values()),
        "peak_mb": max((float(step.get("peak_mb") or 0) for step in steps.values()), default=0.0),
        "state": next(
            (state for state in reversed(states) if state != "passed"), "passed" if states else "new"
        ),
    }


def _forgotten(rows: Sequence[Mapping[str, Any]]) -> list[tuple[int, datetime | None, int]]:
    """By tombstone: its number, when, and of how many sessions."""
    told: dict[int, tuple[int, datetime | None, int]] = {}
    for row in rows:
        _, at, count = told.get(row["tombstone_id"], (0, row["forgotten_at"], 0))
        told[row["tombstone_id"]] = (row["tombstone_id"], at, count + 1)
    return list(told.values())
