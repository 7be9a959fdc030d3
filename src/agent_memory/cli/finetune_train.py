"""`agent-memory finetune train|evaluate`: from a data set to a model that is measured beside its base."""

from __future__ import annotations

from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent_memory.cli import finetune_steps, terminal
from agent_memory.cli.finetune import finetune_app
from agent_memory.cli.tables import print_table
from agent_memory.errors import AgentMemoryError

if TYPE_CHECKING:
    from agent_memory.finetune.run import Run, StepRecord


class Until(StrEnum):
    dataset = "dataset"
    smoke = "smoke"
    smoke_check = "smoke-check"
    train = "train"


def register() -> None:
    for command in (train, evaluate):
        finetune_app.command()(command)


def train(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="A run to go on with: its name, or its folder.")
    ] = None,
    *,
    config: Annotated[
        Path | None, typer.Option(help="Begin the run that this file configures, or go on with it.")
    ] = None,
    until: Annotated[
        Until, typer.Option(help="The last step to do, such as smoke-check before training elsewhere.")
    ] = Until.train,
    as_json: terminal.AsJson = False,
) -> None:
    """Train a model, each step through its gates.

    The steps up to the training that have not passed yet; where a training was stopped, it goes on from its last
    checkpoint."""
    from agent_memory.finetune import config as configs
    from agent_memory.finetune import pipeline
    from agent_memory.finetune import run as runs

    if (name is None) == (config is None):
        raise AgentMemoryError(
            "Either a run's name or a configuration says what to train.",
            "agent-memory finetune config > train_config.yaml, change it, and give it with --config.",
        )
    run = runs.find(name) if name is not None else pipeline.begin(configs.load(config or Path()))
    last = pipeline.NAMES.index(until.value)
    found: dict[str, StepRecord] = {}
    try:
        while (step := pipeline.next_step(run)) and pipeline.NAMES.index(step.name) <= last:
            finetune_steps.perform(run, step, partial(found.__setitem__, step.name) if as_json else None)
    finally:
        if as_json:
            terminal.print_json(found)
    if not as_json:
        typer.echo(f"{run.name} has passed {until.value}: {run.folder}")


def evaluate(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The run's name, or its folder.")],
    *,
    as_json: terminal.AsJson = False,
) -> None:
    """Measure a run's model beside its base.

    Both are asked the same held-out questions."""
    from agent_memory.finetune import pipeline
    from agent_memory.finetune import run as runs

    run = runs.find(name)
    step = pipeline.named("check")
    if as_json:
        finetune_steps.perform(run, step, terminal.print_json)
        return
    try:
        finetune_steps.perform(run, step)
    except pipeline.StepFailedError:
        _print(run)
        raise
    _print(run)


def _print(run: Run) -> None:
    from agent_memory.finetune.training.interval import Difference, Rate
    from agent_memory.finetune.training.score import MEASURES

    numbers = run.steps["check"].numbers
    if "tuned" not in numbers:
        return
    rows = []
    for measure in MEASURES:
        base, tuned = (
            Rate(numbers[who][measure]["hits"], numbers[who][measure]["of"]) for who in ("base", "tuned")
        )
        rows.append((measure, str(base), str(tuned), str(Difference(**numbers["difference"][measure]))))
    print_table(("", "base", "tuned", "difference"), rows, wide="difference", fold=True)
    typer.echo(f"What each answered: {run.evaluation}")
