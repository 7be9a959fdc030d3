"""A backup each night: what is written for launchd, systemd and cron, with the real programs where they are here."""

from __future__ import annotations

import os
import plistlib
import pwd
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from agent_memory import paths, settings
from agent_memory.cli.main import app
from agent_memory.database import placement
from agent_memory.database.backup import schedule
from agent_memory.errors import AgentMemoryError

BACKUP = [sys.executable, "-I", "-m", "agent_memory", "backup", "now", "--daily"]
STRANGER = "nobody"


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is the whole PATH: the machine has the programs that a test puts there."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def put(folder: Path, name: str, script: str) -> None:
    (folder / name).write_text(f"#!{shutil.which('sh', path=os.defpath)}\nPATH={os.defpath}\n{script}\n")
    (folder / name).chmod(0o755)


def put_crontab(folder: Path) -> Path:
    """A crontab that keeps its table in a file, and one line of the user's own in it."""
    table = folder / "table"
    table.write_text("0 5 * * * tidy # not-agent-memory\n")
    put(
        folder,
        "crontab",
        f'if [ "$1" = -l ]; then cat {table}; else cat >{table}.new; mv {table}.new {table}; fi',
    )
    return table


def put_systemctl(folder: Path) -> Path:
    """A systemd that believes everything, and notes what it was told."""
    told = folder / "told"
    answer = f'echo "$@" >>{told}; case "$2" in is-active) grep -q enable {told};; esac'
    put(folder, "systemctl", answer)
    return told


def run(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["backup", "schedule", *arguments])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.output


def test_cron_gets_one_line_and_keeps_the_users_own(programs: Path) -> None:
    table = put_crontab(programs)
    assert run("--check")[0] == 1
    assert run()[1].startswith("A backup is made each night at 03:14, by cron.\n")
    lines = table.read_text().splitlines()
    assert len(lines) == 2
    assert lines[0] == "0 5 * * * tidy # not-agent-memory"
    assert lines[1] == f"14 3 * * * {' '.join(BACKUP)} >>{paths.logs()}/backup.log 2>&1 # agent-memory-backup"
    assert run("--check")[0] == 0
    assert "as before" in run()[1]
    assert table.read_text().splitlines() == lines
    assert "Removed" in run("--remove")[1]
    assert table.read_text().splitlines() == lines[:1]
    assert schedule.asked() is None


def test_an_older_line_of_ours_is_replaced(programs: Path) -> None:
    table = put_crontab(programs)
    table.write_text("14 3 * * * /gone/python -m agent_memory backup now # agent-memory-backup\n")
    assert run("--check")[0] == 1
    run()
    assert len(table.read_text().splitlines()) == 1
    assert run("--check")[0] == 0


