"""Getting started: connecting agents, importing what they did before, and the first look."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from agent_memory import running, settings
from agent_memory.cli import completing
from agent_memory.cli.terminal import AsJson, console, counted, print_json, progress, readable
from agent_memory.errors import AgentMemoryError

if TYPE_CHECKING:
    from rich.console import Console

    from agent_memory.capture import backfill as filling

Scope = Annotated[
    Literal["user", "project"],
    typer.Option(help="Everything you do with the agent, or the project in the current folder only."),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only show what would change.")]
Agent = Annotated[
    str,
    typer.Argument(
        metavar="AGENT",
        autocompletion=completing.agent,
        help="claude, codex, gemini, opencode, copilot, vscode, cursor, windsurf, cline, zed",
    ),
]


def register(app: typer.Typer) -> None:
    for command in (connect, disconnect, backfill, welcome, mcp):
        app.command()(command)
    app.command(hidden=True)(locate)


def connect(agent: Agent, *, scope: Scope = "user", dry_run: DryRun = False, as_json: AsJson = False) -> None:
    """Let an agent be recorded, and give it the memory.

    Writes hooks and an MCP server into the agent's own settings, beside what is there.
    """
    _change(agent, scope, dry_run=dry_run, remove=False, as_json=as_json)


def disconnect(
    agent: Agent, *, scope: Scope = "user", dry_run: DryRun = False, as_json: AsJson = False
) -> None:
    """Take our entries out of an agent's settings again."""
    _change(agent, scope, dry_run=dry_run, remove=True, as_json=as_json)


def _change(
    agent: str, scope: Literal["user", "project"], *, dry_run: bool, remove: bool, as_json: bool
) -> None:
    from agent_memory import agents
    from agent_memory.agents import settings_file
    from agent_memory.agents.claude_code import plugin
    from agent_memory.capture import heard

    changes = agents.connection(agent)(scope, Path.cwd(), remove=remove)
    said: list[str] = []
    if changes and not dry_run:
        settings_file.write(changes)
        if scope == "user":
            heard.disconnected(agent) if remove else heard.connected(agent)
        if not remove:
            plugin.note_installation()
            said.append(
                f"Restart {agent}: from its next session on it is recorded and has the memory's tools."
            )
            if note := agents.AFTER_CONNECTING.get(agent, lambda: None)():
                said.append(note)
    if as_json:
        files = [str(change.path) for change in changes]
        values = {
            "agent": agent,
            "connected": not remove,
            "files": files,
            "written": not dry_run,
            "notes": said,
        }
        print_json(values | ({"diff": settings_file.diff(changes)} if dry_run else {}))
    elif not changes:
        typer.echo(f"{agent} is {'not connected' if remove else 'connected already'}; nothing changed.")
    elif dry_run:
        typer.echo(settings_file.diff(changes), nl=False)
    else:
        for change in changes:
            if change.is_backup:
                what = "removed the backup" if change.after is None else "kept a backup:"
            else:
                what = "took our entries out of" if remove else "wrote our entries into"
            typer.echo(f"{what} {change.path}")
        for line in said:
            typer.echo(line)


