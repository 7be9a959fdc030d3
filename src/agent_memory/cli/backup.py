"""Backups: made, listed, proven, brought back, and made each night."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agent_memory import paths, running, settings
from agent_memory.cli import completing
from agent_memory.cli.tables import print_table
from agent_memory.cli.terminal import (
    AsJson,
    answered,
    audit,
    console,
    print_error,
    print_json,
    readable,
    span,
    tell,
)

if TYPE_CHECKING:
    from agent_memory.database.backup.archive import Backup
    from agent_memory.database.backup.schedule import Scheduler

Which = Annotated[
    str | None,
    typer.Argument(
        metavar="NAME",
        autocompletion=completing.backup,
        help="A backup's name or folder. Default: the newest daily or manual one.",
    ),
]

group = typer.Typer(help="Back the memory up, prove a backup, bring one back.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    app.add_typer(group, name="backup")


@group.command()
def now(
    *,
    daily: Annotated[
        bool, typer.Option("--daily", help="As the scheduler makes it each night: only the 3 newest stay.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make a backup. The service may run meanwhile."""
    from agent_memory.database import server
    from agent_memory.database.backup import archive, make

    with archive.lock(), archive.failure_recorded() if daily else nullcontext():
        # Whoever types it wants this database backed up, whoever named it; the scheduler has no such environment.
        made = make.backup(server.conninfo(settings.load()), "daily" if daily else "manual")
        gone = archive.prune()
    if as_json:
        print_json(_manifest(made))
        return
    typer.echo(
        f"Backed up {made.rows:,} rows of {len(made.tables)} tables into {made.folder} ({_size(made.size)})."
    )
    if gone:
        typer.echo(f"Removed {', '.join(backup.name for backup in gone)}: newer ones took their place.")


@group.command("list")
def list_backups(*, as_json: AsJson = False) -> None:
    """List the backups, the newest first."""
    from agent_memory.database.backup import archive

    backups = archive.every()
    if as_json:
        print_json([archive.manifest(backup) for backup in backups])
        return
    if not backups:
        typer.echo("There is no backup yet. Make one: agent-memory backup now")
        return
    print_table(
        ("kind", "age", "size", "verified", "name"),
        [
            (backup.kind, _age(backup.made_at), _size(backup.size), _verified(backup), backup.name)
            for backup in backups
        ],
        wide="name",
        right=("age", "size"),
        fold=True,
    )
    console().print(f"in {readable(str(paths.backups()))}", style="dim", markup=False)


@group.command()
def verify(name: Which = None, *, as_json: AsJson = False) -> None:
    """Restore a backup into a scratch database and compare it.

    Every table is compared with what was backed up. Exit code 1: the backup is broken.
    """
    from agent_memory.database import server
    from agent_memory.database.backup import archive, restore

    with archive.lock():
        backup = restore.verify(server.conninfo(settings.load()), archive.find(name))
    if as_json:
        print_json(_manifest(backup))
    elif backup.verify_problem:
        print_error(
            f"{backup.name} is broken: {backup.verify_problem}.",
            "Delete its folder, and make another one: agent-memory backup now",
        )
    else:
        typer.echo(
            f"{backup.name} is whole: restored, {backup.rows:,} rows of {len(backup.tables)} tables are the same."
        )
    if backup.verify_problem:
        raise typer.Exit(1)


@group.command("restore")
def bring_back(
    name: Which = None,
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Put a backup in the place of what is stored now.

    What is stored now is backed up first.

    The service stops meanwhile and is started again; what agents do waits in the spool. What was forgotten since the
    backup stays forgotten.
    """
    from agent_memory.database import server
    from agent_memory.database.backup import archive, restore
    from agent_memory.forgetting import carry

    backup = archive.find(name)
    out = console(stderr=as_json)
    out.print(
        f"[bold]{backup.name}[/bold], {_age(backup.made_at)} old, {backup.rows:,} rows, takes the place of all that"
        " is stored now (which is backed up first)."
    )
    if not yes:
        _ask()
    conninfo = server.conninfo(settings.load(), adopt=True)
    with archive.lock(), running.standing_still() as ran:
        done = restore.restore(
            conninfo, backup, carry.carry, lambda step: out.print(f"  {step} …", style="dim")
        )
    with server.connect(conninfo) as conn:
        audit(conn, "backup restore", kind="admin", target=backup.name)
    if as_json:
        before = done.before.name if done.before else None
        print_json(
            {"restored": backup.name, "rows": backup.rows, "before": before, "migrations": done.migrations}
        )
        return
    out.print(f"Restored {backup.rows:,} rows of {backup.made_at.astimezone():%Y-%m-%d %H:%M}.")
    if done.migrations:
        out.print(f"Brought up to this version: {', '.join(done.migrations)}.")
    if done.before:
        out.print(f"What was there before: agent-memory backup restore {done.before.name}")
    if ran:
        out.print("The service runs again, and stores what waited in the spool.")


@group.command("schedule")
def each_night(
    *,
    check: Annotated[
        bool, typer.Option("--check", help="Only say whether it is set up. Exit code 1: it is not.")
    ] = False,
    remove: Annotated[bool, typer.Option("--remove", help="Make no more backups by night.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make a backup each night at 03:14.

    By launchd, systemd or cron, whichever is there.
    """
    from agent_memory.database.backup import schedule

    if check:
        one = schedule.scheduler()
        current = schedule.is_current(one, schedule.job())
        tell(
            f"A backup is made each night at 03:14, by {one.name}."
            if current
            else f"No backup is made by night: {one.name} has no such job, or an older form of it."
            " Set it up: agent-memory backup schedule",
            {"scheduler": one.name, "scheduled": current},
            as_json=as_json,
        )
        if not current:
            raise typer.Exit(1)
        return
    if remove:
        removed = schedule.remove()
        tell(
            "Removed; no backup is made by night." if removed else "No backup was made by night.",
            {"scheduled": False, "changed": removed},
            as_json=as_json,
        )
        return
    one, changed = schedule.install(settings.load())
    if as_json:
        print_json({"scheduler": one.name, "scheduled": True, "changed": changed, "runs": _runs(one)})
        return
    typer.echo(f"A backup is made each night at 03:14, by {one.name}{'' if changed else ', as before'}.")
    for place, text in one.found(schedule.job()).items():
        typer.echo(f"\n{place}:\n{text.rstrip()}")
    if not _runs(one):
        console().print(
            "\nBut cron does not run here. Start it, such as by: service cron start", style="yellow"
        )


def _runs(one: Scheduler) -> bool:
    """Whether the scheduler itself runs: cron may be installed and stopped."""
    import psutil

    from agent_memory.database.backup import schedule

    return one is not schedule.CRON or any(
        process.info["name"] in ("cron", "crond") for process in psutil.process_iter(["name"])
    )


def _ask() -> None:
    with answered(
        "A restore replaces what is stored, and nobody is here to ask; nothing was changed.", "Add --yes."
    ):
        answer = typer.prompt("Type yes to go on", default="no")
    if answer.strip().lower() != "yes":
        typer.echo("Nothing was changed.")
        raise typer.Exit(1)


def _manifest(backup: Backup) -> dict[str, Any]:
    from agent_memory.database.backup import archive

    return archive.manifest(backup)


def _verified(backup: Backup) -> str:
    if backup.verified_at is None:
        return "never"
    return "BROKEN" if backup.verify_problem else f"{_age(backup.verified_at)} ago"


def _age(moment: datetime) -> str:
    return span((datetime.now(UTC) - moment).total_seconds())


def _size(count: int) -> str:
    size = float(count)
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"
