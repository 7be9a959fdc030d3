"""A backup each night at 03:14, by what the machine has: launchd, systemd's user timers or cron.

What is written there is one job, named after this home; it is written once, however often it is asked for. That it was
asked for is kept in the home, so that health can tell when the nights went by without a backup.
"""

from __future__ import annotations

import hashlib
import json
import os
import plistlib
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from agent_memory import paths
from agent_memory.errors import AgentMemoryError
from agent_memory.settings import Settings, load_from_home

HOUR, MINUTE = 3, 14


@dataclass(frozen=True, slots=True)
class Job:
    name: str
    command: tuple[str, ...]
    environment: dict[str, str]
    log: Path


@dataclass(frozen=True, slots=True)
class Scheduler:
    name: str
    available: Callable[[], bool]
    wanted: Callable[[Job], dict[str, str]]
    """What stands where: the text of each file, or of the crontab's line."""
    found: Callable[[Job], dict[str, str]]
    """The same as it is now."""
    active: Callable[[Job], bool]
    """Whether the scheduler knows of what is written."""
    install: Callable[[Job], None]
    remove: Callable[[Job], None]


@dataclass(frozen=True, slots=True)
class Scheduled:
    """What `asked` knows."""

    scheduler: str
    at: datetime


def job() -> Job:
    own = paths.home() != Path.home() / ".agent-memory"
    name = "agent-memory-backup"
    if own:
        name += f"-{hashlib.sha256(os.fsencode(paths.home())).hexdigest()[:8]}"
    return Job(
        name,
        (sys.executable, "-I", "-m", "agent_memory", "backup", "now", "--daily"),
        {"AGENT_MEMORY_HOME": str(paths.home())} if own else {},
        paths.logs() / "backup.log",
    )


def scheduler() -> Scheduler:
    """The machine's. AgentMemoryError, with what to do by hand, where it has none."""
    for one in SCHEDULERS:
        if one.available():
            return one
    made = job()
    variables = [f"{name}={value}" for name, value in made.environment.items()]
    by_hand = shlex.join([*(["env", *variables] if variables else []), *made.command])
    raise AgentMemoryError(
        "This machine has no launchd, no systemd user timers and no cron to make a backup each night.",
        f"Install cron, or let a scheduler of your own run each day: {by_hand}",
    )


def is_current(one: Scheduler, made: Job) -> bool:
    """Whether the job is there, as we would write it, and known to the scheduler."""
    return one.found(made) == one.wanted(made) and one.active(made)


def install(config: Settings) -> tuple[Scheduler, bool]:
    """Have a backup made each night. The scheduler, and whether anything had to be changed."""
    if config.external_database != load_from_home().external_database:
        raise AgentMemoryError(
            "Only the environment names the database (DATABASE_URL or POSTGRES_HOST), and a scheduler has none of it.",
            f"Write it into {paths.config_file()}, then try again.",
        )
    one, made = scheduler(), job()
    paths.make_private(made.log.parent)
    changed = not is_current(one, made)
    if changed:
        one.install(made)
    if asked() is None or changed:
        _note().write_text(json.dumps({"scheduler": one.name, "at": datetime.now(UTC).isoformat()}), "utf-8")
    return one, changed


def remove() -> bool:
    """Take the job out of whichever scheduler has it. False: none had."""
    made, found = job(), False
    for one in SCHEDULERS:
        if one.found(made):
            one.remove(made)
            found = True
    _note().unlink(missing_ok=True)
    return found


