"""The data set that is trained on: only one that passed its gates and that nothing was changed in. Whether something of
it was forgotten since is asked before each step, by `register`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from agent_memory.errors import AgentMemoryError
from agent_memory.finetune import dataset
from agent_memory.finetune.index import TRAIN

_AGAIN = "Make one: agent-memory finetune dataset --out DIR"


def manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a published data set whose files are what it says. Raises AgentMemoryError: they are not, or it
    is in a form that is not for training here."""
    file = folder / dataset.MANIFEST
    try:
        told: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        form, passed = told["format"], all(gate["passed"] for gate in told["gates"])
    except FileNotFoundError as error:
        raise AgentMemoryError(f"{folder} is no data set: it has no {dataset.MANIFEST}.", _AGAIN) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AgentMemoryError(f"{file} cannot be read: {error!r}", _AGAIN) from error
    if not passed:
        raise AgentMemoryError(f"{folder} did not pass its gates.", _AGAIN)
    if form != "trl":
        raise AgentMemoryError(
            f"{folder} is in the form {form}, which other trainers read.",
            "Train on one in the form trl, the default: agent-memory finetune dataset --out DIR",
        )
    if changed := dataset.changed_files(folder):
        raise AgentMemoryError(
            f"{folder} is not what its manifest says: {', '.join(changed)} changed after the gates had passed it.",
            _AGAIN,
        )
    return told


def rows(folder: Path, part: str = TRAIN) -> Iterator[dict[str, Any]]:
    with (folder / f"{part}.jsonl").open(encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def some(folder: Path, wanted: int, part: str = TRAIN) -> Iterator[dict[str, Any]]:
    """`wanted` rows, or all where there are fewer, evenly from beginning to end: sessions come in order of time."""
    with (folder / f"{part}.jsonl").open("rb") as lines:
        count = sum(1 for _ in lines)
    taken = 0
    for number, row in enumerate(rows(folder, part)):
        if number * wanted >= taken * count and taken < wanted:
            taken += 1
            yield row
