"""The database: the embedded server or the user's own, its connections and its migrations."""

from __future__ import annotations

from typing import Any, TypeAlias

import psycopg

Connection: TypeAlias = psycopg.Connection[dict[str, Any]]
"""Every connection of ours gives its rows as dictionaries. Store functions take one and never commit."""

COUNTED = 1_000_000
"""Rows up to which a table is counted for a person who looks. Counting reads all of it: a second for some millions."""


def count(conn: Connection, table: str) -> int:
    """How many rows a table has; of a large one what Postgres noted when it analysed it last, to three digits."""
    row = conn.execute(
        f"select case when reltuples > {COUNTED} then round(reltuples::numeric, 2 - floor(log(reltuples))::int)::bigint"
        f" else (select count(*) from {table}) end as n from pg_class where oid = '{table}'::regclass".encode()
    ).fetchone()
    assert row is not None
    return int(row["n"])
