"""Logging in by a link: made over the unix socket, good once and for two minutes. What the browser then holds is a
token of `access.tokens`, so it runs out, can be listed and revoked, and is stored as a hash only."""

from __future__ import annotations

import secrets
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import RedirectResponse, Response

from agent_memory.access import tokens
from agent_memory.errors import AgentMemoryError
from agent_memory.service import auth, sockets
from agent_memory.service.state import Database, Service
from agent_memory.service.web import page

router = APIRouter()
links = APIRouter(prefix="/admin/viewer")
LINK_S = 120.0
STAYS = timedelta(days=7)
MOST_LINKS = 20


class Links:
    """The links that were made and not used yet, in this process's memory: a restart makes them worthless."""

    def __init__(self) -> None:
        self._until: dict[str, float] = {}
        self._lock = threading.Lock()

    def make(self) -> str:
        with self._lock:
            now = time.monotonic()
            self._until = {key: until for key, until in self._until.items() if until > now}
            while len(self._until) >= MOST_LINKS:
                del self._until[next(iter(self._until))]
            key = secrets.token_urlsafe(32)
            self._until[key] = now + LINK_S
            return key

    def use(self, key: str) -> bool:
        """Whether this key was good; it is not again."""
        with self._lock:
            return self._until.pop(key, 0.0) > time.monotonic()


def links_of(request: Request) -> Links:
    held: Links = request.app.state.links
    return held


HeldLinks = Annotated[Links, Depends(links_of)]


@links.post("/links", status_code=201)
def make_link(request: Request, state: Service, held: HeldLinks) -> dict[str, str]:
    """A link that logs a browser in, once, within two minutes. Over the unix socket alone."""
    if not auth.over_unix_socket(request):
        raise AgentMemoryError(
            "A link to the viewer is made over the unix socket alone.", "Run: agent-memory open", status=403
        )
    return {"url": f"{sockets.viewer(state.settings)}login?key={held.make()}"}


@router.get("/login")
def log_in(request: Request, conn: Database, held: HeldLinks, key: str = "") -> Response:
    """Log the browser in that follows the link. The page goes on by itself: it is the first that gets the cookie, since
    a browser that came from elsewhere would not send it at once."""
    if not held.use(key):
        return page.page(
            request,
            "login.html",
            status=401,
            done=False,
            detail="This link was used, or is older than two minutes." if key else None,
        )
    name = f"{auth.VIEWER}{secrets.token_hex(4)}"
    token = tokens.create(conn, name, scope="admin", expires_at=datetime.now(UTC) + STAYS)
    answer = page.page(request, "login.html", done=True, detail=None)
    answer.set_cookie(
        auth.COOKIE, token, max_age=int(STAYS.total_seconds()), httponly=True, samesite="strict", path="/"
    )
    return answer


@router.post("/logout")
def log_out(conn: Database, by: auth.By) -> Response:
    """From now on the browser's cookie opens nothing."""
    if by.name.startswith(f"token:{auth.VIEWER}"):
        tokens.revoke(conn, by.name.removeprefix("token:"))
    answer = RedirectResponse("/login", status_code=303)
    answer.delete_cookie(auth.COOKIE, httponly=True, samesite="strict", path="/")
    return answer
