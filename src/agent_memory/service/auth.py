"""Who calls, and what they may do.

Over the unix socket comes whoever may open the file, and the kernel is asked once more whose process it is
(`sockets.OwnersOnly`). Over TCP comes whoever shows a token: the owner's, or one of `access.tokens`. There the Host
header must name the loopback, so that a web page that points its own name here (DNS rebinding) gets nothing, and a
browser's request from a page elsewhere is refused by its Origin. A browser that was logged in (`web.login`) shows its
token as a cookie, which opens the viewer's pages and nothing of `/api`, and only to the viewer's own pages: those of
another port of this machine are a stranger's. The viewer has a name of its own (`sockets.own_name`), so that the
browser sends them no cookie either; one that does not know such names comes by 127.0.0.1, and then it does.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection
from dataclasses import dataclass
from typing import Annotated, Literal
from urllib.parse import urlsplit

from fastapi import Depends, Request

from agent_memory.access import tokens
from agent_memory.access.tokens import SCOPES, Scope
from agent_memory.database import Connection
from agent_memory.errors import AgentMemoryError
from agent_memory.journal import projects
from agent_memory.service import sockets
from agent_memory.service.state import State
from agent_memory.settings import owner_token

LOOPBACK = {"127.0.0.1", "localhost", "::1"}
OPEN = frozenset({"/api/health", "/login"})
"""Health holds counts, no texts; whoever logs in has no token yet."""
STATIC = "/static/"
"""The viewer's own style and script are no secret."""
COOKIE = "agent_memory_session"
VIEWER = "viewer-"
"""What the names of the tokens begin with that browsers hold."""
READING_POSTS = frozenset({"/api/recall", "/api/observations/search", "/api/lessons/match"})
"""A question is too long for an address."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls."""

    name: str
    """For the audit log: `owner`, `token:<name>`, `socket:<agent>`, or `nobody`."""
    scope: Scope | None
    project_id: int | None = None
    """The only project that it may reach, or None for all."""

    def project(self, conn: Connection, argument: str) -> int:
        """The project that an argument names. Raises AgentMemoryError: 404 for one that is unknown, 403 for one that is
        not this caller's."""
        known = projects.resolve(conn, argument)
        if self.project_id is not None:
            if known != self.project_id:
                raise out_of_bounds()
            return self.project_id
        if known is None:
            raise AgentMemoryError(
                f"No project {argument!r} is known here.",
                "Name it by its folder's path, its git remote or its id (agent-memory status lists them).",
                status=404,
            )
        return known

    def narrowed(self, conn: Connection, argument: str | None) -> int | None:
        """Like `project`; without an argument the caller's own, or None for all."""
        return self.project_id if argument is None else self.project(conn, argument)

    def may_reach(self, project_id: int | None) -> bool:
        return self.project_id is None or self.project_id == project_id

    def check(self, project_id: int | None) -> None:
        """Raises AgentMemoryError where this project is not the caller's."""
        if not self.may_reach(project_id):
            raise out_of_bounds()


def out_of_bounds() -> AgentMemoryError:
    return AgentMemoryError(
        "This token is bound to another project.",
        "Name its own project, or use a token without --project.",
        status=403,
    )


def caller_of(request: Request) -> Caller:
    caller: Caller = request.state.caller
    return caller


By = Annotated[Caller, Depends(caller_of)]
"""What a route takes to know who calls."""


def over_unix_socket(request: Request) -> bool:
    """Whether the request came through `service.sock`: such a connection has no port."""
    server = request.scope.get("server")
    return server is None or server[1] is None


def is_page(path: str) -> bool:
    """Whether a path is the viewer's: its answers are for people."""
    return not path.startswith("/api/") and path != "/openapi.json"


def kind(request: Request) -> Scope:
    """What the request asks to do, and so the scope that it takes."""
    path = request.url.path
    if path.startswith(("/api/admin", "/admin")):
        return "admin"
    return "read" if request.method in ("GET", "HEAD", "OPTIONS") or path in READING_POSTS else "write"


