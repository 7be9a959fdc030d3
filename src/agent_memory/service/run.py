"""The service's life: one process that answers, drains the spool and watches over one worker process.

Who starts, stops or asks it does so by `agent_memory.running`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import logging.handlers
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import psycopg_pool
import uvicorn
import watchfiles
from psycopg_pool import ConnectionPool

from agent_memory import __version__, machine, paths, running, settings
from agent_memory.access import audit
from agent_memory.agents.claude_code import plugin
from agent_memory.capture import heard, reconcile, spool
from agent_memory.capture.drain import drain
from agent_memory.database import Connection, embedded, migrate, server
from agent_memory.errors import AgentMemoryError
from agent_memory.finetune import store as finetune
from agent_memory.journal import store as journal
from agent_memory.journal.event import Event
from agent_memory.lessons import ledger
from agent_memory.mcp import host
from agent_memory.service import app, asks, context, health, lessons, mining, sockets, upkeep
from agent_memory.service.state import State
from agent_memory.settings import Settings

if TYPE_CHECKING:
    pass

log = logging.getLogger(__name__)

RETRY_FIRST, RETRY_MOST = 0.5, 10.0  # seconds between two tries while the database is away
RESCAN = 5_000  # milliseconds after which the spool is looked at although nothing was told of it
SETTLE = 50  # milliseconds without a new file before a batch is read, and between two looks for one
RECENT_EVERY = 300.0  # seconds between two looks at the files of all recent sessions
TRANSCRIPT_SETTLES = 1.0  # seconds after a turn's end in which the agent writes the last of it into its file
NOTICE_EVERY = 30.0  # seconds
LISTEN_EVERY = 300.0  # seconds between two looks whether an agent works and its hooks are silent
WATCH_EVERY = 1.0  # seconds between two looks whether the worker lives
STOP_WITHIN = 10.0  # seconds that the worker gets to stop
STOPS_WITHIN = 0.5  # seconds after a signal in which it begins to stop
STEADY = 60.0  # seconds that something works, after which a failure is a new one
DAY = 86_400.0  # seconds
LONGEST_LOG = 5 << 20  # bytes; then a new one is begun


def serve(*, adopt: bool) -> None:
    """Run the service in this process until SIGTERM or Ctrl-C. `adopt`: see `server.conninfo`.

    Raises AgentMemoryError: one runs already, the port is taken, the database cannot be used.
    """
    config = settings.load()
    paths.make_private(paths.home())
    with (
        running.the_one_service(),
        sockets.unix(paths.mcp_socket()) as relays,
        host.Host(config, relays) as agents,
    ):
        _log_to_file()
        plugin.note_installation()
        conninfo = server.conninfo(config, adopt=adopt)
        with server.connect(conninfo) as conn:
            _warn_of_trust(conn, config)
            migrate.migrate(conn)
            if server.is_embedded(conninfo):
                journal.own_places(conn, machine.here())
                finetune.own_runs(conn, machine.here())
        settings.owner_token(config)
        with (
            sockets.tcp(config) as tcp,
            sockets.unix(paths.service_socket()) as unix,
            server.open_pool(conninfo, size=8) as pool,
        ):
            state = State(config, pool)
            agents.lend(host.Lent(pool, state.embedder))
            stopping = threading.Event()
            ended: queue.SimpleQueue[Path] = queue.SimpleQueue()
            board = asks.Board()
            board.want("context", context.asks(config))
            threads = [
                threading.Thread(name="spool", target=_drain_spool, args=(state, conninfo, stopping, ended)),
                threading.Thread(name="sessions", target=_reconcile, args=(state, conninfo, stopping, ended)),
                threading.Thread(name="worker", target=_watch_over_worker, args=(state, conninfo, stopping)),
                threading.Thread(name="notice", target=_keep_notice, args=(state, stopping)),
                threading.Thread(name="audit", target=_keep_audit_short, args=(state, stopping)),
                threading.Thread(
                    name="lessons", target=_hold_lessons, args=(state, conninfo, stopping, board)
                ),
                threading.Thread(name="forgetting", target=upkeep.keep, args=(state, conninfo, stopping)),
                threading.Thread(name="mining", target=_mine, args=(state, conninfo, stopping)),
            ]
            for thread in threads:
                thread.start()
            try:
                log.info("serving %s and %s", sockets.address(config), paths.service_socket())
                if (
                    config.agent_memory_prompt_context
                ):  # the first prompt would not wait for the model to load
                    threading.Thread(name="model", target=state.embedder, daemon=True).start()
                board.open()
                _answer(state, [*tcp, unix])
            finally:
                board.close(leave=context.asks_when_down(config))
                agents.stop()
                stopping.set()
                for thread in threads:
                    thread.join()
                log.info("stopped")


def _answer(state: State, sockets: list[socket.socket]) -> None:
    """Answer on these sockets until SIGTERM or SIGINT.

    In a thread: in the main one, uvicorn raises the signal again when it is done, and nothing of ours would be tidied.
    """
    config = uvicorn.Config(app.create(state), log_config=None, access_log=False, lifespan="off")
    config.timeout_graceful_shutdown = 5
    served = _Server(config)

    def stop(*_: object) -> None:
        served.should_exit = True
        threading.Thread(
            name="streams", target=state.stream.close, daemon=True
        ).start()  # a handler takes no lock

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    answering = threading.Thread(name="answers", target=served.run, args=(sockets,))
    answering.start()
    answering.join()


class _Server(uvicorn.Server):
    async def main_loop(self) -> None:
        """Uvicorn's own looks ten times a second whether it shall stop, which is half of what an idle service costs."""
        while not await self.on_tick(0):
            await asyncio.sleep(STOPS_WITHIN)


