"""What a database of ours holds, as a count and a checksum a table: the same before a dump and after its restore.

A checksum adds up a hash of every row's text, so it does not depend on the order of the rows, nor on anything that a
restore changes (the numbers of types, the place of a row), nor on the version of Postgres.
"""

from __future__ import annotations

from dataclasses import dataclass

from psycopg import sql

from agent_memory.database import Connection

PLAIN_TEXT = {
    "timezone": "UTC",
    "datestyle": "ISO, YMD",
    "intervalstyle": "postgres",
    "extra_float_digits": "1",
    "bytea_output": "hex",
}
"""The settings that a value's text depends on."""


@dataclass(frozen=True, slots=True)
class Table:
    rows: int
    checksum: str
    """64 bits as hexadecimal digits."""


def tables(conn: Connection) -> dict[str, Table]:
    """Every table of ours, `mem_*`. Reads all of each, about 100 MB a second; sees what `conn`'s transaction sees."""
    with conn.transaction():
        for name, value in PLAIN_TEXT.items():
            conn.execute("select set_config(%s, %s, true)", (name, value))
        return {name: _table(conn, name, columns) for name, columns in _columns(conn).items()}


def names(conn: Connection) -> list[str]:
    """The tables of ours."""
    return list(_columns(conn))


def differences(expected: dict[str, Table], found: dict[str, Table]) -> list[str]:
    """In sentences, where two databases differ. Empty: they hold the same."""
    said = [f"{name} is missing" for name in sorted(expected.keys() - found.keys())]
    said += [f"{name} is there and should not be" for name in sorted(found.keys() - expected.keys())]
    for name in sorted(expected.keys() & found.keys()):
        right, now = expected[name], found[name]
        if right.rows != now.rows:
            said.append(f"{name} has {now.rows:,} rows instead of {right.rows:,}")
        elif right.checksum != now.checksum:
            said.append(f"{name} has other contents")
    return said


def _columns(conn: Connection) -> dict[str, list[tuple[str, str]]]:
    """The columns of each table of ours, as name and type."""
    found: dict[str, list[tuple[str, str]]] = {}
    for row in conn.execute(
        """
        select c.relname as table, a.attname as column, t.typname as type
        from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
            join pg_type t on t.oid = a.atttypid
        where c.relkind in ('r', 'p') and c.relname like 'mem\\_%' and pg_table_is_visible(c.oid)
        order by c.relname, a.attnum
        """
    ):
        found.setdefault(row["table"], []).append((row["column"], row["type"]))
    return found


def _table(conn: Connection, name: str, columns: list[tuple[str, str]]) -> Table:
    # A vector's text is ten times as slow to make as its bytes.
    values = sql.SQL(", ").join(
        sql.SQL("{}({})").format(sql.Identifier(f"{kind}_send"), sql.Identifier(column))
        if kind in ("halfvec", "vector")
        else sql.Identifier(column)
        for column, kind in columns
    )
    row = conn.execute(
        sql.SQL(
            "select count(*) as rows, coalesce(sum(('x' || left(md5(row({})::text), 16))::bit(64)::bigint), 0) as sum"
            " from {}"
        ).format(values, sql.Identifier(name))
    ).fetchone()
    assert row is not None
    return Table(row["rows"], f"{int(row['sum']) % 2**64:016x}")
