"""From the environment to LM Studio: the steps of a training run, each in a process of its own, each with its gates.

A step is a function `(run, tell) -> Outcome`; `python -m agent_memory.finetune.pipeline FOLDER STEP` runs one and
prints what it tells as lines of JSON. The command line and the wizard both start that process: memory is free when it
ends, a step is stopped by ending it, and what is tested is what runs.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from agent_memory.errors import AgentMemoryError
from agent_memory.finetune import run as runs
from agent_memory.finetune.gates import Gate
from agent_memory.finetune.run import Outcome, Run, StepRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What a step tells while it works."""

    text: str = ""
    """A line for the log."""
    done: float | None = None
    """Of 1, where it is known."""
    seconds_left: float | None = None
    numbers: dict[str, Any] = field(default_factory=dict)
    """Such as `{"step": 10, "loss": 1.2}`, for a plot."""


Tell = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class Step:
    name: str
    title: str
    function: str
    """`module:function`, imported only in the step's own process."""
    exit_code: int
    """Of a command that ends because a gate of this step failed."""


STEPS: tuple[Step, ...] = (
    Step("environment", "Environment", "agent_memory.finetune.environment:check", 20),
    Step("dataset", "Data set and its audit", "agent_memory.finetune.data_step:make", 21),
    Step("smoke", "Smoke training", "agent_memory.finetune.training.train:smoke", 22),
    Step("smoke-check", "Smoke check", "agent_memory.finetune.training.evaluate:smoke_check", 23),
    Step("train", "Training", "agent_memory.finetune.training.train:train", 24),
    Step("check", "Evaluation", "agent_memory.finetune.training.evaluate:check", 25),
    Step("gguf", "GGUF", "agent_memory.finetune.gguf.make:make", 26),
    Step("chat", "Chat loop", "agent_memory.finetune.gguf.chat:check", 27),
    Step("install", "Install", "agent_memory.finetune.gguf.install:install", 28),
)
NAMES = tuple(step.name for step in STEPS)


class StepFailedError(AgentMemoryError):
    """A gate stopped the run."""

    def __init__(self, run: Run, step: Step) -> None:
        self.step = step
        told = "\n".join(
            f"  {gate['name']}: {gate['found']}, wanted {gate['wants']}"
            for gate in run.steps[step.name].gates
            if not gate["passed"]
        )
        super().__init__(
            f"{step.title}: a gate failed, and the run {run.name} stops here.\n{told}",
            f"docs/fine_tune/failures.md says what each gate wants. All of it: {run.folder}",
        )


def next_step(run: Run) -> Step | None:
    """The first step that did not pass yet, or None: all did."""
    return next((s for s in STEPS if s.name not in run.steps or run.steps[s.name].state != "passed"), None)


def perform(
    run: Run, step: Step, tell: Tell, *, started: Callable[[subprocess.Popen[str]], None] = lambda _: None
) -> None:
    """Do one step in its own process and write down what came of it; what later steps found is void from here on.

    `started` gets the process, so that a caller may end it (SIGTERM): the step is then "stopped". Raises
    StepFailedError where a gate failed, AgentMemoryError where it could not be done, was stopped, or comes too early.
    """
    needed = STEPS[: STEPS.index(step)]
    for earlier in needed:
        if earlier.name not in run.steps or run.steps[earlier.name].state != "passed":
            raise AgentMemoryError(
                f"{step.title} comes after {earlier.title}, which has not passed yet.",
                f"agent-memory wizard --config {run.folder / 'config.yaml'} goes on where the run stands.",
            )
    for later in STEPS[STEPS.index(step) :]:
        run.steps.pop(later.name, None)
    record = run.steps[step.name] = StepRecord("running", runs.now())
    runs.save(run)
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "agent_memory.finetune.pipeline", str(run.folder), step.name],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )
    started(process)
    told: dict[str, Any] = {}
    try:
        assert process.stdout is not None
        told = _listen(process.stdout, tell)
    finally:
        if process.poll() is None:
            process.terminate()
        code = process.wait()
        record.seconds = time.monotonic() - began
        record.peak_mb = told.get("peak_mb", 0.0)
        record.gates, record.numbers = told.get("gates", []), told.get("numbers", {})
        if "gates" in told and code == 0:
            record.state = "passed" if all(gate["passed"] for gate in record.gates) else "failed"
        elif "error" in told:
            record.state, record.error = "error", told["error"]
        elif code in (-signal.SIGTERM, -signal.SIGINT, 128 + signal.SIGTERM, 130):
            record.state, record.error = "stopped", "It was stopped."
        else:
            record.state, record.error = "error", f"Its process ended with {code} and told nothing."
        runs.save(run)
    if record.state == "failed":
        raise StepFailedError(run, step)
    if record.state != "passed":
        raise AgentMemoryError(
            f"{step.title}: {record.error}", told.get("remedy", "Start it again: it goes on where it can.")
        )


def _listen(lines: IO[str], tell: Tell) -> dict[str, Any]:
    """What the step's process said last, its result; what it tells on the way goes to `tell`."""
    result: dict[str, Any] = {}
    for line in lines:
        try:
            said = json.loads(line)
        except ValueError:
            said = None
        if not isinstance(said, dict) or said.keys() not in _KINDS:  # a library that prints
            tell(Progress(text=line.rstrip()))
        elif "progress" in said:
            tell(Progress(**said["progress"]))
        else:
            result = said["result"]
    return result


_KINDS = ({"progress"}, {"result"})


def main(argv: Sequence[str]) -> int:
    """The step's own process."""
    folder, name = argv
    step = next(s for s in STEPS if s.name == name)
    module, _, function = step.function.partition(":")

    def say(kind: str, value: dict[str, Any]) -> None:
        sys.stdout.write(json.dumps({kind: value}, ensure_ascii=False, default=str) + "\n")
        sys.stdout.flush()

    def tell(progress: Progress) -> None:
        say("progress", dataclasses.asdict(progress))

    try:
        outcome: Outcome = getattr(importlib.import_module(module), function)(runs.load(Path(folder)), tell)
    except AgentMemoryError as error:
        say("result", {"error": error.problem, "remedy": error.remedy, "peak_mb": _peak_mb()})
        return 1
    gates: list[Gate] = outcome.gates
    say(
        "result",
        {"gates": [g.as_dict() for g in gates], "numbers": outcome.numbers, "peak_mb": _peak_mb()},
    )
    return 0


def _peak_mb() -> float:
    held = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return held / (1 << 20 if sys.platform == "darwin" else 1 << 10)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
