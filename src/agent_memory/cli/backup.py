"""Backups: made, listed, proven, brought back, and made each night."""

from __future__ import annotations

import json
from contextlib import nullcontext
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from agent_memory import paths, settings
from agent_memory.cli.terminal import AsJson, audit, span
from agent_memory.errors import AgentMemoryError

if TYPE_CHECKING:
    from agent_memory.database.backup.archive import Backup

Which = Annotated[
    str | None,
    typer.Argument(
        metavar="[NAME]", help="A backup's name or folder. Default: the newest daily or manual one."
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
        typer.echo(_json(made))
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
        typer.echo(json.dumps([archive.manifest(backup) for backup in backups], indent=2, default=str))
        return
    if not backups:
        typer.echo("There is no backup yet. Make one: agent-memory backup now")
        return
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("name", "kind", "age", "size", "verified"):
        table.add_column(name, justify="right" if name in ("age", "size") else "left", no_wrap=True)
    for backup in backups:
        table.add_row(
            backup.name,
            backup.kind,
            _age(backup.made_at),
            _size(backup.size),
            _verified(backup),
        )
    console = Console(highlight=False)
    console.print(table)
    console.print(f"in {paths.backups()}", style="dim")


@group.command()
def verify(name: Which = None, *, as_json: AsJson = False) -> None:
    """Restore a backup into a scratch database and compare every table with what was backed up. Exit code 1: broken."""
    from agent_memory.database import server
    from agent_memory.database.backup import archive, restore

    with archive.lock():
        backup = restore.verify(server.conninfo(settings.load()), archive.find(name))
    if as_json:
        typer.echo(_json(backup))
    elif backup.verify_problem:
        typer.secho(f"{backup.name} is broken: {backup.verify_problem}.", fg=typer.colors.RED, err=True)
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
) -> None:
    """Put a backup in the place of what is stored now, which is backed up first.

    The service stops meanwhile and is started again; what agents do waits in the spool. What was forgotten since the
    backup stays forgotten.
    """
    from agent_memory.database import server
    from agent_memory.database.backup import archive, restore
    from agent_memory.forgetting import carry
    from agent_memory.service import run

    backup = archive.find(name)
    console = Console(highlight=False)
    console.print(
        f"[bold]{backup.name}[/bold], {_age(backup.made_at)} old, {backup.rows:,} rows, takes the place of all that"
        " is stored now (which is backed up first)."
    )
    if not yes:
        _ask()
    conninfo = server.conninfo(settings.load(), adopt=True)
    with archive.lock(), run.standing_still() as ran:
        done = restore.restore(
            conninfo, backup, carry.carry, lambda step: console.print(f"  {step} …", style="dim")
        )
    with server.connect(conninfo) as conn:
        audit(conn, "backup restore", kind="admin", target=backup.name)
    console.print(f"Restored {backup.rows:,} rows of {backup.made_at.astimezone():%Y-%m-%d %H:%M}.")
    if done.migrations:
        console.print(f"Brought up to this version: {', '.join(done.migrations)}.")
    if done.before:
        console.print(f"What was there before: agent-memory backup restore {done.before.name}")
    if ran:
        console.print("The service runs again, and stores what waited in the spool.")


@group.command("schedule")
def each_night(
    *,
    check: Annotated[
        bool, typer.Option("--check", help="Only say whether it is set up. Exit code 1: it is not.")
    ] = False,
    remove: Annotated[bool, typer.Option("--remove", help="Make no more backups by night.")] = False,
) -> None:
    """Make a backup each night at 03:14, by launchd, systemd or cron, whichever is there."""
    from agent_memory.database.backup import schedule

    if check:
        one = schedule.scheduler()
        current = schedule.is_current(one, schedule.job())
        typer.echo(
            f"A backup is made each night at 03:14, by {one.name}."
            if current
            else f"No backup is made by night: {one.name} has no such job, or an older form of it."
            " Set it up: agent-memory backup schedule"
        )
        if not current:
            raise typer.Exit(1)
        return
    if remove:
        typer.echo(
            "Removed; no backup is made by night." if schedule.remove() else "No backup was made by night."
        )
        return
    one, changed = schedule.install(settings.load())
    typer.echo(f"A backup is made each night at 03:14, by {one.name}{'' if changed else ', as before'}.")
    for place, text in one.found(schedule.job()).items():
        typer.echo(f"\n{place}:\n{text.rstrip()}")
    if one is schedule.CRON and not _cron_runs():
        typer.secho(
            "\nBut cron does not run here. Start it, such as by: service cron start", fg=typer.colors.YELLOW
        )


def _cron_runs() -> bool:
    import psutil

    return any(process.info["name"] in ("cron", "crond") for process in psutil.process_iter(["name"]))


def _ask() -> None:
    try:
        answer = typer.prompt("Type yes to go on", default="no")
    except typer.Abort:
        raise AgentMemoryError(
            "A restore replaces what is stored, and nobody is here to ask; nothing was changed.", "Add --yes."
        ) from None
    if answer.strip().lower() != "yes":
        typer.echo("Nothing was changed.")
        raise typer.Exit(1)


def _json(backup: Backup) -> str:
    from agent_memory.database.backup import archive

    return json.dumps(archive.manifest(backup), indent=2, default=str)


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
