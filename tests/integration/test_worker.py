from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from agent_memory.database import Connection, server
from agent_memory.errors import AgentMemoryError
from agent_memory.journal.event import AssistantMessage, Event, Prompt, ToolCall
from agent_memory.journal.ingest import ingest
from agent_memory.observations import queue, store, turns, vectors, worker
from agent_memory.observations.observation import Observation
from agent_memory.observations.turns import Turn
from agent_memory.settings import Settings

AT = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)


class CountingLetters:
    """A stand-in for a model: as many dimensions as asked for, each counting a letter. Real vectors, no meaning."""

    def __init__(self, name: str = "letters", dimensions: int = 8, *, refuses: str | None = None) -> None:
        self.name, self.dimensions, self.refuses = name, dimensions, refuses

    def embed(self, texts: Sequence[str], *, query: bool = False) -> list[list[float]]:  # noqa: ARG002
        if self.refuses is not None and any(self.refuses in text for text in texts):
            raise AgentMemoryError("The stand-in refuses this text.", "Give it another one.")
        return [[1.0 + text.count(chr(97 + n)) for n in range(self.dimensions)] for text in texts]


@pytest.fixture
def other(database_url: str) -> Iterator[Connection]:
    with server.connect(database_url) as connection:
        yield connection


def record(conn: Connection, prompt_id: str, *bodies: Any, session_id: str = "s") -> None:
    events = [
        Event(
            agent="claude", session_id=session_id, occurred_at=AT, body=body, cwd="/shop", prompt_id=prompt_id
        )
        for body in bodies
    ]
    ingest(conn, events, Settings())
    conn.commit()


def record_turn(
    conn: Connection, prompt_id: str, asked: str = "Repair the login of the shop", answer: str = "Did it."
) -> None:
    record(conn, prompt_id, Prompt(text=asked), AssistantMessage(text=answer, uuid=f"{prompt_id}-{answer}"))


def count(conn: Connection, table: str) -> int:
    with conn.transaction():
        row = conn.execute(f"select count(*) as n from {table}".encode()).fetchone()
    assert row is not None
    return int(row["n"])


def titles(conn: Connection) -> list[str]:
    with conn.transaction():
        return [row["title"] for row in conn.execute("select title from mem_observations order by title")]


def eventually(holds: Callable[[], bool], *, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.02)


def test_text_is_recallable_before_its_vectors_are_made(conn: Connection, other: Connection) -> None:
    record_turn(conn, "p")
    assert worker.build_due(conn) == 1
    row = other.execute(
        "select count(*) as n from mem_observation_chunks where tsv @@ plainto_tsquery('english', 'login')"
    ).fetchone()
    assert row is not None
    assert row["n"] >= 1
    assert (count(conn, "mem_chunk_vectors"), vectors.unembedded(conn)) == (
        0,
        count(conn, "mem_observation_chunks"),
    )
    worker.embed_pending(conn, CountingLetters())
    assert count(conn, "mem_chunk_vectors") == count(conn, "mem_observation_chunks") > 0
    assert count(conn, "mem_embedding_queue") == 0


def test_a_round_does_all_there_is_and_the_next_has_nothing_to_do(conn: Connection) -> None:
    record_turn(conn, "p")
    assert worker.run_once(conn, CountingLetters())
    assert titles(conn) == ["Repair the login of the shop"]
    assert not worker.run_once(conn, CountingLetters())
    assert count(conn, "mem_observation_queue") == 0


