"""What is recorded, as it is recorded: server-sent events."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.sse import EventSourceResponse, ServerSentEvent

from agent_memory.errors import AgentMemoryError
from agent_memory.replay import live
from agent_memory.replay.live import Place, Told
from agent_memory.service import auth
from agent_memory.service.auth import By, Caller
from agent_memory.service.state import Service, State
from agent_memory.service.stream import Watcher, name

router = APIRouter()

CHECK_S = 15.0
"""So often it is looked whether the caller may still look on."""
BEGUN = ServerSentEvent(comment="looking on", retry=1_000)
"""Tells the client that it is heard, and after how many milliseconds to come back."""


def watched(state: Service, by: By, project: str | None = None) -> int | None:
    """The project that is looked on, or None for all. An error is told before the stream begins."""
    state.stream.check()
    with state.pool.connection() as conn, conn.transaction():
        return by.narrowed(conn, project or None)


@router.get("/stream", response_class=EventSourceResponse)
async def stream(
    request: Request,
    state: Service,
    by: By,
    project_id: Annotated[int | None, Depends(watched)],
    last: Annotated[int, Query(ge=0, le=live.MOST)] = 10,
    last_event_id: Annotated[str, Header()] = "",
) -> AsyncIterator[ServerSentEvent]:
    """What is recorded from now on, after the `last` things that were; in one project or in all. An event's data is a
    JSON object with `kind` (prompt, call, message, session), `id`, `session_id`, `project`, `at`, `text` and what goes
    with them; its id is a place: with `Last-Event-ID` it goes on from there. The row of a call is told again when its
    end is known. The stream ends with the service, and for one who does not read it."""
    async for told in told_to(request, state, by, project_id, live.place(last_event_id), last):
        yield ServerSentEvent(data=told[1], id=str(told[0])) if told else BEGUN


async def told_to(
    request: Request, state: State, by: Caller, project_id: int | None, since: Place | None, last: int
) -> AsyncIterator[Told | None]:
    """What one who looks on is told, first None as soon as nothing is missed any more."""
    async with state.stream.watching(project_id) as watcher:
        backlog = await run_in_threadpool(_backlog, state, project_id, since, last)
        before = {name(happening) for _, happening in backlog}
        yield None
        for told in backlog:
            yield told
        async for told in _from_now_on(watcher, request, state, by):
            if name(told[1]) not in before:
                yield told


async def _from_now_on(watcher: Watcher, request: Request, state: State, by: Caller) -> AsyncIterator[Told]:
    """Until the service stops, the caller falls behind, or may not look on any more."""
    checked = time.monotonic()
    while True:
        told: Told | None = None
        try:
            told = await asyncio.wait_for(watcher.queue.get(), CHECK_S)
            if told is None:
                return
            yield told
        except TimeoutError:
            pass
        if time.monotonic() - checked >= CHECK_S:
            if not await run_in_threadpool(_still, request, state, by):
                return
            checked = time.monotonic()


def _backlog(state: State, project_id: int | None, since: Place | None, last: int) -> list[Told]:
    with state.pool.connection() as conn, conn.transaction():
        limit = last if since is None else live.MOST
        return live.latest(conn, project_id=project_id, since=since, limit=limit) if limit else []


def _still(request: Request, state: State, by: Caller) -> bool:
    try:
        return auth.identified(request, state) == by
    except AgentMemoryError:
        return False
