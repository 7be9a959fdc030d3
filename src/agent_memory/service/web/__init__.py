"""The viewer: pages for a person, at the service's address. A page asks the same rooms as the REST routes do, through
the same door (`service.auth`)."""

from __future__ import annotations

from fastapi import APIRouter, Depends, FastAPI
from fastapi.staticfiles import StaticFiles

from agent_memory.service.web import live, login, page, recall, sessions, timeline

router = APIRouter(include_in_schema=False, dependencies=[Depends(page.check_form)])
for pages in (login, live, recall, sessions, timeline):
    router.include_router(pages.router)


def add_to(app: FastAPI) -> None:
    app.state.links = login.Links()
    app.include_router(login.links, prefix="/api")
    app.include_router(router)
    app.mount("/static", StaticFiles(directory=page.STATIC), name="static")