def test_two_workers_build_no_turn_twice(
    conn: Connection, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(60):
        record_turn(conn, f"p{n}", f"Request number {n} of the shop")
    built: Counter[str] = Counter()
    by: set[int] = set()
    build = turns.build
    both = threading.Barrier(2, timeout=30)

    def spy(turn: Turn) -> Observation | None:
        if not by & {threading.get_ident()}:
            by.add(threading.get_ident())
            both.wait()  # neither begins before the other has claimed
        built[turn.prompt_id] += 1
        return build(turn)

    monkeypatch.setattr(turns, "build", spy)

    def work() -> None:
        with server.connect(database_url) as mine:
            while worker.build_due(mine):
                pass

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(by) == 2
    assert built == Counter({f"p{n}": 1 for n in range(60)})
    assert count(conn, "mem_observations") == 60


def test_two_workers_embed_no_chunk_twice(conn: Connection, other: Connection) -> None:
    record_turn(conn, "p")
    worker.build_due(conn)
    with other.transaction():
        assert vectors.lock_embedding(other)
        assert worker.embed_pending(conn, CountingLetters()) == 0
    assert worker.embed_pending(conn, CountingLetters()) > 0


def test_a_bad_turn_stops_no_other(conn: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "bad", "z"):
        record_turn(conn, name, f"The request called {name} of the shop")
    build = turns.build

    def failing(turn: Turn) -> Observation | None:
        if turn.prompt_id == "bad":
            conn.execute("select 1/0")
        return build(turn)

    monkeypatch.setattr(turns, "build", failing)
    worker.run_once(conn, CountingLetters())
    assert len(titles(conn)) == 2
    row = conn.execute("select prompt_id, attempts, error, failed_at from mem_observation_queue").fetchone()
    assert row == {
        "prompt_id": "bad",
        "attempts": 1,
        "error": "DivisionByZero: division by zero",
        "failed_at": None,
    }


def test_an_event_during_the_work_is_in_the_next_build(
    conn: Connection, other: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    record_turn(conn, "p", answer="The first words.")
    build = turns.build

    def late(turn: Turn) -> Observation | None:
        monkeypatch.setattr(turns, "build", build)
        record(other, "p", AssistantMessage(text="The last words.", uuid="late"))
        return build(turn)

    monkeypatch.setattr(turns, "build", late)
    worker.build_due(conn)
    assert "last words" not in store.get(conn, [1])[0]["text"]
    assert worker.build_due(conn) == 1
    assert "last words" in store.get(conn, [1])[0]["text"]
    assert worker.build_due(conn) == 0


def test_a_turn_that_is_no_memory_any_more_is_forgotten(conn: Connection) -> None:
    record_turn(conn, "p")
    worker.build_due(conn)
    with conn.transaction():
        conn.execute("delete from mem_assistant_messages")
    record(conn, "p", Prompt(text="Repair the login of the shop"))
    worker.build_due(conn)
    assert titles(conn) == []


def test_a_compaction_summary_becomes_an_observation(conn: Connection) -> None:
    record(conn, "p", AssistantMessage(text="Summary:\nThe shop moved to Postgres.", kind="compact_summary"))
    worker.build_due(conn)
    assert titles(conn) == ["Summary: The shop moved to Postgres."]
    assert worker.build_due(conn) == 0


def test_an_embedder_that_fails_holds_up_no_text_and_loses_nothing(conn: Connection) -> None:
    record_turn(conn, "p")
    with pytest.raises(AgentMemoryError, match="stand-in refuses"):
        worker.run_once(conn, CountingLetters(refuses=""))
    conn.rollback()
    assert titles(conn) == ["Repair the login of the shop"]
    waiting = count(conn, "mem_embedding_queue")
    assert waiting == count(conn, "mem_observation_chunks") > 0
    worker.embed_pending(conn, CountingLetters())
    assert count(conn, "mem_chunk_vectors") == waiting


def test_a_chunk_that_the_embedder_refuses_stops_no_other(conn: Connection) -> None:
    for name in ("apples", "poison", "pears"):
        record_turn(conn, name, f"Sell more {name} in the shop")
    worker.build_due(conn)
    refused: set[int] = set()
    embedder = CountingLetters(refuses="poison")
    while worker.embed_pending(conn, embedder, without=refused):
        pass
    poisoned = [
        row["id"] for row in conn.execute("select id from mem_observation_chunks where text like '%poison%'")
    ]
    assert refused == set(poisoned)
    assert {c.id for c in vectors.pending_chunks(conn, 10)} == refused
    assert count(conn, "mem_chunk_vectors") == count(conn, "mem_observation_chunks") - len(poisoned)


def test_a_model_that_changes_its_dimensions_is_refused(conn: Connection) -> None:
    vectors.model_id(conn, CountingLetters(dimensions=8))
    with pytest.raises(AgentMemoryError, match="another model under the same name"):
        vectors.model_id(conn, CountingLetters(dimensions=9))


def models(conn: Connection) -> dict[str, int]:
    """Each model's name with how many vectors it has."""
    rows = conn.execute(
        "select m.name, count(v.chunk_id) as n from mem_embedding_models m"
        " left join mem_chunk_vectors v on v.model_id = m.id group by m.name"
    )
    return {row["name"]: row["n"] for row in rows}


def indexes(conn: Connection) -> list[str]:
    rows = conn.execute("select indexdef from pg_indexes where indexdef like '%hnsw%' order by indexname")
    return [row["indexdef"] for row in rows]


def test_reindex_moves_to_a_new_model_while_the_old_one_stands(conn: Connection) -> None:
    for n in range(30):
        record_turn(conn, f"p{n}", f"Request number {n} of the shop")
    old, new = CountingLetters("old", 8), CountingLetters("new", 5)
    while worker.run_once(conn, old):
        pass
    total = count(conn, "mem_observation_chunks")
    seen: list[tuple[str, int, int]] = []

    def progress(stage: str, done: int, of: int) -> None:
        seen.append((stage, done, of))
        assert models(conn)["old"] == total
        assert any("halfvec(8)" in index for index in indexes(conn))

    worker.reindex(conn, new, progress)
    assert models(conn) == {"new": total}
    (index,) = indexes(conn)
    assert "halfvec(5)" in index
    assert {stage for stage, _, _ in seen} == {"turns", "vectors"}
    assert seen[-1] == ("vectors", total, total)


def test_two_models_stand_side_by_side_each_with_its_index(conn: Connection) -> None:
    record_turn(conn, "p")
    worker.run_once(conn, CountingLetters("one", 8))
    chunks = [row["id"] for row in conn.execute("select id from mem_observation_chunks")]
    two = vectors.model_id(conn, CountingLetters("two", 3))
    vectors.save_vectors(conn, two, chunks, [[0.0, 0.0, 1.0]] * len(chunks))
    assert models(conn) == {"one": len(chunks), "two": len(chunks)}
    conn.execute("set local enable_seqscan = off")
    conn.execute("set local enable_bitmapscan = off")
    conn.execute("set local enable_sort = off")
    for number, dimensions in ((1, 8), (two, 3)):
        vector = str([0.5] * dimensions)
        plan = conn.execute(
            f"explain select chunk_id from mem_chunk_vectors where model_id = {number}"
            f" order by embedding::halfvec({dimensions}) <=> '{vector}'::halfvec({dimensions}) limit 5".encode()
        ).fetchall()
        assert f"mem_chunk_vectors_hnsw_{number}" in str(plan)


def test_reindex_makes_everything_again_from_the_journal(conn: Connection) -> None:
    record_turn(conn, "lost", "Repair the basket of the shop")
    record_turn(conn, "spoilt", "Repair the login of the shop")
    project = conn.execute("select id from mem_projects").fetchone()
    assert project is not None
    note = Observation(
        project_id=project["id"], kind="note", title="Ports", text="The shop listens on 8080.", occurred_at=AT
    )
    (number,) = store.save(conn, [note])
    embedder = CountingLetters()
    while worker.run_once(conn, embedder):
        pass
    rows = conn.execute(
        "select id, text, tsv::text, words from mem_observation_chunks order by text"
    ).fetchall()
    before = [(row["text"], row["tsv"], row["words"]) for row in rows]
    conn.execute("delete from mem_observations where title like '%basket%'")
    conn.execute("update mem_observations set title = 'wrong', text = 'wrong' where title like '%login%'")
    conn.execute("update mem_observation_chunks set tsv = '', words = 0")
    conn.execute("update mem_chunk_vectors set embedding = '[9,9,9,9,9,9,9,9]'")
    worker.reindex(conn, embedder, lambda *_: None)
    rows = conn.execute(
        "select id, text, tsv::text, words from mem_observation_chunks order by text"
    ).fetchall()
    assert [(row["text"], row["tsv"], row["words"]) for row in rows] == before
    assert titles(conn) == ["Ports", "Repair the basket of the shop", "Repair the login of the shop"]
    assert store.get(conn, [number])[0]["text"] == note.text
    assert count(conn, "mem_chunk_vectors") == len(rows)
    assert conn.execute("select from mem_chunk_vectors where embedding::text like '[9,9,%'").rowcount == 0
    assert count(conn, "mem_embedding_queue") == 0


@contextmanager
def running_worker(database_url: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """A worker process as the service starts it."""
    with subprocess.Popen(
        [sys.executable, "-I", "-m", "agent_memory.observations.worker"],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **environment},
    ) as child:
        assert child.stdin is not None
        child.stdin.write(database_url.encode() + b"\n")
        child.stdin.flush()
        try:
            yield child
        finally:
            child.kill()


def test_the_process_makes_text_and_vectors_and_stops_when_told(conn: Connection, database_url: str) -> None:
    with running_worker(database_url) as child:
        record_turn(conn, "first")
        eventually(lambda: count(conn, "mem_observations") == 1)
        eventually(lambda: count(conn, "mem_chunk_vectors") > 0 and count(conn, "mem_embedding_queue") == 0)
        began = time.monotonic()
        record_turn(conn, "second", "Repair the basket of the shop")
        eventually(lambda: count(conn, "mem_observations") == 2)
        print(f"recallable by words after {time.monotonic() - began:.2f} s")
        eventually(lambda: count(conn, "mem_embedding_queue") == 0)
        print(f"recallable by vectors after {time.monotonic() - began:.2f} s")
        child.send_signal(signal.SIGTERM)
        assert child.wait(20) == 0
    row = conn.execute("select name, dimensions from mem_embedding_models").fetchone()
    assert row == {"name": "all-MiniLM-L6-v2-int8", "dimensions": 384}


def test_the_process_does_not_outlive_the_one_that_started_it(database_url: str) -> None:
    with running_worker(database_url) as child:
        assert child.stdin is not None
        child.stdin.close()
        assert child.wait(20) == 0


def test_nothing_is_lost_when_the_process_is_killed_at_work(conn: Connection, database_url: str) -> None:
    for n in range(300):
        record_turn(conn, f"p{n}", f"Request number {n} of the shop")
    with running_worker(database_url) as child:
        eventually(lambda: count(conn, "mem_observations") > 5)
        child.kill()
        child.wait(20)
    done = count(conn, "mem_observations")
    assert 5 < done < 300, "it was killed too late to tell anything"
    lost = conn.execute(
        "select from mem_user_prompts p where not exists (select from mem_observation_queue q where q.prompt_id = p.id)"
        " and not exists (select from mem_observations o where o.external_id = 'turn/s/' || p.id)"
    ).rowcount
    assert lost == 0
    conn.execute(
        "update mem_observation_queue set leased_until = now() where leased_until is not null"
    )  # 30 s go by
    conn.commit()
    with running_worker(database_url):
        eventually(lambda: count(conn, "mem_observation_queue") == 0)
    assert count(conn, "mem_observations") == 300
    assert len(set(titles(conn))) == 300


def test_the_process_finds_its_way_back_to_the_database(conn: Connection, database_url: str) -> None:
    with running_worker(database_url):
        record_turn(conn, "first")
        eventually(lambda: count(conn, "mem_observations") == 1)
        conn.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where datname = current_database() and pid <> pg_backend_pid()"
        )
        conn.commit()
        record_turn(conn, "second", "Repair the basket of the shop")
        eventually(lambda: count(conn, "mem_observations") == 2)


def test_text_goes_on_while_the_endpoint_is_away(conn: Connection, database_url: str) -> None:
    nobody = "http://127.0.0.1:9/v1"
    endpoint = {"AGENT_MEMORY_EMBEDDING_URL": nobody, "AGENT_MEMORY_EMBEDDING_MODEL": "nomic-embed-text"}
    with running_worker(database_url, **endpoint):
        for n in range(5):
            record_turn(conn, f"p{n}", f"Request number {n} of the shop")
            eventually(lambda n=n: count(conn, "mem_observations") == n + 1)  # type: ignore[misc]
        assert count(conn, "mem_embedding_queue") == count(conn, "mem_observation_chunks")


def test_a_dead_row_is_left_alone_by_the_worker(conn: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    record_turn(conn, "p")

    def broken(turn: Turn) -> Observation | None:
        raise ValueError("no")

    monkeypatch.setattr(turns, "build", broken)
    for _ in range(queue.MOST_ATTEMPTS):
        assert worker.build_due(conn) == 1
        conn.execute("update mem_observation_queue set ready_at = now()")
        conn.commit()
    assert worker.build_due(conn) == 0
    assert queue.counts(conn)["failed"] == 1


def test_a_tool_call_alone_makes_a_turn(conn: Connection) -> None:
    call = ToolCall(tool_use_id="t", name="Bash", input={"command": "make deploy"}, success=True)
    record(conn, "p", Prompt(text="Deploy the shop to production"), call)
    worker.build_due(conn)
    assert "Ran: `make deploy`" in store.get(conn, [1])[0]["text"]
