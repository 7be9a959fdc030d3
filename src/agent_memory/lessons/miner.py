"""The process that mines at a quiet time and ends. The service starts it: mining takes seconds of a processor, and the
service has hooks to answer."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from datetime import timedelta

from agent_memory import settings
from agent_memory.database import Connection, server
from agent_memory.lessons import mined, proposing
from agent_memory.settings import Settings

log = logging.getLogger(__name__)

QUIET = timedelta(minutes=10)
"""For so long no agent did anything: the sessions are over, or their user is away."""
AT_LEAST = timedelta(hours=6)
"""After so long it is done all the same."""
NICE = 10


def due(conn: Connection) -> list[int]:
    """The projects that are to be mined now."""
    return mined.due(conn, quiet=QUIET, at_least=AT_LEAST)


def run(conn: Connection, config: Settings) -> int:
    """Mine every project that is due, each in a transaction of its own. How many new candidates there are; 0, too,
    while another machine mines."""
    with conn.transaction():
        if not mined.lease(conn):
            return 0
        until = mined.latest_call(conn)
        projects = due(conn)
        if not projects:
            mined.release(conn)
            return 0
    made = 0
    for project_id in projects:
        with conn.transaction():
            mined.lease(conn, again=True)
            report = proposing.propose(conn, config, [project_id])
        made += len(report.made)
        log.info(
            "project %d: %d calls, %d candidates, %d of them new",
            *(project_id, report.calls, len(report.candidates), len(report.made)),
        )
        for refused in report.refused:
            log.warning("project %d: not proposed: %s", project_id, refused)
    with conn.transaction():
        mined.set_mined(conn, until)
    return made


def main() -> None:
    """The first line of standard input is the database's connection string, as for the worker."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    with contextlib.suppress(OSError):
        os.nice(NICE)
    conninfo = sys.stdin.readline().strip()
    if not conninfo:
        sys.exit("This is started by the service; by hand: agent-memory lesson mine")
    with server.connect(conninfo) as conn:
        run(conn, settings.load())


if __name__ == "__main__":
    main()
