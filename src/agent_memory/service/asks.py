"""Which events the hooks ask the service about. The hook reads the file at every event, so it holds no more than is
needed, and is gone where the service has nothing to say."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from agent_memory import paths


@dataclass(frozen=True, slots=True)
class Ask:
    event: str
    milliseconds: int
    """How long the hook waits for the answer."""
    tools: tuple[str, ...] = ()
    """Tools' names, or beginnings of names with `*`. Empty: whatever the tool, or none."""


def write(asks: Sequence[Ask]) -> None:
    """Say what is to be asked from now on."""
    text = "".join(f"{' '.join((ask.event, str(ask.milliseconds), *ask.tools))}\n" for ask in asks)
    if not text:
        paths.asks().unlink(missing_ok=True)
        return
    draft = paths.asks().with_suffix(".new")
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="ascii") as file:
        file.write(text)
    draft.rename(paths.asks())
