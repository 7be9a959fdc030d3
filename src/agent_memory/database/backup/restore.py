"""Prove a backup, and bring one back.

Either way it is restored into a new database and compared with its manifest. To bring it back, that database is then
migrated and takes the old one's name, in one step: whatever goes wrong before, and whoever is killed when, the old one
stays as it was; afterwards it is in the backup that was made of it first.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from agent_memory.database import Connection, migrate, server
from agent_memory.database.backup import archive, fingerprint, make, programs, scratch
from agent_memory.database.backup.archive import Backup
from agent_memory.errors import AgentMemoryError

LOCK_WAIT = "30s"

Say = Callable[[str], None]
"""Is told, in a few words, what is being done now."""
Carry = Callable[[Connection, Connection], None]
"""Brings over from the old database (first) what must hold in the restored one (second), such as what was forgotten
since. It commits nothing."""


def nothing(old: Connection, new: Connection) -> None:
    """Carry nothing over."""


@dataclass(frozen=True, slots=True)
class Restored:
    backup: Backup
    before: Backup | None
    """The backup of what was there before; None where nothing was."""
    migrations: list[str]
    """What was applied, since the backup was older than this program."""


def verify(conninfo: str, backup: Backup) -> Backup:
    """Restore a backup into a scratch database and compare; the backup with its new `verified_at`.

    The caller holds `archive.lock`. What is wrong with the backup stands in its `verify_problem`; AgentMemoryError: it
    could not be tried.
    """
    problem = None
    try:
        database = _check(conninfo, backup)
        with _restored(conninfo, backup, database):
            pass
    except _BrokenError as error:
        problem = error.reason
    return archive.record_verified(backup, problem)


def restore(conninfo: str, backup: Backup, carry: Carry, say: Say) -> Restored:
    """Put a backup in the place of the database. The caller holds `archive.lock` and has the service stand still.

    AgentMemoryError: the backup is newer than this program or broken, the database is not ours alone, there is no room
    for both. Then nothing was changed.
    """
    say("checking the backup")
    database = _check(conninfo, backup)
    _refuse_others(conninfo)
    with _standing_still(conninfo) as (old, version):
        before = None
        if version is not None:
            say("backing up what is there now")
            before = make.backup(conninfo, "before-restore")
        say("restoring beside it, and comparing")
        with _restored(conninfo, backup, database) as name:
            with server.connect(make_conninfo(conninfo, dbname=name)) as new:
                migrations = migrate.migrate(new)
                if version is not None:
                    carry(old, new)
                new.commit()
                new.autocommit = True
                new.execute("analyze")  # a dump brings no statistics
            say("taking its place")
            gone = scratch.swap(conninfo, database, name, old.info.backend_pid)
            with contextlib.suppress(psycopg.Error), scratch.administration(conninfo) as admin:
                scratch.drop(admin, gone)  # where that fails, the next backup does it
    archive.prune()  # only now: the chosen one may have been the oldest of its kind
    return Restored(backup, before, migrations)


class _BrokenError(AgentMemoryError):
    """The backup itself is broken."""

    def __init__(self, backup: Backup, problem: str) -> None:
        super().__init__(
            f"The backup {backup.name} is broken: {problem}.", "Take another one: agent-memory backup list"
        )
        self.reason = problem


def _check(conninfo: str, backup: Backup) -> str:
    """The name of the database. AgentMemoryError where this program cannot restore this backup on this server."""
    if backup.schema_version > migrate.newest():
        raise AgentMemoryError(
            f"The backup {backup.name} was made by a newer agent-memory ({backup.agent_memory}).",
            "Upgrade this one: pip install --upgrade agent-memory.",
            status=409,
        )
    with server.connect(conninfo) as conn:
        major = conn.info.server_version // 10_000
        if int(backup.postgres.split(".")[0]) > major:
            raise AgentMemoryError(
                f"The backup {backup.name} is of Postgres {backup.postgres}; this server is Postgres {major}.",
                "Restore it on a server that is as new, or on the embedded one (unset DATABASE_URL, POSTGRES_HOST).",
                status=409,
            )
        database = conn.info.dbname
    try:
        with backup.dump.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise _BrokenError(backup, f"its dump cannot be read ({error.strerror})") from None
    if sha256 != backup.sha256:
        raise _BrokenError(backup, "its dump is not the file that was written")
    return database


def _refuse_others(conninfo: str) -> None:
    with server.connect(conninfo) as conn:
        if others := make.foreign_tables(conn):
            raise AgentMemoryError(
                f"The database {conn.info.dbname} also holds tables that are not ours ({', '.join(others[:3])}), and"
                " a restore replaces all of it.",
                "Make a database for agent-memory alone, name it in DATABASE_URL, and restore there.",
                status=409,
            )


@contextlib.contextmanager
def _standing_still(conninfo: str) -> Iterator[tuple[Connection, int | None]]:
    """A connection to the database that keeps others from writing, and the database's schema version.

    It goes with its holder, so a killed restore locks nobody out.
    """
    with contextlib.closing(server.connect(conninfo)) as conn:
        version = make.schema_version(conn)
        if version is not None:
            names = sql.SQL(", ").join(map(sql.Identifier, fingerprint.names(conn)))
            try:
                conn.execute(sql.SQL("set local lock_timeout = {}").format(LOCK_WAIT))
                conn.execute(sql.SQL("lock table {} in share mode").format(names))
            except psycopg.errors.LockNotAvailable:
                raise AgentMemoryError(
                    f"Another program has been writing to the database for {LOCK_WAIT}.",
                    "Wait until it is done (an import? a reindex?), then try again.",
                    status=409,
                ) from None
        yield conn, version


@contextlib.contextmanager
def _restored(conninfo: str, backup: Backup, database: str) -> Iterator[str]:
    """The name of a new database with the backup's contents, compared with its manifest; dropped at the end unless it
    has another name then."""
    scratch.clear(conninfo, database)
    with scratch.administration(conninfo) as admin:
        name = scratch.create(admin, database)
    try:
        target = make_conninfo(conninfo, dbname=name)
        with server.connect(target) as conn:
            migrate.require_vector(conn)  # a dump of a database that is not ours alone does not make it
            major = conn.info.server_version // 10_000
        arguments = ("--no-owner", "--no-privileges", "--no-comments", "--exit-on-error", backup.dump)
        said = programs.run(programs.folder(conninfo, major) / "pg_restore", target, *arguments)
        if said.returncode:
            raise _failed(backup, said.stderr)
        with server.connect(target) as conn:
            wrong = fingerprint.differences(backup.tables, fingerprint.tables(conn))
        if wrong:
            raise _BrokenError(backup, "; ".join(wrong))
        yield name
    except psycopg.errors.DiskFull as error:
        raise _no_room(backup) from error
    finally:
        with contextlib.suppress(psycopg.Error), scratch.administration(conninfo) as admin:
            scratch.drop(admin, name)


def _failed(backup: Backup, said: str) -> AgentMemoryError:
    if "No space left on device" in said or "Disk quota exceeded" in said:
        return _no_room(backup)
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return _BrokenError(backup, " | ".join(lines[-3:]) or "pg_restore gave no reason")


def _no_room(backup: Backup) -> AgentMemoryError:
    return AgentMemoryError(
        f"There is no room on the database's disk for what is in {backup.name} beside what is there now.",
        "Make room, then try again; nothing was changed.",
        status=507,
    )
