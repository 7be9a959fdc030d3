"""What sessions are told without having asked: seeing it, explaining it, and turning it off."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from agent_memory import settings
from agent_memory.cli import terminal
from agent_memory.cli.terminal import AsJson, Project, console, readable
from agent_memory.errors import AgentMemoryError

if TYPE_CHECKING:
    from rich.text import Text


def register(app: typer.Typer) -> None:
    for command in (context, why):
        app.command()(command)


def context(
    *,
    project: Project = None,
    off: Annotated[bool, typer.Option("--off", help="Tell this project's sessions nothing unasked.")] = False,
    on: Annotated[bool, typer.Option("--on", help="Tell them again.")] = False,
    as_json: AsJson = False,
) -> None:
    """Print what a session that starts in this project is told.

    --off and --on decide whether it is.
    """
    from agent_memory.recall import context_store
    from agent_memory.service.context import for_a_start

    config = settings.load()
    with terminal.database() as conn:
        project_id = terminal.project(conn, project)
        if off or on:
            context_store.want_context(conn, project_id, wanted=on)
        told = for_a_start(conn, config, project_id=project_id)
        wanted = context_store.context_wanted(conn, project_id)
    if as_json:
        terminal.print_json(
            {
                "text": told.text,
                "chars": len(told.text),
                "wanted": wanted and config.agent_memory_context,
            }
        )
        return
    if off or on:
        typer.echo(f"Sessions of this project are told {'at their start:' if on else 'nothing unasked.'}")
    elif not config.agent_memory_context:
        typer.echo("No session is told anything: agent_memory_context is off. This would be it:")
    elif not wanted:
        typer.echo("Sessions of this project are told nothing unasked (--on changes it). This would be it:")
    if not off:
        typer.echo(
            readable(told.text) or "Nothing: there is nothing recorded in this project that is worth telling."
        )


def why(
    session: Annotated[
        str | None,
        typer.Argument(
            metavar="SESSION",
            help="The agent's session id, or its beginning. Default: the last session of the project you stand in.",
        ),
    ] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Show what a session was told unasked, when, and why.

    At its start, at its prompts, and by lessons.
    """
    from agent_memory.lessons import ledger
    from agent_memory.lessons import store as lessons
    from agent_memory.recall import context_store

    with terminal.database() as conn:
        if session is None:
            known = context_store.latest_session(conn, terminal.project(conn, None))
        else:
            known = terminal.session(conn, session)
        if known is None and session is not None:
            raise AgentMemoryError(
                f"No session {session!r} is known here.",
                "agent-memory show ID tells the session that a memory is from.",
            )
        if known is None:
            empty: dict[str, Any] = {"session_id": None, "items": [], "lessons": []}
            terminal.tell("This project has no session yet.", empty, as_json=as_json)
            return
        rows = context_store.injections(conn, session_id=known, limit=1000)[::-1]
        ledger.settle(conn)
        spoke = lessons.ledger(conn, session_id=known, limit=1000)[::-1]
    if as_json:
        terminal.print_json({"session_id": known, "items": rows, "lessons": spoke})
        return
    out = console()
    out.print(f"session {readable(known)}", style="bold", markup=False)
    told = [(row["occurred_at"], _head(row), [_item(item) for item in row["items"]]) for row in rows]
    told += [(row["at"], _spoke(row), []) for row in spoke]
    for _, head, items in sorted(told, key=lambda one: one[0]):
        out.print(head, soft_wrap=True)
        for item in items:
            out.print(f"    {readable(item)}", markup=False, soft_wrap=True)
    if not told:
        out.print("It was told nothing unasked.")


def _head(row: dict[str, Any]) -> Text:
    from rich.text import Text

    told = {"told": f"{row['chars']} characters", "late": "too late, not shown", "silent": "nothing"}
    line = Text(f"{row['occurred_at'].astimezone():%Y-%m-%d %H:%M:%S}  {row['event']}: ", style="bold")
    return line.append(f"{told[row['outcome']]} ({row['reason']}; {row['took_ms']} ms)", style="default")


def _spoke(row: dict[str, Any]) -> Text:
    """A lesson that spoke at a call, a prompt or an end."""
    from rich.text import Text

    did = {"warn": "warned", "ask": "asked", "deny": "refused"}[row["action"]]
    where = f" at {row['tool_name']}" if row["tool_name"] else f" ({row['phase']})"
    line = Text(f"{row['at'].astimezone():%Y-%m-%d %H:%M:%S}  lesson {row['lesson_id']}: ", style="bold")
    said = f"{did}{where}: {' '.join(row['title'].split())}"
    came_of_it = "" if row["outcome"] == "unknown" else f" ({row['outcome']})"
    return line.append(readable(said + came_of_it), style="default")


def _item(item: dict[str, Any]) -> str:
    name = f"#{item['observation_id']}" if item["observation_id"] else "turn"
    if item["lesson_id"]:
        name = str(item["lesson_id"])  # its part is `lesson`
    words = [item["part"], name, str(item["occurred_at"] or "")[:10], " ".join((item["title"] or "").split())]
    if item["score"] is not None:
        words.append(f"(certainty {item['score']:.2f})")
    legs = (item["why"] or {}).get("legs", {})
    for leg, told in legs.items():
        words.append(
            f"{leg} rank {told['rank']}" + (f": {', '.join(told['words'])}" if told.get("words") else "")
        )
    return "  ".join(word for word in words if word)
