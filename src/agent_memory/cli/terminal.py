"""What the groups of commands share: common options, the database, the project one stands in, printing.

What was recorded may hold anything. It goes to the screen through `readable` (or `plain`, where markup is read), so
that a stored text moves no cursor, colours nothing and turns no line around. In a pipe nothing is coloured, wrapped or
cut.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from agent_memory import settings
from agent_memory.cli import completing
from agent_memory.errors import AgentMemoryError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, ProgressColumn

    from agent_memory.database import Connection
    from agent_memory.observations.embed import Embedder

Project = Annotated[
    str | None,
    typer.Option(
        "--project",
        "-p",
        autocompletion=completing.project,
        help="A folder, a git remote, a name or an id. Default: the folder you stand in.",
    ),
]
OnlyProject = Annotated[
    str | None,
    typer.Option(
        "--project",
        "-p",
        autocompletion=completing.project,
        help="Only this project: a folder, a git remote, a name or an id. Default: every one.",
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
    if known is None:
        problem = (
            f"No project {argument!r} is known here."
            if argument
            else "Nothing was recorded in this folder's project yet."
        )
        raise AgentMemoryError(problem, _one_of(list(projects.called(conn).values())))
    return known


def _one_of(names: Sequence[str]) -> str:
    """What to do where no project is meant: name one of these, or have the first one recorded."""
    if not names:
        return (
            "No project was recorded yet: agent-memory connect claude, then work; or agent-memory backfill."
        )
    shown = ", ".join(map(shlex.quote, names[:NAMED])) + (", …" if len(names) > NAMED else "")
    return f"Name one of these with --project: {shown}. All of them: agent-memory project list"


def session(conn: Connection, name: str) -> str | None:
    """The id of the session that has it, or whose id alone begins so; None: none does. Raises AgentMemoryError where
    several begin so."""
    from agent_memory.recall import context_store

    known = context_store.sessions_named(conn, name)
    if len(known) > 1:
        raise AgentMemoryError(
            f"Several sessions begin with {name!r}: {', '.join(known)}.", "Give more of the id."
        )
    return known[0] if known else None


def embedder() -> Embedder:
    from agent_memory.observations import embed

    return embed.load(settings.load())


NAMED = 4
"""How many projects are named to one who gave none that is known."""
_HOURS = {"h": 1, "d": 24, "w": 7 * 24}  # no `m`: it would be minutes to one, and months to another
PIPED_WIDTH = 100_000
"""Columns of a line that nobody sees on a screen: nothing is wrapped or cut."""

_UNSEEN = {code: chr(0x2400 + code) for code in range(0x20) if chr(code) not in "\n\t"}
_UNSEEN |= dict.fromkeys([*range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A)], "\ufffd")


def console(*, stderr: bool = False) -> Console:
    """Where to print: as wide as the terminal, or as wide as it takes. Rich takes the colours away for NO_COLOR."""
    from rich.console import Console

    if (sys.stderr if stderr else sys.stdout).isatty():
        return Console(stderr=stderr, highlight=False)
    return Console(stderr=stderr, highlight=False, width=PIPED_WIDTH, soft_wrap=True)


def progress(*columns: ProgressColumn) -> Progress:
    """A bar on stderr, so that what is printed stays clean; none where nobody looks."""
    from rich.progress import Progress

    return Progress(*columns, console=console(stderr=True), disable=not sys.stderr.isatty())


def readable(text: str) -> str:
    """The text with what a terminal would obey in place of reading: escapes, other controls, marks of direction."""
    return text.translate(_UNSEEN)


def plain(text: str) -> str:
    """The same, in the midst of markup."""
    from rich.markup import escape

    return escape(readable(text))


def moment(said: str, *, ahead: bool = False) -> datetime:
    """A date or a time (of this machine's zone, where it names none), or a span such as `12h`, `90d` or `8w`: so long
    ago, or so long `ahead`. Raises AgentMemoryError where it is neither."""
    if span := re.fullmatch(r"(\d{1,4})([hdw])", said):
        length = int(span[1]) * timedelta(hours=_HOURS[span[2]])
        return datetime.now(UTC) + (length if ahead else -length)
    try:
        at = datetime.fromisoformat(said)
    except ValueError:
        raise AgentMemoryError(
            f"{said!r} is no time.",
            "Write a date such as 2027-01-31, a time such as '2027-01-31 14:30', or a span such as 12h, 30d or 8w:"
            f" so long {'from now' if ahead else 'ago'}.",
        ) from None
    return at if at.tzinfo else at.astimezone()


def agree(question: str, otherwise: str) -> None:
    """Go on where the user answers with yes; else say `otherwise` and end. Raises AgentMemoryError where nobody can
    answer."""
    with answered(
        "Nobody is at the keyboard to agree; nothing was changed.", "Give --yes, once you are sure."
    ):
        agreed = typer.confirm(question, default=False, err=True)
    if not agreed:
        typer.echo(otherwise, err=True)
        raise typer.Exit(1)


@contextmanager
def answered(problem: str, remedy: str) -> Iterator[None]:
    """A block that asks: Ctrl-C ends it as it ends everything, and where nobody can answer that is an AgentMemoryError
    of these words."""
    try:
        yield
    except typer.Abort:
        typer.echo(err=True)  # the question's line has no end yet
        if sys.stdin.isatty():
            raise KeyboardInterrupt from None
        raise AgentMemoryError(problem, remedy) from None


def print_error(problem: str, remedy: str) -> None:
    from rich.text import Text

    out = console(stderr=True)
    out.print(Text("error: ", style="bold red").append(readable(problem), style="not bold"))
    label = "  what to do: "
    out.print(label + readable(remedy).replace("\n", "\n" + " " * len(label)), markup=False)


def tell(said: str, value: Any, *, as_json: bool) -> None:
    """What a command did: in words, or as a value."""
    if as_json:
        print_json(value)
    else:
        typer.echo(readable(said))


def print_json(value: Any) -> None:
    def spelled(odd: Any) -> Any:
        return (
            dataclasses.asdict(odd)
            if dataclasses.is_dataclass(odd) and not isinstance(odd, type)
            else str(odd)
        )

    typer.echo(json.dumps(value, indent=2, default=spelled, ensure_ascii=False))


def counted(count: int, things: str) -> str:
    """A number of things in words: `1 session`, `1,200 sessions`."""
    return f"{count:,} {things.removesuffix('s') if count == 1 else things}"


def span(seconds: float) -> str:
    """A span of time, short: `3 h`."""
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def print_findings(findings: Iterable[Mapping[str, Any]]) -> None:
    """Each finding of health's with its remedy beneath."""
    out = console()
    for finding in findings:
        advice = finding.get("level") == "advice"
        out.print(
            f"\n[{'yellow' if advice else 'red'}]{'·' if advice else '✗'}[/] {plain(finding['problem'])}"
        )
        out.print(f"  [dim]{plain(finding['remedy'])}[/]")
