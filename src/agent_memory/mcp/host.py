"""The sessions that the service holds for its agents' relays (`mcp/relay.py`), on a socket of the owner's alone.

A relay's first line says who it is: `{"agent-memory": VERSION, "folder": …, "client": …, "session": …}`. The answer is
one line: our version and `refused`, which is null or the reason why it gets no session. From then on it is MCP. Each
session has a server of its own for its folder's project, so that nothing of one can reach another. What is dear is
shared: the process, the SDK, the pool and the embedder.

It begins with the service and before its database: the SDK is imported while that starts, and an agent that started
the service lists the tools meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import logging
import socket
import threading
from collections.abc import Callable, Collection
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Any, Self, cast

from agent_memory import __version__
from agent_memory.access.limits import Limits, TooManyRequests
from agent_memory.errors import AgentMemoryError
from agent_memory.journal import projects
from agent_memory.mcp.memory import Memory
from agent_memory.settings import Settings

if TYPE_CHECKING:
    import anyio
    from mcp.server.context import CallNext, HandlerResult, ServerMiddleware, ServerRequestContext

    from agent_memory.database.server import Pool
    from agent_memory.observations.embed import Embedder

HELLO_WITHIN = 5.0  # seconds for a relay's first line
READY_WITHIN = 10.0  # seconds that a call waits for the database of a service that is starting
ENDS_WITHIN = 5.0  # seconds for the calls that run when the service stops
QUIET = 3.0  # seconds after the start in which only an agent that asks makes us import the SDK
LONGEST_LINE = 64 << 20  # bytes
AT_ONCE = 2
"""Calls of one session that run at the same time. The others wait, so that a session that asks hundreds of things at
once holds up nobody else: neither for a thread, nor for one of the pool's connections."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Lent:
    """What the service has, and all sessions use."""

    pool: Pool
    embedder: Callable[[], Embedder | None]


class Shared(Memory):
    """A project's memory with what the service has: its pool, its embedder, and its worker for what is left to do."""

    def __init__(
        self, settings: Settings, folder: str, lent: Future[Lent], *, session_id: str | None
    ) -> None:
        super().__init__(settings, folder, session_id=session_id)
        self._lent = lent

    def embedder(self) -> Embedder | None:
        return self._service().embedder()

    def embed_pending(self) -> None:
        """The worker does."""

    def clean_up(self) -> None:
        """The service does (`service/upkeep.py`)."""

    def _opened(self) -> tuple[Pool, projects.Identity]:
        service = self._service()
        with self._opening:
            if self._project is None:
                self._project = projects.identify(self._folder)
        return service.pool, self._project

    def _close(self) -> None:
        """The pool checks its connections, and is not ours."""

    def _service(self) -> Lent:
        try:
            return self._lent.result(READY_WITHIN)
        except (TimeoutError, CancelledError):
            raise AgentMemoryError(
                "The memory is still starting.",
                "Try again in a moment; if it stays so, ask the user to run: agent-memory status",
            ) from None


