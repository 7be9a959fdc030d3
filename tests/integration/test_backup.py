"""Backups on a real Postgres: whole or not at all, proven, and brought back without losing what is there."""

from __future__ import annotations

import contextlib
import json
import pwd
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from tests.conftest import new_database
from tests.integration.test_database_safety import STRANGER, needs_root, strangers_folder
from tests.integration.test_recall import HOUSE, MONEY, embed_all, save

from agent_memory import paths
from agent_memory.database import Connection, migrate, placement, server
from agent_memory.database.backup import archive, fingerprint, make, programs, restore, scratch
from agent_memory.database.backup.archive import Backup, Kind
from agent_memory.errors import AgentMemoryError
from agent_memory.forgetting import carry, forget
from agent_memory.journal import projects
from agent_memory.journal.projects import Identity
from agent_memory.observations.embed import Embedder, LocalModel
from agent_memory.recall import search

__all__ = ["strangers_folder"]

QUESTIONS = ("in which type do we store prices and their currency?", "two workers took one job", "413")


@pytest.fixture(scope="module")
def model() -> Embedder:
    return LocalModel()


@pytest.fixture
def filled(database_url: str, model: Embedder) -> str:
    """The URL of a database with five embedded memories."""
    with server.connect(database_url) as conn:
        project = projects.ensure(conn, Identity("path:/shop", "shop", "/shop"))
        save(conn, project, *HOUSE)
        embed_all(conn, model)
    return database_url


def back_up(url: str, kind: Kind = "manual") -> Backup:
    with archive.lock():
        made = make.backup(url, kind)
        archive.prune()
    return made


def verified(url: str, backup: Backup) -> Backup:
    with archive.lock():
        return restore.verify(url, backup)


def bring_back(url: str, backup: Backup) -> restore.Restored:
    with archive.lock():
        return restore.restore(url, backup, restore.nothing, silent)


def silent(step: str) -> None:
    """Say nothing of what is being done."""


def contents(url: str) -> dict[str, fingerprint.Table]:
    with server.connect(url) as conn:
        return fingerprint.tables(conn)


def hits(url: str, model: Embedder) -> list[list[tuple[int, str, float]]]:
    with server.connect(url) as conn:
        project = projects.ensure(conn, Identity("path:/shop", "shop", "/shop"))
        answers = [search.recall(conn, text, project_id=project, embedder=model) for text in QUESTIONS]
    return [[(hit.id, hit.text, round(hit.score, 6)) for hit in answer.hits] for answer in answers]


def wipe(url: str) -> None:
    with server.connect(url) as conn:
        conn.execute("truncate mem_projects cascade")


def beside(url: str) -> list[str]:
    """The names of the databases that a backup made beside this one and did not remove."""
    name = str(conninfo_to_dict(url)["dbname"])
    with scratch.administration(url) as admin:
        rows = admin.execute("select datname from pg_database").fetchall()
    return [row["datname"] for row in rows if row["datname"].startswith(f"{name}{scratch.MARK}")]


def test_a_backup_is_whole_private_and_says_what_it_holds(filled: str) -> None:
    made = back_up(filled)
    assert made == archive.find(None) == archive.read(made.folder)
    assert made.folder.name.endswith("-manual")
    assert made.tables == contents(filled)
    assert made.tables["mem_observations"].rows == len(HOUSE)
    assert made.schema_version == migrate.newest()
    assert made.size == made.dump.stat().st_size
    modes = {
        path.name: path.stat().st_mode & 0o777
        for path in (paths.backups(), made.folder, *made.folder.iterdir())
    }
    assert modes == {"backups": 0o700, made.name: 0o700, "database.dump": 0o600, "manifest.json": 0o600}
    assert sorted(path.name for path in paths.backups().iterdir()) == [".lock", made.name]


def test_the_dump_is_compressed(filled: str) -> None:
    with server.connect(filled) as conn:
        conn.execute("update mem_observations set text = repeat('the same words ', 20000)")
    assert back_up(filled).size < 200_000


def test_a_checksum_depends_on_contents_alone(filled: str) -> None:
    before = contents(filled)
    with server.connect(filled) as conn:
        conn.execute("create temporary table kept as select * from mem_chunk_vectors")
        conn.execute("delete from mem_chunk_vectors")
        conn.execute("insert into mem_chunk_vectors select * from kept order by chunk_id desc")
        conn.execute("set timezone = 'Asia/Tokyo'")
        conn.execute("set datestyle = 'German'")
        assert fingerprint.tables(conn) == before
        conn.execute(
            "update mem_observations set title = title || '.' where id = (select max(id) from mem_observations)"
        )
        after = fingerprint.tables(conn)
    assert fingerprint.differences(before, after) == ["mem_observations has other contents"]


