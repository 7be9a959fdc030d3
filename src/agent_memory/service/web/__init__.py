"""The viewer: pages for a person, at the service's address. A page asks the same rooms as the REST routes do, through
the same door (`service.auth`)."""

from __future__ import annotations

from fastapi import Depends, FastAPI
from fastapi.routing import APIRoute
from fastapi.staticfiles import StaticFiles

from agent_memory.service.web import (
    health,
    lessons,
    live,
    login,
    observations,
    page,
    projects,
    recall,
    sessions,
    timeline,
    told,
    training,
)

PAGES = (
    *(health, lessons, live, login, observations, projects),
    *(recall, sessions, timeline, told, training),
)
"""One module a domain, each with its `router`."""


def add_to(app: FastAPI) -> None:
    app.state.links = login.Links()
    app.include_router(login.links, prefix="/api")
    for pages in PAGES:
        app.include_router(pages.router, include_in_schema=False, dependencies=[Depends(page.check_form)])
    app.mount("/static", StaticFiles(directory=page.STATIC), name="static")


def routes() -> list[tuple[str, list[str]]]:
    """Every page's path with its methods."""
    found = [route for pages in PAGES for route in pages.router.routes if isinstance(route, APIRoute)]
    return [(route.path, sorted(route.methods or ())) for route in found]
