"""Who gets in: over the unix socket whoever may open the file, over TCP whoever shows the owner's token.

Over TCP the Host header must name the loopback, so that a web page that points its own name here (DNS rebinding) gets
nothing, and a browser's cross-site request is refused by its Origin.
"""

from __future__ import annotations

import secrets
from urllib.parse import urlsplit

from fastapi import Request

from agent_memory.errors import AgentMemoryError
from agent_memory.settings import Settings, owner_token

LOOPBACK = {"127.0.0.1", "localhost", "::1"}


def over_unix_socket(request: Request) -> bool:
    """Whether the request came through `service.sock`: such a connection has no port."""
    server = request.scope.get("server")
    return server is None or server[1] is None


def check(request: Request, settings: Settings) -> None:
    """Raise the AgentMemoryError of a request that may not come in."""
    if over_unix_socket(request):
        return
    for header in ("host", "origin"):
        value = request.headers.get(header)
        if value is None and header == "origin":
            continue
        name = urlsplit(value if header == "origin" and value else f"//{value}").hostname
        if name not in LOOPBACK:
            raise AgentMemoryError(
                f"The {header.capitalize()} header is {value!r}, which is not this machine.",
                "Call http://127.0.0.1 directly.",
                status=403,
            )
    if not settings.require_auth or request.url.path == "/api/health":
        return  # health holds counts, no texts
    scheme, _, shown = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not secrets.compare_digest(
        shown.encode(), owner_token(settings).encode()
    ):
        raise AgentMemoryError(
            "No valid token was shown.",
            "Send 'Authorization: Bearer TOKEN' with the token in the file `token` of the agent-memory home,"
            " or use the unix socket `service.sock` there.",
            status=401,
        )
