"""From the environment to LM Studio: the steps of a training run, each in a process of its own, each with its gates.

A step is a function `(run, tell) -> Outcome`; `python -m agent_memory.finetune.pipeline FOLDER module:function` runs
one and prints what it tells as lines of JSON. The command line and the wizard both start that process: memory is free
when it ends, a step is stopped by ending it, and what is tested is what runs. It ends when the pipe from whoever
performs the step closes, and with it all that it started, so a step never outlives its command.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from agent_memory import paths
from agent_memory.errors import AgentMemoryError
from agent_memory.finetune import config as configs
from agent_memory.finetune import register
from agent_memory.finetune import run as runs
from agent_memory.finetune.config import TrainConfig
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


GRACE_S = 15.0
"""For a step that is stopped, to end by itself."""
_TOUCHES = {
    "lora": "smoke",
    "training": "smoke",
    "smoke": "smoke",
    "evaluation": "smoke-check",
    "gguf": "gguf",
    "install": "install",
}
"""The first step that a part of the configuration matters to; others matter to all. The context matters to the data."""


class StepFailedError(AgentMemoryError):
    """A gate stopped the run."""

    def __init__(self, run: Run, step: Step) -> None:
        self.step = step
        self.exit_code = step.exit_code
        failed = [gate for gate in run.steps[step.name].gates if not gate["passed"]]
        told = "\n".join(f"  {gate['name']}: {gate['found']}, wanted {gate['wants']}" for gate in failed)
        remedies = [gate["remedy"] for gate in failed if gate.get("remedy")]
        super().__init__(
            f"{step.title}: a gate failed, and the run {run.name} stops here.\n{told}",
            "\n".join(
                [*remedies, f"docs/fine_tune/failures.md says what each gate wants. All of it: {run.report}"]
            ),
        )


class StepNotDoneError(AgentMemoryError):
    """A step could not be done, or was stopped."""


def named(name: str) -> Step:
    return next(step for step in STEPS if step.name == name)


def next_step(run: Run) -> Step | None:
    """The first step that did not pass yet, or None: all did."""
    return next((s for s in STEPS if s.name not in run.steps or run.steps[s.name].state != "passed"), None)


def begin(config: TrainConfig, *, change: bool = False) -> Run:
    """The run of this configuration, new or to go on with. `change`: one of this name takes this configuration over,
    and what the steps that it touches and all later ones found is void. Raises AgentMemoryError as `run.begin`, and
    where another process is at work on it."""
    folder = paths.training() / config.name
    if not change or not (folder / "run.json").exists():
        return runs.begin(config)
    run = runs.load(folder)
    with runs.locked(run):
        changed = configs.differences(run.config, config)
        if changed:
            touched = min(_first_touched(line) for line in changed)
            run.config = config
            _void(run, touched)
            runs.write_config(run)
            runs.save(run)
    return run


def _first_touched(line: str) -> int:
    part = line.partition(".")[0]
    return NAMES.index("environment" if line == "training.context" else _TOUCHES.get(part, "environment"))


def back(run: Run, step: Step) -> None:
    """Go back to a step: what it and later ones found is void. Raises AgentMemoryError: somebody is at work on it."""
    with runs.locked(run):
        _void(run, STEPS.index(step))
        runs.save(run)


def _void(run: Run, first: int) -> None:
    for step in STEPS[first:]:
        run.steps.pop(step.name, None)


def perform(
    run: Run,
    step: Step,
    tell: Tell,
    *,
    started: Callable[[Callable[[], None]], None] = lambda _: None,
) -> None:
    """Do one step in its own process and write down what came of it; what later steps found is void from here on.

    `started` gets a function that stops it: it returns when the step's process has ended, and the step is then
    "stopped". `tell` is called from more than one thread, never at once. Raises StepFailedError where a gate failed,
    StepNotDoneError where it could not be done or was stopped, AgentMemoryError where it may not be done now.
    """
    telling = threading.Lock()

    def tell_one(progress: Progress) -> None:
        with telling:
            tell(progress)

    with runs.locked(run) as lock:
        _allow(run, step, tell_one)
        _void(run, STEPS.index(step))
        record = run.steps[step.name] = StepRecord("running", runs.now())
        runs.save(run)
        try:
            _perform(run, step, record, tell_one, started, lock)
        finally:
            if record.state == "running":
                record.state, record.error = "stopped", "It was stopped."
            if record.error and not record.remedy:
                record.remedy = "Start it again: it goes on where it can."
            runs.save(run)
            _write_down(run, tell_one)
    if record.state == "failed":
        raise StepFailedError(run, step)
    if record.state != "passed":
        raise StepNotDoneError(f"{step.title}: {record.error}", record.remedy or "")


def _allow(run: Run, step: Step, tell: Tell) -> None:
    """Raises AgentMemoryError: earlier steps are missing, the run was retracted, or its data may not be used."""
    if run.retracted:
        raise AgentMemoryError(
            f"The run {run.name} was retracted: {run.retracted['because']}", "Begin one with another name."
        )
    for earlier in STEPS[: STEPS.index(step)]:
        if earlier.name not in run.steps or run.steps[earlier.name].state != "passed":
            raise AgentMemoryError(
                f"{step.title} comes after {earlier.title}, which has not passed yet.",
                f"agent-memory wizard --config {run.folder / 'config.yaml'} goes on where the run stands.",
            )
    if step.name not in ("environment", "dataset") and (told := register.refuse_stale(run)):
        tell(Progress(text=told))


def _perform(
    run: Run,
    step: Step,
    record: StepRecord,
    tell: Tell,
    started: Callable[[Callable[[], None]], None],
    lock: int,
) -> None:
    """Start the step's process, hear it out, and fill in its record."""
    began = time.monotonic()
    stopped = threading.Event()
    log = _Log(paths.make_private(run.logs) / f"{step.name}.log")
    process = subprocess.Popen(
        # -P: what lies in the folder that the user stands in is not imported.
        [sys.executable, "-P", "-m", "agent_memory.finetune.pipeline", str(run.folder), step.function],
        stdin=subprocess.PIPE,  # it ends when this closes
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        errors="replace",
        env={**os.environ, **_QUIET},
        start_new_session=True,
        pass_fds=(lock,),  # so nobody else begins while it ends
    )

    def stop() -> None:
        stopped.set()
        _end(process)

    assert process.stdout is not None
    assert process.stderr is not None
    chatter = threading.Thread(target=_hear_chatter, args=(process.stderr, tell, log), daemon=True)
    told: dict[str, Any] = {}
    try:
        chatter.start()
        started(stop)
        told = _hear(process.stdout, tell, log)
    except BaseException:
        stopped.set()
        raise
    finally:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.0 if stopped.is_set() else GRACE_S)
        _end(process)
        chatter.join(2.0)
        for pipe in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):
                assert pipe is not None
                pipe.close()
        log.close()
        record.seconds = round(time.monotonic() - began, 3)
        record.peak_mb = told.get("peak_mb", 0.0)
        record.gates, record.numbers = told.get("gates", []), told.get("numbers", {})
        record.state, record.error = _came_of(told, process.returncode, log.last, stopped=stopped.is_set())
        record.remedy = told.get("remedy")