def identified(request: Request, state: State) -> Caller:
    """Who calls; one that shows no valid token is `nobody`. Raises AgentMemoryError for a request that may not come in
    at all. May ask the database."""
    if over_unix_socket(request):
        agent = request.headers.get("x-agent-name")
        trusted = state.settings.trusted_agents
        if agent is not None and trusted and agent not in trusted:
            raise AgentMemoryError(
                f"The agent {agent!r} is not among TRUSTED_AGENTS.",
                f"Trusted are: {', '.join(trusted)}. Add it to this setting, or use a token over TCP.",
                status=403,
            )
        return Caller(f"socket:{agent or 'local'}", "admin")
    _check_origin(request, {*LOOPBACK, sockets.own_name(state.settings)})
    scheme, _, shown = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and shown:
        if secrets.compare_digest(shown.encode(), owner_token(state.settings).encode()):
            return Caller("owner", "admin")
        if shown.startswith(tokens.PREFIX):
            with state.pool.connection() as conn, conn.transaction():
                token = tokens.find(conn, shown)
            if token is not None:
                return Caller(f"token:{token.name}", token.scope, token.project_id)
    shown = request.cookies.get(COOKIE, "")
    if shown and is_page(request.url.path):
        _check_own_page(request)
        with state.pool.connection() as conn, conn.transaction():
            token = tokens.find(conn, shown)
        if token is not None and token.name.startswith(VIEWER):
            return Caller(f"token:{token.name}", token.scope, token.project_id)
    if not state.settings.require_auth:
        if is_page(request.url.path):
            _check_own_page(request)
        return Caller("anybody", "admin")
    return Caller("nobody", None)


def allow(caller: Caller, request: Request) -> None:
    """Raises AgentMemoryError where the caller may not do what the request asks."""
    if caller.scope is None:
        if request.url.path in OPEN or request.url.path.startswith(STATIC):
            return
        raise AgentMemoryError(
            "No valid token was shown.",
            "Send 'Authorization: Bearer TOKEN' with the token in the file `token` of the agent-memory home, or with"
            " one of agent-memory token create; or use the unix socket `service.sock` there. In a browser: agent-memory"
            " open.",
            status=401,
        )
    needed = kind(request)
    if SCOPES.index(caller.scope) < SCOPES.index(needed):
        raise AgentMemoryError(
            f"This token's scope is {caller.scope}; this takes {needed}.",
            f"Use a token made with: agent-memory token create NAME --scope {needed}",
            status=403,
        )


def _check_origin(request: Request, ours: Collection[str]) -> None:
    """Raises AgentMemoryError where the request names another host than `ours`, or a page of one sent it."""
    host: str = request.headers.get("host", "")
    origin = request.headers.get("origin")
    wrong: tuple[Literal["Host", "Origin"], str] | None = None
    sender = urlsplit(origin or "")
    if urlsplit(f"//{host}").hostname not in ours:
        wrong = ("Host", host)
    elif origin is not None and not (sender.scheme in ("http", "https") and sender.hostname in ours):
        wrong = ("Origin", origin)
    if wrong:
        raise AgentMemoryError(
            f"The {wrong[0]} header is {wrong[1]!r}, which is not this machine.",
            "Call http://127.0.0.1 directly.",
            status=403,
        )


def _check_own_page(request: Request) -> None:
    """Raises AgentMemoryError where a browser says that another page than one of the viewer's own asks for this: a form
    that is sent, or something that is read into a page. To go to a page by a link is nobody's harm."""
    own = f"{request.url.scheme}://{request.headers.get('host', '')}"
    site = request.headers.get("sec-fetch-site", "none")
    if request.method in ("GET", "HEAD"):
        wrong = site in ("cross-site", "same-site") and request.headers.get("sec-fetch-mode") != "navigate"
    else:
        wrong = request.headers.get("origin") != own or site in ("cross-site", "same-site")
    if wrong:
        raise AgentMemoryError(
            "A page that is not the viewer's asked for this.", f"Open {own} and do it there.", status=403
        )
