"""llama.cpp's converters, fetched once into a cache folder that outlives the test run."""

from __future__ import annotations

import fcntl
from pathlib import Path

import pytest

from agent_memory import paths
from agent_memory.finetune.gguf import llama
from tests.e2e.npm import CACHE


def into(home: Path) -> None:
    """Let this home have them."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock, pytest.MonkeyPatch.context() as patch:
        fcntl.flock(lock, fcntl.LOCK_EX)
        patch.setenv("AGENT_MEMORY_HOME", str(CACHE / "home"))
        if llama.lacks_converter():
            llama.fetch()
        fetched = paths.tools()
    paths.make_private(home)
    paths.tools().symlink_to(fetched)
