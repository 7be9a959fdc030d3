"""One project's memory with what it takes to reach it: a pool and an embedder of its own, no running service."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar

import psycopg

from agent_memory.access import audit
from agent_memory.database import Connection, server
from agent_memory.database.migrate import migrate
from agent_memory.errors import AgentMemoryError
from agent_memory.journal import projects
from agent_memory.settings import Settings

if TYPE_CHECKING:
    from agent_memory.database.server import Pool
    from agent_memory.observations.embed import Embedder

POOL_SIZE = 2
WAIT_S = 5.0  # for a connection; an agent waits meanwhile
FINISH_S = 2.0  # for what runs in the background when the server ends; a client kills it soon after

T = TypeVar("T")
log = logging.getLogger(__name__)


class Memory:
    """The memory of the project that a folder belongs to. Opens what it needs at the first use."""

    def __init__(self, settings: Settings, folder: str, *, session_id: str | None = None) -> None:
        self.settings = settings
        self.session_id = session_id
        """The agent's session, where it told."""
        self._folder = folder
        self._pool: Pool | None = None
        self._project: projects.Identity | None = None
        self._embedder: Embedder | None = None
        self._closed = False
        self._background: list[threading.Thread] = []
        self._opening = threading.Lock()
        self._loading = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed = True
        for thread in self._background:
            thread.join(FINISH_S)
        self._close()

    def open_early(self) -> None:
        """Begin to open the database, in the background. What fails is tried again, and told, when needed."""
        self._begin(self._opened)

    def load_early(self) -> None:
        """Begin to load the embedding model, in the background."""
        self._begin(self.embedder)

    def run(self, operation: Callable[[Connection, int], T]) -> T:
        """`operation(conn, project_id)` in one transaction of its own.

        Where the database has gone, as after `agent-memory down`, it is opened anew and the operation tried once
        more: every operation of ours may be repeated.

        Raises:
            AgentMemoryError: the database cannot be reached.
        """
        try:
            return self._try(operation)
        except psycopg.OperationalError:
            self._close()
        try:
            return self._try(operation)
        except psycopg.OperationalError as error:
            self._close()
            raise AgentMemoryError(
                f"The memory's database went away: {str(error).strip() or type(error).__name__}.",
                "Try again; if it stays away, ask the user to run: agent-memory status",
            ) from error

    def read(self, action: str, operation: Callable[[Connection, int], T]) -> T:
        """Like `run`, for what only reads; written down where the audit log is to hold that too."""

        def noted(conn: Connection, project: int) -> T:
            found = operation(conn, project)
            self.write_down(conn, project, action, kind="read")
            return found

        return self.run(noted)

    def write_down(
        self,
        conn: Connection,
        project: int,
        action: str,
        *,
        kind: audit.Kind = "write",
        target: str | None = None,
    ) -> None:
        """One line in the audit log, where its level asks for it."""
        audit.record(
            conn, self.settings, who="mcp", action=action, kind=kind, target=target, project_id=project
        )

    def _try(self, operation: Callable[[Connection, int], T]) -> T:
        pool, identity = self._opened()
        with pool.connection(timeout=WAIT_S) as conn:
            # Each time: while the server runs, a person may merge projects.
            return operation(conn, projects.ensure(conn, identity))

    def embedder(self) -> Embedder | None:
        """The embedder, or None where it cannot be loaded: then the words alone are searched."""
        from agent_memory.observations import embed

        with self._loading:
            if self._embedder is None:
                try:
                    self._embedder = embed.load(self.settings)
                except AgentMemoryError as error:
                    log.warning("%s", error)
            return self._embedder

    def embed_pending(self) -> None:
        """Embed what was just saved, in the background. Where the service runs, its worker may be quicker."""
        from agent_memory.observations import worker

        def embed() -> None:
            if embedder := self.embedder():
                self.run(lambda conn, _: worker.embed_pending(conn, embedder))

        self._begin(embed)

    def clean_up(self) -> None:
        """Clear the space of what was just forgotten, in the background. Where this ends first, the service does it."""
        from agent_memory.forgetting import clean

        def work() -> None:
            with server.connect(server.conninfo(self.settings)) as conn:
                conn.autocommit = True
                clean.clean(conn)

        self._begin(work)

    def _begin(self, work: Callable[[], object]) -> None:
        """Do it in a thread that a process about to end need not wait for."""
        self._background = [thread for thread in self._background if thread.is_alive()]
        thread = threading.Thread(target=_quietly, args=(work,), daemon=True)
        self._background.append(thread)
        thread.start()

    def _opened(self) -> tuple[Pool, projects.Identity]:
        with self._opening:
            if self._closed:
                raise AgentMemoryError("The memory is closed.", "Start the server again.")
            if self._pool is None or self._project is None:
                conninfo = server.conninfo(self.settings)
                with server.connect(conninfo) as conn:
                    migrate(conn)
                self._project = projects.identify(self._folder)
                self._pool = server.open_pool(conninfo, size=POOL_SIZE)
            return self._pool, self._project

    def _close(self) -> None:
        with self._opening:
            if self._pool is not None:
                self._pool.close(timeout=1)
            self._pool = None


def _quietly(work: Callable[[], object]) -> None:
    try:
        work()
    except AgentMemoryError as error:
        log.info("%s", error)  # whoever needs it is told
    except Exception:
        log.exception("in the background")
