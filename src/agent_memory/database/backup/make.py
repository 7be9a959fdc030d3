"""Make a backup: the dump, and the manifest of what was in it, out of one snapshot of the database."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from agent_memory import __version__, paths
from agent_memory.database import Connection, server
from agent_memory.database.backup import archive, fingerprint, programs, scratch
from agent_memory.database.backup.archive import Backup, Kind
from agent_memory.errors import AgentMemoryError


def backup(conninfo: str, kind: Kind) -> Backup:
    """Make a backup of this database. The caller holds `archive.lock`, and prunes afterwards.

    The database may be written to meanwhile: the backup holds what was committed when it began. AgentMemoryError: there
    is nothing to back up, no fitting pg_dump, no room on the disk; then older backups are as they were.
    """
    paths.make_private(paths.backups())
    made_at = datetime.now(UTC)
    draft = Path(tempfile.mkdtemp(prefix=archive.DRAFT, dir=paths.backups()))
    try:
        with server.connect(conninfo) as conn:
            scratch.clear(conninfo, conn.info.dbname)
            _write(conn, conninfo, kind, made_at, draft)
        target = _free_name(made_at, kind)
        draft.rename(target)
        archive.sync(paths.backups())
    except OSError as error:
        raise _failed(error.strerror or str(error)) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return archive.read(target)


def _write(conn: Connection, conninfo: str, kind: Kind, made_at: datetime, draft: Path) -> None:
    conn.execute("set transaction isolation level repeatable read, read only")
    version = schema_version(conn)
    if version is None:
        raise AgentMemoryError("The database holds no memory yet.", "Start it: agent-memory up --detach")
    row = conn.execute("select pg_export_snapshot() as snapshot").fetchone()
    assert row is not None
    dump = draft / archive.DUMP
    major = conn.info.server_version // 10_000
    # In a database that is the user's for other things, too, only what is ours is our business.
    without = _without(_foreign(conn), conn)
    said = _dump(programs.folder(conninfo, major) / "pg_dump", conninfo, dump, row["snapshot"], without)
    if said.returncode:
        raise _failed(said.stderr)
    tables = fingerprint.tables(conn)
    archive.sync(dump)
    with dump.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    postgres = str(conn.info.parameter_status("server_version")).split()[0]
    made = Backup(draft, kind, made_at, __version__, postgres, version, dump.stat().st_size, sha256, tables)
    archive.write_manifest(made, draft)


def _dump(
    pg_dump: Path, conninfo: str, dump: Path, snapshot: str, without: list[str]
) -> subprocess.CompletedProcess[str]:
    arguments = (
        "--format=custom",
        "--no-owner",
        "--no-privileges",
        "--no-comments",
        f"--snapshot={snapshot}",
        *without,
    )
    for compression in ("zstd", "6"):  # not every build has zstd, and before Postgres 16 none has
        said = programs.run(pg_dump, conninfo, *arguments, f"--compress={compression}", f"--file={dump}")
        if said.returncode == 0 or "compress" not in said.stderr:
            break
    return said


def schema_version(conn: Connection) -> int | None:
    """The number of the last migration, or None where there are no tables of ours."""
    there = conn.execute("select to_regclass('mem_schema_migrations') is not null as yes").fetchone()
    if not there or not there["yes"]:
        return None
    row = conn.execute("select max(version) as version from mem_schema_migrations").fetchone()
    return int(row["version"]) if row and row["version"] is not None else None


def foreign_tables(conn: Connection) -> list[str]:
    """The tables in this database that are not ours: it is the user's own, and he has it for other things, too."""
    return [f"{row['schema']}.{row['name']}" for row in _foreign(conn) if row["kind"] in ("r", "p", "m", "f")]


def _foreign(conn: Connection) -> list[dict[str, Any]]:
    return conn.execute(
        """
        select n.nspname as schema, c.relname as name, c.relkind as kind
        from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where c.relkind in ('r', 'p', 'm', 'f', 'v', 'S') and c.relname not like 'mem\\_%'
            and n.nspname <> 'information_schema' and n.nspname not like 'pg\\_%'
            and not exists (select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid
                and d.deptype = 'e')
        order by 1, 2
        """
    ).fetchall()


def _without(foreign: list[dict[str, Any]], conn: Connection) -> list[str]:
    """The options of pg_dump that leave out what is the user's own; none where the database is ours alone."""
    if not foreign:
        return []
    schemas = conn.execute(
        """
        select quote_ident(nspname) as name from pg_namespace where nspname <> 'information_schema'
            and nspname not like 'pg\\_%' and oid <>
                (select relnamespace from pg_class where oid = 'mem_schema_migrations'::regclass)
        """
    ).fetchall()
    # In quotes, a pattern's signs stand for themselves.
    names = [
        '"' + '"."'.join(row[part].replace('"', '""') for part in ("schema", "name")) + '"' for row in foreign
    ]
    return [
        "--extension=vector",
        *(f"--exclude-schema={row['name']}" for row in schemas),
        *(f"--exclude-table={name}" for name in names),
    ]


def _free_name(made_at: datetime, kind: Kind) -> Path:
    stem = f"{made_at.astimezone():%Y-%m-%d-%H%M%S}-{kind}"
    path = paths.backups() / stem
    number = 2
    while path.exists():
        path = paths.backups() / f"{stem}-{number}"
        number += 1
    return path


def _failed(said: str) -> AgentMemoryError:
    kept = "Older backups are as they were."
    full = "No space left on device" in said or "Disk quota exceeded" in said
    if full or shutil.disk_usage(paths.backups()).free < 1_000_000:
        free = shutil.disk_usage(paths.backups()).free
        return AgentMemoryError(
            f"The disk of {paths.backups()} is full ({free / 1e6:.0f} MB are free); no backup was made. {kept}",
            "Make room there, then: agent-memory backup now",
            status=507,
        )
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return AgentMemoryError(
        f"The backup could not be made: {' | '.join(lines[-4:]) or 'pg_dump gave no reason'}. {kept}",
        "Try again; agent-memory doctor looks at the database and the disk.",
    )
