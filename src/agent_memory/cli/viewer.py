"""Opening the viewer, logged in."""

from __future__ import annotations

import os
import sys
import webbrowser
from typing import Annotated

import typer

from agent_memory import running
from agent_memory.cli.terminal import AsJson, print_json
from agent_memory.errors import AgentMemoryError


def register(app: typer.Typer) -> None:
    app.command("open")(open_viewer)


def open_viewer(
    *,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Only print the link.")] = False,
    as_json: AsJson = False,
) -> None:
    """Open the viewer in a browser, logged in.

    The link that it prints is good once, for two minutes. --json only prints it.
    """
    import httpx

    try:
        with running.client(timeout=10) as service:
            answer = service.post("/api/admin/viewer/links")
            answer.raise_for_status()
            url: str = answer.json()["url"]
    except httpx.TransportError:
        raise AgentMemoryError("The service does not run.", "Start it: agent-memory up --detach") from None
    except (httpx.HTTPStatusError, KeyError, ValueError):
        raise AgentMemoryError(
            "The running service gave no link; it may be of an earlier version.",
            "Restart it: agent-memory down, agent-memory up --detach",
        ) from None
    if as_json:
        print_json({"url": url})
        return
    typer.echo(url)
    if no_browser or not _has_screen():
        typer.secho("Open this link within two minutes; it is good once.", err=True)
    elif not webbrowser.open(url):
        typer.secho("No browser could be opened: open this link within two minutes.", err=True)


def _has_screen() -> bool:
    """Whether a browser could show itself: not over SSH, and not on a Linux without a display."""
    if os.environ.get("SSH_CONNECTION") or os.environ.get("SSH_TTY"):
        return False
    return sys.platform != "linux" or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))
