"""Training runs and the data sets that they learned from. They are made of several projects: not for a caller that is
bound to one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

import yaml
from fastapi import APIRouter, Path, Request
from fastapi.responses import HTMLResponse

from agent_memory.errors import AgentMemoryError
from agent_memory.finetune import store
from agent_memory.service.auth import By
from agent_memory.service.state import Database
from agent_memory.service.web.page import page

router = APIRouter(prefix="/training")

WIDTH, HEIGHT = 720, 220
"""Of a curve, in its own units; the page scales it."""
SERIES = {"loss": "training loss", "eval_loss": "validation loss"}


@dataclass(frozen=True, slots=True)
class Curve:
    """What was measured while it learned, ready to be drawn."""

    lines: list[tuple[str, str, str]]
    """Name, what it is, and its points as SVG writes them."""
    low: float
    high: float
    steps: int
    last: Mapping[str, float]
    """The last value of each line."""


@router.get("")
def list_runs(request: Request, conn: Database, by: By) -> HTMLResponse:
    """The runs and the data sets, the latest first."""
    by.check(None)
    runs = store.training_runs(conn)
    return page(
        request,
        "training.html",
        runs=[row | cost(row["steps"]) | {"curve": curve(row["metrics"])} for row in runs],
        data_sets=store.data_sets(conn),
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
        steps=sorted(run["steps"].items(), key=lambda step: str(step[1].get("began", ""))),
        curve=curve(run["metrics"]),
        size=(WIDTH, HEIGHT),
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


def curve(metrics: Sequence[Mapping[str, Any]]) -> Curve | None:
    """The losses over the steps, as lines of a picture `WIDTH` by `HEIGHT`; None where there are no two of one."""
    found = {
        name: [
            (float(point["step"]), float(point[name]))
            for point in metrics
            if _is_number(point.get("step")) and _is_number(point.get(name))
        ]
        for name in SERIES
    }
    found = {name: points for name, points in found.items() if len(points) > 1}
    if not found:
        return None
    steps = [step for points in found.values() for step, _ in points]
    values = [value for points in found.values() for _, value in points]
    first, wide = min(steps), (max(steps) - min(steps)) or 1.0
    low, high = min(values), max(values)
    tall = (high - low) or 1.0

    def drawn(points: Sequence[tuple[float, float]]) -> str:
        return " ".join(
            f"{(step - first) / wide * WIDTH:.1f},{(high - value) / tall * HEIGHT:.1f}"
            for step, value in points
        )

    return Curve(
        lines=[(name, SERIES[name], drawn(points)) for name, points in found.items()],
        low=low,
        high=high,
        steps=round(max(steps)),
        last={name: points[-1][1] for name, points in found.items()},
    )


def _is_number(value: object) -> bool:
    """Also not NaN nor infinite, which a loss may become."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf")


def _forgotten(rows: Sequence[Mapping[str, Any]]) -> list[tuple[int, datetime | None, int]]:
    """By tombstone: its number, when, and of how many sessions."""
    told: dict[int, tuple[int, datetime | None, int]] = {}
    for row in rows:
        _, at, count = told.get(row["tombstone_id"], (0, row["forgotten_at"], 0))
        told[row["tombstone_id"]] = (row["tombstone_id"], at, count + 1)
    return list(told.values())
