"""What is well and what is not, in numbers and in sentences."""

from __future__ import annotations

from typing import Any

import psycopg
import psycopg_pool

from agent_memory import __version__
from agent_memory.capture import spool
from agent_memory.observations import queue
from agent_memory.service.state import State

STUCK = 120.0
"""Seconds after which what still waits is stuck."""


def report(state: State) -> dict[str, Any]:
    """The answer of `GET /api/health`. `status` is `ok` exactly when `problems` is empty."""
    backlog = spool.backlog()
    problems = []
    if backlog.bad:
        problems.append(f"{backlog.bad} events could not be read; they lie in spool/bad with the reasons.")
    if backlog.oldest_s > STUCK:
        problems.append(
            f"{backlog.pending} events wait in the spool, the oldest for {backlog.oldest_s:.0f} s."
        )
    try:
        with state.pool.connection(timeout=2) as conn:
            waiting: dict[str, Any] = dict(queue.counts(conn))
        if waiting["failed"]:
            problems.append(f"{waiting['failed']} turns could not be made into memories.")
        if waiting["oldest_s"] > STUCK:
            problems.append(
                f"{waiting['pending']} turns wait for the worker, the oldest for {waiting['oldest_s']:.0f} s."
            )
    except (psycopg.OperationalError, psycopg_pool.PoolTimeout) as error:
        waiting = {"pending": None, "failed": None, "oldest_s": None}
        problems.append(f"The database does not answer ({type(error).__name__}).")
    return {
        "status": "degraded" if problems else "ok",
        "version": __version__,
        "problems": problems,
        "spool": {"pending": backlog.pending, "bad": backlog.bad, "oldest_s": round(backlog.oldest_s, 1)},
        "queue": waiting,
        "worker": state.notes.get("worker_pid"),
    }
