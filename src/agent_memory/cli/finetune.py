"""`agent-memory finetune`: from the journal to a model of one's own. Here: the data set; its other commands are in the
modules beside this one."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent_memory import settings
from agent_memory.cli import terminal
from agent_memory.cli.finetune_steps import print_gates, print_warnings
from agent_memory.cli.tables import print_table
from agent_memory.cli.terminal import console

if TYPE_CHECKING:
    from agent_memory.finetune.dataset import Published

finetune_app = typer.Typer(
    help="Turn what was recorded into a model of your own.", no_args_is_help=True, rich_markup_mode=None
)


class FormName(StrEnum):
    trl = "trl"
    qwen = "qwen"
    qwen25 = "qwen2.5"
    hermes = "hermes"
    sharegpt = "sharegpt"


def register(app: typer.Typer) -> None:
    app.add_typer(finetune_app, name="finetune")


@finetune_app.command()
def dataset(
    *,
    out: Annotated[Path, typer.Option(help="The folder to make; it must not be there yet.")],
    since: Annotated[datetime | None, typer.Option(help="Only what happened from then on.")] = None,
    project: terminal.OnlyProject = None,
    agent: Annotated[
        str | None, typer.Option(help="Only what this agent did, such as claude or codex.")
    ] = None,
    success_only: Annotated[
        bool,
        typer.Option(
            "--success-only", help="Only turns that ended with words and whose last call went well."
        ),
    ] = False,
    form: Annotated[
        FormName, typer.Option("--format", help="qwen is Qwen 3's chat template, qwen2.5 that of Qwen 2.5.")
    ] = FormName.trl,
    tokens: Annotated[int, typer.Option(min=256, help="How many tokens a row may have.")] = 4_096,
    tokenizer: Annotated[
        Path | None,
        typer.Option(
            help="The folder of the model to be trained, or its tokenizer.json: counts tokens, in the chat template"
            " that lies beside it. Default: an estimate by characters."
        ),
    ] = None,
    as_json: terminal.AsJson = False,
) -> None:
    """Make a data set for training from the recorded sessions.

    JSONL and Parquet, with a manifest. It is published only if it passes every gate.
    """
    from agent_memory.finetune import dataset as making
    from agent_memory.finetune import measure

    with terminal.database() as conn:
        wanted = making.Wanted(
            project_id=terminal.project(conn, project) if project else None,
            agent=agent,
            since=since.astimezone() if since else None,
            success_only=success_only,
            form=form.value,
            tokens=tokens,
            measure=measure.by_file(tokenizer, form.value) if tokenizer else None,
        )
        published = making.make(conn, wanted, out, settings.load())
        terminal.audit(
            conn,
            "finetune dataset",
            kind="admin",
            target=f"data set {published.id}: {published.folder}",
            project_id=wanted.project_id,
        )
    if as_json:
        terminal.print_json(published)
        return
    _print(published)


@finetune_app.command()
def datasets(*, as_json: terminal.AsJson = False) -> None:
    """List the data sets that were made, and which are stale.

    A stale one holds what was forgotten since.
    """
    from agent_memory.finetune import store

    with terminal.database() as conn:
        found = store.data_sets(conn)
    if as_json:
        terminal.print_json(found)
        return
    if not found:
        typer.echo("No data set was made yet: agent-memory finetune dataset --out DIR")
        return
    several = len({row["machine"] for row in found} - {None}) > 1
    print_table(
        ("id", "made", "rows", "state", *(["machine"] if several else []), "folder"),
        [
            (
                str(row["id"]),
                f"{row['made_at'].astimezone():%Y-%m-%d %H:%M}",
                f"{row['rows']:,}",
                f"stale since {stale.astimezone():%Y-%m-%d %H:%M}"
                if (stale := row["stale_since"])
                else "good",
                *([row["machine"] or ""] if several else []),
                row["path"],
            )
            for row in found
        ],
        wide="folder",
        right=("rows",),
        fold=True,
    )


def _print(published: Published) -> None:
    out = console()
    manifest = published.manifest
    print_gates(manifest["gates"])
    of_gates = {gate["warning"] for gate in manifest["gates"]}
    print_warnings(warning for warning in published.warnings if warning not in of_gates)
    rows, counts = manifest["rows"], manifest["counts"]
    total = sum(rows.values())
    out.print(
        f"\n{rows['train']:,} rows for training, {rows['validation']:,} for validation: {counts['tokens']:,} tokens,"
        f" {counts['label_tokens']:,} of them the agent's own; {counts['calls']:,} calls in {counts['sessions']:,}"
        f" sessions of {counts['projects']:,} projects."
    )
    out.print(f"Tokens are counted by {manifest['tokenizer']}.", markup=False)
    if manifest["dropped"]:
        left = ", ".join(f"{n:,} × {reason}" for reason, n in manifest["dropped"].items())
        out.print(f"Left out: {left}.", markup=False)
    rate = total / published.seconds if published.seconds else 0
    out.print(f"{published.folder} ({published.seconds:.1f} s, {rate:,.0f} rows a second)", markup=False)
