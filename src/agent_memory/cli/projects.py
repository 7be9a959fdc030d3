"""Which projects there are, and which are one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from agent_memory import settings
from agent_memory.cli import completing
from agent_memory.cli.tables import print_table
from agent_memory.cli.terminal import AsJson, console, counted, database, plain, print_json, readable
from agent_memory.cli.terminal import project as resolved
from agent_memory.errors import AgentMemoryError

if TYPE_CHECKING:
    from agent_memory.database import Connection
    from agent_memory.regroup import Moved

Named = Annotated[
    str,
    typer.Argument(
        metavar="PROJECT",
        autocompletion=completing.project,
        help="An id, a folder, a git remote, an identity, or a name.",
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would move.")]

app = typer.Typer(help="Which projects there are, and which are one.", no_args_is_help=True)


def register(main: typer.Typer) -> None:
    main.add_typer(app, name="project")


@app.command("list")
def list_projects(*, as_json: AsJson = False) -> None:
    """List the projects, the latest first."""
    from agent_memory.journal import store

    with database() as conn:
        rows = sorted(store.projects(conn), key=lambda row: str(row["last_event_at"] or ""), reverse=True)
    if as_json:
        print_json(rows)
        return
    if not rows:
        typer.echo("Nothing was recorded yet.")
        return
    print_table(
        ("id", "name", "sessions", "last", "identity"),
        [
            (
                str(row["id"]),
                row["name"],
                f"{row['sessions']:,}",
                f"{row['last_event_at'].astimezone():%Y-%m-%d}" if row["last_event_at"] else "–",
                row["identity"],
            )
            for row in rows
        ],
        wide="identity",
        right=("id", "sessions"),
        fold=True,
    )


@app.command()
def show(project: Named, *, as_json: AsJson = False) -> None:
    """Show one project.

    What was merged into it, which folders were given to it, and where its sessions ran.
    """
    from agent_memory.journal import store

    with database() as conn:
        row = store.project(conn, resolved(conn, project))
    if as_json:
        print_json(row)
        return
    out = console()
    out.print(f"[bold]#{row['id']} {plain(row['name'])}[/bold]  {plain(row['identity'])}")
    last = f"{row['last_event_at'].astimezone():%Y-%m-%d %H:%M}" if row["last_event_at"] else "–"
    out.print(f"{counted(row['sessions'], 'sessions')}, last {last}")
    for title, values in (
        ("merged into it", "merged"),
        ("folders given to it", "folders"),
        ("seen in", "seen"),
    ):
        for value in row[values]:
            out.print(f"  {title}: {readable(value)}", markup=False)


@app.command()
def merge(
    source: Annotated[
        str,
        typer.Argument(
            metavar="FROM", autocompletion=completing.project, help="The project that becomes part of INTO."
        ),
    ],
    target: Annotated[
        str, typer.Argument(metavar="INTO", autocompletion=completing.project, help="The project that stays.")
    ],
    *,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Make one project part of another.

    All that it has, and all that will come. `split --remote` undoes it.
    """
    from agent_memory import regroup

    with database() as conn, conn.transaction(force_rollback=dry_run):
        moved = regroup.merge(conn, source, target)
        _record(conn, "project merge", f"#{moved.source} into #{moved.target}", moved)
    _tell(moved, dry_run=dry_run, as_json=as_json)


@app.command()
def split(
    project: Named,
    *,
    path: Annotated[str | None, typer.Option(help="The sessions in this folder and below.")] = None,
    remote: Annotated[
        str | None,
        typer.Option(help="The sessions of this git remote, or identity, that was merged into it."),
    ] = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Take sessions out of a project into one of their own.

    What comes later goes the same way.
    """
    from agent_memory import regroup

    if (path is None) == (remote is None):
        raise AgentMemoryError("It is not said what to take out.", "Give --path FOLDER or --remote URL.")
    with database() as conn, conn.transaction(force_rollback=dry_run):
        moved = regroup.split(conn, project, path=path, remote=remote)
        _record(conn, "project split", f"#{moved.target} out of #{moved.source}", moved)
    _tell(moved, dry_run=dry_run, as_json=as_json)


def _record(conn: Connection, action: str, target: str, moved: Moved) -> None:
    from agent_memory.access import audit

    config = settings.load()
    audit.record(conn, config, who="cli", action=action, kind="admin", target=target, project_id=moved.target)


def _tell(moved: Moved, *, dry_run: bool, as_json: bool) -> None:
    if as_json:
        print_json(moved)
        return
    counts = ", ".join(counted(count, name.replace("_", " ")) for name, count in moved.counts().items())
    if counts:
        typer.echo(
            f"{'Would move' if dry_run else 'Moved'} from #{moved.source} to #{moved.target}: {counts}."
        )
    else:
        later = "would go" if dry_run else "goes"
        typer.echo(f"Nothing of it is left to move; what comes later {later} into #{moved.target}.")
