"""Who looks on while things are recorded. One thread listens to the database for all of them, and only while there is
somebody; each has a queue that is bounded, and whoever does not keep up is let go and may come back to where it was."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import logging
import threading
import time
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING

import orjson
import psycopg

from agent_memory.database import server
from agent_memory.errors import AgentMemoryError
from agent_memory.replay import live, store
from agent_memory.replay.live import Happening, Place, Told

if TYPE_CHECKING:
    from agent_memory.database.server import Pool

log = logging.getLogger(__name__)

MOST_WATCHERS = 32
QUEUE = 1_000
LISTEN_S = 0.5  # between two looks at whether anybody is still there
HEARD_WITHIN = (
    15.0  # that the database gets until it is listened to; what comes before that is told to nobody
)
AGAIN_S = 2.0  # between two tries while the database is away
REMEMBERED = 5_000  # rows that were told, so that a session's file tells none of them again


class Watcher:
    """One who looks on; lives in one event loop."""

    def __init__(self, project_id: int | None) -> None:
        self.project_id = project_id
        self.loop = asyncio.get_running_loop()
        self.queue: asyncio.Queue[Told | None] = asyncio.Queue(QUEUE)

    def tell(self, told: Told | None) -> None:
        """From any thread. None: it is over."""
        with contextlib.suppress(RuntimeError):  # the loop is closed already
            self.loop.call_soon_threadsafe(self._put, told)

    def _put(self, told: Told | None) -> None:
        if told is None or self.queue.full():
            while not self.queue.empty():
                self.queue.get_nowait()
            told = None
        self.queue.put_nowait(told)


class Stream:
    """Everybody who looks on, and the thread that tells them."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._watchers: set[Watcher] = set()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._over = False
        self._heard = threading.Event()

    def check(self) -> None:
        """Raises AgentMemoryError where too many look on already, and where the service stops."""
        if self._over or len(self._watchers) >= MOST_WATCHERS:
            raise AgentMemoryError(
                "The service stops." if self._over else f"{MOST_WATCHERS} look on already.",
                "Come again when it runs, or when one of the others is closed.",
                status=503,
            )

    @contextlib.asynccontextmanager
    async def watching(self, project_id: int | None) -> AsyncIterator[Watcher]:
        """Be told of what is recorded from now on, in one project or in all. Raises what `check` raises."""
        watcher = Watcher(project_id)
        with self._lock:
            self.check()
            self._watchers.add(watcher)
            if self._thread is None:
                self._heard.clear()
                self._thread = threading.Thread(name="stream", target=self._run, daemon=True)
                self._thread.start()
        try:
            await asyncio.to_thread(self._heard.wait, HEARD_WITHIN)
            yield watcher
        finally:
            with self._lock:
                self._watchers.discard(watcher)

    def close(self) -> None:
        """The service stops: every stream ends."""
        with self._lock:
            self._over = True
            watchers, thread = list(self._watchers), self._thread
        for watcher in watchers:
            watcher.tell(None)
        if thread is not None:
            thread.join(LISTEN_S * 4)

    def _run(self) -> None:
        place: Place | None = None
        told: collections.OrderedDict[tuple[object, ...], None] = collections.OrderedDict()

        def tell(rows: Sequence[Told]) -> None:
            nonlocal place
            for at, happening in rows:
                place = at
                if _fresh(told, happening):
                    self._tell(at, happening)

        while self._wanted():
            try:
                known = self._pool.conninfo
                with server.connect(known if isinstance(known, str) else known()) as conn:
                    conn.autocommit = True
                    store.listen(conn)
                    missed = live.latest(conn, project_id=None, since=place)
                    if place is None:  # what was there before anybody looked
                        place = missed[-1][0] if missed else Place()
                        for _, happening in missed:
                            _fresh(told, happening)
                    else:
                        tell(missed)
                    self._heard.set()
                    while self._wanted():
                        # The generator holds the connection's lock until it ends.
                        for note in list(conn.notifies(timeout=LISTEN_S, stop_after=1)):
                            tell(live.recorded(conn, orjson.loads(note.payload), place))
            except (psycopg.Error, AgentMemoryError) as error:
                log.warning("looking on: trying again in %.0f s: %s", AGAIN_S, error)
                time.sleep(AGAIN_S)

    def _wanted(self) -> bool:
        """Whether anybody is there. Where not, the thread ends, and the next one who comes starts another."""
        with self._lock:
            if self._watchers and not self._over:
                return True
            self._thread = None
            return False

    def _tell(self, at: Place, happening: Happening) -> None:
        with self._lock:
            watchers = list(self._watchers)
        for watcher in watchers:
            if watcher.project_id in (None, happening.project_id):
                watcher.tell((at, happening))


def name(happening: Happening) -> tuple[object, ...]:
    """What is told once: a row, and again when its end is known."""
    return happening.kind, happening.session_id, happening.id, happening.sort, happening.success


def _fresh(told: collections.OrderedDict[tuple[object, ...], None], happening: Happening) -> bool:
    key = name(happening)
    if key in told:
        return False
    told[key] = None
    if len(told) > REMEMBERED:
        told.popitem(last=False)
    return True
