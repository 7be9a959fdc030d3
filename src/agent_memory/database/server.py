"""Which database is used, and connections to it."""

from __future__ import annotations

import os
import sys
from typing import TypeAlias

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import dict_row
from psycopg_pool import ConnectionPool, PoolTimeout

from agent_memory.database import Connection, configuration, embedded, placement
from agent_memory.errors import AgentMemoryError
from agent_memory.settings import Settings, load_from_home

OLDEST_POSTGRES = 15
CONNECT_TIMEOUT_S = 10
PROBE_TIMEOUT_S = 3
RECONNECT_S = 5
"""How long the pool tries again, ever more slowly, before it starts anew at the next request."""

KEEPALIVES = {
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 8_000,
}
"""Seconds, but the last in milliseconds: how soon a server that went silent is given up, instead of after hours. The
last is what a request waits for while the network is away, and less than `status` does."""

Pool: TypeAlias = ConnectionPool[Connection]


def conninfo(settings: Settings, *, adopt: bool = False) -> str:
    """The connection string of the database that is used; the embedded one is started. `adopt`: see `external`.

    Raises what `embedded.ensure_running` raises.
    """
    if own := external(settings, adopt=adopt):
        return own
    for name in [name for name in os.environ if name.startswith("PG")]:
        del os.environ[name]  # libpq would mix a project's PGSERVICE or PGSSLMODE into our connections
    return embedded.ensure_running()


def external(settings: Settings, *, adopt: bool = False) -> str | None:
    """The connection string of the user's own database, if that is what is used; None: the embedded one is.

    A database that only the environment names may be the project's that the user works on, so it is used only where it
    already holds our tables (docs/decisions/0003). `adopt` says that it may become ours: the user asked for it.
    """
    named = settings.external_database
    if named and not adopt:
        own = load_from_home().external_database
        if named != own and not _is_ours(named, alone=own is None and placement.find() is None):
            instead = _where(own) if own else "the embedded one"
            print(  # noqa: T201 - an MCP server's stdout is its protocol
                f"agent-memory: the environment's database {_where(named)} is not ours; using {instead}.",
                file=sys.stderr,
            )
            return own
    return named


def is_embedded(conninfo: str) -> bool:
    """Whether this is the embedded server's: only ours asks whose server it talks to."""
    return "requirepeer=" in conninfo


def connect(conninfo: str) -> Connection:
    """Open a connection whose rows are dictionaries.

    Raises AgentMemoryError where the server cannot be reached, refuses us, or is older than Postgres 15, and
    where the database's encoding is not UTF-8.
    """
    try:
        conn = psycopg.connect(_completed(conninfo), row_factory=dict_row)
    except psycopg.Error as error:
        raise _refused(conninfo, error) from error
    version, encoding = (conn.info.parameter_status(f"server_{name}") for name in ("version", "encoding"))
    if conn.info.server_version < OLDEST_POSTGRES * 10_000:
        conn.close()
        raise AgentMemoryError(
            f"The database server {_where(conninfo)} is Postgres {version}, which is too old.",
            f"Use Postgres {OLDEST_POSTGRES} or newer, or unset DATABASE_URL for the embedded one.",
        )
    if encoding != "UTF8":
        conn.close()
        raise AgentMemoryError(
            f"The database {_where(conninfo)} is encoded in {encoding}, which cannot hold every text.",
            "Make one that can: createdb --encoding=UTF8 --template=template0.",
        )
    try:
        _settle(conn)
    except psycopg.Error as error:
        conn.close()
        raise _refused(conninfo, error) from error
    return conn


def asked_for_a_password(conn: Connection) -> bool:
    """Whether the server wanted a password for this connection. Where not, it trusts, or knows us by other means (peer,
    a certificate)."""
    return bool(conn.pgconn.used_password)


def open_pool(conninfo: str, *, size: int) -> Pool:
    """Open a pool of up to `size` connections like those of `connect`.

    A connection is checked before it is handed out, so that the pool outlives a restart of Postgres. Raises
    what `connect` raises; later, a server that is down shows as `psycopg_pool.PoolTimeout` after 10 s.
    """
    connect(conninfo).close()  # the pool itself would only tell that it timed out
    pool: Pool = ConnectionPool(
        _completed(conninfo),
        min_size=1,
        max_size=size,
        timeout=CONNECT_TIMEOUT_S,
        reconnect_timeout=RECONNECT_S,
        check=ConnectionPool.check_connection,
        configure=_settle,
        kwargs={"row_factory": dict_row},
        open=True,
    )
    try:
        pool.wait(CONNECT_TIMEOUT_S)
    except PoolTimeout as error:
        pool.close()
        raise AgentMemoryError(
            f"The database server {_where(conninfo)} gives no further connections.",
            "Look into its log; it may have reached max_connections.",
        ) from error
    return pool


