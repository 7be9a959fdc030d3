"""The REST API as a FastAPI application. Routes are sync functions: FastAPI runs them in its thread pool."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

import psycopg
import psycopg_pool
from fastapi import FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from agent_memory import __version__
from agent_memory.access import audit
from agent_memory.access.limits import Limits, TooManyRequests
from agent_memory.database.migrate import NewerSchemaError
from agent_memory.errors import AgentMemoryError
from agent_memory.service import auth, web
from agent_memory.service.routes import (
    admin,
    context,
    forgetting,
    health,
    hook,
    journal,
    lessons,
    memory,
    stream,
)
from agent_memory.service.state import State
from agent_memory.service.web import page

log = logging.getLogger(__name__)

LONGEST_PATH = 200
"""Characters of a path that the audit log keeps."""


def create(state: State) -> FastAPI:
    app = FastAPI(title="agent-memory", version=__version__, docs_url=None, redoc_url=None)
    app.state.service = state
    for routes in (admin, context, forgetting, health, hook, journal, lessons, memory, stream):
        app.include_router(routes.router, prefix="/api")
    web.add_to(app)
    limits = Limits(state.settings)

    def let_in(request: Request) -> Response | None:
        """Say in `request.state` who calls. The answer to one who may not have what it asks for, or None."""
        request.state.caller = auth.Caller("nobody", None)
        if request.url.path.startswith(auth.STATIC):
            return None
        try:
            caller = request.state.caller = auth.identified(request, state)
            door = "socket" if auth.over_unix_socket(request) else "tcp"
            who = door if door == "socket" else caller.name
            limits.count(who, door=door, writes=auth.kind(request) != "read")
            auth.allow(caller, request)
            if (newer := state.notes.get("newer")) and _changes_something(request):
                raise NewerSchemaError(newer)
        except TooManyRequests as error:
            refused = problem(request, error.status, error.problem, error.remedy)
            refused.headers["Retry-After"] = str(error.seconds)
            return refused
        except AgentMemoryError as error:
            return problem(request, error.status, error.problem, error.remedy)
        except (psycopg.OperationalError, psycopg_pool.PoolTimeout) as error:
            return database_is_away(request, error)
        return None

    def write_down(request: Request, status: int) -> None:
        """One line in the audit log, where its level asks for it."""
        looks_on = request.method in ("GET", "HEAD", "OPTIONS")
        kind, caller = "read" if looks_on else auth.kind(request), request.state.caller
        if request.url.path == "/api/hook" or not audit.wanted(state.settings, kind, status):
            return  # a hook's question changes nothing
        if status == HTTPStatus.TOO_MANY_REQUESTS:
            return  # a flood is to cost nothing; the service's log tells of it
        if "newer" in state.notes:
            return  # nothing of ours may fit into the tables
        action = f"{request.method} {request.url.path[:LONGEST_PATH]}"
        try:
            with state.pool.connection() as conn, conn.transaction():
                audit.record(
                    conn,
                    state.settings,
                    who=caller.name,
                    action=action,
                    kind=kind,
                    target=getattr(request.state, "target", None),
                    project_id=caller.project_id,
                    status=status,
                )
        except (psycopg.OperationalError, psycopg_pool.PoolTimeout):
            log.warning("audit, without a database: %s %s %s", caller.name, action, status)

    @app.middleware("http")
    async def guard(request: Request, answer: Callable[[Request], Awaitable[Response]]) -> Response:
        given = await run_in_threadpool(let_in, request)
        if given is None:
            given = await answer(request)
        if auth.is_page(request.url.path):
            given.headers.update(page.HEADERS)
        await run_in_threadpool(write_down, request, given.status_code)
        return given

    app.add_middleware(
        CORSMiddleware,
        allow_origin_regex=r"https?://(localhost|127\.0\.0\.1|\[::1\])(:\d+)?",
        allow_methods=["GET", "POST", "PATCH", "DELETE"],
        allow_headers=["Authorization", "Content-Type", "X-Agent-Name"],
        expose_headers=["Retry-After"],
    )

    def straight(inner: ASGIApp) -> ASGIApp:
        """A hook's question over the socket goes past everything else to its answer: an agent waits, and each layer
        costs. No token is looked up over the socket, so that to let it in takes no database."""

        async def answered(scope: Scope, receive: Receive, send: Send) -> None:
            asked = scope["type"] == "http" and (scope["method"], scope["path"]) == ("POST", "/api/hook")
            if not asked or not auth.over_unix_socket(request := Request(scope, receive)):
                await inner(scope, receive, send)
                return
            given = let_in(request)
            if given is None:
                try:
                    given = await hook.answer(request, state, request.headers.get("x-agent-name", "claude"))
                except AgentMemoryError as error:
                    given = problem(request, error.status, error.problem, error.remedy)
            await given(scope, receive, send)

        return answered

    app.add_middleware(straight)  # the last that is added comes first

    @app.exception_handler(AgentMemoryError)
    async def mendable(request: Request, error: AgentMemoryError) -> Response:
        return problem(request, error.status, error.problem, error.remedy)

    @app.exception_handler(RequestValidationError)
    async def misshapen(request: Request, error: RequestValidationError) -> Response:
        wrong = [
            {"field": ".".join(str(part) for part in e["loc"]), "problem": e["msg"]} for e in error.errors()
        ]
        said = "; ".join(f"{w['field']}: {w['problem']}" for w in wrong)
        return problem(
            request, 422, f"The request does not fit: {said}.", "Correct these fields.", fields=wrong
        )

    @app.exception_handler(HTTPException)
    async def plain(request: Request, error: HTTPException) -> Response:
        if not auth.is_page(request.url.path):
            remedy = "The routes are listed at /openapi.json."
            return problem(request, error.status_code, str(error.detail), remedy)
        detail = "There is no such page." if error.status_code == 404 else f"{error.detail}."
        return problem(request, error.status_code, detail, "Begin at the first page.")

    @app.exception_handler(psycopg.DataError)
    async def not_storable(request: Request, error: Exception) -> Response:
        said = str(error).splitlines()[0]
        return problem(
            request,
            422,
            f"A value cannot be what it should be: {said}.",
            "Correct it: texts without NUL, numbers below 2^63, cursors as they were given.",
        )

    @app.exception_handler(psycopg.OperationalError)
    @app.exception_handler(psycopg_pool.PoolTimeout)
    async def database_away(request: Request, error: Exception) -> Response:
        return database_is_away(request, error)

    return app


def _changes_something(request: Request) -> bool:
    return auth.kind(request) != "read" and request.url.path != "/api/hook"


def database_is_away(request: Request, error: Exception) -> Response:
    log.warning("the database is away: %s", error)
    return problem(
        request, 503, "The database does not answer.", "Try again; if it stays away: agent-memory status"
    )


def problem(request: Request, status: int, detail: str, remedy: str, **more: Any) -> Response:
    """An error as problem details (RFC 9457), with what to do about it; a person gets a page."""
    if auth.is_page(request.url.path):
        return page.refusal(request, status, detail, remedy)
    body = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    return JSONResponse(
        body | {"remedy": remedy} | more, status_code=status, media_type="application/problem+json"
    )
