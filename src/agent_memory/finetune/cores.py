"""How many of the machine's cores are idle."""

from __future__ import annotations

import psutil

LOOKED_S = 1.0


def idle() -> int:
    """How many cores nobody uses, at least one. Threads of one computation wait for each other: one that waits for a
    core holds up all of them. Looked at for a second: the load average has our own step before in it."""
    cores = psutil.cpu_count(logical=False) or 1
    used = sum(psutil.cpu_percent(interval=LOOKED_S, percpu=True)) / 100
    return max(1, round(cores - used))
