"""What the routes share: the settings, the pool and the embedder, which loads at its first use."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Depends, Request

from agent_memory.database import Connection
from agent_memory.errors import AgentMemoryError
from agent_memory.service.lessons import Lessons
from agent_memory.service.stream import Stream
from agent_memory.settings import Settings

if TYPE_CHECKING:
    from agent_memory.database.server import Pool
    from agent_memory.observations.embed import Embedder


log = logging.getLogger(__name__)


@dataclass
class State:
    settings: Settings
    pool: Pool
    notes: dict[str, Any] = field(default_factory=dict)
    """What the service's threads have to say about themselves, for health."""
    lessons: Lessons = field(default_factory=Lessons)
    """The active ones, and what they said."""
    stream: Stream = field(init=False)
    """Who looks on while things are recorded."""
    started: float = field(default_factory=time.monotonic)
    """Without the time that the machine slept."""
    _embedder: Embedder | None = None
    _loading: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.stream = Stream(self.pool)

    def embedder(self) -> Embedder | None:
        """The embedder, or None where it cannot be loaded: then recall goes by words alone, and says so."""
        from agent_memory.observations import embed

        with self._loading:
            if self._embedder is None:
                try:
                    self._embedder = embed.load(self.settings)
                    self.notes.pop("embedder", None)
                except AgentMemoryError as error:
                    log.warning("%s", error)
                    self.notes["embedder"] = error.remedy
            return self._embedder


def service_state(request: Request) -> State:
    state: State = request.app.state.service
    return state


def connection(state: Annotated[State, Depends(service_state)]) -> Iterator[Connection]:
    """A connection for one request, inside one transaction."""
    with state.pool.connection() as conn, conn.transaction():
        yield conn


Service = Annotated[State, Depends(service_state)]
# `function`: it commits before the answer is sent, not after.
Database = Annotated[Connection, Depends(connection, scope="function")]
