"""`agent-memory finetune runs|report|retract|config`: what was trained, how it compares, and taking it back."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agent_memory.cli import terminal
from agent_memory.cli.finetune import finetune_app
from agent_memory.cli.tables import print_table
from agent_memory.errors import AgentMemoryError

if TYPE_CHECKING:
    from agent_memory.finetune.run import Run

Name = Annotated[str, typer.Argument(metavar="NAME", help="The run's name, or its folder.")]


def register(app: typer.Typer) -> None:
    app.command()(wizard)


@finetune_app.command()
def config() -> None:
    """Print a configuration to begin with, every line explained."""
    from agent_memory.finetune import config as configs

    sys.stdout.write(configs.TEMPLATE)


@finetune_app.command()
def runs(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME", help="Two of them are compared.")
    ] = None,
    *,
    as_json: terminal.AsJson = False,
) -> None:
    """List the training runs, or compare two of them.

    Compared are their configurations, gates, rates with intervals, and costs."""
    from agent_memory.finetune import run as known

    if names and len(names) != 2:
        raise AgentMemoryError("Two runs are compared.", "Name two of agent-memory finetune runs.")
    if names:
        _compare(known.find(names[0]), known.find(names[1]), as_json=as_json)
    else:
        _list(as_json=as_json)


@finetune_app.command()
def report(name: Name, *, as_json: terminal.AsJson = False) -> None:
    """Write a run's report afresh.

    It says where: report.html is to be read, report.json is for programs."""
    from agent_memory.finetune import report as reports
    from agent_memory.finetune import run as known

    run = known.find(name)
    told = reports.write(run)
    if as_json:
        terminal.print_json(told)
        return
    typer.echo(str(run.report))
    if told["texts"]:
        typer.echo(
            "It shows what models answered, and so parts of what was recorded: look before you pass it on."
        )


@finetune_app.command()
def retract(
    name: Name,
    *,
    because: Annotated[str, typer.Option(help="Why; it stands in the list and in the report.")],
    delete_files: Annotated[
        bool,
        typer.Option(
            "--delete-files",
            help="Also delete what it made: data set, adapters, models, answers, the installed model.",
        ),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: terminal.AsJson = False,
) -> None:
    """Take a run back, for a reason.

    It is not gone on with, not installed, and listed with the reason."""
    from agent_memory.finetune import register, retraction
    from agent_memory.finetune import run as known

    run = known.find(name)
    if delete_files and not yes:
        terminal.agree(f"Delete what {run.name} made for good?", "Nothing was retracted.")
    done = retraction.retract(run, because, delete_files=delete_files)
    with terminal.database() as conn:
        terminal.audit(conn, "finetune retract", kind="admin", target=f"{run.name}: {because}")
    if told := register.record(run):
        typer.echo(told, err=True)
    if as_json:
        terminal.print_json({"run": run.name, "because": because, "done": done})
        return
    typer.echo(f"{run.name} is retracted: {because}")
    for line in done:
        typer.echo(f"  {line}")


def _list(*, as_json: bool) -> None:
    from agent_memory.finetune import retraction

    with terminal.database() as conn:
        found = retraction.listed(conn)
    if as_json:
        terminal.print_json(found)
        return
    if not found:
        typer.echo("Nothing was trained yet: agent-memory wizard")
        return
    several = len({one["machine"] for one in found} - {""}) > 1
    print_table(
        ("run", *(["machine"] if several else []), "begun", "base", "stands at"),
        [
            (
                one["name"],
                *([one["machine"]] if several else []),
                one["created"][:16].replace("T", " "),
                one["base"],
                one["standing"] + (", stale" if one["stale"] else ""),
            )
            for one in found
        ],
        wide="stands at",
        fold=True,
    )
    console = terminal.console()
    for one in found:
        for forgotten in one["stale"]:
            rows = forgotten["rows"]
            at = (forgotten["forgotten_at"] or "")[:10]
            of = f" of {terminal.counted(len(rows), 'rows')}" if rows else ""
            named = f": {terminal.plain(', '.join(rows[:5]))}{' …' * (len(rows) > 5)}" if rows else ""
            console.print(
                f"\n[bold red]{terminal.plain(one['name'])} is stale:[/] tombstone {forgotten['tombstone']}"
                f" ({at or 'lifted'}) forgot something{of} that it learned from{named}"
            )
        if one["stale"]:
            on = f"; on {one['machine']}" if several else ""
            console.print(
                f"  Its data set, adapters, models and report may still hold it{on}: agent-memory finetune retract"
                f' {one["name"]} --because "forgotten" --delete-files',
                markup=False,
            )
        if one["retracted"]:
            console.print(f"\n{one['name']} was retracted: {one['retracted']['because']}", markup=False)


def _compare(one: Run, other: Run, *, as_json: bool) -> None:
    from agent_memory.finetune import compared

    told = compared.compare(one, other)
    if as_json:
        terminal.print_json(told)
        return
    lines: list[tuple[str, ...]] = [(line, str(a), str(b)) for line, (a, b) in told["config"].items()]
    _table("configuration", told["runs"], lines or [("", "the same", "the same")])
    gates = [
        (f"{gate['step']}: {gate['name']}", *(_gate(found) for found in gate["found"]))
        for gate in told["gates"]
    ]
    _table("gate", told["runs"], gates)
    rates = [
        (f"{rate['step']}: {rate['name']}", *(_rate(found) for found in rate["found"]))
        for rate in told["rates"]
    ]
    _table("rate (95 %)", told["runs"], rates)
    costs = [(cost["step"], *map(_cost, cost["seconds"], cost["peak_mb"])) for cost in told["costs"]]
    _table("cost", told["runs"], costs)


def _table(what: str, names: list[str], lines: list[tuple[str, ...]]) -> None:
    if lines:
        print_table((what, *names), lines, wide=names[-1], fold=True)
        typer.echo()


def _gate(found: dict[str, Any] | None) -> str:
    return f"{'✓' if found['passed'] else '✗'} {found['found']}" if found else "–"


def _rate(found: dict[str, Any] | None) -> str:
    if not found:
        return "–"
    if not found["of"]:
        return "not measured"
    return f"{found['rate']:.0%} ({found['low']:.0%} to {found['high']:.0%}, N = {found['of']})"


def _cost(seconds: float | None, mb: float | None) -> str:
    return "–" if seconds is None else f"{terminal.span(seconds)}, {mb or 0:,.0f} MB"


def wizard(
    *,
    config: Annotated[
        Path | None,
        typer.Option("--config", help="What to train, as YAML: agent-memory finetune config prints one."),
    ] = None,
    tui: Annotated[
        bool, typer.Option(" /--no-tui", help="Ask nothing, do all steps, and print them.")
    ] = True,
    start: Annotated[
        str | None, typer.Option("--from", help="Go back to this step, such as dataset or train.")
    ] = None,
    change: Annotated[
        bool, typer.Option("--change", help="Where a run of this name is configured otherwise: change it.")
    ] = False,
) -> None:
    """From what was recorded to a model of your own.

    Step by step, each with its gate. Exit codes with --no-tui: 0 all passed, 20 to 28 a gate of that step failed, 1 a
    step could not be done, 130 stopped."""
    if tui:
        from agent_memory.finetune import wizard as shown

        if not (sys.stdin.isatty() and sys.stdout.isatty()):
            raise AgentMemoryError(
                "The wizard needs a terminal.",
                "Without one: agent-memory wizard --config train_config.yaml --no-tui",
            )
        shown.start(config, change=change)
        return
    if config is None:
        raise AgentMemoryError(
            "Without the screens a configuration is needed.",
            "agent-memory finetune config > train_config.yaml, change it, and give it with --config.",
        )
    _through(config, start, change=change)


def _through(file: Path, start: str | None, *, change: bool) -> None:
    """All steps that have not passed yet, one after the other."""
    from agent_memory.cli import finetune_steps
    from agent_memory.finetune import config as configs
    from agent_memory.finetune import pipeline

    if start is not None and start not in pipeline.NAMES:
        raise AgentMemoryError(f"There is no step {start!r}.", f"Name one of: {', '.join(pipeline.NAMES)}")
    run = pipeline.begin(configs.load(file), change=change)
    if start is not None:
        pipeline.back(run, pipeline.named(start))
    while step := pipeline.next_step(run):
        finetune_steps.perform(run, step)
    typer.echo(f"{run.name} has passed every step. Its report: {run.report}")
