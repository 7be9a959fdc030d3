"""What a benchmark found, as figures that can be told, kept, and compared with those of another day.

Only ratios are compared: what something of ours takes, over what something plain takes beside it in the same seconds
(a bare interpreter, a raw INSERT, a fixed piece of work). Clock times tell more about the machine's other users.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

FILE = Path(__file__).parent / "results.json"
"""The figures that the next run is held against, and the table in docs/performance.md."""
SLACK = 0.35
"""How much larger a ratio may be before it counts as clearly worse: two runs of the same code differ by a tenth to a
quarter on a machine with other users."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    name: str
    """The same from run to run."""
    value: float
    unit: str
    beside: str = ""
    """What stands beside it, in words, its value with it."""
    ratio: float | None = None
    """Of the two, so that more is worse. None: nothing plain stands beside it, and it is not compared."""
    slack: float = SLACK


def yardstick() -> float:
    """Milliseconds of a fixed piece of work on one core, median of nine: the yardstick where nothing plainer stands
    beside what is measured."""
    data = bytes(1 << 20)
    times = []
    for _ in range(9):
        began = time.perf_counter()
        hashlib.sha256(data).digest()
        sum(range(100_000))
        times.append((time.perf_counter() - began) * 1000)
    return statistics.median(times)


def machine() -> dict[str, Any]:
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / (1 << 30)),
        "load": round(os.getloadavg()[0], 1),
    }


def as_dict(figures: Iterable[Figure], about: Mapping[str, Any]) -> dict[str, Any]:
    return {"machine": dict(about), "figures": [asdict(figure) for figure in figures]}


def read(file: Path) -> tuple[dict[str, Any], list[Figure]]:
    told = json.loads(file.read_text(encoding="utf-8"))
    return told["machine"], [Figure(**figure) for figure in told["figures"]]


def worse(now: Iterable[Figure], before: Iterable[Figure]) -> list[str]:
    """A line for each figure whose ratio is clearly worse than before; none: all is well."""
    known = {figure.name: figure for figure in before}
    return [
        f"{figure.name}: {figure.ratio:.2f} times what stands beside it, {old.ratio:.2f} before"
        for figure in now
        if figure.ratio is not None
        and (old := known.get(figure.name)) is not None
        and old.ratio is not None
        and figure.ratio > old.ratio * (1 + figure.slack)
    ]


def markdown(about: Mapping[str, Any], figures: Iterable[Figure]) -> str:
    """The table of docs/performance.md."""
    lines = [
        f"Measured {about['at'][:10]} on {about['cores']} cores, {about['memory_gb']} GB, {about['system']}, Python"
        f" {about['python']}, at load {about['load']}.",
        "",
        "| what | measured | beside it, in the same run | ratio |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {figure.name} | {short(figure.value)} {figure.unit} | {figure.beside} |"
        f" {'' if figure.ratio is None else f'{figure.ratio:.2f}'} |"
        for figure in figures
    ]
    return "\n".join(lines) + "\n"


def short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def show(figures: Iterable[Figure]) -> None:
    for figure in figures:
        ratio = "" if figure.ratio is None else f"  {figure.ratio:.2f} ×"
        beside = f"  beside {figure.beside}" if figure.beside else ""
        print(f"{figure.name}: {short(figure.value)} {figure.unit}{beside}{ratio}", flush=True)
        sys.stdout.flush()