def _drain_spool(
    state: State, conninfo: str, stopping: threading.Event, ended: queue.SimpleQueue[Path]
) -> None:
    """Write what comes into the spool to the journal, for as long as the service lives; say which sessions ended."""
    for folder in (paths.spool_tmp(), paths.spool_new()):
        paths.make_private(folder)

    def told(events: Sequence[Event]) -> None:
        for file in reconcile.ended(events):
            ended.put(file)

    def work(conn: Connection) -> None:
        spool.set_aside_abandoned()
        drain(conn, state.settings, told)
        for _ in _spool_changes(stopping):
            drain(conn, state.settings, told)
            ConnectionPool.check_connection(conn)  # a database that died while nothing came is started again
            if not paths.spool_new().exists():
                return  # somebody took the folder away: watch the new one

    _with_database(work, "spool", state, conninfo, stopping)


def _reconcile(
    state: State, conninfo: str, stopping: threading.Event, ended: queue.SimpleQueue[Path]
) -> None:
    """Read the files of the sessions that went on while the service was away, and then of each one that ends a turn;
    now and then those of all recent ones, since a client that is killed ends no turn. Then what came of the lessons
    that spoke is known."""

    def work(conn: Connection) -> None:
        due: set[Path] = set()
        look_again = 0.0
        while not stopping.is_set():
            if time.monotonic() >= look_again:
                with conn.transaction():
                    due |= reconcile.recent(conn)
                look_again = time.monotonic() + RECENT_EVERY
            with contextlib.suppress(queue.Empty):
                due.add(ended.get(timeout=TRANSCRIPT_SETTLES))
                continue  # more may follow at once
            if due:
                done = reconcile.reconcile(conn, due, state.settings)
                if read := done.files - done.unchanged:
                    log.info("session files: %d read, new: %s", read, done.stored)
                due.clear()
                with conn.transaction():
                    ledger.settle(conn)

    _with_database(work, "sessions", state, conninfo, stopping)


def _hold_lessons(state: State, conninfo: str, stopping: threading.Event, board: asks.Board) -> None:
    """Hold the active lessons in memory. While the database is away those that are held go on speaking."""

    def work(conn: Connection) -> None:
        lessons.listen(state, conn, board, stopping.is_set)

    _with_database(work, "lessons", state, conninfo, stopping)


def _mine(state: State, conninfo: str, stopping: threading.Event) -> None:
    """Look for lessons when it is quiet."""

    def work(conn: Connection) -> None:
        mining.keep_mining(conn, conninfo, stopping, _log("mining.log"))

    _with_database(work, "mining", state, conninfo, stopping)


def _spool_changes(stopping: threading.Event) -> Iterator[None]:
    """A tick after every change in the spool, and now and then without one."""
    paths.make_private(paths.spool_new())
    for _ in watchfiles.watch(
        paths.spool_new(),
        stop_event=stopping,
        debounce=200,
        step=SETTLE,
        rust_timeout=RESCAN,
        yield_on_timeout=True,
        recursive=False,
        watch_filter=None,
        raise_interrupt=False,
    ):
        yield


def _with_database(
    work: Callable[[Connection], None],
    name: str,
    state: State,
    conninfo: str,
    stopping: threading.Event,
) -> None:
    """Do `work` with a connection; when the database goes away, wait, start it where it is ours, and do it again. The
    log tells of each trouble once, however often it is tried, and when a database that was away is back."""
    wait = RETRY_FIRST
    trouble, away = "", False
    while not stopping.is_set():
        connected = None
        try:
            with server.connect(conninfo) as conn:
                connected = time.monotonic()
                state.notes.pop(name, None)
                if away:
                    log.info("the database answers again")
                    away, trouble = False, ""
                work(conn)
                wait, trouble = RETRY_FIRST, ""
        except Exception as error:
            if connected and time.monotonic() - connected > STEADY:
                wait, trouble = RETRY_FIRST, ""
            away = isinstance(error, psycopg.OperationalError | AgentMemoryError)
            said = f"{type(error).__name__}: {error}"
            if said != trouble:
                log.warning("trying again and again: %s", said, exc_info=not away)
            trouble = state.notes[name] = said
            stopping.wait(wait)
            wait = min(wait * 2, RETRY_MOST)
            if not stopping.is_set() and server.is_embedded(conninfo):
                with contextlib.suppress(AgentMemoryError):
                    embedded.ensure_running()


