"""The configuration as fields of a form: what its YAML template says, line by line."""

from __future__ import annotations

import re
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ValidationError

from agent_memory.finetune.config import TEMPLATE, TrainConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    line: str
    """Such as `lora.rank`."""
    help: str
    choices: tuple[Any, ...] = ()
    """All there are; else it is a text."""

    @property
    def part(self) -> str:
        return self.line.partition(".")[0] if "." in self.line else ""


def fields() -> list[Field]:
    """In the template's order."""
    helps = dict(_helps())
    found = []
    for name, told in TrainConfig.model_fields.items():
        kind = told.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            for inner, one in kind.model_fields.items():
                line = f"{name}.{inner}"
                found.append(Field(line=line, help=helps.get(line, ""), choices=_choices(one.annotation)))
        else:
            found.append(Field(line=name, help=helps.get(name, "")))
    return found


def _choices(kind: Any) -> tuple[Any, ...]:
    if kind is bool:
        return (True, False)
    return typing.get_args(kind) if typing.get_origin(kind) is Literal else ()


def _helps() -> Iterator[tuple[str, str]]:
    part = ""
    for line in TEMPLATE.splitlines():
        told = re.match(r"( *)([a-z_]+):[^#]*(?:# (.*))?$", line)
        if told:
            indent, name, comment = told.groups()
            part = part if indent else name
            yield f"{part}.{name}" if indent else name, (comment or "").replace("null:", "empty:")


def shown(config: TrainConfig) -> dict[str, str]:
    """Each line's value as a person types it."""
    found: dict[str, str] = {}
    for name, told in config.model_dump(mode="json").items():
        if isinstance(told, dict):
            found |= {f"{name}.{inner}": _text(value) for inner, value in told.items()}
        else:
            found[name] = _text(told)
    return found


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def read(given: Mapping[str, str]) -> tuple[TrainConfig | None, dict[str, str]]:
    """The configuration that was typed, or None and what is wrong, by line."""
    told: dict[str, Any] = {}
    wrong: dict[str, str] = {}
    for line, text in given.items():
        part, _, name = line.rpartition(".")
        try:
            value = _value(line, text.strip())
        except yaml.YAMLError:
            wrong[line] = "cannot be read"
            continue
        (told.setdefault(part, {}) if part else told)[name] = value
    if wrong:
        return None, wrong
    try:
        return TrainConfig.model_validate(told), {}
    except ValidationError as error:
        for one in error.errors():
            wrong.setdefault(".".join(map(str, one["loc"][:2])), str(one["msg"]))
        return None, wrong


def _value(line: str, text: str) -> Any:
    if line == "gguf.quantizations":
        return [one.strip() for one in text.strip("[]").split(",") if one.strip()]
    if not text:
        return None
    # What is a name stays one, also where YAML would see a number in it.
    return (
        text if line in ("name", "base.model", "base.template", "install.publisher") else yaml.safe_load(text)
    )
