"""What the service does by itself, now and then: clear the space of what was forgotten, and, where it is set, let go of
old sessions once a day."""

from __future__ import annotations

import logging
import threading

import psycopg

from agent_memory.database import server
from agent_memory.errors import AgentMemoryError
from agent_memory.forgetting import clean, retention
from agent_memory.journal import tombstones
from agent_memory.service.state import State

EVERY = 30.0
"""Seconds."""

log = logging.getLogger(__name__)


def keep(state: State, conninfo: str, stopping: threading.Event) -> None:
    """Until the service stops."""
    cleaned = 0  # the last tombstone against which this machine's spool was held
    while not stopping.wait(EVERY):
        try:
            with server.connect(conninfo) as conn:
                done = retention.run_if_due(conn, state.settings)
                if done is not None:
                    log.info("retention let go of %d bytes: %s", done.bytes, done.counts)
                conn.commit()
                conn.autocommit = True
                clean.clean(conn)
                if (latest := tombstones.latest(conn)) > cleaned:  # another machine may have laid it
                    with conn.transaction():
                        clean.clean_spool(conn)
                    cleaned = latest
        except (psycopg.Error, AgentMemoryError) as error:
            log.warning("upkeep is put off: %s", error)
