"""The worker: turns of the journal become observations, chunks become vectors. A child process of the
service.

Text comes first and is committed by itself, so that recall finds the words within a second; vectors follow.
They are made in a second thread with a connection of its own: an endpoint that hangs for a minute holds up no
text.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable

import psycopg

from agent_memory import settings
from agent_memory.database import Connection, server
from agent_memory.database.migrate import NewerSchemaError
from agent_memory.errors import AgentMemoryError
from agent_memory.journal import store as journal
from agent_memory.journal import tombstones
from agent_memory.observations import embed, postings, queue, store, turns, vectors
from agent_memory.observations.embed import Embedder

log = logging.getLogger(__name__)

TURNS = 16  # claimed at once
CHUNKS = 8  # embedded in one transaction: half a second of work, after which newer chunks have their turn
POLL_S = 5.0  # seconds without a notification after which the queue is looked at all the same
SETTLE_S = 0.1  # seconds between two rounds: the events of a burst become one build of their turn
RETRY_FIRST_S, RETRY_MOST_S = 1.0, 60.0  # between two tries while the database or the endpoint is away
JOIN_S = 5.0  # seconds that a running batch of vectors gets when the worker stops
NICE = 5

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how many of it are done, and how many there are."""


def run_once(conn: Connection, embedder: Embedder) -> bool:
    """One round: build the turns that are due, index the words that wait, then embed chunks that wait. Commits.
    False: there was nothing to do.

    Raises:
        AgentMemoryError: the embedder failed; the turns are built, the chunks wait on.
    """
    built = build_due(conn)
    indexed = index_words(conn)
    return bool(built + indexed + embed_pending(conn, embedder))


def build_due(conn: Connection) -> int:
    """Claim due turns and build each in a transaction of its own: a bad one stops no other. How many it
    claimed."""
    claimed = queue.claim(conn, TURNS)
    conn.commit()
    for row in claimed:
        try:
            with conn.transaction():
                build_turn(conn, row.session_id, row.prompt_id)
                queue.done(conn, [row])
        except NewerSchemaError:
            raise  # the turn is a newer worker's to build
        except Exception as error:
            if conn.closed:  # the database went away: the leases run out by themselves
                raise
            log.exception("turn %s of session %s cannot be built", row.prompt_id, row.session_id)
            queue.failed(conn, row, f"{type(error).__name__}: {error}")
        conn.commit()
    return len(claimed)


def build_turn(conn: Connection, session_id: str, prompt_id: str) -> None:
    """Make what is remembered of a turn the same as what the journal says of it now."""
    _build(conn, session_id, prompt_id, index_again=False)


def _build(conn: Connection, session_id: str, prompt_id: str, *, index_again: bool) -> None:
    tombstones.share(conn)  # what is read here must not be forgotten before it is written
    turn = store.load_turn(conn, session_id, prompt_id)
    observation = turns.build(turn) if turn else None
    if observation is None:
        store.delete_turn(conn, session_id, turns.external_id(session_id, prompt_id))
    found = [observation] if observation else []
    store.save(conn, [*found, *(turns.summaries(turn) if turn else [])], index_again=index_again)
    if turn and journal.known_projects(conn, [session_id]).get(session_id) != turn.project_id:
        # Meanwhile somebody gave the session to another project, and did not see what is being built here.
        store.delete_of_session(conn, session_id, turn.project_id)
        _build(conn, session_id, prompt_id, index_again=index_again)


def index_words(conn: Connection) -> bool:
    """Keep one project's index of words: bring in the chunks that wait, where they are many, and take out those
    that are gone. Commits. False: there was nothing to do."""
    project = postings.fold(conn)
    conn.commit()
    while project is not None and postings.merge(conn, project):
        conn.commit()
    purged = project is None and postings.purge(conn)
    conn.commit()
    return project is not None or purged


def embed_pending(conn: Connection, embedder: Embedder, *, without: set[int] | None = None) -> int:
    """Embed one batch of waiting chunks. How many got their vector; 0, too, while another process is at it.

    A chunk that the embedder refuses while it takes others is added to `without` and left waiting.

    Raises:
        AgentMemoryError: the embedder takes none. All wait on.
    """
    refused = set() if without is None else without
    with conn.transaction():
        if not vectors.lock_embedding(conn):
            return 0
        chunks = vectors.pending_chunks(conn, CHUNKS, without=refused)
        if not chunks:
            return 0
        made = _embed(embedder, {chunk.id: chunk.text for chunk in chunks}, refused)
        model = vectors.model_id(conn, embedder)
        return vectors.save_vectors(conn, model, list(made), list(made.values()))


def _embed(embedder: Embedder, texts: dict[int, str], refused: set[int]) -> dict[int, list[float]]:
    """Vectors by chunk. Where the batch fails, one text may be to blame (too long for the endpoint's model):
    each is tried by itself, until it is plain that the endpoint is down."""
    try:
        return dict(zip(texts, embedder.embed(list(texts.values())), strict=True))
    except AgentMemoryError as error:
        if len(texts) == 1 and not refused:
            raise
        made: dict[int, list[float]] = {}
        failed: set[int] = set()
        for number, text in texts.items():
            try:
                made[number] = embedder.embed([text])[0]
            except AgentMemoryError:
                failed.add(number)
                if not made and len(failed) == 2:
                    raise error from None
        if not made:
            raise
        log.warning("%d chunks cannot be embedded by %s: %s", len(failed), embedder.name, error.problem)
        refused |= failed
        return made


