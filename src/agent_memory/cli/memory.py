"""Asking the memory, and adding to it."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from agent_memory import settings
from agent_memory.errors import AgentMemoryError

if TYPE_CHECKING:
    from agent_memory.database import Connection
    from agent_memory.observations.embed import Embedder
    from agent_memory.recall.answer import Entry

Project = Annotated[
    str | None,
    typer.Option(
        "--project", "-p", help="A folder, a git remote or a project's id. Default: the folder you stand in."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Limit = Annotated[int, typer.Option("--limit", "-n", min=1, max=200, help="At most so many.")]


def register(app: typer.Typer) -> None:
    for command in (recall, search, timeline, show, save, reindex):
        app.command()(command)


def recall(
    query: Annotated[str, typer.Argument(help="What you want to know, in your own words.")],
    *,
    project: Project = None,
    k: Annotated[int, typer.Option("-k", min=1, max=50, help="At most so many hits.")] = 5,
    budget: Annotated[int, typer.Option(min=200, help="At most so many characters.")] = 6000,
    as_json: AsJson = False,
) -> None:
    """Answer a question from what was recorded in this project: the best hits, with their text and sources."""
    from agent_memory.recall import search as recalling

    with _database() as conn:
        answer = recalling.recall(
            conn, query, project_id=_project(conn, project), embedder=_embedder(), k=k, budget_chars=budget
        )
    if as_json:
        _print_json(answer)
        return
    console = Console(highlight=False)
    for hit in answer.hits:
        console.print(
            f"[bold]{hit.occurred_at.astimezone():%Y-%m-%d %H:%M}  #{hit.id}  {_plain(hit.title)}[/bold]"
            f"  ({hit.score:.2f})"
        )
        console.print(hit.text, markup=False)
        console.print()
    if not answer.hits:
        console.print("Nothing relevant is stored for this project.")
    if answer.notice:
        console.print(answer.notice, style="yellow", markup=False)


def search(
    query: Annotated[str, typer.Argument(help="Words to look for.")],
    *,
    project: Project = None,
    limit: Limit = 20,
    as_json: AsJson = False,
) -> None:
    """List hits, one line each; `show ID` prints one whole."""
    from agent_memory.recall import search as recalling

    with _database() as conn:
        index = recalling.search(
            conn, query, project_id=_project(conn, project), embedder=_embedder(), limit=limit
        )
    if as_json:
        _print_json(index)
        return
    _print_entries(index.entries, "Nothing relevant is stored for this project.")


def timeline(
    *,
    around: Annotated[
        int | None, typer.Option(help="An observation's id: show what came before and after it.")
    ] = None,
    project: Project = None,
    limit: Limit = 20,
    as_json: AsJson = False,
) -> None:
    """Show what happened in this project, in order; without --around the latest."""
    from agent_memory.recall import search as recalling

    with _database() as conn:
        entries = recalling.timeline(
            conn, project_id=_project(conn, project), around=around, before=limit, after=limit
        )
    if as_json:
        _print_json(entries)
        return
    _print_entries(entries, "Nothing is stored for this project yet.")


def show(number: Annotated[int, typer.Argument(metavar="ID")], *, as_json: AsJson = False) -> None:
    """Print one observation whole, with the journal rows that it came from."""
    from agent_memory.observations import store
    from agent_memory.recall import search as recalling

    with _database() as conn:
        project_id = store.project_of(conn, number)
        found = recalling.get(conn, project_id=project_id, ids=[number]) if project_id is not None else []
    if not found:
        raise AgentMemoryError(
            f"There is no observation {number}.", "agent-memory search WORDS lists what there is."
        )
    (one,) = found
    if as_json:
        _print_json(one)
        return
    console = Console(highlight=False)
    at = one.occurred_at.astimezone()
    console.print(f"[bold]{_plain(one.title)}[/bold]")
    console.print(f"{one.kind} #{one.id} · {at:%Y-%m-%d %H:%M} · session {one.session_id or '–'}")
    console.print(one.text, markup=False)
    console.print(f"sources: {json.dumps(one.sources)}", markup=False)


def save(
    text: Annotated[str, typer.Argument(help="What to remember; '-' reads it from standard input.")],
    *,
    title: Annotated[str | None, typer.Option(help="Default: the first line.")] = None,
    project: Project = None,
) -> None:
    """Remember a note for this project. The same text again is the same note."""
    from agent_memory.journal import projects
    from agent_memory.observations import notes

    if text == "-":
        text = typer.get_text_stream("stdin").read()
    with _database() as conn:
        project_id = projects.ensure_argument(conn, project or os.getcwd())
        (number,) = notes.save(conn, [notes.note(text, settings.load(), project_id=project_id, title=title)])
    typer.echo(f"Saved as #{number}.")


def reindex() -> None:
    """Build every observation, chunk and vector again from the journal; moves to a newly configured model."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from agent_memory.observations import worker

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with _database() as conn, Progress(*columns) as bar:
        tasks: dict[str, Any] = {}

        def progress(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bar.add_task(stage, total=total)
            bar.update(tasks[stage], completed=done, total=total)

        worker.reindex(conn, _embedder(), progress)


@contextmanager
def _database() -> Iterator[Connection]:
    """A connection to the migrated database; committed when the block ends well."""
    from agent_memory.database import migrate, server

    with server.connect(server.conninfo(settings.load())) as conn:
        migrate.migrate(conn)
        yield conn


def _project(conn: Connection, argument: str | None) -> int:
    """The id of the named project, or of the one in the current folder. A project without memories has none."""
    from agent_memory.journal import projects

    known = projects.resolve(conn, argument or os.getcwd())
    if known is None and argument:
        raise AgentMemoryError(
            f"No project {argument!r} is known here.",
            "Name it by its folder's path, its git remote or its id.",
        )
    if known is None:
        raise AgentMemoryError(
            "Nothing was recorded in this folder's project yet.",
            "Stand in a project that was recorded, or name one with --project.",
        )
    return known


def _embedder() -> Embedder:
    from agent_memory.observations import embed

    return embed.load(settings.load())


def _print_json(value: Any) -> None:
    def plain(odd: Any) -> Any:
        return (
            dataclasses.asdict(odd)
            if dataclasses.is_dataclass(odd) and not isinstance(odd, type)
            else str(odd)
        )

    typer.echo(json.dumps(value, indent=2, default=plain, ensure_ascii=False))


def _print_entries(entries: Sequence[Entry], nothing: str) -> None:
    if not entries:
        typer.echo(nothing)
        return
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", expand=True)
    for name in ("id", "when", "kind"):
        table.add_column(name, no_wrap=True)
    table.add_column("title", overflow="ellipsis", no_wrap=True, ratio=1)
    for entry in entries:
        at = entry.occurred_at.astimezone()
        table.add_row(str(entry.id), f"{at:%Y-%m-%d %H:%M}", entry.kind, _plain(entry.title))
    Console(highlight=False).print(table)


def _plain(text: str) -> str:
    from rich.markup import escape

    return escape(text)
