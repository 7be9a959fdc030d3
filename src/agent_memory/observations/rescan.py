"""Secrets that an earlier version did not recognise are taken out of what is stored: texts, index and vectors.

Every text of every table is read again with today's patterns. Where one changes, the observations that were made from
it are built anew; a chunk that reads differently loses its vector and waits for a new one.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from psycopg import sql

from agent_memory import paths
from agent_memory.database import Connection, texts
from agent_memory.database.texts import TextTable
from agent_memory.journal.ingest import as_json
from agent_memory.journal.redaction import redact, redact_value
from agent_memory.observations import store, worker

log = logging.getLogger(__name__)

PAGE = 200  # rows
CHUNKS = "mem_observation_chunks"
OBSERVATIONS = "mem_observations"
Progress = Callable[[str, int], None]
"""Called with a table's name and how many of its rows were read since the last call."""


@dataclass(slots=True)
class Report:
    rows: int = 0
    """Rows that were read."""
    changed: Counter[str] = field(default_factory=Counter)
    """Rows in which something was found, by `table.column`."""
    observations: int = 0
    """Observations that were built anew, their chunks and vectors with them."""
    files: list[Path] = field(default_factory=list)
    """Files of the home in which something was found: logs, and what the spool could not read."""


def rescan(conn: Connection, progress: Progress, *, dry_run: bool = False) -> Report:
    """Take out what today's patterns find. Commits as it goes: broken off, it can simply be run again."""
    report = Report()
    turns: set[tuple[str, str]] = set()
    observations: set[int] = set()
    for table in texts.tables(conn):
        for page in texts.pages(conn, table, size=PAGE):
            report.rows += len(page)
            for row in page:
                changed = {name: new for name in table.columns if (new := _redacted(row[name])) is not None}
                if not changed:
                    continue
                report.changed.update(f"{table.name}.{name}" for name in changed)
                _note_owner(conn, table, row, turns, observations)
                if not dry_run and table.name != CHUNKS:  # chunks are cut anew from their observation
                    texts.update(conn, table, row, changed)
            conn.commit()
            progress(table.name, len(page))
    report.observations = len(turns) + len(observations)
    if not dry_run:
        for session_id, prompt_id in sorted(turns):
            worker.build_turn(conn, session_id, prompt_id)
            conn.commit()
        _index_again(conn, observations)
        conn.commit()
        _vacuum(conn, {name.partition(".")[0] for name in report.changed} | {CHUNKS, "mem_chunk_vectors"})
    report.files = _files(dry_run=dry_run)
    return report


def _redacted(value: Any) -> str | None:
    """The text as it should be, or None where it is so already."""
    if isinstance(value, str):
        new = redact(value)
        return None if new == value else new
    if isinstance(value, dict | list):
        clean = redact_value(value)
        return None if clean == value else as_json(clean)
    return None


def _note_owner(
    conn: Connection,
    table: TextTable,
    row: dict[str, Any],
    turns: set[tuple[str, str]],
    observations: set[int],
) -> None:
    """What has to be built anew since this row changes."""
    if table.name == OBSERVATIONS:
        observations.add(row["id"])
    elif table.name == CHUNKS:
        observations.update(store.owners(conn, [row["id"]]))
    elif (turn := store.turn_of(conn, table.name, row)) is not None:
        turns.add(turn)


def _index_again(conn: Connection, observations: set[int]) -> None:
    """Cut these observations anew from their texts, which a turn's building may have written again."""
    for number in sorted(observations):
        if (row := store.stored(conn, number)) is None:
            continue
        clean = {name: redact(row[name]) for name in ("title", "text")}
        if clean != {name: row[name] for name in clean}:
            store.set_texts(conn, number, **clean)
        store.index_again(conn, [{**row, **clean}])
        conn.commit()


def _vacuum(conn: Connection, tables: set[str]) -> None:
    """Give up the rows' old versions, which still hold what was taken out."""
    conn.autocommit = True
    for table in sorted(tables):
        conn.execute(sql.SQL("vacuum {}").format(sql.Identifier(table)))
    conn.autocommit = False


def _files(*, dry_run: bool) -> list[Path]:
    """The logs and the spool's unreadable files, cleaned in place."""
    found = []
    for folder in (paths.logs(), paths.spool_bad()):
        for path in sorted(folder.iterdir()) if folder.exists() else []:
            text = path.read_bytes().decode("utf-8", "surrogateescape")
            if (clean := redact(text)) == text:
                continue
            found.append(path)
            if not dry_run:
                # In place: the service has its log open, and appends.
                with open(os.open(path, os.O_WRONLY | os.O_TRUNC), "wb") as file:
                    file.write(clean.encode("utf-8", "surrogateescape"))
    return found
