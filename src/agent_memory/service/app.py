"""The REST API as a FastAPI application. Routes are sync functions: FastAPI runs them in its thread pool."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

import psycopg
import psycopg_pool
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from agent_memory import __version__
from agent_memory.errors import AgentMemoryError
from agent_memory.service import auth
from agent_memory.service.routes import health, hook, journal, memory
from agent_memory.service.state import State

log = logging.getLogger(__name__)


def create(state: State) -> FastAPI:
    app = FastAPI(title="agent-memory", version=__version__, docs_url=None, redoc_url=None)
    app.state.service = state
    for router in (health.router, hook.router, journal.router, memory.router):
        app.include_router(router, prefix="/api")

    @app.middleware("http")
    async def only_the_owner(request: Request, answer: Callable[[Request], Awaitable[Response]]) -> Response:
        try:
            auth.check(request, state.settings)
        except AgentMemoryError as error:
            return problem(error.status, error.problem, error.remedy)
        return await answer(request)

    @app.exception_handler(AgentMemoryError)
    async def mendable(_: Request, error: AgentMemoryError) -> Response:
        return problem(error.status, error.problem, error.remedy)

    @app.exception_handler(RequestValidationError)
    async def misshapen(_: Request, error: RequestValidationError) -> Response:
        wrong = [
            {"field": ".".join(str(part) for part in e["loc"]), "problem": e["msg"]} for e in error.errors()
        ]
        said = "; ".join(f"{w['field']}: {w['problem']}" for w in wrong)
        return problem(422, f"The request does not fit: {said}.", "Correct these fields.", fields=wrong)

    @app.exception_handler(HTTPException)
    async def plain(_: Request, error: HTTPException) -> Response:
        return problem(error.status_code, str(error.detail), "The routes are listed at /openapi.json.")

    @app.exception_handler(psycopg.OperationalError)
    @app.exception_handler(psycopg_pool.PoolTimeout)
    async def database_away(_: Request, error: Exception) -> Response:
        log.warning("the database is away: %s", error)
        return problem(
            503, "The database does not answer.", "Try again; if it stays away: agent-memory status"
        )

    return app


def problem(status: int, detail: str, remedy: str, **more: Any) -> Response:
    """An error as problem details (RFC 9457), with what to do about it."""
    body = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    return JSONResponse(
        body | {"remedy": remedy} | more, status_code=status, media_type="application/problem+json"
    )
