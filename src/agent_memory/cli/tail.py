"""`agent-memory tail`: what is recorded, as it is recorded. It reads `/api/stream` over the unix socket."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agent_memory import running
from agent_memory.cli.terminal import AsJson, OnlyProject, console, readable
from agent_memory.errors import AgentMemoryError

if TYPE_CHECKING:
    from rich.text import Text

AGAIN_S = 1.0
"""Between two tries to reach a service that is down."""
SILENT_S = 60.0
"""A service tells every 15 seconds that it is there; one that is silent for so long is asked anew."""


def register(app: typer.Typer) -> None:
    app.command()(tail)


def tail(
    *,
    project: OnlyProject = None,
    last: Annotated[
        int, typer.Option("--last", "-n", min=0, max=200, help="Begin with so many that were recorded last.")
    ] = 10,
    as_json: AsJson = False,
) -> None:
    """Follow what is recorded, an event a line, until Ctrl-C.

    It waits for a service that is down, and goes on where it was. With --json
    each line is one JSON object. Ctrl-C is its only end, so it ends with 0.
    """
    day = datetime.now().astimezone().date()
    try:
        for event in _followed({"last": last} | ({"project": _named(project)} if project else {})):
            if as_json:
                typer.echo(json.dumps(event, ensure_ascii=False))
                continue
            if (its := datetime.fromisoformat(event["at"]).astimezone().date()) != day:
                console().print(f"{its:%A, %Y-%m-%d}", style="bold", markup=False)
                day = its
            _print(event, with_project=project is None)
    except KeyboardInterrupt:
        raise typer.Exit(0) from None


def events(lines: Iterable[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The events of a stream with the id of each: the place to go on from."""
    place, data = "", ""
    for line in lines:
        name, _, value = line.partition(": ")
        if name == "id":
            place = value
        elif name == "data":
            data += value
        elif not line and data:
            yield place, json.loads(data)
            data = ""


def _followed(asked: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """What is recorded, without an end. Raises AgentMemoryError where the service refuses."""
    import httpx

    place, lost = "", False
    while True:
        try:
            with (
                running.client(timeout=SILENT_S) as service,
                service.stream(
                    "GET", "/api/stream", params=asked, headers={"last-event-id": place} if place else {}
                ) as answer,
            ):
                if answer.is_client_error:
                    told = json.loads(answer.read())
                    raise AgentMemoryError(told["detail"], told["remedy"])
                answer.raise_for_status()
                if lost:
                    _say("It is there again.")
                lost = False
                for place, event in events(answer.iter_lines()):  # noqa: B007 (to go on from there)
                    yield event
        except (httpx.HTTPError, OSError):
            pass
        if not lost:
            _say("The service does not answer; waiting for it. Start it: agent-memory up --detach")
        lost = True
        time.sleep(AGAIN_S)


def _say(text: str) -> None:
    console(stderr=True).print(text, style="dim", markup=False)


def _named(project: str) -> str:
    """A folder as the service, which stands elsewhere, knows it."""
    is_folder = project.startswith((".", "~", "/")) or os.path.isdir(project)
    return os.path.abspath(os.path.expanduser(project)) if is_folder else project


MARKS = {"prompt": ("❯", "bold cyan"), "message": ("•", "default"), "session": ("◦", "magenta")}


def _print(event: dict[str, Any], *, with_project: bool) -> None:
    out = console()
    out.print(
        _line(event, out.width, with_project=with_project), no_wrap=True, overflow="ellipsis", crop=True
    )


def _line(event: dict[str, Any], width: int, *, with_project: bool) -> Text:
    """An event in one line: when, where, what. Of a call that failed, what it was gets a third of the line."""
    from rich.text import Text

    line = Text()
    line.append(f"{datetime.fromisoformat(event['at']).astimezone():%H:%M:%S}  ", style="dim")
    if with_project:
        line.append(f"{readable(event['project'])[:16]:<16}  ", style="blue")
    said = Text(" ".join(readable(event["text"] or "").split()))
    if event["kind"] != "call":
        mark, style = MARKS[event["kind"]]
        line.append(f"{mark} {'subagent: ' if event['agent_id'] else ''}", style=style)
        return line.append(said.plain, style=style)
    mark, style = {True: ("✓", "green"), False: ("✗", "red"), None: ("…", "dim")}[event["success"]]
    line.append(f"{mark} {readable(event['tool'] or '?')}  ", style=style)
    if event["error"]:
        said.truncate(width // 3, overflow="ellipsis")
    line.append(said.plain, style="dim" if event["success"] is None else "default")
    if event["duration_ms"]:
        line.append(f"  {event['duration_ms'] / 1000:.1f} s", style="dim")
    if event["error"]:
        line.append(f"  {' '.join(readable(event['error']).split())}", style="red")
    return line