def backfill(
    places: Annotated[
        list[Path] | None, typer.Argument(metavar="PATH", help="Default: where the agents keep them.")
    ] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Import what agents did before, from their session files.

    Run again, it imports only what is new.
    """
    from agent_memory.capture import backfill as filling

    try:
        report = _import(filling.find(places or filling.default_places()))
        print_json(report) if as_json else _print_report(report)
    except KeyboardInterrupt:
        typer.echo(
            "Broken off. What was read is stored; the next agent-memory backfill goes on there.", err=True
        )
        raise typer.Exit(130) from None


def welcome() -> None:
    """Import the history that is there, or a sample; recall once."""
    from agent_memory import sample
    from agent_memory.capture import backfill as filling
    from agent_memory.capture import heard
    from agent_memory.service import sockets

    if running.process_id() is None:
        raise AgentMemoryError("The service does not run.", "Start it: agent-memory up --detach")
    out = console()
    places = filling.default_places()
    files = filling.find(places)
    if files:
        out.print(f"Importing {len(files)} session files from {', '.join(map(str, places))} …")
    else:
        out.print("No agent's history is here; taking a small made-up session instead.")
    _print_report(_import(files or [sample.session()]))
    _wait_for_worker()
    command = Path(sys.argv[0])
    if command.is_relative_to(Path.cwd()):
        command = command.relative_to(Path.cwd())
    _show_one_recall(out, command, None if files else sample.QUESTION)
    out.print(f"\nagent-memory runs at [bold]{sockets.address(settings.load())}[/bold]")
    if recorded := heard.expected():
        out.print(f"Recorded: {', '.join(recorded)}.   Look: [bold]{command} open[/bold]")
    else:
        out.print(f"Next: [bold]{command} connect claude[/bold]   then use Claude Code as always.")


def mcp() -> None:
    """Serve the memory to an agent over MCP, on stdin and stdout.

    Agents start this by themselves.
    """
    from agent_memory.mcp import relay

    relay.main()


def locate() -> None:
    """Write down where this installation is. The Claude Code plugin calls it where that is not known."""
    from agent_memory.agents.claude_code import plugin

    plugin.note_installation()


def _import(files: list[Path]) -> filling.Report:
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    from agent_memory.capture import parallel
    from agent_memory.database import migrate, server

    config = settings.load()
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    conninfo = server.conninfo(config)
    with server.connect(conninfo) as conn:
        migrate.migrate(conn)
    with progress(TextColumn("reading"), *columns) as bar:
        task = bar.add_task("reading", total=sum(file.stat().st_size for file in files))
        return parallel.import_files(conninfo, files, config, lambda count: bar.advance(task, count))


def _print_report(report: filling.Report) -> None:
    out = console()
    stored = ", ".join(
        counted(getattr(report.stored, name), name.replace("_", " ")) for name in report.stored.__slots__
    )
    if report.unchanged == report.files:
        out.print(f"{counted(report.files, 'session files')}, nothing new.")
        return
    out.print(
        f"{counted(report.files, 'session files')} ({report.unchanged:,} unchanged), {report.lines:,} lines;"
        f" new: {stored}."
    )
    for why, count in report.told.most_common():
        if why.startswith("skipped: "):
            out.print(f"  {count:>7,} {why}", style="dim", markup=False)
    for file, why in report.unreadable.items():
        out.print(f"  cannot read {file}: {why}", style="yellow", markup=False)


def _wait_for_worker() -> None:
    """Wait until every turn is recallable by words; vectors may still be on their way."""
    import time

    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn

    with (
        running.client(timeout=10) as service,
        progress(TextColumn("remembering"), BarColumn(), MofNCompleteColumn()) as bar,
    ):
        task = bar.add_task("remembering", total=None)
        most = 0
        while True:
            queue = service.get("/api/health").json()["queue"]
            if not queue["pending"]:
                bar.update(task, total=max(most, 1), completed=max(most, 1))
                return
            most = max(most, queue["pending"])
            bar.update(task, total=most, completed=most - queue["pending"])
            time.sleep(0.2)


def _show_one_recall(out: Console, command: Path, question: str | None) -> None:
    """Ask as the user would, and show what to type for it."""
    from agent_memory.database import server
    from agent_memory.journal import projects
    from agent_memory.observations import embed, store
    from agent_memory.recall import search

    config = settings.load()
    with server.connect(server.conninfo(config)) as conn:
        latest = store.latest_turn(conn)
        if latest is None:
            out.print("Nothing in it is worth remembering yet.")
            return
        query = question or latest["title"]
        answer = search.recall(
            conn, query, project_id=latest["project_id"], embedder=embed.load(config), k=1, budget_chars=1200
        )
        name = projects.called(conn)[latest["project_id"]]
    asked = f"{shlex.quote(str(command))} recall {shlex.quote(readable(query))} --project {shlex.quote(name)}"
    out.print(f"\n{asked}", style="bold", markup=False)
    for hit in answer.hits:
        out.print(f"{hit.occurred_at.astimezone():%Y-%m-%d %H:%M}  #{hit.id}", style="green")
        out.print(readable(hit.text), markup=False)
