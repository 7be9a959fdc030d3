"""Start llama.cpp's programs so that they end with us, whatever ends us, and ask no network."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from agent_memory.finetune.gguf.llama import Tool

TAIL_CHARS = 600
"""How much of a log an error quotes."""
END_SECONDS = 10.0
_TETHER = Path(__file__).with_name("tether.py")
_OFFLINE = {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1"}


@contextmanager
def started(
    tool: Tool, arguments: Sequence[str], log: Path, *, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """The program, writing into `log`; it has ended when the block has."""
    with log.open("ab") as out:
        process = subprocess.Popen(
            [sys.executable, "-I", str(_TETHER), *tool.command, *arguments],
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=subprocess.STDOUT,
            env={**os.environ, **_OFFLINE, **(environment or {})},
        )
    assert process.stdin is not None
    try:
        yield process
    finally:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        try:
            process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def run(tool: Tool, arguments: Sequence[str], log: Path) -> str | None:
    """Run the program to its end. Returns None, or the end of what it said where it failed."""
    with started(tool, arguments, log) as process:
        code = process.wait()
    return None if code == 0 else f"it ended with {code}: {tail(log)}"


def tail(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace").strip()[-TAIL_CHARS:]
