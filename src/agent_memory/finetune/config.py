"""What a training run is to do: one YAML file, commented (`TEMPLATE`), every line of which may be left out."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from agent_memory.errors import AgentMemoryError

Quantization = Literal["Q4_K_M", "Q5_K_M", "Q6_K", "Q8_0", "F16"]

TEMPLATE = """\
# What to train, on what, and how. Every line may be left out: but for `base.model`, what stands here is the default.
name: my-model              # of the run, its folder and the model: letters, digits, dot, - and _

base:
  model: ~/models/base      # a folder in Hugging Face's format, a .gguf file, or a name on the Hugging Face hub
  template: keep            # the chat template: the model's own, or one of TRL's, such as qwen2_5

data:
  folder: null              # a data set that was published; null: make one of the recorded sessions
  project: null             # then: only this project's, by folder, git remote or id
  agent: null               # only this agent's, such as claude
  since: null               # only what happened from this day on, such as 2026-09-01
  success_only: false       # only turns that ended with words and whose last call went well

lora:
  rank: 16
  alpha: 32
  dropout: 0.0
  train_tags: auto          # also train the tokens of a call's tags; auto: if the base never learned them

training:
  epochs: 2
  context: 4096             # a row's budget, in tokens of the base's tokenizer
  yarn: null                # stretch the base's context by this factor (YaRN), such as 2.0
  batch: 1                  # rows at once on a device
  accumulate: 8             # batches to a step
  learning_rate: 0.0002
  device: auto              # cpu, mps, cuda; auto: the best there is
  dtype: auto               # bfloat16, float16, float32; auto: what the device is quick with
  save_every: 50            # steps between checkpoints, from which a run goes on
  seed: 0

smoke:                      # a short training in front of the long one, through the same gates
  rows: 200
  epochs: 1

evaluation:
  questions: 100            # held-out places at which a call is due; a quarter as many where words are come on top
  max_new_tokens: 256

gguf:
  quantizations: [Q4_K_M]   # of Q4_K_M, Q5_K_M, Q6_K, Q8_0, F16
  adapter: false            # also the adapter alone, for a base that is there as GGUF already

install:
  publisher: agent-memory   # the folder in LM Studio's models
"""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Base(_Part):
    model: str = Field(min_length=1)
    template: str = "keep"

    @property
    def path(self) -> Path | None:
        """Where it lies on this machine, or None: a name on the hub."""
        path = Path(self.model).expanduser()
        return path if path.exists() or path.is_absolute() or self.model.startswith((".", "~")) else None


class Data(_Part):
    folder: Path | None = None
    project: str | None = None
    agent: str | None = None
    since: datetime | None = None
    success_only: bool = False

    @field_validator("project", mode="before")
    @classmethod
    def _number(cls, given: object) -> object:
        return str(given) if isinstance(given, int) else given


class Lora(_Part):
    rank: int = Field(default=16, ge=1)
    alpha: int = Field(default=32, ge=1)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    train_tags: Literal["auto", True, False] = "auto"


class Training(_Part):
    epochs: float = Field(default=2, gt=0)
    context: int = Field(default=4_096, ge=256)
    yarn: float | None = Field(default=None, gt=1)
    batch: int = Field(default=1, ge=1)
    accumulate: int = Field(default=8, ge=1)
    learning_rate: float = Field(default=2e-4, gt=0)
    device: Literal["auto", "cpu", "mps", "cuda"] = "auto"
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = "auto"
    save_every: int = Field(default=50, ge=1)
    seed: int = 0


class Smoke(_Part):
    rows: int = Field(default=200, ge=1)
    epochs: float = Field(default=1, gt=0)


class Evaluation(_Part):
    questions: int = Field(default=100, ge=1)
    max_new_tokens: int = Field(default=256, ge=16)


class Gguf(_Part):
    quantizations: Annotated[tuple[Quantization, ...], Field(min_length=1)] = ("Q4_K_M",)
    adapter: bool = False


class Install(_Part):
    publisher: str = "agent-memory"

    @field_validator("publisher")
    @classmethod
    def _folder(cls, given: str) -> str:
        return _name(given)


class TrainConfig(_Part):
    name: str = "my-model"
    base: Base
    data: Data = Data()
    lora: Lora = Lora()
    training: Training = Training()
    smoke: Smoke = Smoke()
    evaluation: Evaluation = Evaluation()
    gguf: Gguf = Gguf()
    install: Install = Install()

    @field_validator("name")
    @classmethod
    def _folder(cls, given: str) -> str:
        return _name(given)


def _name(given: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}", given):
        raise ValueError("letters, digits, dot, - and _ only, beginning with a letter or a digit")
    return given


def parse(text: str, *, called: str) -> TrainConfig:
    """A configuration from YAML. Raises AgentMemoryError that names each line at fault; `called` is the file's
    name for the error."""
    try:
        return TrainConfig.model_validate(yaml.safe_load(text) or {})
    except yaml.YAMLError as error:
        raise AgentMemoryError(f"{called} is not YAML: {error}", "Mend it there.") from error
    except ValidationError as error:
        wrong = "\n".join(
            f"  {'.'.join(map(str, e['loc'])) or 'the file'}: {e['msg']}" for e in error.errors()
        )
        raise AgentMemoryError(
            f"{called} does not fit:\n{wrong}",
            "See what may stand there: agent-memory finetune config",
        ) from error


def load(file: Path) -> TrainConfig:
    """Raises AgentMemoryError: not there, not readable, or misshapen."""
    try:
        text = file.expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise AgentMemoryError(
            f"{file} cannot be read: {error}", "Write one: agent-memory finetune config > train_config.yaml"
        ) from error
    return parse(text, called=str(file))


def dump(config: TrainConfig) -> str:
    """The configuration as YAML, all of it."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def differences(one: TrainConfig, other: TrainConfig) -> dict[str, tuple[Any, Any]]:
    """The lines in which two configurations differ, such as `lora.rank`, with both values."""
    here, there = _lines(one.model_dump(mode="json")), _lines(other.model_dump(mode="json"))
    return {name: (here[name], there[name]) for name in here if here[name] != there[name]}


def _lines(parts: dict[str, Any]) -> dict[str, Any]:
    return {
        f"{part}.{name}" if name else part: value
        for part, told in parts.items()
        for name, value in (told.items() if isinstance(told, dict) else [("", told)])
    }
