"""A session database of OpenCode's, made from its rows (the schema of 1.18.33, without what is not read)."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

SCHEMA = """
create table session (id text primary key, project_id text not null, parent_id text, slug text not null,
    directory text not null, title text not null, version text not null,
    time_created integer not null, time_updated integer not null);
create table message (id text primary key, session_id text not null, time_created integer not null,
    time_updated integer not null, data text not null);
create table part (id text primary key, message_id text not null, session_id text not null,
    time_created integer not null, time_updated integer not null, data text not null);
create index message_session_time_created_id_idx on message (session_id, time_created, id);
create index part_message_id_id_idx on part (message_id, id);
create index part_session_idx on part (session_id);
"""

Row = tuple[str, dict[str, Any]]
"""The table and the columns."""


def rows(file: Path) -> list[Row]:
    """The rows in a file of JSON lines."""
    told = (json.loads(line) for line in file.read_text(encoding="utf-8").split("\n") if line)
    return [(one["table"], one["row"]) for one in told]


def make(path: Path, content: Iterable[Row]) -> Path:
    """A new database at `path` with these rows, in WAL mode as OpenCode's."""
    with closing(sqlite3.connect(path)) as database:
        database.execute("pragma journal_mode = wal")
        database.executescript(SCHEMA)
    write(path, content)
    return path


def write(path: Path, content: Iterable[Row]) -> None:
    """Insert these rows, or replace those of the same id."""
    with closing(sqlite3.connect(path)) as database, database:
        known = {
            table: [column[1] for column in database.execute(f"pragma table_info({table})")]
            for table in ("session", "message", "part")
        }
        for table, row in content:
            columns = [column for column in known[table] if column in row]
            values = [json.dumps(row[c]) if isinstance(row[c], dict) else row[c] for c in columns]
            marks = ", ".join("?" * len(columns))
            database.execute(
                f"insert or replace into {table} ({', '.join(columns)}) values ({marks})", values
            )
