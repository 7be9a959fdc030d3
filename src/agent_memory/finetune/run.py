"""A training run: a folder that holds all that it made, and `run.json` there, which says how far it is.

The folder is the truth, since a run may be trained where there is no database; `store.record` copies it into
`mem_training_runs`.
"""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import dataclass, field
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
                f"There is a run named {config.name} already, with another configuration.",
                "Give this one another name, or go on with that one:"
                f" agent-memory wizard --config {folder / 'config.yaml'}",
            )
        return run
    paths.make_private(folder)
    (folder / "config.yaml").write_text(configs.dump(config), encoding="utf-8")
    run = Run(folder=folder, config=config, created=now())
    save(run)
    return run


def load(folder: Path) -> Run:
    """Raises AgentMemoryError: it is no run's folder."""
    try:
        told = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        steps = {name: StepRecord(**step) for name, step in told["steps"].items()}
        created = str(told["created"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AgentMemoryError(
            f"{folder} is no training run: {error}", "agent-memory finetune runs lists them."
        ) from error
    return Run(folder=folder, config=configs.load(folder / "config.yaml"), created=created, steps=steps)


def find(name: str) -> Run:
    """The run of this name, or in this folder. Raises AgentMemoryError: there is none."""
    folder = Path(name).expanduser()
    return load(folder if (folder / "run.json").exists() else paths.training() / name)


def save(run: Run) -> None:
    """Write `run.json`, whole or not at all."""
    told = {
        "created": run.created,
        "steps": {name: _as_dict(step) for name, step in run.steps.items()},
    }
    with tempfile.NamedTemporaryFile("w", dir=run.folder, delete=False, encoding="utf-8") as draft:
        json.dump(told, draft, indent=2, ensure_ascii=False)
        draft.flush()
        os.fsync(draft.fileno())
    Path(draft.name).replace(run.folder / "run.json")


def _as_dict(step: StepRecord) -> dict[str, Any]:
    return {name: getattr(step, name) for name in StepRecord.__slots__}


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
