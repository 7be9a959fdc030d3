"""What the shell offers when the tab key is pressed: names and ids that are there.

The running service is asked, for at most a second. Where it does not run, or stumbles, nothing is offered: a key that
is pressed starts no database and prints no error.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from typing import Any

import typer

from agent_memory import running

PATIENCE = 1.0
"""Seconds that the service gets to answer."""

Offers = list[tuple[str, str]]
"""What may be typed, each with what the shell says of it."""


def project(incomplete: str) -> Offers:
    rows = _listed("/api/projects")
    named = Counter(row["name"] for row in rows)
    return _beginning(
        incomplete,
        ((row["name"] if named[row["name"]] == 1 else str(row["id"]), row["identity"]) for row in rows),
    )


def observation(ctx: typer.Context, incomplete: str) -> Offers:
    """The latest of the project that is named, or of the one that one stands in."""
    where = (ctx.params or {}).get("project") or os.getcwd()
    rows = _listed("/api/observations", project=where)
    return _beginning(incomplete, ((str(row["id"]), row["title"]) for row in rows))


def lesson(incomplete: str) -> Offers:
    rows = _listed("/api/lessons", project=os.getcwd()) or _listed("/api/lessons")
    return _beginning(incomplete, ((str(row["id"]), f"{row['status']}: {row['title']}") for row in rows))


def backup(incomplete: str) -> Offers:
    from agent_memory.database.backup import archive

    return _beginning(incomplete, ((one.name, one.kind) for one in archive.every()))


def agent(incomplete: str) -> Offers:
    from agent_memory import agents

    return _beginning(incomplete, ((name, "") for name in agents.CONNECTIONS))


def _beginning(incomplete: str, offers: Iterator[tuple[str, str]]) -> Offers:
    from agent_memory.cli.terminal import readable

    return [
        (readable(value), " ".join(readable(said).split())[:80])
        for value, said in offers
        if value.startswith(incomplete)
    ]


def _listed(path: str, **query: str) -> list[dict[str, Any]]:
    if running.process_id() is None:
        return []
    import httpx

    try:
        with running.client(timeout=PATIENCE) as service:
            answer = service.get(path, params=query)
            return list(answer.json()["items"]) if answer.is_success else []
    except (httpx.HTTPError, OSError, ValueError, KeyError):
        return []