def asked() -> Scheduled | None:
    """Whether the user has asked for a backup each night, where, and when."""
    try:
        said = json.loads(_note().read_text("utf-8"))
        return Scheduled(str(said["scheduler"]), datetime.fromisoformat(said["at"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _note() -> Path:
    return paths.make_private(paths.backups()) / ".scheduled.json"


def _run(*command: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, input=text, capture_output=True, text=True, check=False)


def _do(*command: str, text: str | None = None) -> None:
    done = _run(*command, text=text)
    if done.returncode:
        raise AgentMemoryError(
            f"{shlex.join(command)} failed: {' '.join((done.stderr or done.stdout).split())}",
            "Mend that, then run again: agent-memory backup schedule",
        )


def _texts(files: dict[Path, str]) -> dict[str, str]:
    return {str(file): text for file, text in files.items()}


def _read(files: dict[Path, str]) -> dict[str, str]:
    return {str(file): file.read_text("utf-8") for file in files if file.exists()}


def _write(files: dict[Path, str]) -> None:
    for file, text in files.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        draft = file.with_name(f".{file.name}.new")
        draft.write_text(text, "utf-8")
        draft.rename(file)


# launchd


def _plist(made: Job) -> dict[Path, str]:
    label = f"dev.{made.name}"
    job = {
        "Label": label,
        "ProgramArguments": list(made.command),
        "StartCalendarInterval": {
            "Hour": HOUR,
            "Minute": MINUTE,
        },  # a Mac that sleeps then does it when it wakes
        "ProcessType": "Background",
        "StandardOutPath": str(made.log),
        "StandardErrorPath": str(made.log),
    }
    if made.environment:
        job["EnvironmentVariables"] = made.environment
    return {Path.home() / f"Library/LaunchAgents/{label}.plist": plistlib.dumps(job).decode()}


def _launchd_install(made: Job) -> None:
    _run("launchctl", "bootout", f"gui/{os.getuid()}/dev.{made.name}")  # an older form of it
    files = _plist(made)
    _write(files)
    for file in files:
        _do("launchctl", "bootstrap", f"gui/{os.getuid()}", str(file))


def _launchd_remove(made: Job) -> None:
    _run("launchctl", "bootout", f"gui/{os.getuid()}/dev.{made.name}")
    for file in _plist(made):
        file.unlink(missing_ok=True)


LAUNCHD = Scheduler(
    "launchd",
    lambda: sys.platform == "darwin" and shutil.which("launchctl") is not None,
    lambda made: _texts(_plist(made)),
    lambda made: _read(_plist(made)),
    lambda made: _run("launchctl", "print", f"gui/{os.getuid()}/dev.{made.name}").returncode == 0,
    _launchd_install,
    _launchd_remove,
)

# systemd


def _units(made: Job) -> dict[Path, str]:
    folder = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "systemd/user"
    variables = "".join(f"Environment={_systemd_word(f'{n}={v}')}\n" for n, v in made.environment.items())
    command = " ".join(map(_systemd_word, made.command))
    return {
        folder / f"{made.name}.service": (
            "# Written by: agent-memory backup schedule\n"
            "[Unit]\nDescription=A backup of agent-memory\n\n"
            f"[Service]\nType=oneshot\nNice=10\n{variables}ExecStart={command}\n"
        ),
        folder / f"{made.name}.timer": (
            "# Written by: agent-memory backup schedule\n"
            "[Unit]\nDescription=A backup of agent-memory each night\n\n"
            f"[Timer]\nOnCalendar=*-*-* {HOUR:02}:{MINUTE:02}:00\nPersistent=true\n\n"
            "[Install]\nWantedBy=timers.target\n"
        ),
    }


def _systemd_word(word: str) -> str:
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"'


def _systemd_install(made: Job) -> None:
    _write(_units(made))
    _do("systemctl", "--user", "daemon-reload")
    _do("systemctl", "--user", "enable", "--now", f"{made.name}.timer")


def _systemd_remove(made: Job) -> None:
    _run("systemctl", "--user", "disable", "--now", f"{made.name}.timer")
    for file in _units(made):
        file.unlink(missing_ok=True)
    _run("systemctl", "--user", "daemon-reload")


SYSTEMD = Scheduler(
    "systemd",
    lambda: (
        shutil.which("systemctl") is not None
        and _run("systemctl", "--user", "show-environment").returncode == 0
    ),
    lambda made: _texts(_units(made)),
    lambda made: _read(_units(made)),
    lambda made: _run("systemctl", "--user", "is-active", f"{made.name}.timer").returncode == 0,
    _systemd_install,
    _systemd_remove,
)

# cron

CRONTAB = "crontab"


def _line(made: Job) -> str:
    variables = "".join(f"{name}={shlex.quote(value)} " for name, value in made.environment.items())
    command = f"{variables}{shlex.join(made.command)} >>{shlex.quote(str(made.log))} 2>&1".replace("%", "\\%")
    return f"{MINUTE} {HOUR} * * * {command} # {made.name}"


def _crontab() -> list[str]:
    done = _run("crontab", "-l")
    if done.returncode and "no crontab" not in done.stderr:  # what cannot be read must not be written over
        raise AgentMemoryError(
            f"crontab -l failed: {' '.join(done.stderr.split())}",
            "Mend that, then run again: agent-memory backup schedule",
        )
    return done.stdout.splitlines() if done.returncode == 0 else []


def _is_ours(line: str, made: Job) -> bool:
    return line.endswith(f"# {made.name}")


def _cron_found(made: Job) -> dict[str, str]:
    if shutil.which("crontab") is None:
        return {}
    ours = [line for line in _crontab() if _is_ours(line, made)]
    return {CRONTAB: "\n".join(ours)} if ours else {}


def _cron_write(made: Job, *more: str) -> None:
    kept = [line for line in _crontab() if not _is_ours(line, made)]
    _do("crontab", "-", text="".join(f"{line}\n" for line in [*kept, *more]))


CRON = Scheduler(
    "cron",
    lambda: shutil.which("crontab") is not None and "not allowed" not in _run("crontab", "-l").stderr,
    lambda made: {CRONTAB: _line(made)},
    _cron_found,
    lambda made: True,  # noqa: ARG005 - cron reads the table by itself
    lambda made: _cron_write(made, _line(made)),
    _cron_write,
)

SCHEDULERS = (LAUNCHD, SYSTEMD, CRON)
