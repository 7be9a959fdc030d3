"""What the memory has to say to a hook, at once: asked by hook.py after it has recorded the same payload."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Annotated, Any, TypeAlias

import orjson
from fastapi import APIRouter, Header, Request, Response
from fastapi.concurrency import run_in_threadpool
from starlette.background import BackgroundTask

from agent_memory import paths
from agent_memory.agents import AT_START_ONLY, REPLIES
from agent_memory.agents.reply import Reply, joined
from agent_memory.capture import drain
from agent_memory.errors import AgentMemoryError
from agent_memory.service import context, lessons
from agent_memory.service.auth import By
from agent_memory.service.state import Service, State

router = APIRouter()
log = logging.getLogger(__name__)

Answerer: TypeAlias = Callable[[State, str, dict[str, Any], str], Reply | None]
"""Takes the state, the event's name, the payload and the agent."""


def health_notice(state: State, event: str, payload: dict[str, Any], agent: str) -> Reply | None:  # noqa: ARG001
    """What is wrong, in one line at a session's start (promise 8)."""
    if event != "SessionStart":
        return None
    try:
        return Reply(message=orjson.loads(paths.notice().read_bytes())["systemMessage"])
    except FileNotFoundError:
        return None


ANSWERERS: tuple[Answerer, ...] = (health_notice, context.at_start, lessons.answer, context.at_prompt)
"""Who is asked, in the order in which their texts stand."""


@router.post("/hook")
async def hook(
    request: Request, state: Service, by: By, x_agent_name: Annotated[str, Header()] = "claude"
) -> Response:
    """Answer one raw hook payload in the form that the agent reads; an empty body where there is nothing to say. It
    records nothing of the payload: `POST /api/queue` does."""
    by.check(None)  # a payload names any folder, so whoever is bound to a project may not ask
    return await answer(request, state, x_agent_name)


async def answer(request: Request, state: State, agent: str) -> Response:
    """The answer to the payload that is the request's body. What the lessons said is recorded when it has been sent.
    Raises AgentMemoryError where the payload cannot be read."""
    return await run_in_threadpool(_answer, state, agent, await request.body())


def _answer(state: State, agent: str, raw: bytes) -> Response:
    try:
        payload = drain.read_payload(raw)
    except ValueError as error:
        raise AgentMemoryError(
            f"This payload cannot be read. {error}", "Send one hook payload as a JSON object.", status=422
        ) from None
    event = str(payload.get("hook_event_name", ""))
    render = REPLIES.get(agent) if event == "SessionStart" or agent not in AT_START_ONLY else None
    replies = []
    for answerer in ANSWERERS if render else ():
        try:
            reply = answerer(state, event, payload, agent)
        except Exception:  # one that fails must not silence the others, nor the agent
            log.exception("%s: no answer to %s", answerer.__name__, event)
            continue
        if reply is not None:
            replies.append(reply)
    said = joined(replies)
    output = render(event, said) if render and said else {}
    return Response(
        orjson.dumps(output) if output else b"",
        media_type="application/json",
        background=BackgroundTask(lessons.record, state) if state.lessons.unrecorded else None,
    )
