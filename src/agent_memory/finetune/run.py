"""A training run: a folder that holds all that it made, and `run.json` there, which says how far it is.

The folder is the truth, since a run may be trained where there is no database; `store.record` copies it into
`mem_training_runs`.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from agent_memory import paths, settings
from agent_memory.errors import AgentMemoryError
from agent_memory.finetune import config as configs
from agent_memory.finetune.config import TrainConfig
from agent_memory.finetune.gates import Gate

State = Literal["running", "passed", "failed", "error", "stopped"]
"""Of a step. failed: a gate. error: it could not be done, `error` says why. stopped: killed, or by the user."""


@dataclass(slots=True)
class StepRecord:
    """What is known of one step of a run."""

    state: State
    began: str
    """ISO 8601, UTC."""
    seconds: float = 0.0
    peak_mb: float = 0.0
    """The most memory that its process held."""
    gates: list[dict[str, Any]] = field(default_factory=list)
    """As `Gate.as_dict`."""
    numbers: dict[str, Any] = field(default_factory=dict)
    """What else it found; JSON."""
    error: str | None = None
    remedy: str | None = None
    """What to do about the error."""


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What a step found. It passed if all of its gates did."""

    gates: list[Gate] = field(default_factory=list)
    numbers: dict[str, Any] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        return all(gate.passed for gate in self.gates)


@dataclass(slots=True, kw_only=True)
class Run:
    folder: Path
    config: TrainConfig
    created: str
    steps: dict[str, StepRecord] = field(default_factory=dict)
    retracted: dict[str, str] | None = None
    """`at` and `because`, where the user has taken it back: nothing of it is used any more."""

    def steps_told(self) -> dict[str, dict[str, Any]]:
        """The steps as JSON."""
        return {name: asdict(step) for name, step in self.steps.items()}

    @property
    def name(self) -> str:
        return self.config.name

    @property
    def data(self) -> Path:
        """The data set: the configured one, or the one that this run made."""
        return self.config.data.folder.expanduser() if self.config.data.folder else self.folder / "data"

    @property
    def base(self) -> Path:
        """The base as a folder in Hugging Face's format, where it had to be made from a .gguf file."""
        return self.folder / "base"

    @property
    def smoke(self) -> Path:
        """What the short training made: the same layout as the run's own folder."""
        return self.folder / "smoke"

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    @property
    def adapter(self) -> Path:
        return self.folder / "adapter"

    @property
    def merged(self) -> Path:
        """The base with the adapter merged into it, in Hugging Face's format."""
        return self.folder / "merged"

    @property
    def metrics(self) -> Path:
        """A line of JSON each step that was logged: step, epoch, loss, …"""
        return self.folder / "metrics.jsonl"

    @property
    def evaluation(self) -> Path:
        """Folder of what base and tuned model answered, and how it was judged."""
        return self.folder / "evaluation"

    @property
    def logs(self) -> Path:
        """What each step told while it worked, a file a step."""
        return self.folder / "logs"

    @property
    def report(self) -> Path:
        """The page to read; `report.json` beside it is for programs."""
        return self.folder / "report.html"

    @property
    def models(self) -> Path:
        """Where its GGUF files lie."""
        return (settings.load().agent_memory_models_dir or paths.models()).expanduser() / self.name


def begin(config: TrainConfig) -> Run:
    """The run of this configuration: a new one, or the one of this name, to go on with. Raises AgentMemoryError: there
    is one of this name with another configuration."""
    folder = paths.training() / config.name
    if (folder / "run.json").exists():
        run = load(folder)
        if run.config != config:
            raise AgentMemoryError(
                f"There is a run named {config.name} already, with another configuration:"
                f" {', '.join(configs.differences(run.config, config))}.",
                "Give this one another name, or take the new configuration over with --change: what it touches is"
                f" done again. As it was: agent-memory wizard --config {folder / 'config.yaml'}",
            )
        return run
    paths.make_private(folder)
    run = Run(folder=folder, config=config, created=now())
    write_config(run)
    save(run)
    return run


def write_config(run: Run) -> None:
    (run.folder / "config.yaml").write_text(configs.dump(run.config), encoding="utf-8")


def load(folder: Path) -> Run:
    """Raises AgentMemoryError: it is no run's folder.

    A step that says that it runs while nobody holds the run's lock was stopped by the death of who performed it.
    """
    try:
        told = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        steps = {name: StepRecord(**step) for name, step in told["steps"].items()}
        created = str(told["created"])
        retracted = told.get("retracted")
    except FileNotFoundError:
        raise AgentMemoryError(
            f"There is no training run {folder.name!r}.", "agent-memory finetune runs lists them."
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AgentMemoryError(
            f"{folder} is no training run: {error}", "agent-memory finetune runs lists them."
        ) from error
    for step in steps.values():
        if step.state == "running" and not is_locked(folder):
            step.state, step.error = "stopped", "Its process died."
    return Run(
        folder=folder,
        config=configs.load(folder / "config.yaml"),
        created=created,
        steps=steps,
        retracted=retracted,
    )


def find(name: str) -> Run:
    """The run of this name, or in this folder. Raises AgentMemoryError: there is none."""
    folder = Path(name).expanduser()
    return load(folder if (folder / "run.json").exists() else paths.training() / name)


def every() -> list[Run]:
    """All runs of this home, the latest first; folders that are none are passed over."""
    found = []
    for file in paths.training().glob("*/run.json"):
        with contextlib.suppress(AgentMemoryError):
            found.append(load(file.parent))
    return sorted(found, key=lambda run: (run.created, run.name), reverse=True)


@contextlib.contextmanager
def locked(run: Run) -> Iterator[int]:
    """Be the only one who changes this run, and know it as it is now. Yields the lock's file descriptor: whoever
    inherits it holds the lock as well. Raises AgentMemoryError: somebody else does."""
    number = os.open(run.folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        for attempt in range(10):
            try:
                fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if attempt == 9:
                    raise AgentMemoryError(
                        f"Another process is at work on the run {run.name}.",
                        "Wait for it, or stop it there (Ctrl-C). If it was killed, its step ends within seconds.",
                        status=409,
                    ) from None
                time.sleep(0.05)  # it may be somebody who only looks
        known = load(run.folder)
        run.config, run.steps, run.retracted = known.config, known.steps, known.retracted
        for step in run.steps.values():
            if step.state == "running":  # and here it is not: the lock is ours
                step.state, step.error = "stopped", "Its process died."
        yield number
    finally:
        os.close(number)


def is_locked(folder: Path) -> bool:
    try:
        number = os.open(folder / "lock", os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(number, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(number)
    return False


def save(run: Run) -> None:
    """Write `run.json`, whole or not at all."""
    told = {
        "created": run.created,
        "steps": run.steps_told(),
        "retracted": run.retracted,
    }
    with tempfile.NamedTemporaryFile("w", dir=run.folder, delete=False, encoding="utf-8") as draft:
        json.dump(told, draft, indent=2, ensure_ascii=False)
        draft.flush()
        os.fsync(draft.fileno())
    Path(draft.name).replace(run.folder / "run.json")


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