def reindex(conn: Connection, embedder: Embedder, progress: Progress) -> None:
    """Build every observation, chunk and vector again, and move to `embedder`'s model.

    Commits as it goes. Recall goes on meanwhile, with the old model until the end, when its vectors and its
    index are dropped. Broken off, it can simply be run again.

    Raises:
        AgentMemoryError: the embedder takes no text at all.
    """
    all_turns = store.turns(conn)
    for done, (session_id, prompt_id) in enumerate(all_turns, 1):
        _build(conn, session_id, prompt_id, index_again=True)
        conn.commit()
        progress("turns", done, len(all_turns))
    _index_posted(conn, progress)
    model = vectors.model_id(conn, embedder)
    conn.commit()
    _embed_all(conn, embedder, model, progress)
    vectors.drop_other_models(conn, model)
    conn.commit()


def _index_posted(conn: Connection, progress: Progress) -> None:
    """Cut notes, and what callers posted, again from their own text: no journal has it."""
    total = store.count_posted(conn)
    done = last = 0
    while rows := store.posted(conn, after=last, limit=100):
        store.index_again(conn, rows)
        conn.commit()
        done, last = done + len(rows), rows[-1]["id"]
        progress("notes", done, max(done, total))


def _embed_all(conn: Connection, embedder: Embedder, model: int, progress: Progress) -> None:
    total = vectors.count_chunks(conn)
    refused: set[int] = set()
    done = 0
    last: int | None = None
    while chunks := vectors.chunks_before(conn, last, CHUNKS):
        made = _embed(embedder, {chunk.id: chunk.text for chunk in chunks}, refused)
        vectors.save_vectors(conn, model, list(made), list(made.values()))
        conn.commit()
        done, last = done + len(chunks), chunks[-1].id
        progress("vectors", done, max(done, total))
    # What a worker stored meanwhile, which may still use the old model.
    while chunks := vectors.chunks_without_vector(conn, model, CHUNKS, without=refused):
        made = _embed(embedder, {chunk.id: chunk.text for chunk in chunks}, refused)
        vectors.save_vectors(conn, model, list(made), list(made.values()))
        conn.commit()


def main() -> None:
    """Work until SIGTERM, or until standard input closes: its other end is the service's, so the worker never
    outlives it. The first line of the input is the database's connection string."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(threadName)s %(message)s")
    with contextlib.suppress(OSError):
        os.nice(NICE)
    conninfo = sys.stdin.readline().strip()
    if not conninfo:  # libpq would take it for the user's own default database
        sys.exit("The worker is started by the service: agent-memory up")
    stop = _Stop()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGINT, lambda *_: stop.set())
    threading.Thread(target=_stop_with_input, args=(stop,), daemon=True).start()
    embedding = threading.Thread(target=_keep_embedding, args=(conninfo, stop), name="vectors", daemon=True)
    embedding.start()
    _keep_building(conninfo, stop)
    embedding.join(JOIN_S)
    if embedding.is_alive():  # an endpoint that hangs; its transaction is rolled back
        os._exit(0)


class _Stop:
    """The wish to stop, which can be waited for together with a socket, and wakes the thread that embeds."""

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)
        self.wanted = threading.Event()
        self.embed = threading.Event()
        """There may be chunks to embed."""

    def set(self) -> None:
        self.wanted.set()
        self.embed.set()
        with contextlib.suppress(BlockingIOError):
            os.write(self._writer, b"!")

    def wait_for(self, listening: Connection) -> None:
        """Sleep until the connection is notified, `set` is called, or five seconds are over."""
        select.select([listening.fileno(), self._reader], [], [], POLL_S)
        for _ in listening.notifies(timeout=0):
            pass


def _stop_with_input(stop: _Stop) -> None:
    # Not through sys.stdin: a thread that holds its lock at the interpreter's end aborts the process.
    while os.read(sys.stdin.fileno(), 4096):
        pass
    stop.set()


def _keep_building(conninfo: str, stop: _Stop) -> None:
    wait = RETRY_FIRST_S
    while not stop.wanted.is_set():
        try:
            with server.connect(conninfo) as conn, server.connect(conninfo) as listening:
                listening.autocommit = True
                listening.execute(f"listen {store.WAKE_CHANNEL}")
                wait = RETRY_FIRST_S
                while not stop.wanted.is_set():
                    _build_and_rest(conn, listening, stop)
        except (psycopg.Error, AgentMemoryError) as error:
            log.warning("nothing is built for now (%s); trying again in %.0f s", error, wait)
            stop.wanted.wait(wait)
            wait = min(2 * wait, RETRY_MOST_S)


def _build_and_rest(conn: Connection, listening: Connection, stop: _Stop) -> None:
    began = time.monotonic()
    built = build_due(conn)
    stop.embed.set()
    if not index_words(conn) and built == 0:
        stop.wait_for(listening)
    if built < TURNS:
        # Let a burst's events gather: they are one build of their turn. A turn that takes long to build is
        # built less often, so that its events cost half a core at most.
        stop.wanted.wait(max(SETTLE_S, time.monotonic() - began if built else 0))


def _keep_embedding(conninfo: str, stop: _Stop) -> None:
    embedder: Embedder | None = None
    refused: set[int] = set()
    wait = RETRY_FIRST_S
    while not stop.wanted.is_set():
        try:
            with server.connect(conninfo) as conn:
                conn.autocommit = True
                while not stop.wanted.is_set():
                    stop.embed.clear()
                    if vectors.pending_chunks(conn, 1, without=refused):
                        embedder = embedder or embed.load(settings.load())
                        while not stop.wanted.is_set() and embed_pending(conn, embedder, without=refused):
                            wait = RETRY_FIRST_S
                    stop.embed.wait(POLL_S)
        except (psycopg.Error, AgentMemoryError) as error:
            log.warning("no vectors for now (%s); trying again in %.0f s", error, wait)
            stop.wanted.wait(wait)
            wait = min(2 * wait, RETRY_MOST_S)


if __name__ == "__main__":
    main()
