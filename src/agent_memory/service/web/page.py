"""Pages: the templates, what all of them share, and what their answers carry."""

from __future__ import annotations

import hmac
from http import HTTPStatus
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from agent_memory import __version__
from agent_memory.database import Connection
from agent_memory.errors import AgentMemoryError
from agent_memory.journal import store as journal
from agent_memory.service import auth
from agent_memory.service.web import show
from agent_memory.settings import Settings, owner_token

HERE = Path(__file__).parent
STATIC = HERE / "static"


class Tab(NamedTuple):
    """A page of the navigation."""

    path: str
    name: str
    key: str
    """After `g`, the key that goes there."""


TABS = (
    Tab("/", "Live", "l"),
    Tab("/sessions", "Sessions", "s"),
    Tab("/recall", "Recall", "r"),
    Tab("/timeline", "Timeline", "t"),
    Tab("/observations", "Memories", "m"),
    Tab("/lessons", "Lessons", "e"),
    Tab("/told", "Told", "o"),
    Tab("/training", "Training", "f"),
    Tab("/projects", "Projects", "p"),
    Tab("/health", "Health", "h"),
)

HEADERS = {
    # Nothing but what the service itself gives, nothing inline, in nobody's frame.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self';"
    " connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not `no-referrer`: with it a browser says of our own forms that they come from `null`.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""Of every answer of the viewer."""
NEVER_KEPT = {"Cache-Control": "no-store"}
"""Of every page: what is forgotten is not to lie in the browser's cache."""

TITLES = {404: "Not here", 422: "That does not fit"}
"""What the page of a refusal is called, where the standard's phrase is a programmer's."""

_templates = Environment(
    loader=FileSystemLoader(HERE / "templates"),
    autoescape=True,
    finalize=show.finalize,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_templates.filters |= {"when": show.when, "span": show.span, "size": show.size, "within": show.within}
_templates.filters["part"] = lambda text: quote(str(text), safe="")
_templates.globals |= {"count": show.count, "tabs": TABS, "version": __version__}


def page(request: Request, template: str, *, status: int = 200, **values: Any) -> HTMLResponse:
    """A template as an answer. `values` are the template's own; all have `caller`, `csrf`, `path`, `theme`."""
    caller = getattr(request.state, "caller", None)
    theme = request.cookies.get("theme")
    html = _templates.get_template(template).render(
        caller=caller,
        csrf=csrf(request.app.state.service.settings, request),
        path=request.url.path,
        query=request.query_params,
        theme=theme if theme in ("light", "dark") else None,
        **values,
    )
    return HTMLResponse(html, status_code=status, headers=NEVER_KEPT)


def part(template: str, macro: str, *values: Any) -> str:
    """What one macro of a template makes, for a page that is there already."""
    made: str = getattr(_templates.get_template(template).module, macro)(*values)
    return str(made)


def refusal(request: Request, status: int, detail: str, remedy: str) -> HTMLResponse:
    """An error as a page, with what to do about it; to one who is not logged in, how to do that."""
    caller = getattr(request.state, "caller", None)
    if status == HTTPStatus.UNAUTHORIZED or caller is None or caller.scope is None:
        return page(
            request, "login.html", status=status, detail=None if status == 401 else detail, done=False
        )
    return page(
        request,
        "error.html",
        status=status,
        title=TITLES.get(status, HTTPStatus(status).phrase),
        detail=detail,
        remedy=remedy,
    )


def projects_of(conn: Connection, by: auth.Caller) -> list[dict[str, Any]]:
    """The projects that a page lets one choose from, that in which something happened last first."""
    rows = [row for row in journal.projects(conn) if by.may_reach(row["id"])]
    return sorted(
        rows, key=lambda row: (row["last_event_at"] is not None, row["last_event_at"]), reverse=True
    )


def csrf(settings: Settings, request: Request) -> str:
    """What a form of this browser's session carries in its field `csrf`."""
    session = request.cookies.get(auth.COOKIE, "")
    return hmac.digest(owner_token(settings).encode(), f"csrf {session}".encode(), "sha256").hex()


async def check_form(request: Request) -> None:
    """Every page's dependency: a form that a browser's session sends must be our own. Raises AgentMemoryError."""
    if request.method in ("GET", "HEAD") or auth.COOKIE not in request.cookies:
        return
    shown = (await request.form()).get("csrf")
    if not isinstance(shown, str) or not hmac.compare_digest(
        shown, csrf(request.app.state.service.settings, request)
    ):
        raise AgentMemoryError(
            "This form is not of this login.", "Load the page again, and send it once more.", status=403
        )
