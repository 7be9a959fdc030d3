"""What an agent starts as the memory's MCP server: it passes the agent's lines on to a session that the running service
holds (`mcp/host.py`), where everything is loaded already.

Where no service answers, or one of another version, the server starts as a process of its own (`mcp/server.py`), and
the lines go there. Either may die while the agent works. Then the next one gets the agent's `initialize` again, whose
answer the agent has already, and every request that was not answered: reading and saving may be done twice, since the
same text is the same note. What may not is answered with an error that says so.

Only the standard library, and little of it: an agent waits for this, and each of its sessions keeps one.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time

from agent_memory.mcp import reach
from agent_memory.mcp.reach import Json, Process, Service, fields, parsed

TRIES = 3
"""Servers that a request is sent to, the last of them a process of its own. Where each of them died of it, the agent
is told."""
NOT_TWICE = frozenset({"forget"})
"""Tools whose second run would say something else than the first."""
LOOK_AGAIN = 30.0  # seconds between two looks for a service while a process of its own serves
ENDS_WITHIN = 5.0  # seconds for the server to end after the agent has


def main() -> None:
    """Pass lines on until the agent closes standard input."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # an end without a traceback
    relay = Relay()
    for line in reach.lines(lambda: os.read(0, reach.BLOCK), end=b"\n"):
        relay.take(line)
    relay.end()
    os._exit(0)  # no thread is waited for


class Request:
    """One that the agent waits for."""

    def __init__(self, line: bytes, message: Json) -> None:
        self.line = line
        self.message = message
        self.tries = 0


class Relay:
    """Between one agent and the server that answers it now."""

    def __init__(self) -> None:
        self._server: Service | Process | None = None
        self._waiting: dict[str, Request] = {}  # by the id as it is written
        self._initialize: Request | None = None
        self._initialized = b""
        self._look_again = 0.0
        self._ending = False
        self._listener: threading.Thread | None = None
        self._lock = threading.Lock()
        self._saying = threading.Lock()

    def take(self, line: bytes) -> None:
        """Pass on what the agent says."""
        message = parsed(line)
        method, number = message.get("method"), message.get("id")
        with self._lock:
            self._prefer_service()
            if method == "notifications/initialized":
                self._initialized = line
            elif method == "notifications/cancelled":
                self._waiting.pop(repr(fields(message, "params").get("requestId")), None)
            elif method and number is not None:
                request = self._waiting[repr(number)] = Request(line, message)
                if method == "initialize":
                    self._initialize = request
                if self._server is None:
                    self._reach_one()
                    return
                request.tries += 1
            if self._server is not None:
                try:
                    self._server.send(line)
                except OSError:
                    self._lost()

    def end(self) -> None:
        """The agent will say no more: let the server end, and what it still says reach the agent."""
        with self._lock:
            self._ending = True
            if self._server is None or self._listener is None:
                return
            try:
                self._server.finish()
            except OSError:
                return
        self._listener.join(ENDS_WITHIN)

    def _prefer_service(self) -> None:
        """Leave a server of our own for the service, once there is one and nothing is asked."""
        if not isinstance(self._server, Process) or self._waiting or time.monotonic() < self._look_again:
            return
        self._look_again = time.monotonic() + LOOK_AGAIN
        if service := self._service(patience=0.0):
            self._server.close()
            self._server = None
            self._begin(service)

    def _reach_one(self) -> None:
        """Find a server for what waits."""
        while self._waiting:
            tried = max(request.tries for request in self._waiting.values())
            if tried >= TRIES:
                self._give_up()
                return
            service = self._service() if tried < TRIES - 1 else None
            try:
                if self._begin(service or Process()):
                    return
            except OSError as error:  # there is no Python any more to start
                print(f"agent-memory: {error}", file=sys.stderr)  # noqa: T201 - standard output is the protocol
                self._give_up()

    def _service(self, patience: float = reach.STARTS_WITHIN) -> Service | None:
        asked = self._initialize.message if self._initialize else {}
        try:
            hello: Json = {
                "folder": os.environ.get("CLAUDE_PROJECT_DIR") or os.getcwd(),
                "client": fields(fields(asked, "params"), "clientInfo").get("name"),
                "session": os.environ.get("CLAUDE_CODE_SESSION_ID"),
            }
        except FileNotFoundError:  # the working folder is gone
            return None
        return reach.service(hello, lambda: bool(self._waiting), patience=patience)

    def _begin(self, server: Service | Process) -> bool:
        """Send what waits there, after the agent's handshake. False: it is gone already."""
        self._look_again = time.monotonic() + LOOK_AGAIN
        for request in self._waiting.values():
            request.tries += 1
        try:
            if self._initialize and self._initialize not in self._waiting.values():
                self._shake_hands(server, self._initialize)
            for request in self._waiting.values():
                server.send(request.line)
        except OSError:
            server.close()
            return False
        self._server = server
        self._listener = threading.Thread(target=self._listen, args=(server,), daemon=True)
        self._listener.start()
        return True

    def _shake_hands(self, server: Service | Process, initialize: Request) -> None:
        """Do again what the agent has done with another server. Raises OSError where this one does not take part."""
        server.send(initialize.line)
        for line in server.lines:
            if parsed(line).get("id") == initialize.message["id"]:
                server.send(self._initialized)
                return
        raise ConnectionResetError

    def _listen(self, server: Service | Process) -> None:
        """Pass on what the server says, until it is gone."""
        for line in server.lines:
            message = parsed(line)
            with self._lock:
                if server is not self._server:
                    continue  # one that was left: nobody waits for what it says
                if "method" not in message:
                    self._waiting.pop(repr(message.get("id")), None)
            self._say(line)
        with self._lock:
            if server is self._server and not self._ending:
                self._lost()

    def _lost(self) -> None:
        """The server is gone. Another is looked for when something is asked, which may be now."""
        if self._server is not None:
            self._server.close()
        self._server = None
        for key, request in list(self._waiting.items()):
            if fields(request.message, "params").get("name") in NOT_TWICE:
                del self._waiting[key]
                self._say(in_doubt(request.message))
        self._reach_one()

    def _give_up(self) -> None:
        for request in self._waiting.values():
            self._say(refused(request.message))
        self._waiting.clear()

    def _say(self, line: bytes) -> None:
        """To the agent."""
        with self._saying:
            try:
                while line:
                    line = line[os.write(1, line) :]
            except OSError:  # the agent is gone
                os._exit(0)


def in_doubt(request: Json) -> bytes:
    """The answer to a call that may have been done or not."""
    said = (
        "The memory's service ended during this, so it may be done or not. Look whether it is still there (search,"
        " get_observations), and where it is, call this again."
    )
    result: Json = {"content": [{"type": "text", "text": said}], "isError": True}
    if "io.modelcontextprotocol/protocolVersion" in fields(fields(request, "params"), "_meta"):
        result["resultType"] = "complete"  # since 2026-07-28
    return _answer(request, result=result)


def refused(request: Json) -> bytes:
    """The answer to what no server can be found for."""
    said = "The memory's server ended each time it was asked this. Ask the user to run: agent-memory doctor"
    return _answer(request, error={"code": -32603, "message": said})


def _answer(request: Json, **answer: Json) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": request["id"], **answer}).encode() + b"\n"
