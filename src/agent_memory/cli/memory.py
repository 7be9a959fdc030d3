"""Asking the memory, and adding to it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agent_memory import settings
from agent_memory.cli import completing, terminal
from agent_memory.cli.tables import print_table
from agent_memory.cli.terminal import console, readable
from agent_memory.errors import AgentMemoryError

if TYPE_CHECKING:
    from agent_memory.recall.answer import Entry


def register(app: typer.Typer) -> None:
    for command in (recall, search, timeline, show, save, retract, reindex, export):
        app.command()(command)


def recall(
    query: Annotated[str, typer.Argument(metavar="QUERY", help="What you want to know, in your own words.")],
    *,
    project: terminal.Project = None,
    k: Annotated[int, typer.Option("-k", min=1, max=50, help="At most so many hits.")] = 5,
    budget: Annotated[int, typer.Option(min=200, help="At most so many characters.")] = 6000,
    as_json: terminal.AsJson = False,
) -> None:
    """Answer a question from what was recorded in this project."""
    from agent_memory.recall import search as recalling

    with terminal.database() as conn:
        answer = recalling.recall(
            conn,
            query,
            project_id=terminal.project(conn, project),
            embedder=terminal.embedder(),
            k=k,
            budget_chars=budget,
        )
    if as_json:
        terminal.print_json(answer)
        return
    out = console()
    for hit in answer.hits:
        head = f"{hit.occurred_at.astimezone():%Y-%m-%d %H:%M}  #{hit.id}"
        if title := _title_above(hit.title, hit.text):
            head += f"  {terminal.plain(title)}"
        out.print(f"[bold]{head}[/bold]  ({hit.score:.2f})")
        out.print(readable(hit.text), markup=False)
        out.print()
    if answer.abstained:
        out.print("Nothing relevant is stored for this project.")
    _print_notice(answer.notice)


def search(
    query: Annotated[str, typer.Argument(metavar="WORDS", help="Words to look for.")],
    *,
    project: terminal.Project = None,
    limit: terminal.Limit = 20,
    as_json: terminal.AsJson = False,
) -> None:
    """List hits, a line each; `show ID` prints one whole."""
    from agent_memory.recall import search as recalling

    with terminal.database() as conn:
        index = recalling.search(
            conn, query, project_id=terminal.project(conn, project), embedder=terminal.embedder(), limit=limit
        )
    if as_json:
        terminal.print_json(index)
        return
    _print_entries(index.entries, "Nothing relevant is stored for this project.")
    _print_notice(index.notice)


def timeline(
    *,
    around: Annotated[
        int | None,
        typer.Option(
            metavar="ID",
            autocompletion=completing.observation,
            help="Show what came before and after this memory.",
        ),
    ] = None,
    project: terminal.Project = None,
    limit: terminal.Limit = 20,
    as_json: terminal.AsJson = False,
) -> None:
    """Show what happened in this project, in order.

    Without --around the latest.
    """
    from agent_memory.recall import search as recalling

    with terminal.database() as conn:
        entries = recalling.timeline(
            conn, project_id=terminal.project(conn, project), around=around, before=limit, after=limit
        )
    if around is not None and not entries:
        raise AgentMemoryError(
            f"There is no observation {around} in this project.", "agent-memory timeline lists the latest."
        )
    if as_json:
        terminal.print_json(entries)
        return
    _print_entries(entries, "Nothing is stored for this project yet.")


def show(
    number: Annotated[
        int,
        typer.Argument(
            metavar="ID", autocompletion=completing.observation, help="A memory, as search lists it."
        ),
    ],
    *,
    as_json: terminal.AsJson = False,
) -> None:
    """Print one memory whole, with the journal rows it came from."""
    from agent_memory.observations import store
    from agent_memory.recall import render
    from agent_memory.recall import search as recalling

    with terminal.database() as conn:
        project_id = store.project_of(conn, number)
        found = recalling.get(conn, project_id=project_id, ids=[number]) if project_id is not None else []
    if not found:
        raise AgentMemoryError(
            f"There is no observation {number}.", "agent-memory search WORDS lists what there is."
        )
    (one,) = found
    if as_json:
        terminal.print_json(one)
        return
    out = console()
    at = one.occurred_at.astimezone()
    if title := _title_above(one.title, one.text):
        out.print(f"[bold]{terminal.plain(title)}[/bold]")
    out.print(
        f"[bold]{one.kind} #{one.id}[/bold] · {at:%Y-%m-%d %H:%M} · session {terminal.plain(one.session_id or '–')}"
    )
    for mark in render.marks(one.held):
        out.print(readable(mark), style="yellow", markup=False)
    out.print(readable(one.text), markup=False)
    rows = (
        f"{name.replace('_', ' ')} {', '.join(map(str, ids))}" for name, ids in one.sources.items() if ids
    )
    out.print(f"sources: {' · '.join(rows) or 'a note is its own'}", style="dim", markup=False)


def save(
    text: Annotated[
        str, typer.Argument(metavar="TEXT", help="What to remember; '-' reads it from standard input.")
    ],
    *,
    title: Annotated[str | None, typer.Option(help="Default: the first line.")] = None,
    supersedes: Annotated[
        int | None,
        typer.Option(
            metavar="ID",
            autocompletion=completing.observation,
            help="What no longer holds: this note takes its place.",
        ),
    ] = None,
    project: terminal.Project = None,
    as_json: terminal.AsJson = False,
) -> None:
    """Remember a note for this project.

    The same text again is the same note.
    """
    from agent_memory.journal import projects
    from agent_memory.observations import notes

    if text == "-":
        text = typer.get_text_stream("stdin").read()
    with terminal.database() as conn:
        project_id = projects.ensure_argument(conn, project or os.getcwd())
        config = settings.load()
        note = notes.note(text, config, project_id=project_id, title=title, supersedes=supersedes)
        (number,) = notes.save(conn, [note])
        terminal.audit(conn, "save", target=f"#{number}", project_id=project_id)
    terminal.tell(f"Saved as #{number}.", {"id": number, "project_id": project_id}, as_json=as_json)


def retract(
    number: Annotated[
        int,
        typer.Argument(
            metavar="ID", autocompletion=completing.observation, help="A memory, as search lists it."
        ),
    ],
    *,
    because: Annotated[str | None, typer.Option(help="Why it no longer holds.")] = None,
    at: Annotated[
        str | None, typer.Option(help="Since when it does not: 3d (ago), 2026-11-30. Default: now.")
    ] = None,
    undo: Annotated[bool, typer.Option("--undo", help="It holds, after all.")] = False,
    as_json: terminal.AsJson = False,
) -> None:
    """Say that a memory no longer holds, with nothing in its place.

    Recall stops giving it; it is kept, and marked.
    """
    from agent_memory.observations import notes

    config = settings.load()
    with terminal.database() as conn:
        if undo:
            notes.hold_again(conn, number)
        else:
            since = terminal.moment(at) if at else None
            notes.retract(conn, number, at=since, because=because, settings=config)
        terminal.audit(conn, "retract", target=f"#{number}")
    said = f"#{number} holds again." if undo else f"#{number} no longer holds."
    terminal.tell(said, {"id": number, "holds": undo}, as_json=as_json)


def reindex(*, as_json: terminal.AsJson = False) -> None:
    """Build every memory and its index anew from the journal.

    It is also the move to a newly configured embedding model.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

    from agent_memory.observations import worker

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with terminal.database() as conn, terminal.progress(*columns) as bar:
        tasks: dict[str, Any] = {}
        built: dict[str, int] = {}

        def progress(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bar.add_task(stage, total=total)
            bar.update(tasks[stage], completed=done, total=total)
            built[stage] = total

        worker.reindex(conn, terminal.embedder(), progress)
    said = ", ".join(f"{count:,} {stage}" for stage, count in built.items())
    terminal.tell(f"Built anew: {said or 'nothing, since nothing is stored'}.", built, as_json=as_json)


def export(
    *,
    out: Annotated[Path | None, typer.Option(help="A file that does not exist yet. Default: print.")] = None,
    project: terminal.OnlyProject = None,
) -> None:
    """Write what is remembered as lines of JSON.

    Without secrets, the index and the vectors; see docs/commands.md.
    """
    from agent_memory.observations import export as exporting

    with terminal.database() as conn:
        project_id = terminal.project(conn, project) if project else None
        lines = exporting.lines(conn, project_id=project_id)
        if out is None:
            for line in lines:
                typer.get_binary_stream("stdout").write(line)
            return
        draft = out.with_name(f".{out.name}.part")
        if out.exists():
            raise AgentMemoryError(f"{out} exists already.", "Name a file that does not.")
        count = 0
        try:
            with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                for line in lines:
                    file.write(line)
                    count += 1
            draft.rename(out)
        except OSError as error:
            draft.unlink(missing_ok=True)
            raise AgentMemoryError(
                f"{out} cannot be written: {error.strerror}.",
                "Name a file in a folder of yours, with space left.",
            ) from None
    typer.echo(f"Wrote {count - 1:,} rows to {out}.")


def _print_notice(notice: str | None) -> None:
    """What the reader should know of an answer, where there is something."""
    if notice:
        console().print(readable(notice), style="yellow", markup=False)


def _title_above(title: str, text: str) -> str:
    """The title, where the text does not begin with it."""
    return "" if " ".join(text.split()).startswith(title.removesuffix("…").strip()) else title


def _print_entries(entries: Sequence[Entry], nothing: str) -> None:
    from agent_memory.recall import render

    if not entries:
        typer.echo(nothing)
        return
    print_table(
        ("id", "when", "kind", "title"),
        [
            (
                str(entry.id),
                f"{entry.occurred_at.astimezone():%Y-%m-%d %H:%M}",
                entry.kind,
                "".join(f"({mark}) " for mark in render.marks(entry.held)) + entry.title,
            )
            for entry in entries
        ],
        wide="title",
        right=("id",),
    )