def _completed(conninfo: str) -> str:
    """Raises psycopg.ProgrammingError where `conninfo` is not a connection string."""
    return make_conninfo(
        conninfo,
        application_name="agent-memory",
        client_encoding="utf8",
        connect_timeout=CONNECT_TIMEOUT_S,
        **{name: value for name, value in KEEPALIVES.items() if name not in conninfo_to_dict(conninfo)},
    )


def _settle(conn: Connection) -> None:
    """Fit a new connection to what lies between us and the server.

    Over a network, the server is to notice soon that we are gone without a word (a machine that lost its power or its
    network): until then it keeps the locks of the transaction that we were in, and other machines wait. And where a
    pooler gives each transaction another connection, statements are not prepared: the next one would not know them.
    """
    if conn.info.host.startswith("/") and is_embedded(conn.info.dsn):
        return
    row = conn.execute(
        "select pg_backend_pid() as pid, set_config('tcp_keepalives_idle', '30', false),"
        " set_config('tcp_keepalives_interval', '10', false), set_config('tcp_keepalives_count', '3', false),"
        " set_config('tcp_user_timeout', '60000', false)"
    ).fetchone()
    conn.commit()
    if row is not None and row["pid"] != conn.info.backend_pid:  # a pooler tells a number of its own
        conn.prepare_threshold = None


def _is_ours(conninfo: str, *, alone: bool) -> bool:
    """Whether a database holds our schema. One that does not answer is taken for ours where this home has no other
    (`alone`): else a memory would be split in two while its database is away."""
    try:
        with psycopg.connect(conninfo, connect_timeout=PROBE_TIMEOUT_S) as conn:
            return conn.execute("select to_regclass('mem_schema_migrations')").fetchone() != (None,)
    except psycopg.Error:
        return alone


def _refused(conninfo: str, error: psycopg.Error) -> AgentMemoryError:
    """The error of a failed connection, with what to do. libpq gives no codes here, only text."""
    if isinstance(error, psycopg.ProgrammingError):
        return AgentMemoryError(  # without libpq's text, which may quote the password
            "DATABASE_URL is not a Postgres URL.",
            "Write it as postgresql://user:password@host:5432/database, odd characters as %-codes.",
        )
    said, where = " ".join(str(error).split()), _where(conninfo)
    if conninfo_to_dict(conninfo).get("user") == configuration.ROLE and "requirepeer" in conninfo:
        return AgentMemoryError(
            f"The embedded Postgres does not answer: {said}",
            "Run: agent-memory up. Its log is logs/postgres.log in the home.",
        )
    if "does not exist" in said:
        return AgentMemoryError(
            f"The database server {where} does not know this database or user: {said}",
            "Create it, or correct DATABASE_URL, or POSTGRES_DB and POSTGRES_USER.",
        )
    if "certificate" in said or "SSL" in said or "no encryption" in said:
        return AgentMemoryError(
            f"The database server {where} and this machine do not agree on encryption: {said}",
            "Add ?sslmode=require to DATABASE_URL, or sslmode=verify-full and sslrootcert=FILE with its authority.",
        )
    if "password" in said:
        return AgentMemoryError(
            f"The database server {where} did not accept the password: {said}",
            "Correct it in DATABASE_URL, or in POSTGRES_USER and POSTGRES_PASSWORD.",
        )
    return AgentMemoryError(
        f"The database server {where} cannot be reached: {said}",
        "Start it, or correct DATABASE_URL or POSTGRES_HOST and POSTGRES_PORT, or unset them to use our own.",
    )


def _where(conninfo: str) -> str:
    """Host, port and database for a person to read; never the password."""
    try:
        parts = conninfo_to_dict(conninfo)
    except psycopg.ProgrammingError:
        return "DATABASE_URL"
    return f"{parts.get('host', 'localhost')}:{parts.get('port', 5432)}/{parts.get('dbname', '')}"
