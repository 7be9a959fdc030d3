"""Tokens for programs that call over TCP, and the record of who changed what."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from agent_memory import paths, settings
from agent_memory.access.tokens import Scope
from agent_memory.cli import terminal
from agent_memory.cli.tables import print_table
from agent_memory.cli.terminal import AsJson, database, print_json, project
from agent_memory.cli.terminal import audit as written
from agent_memory.errors import AgentMemoryError

tokens_app = typer.Typer(help="Tokens for programs that call over TCP.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    app.add_typer(tokens_app, name="token")
    app.command()(audit)
    app.command()(redact)


@tokens_app.command()
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Who will use it, such as codex or laptop.")],
    *,
    scope: Annotated[Scope, typer.Option(help="read: ask; write: also record; admin: everything.")] = "write",
    only: terminal.OnlyProject = None,
    expires: Annotated[
        str | None, typer.Option(help="When it runs out: 90d, 12h, or a date such as 2027-01-31.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a token and show it, once: it is stored as a hash."""
    from agent_memory.access import tokens

    with database() as conn:
        project_id = project(conn, only) if only else None
        made = tokens.create(
            conn,
            name,
            scope=scope,
            project_id=project_id,
            expires_at=terminal.moment(expires, ahead=True) if expires else None,
        )
        written(conn, "token create", kind="admin", target=f"{name} ({scope})")
    if as_json:
        print_json({"name": name, "scope": scope, "project_id": project_id, "token": made})
    else:
        typer.echo(made)
        typer.secho("This is shown once. Send it as: Authorization: Bearer …", err=True)


@tokens_app.command("list")
def list_tokens(*, as_json: AsJson = False) -> None:
    """List the tokens and when each was used last."""
    from agent_memory.access import tokens

    with database() as conn:
        rows = tokens.listed(conn)
    if as_json:
        print_json(rows)
        return
    if not rows:
        typer.echo("No token was made yet: agent-memory token create NAME")
        return
    print_table(
        ("name", "scope", "state", "made", "expires", "last used", "project"),
        [
            (
                row["name"],
                row["scope"],
                "valid" if row["valid"] else "revoked" if row["revoked_at"] else "expired",
                _day(row["created_at"]),
                _day(row["expires_at"], "never"),
                _day(row["last_used_at"], "never"),
                row["project"] or "all",
            )
            for row in rows
        ],
        wide="project",
    )


@tokens_app.command()
def revoke(
    name: Annotated[str, typer.Argument(metavar="NAME", help="As it is listed.")], *, as_json: AsJson = False
) -> None:
    """Let a token open nothing from now on."""
    from agent_memory.access import tokens

    with database() as conn:
        tokens.revoke(conn, name)
        written(conn, "token revoke", kind="admin", target=name)
    terminal.tell(f"Revoked {name}.", {"revoked": name}, as_json=as_json)


def audit(
    *,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="At most so many.")] = 50,
    as_json: AsJson = False,
) -> None:
    """Show who changed what in the last 30 days, newest first."""
    from agent_memory.access import audit as log

    with database() as conn:
        rows = log.read(conn, limit=limit)
    if as_json:
        print_json(rows)
        return
    if not rows:
        typer.echo("Nothing is in the audit log.")
        return
    print_table(
        ("when", "who", "status", "what", "of"),
        [
            (
                f"{row['occurred_at'].astimezone():%Y-%m-%d %H:%M:%S}",
                row["who"],
                str(row["status"]),
                row["action"],
                row["target"] or "",
            )
            for row in rows
        ],
        wide="of",
        fold=True,
    )


def redact(
    file: Annotated[
        typer.FileText | None,
        typer.Argument(metavar="FILE", help="Print this file as it would be stored; - reads standard input."),
    ] = None,
    *,
    rescan: Annotated[
        bool, typer.Option("--rescan", help="Clean what is stored already, with today's patterns.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="With --rescan: only count.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show what redaction makes of a text, or clean what is stored.

    With --rescan, secrets that an earlier version did not know are taken out of everything that is stored.
    """
    if not rescan:
        if file is None:
            raise AgentMemoryError("Nothing was given to redact.", "Name a file, or - , or --rescan.")
        from agent_memory.journal.redaction import redact as clean

        text = clean(file.read())
        print_json({"text": text}) if as_json else typer.echo(text, nl=False)
        return
    from rich.progress import TextColumn

    from agent_memory.observations import rescan as rescanning

    config = settings.load()
    if not config.redact_secrets:
        raise AgentMemoryError(
            "REDACT_SECRETS is off, so secrets would come back with the next session.",
            "Set it to true first.",
        )
    with (
        database() as conn,
        terminal.progress(TextColumn("{task.description}"), TextColumn("{task.completed:,}")) as bar,
    ):
        task = bar.add_task("reading rows", total=None)
        report = rescanning.rescan(conn, lambda _, count: bar.advance(task, count), dry_run=dry_run)
        if not dry_run:
            written(conn, "redact --rescan", kind="admin", target=f"{report.observations} rebuilt")
    if as_json:
        print_json(report)
        return
    would = "would be" if dry_run else "were"
    typer.echo(f"{report.rows:,} rows read.")
    for name, count in sorted(report.changed.items()):
        typer.echo(f"  {count:>7,} {name} {would} cleaned")
    for path in report.files:
        typer.echo(f"  {path} {would} cleaned")
    if not report.changed and not report.files:
        typer.echo("No secret was found.")
        return
    typer.echo(f"{report.observations:,} memories {would} built anew; changed passages get new vectors.")
    if paths.backups().exists() and any(paths.backups().iterdir()):
        typer.echo("Backups made before this still hold what was found: agent-memory backup list")


def _day(at: Any, otherwise: str = "") -> str:
    return f"{at.astimezone():%Y-%m-%d %H:%M}" if at else otherwise
