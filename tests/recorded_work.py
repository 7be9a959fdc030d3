"""Sessions in which different tools are used on different things, for tests that need a journal to train on."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from random import Random

from agent_memory import settings
from agent_memory.database import Connection
from agent_memory.journal.event import AssistantMessage, Body, Event, Prompt, ToolCall
from agent_memory.journal.ingest import ingest

BEGAN = datetime(2026, 11, 2, 9, tzinfo=UTC)
TOOLS = ("Read", "Edit", "Grep", "Glob", "Write", "WebFetch", "Bash", "NotebookEdit")


def tell(
    conn: Connection,
    session: str,
    bodies: Iterable[Body],
    *,
    folder: str = "/home/alicia/shop",
    redact: bool = True,
) -> None:
    at = BEGAN
    events = []
    for body in bodies:
        at += timedelta(seconds=1)
        events.append(Event(agent="claude", session_id=session, occurred_at=at, cwd=folder, body=body))
    ingest(conn, events, settings.load().model_copy(update={"redact_secrets": redact}))
    conn.commit()


def work(seed: str, steps: int = 6, tools: Iterable[str] = TOOLS) -> list[Body]:
    """A turn in which different tools are used on different things."""
    rng = Random(seed)
    names = list(tools)
    told: list[Body] = [Prompt(text=f"Please look after {seed} " + words(rng, 12))]
    for number in range(steps):
        name = names[(rng.randrange(100) + number) % len(names)]
        given = {"target": words(rng, 4)} if name != "Bash" else {"command": f"make {words(rng, 2)}"}
        told.append(AssistantMessage(text=words(rng, 10), uuid=f"{seed}-{number}"))
        call = f"toolu_{seed}_{number}"
        told.append(ToolCall(tool_use_id=call, name=name, input=given, output=words(rng, 30), success=True))
    told.append(AssistantMessage(text="Done: " + words(rng, 12), uuid=f"{seed}-end"))
    return told


def words(rng: Random, count: int) -> str:
    return " ".join(
        "".join(rng.choices("abcdefghijklmnoprstuw", k=rng.randrange(3, 8))) for _ in range(count)
    )


def six_projects(conn: Connection) -> Connection:
    """Six projects with four sessions each."""
    for project in range(6):
        for number in range(4):
            name = f"p{project}-{number}"
            tell(conn, name, work(name), folder=f"/home/alicia/project{project}")
    return conn
