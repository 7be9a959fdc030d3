"""What is known of each row while a data set is made, in a file of its own (SQLite), so that memory does not grow with
the number of rows: where it belongs, what it calls, its signature, and what became of it."""

from __future__ import annotations

import hashlib
import re
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from agent_memory.finetune import near
from agent_memory.finetune.rows import Message, Row, calls_of, text_of
from agent_memory.observations import commands

_SHELL = re.compile(r"bash|shell|exec|terminal|command", re.I)
TRAIN, VALIDATION = "train", "validation"
_TABLES = """
create table rows (
    n integer primary key, id text, session text, project integer, tokens integer, label integer, calls integer,
    turns integer, text blob, signature blob, chance blob, part text default 'train', dropped text
);
create index rows_text on rows (text);
create table calls (row integer, tool text, n integer, primary key (tool, row)) without rowid;
create table bands (band blob, row integer, primary key (band, row)) without rowid;
"""


@contextmanager
def open_index(file: Path) -> Iterator[sqlite3.Connection]:
    """A new index in `file`; what is written into it need not outlive the block."""
    with closing(sqlite3.connect(file, isolation_level=None)) as index:
        index.executescript(f"pragma journal_mode = off; pragma synchronous = off; {_TABLES} begin;")
        yield index


def label(tool: str, arguments: object) -> str:
    """What a call counts as: its tool; a shell command its program and subcommand, too."""
    command = arguments.get("command") if isinstance(arguments, dict) else None
    key = commands.key_of(command) if isinstance(command, str) and _SHELL.search(tool) else ""
    return f"{tool}: {key}" if key else tool


def add(index: sqlite3.Connection, row: Row, part: str = TRAIN) -> None:
    text = text_of(row.messages)
    tools = Counter(label(call["name"], call["arguments"]) for call in calls_of(row.messages))
    chance = hashlib.sha256(row.id.encode()).digest()[:8]
    added = index.execute(
        "insert into rows (id, session, project, tokens, label, calls, turns, text, signature, chance, part)"
        " values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            *(row.id, row.session_id, row.project_id, row.tokens, row.label_tokens, tools.total()),
            *(answers(row.messages), hashlib.sha256(text.encode("utf-8", "replace")).digest()[:16]),
            *(near.signature(text), chance, part),
        ),
    )
    index.executemany(
        "insert into calls values (?, ?, ?)", [(added.lastrowid, *one) for one in tools.items()]
    )


def answers(messages: Sequence[Message]) -> int:
    return sum(message["role"] == "assistant" for message in messages)


def drop(index: sqlite3.Connection, rows: Sequence[int], reason: str) -> None:
    index.executemany("update rows set dropped = ? where n = ?", [(reason, n) for n in rows])


def counted(index: sqlite3.Connection, column: str, where: str = "dropped is null") -> dict[str, int]:
    """How many rows there are for each value of a column."""
    return dict(
        index.execute(f"select {column}, count(*) from rows where {where} group by 1 order by 2 desc, 1")
    )


def tools(index: sqlite3.Connection) -> dict[str, int]:
    """How often each tool is called in the rows that stay, the most called first."""
    return dict(
        index.execute(
            "select tool, sum(c.n) from calls c join rows r on r.n = c.row where dropped is null group by 1"
            " order by 2 desc, 1"
        )
    )


def drop_copies(index: sqlite3.Connection) -> None:
    """Of rows that say the same, the first stays: sessions that were resumed or forked repeat what was before."""
    index.execute(
        "update rows set dropped = 'copy of another row' where dropped is null"
        " and n > (select min(n) from rows o where o.text = rows.text and o.dropped is null)"
    )


def near_across(index: sqlite3.Connection) -> Iterator[tuple[int, int]]:
    """Rows of the validation that are nearly the same as one of the training: the numbers of both."""
    index.execute("delete from bands")
    for n, signature in index.execute(
        "select n, signature from rows where dropped is null and part = ?", (VALIDATION,)
    ):
        index.executemany("insert into bands values (?, ?)", [(band, n) for band in near.bands(signature)])
    found: set[int] = set()
    for n, signature in index.execute(
        "select n, signature from rows where dropped is null and part = ?", (TRAIN,)
    ):
        of = list(near.bands(signature))
        met = index.execute(
            f"select distinct row, signature from bands join rows on rows.n = bands.row"
            f" where band in ({','.join('?' * len(of))})",
            of,
        )
        for other, its in met.fetchall():
            if other not in found and near.likeness(signature, its) >= near.ALIKE:
                found.add(other)
                yield other, n
