"""What is wrong, and what to do: each rule looks at the facts and says what it finds. Nothing is read or changed here.

A sentence of a problem names no path and no text of the user's: `/api/health` shows it to every program of the machine.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from datetime import timedelta

from agent_memory.health.facts import Facts, Finding
from agent_memory.settings import Settings

STUCK_S = 120.0
"""After which what still waits is stuck."""
LEAST_FREE = 500_000_000
"""Bytes. A full disk stops capture, so it is told of before."""
NIGHT = timedelta(hours=26)
"""Between two nightly backups, with room for a change of the clocks and a slow dump."""
UNSAVED = timedelta(days=7)
"""How long somebody may use this without a backup before it is said."""
AHEAD = timedelta(minutes=10)
CLOCK_S = 60.0

Rule = Callable[[Facts], Iterator[Finding]]


def service(facts: Facts) -> Iterator[Finding]:
    if facts.service_answers is None:
        return
    if facts.service_pid is None:
        yield Finding(
            "service",
            "problem",
            "The service does not run; what agents do waits in the spool.",
            "Start it: agent-memory up --detach",
            "start",
        )
    elif not facts.service_answers:
        yield Finding(
            "service",
            "problem",
            f"The service (process {facts.service_pid}) does not answer. A restore may be under way.",
            "Wait a minute; then: agent-memory down, agent-memory up --detach",
        )


def settings(facts: Facts) -> Iterator[Finding]:
    for name in facts.unknown_settings:
        near = difflib.get_close_matches(name, Settings.model_fields, n=1)
        yield Finding(
            "settings",
            "advice",
            f"{name} is no setting, and is passed over.",
            f"Do you mean {near[0]}?" if near else "docs/settings.md lists all of them.",
        )


def spool(facts: Facts) -> Iterator[Finding]:
    backlog = facts.backlog
    if backlog.bad:
        yield Finding(
            "spool",
            "problem",
            f"{backlog.bad} events could not be read; they lie in spool/bad with the reasons.",
            "After an upgrade agent-memory doctor --fix may read them. Else delete them there.",
            "retry-events",
        )
    if backlog.oldest_s > STUCK_S:
        yield Finding(
            "spool",
            "problem",
            f"{backlog.pending} events wait in the spool, the oldest for {_long(backlog.oldest_s)}.",
            "See logs/service.log in the home; restart the service: agent-memory down, agent-memory up --detach",
        )


def database(facts: Facts) -> Iterator[Finding]:
    if facts.database_error:
        yield Finding(
            "database",
            "problem",
            f"The database does not answer ({facts.database_error}).",
            "It is tried again all the time; see logs/postgres.log in the home, or start your own Postgres.",
        )


def schema(facts: Facts) -> Iterator[Finding]:
    newer = facts.newer_migration or (facts.versions.newer_migration if facts.versions else None)
    if newer:
        yield Finding(
            "schema",
            "problem",
            f"The database was migrated by a newer agent-memory ({newer}). This one writes nothing to it; what"
            " agents do waits in the spool.",
            "Upgrade this one: pip install --upgrade agent-memory. Then: agent-memory down, agent-memory up --detach",
        )


def queue(facts: Facts) -> Iterator[Finding]:
    if facts.queue is None:
        return
    if facts.queue.failed:
        yield Finding(
            "queue",
            "problem",
            f"{facts.queue.failed} turns could not be made into memories.",
            "Try them again: agent-memory doctor --fix. The reasons are in logs/worker.log in the home.",
            "retry-turns",
        )
    if facts.queue.oldest_s > STUCK_S:
        yield Finding(
            "queue",
            "problem",
            f"{facts.queue.pending} turns wait for the worker, the oldest for {_long(facts.queue.oldest_s)}.",
            "After an import this is work in progress; else see logs/worker.log in the home.",
        )


def threads(facts: Facts) -> Iterator[Finding]:
    for name in facts.threads:
        yield Finding(
            "service",
            "problem",
            f"The service's part “{name}” fails and is tried again.",
            "The reason is in logs/service.log in the home.",
        )


def embedder(facts: Facts) -> Iterator[Finding]:
    if facts.embedder_error:
        yield Finding(
            "embedder",
            "problem",
            "The embedding model cannot be used; recall goes by words alone.",
            f"{facts.embedder_error}",
        )


def disk(facts: Facts) -> Iterator[Finding]:
    for one in facts.disks:
        if one.free < LEAST_FREE:
            yield Finding(
                "disk",
                "problem",
                f"The disk of {one.what} has only {one.free / 1e6:.0f} MB left.",
                "Make room; when it is full, nothing is recorded.",
            )


def backup(facts: Facts) -> Iterator[Finding]:
    known = facts.backups
    again = "See why, and make one: agent-memory backup now"
    if known.broken:
        yield Finding(
            "backup",
            "problem",
            f"The newest backup ({known.broken}) did not pass its verification.",
            "Make another one: agent-memory backup now",
        )
    if known.failure and (known.newest is None or known.failure.at > known.newest):
        yield Finding("backup", "problem", "The last nightly backup failed.", again)
    elif known.scheduled:
        # A machine that slept, or was off, could not make any: only a day awake without one is a failure.
        awake = facts.uptime_s is not None and facts.uptime_s > timedelta(days=1).total_seconds()
        since = max(known.scheduled.at, known.newest or known.scheduled.at)
        if awake and facts.now - since > NIGHT:
            yield Finding(
                "backup",
                "problem",
                f"The newest backup is {_age(facts)} old, though one is due each night."
                if known.newest
                else "No nightly backup was made yet, though one is due each night.",
                f"Does {known.scheduled.scheduler} run? See: agent-memory backup schedule --check",
            )
    elif facts.newest_event and facts.database_since and facts.now - facts.database_since > UNSAVED:
        if known.newest is None:
            problem = "There is no backup of what is remembered."
        elif facts.now - known.newest > UNSAVED:
            problem = f"The newest backup is {_age(facts)} old."
        else:
            return
        yield Finding("backup", "problem", problem, "Have one made each night: agent-memory backup schedule")


def clock(facts: Facts) -> Iterator[Finding]:
    if facts.newest_event and facts.newest_event - facts.now > AHEAD:
        ahead = _long((facts.newest_event - facts.now).total_seconds())
        yield Finding(
            "clock",
            "problem",
            f"The newest event lies {ahead} in the future: the clock was wrong then, or is now.",
            "Set the machine's clock by the network's time.",
        )
    if abs(facts.clock_off_s) > CLOCK_S:
        yield Finding(
            "clock",
            "problem",
            f"The database's clock is {_long(abs(facts.clock_off_s))} off from this machine's.",
            "Set both clocks by the network's time.",
        )


def versions(facts: Facts) -> Iterator[Finding]:
    known = facts.versions
    if known is None:
        return
    if known.service and known.service != known.ours:
        yield Finding(
            "version",
            "problem",
            f"The running service is version {known.service}; this is {known.ours}.",
            "Restart it: agent-memory down, agent-memory up --detach",
            "restart",
        )
    if known.postgres and known.postgres_installed and known.postgres != known.postgres_installed:
        yield Finding(
            "version",
            "advice",
            f"The running Postgres is {known.postgres}; {known.postgres_installed} is installed.",
            "Restart it: agent-memory down, agent-memory up --detach",
            "restart",
        )
    if known.vector and known.vector_installed and known.vector != known.vector_installed:
        yield Finding(
            "version",
            "advice",
            f"The database uses pgvector {known.vector}; {known.vector_installed} is installed.",
            "In that database: ALTER EXTENSION vector UPDATE;",
            "update-vector",
        )
    if known.pending_migrations and not known.newer_migration:
        yield Finding(
            "schema",
            "problem",
            f"The database lacks {', '.join(known.pending_migrations)}.",
            "agent-memory migrate",
            "migrate",
        )


def hooks(facts: Facts) -> Iterator[Finding]:
    if facts.connected is None:
        return
    for one in facts.connected:
        mend = f"agent-memory connect {one.agent}"
        if one.unreadable:
            yield Finding(
                "hooks", "problem", f"{one.agent}: {one.unreadable}", f"Mend the file, then: {mend}"
            )
        elif one.gone:
            names = ", ".join(map(str, one.gone))
            yield Finding(
                "hooks",
                "problem",
                f"{one.agent}'s hooks or server name {names}, which is not there any more.",
                mend,
            )
        elif not one.current:
            yield Finding(
                "hooks",
                "advice",
                f"{one.agent}'s hooks or server are of another installation, or of an older form.",
                f"Bring them up to date: {mend}",
            )
    if not facts.connected and (
        facts.newest_event is None or facts.now - facts.newest_event > timedelta(days=1)
    ):
        yield Finding("hooks", "advice", "No agent is connected.", "Such as: agent-memory connect claude")


def modes(facts: Facts) -> Iterator[Finding]:
    if facts.too_open:
        names = ", ".join(map(str, facts.too_open))
        yield Finding(
            "permissions",
            "problem",
            f"Other users of this machine can get at {names}.",
            f"chmod go= {names}",
            "close",
        )


def coverage(facts: Facts) -> Iterator[Finding]:
    known = facts.coverage
    if known is None:
        return
    for count, what in (
        (len(known.turns), "turns have no memory"),
        (known.observations, "memories cannot be found by words"),
        (known.chunks, "passages cannot be found by meaning"),
    ):
        if count:
            yield Finding(
                "index",
                "problem",
                f"{count:,} {what}, and nothing is under way.",
                "agent-memory doctor --fix has them made; agent-memory reindex builds all anew.",
                "cover",
            )


def capture(facts: Facts) -> Iterator[Finding]:
    for agent in facts.deaf:
        yield Finding(
            "capture",
            "problem",
            f"The hooks of {agent} told nothing while it worked: what it does is not recorded as it happens.",
            f"Restart {agent}; then: agent-memory connect {agent}. Codex also has to trust the hooks (/hooks).",
        )


def stale_runs(facts: Facts) -> Iterator[Finding]:
    if facts.stale_runs:
        yield Finding(
            "models",
            "advice",
            f"{facts.stale_runs} trained models learned from what was forgotten since, and may know it still.",
            'agent-memory finetune runs lists what; agent-memory finetune retract NAME --because "…" --delete-files'
            " deletes one.",
        )


CHEAP: tuple[Rule, ...] = (
    capture,
    spool,
    database,
    schema,
    queue,
    threads,
    embedder,
    disk,
    backup,
    clock,
    stale_runs,
)
"""What the service looks at by itself."""
ALL: tuple[Rule, ...] = (service, versions, settings, hooks, *CHEAP, coverage, modes)


def findings(facts: Facts, rules: tuple[Rule, ...] = ALL) -> list[Finding]:
    """What is wrong, problems first."""
    found = [finding for rule in rules for finding in rule(facts)]
    return sorted(found, key=lambda finding: finding.level != "problem")


def _age(facts: Facts) -> str:
    assert facts.backups.newest is not None
    return _long((facts.now - facts.backups.newest).total_seconds())


def _long(seconds: float) -> str:
    for size, unit in ((86_400, "days"), (3_600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