def test_a_moved_home_has_a_job_of_its_own(
    programs: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    table = put_crontab(programs)
    run()
    monkeypatch.setenv("AGENT_MEMORY_HOME", str(tmp_path / "an other 100%"))
    run()
    lines = table.read_text().splitlines()
    assert len(lines) == 3
    assert f"AGENT_MEMORY_HOME='{tmp_path}/an other 100\\%' " in lines[2]


def test_a_crontab_that_cannot_be_read_is_not_written_over(programs: Path) -> None:
    table = put_crontab(programs)
    before = table.read_text()
    put(programs, "crontab", f'if [ "$1" = -l ]; then echo "disk error" >&2; exit 1; else cat >{table}; fi')
    with pytest.raises(AgentMemoryError, match="disk error"):
        schedule.install(settings.load())
    assert table.read_text() == before


@pytest.fixture
def strangers_crontab() -> Iterator[None]:
    """The real crontab of an ordinary user who has none."""
    if shutil.which("crontab") is None or not placement.is_root():
        pytest.skip("NOT TESTED: the real crontab is not here, or only root may try it as another user")
    if subprocess.run(["crontab", "-u", STRANGER, "-l"], capture_output=True, check=False).returncode == 0:
        pytest.skip(f"NOT TESTED: {STRANGER} has a crontab already")
    yield
    subprocess.run(["crontab", "-u", STRANGER, "-r"], capture_output=True, check=False)


def test_the_real_crontab_takes_the_line(strangers_crontab: None, tmp_path: Path) -> None:
    act = (
        "import os, sys; from agent_memory.database.backup import schedule; made = schedule.job()\n"
        "uid = int(sys.argv[1]); os.setgroups([]); os.setgid(uid); os.setuid(uid)\n"
        "assert schedule.CRON.available(); one = schedule.CRON\n"
        "one.install(made); one.install(made); assert schedule.is_current(one, made); print(schedule._line(made))"
    )
    uid = str(pwd.getpwnam(STRANGER).pw_uid)
    done = subprocess.run(
        [sys.executable, "-c", act, uid], capture_output=True, text=True, check=False, cwd="/"
    )
    assert done.returncode == 0, done.stderr
    listed = subprocess.run(
        ["crontab", "-u", STRANGER, "-l"], capture_output=True, text=True, check=True
    ).stdout
    assert [line for line in listed.splitlines() if not line.startswith("#")] == [done.stdout.strip()]


def test_systemd_gets_a_timer_that_makes_up_for_a_night_asleep(programs: Path) -> None:
    told = put_systemctl(programs)
    put_crontab(programs)  # the second choice
    assert run("--check")[0] == 1
    assert run()[1].startswith("A backup is made each night at 03:14, by systemd.\n")
    folder = Path.home() / ".config/systemd/user"
    timer = (folder / "agent-memory-backup.timer").read_text()
    assert "OnCalendar=*-*-* 03:14:00\nPersistent=true\n" in timer
    assert f'ExecStart="{sys.executable}" "-I"' in (folder / "agent-memory-backup.service").read_text()
    assert "--user enable --now agent-memory-backup.timer" in told.read_text()
    assert run("--check")[0] == 0
    run("--remove")
    assert list(folder.iterdir()) == []
    assert "--user disable --now agent-memory-backup.timer" in told.read_text()


def test_systemd_finds_nothing_wrong_with_the_units(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("NOT TESTED: systemd-analyze is not here")
    monkeypatch.setenv("AGENT_MEMORY_HOME", '/somewhere/an "other" 100% $HOME')
    units = schedule.SYSTEMD.wanted(schedule.job())
    for path, text in units.items():
        (tmp_path / Path(path).name).write_text(text)
    files = [tmp_path / Path(path).name for path in units]
    said = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *files], capture_output=True, text=True, check=False
    )
    assert not [line for line in said.stderr.splitlines() if "agent-memory" in line]
    assert said.returncode == 0
    when = subprocess.run(
        ["systemd-analyze", "calendar", "*-*-* 03:14:00"], capture_output=True, text=True, check=True
    )
    assert "03:14:00" in when.stdout


def test_launchd_gets_a_property_list(programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """launchd itself is not here: NOT TESTED is what it makes of the file."""
    told = programs / "told"
    put(programs, "launchctl", f'echo "$@" >>{told}; case "$1" in print) grep -q bootstrap {told};; esac')
    monkeypatch.setattr(sys, "platform", "darwin")
    assert run()[1].startswith("A backup is made each night at 03:14, by launchd.\n")
    (file,) = (Path.home() / "Library/LaunchAgents").iterdir()
    job = plistlib.loads(file.read_bytes())
    assert job["ProgramArguments"] == BACKUP
    assert job["StartCalendarInterval"] == {"Hour": 3, "Minute": 14}
    assert f"bootstrap gui/{os.getuid()} {file}" in told.read_text()
    assert run("--check")[0] == 0
    run("--remove")
    assert not file.exists()


def test_a_machine_with_no_scheduler_is_told_what_to_do(programs: Path) -> None:
    with pytest.raises(AgentMemoryError, match="no launchd, no systemd user timers and no cron") as refused:
        run()
    assert " ".join(BACKUP) in refused.value.remedy


def test_a_database_that_only_the_environment_names_is_not_scheduled(
    programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The scheduler would back up another one."""
    table = put_crontab(programs)
    before = table.read_text()
    monkeypatch.setenv("DATABASE_URL", "postgresql://me@db.example/mine")
    with pytest.raises(AgentMemoryError, match="Only the environment names the database"):
        schedule.install(settings.load())
    assert table.read_text() == before
    paths.make_private(paths.home())
    paths.config_file().write_text('database_url = "postgresql://me@db.example/mine"\n')
    schedule.install(settings.load())
    assert table.read_text() != before
