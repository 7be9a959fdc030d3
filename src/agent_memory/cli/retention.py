"""Retention on the command line: what is set, what would go, and letting it go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from agent_memory import settings
from agent_memory.cli import completing, terminal
from agent_memory.errors import AgentMemoryError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agent_memory.database import Connection
    from agent_memory.forgetting.retention import Due, Policy

group = typer.Typer(
    help="Let go of old sessions, by age and by size. Off until it is set.",
    no_args_is_help=True,
)
Where = Annotated[
    str | None,
    typer.Option(
        "--project",
        "-p",
        autocompletion=completing.project,
        help="Only this project. Default: all that have no setting of their own.",
    ),
]


def register(app: typer.Typer) -> None:
    app.add_typer(group, name="retention")


@group.command()
def show(*, as_json: terminal.AsJson = False) -> None:
    """Say what is set, and what the last run did."""
    from agent_memory.forgetting import retention, store

    with terminal.database() as conn:
        policies = retention.policies(conn, settings.load())
        names = {row["id"]: row["name"] for row in store.projects(conn)}
        last = store.last_run(conn)
    if as_json:
        terminal.print_json({"policies": policies, "last_run": last})
        return
    if not policies:
        typer.echo("Nothing is set: everything is kept. Set it with: agent-memory retention set --days N")
    for one in policies:
        typer.echo(_said(one, names))
    if last:
        typer.echo(
            f"Last run {last['ran_at'].astimezone():%Y-%m-%d %H:%M}: {_size(last['bytes'])} freed,"
            f" {last['counts'].get('mem_sessions', 0):,} sessions."
        )


@group.command("set")
def set_(
    *,
    days: Annotated[int | None, typer.Option(min=1, help="Sessions older than this go.")] = None,
    megabytes: Annotated[
        int | None, typer.Option("--mb", min=1, help="A project's oldest sessions go above this.")
    ] = None,
    project: Where = None,
    notes: Annotated[bool, typer.Option("--notes", help="Saved notes go by their age, too.")] = False,
    as_json: terminal.AsJson = False,
) -> None:
    """Set how much is kept, and say what the next run would let go.

    Nothing goes yet: the service does it within a day, `retention run` at once. With neither bound a project keeps
    everything.
    """
    from agent_memory.forgetting import retention, store
    from agent_memory.forgetting.retention import Policy

    with terminal.database() as conn:
        policy = Policy(project_id=_project(conn, project), days=days, megabytes=megabytes, notes=notes)
        retention.change(conn, policy)
        terminal.audit(conn, "retention set", kind="admin")
        due = retention.plan(conn, settings.load())
        names = {row["id"]: row["name"] for row in store.projects(conn)}
    if as_json:
        terminal.print_json(due)
    else:
        typer.echo(_said(policy, names))
        _print_plan(due)


@group.command()
def off(*, project: Where = None, as_json: terminal.AsJson = False) -> None:
    """Take a setting back."""
    from agent_memory.forgetting import store

    with terminal.database() as conn:
        project_id = _project(conn, project)
        if not store.drop_policy(conn, project_id):
            raise AgentMemoryError("Nothing was set there.", "See: agent-memory retention show")
        terminal.audit(conn, "retention off", kind="admin")
    terminal.tell("Taken back.", {"off": True, "project_id": project_id}, as_json=as_json)


@group.command()
def plan(*, as_json: terminal.AsJson = False) -> None:
    """Say what would go now, and how much that would free."""
    from agent_memory.forgetting import retention

    with terminal.database() as conn:
        due = retention.plan(conn, settings.load())
    if as_json:
        terminal.print_json(due)
    else:
        _print_plan(due)


@group.command()
def run(
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: terminal.AsJson = False,
) -> None:
    """Let go of what is due, now."""
    from agent_memory.forgetting import retention

    config = settings.load()
    with terminal.database() as conn:
        if not yes:
            due = retention.plan(conn, config)
            conn.commit()
            _print_plan(due)
            if not due:
                return
            terminal.agree("Let it go?", "Nothing was let go.")
        done = retention.run(conn, config)
        terminal.audit(conn, "retention run", kind="admin")
    if as_json:
        terminal.print_json(done)
    else:
        typer.echo(f"Let go of {done.counts.get('mem_sessions', 0):,} sessions, {_size(done.bytes)}.")


def _said(policy: Policy, names: Mapping[int, str]) -> str:
    """What a setting keeps."""
    where = f"{names[policy.project_id]} (#{policy.project_id})" if policy.project_id else "every project"
    bounds = [f"{policy.days} days"] if policy.days else []
    bounds += [f"{policy.megabytes} MB"] if policy.megabytes else []
    kept = f"keeps {' and '.join(bounds)}" if bounds else "keeps everything"
    return f"{where}: {kept}{', notes too' if policy.notes else ''}"


def _project(conn: Connection, argument: str | None) -> int | None:
    return terminal.project(conn, argument) if argument else None


def _print_plan(due: Sequence[Due]) -> None:
    if not due:
        typer.echo("Nothing would go.")
    for one in due:
        notes = f" and {len(one.notes):,} notes" if one.notes else ""
        stay = "" if one.kept_bytes is None else f"; {_size(one.kept_bytes)} stay"
        typer.echo(
            f"{one.project} (#{one.project_id}): {len(one.sessions):,} sessions{notes}, {one.rows:,} rows,"
            f" {_size(one.bytes)} would go{stay}."
        )


def _size(bytes_: int) -> str:
    return f"{bytes_ / (1 << 20):,.1f} MB"
