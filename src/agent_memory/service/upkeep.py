"""What the service does by itself, now and then: clear the space of what was forgotten."""

from __future__ import annotations

import logging
import threading

import psycopg

from agent_memory.database import server
from agent_memory.errors import AgentMemoryError
from agent_memory.forgetting import clean
from agent_memory.service.state import State

EVERY = 30.0
"""Seconds."""

log = logging.getLogger(__name__)


def keep(state: State, conninfo: str, stopping: threading.Event) -> None:
    """Until the service stops."""
    del state
    while not stopping.wait(EVERY):
        try:
            with server.connect(conninfo) as conn:
                conn.autocommit = True
                clean.clean(conn)
        except (psycopg.Error, AgentMemoryError) as error:
            log.warning("upkeep is put off: %s", error)
