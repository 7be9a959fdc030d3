"""Steps of a training run on the command line: what they tell, their gates, and how to stop them."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console

from agent_memory.cli import terminal
from agent_memory.cli.tables import print_table

if TYPE_CHECKING:
    from agent_memory.finetune.pipeline import Progress, Step
    from agent_memory.finetune.run import Run, StepRecord

TELL_EVERY_S = 10.0
"""How often it is said how far a step is, where it says nothing else."""


def perform(run: Run, step: Step, found: Callable[[StepRecord], object] | None = None) -> None:
    """Do one step; what it tells goes to stderr, its gates to stdout; nothing of an earlier attempt where it may not
    begin. `found`: gets what this attempt found, and nothing is printed. Raises what `pipeline.perform` raises, which
    carries the exit code."""
    from agent_memory.finetune import pipeline

    # On stderr, so that stdout is what a program reads.
    console = Console(stderr=True, highlight=False, quiet=found is not None)
    console.print(f"[bold]{step.title}[/]")
    told_at = time.monotonic()
    began = False

    def begins(_stop: object) -> None:
        nonlocal began
        began = True

    def tell(progress: Progress) -> None:
        nonlocal told_at
        if progress.text:
            console.print(f"  {progress.text}", markup=False, style="dim")
        elif progress.done is None or time.monotonic() - told_at < TELL_EVERY_S:
            return
        else:
            left = f", {terminal.span(progress.seconds_left)} left" if progress.seconds_left else ""
            console.print(f"  {progress.done:.0%}{left}", style="dim")
        told_at = time.monotonic()

    before = None
    if threading.current_thread() is threading.main_thread():
        before = signal.signal(signal.SIGTERM, _interrupt)  # as Ctrl-C: the step ends, and is written down
    try:
        pipeline.perform(run, step, tell, started=begins)
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)
        if began and found is not None:
            found(run.steps[step.name])
        elif began:
            record = run.steps[step.name]
            print_gates(record.gates)
            took = f"{record.state}, {terminal.span(record.seconds)}, {record.peak_mb:,.0f} MB"
            console.print(f"  {took}\n", style="dim")


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def print_gates(gates: Sequence[Mapping[str, Any]]) -> None:
    """A line a gate, and the warnings of those that let through what they would else have stopped."""
    rows = [
        (
            "✗" if not gate["passed"] else "!" if gate["warning"] else "✓",
            gate["name"],
            str(gate["wants"]),
            str(gate["found"]),
        )
        for gate in gates
    ]
    if rows:
        print_table(("", "gate", "wanted", "found"), rows, wide="found", fold=True)
    print_warnings(gate["warning"] for gate in gates if gate["warning"])


def print_warnings(warnings: Iterable[str]) -> None:
    for warning in warnings:
        terminal.console().print(f"[bold yellow]Warning:[/] {terminal.plain(warning)}")
