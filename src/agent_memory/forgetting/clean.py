"""After a forgetting: what lies outside of the tables' live rows.

A deleted row's bytes stay in its page until the space is used again. So the tables that lost rows are written anew
where they are small enough for that to take seconds, and vacuumed where they are not. Files of the spool that nobody
could read are looked through as well. It goes on where it was broken off, and may be done any number of times.
"""

from __future__ import annotations

import contextlib
import json
import logging
import re
from pathlib import Path

import psycopg

from agent_memory.capture import spool
from agent_memory.database import Connection
from agent_memory.forgetting import store
from agent_memory.journal import forgotten, tombstones

log = logging.getLogger(__name__)

WRITTEN_ANEW = 256 << 20
"""Bytes with its indexes up to which a table is written anew."""
LOCK_WAIT = "10s"
"""How long it waits for others to be done with a table; then it is tried again another time."""

_ID = re.compile(r'"(?:session_?id|prompt_?id|tool_?use_?id|tool_?call_?id|uuid)"\s*:\s*"([^"\\]+)"', re.I)
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.S)


def clean(conn: Connection) -> bool:
    """Clear what the tombstones that are not clean yet left behind. False: a table was in use all the time, so it has
    to be done again. The connection is in autocommit."""
    numbers = tombstones.unclean(conn)
    if not numbers:
        return True
    with conn.transaction():
        clean_spool(conn)
    done = True
    conn.execute("select set_config('lock_timeout', %s, false)", (LOCK_WAIT,))
    try:
        for table, size in store.tables_of(conn, numbers):
            done &= _vacuum(conn, table, anew=size <= WRITTEN_ANEW)
        for command in ("vacuum pg_catalog.pg_statistic", "checkpoint", "select pg_switch_wal()"):
            with contextlib.suppress(psycopg.errors.InsufficientPrivilege, psycopg.errors.LockNotAvailable):
                conn.execute(command)
    finally:
        conn.execute("reset lock_timeout")
    if done:
        tombstones.cleaned(conn, numbers)
    return done


def clean_spool(conn: Connection) -> int:
    """Delete the spool's leftovers that hold something forgotten. How many."""
    gone = forgotten.look(conn)
    removed = 0
    for path in spool.leftovers() if gone else ():
        texts, ids = _told(path)
        if gone and gone.in_leftover(texts, ids):
            spool.remove(path)
            removed += 1
    return removed


def _told(path: Path) -> tuple[list[str], set[str]]:
    """The texts and ids of a file that may be half a payload, or none at all."""
    try:
        raw = path.read_bytes().decode("utf-8", "replace")
    except FileNotFoundError:
        return [], set()
    texts = [raw]
    for literal in _STRING.findall(raw):
        with contextlib.suppress(ValueError):
            texts.append(json.loads(literal, strict=False))
    end = raw.rfind('"')
    if end >= 0:  # a string that was broken off
        with contextlib.suppress(ValueError):
            texts.append(json.loads(f'"{raw[end + 1 :].rstrip(chr(92))}"', strict=False))
    return texts, set(_ID.findall(raw))


def _vacuum(conn: Connection, table: str, *, anew: bool) -> bool:
    how = "(full, analyze)" if anew else "(analyze)"
    try:
        conn.execute(f"vacuum {how} {table}")
    except psycopg.errors.LockNotAvailable:
        log.info("%s is in use; its space is cleared later", table)
        return False
    except psycopg.errors.InsufficientPrivilege as error:
        log.warning("the space of %s is cleared by the database itself, in time: %s", table, error)
    return True
