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
    finetune_gguf,
    finetune_runs,
    finetune_train,
    forgetting,
    lessons,
    memory,
    mining,
    projects,
    retention,
    service,
    setup,
    tail,
    terminal,
    viewer,
)
from agent_memory.cli.help import Sections
from agent_memory.errors import AgentMemoryError

app = typer.Typer(
    cls=Sections,
    help="A coding agent's flight recorder and memory, on your own machine.",
    epilog="Exit codes: 0 done; 1 refused, failed, or (status, doctor, backup verify, backup schedule --check) not"
    " as it should be; 2 wrong usage; 20 to 28 a gate of a training run failed; 130 broken off by Ctrl-C. The reason"
    " is on stderr, with what to do.",
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
tail.register(app)
context.register(app)
lessons.register(app)
mining.register(app)
finetune.register(app)
finetune_gguf.register()
finetune_train.register()
finetune_runs.register(app)


@app.command()
def version(*, as_json: terminal.AsJson = False) -> None:
    """Print the version."""
    terminal.tell(__version__, {"version": __version__}, as_json=as_json)


def main() -> None:
    """Run the command line. The exit codes are told in its help."""
    try:
        app(prog_name="agent-memory")
    except AgentMemoryError as error:
        terminal.print_error(error.problem, error.remedy)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        said = _outside(error)
        if said is None:
            raise
        terminal.print_error(*said)
        sys.exit(1)


def _outside(error: Exception) -> tuple[str, str] | None:
    """What failed around us while a command ran, and what to do; None: a bug of ours, which shall be seen whole."""
    import httpx
    import psycopg

    if isinstance(error, psycopg.OperationalError):
        why = " ".join(str(error).split()) or type(error).__name__
        return (
            f"The database broke off: {why}",
            "Run the command again; if it fails again: agent-memory doctor",
        )
    if isinstance(error, httpx.TransportError):
        return (
            f"The service broke off: {error}.",
            "Run the command again; if it fails again: agent-memory doctor",
        )
    if isinstance(error, OSError) and error.filename is not None:
        return (
            f"{error.filename} cannot be used: {error.strerror}.",
            "See that it is yours and that its disk has room, or name another place.",
        )
    return None
