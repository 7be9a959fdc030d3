"""Several machines on one database, each with a home of its own: what is whose, and what only one of them does."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.integration.test_drain import payload, rows, spooled

from agent_memory import machine, paths, settings
from agent_memory.capture import backfill, reconcile
from agent_memory.capture.drain import drain
from agent_memory.database import Connection, server
from agent_memory.database.migrate import NewerSchemaError
from agent_memory.forgetting import retention
from agent_memory.forgetting.retention import Policy
from agent_memory.journal import projects, store
from agent_memory.journal.event import Event, Prompt
from agent_memory.journal.ingest import ingest
from agent_memory.lessons import mined, miner
from agent_memory.observations import queue

NOW = datetime.now(UTC)


@pytest.fixture
def other(home: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Any]:
    """Be the other machine for a block."""

    @contextmanager
    def on_other() -> Iterator[None]:
        with monkeypatch.context() as patch:
            patch.setenv("AGENT_MEMORY_HOME", str(home.parent / "other-home"))
            yield

    return on_other


def say(conn: Connection, session: str, cwd: str, *, at: datetime = NOW) -> str:
    """A prompt in a folder; the identity of the project that it went to."""
    body = Prompt(text=f"Please look at {session}")
    event = Event(agent="claude", session_id=session, occurred_at=at, cwd=cwd, prompt_id="p", body=body)
    ingest(conn, [event], settings.load())
    conn.commit()
    return store.identities(conn, [session])[session]


def repository(folder: Path, *, remote: str | None = None, commit: str | None = None) -> Path:
    subprocess.run(["git", "init", "-q", str(folder)], check=True)
    if remote:
        subprocess.run(["git", "-C", str(folder), "remote", "add", "origin", remote], check=True)
    if commit:  # whose reflog says so
        log = folder / ".git/logs"
        log.mkdir(exist_ok=True)
        (log / "HEAD").write_text(f"{'0' * 40} {'1' * 40} {commit} 1 +0000\tcommit (initial)\n")
    return folder


def test_a_machine_keeps_its_name(home: Path) -> None:
    name = machine.here()
    assert paths.machine().read_text(encoding="utf-8").strip() == name
    machine._read.cache_clear()
    assert machine.here() == name


def test_a_path_on_two_machines_is_two_projects_and_each_finds_its_own(
    conn: Connection, other: Callable[[], Any]
) -> None:
    assert say(conn, "here", "/srv/work") == "path:/srv/work"
    with other():
        there = f"path:/srv/work on {machine.here()}"
        assert say(conn, "there", "/srv/work") == there
        assert say(conn, "there-again", "/srv/work") == there
        own = projects.resolve(conn, "/srv/work")
        assert own is not None
        assert store.project(conn, own)["identity"] == there
        assert projects.groups(conn).of("/srv/work") == there
        assert projects.known(conn, projects.identify("/srv/work")) == own
    assert projects.groups(conn).of("/srv/work") == "path:/srv/work"
    mine = projects.resolve(conn, "/srv/work")
    assert mine not in (None, own)
    assert say(conn, "here-again", "/srv/work") == "path:/srv/work"


def test_a_remote_is_one_project_wherever_its_clones_lie(
    conn: Connection, other: Callable[[], Any], tmp_path: Path
) -> None:
    here = repository(tmp_path / "a", remote="https://github.com/shop/web.git")
    there = repository(tmp_path / "b", remote="git@github.com:shop/web")
    assert say(conn, "here", str(here)) == "git:github.com/shop/web"
    with other():
        assert say(conn, "there", str(there)) == "git:github.com/shop/web"


def test_a_copy_of_a_repository_without_a_remote_is_the_same_project_and_another_one_is_not(
    conn: Connection, other: Callable[[], Any], tmp_path: Path
) -> None:
    folder = repository(tmp_path / "notes", commit="Ann <ann@example.org> 1700000000")
    key = f"dir:{folder}/.git"
    assert say(conn, "here", str(folder)) == key
    with other():
        assert say(conn, "copied", str(folder)) == key
        (folder / ".git/logs/HEAD").write_text(
            f"{'0' * 40} {'2' * 40} Bob <b@example.org> 1800000000 +0\tx\n"
        )
        assert say(conn, "stranger", str(folder)) == f"{key} on {machine.here()}"


def test_places_of_an_earlier_version_belong_to_the_first_machine_that_works_there(
    conn: Connection, other: Callable[[], Any]
) -> None:
    say(conn, "old", "/srv/work")
    conn.execute("update mem_projects set machine = null")
    with other():
        assert say(conn, "first", "/srv/work") == "path:/srv/work"
    assert say(conn, "second", "/srv/work") == f"path:/srv/work on {machine.here()}"


def test_a_database_of_this_machine_alone_has_no_places_elsewhere(
    conn: Connection, other: Callable[[], Any]
) -> None:
    """As after a backup was restored on a new machine."""
    say(conn, "before", "/srv/work")
    with other():
        store.own_places(conn, machine.here())
        assert say(conn, "after", "/srv/work") == "path:/srv/work"


def test_how_far_a_file_was_read_is_each_machines_own(
    conn: Connection, other: Callable[[], Any], tmp_path: Path
) -> None:
    file = tmp_path / ".claude/projects/-srv-work/11111111-1111-4111-8111-111111111111.jsonl"
    file.parent.mkdir(parents=True)
    line = (
        '{"type":"user","sessionId":"%s","uuid":"u%s","timestamp":"2026-01-01T10:00:00Z","cwd":"/srv/work",'
        '"message":{"role":"user","content":"Hello from %s"}}\n'
    )
    file.write_text(line % ("s-here", 1, "here"), encoding="utf-8")
    backfill.backfill(conn, [file], settings.load(), lambda _: None)
    conn.commit()
    file.write_text(line % ("s-there", 2, "there"), encoding="utf-8")  # as long, and another machine's
    with other():
        backfill.backfill(conn, [file], settings.load(), lambda _: None)
        conn.commit()
    assert {row["id"] for row in rows(conn, "mem_sessions")} == {"s-here", "s-there"}


def test_only_the_files_of_this_machines_sessions_are_looked_at_again(
    conn: Connection, other: Callable[[], Any]
) -> None:
    told = {"cwd": "/srv/work", "transcript_path": "/home/ann/.claude/projects/x/y.jsonl", "prompt_id": "p"}
    spooled(payload("UserPromptSubmit", **told, session_id="mine", prompt="Hello"))
    drain(conn, settings.load())
    assert reconcile.recent(conn)
    with other():
        assert not reconcile.recent(conn)


def test_a_database_that_is_ahead_gets_nothing_and_the_events_wait(conn: Connection) -> None:
    conn.execute(
        "insert into mem_schema_migrations (version, name, checksum) values (9999, '9999_from_the_future', 'x')"
    )
    conn.commit()
    spooled(payload("UserPromptSubmit", session_id="s", cwd="/srv/work", prompt_id="p", prompt="Hello"))
    with pytest.raises(NewerSchemaError, match="Upgrade"):
        drain(conn, settings.load())
    conn.rollback()
    assert rows(conn, "mem_sessions") == []
    assert len(list(paths.spool_new().iterdir())) == 1
    assert not paths.spool_bad().exists()
    conn.execute("delete from mem_schema_migrations where version = 9999")
    drain(conn, settings.load())
    assert len(rows(conn, "mem_sessions")) == 1


def test_one_machine_at_a_time_looks_for_lessons(conn: Connection, database_url: str) -> None:
    assert mined.lease(conn)
    conn.commit()
    with server.connect(database_url) as second:
        assert not mined.lease(second)
        assert miner.run(second, settings.load()) == 0
    conn.execute("update mem_mining set leased_until = now() - interval '1 second'")
    conn.commit()
    with server.connect(database_url) as second:
        assert mined.lease(second), "a machine that died keeps it only for a while"


def test_retention_runs_once_a_day_whichever_machine_is_first(conn: Connection, database_url: str) -> None:
    for number in range(5):
        say(conn, f"old-{number}", "/srv/work", at=NOW - timedelta(days=40))
    retention.change(conn, Policy(project_id=None, days=30))
    conn.commit()
    done: list[Any] = []

    def run() -> None:
        with server.connect(database_url) as mine:
            done.append(retention.run_if_due(mine, settings.load()))

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(one is not None and one.counts.get("mem_sessions") == 5 for one in done) == 1
    assert rows(conn, "mem_user_prompts") == []
    with server.connect(database_url) as mine:
        assert retention.run_if_due(mine, settings.load()) is None


def test_a_turn_is_claimed_by_one_worker_of_many(conn: Connection, database_url: str) -> None:
    for number in range(60):
        say(conn, f"s-{number}", "/srv/work")
    claimed: list[int] = []

    def work() -> None:
        with server.connect(database_url) as mine:
            while rows_ := queue.claim(mine, 7):
                mine.commit()
                claimed.extend(row.id for row in rows_)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(claimed) == len(set(claimed)) == 60
