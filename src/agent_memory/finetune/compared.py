"""Runs beside each other: where they stand, in what they differ, what was measured of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from agent_memory.finetune import config as configs
from agent_memory.finetune import pipeline
from agent_memory.finetune.run import Run


def standing(run: Run) -> str:
    """Where a run stands, in a few words."""
    states = {name: step.state for name, step in run.steps.items()}
    return standing_of(states, retracted=run.retracted is not None)


def standing_of(states: Mapping[str, str], *, retracted: bool) -> str:
    """The same by its steps' states alone."""
    if retracted:
        return "retracted"
    for step in pipeline.STEPS:
        state = states.get(step.name, "passed")
        if state != "passed":
            words = {"failed": "a gate failed", "error": "could not be done", "running": "at work"}
            return f"{step.title}: {words.get(state, state)}"
    following = next((step for step in pipeline.STEPS if step.name not in states), None)
    if following is None:
        return "passed"
    return f"{following.title} is next" if states else "not begun"


def rates(numbers: Mapping[str, Any], under: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Each rate in what a step found, by its path there: `hits`, `of`, `rate`, `low`, `high`."""
    for name, value in numbers.items():
        if not isinstance(value, Mapping):
            continue
        path = f"{under} {name}".strip()
        if {"rate", "low", "high"} <= value.keys():
            yield path, dict(value)
        else:
            yield from rates(value, path)


def compare(one: Run, other: Run) -> dict[str, Any]:
    """`config`: line → both values where they differ. `gates`: step, name, and of both what was found and whether it
    passed. `rates`: step, name, and both rates; None where a run has none. `costs`: step, and both seconds and MB."""
    both = (one, other)
    steps = [step for step in pipeline.STEPS if any(step.name in run.steps for run in both)]
    return {
        "runs": [run.name for run in both],
        "config": {
            line: list(values)
            for line, values in configs.differences(one.config, other.config).items()
            if line != "name"
        },
        "gates": [
            {"step": step.name, "name": name, "found": [gates.get(name) for gates in found]}
            for step in steps
            if (found := [_gates(run, step.name) for run in both])
            for name in dict.fromkeys([*found[0], *found[1]])
        ],
        "rates": [
            {"step": step.name, "name": name, "found": [known.get(name) for known in measured]}
            for step in steps
            if (measured := [_rates(run, step.name) for run in both])
            for name in dict.fromkeys([*measured[0], *measured[1]])
        ],
        "costs": [
            {
                "step": step.name,
                "seconds": [_of(run, step.name, "seconds") for run in both],
                "peak_mb": [_of(run, step.name, "peak_mb") for run in both],
            }
            for step in steps
        ],
    }


def _gates(run: Run, step: str) -> dict[str, dict[str, Any]]:
    record = run.steps.get(step)
    return {
        gate["name"]: {"found": gate["found"], "passed": gate["passed"]}
        for gate in (record.gates if record else ())
    }


def _rates(run: Run, step: str) -> dict[str, dict[str, Any]]:
    record = run.steps.get(step)
    return dict(rates(record.numbers)) if record else {}


def _of(run: Run, step: str, name: str) -> float | None:
    record = run.steps.get(step)
    return getattr(record, name) if record else None
