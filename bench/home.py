"""A home of its own for a benchmark, with an embedded server of its own, gone afterwards."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agent_memory import paths
from agent_memory.database import embedded


@contextmanager
def scratch_home() -> Iterator[Path]:
    """Move AGENT_MEMORY_HOME to a new folder, with a free port, for the length of the block."""
    before = {
        name: os.environ.get(name) for name in ("AGENT_MEMORY_HOME", "AGENT_MEMORY_PORT", "DATABASE_URL")
    }
    folder = Path(tempfile.mkdtemp(prefix="am-bench-"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        os.environ["AGENT_MEMORY_PORT"] = str(free.getsockname()[1])
    os.environ["AGENT_MEMORY_HOME"] = str(folder / "home")
    os.environ.pop("DATABASE_URL", None)
    try:
        yield folder / "home"
    finally:
        if paths.postgres().exists():
            embedded.stop()
            shutil.rmtree(paths.postgres().resolve())
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        shutil.rmtree(folder)