def test_what_is_written_during_a_backup_does_not_blur_it(filled: str) -> None:
    stop = threading.Event()

    def write() -> None:
        with server.connect(filled) as conn:
            number = 0
            while not stop.is_set():
                number += 1
                projects.ensure(conn, Identity(f"path:/busy/{number}", "busy", "/busy"))
                conn.commit()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        made = back_up(filled)
    finally:
        stop.set()
        writer.join()
    assert verified(filled, made).verify_problem is None


def test_a_sound_backup_is_proven_and_the_manifest_remembers_it(filled: str) -> None:
    made = back_up(filled)
    wipe(filled)  # what is there now does not matter
    tried = verified(filled, made)
    assert tried.verify_problem is None
    assert tried.verified_at is not None
    assert archive.read(made.folder) == tried
    assert beside(filled) == []


def test_a_flipped_byte_is_found(filled: str) -> None:
    made = back_up(filled)
    content = bytearray(made.dump.read_bytes())
    content[len(content) // 2] ^= 1
    made.dump.write_bytes(content)
    tried = verified(filled, made)
    assert tried.verify_problem == "its dump is not the file that was written"
    assert archive.read(made.folder).verify_problem
    before = contents(filled)
    with pytest.raises(AgentMemoryError, match="is broken"):
        bring_back(filled, made)
    assert contents(filled) == before


def test_a_dump_that_does_not_hold_what_the_manifest_says_is_found(filled: str) -> None:
    made = back_up(filled)
    manifest = json.loads((made.folder / archive.MANIFEST).read_text())
    manifest["tables"]["mem_observations"]["rows"] += 1
    manifest["tables"]["mem_projects"]["checksum"] = "0" * 16
    (made.folder / archive.MANIFEST).write_text(json.dumps(manifest))
    tried = verified(filled, archive.read(made.folder))
    assert tried.verify_problem == (
        "mem_observations has 5 rows instead of 6; mem_projects has other contents"
    )
    before = contents(filled)
    with pytest.raises(AgentMemoryError, match="has 5 rows instead of 6"):
        bring_back(filled, archive.read(made.folder))
    assert contents(filled) == before
    assert beside(filled) == []


def test_the_drill_backup_wipe_restore_gives_the_same_rows_and_the_same_hits(
    filled: str, model: Embedder
) -> None:
    rows, answers = contents(filled), hits(filled, model)
    assert any(answers)
    made = back_up(filled)
    wipe(filled)
    assert not any(hits(filled, model))
    wiped = contents(filled)
    done = bring_back(filled, made)
    assert contents(filled) == rows
    assert hits(filled, model) == answers
    assert beside(filled) == []
    # And what was there before can be had again.
    assert done.before is not None
    assert done.before.kind == "before-restore"
    assert done.before.tables == wiped | {"mem_projects": done.before.tables["mem_projects"]}
    assert archive.find(None) == made  # it is not what “the newest” means
    bring_back(filled, done.before)
    assert contents(filled)["mem_observations"].rows == 0


def test_after_a_restore_the_vectors_have_their_index_and_new_rows_new_numbers(
    filled: str, model: Embedder
) -> None:
    def indexes() -> list[tuple[str, bool]]:
        with server.connect(filled) as conn:
            rows = conn.execute(
                "select pg_get_indexdef(indexrelid) as made, indisvalid from pg_index"
                " where indrelid::regclass::text like 'mem\\_%' order by 1"
            )
            return [(row["made"], row["indisvalid"]) for row in rows]

    before = indexes()
    assert any("hnsw" in made for made, _ in before)
    bring_back(filled, back_up(filled))
    assert indexes() == before
    with server.connect(filled) as conn:
        project = projects.ensure(conn, Identity("path:/shop", "shop", "/shop"))
        (new,) = save(conn, project, "Tests run on a real Postgres.")
        assert new > len(HOUSE)
        conn.commit()
        assert migrate.migrate(conn) == []


def test_into_an_empty_database_a_backup_is_restored_too(filled: str, cluster: str, model: Embedder) -> None:
    made, answers = back_up(filled), hits(filled, model)
    with new_database(cluster) as elsewhere:
        assert bring_back(elsewhere, made).before is None
        assert hits(elsewhere, model) == answers


@pytest.fixture
def older(tmp_path: Path) -> Path:
    """The migrations of an earlier version of ours."""
    for file in sorted(migrate.FOLDER.iterdir(), key=lambda file: file.name)[:2]:
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


def test_a_backup_of_an_older_version_is_migrated_when_it_is_restored(
    empty_database_url: str, older: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with server.connect(empty_database_url) as conn:
        migrate.migrate(conn, older)
        conn.execute("insert into mem_projects (identity, name) values ('path:/old', 'old')")
    made = back_up(empty_database_url)
    assert made.schema_version == 2
    later = [*older.iterdir(), older / "0003_later.sql"]
    later[-1].write_text("alter table mem_projects add column later text not null default 'new'")
    monkeypatch.setattr(migrate.migrate, "__defaults__", (older,))
    monkeypatch.setattr(migrate, "newest", partial(migrate.newest, older))
    with server.connect(empty_database_url) as conn:
        migrate.migrate(conn)
    assert bring_back(empty_database_url, made).migrations == ["0003_later"]
    with server.connect(empty_database_url) as conn:
        assert conn.execute("select name, later from mem_projects").fetchall() == [
            {"name": "old", "later": "new"}
        ]


def test_a_backup_of_a_newer_version_is_refused(filled: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made = back_up(filled)
    before = contents(filled)
    monkeypatch.setattr(migrate, "newest", lambda: made.schema_version - 1)
    with pytest.raises(AgentMemoryError, match="newer agent-memory") as refused:
        bring_back(filled, made)
    assert "Upgrade" in refused.value.remedy
    assert contents(filled) == before
    assert archive.every() == [made]


STAGES = {
    "while it is restored beside": "agent_memory.database.backup.programs:run",
    "when it is compared": "agent_memory.database.backup.fingerprint:differences",
    "before it takes its place": "agent_memory.database.backup.scratch:swap",
    "before the old one is removed": "agent_memory.database.backup.scratch:drop",
}
KILLED = """
import importlib, os, signal, sys
from agent_memory.database.backup import archive, restore
module, name = sys.argv[3].split(":")
module = importlib.import_module(module)
real = getattr(module, name)
def killed(*arguments):
    if name == "run" and arguments[0].name == "pg_restore":
        import threading
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGKILL)).start()
        return real(*arguments)
    if name == "run":
        return real(*arguments)
    os.kill(os.getpid(), signal.SIGKILL)
setattr(module, name, killed)
with archive.lock():
    restore.restore(sys.argv[1], archive.find(sys.argv[2]), restore.nothing, print)
"""


@pytest.mark.parametrize("stage", STAGES)
def test_a_restore_that_is_killed_leaves_the_old_or_the_new_and_nothing_between(
    filled: str, stage: str
) -> None:
    made = back_up(filled)
    with server.connect(filled) as conn:
        conn.execute("update mem_observations set title = 'changed since'")
    old = contents(filled)
    died = subprocess.run(
        [sys.executable, "-c", KILLED, filled, made.name, STAGES[stage]],
        capture_output=True,
        text=True,
        check=False,
    )
    assert died.returncode == -signal.SIGKILL, died.stderr
    expected = made.tables if stage == "before the old one is removed" else old
    assert contents(filled) == expected
    assert {backup.kind for backup in archive.every()} == {"manual", "before-restore"}
    assert all(verified(filled, backup).verify_problem is None for backup in archive.every())
    assert beside(filled) == []
    bring_back(filled, made)
    assert contents(filled) == made.tables


def test_a_backup_that_is_killed_leaves_nothing_that_is_taken_for_one(filled: str) -> None:
    first = back_up(filled)
    killed = (
        "import os, signal, sys; from agent_memory.database.backup import archive, fingerprint, make\n"
        "fingerprint.tables = lambda conn: os.kill(os.getpid(), signal.SIGKILL)\n"
        "with archive.lock(): make.backup(sys.argv[1], 'daily')"
    )
    died = subprocess.run([sys.executable, "-c", killed, filled], capture_output=True, check=False)
    assert died.returncode == -signal.SIGKILL
    assert len(list(paths.backups().glob(".new-*"))) == 1
    assert archive.every() == [first]
    second = back_up(filled)
    assert archive.every() == [second, first]
    assert list(paths.backups().glob(".new-*")) == []


@contextlib.contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    """A disk of its own for a folder."""
    if not placement.is_root() or shutil.which("mount") is None:
        pytest.skip("NOT TESTED: only root can mount a small disk; run the tests as root, too")
    options = f"size={size},mode=700"
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"NOT TESTED: no small disk can be mounted here: {mounted.stderr.decode().strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def test_a_full_disk_leaves_the_older_backups_and_no_half_one(filled: str) -> None:
    with small_disk(paths.make_private(paths.backups()), "2m"):
        kept = [back_up(filled, "daily") for _ in range(3)]
        with server.connect(filled) as conn:
            conn.execute(
                "update mem_observations set text = (select string_agg(md5(n::text || id), '') from"
                " generate_series(1, 300000) n) where id = (select min(id) from mem_observations)"
            )
        with pytest.raises(AgentMemoryError, match="is full") as refused:
            back_up(filled, "daily")
        assert "no backup was made" in refused.value.problem
        assert archive.every() == kept[::-1]
        assert list(paths.backups().glob(".new-*")) == []
        assert verified(filled, kept[0]).verify_problem is None


def test_the_three_newest_daily_ones_and_every_manual_one_stay(filled: str) -> None:
    manual = [back_up(filled) for _ in range(4)]
    daily = [back_up(filled, "daily") for _ in range(5)]
    assert archive.every() == [*daily[:1:-1], *manual[::-1]]


def test_one_backup_runs_at_a_time(filled: str) -> None:
    with archive.lock(), pytest.raises(AgentMemoryError, match="Another backup"):
        back_up(filled)


def test_an_empty_database_is_not_backed_up(empty_database_url: str) -> None:
    with pytest.raises(AgentMemoryError, match="holds no memory"):
        back_up(empty_database_url)
    assert archive.every() == []


def test_of_a_database_that_is_not_ours_alone_only_what_is_ours_is_touched(filled: str) -> None:
    with server.connect(filled) as conn:
        conn.execute("create schema shop create table orders (number integer)")
        conn.execute("insert into shop.orders values (1)")
        conn.execute('create table "Odd.*" (number serial)')
        conn.execute(
            'create view odd as select * from "Odd.*" where number in (select number from shop.orders)'
        )
    made = back_up(filled)
    assert verified(filled, made).verify_problem is None
    listed = subprocess.run(
        [placement.programs() / "pg_restore", "--list", made.dump], capture_output=True, text=True, check=True
    ).stdout
    assert "mem_observations" in listed
    assert "orders" not in listed
    assert "odd" not in listed.lower()
    with pytest.raises(AgentMemoryError, match=r"not ours \(public\.Odd\.\*, shop\.orders\)") as refused:
        bring_back(filled, made)
    assert "Make a database for agent-memory alone" in refused.value.remedy


def test_the_old_database_is_not_written_to_while_it_is_replaced(filled: str) -> None:
    """A writer waits and is cut off: it never hears of a success that the restore then takes away."""
    made = back_up(filled)
    wrote: list[str] = []

    def write() -> None:
        with contextlib.suppress(psycopg.OperationalError), server.connect(filled) as conn:
            projects.ensure(conn, Identity("path:/late", "late", "/late"))
            conn.commit()
            wrote.append("late")

    writer = threading.Thread(target=write)

    def say(step: str) -> None:
        if step.startswith("restoring"):
            writer.start()

    with archive.lock():
        restore.restore(filled, made, restore.nothing, say)
    writer.join()
    with server.connect(filled) as conn:
        names = [row["name"] for row in conn.execute("select name from mem_projects order by id")]
    assert names == ["shop", *wrote]


def test_a_pool_outlives_a_restore(filled: str) -> None:
    with server.open_pool(filled, size=2) as pool:
        with pool.connection() as conn:
            conn.execute("select 1")
        bring_back(filled, back_up(filled))
        with pool.connection() as conn:
            row = conn.execute("select count(*) as n from mem_observations").fetchone()
        assert row == {"n": len(HOUSE)}


def test_what_was_decided_since_the_backup_is_carried_into_it(filled: str) -> None:
    made = back_up(filled)
    with server.connect(filled) as conn:
        conn.execute("update mem_projects set name = 'renamed since'")

    def renamed(old: Connection, new: Connection) -> None:
        row = old.execute("select name from mem_projects").fetchone()
        assert row is not None
        new.execute("update mem_projects set name = %s", (row["name"],))

    with archive.lock():
        restore.restore(filled, made, renamed, silent)
    with server.connect(filled) as conn:
        assert conn.execute("select name from mem_projects").fetchone() == {"name": "renamed since"}


def test_what_was_forgotten_since_the_backup_does_not_come_back(filled: str, model: Embedder) -> None:
    made = back_up(filled)
    with server.connect(filled) as conn:
        row = conn.execute("select id from mem_observations where text = %s", (MONEY,)).fetchone()
        assert row is not None
        forget.forget(conn, forget.Wanted(ids=(row["id"],)), by="cli")
    with archive.lock():
        restore.restore(filled, made, carry.carry, silent)
    with server.connect(filled) as conn:
        texts = {row["text"] for row in conn.execute("select text from mem_observations")}
        assert texts == set(HOUSE) - {MONEY}
        assert conn.execute("select count(*) as n from mem_tombstones").fetchone() == {"n": 1}
    assert MONEY not in str(hits(filled, model))


def test_no_password_is_seen_in_the_list_of_processes(tmp_path: Path) -> None:
    show = tmp_path / "show"
    show.write_text('#!/bin/sh\necho "$@ / $PGPASSWORD"\n')
    show.chmod(0o755)
    said = programs.run(show, "postgresql://me:s3cret@db.example/mine", "--format=custom").stdout
    assert said.split(" / ")[0] == "--dbname user=me dbname=mine host=db.example --format=custom"
    assert said.split(" / ")[1] == "s3cret\n"


def test_the_programs_of_another_version_are_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(AgentMemoryError, match="needs pg_dump and pg_restore 97") as refused:
        programs.folder("postgresql://me@db.example/mine", 97)
    assert "postgresql-client-97" in refused.value.remedy


def test_a_backup_elsewhere_is_named_by_its_folder(filled: str, tmp_path: Path) -> None:
    made = back_up(filled)
    moved = tmp_path / "kept"
    shutil.copytree(made.folder, moved)
    assert archive.find(str(moved)).tables == made.tables
    with pytest.raises(AgentMemoryError, match="no backup at"):
        archive.find("no-such-one")


def test_what_is_to_go_is_told_by_kind_and_age() -> None:
    def made(kind: Kind, days: int) -> Backup:
        at = datetime(2026, 3, 1, tzinfo=UTC) - timedelta(days=days)
        return Backup(Path(f"{kind}-{days}"), kind, at, "1", "18.4", 2, 0, "", {})

    backups = [made(kind, days) for days in range(5) for kind in ("daily", "manual", "before-restore")]
    gone = [backup.name for backup in archive.surplus(backups)]
    assert gone == ["daily-3", "daily-4", "before-restore-3", "before-restore-4"]


AS_ANOTHER = """
import os, psutil, sys  # all that is needed: root's Python may be closed to him
from agent_memory.database import embedded, migrate, server
from agent_memory.database.backup import archive, fingerprint, make, restore
uid = int(sys.argv[1])
os.setgroups([]), os.setgid(uid), os.setuid(uid)
url = embedded.ensure_running()
with server.connect(url) as conn:
    migrate.migrate(conn)
    conn.execute("insert into mem_projects (identity, name) values ('path:/p', 'mine')")
with archive.lock():
    made = make.backup(url, "manual")
    assert restore.verify(url, made).verify_problem is None
    with server.connect(url) as conn:
        conn.execute("delete from mem_projects")
    restore.restore(url, made, restore.nothing, lambda step: None)
with server.connect(url) as conn:
    assert fingerprint.tables(conn) == made.tables
    print(conn.execute("select name from mem_projects").fetchone())
"""


@needs_root
def test_an_ordinary_user_backs_up_and_restores_as_root_does(strangers_folder: Path) -> None:
    uid = pwd.getpwnam(STRANGER).pw_uid
    done = subprocess.run(
        [sys.executable, "-c", AS_ANOTHER, str(uid)], capture_output=True, text=True, check=False, cwd="/"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "{'name': 'mine'}\n"
    files = [path for path in (strangers_folder / "home/backups").rglob("*") if path.is_file()]
    assert {(path.stat().st_uid, path.stat().st_mode & 0o777) for path in files} == {(uid, 0o600)}
