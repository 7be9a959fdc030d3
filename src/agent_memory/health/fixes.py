"""What `agent-memory doctor --fix` does: only what loses nothing and may be done twice."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from agent_memory import running, settings
from agent_memory.capture import spool
from agent_memory.database import Connection, migrate, server
from agent_memory.health import store
from agent_memory.health.facts import Facts, Finding
from agent_memory.journal import store as journal
from agent_memory.observations import store as observations


def apply(facts: Facts, findings: Iterable[Finding]) -> list[str]:
    """Do what is safe about these findings. What was done, in words."""
    wanted = dict.fromkeys(finding.fix for finding in findings if finding.fix)
    return [FIXES[name](facts) for name in sorted(wanted, key=list(FIXES).index)]


def _start(facts: Facts) -> str:  # noqa: ARG001
    return f"started the service (process {running.start(adopt=True)})"


def _restart(facts: Facts) -> str:  # noqa: ARG001
    from agent_memory.database import embedded

    running.stop()
    if server.external(settings.load()) is None:
        embedded.stop()
    return f"restarted the service (process {running.start(adopt=True)})"


def _migrate(facts: Facts) -> str:  # noqa: ARG001
    with server.connect(server.conninfo(settings.load())) as conn:
        return f"migrated: {', '.join(migrate.migrate(conn))}"


def _close(facts: Facts) -> str:
    for path in facts.too_open:
        path.chmod(path.stat().st_mode & 0o700)
    return f"closed {', '.join(map(str, facts.too_open))} to other users"


def _retry_events(facts: Facts) -> str:  # noqa: ARG001
    return f"put {spool.retry_bad()} events back into the spool"


def _retry_turns(facts: Facts) -> str:  # noqa: ARG001
    return f"let {_in_database(store.retry_failed)} turns be tried again"


def _cover(facts: Facts) -> str:
    def cover(conn: Connection) -> int:
        if facts.coverage:
            journal.enqueue_turns(conn, facts.coverage.turns)
        bare = observations.get(conn, store.observations_without_chunks(conn))
        observations.index_again(conn, bare)
        return store.embed_missing(conn) + len(bare) + (len(facts.coverage.turns) if facts.coverage else 0)

    return f"let {_in_database(cover)} memories and passages be made"


def _update_vector(facts: Facts) -> str:  # noqa: ARG001
    _in_database(store.update_vector)
    return "updated pgvector in the database"


def _in_database(work: Callable[[Connection], int | None]) -> int | None:
    with server.connect(server.conninfo(settings.load())) as conn:
        return work(conn)


FIXES: dict[str, Callable[[Facts], str]] = {
    "close": _close,
    "migrate": _migrate,
    "update-vector": _update_vector,
    "restart": _restart,
    "start": _start,
    "retry-events": _retry_events,
    "retry-turns": _retry_turns,
    "cover": _cover,
}
"""In the order in which they are done."""
