"""The spool's files into the journal: a batch a transaction, and a file is deleted only after its commit.

A crash between commit and deletion reads a file twice; the journal's keys make that one row.
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime
from typing import Any

import orjson
import psycopg

from agent_memory import agents
from agent_memory.capture import heard, spool
from agent_memory.capture.spool import SpoolFile
from agent_memory.database import Connection
from agent_memory.database.migrate import NewerSchemaError
from agent_memory.errors import AgentMemoryError
from agent_memory.journal.event import Event
from agent_memory.journal.ingest import Counts, ingest
from agent_memory.settings import Settings

Told = Callable[[Sequence[Event]], None]
Read = tuple[SpoolFile, list[Event]]
"""A file, and what it tells."""

log = logging.getLogger(__name__)

BATCH_FILES = 500
BATCH_BYTES = 8 << 20
# What says that the database is away or overloaded, not that the data is at fault: the file stays and is tried again.
NOT_THE_FILES_FAULT = (
    psycopg.OperationalError,  # also: deadlock, disk full, shutting down
    psycopg.InterfaceError,
    psycopg.errors.InsufficientPrivilege,
    psycopg.errors.UndefinedTable,
    NewerSchemaError,
)


def drain(conn: Connection, settings: Settings, told: Told = lambda _: None) -> Counts:
    """Write every waiting file to the journal and delete it; set aside what cannot be read. `told` is called with the
    events of each batch after its commit.

    Raises psycopg.OperationalError where the database is away, NewerSchemaError where it is ahead of this program:
    then the files wait.
    """
    total = Counts()
    # While Postgres writes one batch, the next is read.
    with ThreadPoolExecutor(1, "spool") as reader:
        coming: deque[Future[list[Read]]] = deque()
        for files in _batches(spool.waiting()):
            coming.append(reader.submit(_read, files))
            if len(coming) > 1:
                total += _store(conn, coming.popleft().result(), settings, told)
        while coming:
            total += _store(conn, coming.popleft().result(), settings, told)
    return total


def read_payload(raw: bytes) -> dict[str, Any]:
    """A hook's payload. ValueError, in words for a person, where it is none."""
    if not raw.strip():
        raise ValueError("It is empty: the agent gave the hook nothing on stdin.")
    try:
        payload = orjson.loads(raw)
    except orjson.JSONDecodeError:
        # Half a surrogate pair (a text cut inside an emoji) or broken UTF-8: the standard parser is more patient.
        try:
            payload = json.loads(raw.decode("utf-8", "replace"))
        except (json.JSONDecodeError, RecursionError) as error:
            raise ValueError(f"It is not JSON: {error}.") from None
    if not isinstance(payload, dict):
        raise ValueError(f"It is JSON, but a {type(payload).__name__} instead of an object.")
    return payload


def events_of(agent: str, payload: dict[str, Any], at: datetime) -> list[Event]:
    """The Events of one payload. ValueError or AgentMemoryError where it makes no sense."""
    return agents.normaliser(agent)(payload, at)


def _read(files: Sequence[SpoolFile]) -> list[Read]:
    """What the files tell; one that cannot be read is set aside."""
    read: list[Read] = []
    for file in files:
        try:
            read.append((file, events_of(file.agent, read_payload(file.path.read_bytes()), file.written_at)))
        except FileNotFoundError:
            continue  # another drain was quicker
        except (ValueError, AgentMemoryError) as error:
            spool.set_aside(file.path, str(error))
        except Exception as error:  # a normaliser's bug must not stop the ones behind it
            log.exception("cannot read %s", file.path.name)
            spool.set_aside(file.path, f"Reading it failed: {type(error).__name__}: {error}")
    return read


def _store(conn: Connection, batch: Sequence[Read], settings: Settings, told: Told) -> Counts:
    """Write a batch in one transaction, and delete its files after the commit."""
    events = [event for _, found in batch for event in found]
    try:
        with conn.transaction():
            counts = ingest(conn, events, settings)
    except NOT_THE_FILES_FAULT:
        raise
    except Exception as error:
        if len(batch) == 1:
            ((file, _),) = batch
            log.exception("cannot store %s", file.path.name)
            spool.set_aside(file.path, f"Storing it failed: {type(error).__name__}: {error}")
            return Counts()
        counts = Counts()
        for one in batch:  # one at a time finds the one at fault
            counts += _store(conn, [one], settings, told)
        return counts
    latest: dict[str, datetime] = {}
    for file, _ in batch:
        with contextlib.suppress(FileNotFoundError):
            file.path.unlink()
        latest[file.agent] = max(file.written_at, latest.get(file.agent, file.written_at))
    for agent, at in latest.items():
        if agent in agents.SESSION_FILES:
            heard.note(agent, at)
    told(events)
    return counts


def _batches(files: Sequence[SpoolFile]) -> Iterator[list[SpoolFile]]:
    batch: list[SpoolFile] = []
    size = 0
    for file in files:
        try:
            bytes_ = file.path.stat().st_size
        except FileNotFoundError:
            continue
        if batch and (len(batch) == BATCH_FILES or size + bytes_ > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(file)
        size += bytes_
    if batch:
        yield batch
