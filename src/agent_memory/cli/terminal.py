"""What the groups of commands share: common options, the database, the project one stands in, printing."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from agent_memory import settings
from agent_memory.errors import AgentMemoryError

if TYPE_CHECKING:
    from rich.console import Console

    from agent_memory.database import Connection
    from agent_memory.observations.embed import Embedder

Project = Annotated[
    str | None,
    typer.Option(
        "--project", "-p", help="A folder, a git remote or a project's id. Default: the folder you stand in."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Limit = Annotated[int, typer.Option("--limit", "-n", min=1, max=200, help="At most so many.")]


@contextmanager
def database() -> Iterator[Connection]:
    """A connection to the migrated database; committed when the block ends well."""
    from agent_memory.database import migrate, server

    with server.connect(server.conninfo(settings.load())) as conn:
        migrate.migrate(conn)
        yield conn


def audit(
    conn: Connection,
    action: str,
    *,
    kind: Literal["write", "admin"] = "write",
    target: str | None = None,
    project_id: int | None = None,
) -> None:
    """Write into the audit log what this command changes, in the same transaction."""
    from agent_memory.access import audit as log

    log.record(
        conn, settings.load(), who="cli", action=action, kind=kind, target=target, project_id=project_id
    )


def project(conn: Connection, argument: str | None) -> int:
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


def embedder() -> Embedder:
    from agent_memory.observations import embed

    return embed.load(settings.load())


def print_json(value: Any) -> None:
    def plain(odd: Any) -> Any:
        return (
            dataclasses.asdict(odd)
            if dataclasses.is_dataclass(odd) and not isinstance(odd, type)
            else str(odd)
        )

    typer.echo(json.dumps(value, indent=2, default=plain, ensure_ascii=False))


def plain(text: str) -> str:
    from rich.markup import escape

    return escape(text)


def span(seconds: float) -> str:
    """A span of time, short: `3 h`."""
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def print_findings(console: Console, findings: Iterable[Mapping[str, Any]]) -> None:
    """Each finding of health's with its remedy beneath."""
    for finding in findings:
        advice = finding.get("level") == "advice"
        console.print(
            f"\n[{'yellow' if advice else 'red'}]{'·' if advice else '✗'}[/] {plain(finding['problem'])}"
        )
        console.print(f"  [dim]{plain(finding['remedy'])}[/]")
