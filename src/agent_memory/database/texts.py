"""Every text that our tables hold, whichever the table: for what must reach all of them, such as a rescan for secrets.
Read from the catalogue, so that a table which comes later cannot be forgotten."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import sql

from agent_memory.database import Connection


@dataclass(frozen=True, slots=True)
class TextTable:
    """A table with the columns that hold text or JSON. A column of an index is a name, not a text, and is left out."""

    name: str
    key: tuple[str, ...]
    columns: tuple[str, ...]


def tables(conn: Connection) -> list[TextTable]:
    """Our tables that hold texts, by name."""
    rows = conn.execute(
        """
        select c.relname as name,
            array(select a.attname from unnest(k.indkey::smallint[]) with ordinality as u (number, place)
                join pg_attribute a on a.attrelid = c.oid and a.attnum = u.number order by u.place) as key,
            array(select a.attname from pg_attribute a
                where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
                    and a.atttypid in ('text'::regtype, 'json'::regtype, 'jsonb'::regtype)
                    and not exists (select from pg_index i where i.indrelid = c.oid and a.attnum = any(i.indkey))
                order by a.attnum) as columns
        from pg_class c join pg_index k on k.indrelid = c.oid and k.indisprimary
        where c.relkind in ('r', 'p') and c.relname like 'mem\\_%' and c.relnamespace = current_schema()::regnamespace
        order by c.relname
        """
    )
    return [TextTable(r["name"], tuple(r["key"]), tuple(r["columns"])) for r in rows if r["columns"]]


def pages(conn: Connection, table: TextTable, *, size: int) -> Iterator[list[dict[str, Any]]]:
    """Its rows, key and texts, in order of the key. Rows may be changed and committed between two pages."""
    names = [sql.Identifier(name) for name in (*table.key, *table.columns)]
    key = sql.SQL(", ").join(map(sql.Identifier, table.key))
    last: Sequence[Any] | None = None
    while True:
        after = (
            sql.SQL("where ({}) > ({})").format(key, sql.SQL(", ").join(map(sql.Literal, last)))
            if last
            else sql.SQL("")
        )
        rows = conn.execute(
            sql.SQL("select {} from {} {} order by {} limit {}").format(
                sql.SQL(", ").join(names), sql.Identifier(table.name), after, key, sql.Literal(size)
            )
        ).fetchall()
        if not rows:
            return
        yield rows
        last = [rows[-1][name] for name in table.key]


def update(conn: Connection, table: TextTable, row: dict[str, Any], changed: dict[str, Any]) -> None:
    """Write changed texts of one row; a column of JSON takes the JSON's text."""
    values = [
        sql.SQL("{} = {}").format(sql.Identifier(name), sql.Literal(value)) for name, value in changed.items()
    ]
    key = [sql.SQL("{} = {}").format(sql.Identifier(name), sql.Literal(row[name])) for name in table.key]
    conn.execute(
        sql.SQL("update {} set {} where {}").format(
            sql.Identifier(table.name), sql.SQL(", ").join(values), sql.SQL(" and ").join(key)
        )
    )
