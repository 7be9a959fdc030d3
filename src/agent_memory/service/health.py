"""What is well and what is not with the running service: `agent_memory.health` over what it knows of itself."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any

from agent_memory import __version__
from agent_memory.forgetting import retention
from agent_memory.health import look, rules
from agent_memory.lessons import store as lessons
from agent_memory.service.state import State

THREADS = ("spool", "sessions")


def report(state: State) -> dict[str, Any]:
    """The answer of `GET /api/health`. `status` is `ok` exactly when `problems` is empty; `findings` say what to do."""
    uptime = time.monotonic() - state.started
    own: dict[str, Any] = {
        "uptime_s": uptime,
        "embedder_error": state.notes.get("embedder"),
        "deaf": tuple(state.notes.get("deaf", ())),
    }
    kept: dict[str, Any] | None = None
    learnt: dict[str, int] | None = None
    try:
        with state.pool.connection(timeout=2) as conn:
            own |= look.at_database(conn)
            if own["newer_migration"]:
                state.notes["newer"] = own["newer_migration"]
            else:
                state.notes.pop("newer", None)
            kept = retention.report(conn, state.settings)
            learnt = lessons.by_status(conn)
        own["threads"] = tuple(name for name in THREADS if name in state.notes)
    except look.AWAY as error:
        own["database_error"] = type(error).__name__
    facts = look.at_home(**own)
    found = rules.findings(facts, rules.CHEAP)
    problems = [finding.problem for finding in found if finding.level == "problem"]
    backlog, queue, newest = facts.backlog, facts.queue, facts.backups.newest
    return {
        "status": "degraded" if problems else "ok",
        "version": __version__,
        "uptime_s": round(uptime, 1),
        "problems": problems,
        "findings": [asdict(finding) for finding in found],
        "spool": {"pending": backlog.pending, "bad": backlog.bad, "oldest_s": round(backlog.oldest_s, 1)},
        "queue": asdict(queue)
        if queue
        else {"pending": None, "failed": None, "oldest_s": None, "unembedded": None},
        "backup": {"newest": newest, "each_night": facts.backups.scheduled is not None},
        "retention": kept,
        "lessons": learnt,
        "worker": state.notes.get("worker_pid"),
    }