_QUIET = {
    # No library tells anybody what is trained here.
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
    "WANDB_MODE": "disabled",
    "WANDB_DISABLED": "true",
    "TOKENIZERS_PARALLELISM": "false",
    "PYTHONUNBUFFERED": "1",
}


def _came_of(told: dict[str, Any], code: int, last: str, *, stopped: bool) -> tuple[runs.State, str | None]:
    """A step's state, and why, from what it told and how its process ended."""
    if "gates" in told:
        return ("passed" if all(gate["passed"] for gate in told["gates"]) else "failed"), None
    if "error" in told:
        return "error", str(told["error"])
    if stopped or code in (-signal.SIGTERM, -signal.SIGINT, 128 + signal.SIGTERM, 128 + signal.SIGINT):
        return "stopped", "It was stopped."
    if code == -signal.SIGKILL:
        return "error", "Its process was killed; the system does that where memory runs out."
    return "error", f"Its process ended with {code}{f': {last}' if last else ''}."


def _end(process: subprocess.Popen[str]) -> None:
    """End a step's process and what it started; it has its own group."""
    for sign, seconds in ((signal.SIGTERM, GRACE_S), (signal.SIGKILL, None)):
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, sign)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(seconds)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)  # what it left behind


class _Log:
    """What a step told, as a file; and its last words, for the error of a step that crashed."""

    def __init__(self, file: Path) -> None:
        self._file = file.open("w", encoding="utf-8")
        self._writing = threading.Lock()
        self.last = ""

    def write(self, text: str) -> None:
        with self._writing:
            if text and not self._file.closed:
                self.last = text[-300:]
                self._file.write(text + "\n")
                self._file.flush()

    def close(self) -> None:
        with self._writing:
            self._file.close()


def _hear(lines: IO[str], tell: Tell, log: _Log) -> dict[str, Any]:
    """What the step's process said last, its result; what it tells on the way goes to `tell`."""
    result: dict[str, Any] = {}
    for line in lines:
        with contextlib.suppress(ValueError):
            said = json.loads(line)
            if "progress" in said:
                progress = Progress(**said["progress"])
                log.write(progress.text)
                tell(progress)
            else:
                result = said["result"]
    return result


def _hear_chatter(lines: IO[str], tell: Tell, log: _Log) -> None:
    """What libraries print."""
    with lines:
        for line in lines:
            if text := line.rstrip():
                log.write(text)
                tell(Progress(text=text))


def _write_down(run: Run, tell: Tell) -> None:
    """Into the database and into the report, where either can be had: the run's folder has it already."""
    from agent_memory.finetune import report  # which reads the steps above

    if told := register.record(run):
        tell(Progress(text=told))
    try:
        report.write(run)
    except OSError as error:
        tell(Progress(text=f"The report could not be written: {error}"))


def main(argv: Sequence[str]) -> int:
    """The step's own process."""
    folder, function = argv
    module, _, name = function.partition(":")
    # Only we write into the pipe: what libraries print goes where errors go.
    out = os.fdopen(os.dup(1), "w", encoding="utf-8", errors="replace")
    os.dup2(2, 1)
    threading.Thread(target=_end_with_parent, daemon=True).start()

    def say(kind: str, value: dict[str, Any]) -> None:
        out.write(json.dumps({kind: value}, ensure_ascii=False, default=str) + "\n")
        out.flush()

    def tell(progress: Progress) -> None:
        say("progress", dataclasses.asdict(progress))

    try:
        outcome: Outcome = getattr(importlib.import_module(module), name)(runs.load(Path(folder)), tell)
    except AgentMemoryError as error:
        say("result", {"error": error.problem, "remedy": error.remedy, "peak_mb": _peak_mb()})
        return 1
    gates: list[Gate] = outcome.gates
    say(
        "result",
        {"gates": [g.as_dict() for g in gates], "numbers": outcome.numbers, "peak_mb": _peak_mb()},
    )
    return 0


def _end_with_parent() -> None:
    with contextlib.suppress(OSError):
        while os.read(0, 4096):
            pass
    os.killpg(0, signal.SIGTERM)  # us, and what we started
    time.sleep(GRACE_S)
    os.killpg(0, signal.SIGKILL)


def _peak_mb() -> float:
    held = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return round(held / (1 << 20 if sys.platform == "darwin" else 1 << 10), 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