class Host:
    """Every session that the service holds, in an event loop of their own: no other request waits for them."""

    def __init__(self, settings: Settings, listening: socket.socket) -> None:
        self._settings = settings
        self._limits = Limits(settings)
        self._numbers = itertools.count(1)
        self._listening = listening
        self._lent: Future[Lent] = Future()
        self._stopping = threading.Event()
        self._thread = threading.Thread(name="mcp", target=lambda: asyncio.run(self._serve()))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def lend(self, lent: Lent) -> None:
        """The service is ready: calls are answered from now on."""
        self._lent.set_result(lent)

    def stop(self) -> None:
        """End every session. What they were about to answer, their relays ask elsewhere."""
        self._lent.cancel()
        self._stopping.set()
        self._thread.join()

    async def _serve(self) -> None:
        sessions: dict[asyncio.Task[None], asyncio.WriteTransport] = {}
        asked = asyncio.Event()

        async def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            sessions[task] = writer.transport
            asked.set()
            try:
                await self._session(reader, writer)
            except* (OSError, ValueError) as gone:  # it was killed, or is no relay
                log.info("a session ended: %s", _first(gone))
            except* Exception:
                log.exception("a session ended")
            finally:
                writer.transport.abort()
                del sessions[task]

        logging.getLogger("mcp").setLevel(logging.WARNING)  # else it writes down what was asked
        server = await asyncio.start_unix_server(begin, sock=self._listening, limit=LONGEST_LINE)
        importing = asyncio.create_task(_import_when(asked))
        await asyncio.to_thread(self._stopping.wait)
        server.close()
        importing.cancel()
        for transport in sessions.values():
            transport.abort()  # before it can say that it is cancelled, which the agent would take for an answer
        if sessions:
            await asyncio.wait(sessions, timeout=ENDS_WITHIN)

    async def _session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        hello = json.loads(await asyncio.wait_for(reader.readline(), HELLO_WITHIN) or "{}")
        refused = _refusal(hello, self._settings)
        writer.write(json.dumps({"agent-memory": __version__, "refused": refused}).encode() + b"\n")
        await writer.drain()
        if refused:
            return
        tools = await asyncio.to_thread(_tools)
        from mcp.server.stdio import stdio_server

        folder, session_id = str(hello.get("folder") or ""), hello.get("session")
        with Shared(self._settings, folder, self._lent, session_id=session_id) as memory:
            memory.load_early()
            mcp = tools.server(memory)
            reading = {
                t.name for t in await mcp.list_tools() if t.annotations and t.annotations.read_only_hint
            }
            served = mcp._lowlevel_server  # the public ways take the process's own stdin
            who = f"{hello.get('client') or 'an agent'} in {folder}, session {next(self._numbers)}"
            served.middleware.append(self._measured(who, reading))
            # Both ask for files; what they do with them, these two can.
            stdin, stdout = cast("anyio.AsyncFile[str]", reader), cast("anyio.AsyncFile[str]", _Lines(writer))
            async with stdio_server(stdin, stdout) as (incoming, outgoing):
                await served.run(incoming, outgoing, served.create_initialization_options())

    def _measured(self, session: str, reading: Collection[str]) -> ServerMiddleware[Any]:
        """What lets a session's calls through: as many a minute as a token's over REST, and few at a time. `reading`
        names the tools that change nothing."""
        from agent_memory.mcp import results

        turns = asyncio.Semaphore(AT_ONCE)

        async def measured(ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
            if ctx.method != "tools/call":
                return await call_next(ctx)
            writes = (ctx.params or {}).get("name") not in reading
            try:
                self._limits.count(session, door="mcp", writes=writes)
            except TooManyRequests as error:
                return results.failed(error)
            async with turns:
                return await call_next(ctx)

        return measured


def _first(errors: BaseException) -> BaseException:
    """What one of a group is, however deep it lies."""
    while isinstance(errors, BaseExceptionGroup):
        errors = errors.exceptions[0]
    return errors


class _Lines:
    """A connection to write lines to."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer

    async def write(self, line: str) -> None:
        self._writer.write(line.encode())

    async def flush(self) -> None:
        await self._writer.drain()


def _refusal(hello: dict[str, Any], settings: Settings) -> str | None:
    """Why a relay gets no session, or None."""
    if (version := hello.get("agent-memory")) != __version__:
        return f"this service is version {__version__}, the agent's is {version}"
    client, trusted = hello.get("client"), settings.trusted_agents
    # Clients name themselves longer than we name them: claude-code, codex-mcp-client.
    if trusted and client and not any(str(client).lower().split("-")[0] == name.lower() for name in trusted):
        return f"{client} is not among TRUSTED_AGENTS"
    return None


async def _import_when(asked: asyncio.Event) -> None:
    """Import the SDK before an agent asks for it, but not in the first seconds: the hook that started the service waits
    for an answer then."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(asked.wait(), QUIET)
    await asyncio.to_thread(_tools)


def _tools() -> ModuleType:
    from agent_memory.mcp import tools

    return tools
