"""The schema comes from numbered files, each applied once, whatever goes wrong on the way."""

from __future__ import annotations

import hashlib
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from agent_memory.database import Connection, server
from agent_memory.database.migrate import FOLDER, migrate
from agent_memory.errors import AgentMemoryError


@pytest.fixture
def empty(empty_database_url: str) -> Iterator[Connection]:
    """A connection to a database without tables."""
    with server.connect(empty_database_url) as connection:
        yield connection


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with the program's own migrations, to be changed by the test."""
    folder = tmp_path / "migrations"
    shutil.copytree(str(FOLDER), folder)
    return folder


def tables(conn: Connection) -> set[str]:
    rows = conn.execute("select tablename from pg_tables where schemaname = 'public'").fetchall()
    return {row["tablename"] for row in rows}


def ledger(conn: Connection) -> list[str]:
    rows = conn.execute("select name from mem_schema_migrations order by version").fetchall()
    return [row["name"] for row in rows]


def test_files_are_applied_in_order_and_recorded_with_their_checksums(empty: Connection, files: Path) -> None:
    names = sorted(file.stem for file in files.iterdir())
    assert migrate(empty) == names
    assert names[:2] == ["0001_journal", "0002_memory"]
    rows = empty.execute("select * from mem_schema_migrations order by version").fetchall()
    assert [row["name"] for row in rows] == names
    assert [row["version"] for row in rows] == list(range(1, len(names) + 1))
    assert [row["checksum"] for row in rows] == [
        hashlib.sha256((files / f"{name}.sql").read_bytes()).hexdigest() for name in names
    ]
    assert {"mem_tool_calls", "mem_observation_chunks"} <= tables(empty)


def test_a_second_run_applies_nothing_and_gives_the_connection_back_as_it_was(empty: Connection) -> None:
    assert migrate(empty)
    assert migrate(empty) == []
    assert empty.autocommit is False
    assert empty.info.transaction_status is psycopg.pq.TransactionStatus.IDLE
    locks = empty.execute("select count(*) from pg_locks where locktype = 'advisory'").fetchone()
    assert locks == {"count": 0}


def test_a_new_file_is_applied_to_a_migrated_database(conn: Connection, files: Path) -> None:
    number = len(list(files.iterdir())) + 1
    (files / f"{number:04d}_more.sql").write_text("create table mem_more (share text default '100%');")
    assert migrate(conn, files) == [f"{number:04d}_more"]
    assert "mem_more" in tables(conn)


def test_an_edited_file_that_was_applied_is_refused(conn: Connection, files: Path) -> None:
    with (files / "0001_journal.sql").open("a") as file:
        file.write("\n-- an afterthought\n")
    with pytest.raises(AgentMemoryError, match="0001_journal was edited after it was applied"):
        migrate(conn, files)


def test_a_database_of_a_newer_program_is_refused(conn: Connection, files: Path) -> None:
    number = len(list(files.iterdir())) + 1
    newer = files / f"{number:04d}_from_the_future.sql"
    newer.write_text("create table mem_future ();")
    migrate(conn, files)
    newer.unlink()
    with pytest.raises(AgentMemoryError, match=r"newer agent-memory: \d{4}_from_the_future.* Upgrade"):
        migrate(conn, files)


@pytest.mark.parametrize(
    "failure",
    ["insert into good values (1);", "insert into mem_schema_migrations values (2, 'takes our', 'row');"],
    ids=["in the file", "in recording it"],
)
def test_a_file_that_fails_halfway_leaves_nothing_behind(
    empty: Connection, tmp_path: Path, failure: str
) -> None:
    (tmp_path / "0001_good.sql").write_text("create table good ();")
    (tmp_path / "0002_bad.sql").write_text(f"create table half (); {failure}")
    with pytest.raises(psycopg.Error):
        migrate(empty, tmp_path)
    assert ledger(empty) == ["0001_good"]
    assert tables(empty) == {"good", "mem_schema_migrations"}
    empty.commit()
    (tmp_path / "0002_bad.sql").write_text("create table whole ();")
    assert migrate(empty, tmp_path) == ["0002_bad"]
    assert tables(empty) == {"good", "whole", "mem_schema_migrations"}


def test_two_programs_that_migrate_at_once_apply_each_file_once(
    empty_database_url: str, tmp_path: Path
) -> None:
    (tmp_path / "0001_slow.sql").write_text("select pg_sleep(0.2); create table slow ();")
    applied: list[list[str]] = []

    def run() -> None:
        with server.connect(empty_database_url) as conn:
            applied.append(migrate(conn, tmp_path))

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(applied) == [[], [], ["0001_slow"]]


@pytest.mark.parametrize(
    "names",
    [["0001_a", "0003_c"], ["0001_a", "0001_b"], ["0002_b"], ["0001_a", "2_b"], ["0001_a", "0002-b"]],
    ids=["gap", "duplicate", "first missing", "short number", "no underscore"],
)
def test_files_out_of_order_are_refused_before_anything_is_applied(
    empty: Connection, tmp_path: Path, names: list[str]
) -> None:
    for name in names:
        (tmp_path / f"{name}.sql").write_text("create table never ();")
    with pytest.raises(AgentMemoryError, match=f"migrations of this program are broken: {names[-1]}"):
        migrate(empty, tmp_path)
    assert tables(empty) == set()


def test_a_user_without_the_right_to_create_the_extension_is_told_what_to_ask_for(
    empty: Connection,
) -> None:
    empty.execute("drop role if exists mem_guest")
    empty.execute("create role mem_guest")
    empty.execute("set role mem_guest")
    empty.commit()
    with pytest.raises(AgentMemoryError, match=r"may not create the extension .*CREATE EXTENSION vector;"):
        migrate(empty)


def test_a_pgvector_without_halfvec_is_refused(empty: Connection) -> None:
    empty.execute("create extension vector")
    empty.execute("update pg_extension set extversion = '0.6.2' where extname = 'vector'")
    empty.commit()
    with pytest.raises(AgentMemoryError, match=r"0\.6\.2.*too old.*ALTER EXTENSION vector UPDATE"):
        migrate(empty)
