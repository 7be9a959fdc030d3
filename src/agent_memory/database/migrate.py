"""Bring a database to this program's schema: numbered SQL files, each applied once, in order.

An applied file is never edited: its checksum is kept in `mem_schema_migrations` and compared at every start.
What changes comes as a new file.
"""

from __future__ import annotations

import functools
import hashlib
import re
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable

import psycopg

from agent_memory.database import Connection
from agent_memory.errors import AgentMemoryError

FOLDER = resources.files("agent_memory.database") / "migrations"
LOCK = 0x6D656D5F
"""The advisory lock ("mem_"): two programs that start at once migrate one after the other, and nobody writes to the
journal meanwhile. It is a transaction's: behind a pooler a session's lock would stay with some connection of its."""
OLDEST_PGVECTOR = (0, 7)  # the first with halfvec

LEDGER = """\
create table if not exists mem_schema_migrations (
    version integer primary key,
    name text not null,
    checksum text not null,          -- sha256 of the file
    applied_at timestamptz not null default now()
)"""


class NewerSchemaError(AgentMemoryError):
    """A newer program has migrated the database. Nothing is written to it; what the hooks record waits in the spool."""

    def __init__(self, migration: str) -> None:
        super().__init__(
            f"The database was migrated by a newer agent-memory: {migration} is not known here.",
            "Upgrade this one: pip install --upgrade agent-memory.",
            status=503,
        )


@dataclass(frozen=True)
class Migration:
    """One file `NNNN_name.sql`."""

    version: int
    name: str
    sql: bytes

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.sql).hexdigest()


def migrate(conn: Connection, folder: Traversable = FOLDER) -> list[str]:
    """Apply what is missing, and return the names of what was applied, such as `0001_journal`.

    Unlike the functions of a store it owns its transactions, one for each file: `conn` must be outside of
    any. A file that fails leaves nothing of itself behind; those before it stay. Raises AgentMemoryError
    where pgvector is missing or too old, where an applied file was edited, and NewerSchemaError where a newer
    program has migrated the database.
    """
    migrations = _read(folder)
    with conn.transaction():
        if _has_ledger(conn) and not _pending(conn, migrations):
            return []  # without the lock: others may be writing for a while
    applied: list[str] = []
    while True:
        with conn.transaction():
            conn.execute("select pg_advisory_xact_lock(%s)", (LOCK,))
            if not applied:
                require_vector(conn)
                conn.execute(LEDGER)
            pending = _pending(conn, migrations)
            if not pending:
                return applied
            migration = pending[0]
            conn.execute(migration.sql)  # without parameters it may hold many statements, and any %
            conn.execute(
                "insert into mem_schema_migrations (version, name, checksum) values (%s, %s, %s)",
                (migration.version, migration.name, migration.checksum),
            )
        applied.append(migration.name)


def refuse_newer(conn: Connection) -> None:
    """Raise NewerSchemaError where a newer program has migrated the database, as another machine's may at any time:
    what this one writes may not fit there. The caller holds LOCK, shared, until its transaction ends."""
    name = newer(conn)
    if name is not None:
        raise NewerSchemaError(name)


def newer(conn: Connection) -> str | None:
    """The last migration of this database, where this program does not know it."""
    row = conn.execute(
        "select name from mem_schema_migrations where version > %s order by version desc limit 1", (newest(),)
    ).fetchone()
    return str(row["name"]) if row else None


def state(conn: Connection, folder: Traversable = FOLDER) -> tuple[list[str], str | None]:
    """The migrations that this database lacks, and one that only a newer program knows. Changes nothing."""
    ours = {migration.version: migration.name for migration in _read(folder)}
    if not _has_ledger(conn):
        return list(ours.values()), None
    rows = conn.execute("select version, name from mem_schema_migrations order by version").fetchall()
    applied = {row["version"]: row["name"] for row in rows}
    newer = [name for version, name in applied.items() if version not in ours]
    return [name for version, name in ours.items() if version not in applied], newer[-1] if newer else None


def _has_ledger(conn: Connection) -> bool:
    there = conn.execute("select to_regclass('mem_schema_migrations') is not null as yes").fetchone()
    return bool(there and there["yes"])


def _pending(conn: Connection, migrations: list[Migration]) -> list[Migration]:
    """The migrations that the database lacks. Raises AgentMemoryError where its past is not ours, NewerSchemaError
    where it is further than this program."""
    rows = conn.execute(
        "select version, name, checksum from mem_schema_migrations order by version"
    ).fetchall()
    ours = {migration.version: migration for migration in migrations}
    for row in rows:
        known = ours.pop(row["version"], None)
        if known is None:
            raise NewerSchemaError(row["name"])
        if known.checksum != row["checksum"]:
            raise AgentMemoryError(
                f"The migration {known.name} was edited after it was applied to this database.",
                "Reinstall agent-memory. A change of the schema goes into a new file.",
            )
    return list(ours.values())


def _read(folder: Traversable) -> list[Migration]:
    """The migrations in their order, numbered from 1 without a gap."""
    migrations = []
    files = sorted(
        (file for file in folder.iterdir() if file.name.endswith(".sql")), key=lambda file: file.name
    )
    for expected, file in enumerate(sorted(files, key=lambda file: file.name), start=1):
        match = re.fullmatch(r"(\d{4})_\w+\.sql", file.name)
        if match is None or int(match[1]) != expected:
            raise AgentMemoryError(
                f"The migrations of this program are broken: {file.name} stands where {expected:04d} should.",
                "Reinstall agent-memory.",
            )
        migrations.append(Migration(expected, file.name.removesuffix(".sql"), file.read_bytes()))
    return migrations


@functools.cache
def newest(folder: Traversable = FOLDER) -> int:
    """The number of this program's last migration."""
    return _read(folder)[-1].version


def require_vector(conn: Connection) -> None:
    """Make the extension vector where it is missing. AgentMemoryError where the server does not have it, or an old
    one."""
    install = f"Install pgvector {'.'.join(map(str, OLDEST_PGVECTOR))} or newer on this server"
    try:
        conn.execute("create extension if not exists vector")
    except (psycopg.errors.FeatureNotSupported, psycopg.errors.UndefinedFile) as error:
        raise AgentMemoryError(
            "The database server does not have the extension vector (pgvector).",
            f"{install}: https://github.com/pgvector/pgvector#installation. Or unset DATABASE_URL and "
            "POSTGRES_HOST: the embedded server has it.",
        ) from error
    except psycopg.errors.InsufficientPrivilege as error:
        raise AgentMemoryError(
            f"The user {conn.info.user} may not create the extension vector in {conn.info.dbname}.",
            "Let an administrator of that database run there, once: CREATE EXTENSION vector;",
        ) from error
    row = conn.execute("select extversion from pg_extension where extname = 'vector'").fetchone()
    version = str(row["extversion"]) if row else ""
    if tuple(map(int, re.findall(r"\d+", version)[:2])) < OLDEST_PGVECTOR:
        raise AgentMemoryError(
            f"The extension vector is {version} in the database {conn.info.dbname}, which is too old.",
            f"{install}, and run in that database: ALTER EXTENSION vector UPDATE;",
        )
