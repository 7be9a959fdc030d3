"""From where a training goes on: checkpoints, and which of them are whole."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

WHOLE = "whole"
"""The file that says that a checkpoint was written to its end."""


def last_whole(checkpoints: Path) -> Path | None:
    """The last checkpoint that was written to its end; one that was not is removed."""
    found = sorted(checkpoints.glob("checkpoint-*"), key=step_of) if checkpoints.is_dir() else []
    whole = [folder for folder in found if (folder / WHOLE).exists()]
    for folder in found:
        if folder not in whole and os.environ.get("RANK", "0") == "0":
            shutil.rmtree(folder)
    return whole[-1] if whole else None


def step_of(checkpoint: Path | None) -> int:
    return int(checkpoint.name.rpartition("-")[2]) if checkpoint else 0