def _watch_over_worker(state: State, conninfo: str, stopping: threading.Event) -> None:
    """Keep one worker process alive. It ends by itself when the pipe to it closes: it never outlives the service."""
    command = [sys.executable, "-I", "-m", "agent_memory.observations.worker"]
    wait = RETRY_FIRST
    while not stopping.is_set():
        began = time.monotonic()
        with (
            _log("worker.log").open("ab") as out,
            subprocess.Popen(command, stdin=subprocess.PIPE, stderr=out) as child,
        ):
            assert child.stdin is not None
            child.stdin.write(conninfo.encode() + b"\n")
            child.stdin.flush()
            state.notes["worker_pid"] = child.pid
            while child.poll() is None and not stopping.wait(WATCH_EVERY):
                pass
            if stopping.is_set():
                child.terminate()
                try:
                    child.wait(STOP_WITHIN)
                except subprocess.TimeoutExpired:
                    child.kill()
                return
        log.warning("the worker ended with %s and is started again", child.returncode)
        wait = RETRY_FIRST if time.monotonic() - began > 60 else min(wait * 2, RETRY_MOST)
        stopping.wait(wait)


def _keep_notice(state: State, stopping: threading.Event) -> None:
    """Keep the line that the next session's start shows, while something is wrong (promise 8), and tell the other
    machines that this one is up."""
    notice = paths.notice()
    looked = -LISTEN_EVERY
    while not stopping.is_set():
        if time.monotonic() - looked >= LISTEN_EVERY and not spool.backlog().pending:
            state.notes["deaf"], looked = heard.deaf(), time.monotonic()
        try:
            _tell_machines(state)
            wrong = health.report(state)["problems"]
        except Exception as error:
            log.exception("cannot tell the service's health")
            wrong = [f"Its health cannot be told ({type(error).__name__})."]
        if wrong:
            line = f"agent-memory: {' '.join(wrong)} See: agent-memory status"
            draft = notice.with_suffix(".new")
            draft.write_text(json.dumps({"systemMessage": line}), encoding="utf-8")
            draft.rename(notice)
        else:
            notice.unlink(missing_ok=True)
        stopping.wait(NOTICE_EVERY)
    notice.unlink(missing_ok=True)


def _tell_machines(state: State) -> None:
    with (
        contextlib.suppress(psycopg.Error, psycopg_pool.PoolTimeout),
        state.pool.connection(timeout=2) as conn,
    ):
        if "newer" not in state.notes:
            journal.heard(conn, machine.here(), __version__)


def _keep_audit_short(state: State, stopping: threading.Event) -> None:
    """Delete what the audit log has kept for long enough, at the start and then once a day."""
    while True:
        try:
            with state.pool.connection() as conn, conn.transaction():
                audit.prune(conn)
        except (psycopg.OperationalError, psycopg_pool.PoolTimeout) as error:
            log.warning("the audit log was not pruned: %s", error)
        if stopping.wait(DAY):
            return


def _warn_of_trust(conn: Connection, config: Settings) -> None:
    """A Postgres that asks for no password lets in whoever reaches it."""
    if not config.external_database or config.allow_trust_auth or server.asked_for_a_password(conn):
        return
    log.critical(
        "Your own Postgres asked for no password: whoever can connect to it may read this memory. Give its role a"
        " password, or say that this is meant (trust on a machine of your own, peer, certificates):"
        " ALLOW_TRUST_AUTH=true"
    )


def _log_to_file() -> None:
    handler = logging.handlers.RotatingFileHandler(
        _log("service.log"), maxBytes=LONGEST_LOG, backupCount=3, encoding="utf-8"
    )
    logging.basicConfig(
        level=logging.INFO, handlers=[handler], format="%(asctime)s %(levelname)s %(threadName)s %(message)s"
    )


def _log(name: str) -> Path:
    """A log for its owner alone; one that has become long is set aside first."""
    file = paths.make_private(paths.logs()) / name
    if file.exists() and file.stat().st_size > LONGEST_LOG:
        file.rename(file.with_suffix(".log.1"))
    os.close(os.open(file, os.O_WRONLY | os.O_CREAT, 0o600))
    return file
