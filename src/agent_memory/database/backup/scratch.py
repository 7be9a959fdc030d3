"""Databases beside ours that live for one verification or one restore.

Whoever is killed leaves one behind; the next backup, verification or restore removes it.
"""

from __future__ import annotations

import contextlib
import re
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo
from psycopg.rows import dict_row

from agent_memory.database import Connection
from agent_memory.errors import AgentMemoryError

MARK = "_temporary_"


@contextlib.contextmanager
def administration(conninfo: str) -> Iterator[Connection]:
    """A connection to the same server but no database of ours, without a transaction."""
    refused: psycopg.Error | None = None
    for name in ("postgres", "template1"):
        try:
            conn = psycopg.connect(
                make_conninfo(conninfo, dbname=name), autocommit=True, row_factory=dict_row
            )
        except psycopg.OperationalError as error:
            refused = error
            continue
        with conn:
            yield conn
        return
    raise AgentMemoryError(
        f"The server's database “postgres” cannot be reached: {' '.join(str(refused).split())}",
        "Let our user connect to it: databases are made and renamed from there.",
    ) from refused


def create(admin: Connection, database: str) -> str:
    """Make an empty database like `database`, and return its name."""
    name = f"{database[:40]}{MARK}{secrets.token_hex(4)}"
    like = admin.execute(
        "select datcollate, datctype, datlocprovider = 'c' as by_libc from pg_database where datname = %s",
        (database,),
    ).fetchone()
    command = sql.SQL("create database {} template template0 encoding 'UTF8'").format(sql.Identifier(name))
    if like and like["by_libc"]:
        locale = sql.SQL(" lc_collate {} lc_ctype {}").format(like["datcollate"], like["datctype"])
        command = command + locale
    try:
        admin.execute(command)
    except psycopg.errors.InsufficientPrivilege as error:
        raise AgentMemoryError(
            f"The database user {admin.info.user} may not make databases, and a backup is restored into a new one.",
            f"Let an administrator run: ALTER ROLE {admin.info.user} CREATEDB;",
        ) from error
    return name


def drop(admin: Connection, name: str) -> None:
    admin.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))


def clear(conninfo: str, database: str) -> None:
    """Remove what killed processes left beside this database, as far as possible. The caller holds `archive.lock`; what
    is in use is another home's."""
    with contextlib.suppress(AgentMemoryError, psycopg.Error), administration(conninfo) as admin:
        _clear(admin, database)


def _clear(admin: Connection, database: str) -> None:
    ours = re.compile(re.escape(database[:40] + MARK) + "[0-9a-f]{8}")
    for row in admin.execute("select datname from pg_database").fetchall():
        if ours.fullmatch(row["datname"]):
            with contextlib.suppress(psycopg.errors.ObjectInUse, psycopg.errors.InsufficientPrivilege):
                admin.execute(sql.SQL("drop database if exists {}").format(sql.Identifier(row["datname"])))


def swap(conninfo: str, database: str, new: str, holder: int) -> str:
    """Give `database` the contents of `new`, at once or not at all; the name that the old ones have now.

    Whoever is connected to either is cut off, and finds the new contents at the next connection. The connection with
    the process number `holder` keeps others from writing and goes last: nobody who waits for its locks gets them,
    since the rename keeps newcomers out.
    """
    old = f"{database[:40]}{MARK}{secrets.token_hex(4)}"
    with (
        administration(conninfo) as admin,
        administration(conninfo) as porter,
        ThreadPoolExecutor(1) as beside,
    ):
        renamed = beside.submit(_rename, admin, [(database, old), (new, database)])
        while not renamed.done():
            inside = porter.execute(
                """
                select a.pid from pg_stat_activity a join pg_locks l on l.objid = a.datid
                where a.datname = any(%s) and l.classid = 'pg_database'::regclass
                    and l.mode = 'AccessExclusiveLock' and l.granted
                """,
                ([database, new],),
            ).fetchall()
            others = [row["pid"] for row in inside if row["pid"] != holder]
            for pid in others or [row["pid"] for row in inside]:
                porter.execute("select pg_terminate_backend(%s)", (pid,))
            wait([renamed], 0.02)
        try:
            renamed.result()
        except psycopg.errors.ObjectInUse as error:
            raise AgentMemoryError(
                f"Other programs keep the database {database} busy; nothing was changed.",
                "End the agents that use it, then try again.",
            ) from error
    return old


def _rename(admin: Connection, names: list[tuple[str, str]]) -> None:
    """Each waits up to 5 seconds for those who are inside to leave."""
    with admin.transaction():
        for before, after in names:
            command = sql.SQL("alter database {} rename to {}")
            admin.execute(command.format(sql.Identifier(before), sql.Identifier(after)))
