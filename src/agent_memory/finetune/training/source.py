"""The data set that is trained on: only one that passed its gates, that nothing was changed in, and of which nothing
was forgotten since."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from agent_memory import settings
from agent_memory.database import migrate, server
from agent_memory.errors import AgentMemoryError
from agent_memory.finetune import dataset
from agent_memory.finetune.index import TRAIN, VALIDATION

_AGAIN = "Make one: agent-memory finetune dataset --out DIR"


def manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a published data set whose files are what it says. Raises AgentMemoryError: they are not, or it
    is in a form that is not for training here."""
    file = folder / dataset.MANIFEST
    try:
        told: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        files = {name: told["files"][name]["sha256"] for name in (f"{TRAIN}.jsonl", f"{VALIDATION}.jsonl")}
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
    for name, sha256 in files.items():
        try:
            with (folder / name).open("rb") as content:
                found = hashlib.file_digest(content, "sha256").hexdigest()
        except OSError as error:
            raise AgentMemoryError(f"{folder / name} cannot be read: {error}", _AGAIN) from error
        if found != sha256:
            raise AgentMemoryError(
                f"{folder / name} is not what its manifest says: it was changed after the gates had passed it.",
                _AGAIN,
            )
    return told


def registered(folder: Path) -> None:
    """Raises AgentMemoryError: the register does not know this data set, or something in it was forgotten since."""
    with server.connect(server.conninfo(settings.load())) as conn:
        migrate.migrate(conn)
        known = dataset.state_of(conn, folder)
    if known is None:
        raise AgentMemoryError(
            f"The data set {folder} is not in the register: nobody knows whether it passed its gates.", _AGAIN
        )
    if known["stale_since"]:
        raise AgentMemoryError(
            f"The data set {folder} holds what was forgotten on {known['stale_since']:%Y-%m-%d %H:%M}.",
            "Make it anew, and delete the old files: agent-memory finetune dataset --out DIR",
        )


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
