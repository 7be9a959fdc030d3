"""The command `agent-memory`: parses, calls, prints. Each group of commands is a module beside this one."""

from __future__ import annotations

import sys

import typer

from agent_memory import __version__
from agent_memory.cli import (
    access,
    backup,
    context,
    doctor,
    finetune,
    forgetting,
    lessons,
    memory,
    mining,
    projects,
    retention,
    service,
    setup,
    viewer,
)
from agent_memory.errors import AgentMemoryError

app = typer.Typer(
    help="A coding agent's flight recorder and memory, on your own machine.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
service.register(app)
viewer.register(app)
setup.register(app)
memory.register(app)
forgetting.register(app)
retention.register(app)
projects.register(app)
access.register(app)
backup.register(app)
doctor.register(app)
context.register(app)
lessons.register(app)
mining.register(app)
finetune.register(app)


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(__version__)


def main() -> None:
    """Run the command line. Exit codes: 0 done, 1 refused or failed (the reason is on stderr), 2 wrong usage, 20 to 28
    a gate of a training run failed (docs/fine_tune/wizard.md)."""
    try:
        app()
    except AgentMemoryError as error:
        typer.secho(f"error: {error.problem}", err=True, fg=typer.colors.RED)
        typer.secho(f"  what to do: {error.remedy}", err=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
