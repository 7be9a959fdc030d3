"""Starting, stopping and looking at the service."""

from __future__ import annotations

import json
import os
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from agent_memory import paths, settings

PROJECTS_SHOWN = 8


def register(app: typer.Typer) -> None:
    for command in (up, down, status, migrate):
        app.command()(command)


def up(
    *,
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Start it in the background and come back.")
    ] = False,
    agent_started: Annotated[bool, typer.Option("--agent-started", hidden=True)] = False,
) -> None:
    """Start the service: it stores what the hooks record, and answers."""
    from agent_memory.service import run, sockets

    config = settings.load()
    pid = run.running_pid()
    if pid is not None:
        typer.echo(
            f"agent-memory runs already: {sockets.address(config)} (process {pid}). Stop it with: agent-memory down"
        )
        return
    if detach:
        pid = run.start_detached(adopt=not agent_started)
        typer.echo(f"agent-memory runs: {sockets.address(config)} (process {pid})")
    else:
        typer.echo(f"agent-memory starts at {sockets.address(config)}; Ctrl-C stops it.")
        if agent_started:
            os.chdir("/")  # the agent's folder is not to be held
        run.serve(adopt=not agent_started)


def down() -> None:
    """Stop the service, and the embedded Postgres with it."""
    from agent_memory.database import embedded
    from agent_memory.service import run

    stopped = run.stop()
    database = not settings.load().external_database and embedded.stop()
    said = [name for name, was in (("the service", stopped), ("the embedded Postgres", database)) if was]
    typer.echo(f"Stopped {' and '.join(said)}." if said else "Nothing ran.")


def status(*, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Show in one screen whether everything works. Exit code 1 where something does not."""
    report = _report()
    if as_json:
        typer.echo(json.dumps(report, indent=2, default=str))
    else:
        _print(report)
    if report["problems"]:
        raise typer.Exit(1)


def migrate() -> None:
    """Bring the database's tables up to this version. The service does it at every start."""
    from agent_memory.database import migrate as migrations
    from agent_memory.database import server

    with server.connect(server.conninfo(settings.load(), adopt=True)) as conn:
        applied = migrations.migrate(conn)
    typer.echo("\n".join(f"applied {name}" for name in applied) or "Nothing to do.")


def _report() -> dict[str, Any]:
    from agent_memory.capture import spool
    from agent_memory.database import embedded
    from agent_memory.service import run, sockets

    config = settings.load()
    report: dict[str, Any] = {"home": str(paths.home()), "address": sockets.address(config)}
    report["pid"] = run.running_pid()
    if report["pid"] is not None:
        with run.client(timeout=10) as service:
            report |= service.get("/api/health").json()
            report["stored"] = service.get("/api/counts").json()
            report["projects"] = service.get("/api/projects").json()["items"]
    else:
        backlog = spool.backlog()
        report |= {
            "status": "down",
            "problems": ["The service does not run. Start it with: agent-memory up --detach."],
            "spool": {"pending": backlog.pending, "bad": backlog.bad, "oldest_s": round(backlog.oldest_s, 1)},
        }
    if config.external_database:
        report["database"] = "your own Postgres"
    else:
        report["database"] = f"embedded Postgres, {'running' if embedded.running() else 'stopped'}"
    return report


def _print(report: dict[str, Any]) -> None:
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    running = f"process {report['pid']}" if report["pid"] else "not running"
    table.add_row("service", f"{report['status']} · {running} · {report['address']}")
    table.add_row("home", report["home"])
    table.add_row("database", report["database"])
    spool = report["spool"]
    table.add_row(
        "spool", f"{spool['pending']} waiting (oldest {spool['oldest_s']:.0f} s), {spool['bad']} unreadable"
    )
    if queue := report.get("queue"):
        table.add_row("queue", f"{queue['pending']} turns waiting, {queue['failed']} given up")
    if stored := report.get("stored"):
        table.add_row("stored", ", ".join(f"{n:,} {name.replace('_', ' ')}" for name, n in stored.items()))
    latest = sorted(report.get("projects", []), key=lambda p: p["last_event_at"] or "", reverse=True)
    for number, project in enumerate(latest[:PROJECTS_SHOWN]):
        where = project["path"] or project["identity"]
        table.add_row(
            "" if number else "projects", f"#{project['id']} {where} · {project['sessions']} sessions"
        )
    if len(latest) > PROJECTS_SHOWN:
        table.add_row("", f"and {len(latest) - PROJECTS_SHOWN} more: agent-memory status --json")
    for wrong in report["problems"]:
        table.add_row("problem", wrong)
    Console(highlight=False).print(table)
