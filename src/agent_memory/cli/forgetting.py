"""Forgetting on the command line, and what was forgotten."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from agent_memory import machine, running, settings
from agent_memory.cli import completing, terminal
from agent_memory.cli.tables import print_table
from agent_memory.cli.terminal import console, readable
from agent_memory.errors import AgentMemoryError

if TYPE_CHECKING:
    from agent_memory.database import Connection
    from agent_memory.forgetting.forget import Plan, Receipt, Wanted

SHOWN = 20
"""How many observations a plan names."""


def register(app: typer.Typer) -> None:
    for command in (forget, tombstones):
        app.command()(command)


def forget(
    ids: Annotated[
        list[int] | None,
        typer.Argument(metavar="ID", autocompletion=completing.observation, help="Memories, by id."),
    ] = None,
    *,
    session: Annotated[
        str | None,
        typer.Option(help="A session, by its id or the beginning of it, with all that is still to come."),
    ] = None,
    text: Annotated[
        str | None, typer.Option(help="All that holds this passage; '-' reads it from standard input.")
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(help="What happened from then on: 2h (the last two hours), 3d, '2026-11-30 14:30'."),
    ] = None,
    until: Annotated[str | None, typer.Option(help="What happened before; written alike.")] = None,
    project: Annotated[
        str | None,
        typer.Option(
            "--project",
            "-p",
            autocompletion=completing.project,
            help="By itself: all of this project. Else: only there.",
        ),
    ] = None,
    everywhere: Annotated[
        bool, typer.Option(help="With --text, --since, --until: in every project.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go; change nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: terminal.AsJson = False,
) -> None:
    """Forget memories, a session, a passage, a time or a project.

    What they were made of goes, too, and does not come back. A passage and a time are looked for in the project you
    stand in. It shows what would go, and asks.
    """
    from agent_memory.forgetting import clean
    from agent_memory.forgetting import forget as forgetting

    if text == "-":
        text = typer.get_text_stream("stdin").read().strip()
    with terminal.database() as conn:
        _drain(conn)
        wanted = _wanted(conn, ids or [], session, text, since, until, project, everywhere=everywhere)
        if dry_run or not yes:
            plan = forgetting.plan(conn, wanted)
            conn.commit()
            if as_json and dry_run:
                terminal.print_json(plan)
            else:
                _print_plan(plan)
        if dry_run:
            return
        if not yes:
            terminal.agree("Forget this for good?", "Nothing was forgotten.")
        receipt = forgetting.forget(conn, wanted, by="cli")
        terminal.audit(
            conn,
            "forget",
            kind="admin",
            target=f"{receipt.what}, tombstone {receipt.tombstone}",
            project_id=wanted.project_id,
        )
        conn.commit()
        conn.autocommit = True
        cleaned = clean.clean(conn)
    if as_json:
        terminal.print_json(receipt)
    else:
        _print_receipt(receipt, cleaned=cleaned)


def tombstones(
    *,
    lift: Annotated[
        int | None, typer.Option(metavar="ID", help="Remove one: what it kept out may come in again.")
    ] = None,
    limit: terminal.Limit = 20,
    as_json: terminal.AsJson = False,
) -> None:
    """List what was forgotten: when, by whom, how many rows.

    No text is kept.
    """
    from agent_memory.journal import tombstones as stones

    with terminal.database() as conn:
        if lift is not None:
            if not stones.lift(conn, lift):
                raise AgentMemoryError(f"There is no tombstone {lift}.", "See: agent-memory tombstones")
            terminal.audit(conn, "lift tombstone", kind="admin", target=str(lift))
            terminal.tell(
                f"Tombstone {lift} is lifted. What it kept out comes in when it is told again: backfill.",
                {"lifted": lift},
                as_json=as_json,
            )
            return
        rows = stones.listed(conn, limit=limit)
    if as_json:
        terminal.print_json(rows)
        return
    if not rows:
        typer.echo("Nothing was forgotten.")
        return
    print_table(
        ("id", "when", "by", "what", "rows"),
        [
            (
                str(row["id"]),
                f"{row['forgotten_at'].astimezone():%Y-%m-%d %H:%M}",
                row["forgotten_by"],
                row["what"],
                _told(row["counts"]),
            )
            for row in rows
        ],
        wide="rows",
        fold=True,
    )


def _drain(conn: Connection) -> None:
    """What waits in the spool is stored first, so that it is among what goes. A running service has done it."""
    from agent_memory.capture.drain import drain

    if running.process_id() is None:
        drain(conn, settings.load())
        conn.commit()


def _wanted(
    conn: Connection,
    ids: list[int],
    session: str | None,
    text: str | None,
    since: str | None,
    until: str | None,
    project: str | None,
    *,
    everywhere: bool,
) -> Wanted:
    from agent_memory.forgetting.forget import Wanted

    project_id = terminal.project(conn, project) if project else None
    if project_id is None and not everywhere and (text is not None or since or until):
        project_id = terminal.project(conn, os.getcwd())
    return Wanted(
        ids=tuple(ids),
        session=terminal.session(conn, session) or session if session else None,
        text=text,
        since=terminal.moment(since) if since else None,
        until=terminal.moment(until) if until else None,
        project_id=project_id,
    ).checked()


def _print_plan(plan: Plan) -> None:
    out = console()
    for one in plan.observations[:SHOWN]:
        at = one["occurred_at"].astimezone()
        out.print(f"#{one['id']}  {at:%Y-%m-%d %H:%M}  {one['kind']}  {readable(one['title'])}", markup=False)
    if len(plan.observations) > SHOWN:
        out.print(f"… and {len(plan.observations) - SHOWN:,} more")
    out.print(f"Would go: {_told(plan.counts) or 'nothing that is stored'}.")
    if plan.rebuilt:
        out.print(f"{plan.rebuilt:,} turns lose a part, and are remembered by the rest.")


def _print_receipt(receipt: Receipt, *, cleaned: bool) -> None:
    typer.echo(f"Forgotten: {_told(receipt.counts) or 'nothing was stored of it'}.")
    if receipt.rebuilt:
        typer.echo(f"{receipt.rebuilt:,} turns lost a part, and are remembered by the rest.")
    typer.echo(f"Tombstone {receipt.tombstone} keeps it from coming back.")
    for made in receipt.stale:
        typer.echo(
            f"A data set was made of it, and is stale: delete {made['folder']}{_elsewhere(made)}, and what was trained"
            " on it."
        )
    for run in receipt.stale_runs:
        typer.echo(
            f"The model {run['name']} was trained on that, and is stale, with its adapters, its GGUF files and its"
            f" report{_elsewhere(run)}: agent-memory finetune retract {run['name']}"
            ' --because "forgotten" --delete-files'
        )
    if not cleaned:
        typer.echo("A table is in use: the service clears the space of the rows within the minute.")


def _elsewhere(made: Mapping[str, str]) -> str:
    return "" if made["machine"] in ("", machine.here()) else f" (on {made['machine']})"


def _told(counts: object) -> str:
    assert isinstance(counts, dict)
    return ", ".join(
        terminal.counted(n, table.removeprefix("mem_").replace("_", " ")) for table, n in counts.items()
    )
