"""The index of words: whatever was written, deleted, folded and merged, it ranks as BM25 over what stands."""

from __future__ import annotations

import math
import random
import threading
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from agent_memory.database import Connection, server
from agent_memory.database.migrate import FOLDER, migrate
from agent_memory.journal import projects
from agent_memory.journal.projects import Identity
from agent_memory.observations import chunks as cutting
from agent_memory.observations import postings, store, vectors, worker
from agent_memory.observations.observation import Observation
from agent_memory.recall import bm25
from agent_memory.recall import store as recall_store
from agent_memory.recall.store import Filters

START = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)
VOCABULARY = [
    f"{a}{b}{c}" for a in "bdk" for b in ("ar", "ol", "un") for c in ("mont", "vig", "zek", "pliss")
]


@pytest.fixture
def project(conn: Connection) -> int:
    return projects.ensure(conn, Identity("path:/shop", "shop", "/shop"))


@pytest.fixture
def other(conn: Connection) -> int:
    return projects.ensure(conn, Identity("path:/other", "other", "/other"))


@pytest.fixture(autouse=True)
def small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postings, "WAITING", 5)
    monkeypatch.setattr(postings, "SMALL", 15)
    monkeypatch.setattr(postings, "FULL", 40)


def save(conn: Connection, project: int, *texts: str, first: int = 0, kind: str = "note") -> list[int]:
    return store.save(
        conn,
        [
            Observation(
                project_id=project,
                kind=kind,
                title="",
                text=text,
                occurred_at=START + timedelta(hours=first + number),
                external_id=f"{kind}/{first + number}",
            )
            for number, text in enumerate(texts)
        ],
    )


def some_text(rng: random.Random) -> str:
    """Between 3 and 40 words, the first of the vocabulary much more often than the last."""
    ranks = [int(len(VOCABULARY) * rng.random() ** 2) for _ in range(rng.randrange(3, 40))]
    return " ".join(VOCABULARY[rank] for rank in ranks)


def index_all(conn: Connection) -> None:
    while worker.index_words(conn):
        pass


def ask(
    conn: Connection, query: str, project: int, limit: int = 1000, **filters: Any
) -> list[dict[str, Any]]:
    asked = recall_store.terms(conn, query, project_id=project)
    return recall_store.text_leg(
        conn,
        asked,
        project_id=project,
        limit=limit,
        filters=Filters(**filters) if filters else recall_store.EVERY,
    )


def plain(conn: Connection, query: str, project: int) -> list[tuple[int, float]]:
    """BM25 as the textbook has it, over every chunk of a project: (chunk, score), best first."""
    rows = conn.execute(
        "select c.id, c.words, w.lexeme, cardinality(w.positions) as frequency"
        " from mem_observation_chunks c cross join unnest(c.tsv) w where c.project_id = %s",
        (project,),
    ).fetchall()
    asked = {
        row["lexeme"]
        for row in conn.execute("select lexeme from unnest(to_tsvector('english', %s))", (query,))
    }
    lengths = {row["id"]: row["words"] for row in rows}
    average = sum(lengths.values()) / max(1, len(lengths))
    holders = {word: sum(row["lexeme"] == word for row in rows) for word in asked}
    scores: dict[int, float] = {}
    for row in rows:
        if row["lexeme"] in asked:
            df, tf = holders[row["lexeme"]], row["frequency"]
            idf = math.log(1 + (len(lengths) - df + 0.5) / (df + 0.5))
            norm = bm25.K1 * (1 - bm25.B + bm25.B * row["words"] / average)
            scores[row["id"]] = scores.get(row["id"], 0) + idf * tf * (bm25.K1 + 1) / (tf + norm)
    return _rounded(scores.items())


def found(rows: Sequence[dict[str, Any]]) -> list[tuple[int, float]]:
    """Rounded, as the order in which a score was added up is not fixed."""
    return _rounded((row["chunk_id"], row["score"]) for row in rows)


def _rounded(scores: Iterable[tuple[int, float]]) -> list[tuple[int, float]]:
    return sorted(((chunk, round(score, 9)) for chunk, score in scores), key=lambda one: (-one[1], -one[0]))


def lexemes(conn: Connection) -> set[str]:
    return {row["lexeme"] for row in conn.execute("select lexeme from mem_word_postings")}


@pytest.mark.parametrize("seed", range(3))
def test_ranks_are_those_of_bm25_whatever_happened_before(
    conn: Connection, project: int, other: int, seed: int
) -> None:
    rng = random.Random(seed)
    for step in range(25):
        owner = rng.choice((project, project, other))
        first = rng.randrange(60)  # some take the place of what stands there
        save(conn, owner, *(some_text(rng) for _ in range(rng.randrange(1, 9))), first=first)
        conn.commit()
        if rng.random() < 0.3:
            known = [row["id"] for row in conn.execute("select id from mem_observations order by id")]
            ids = rng.sample(known, min(3, len(known)))
            store.delete(conn, ids)
            conn.commit()
        if rng.random() < 0.6:
            worker.index_words(conn)
        if step % 4 == 0:
            postings.purge(conn, project=project)
            postings.purge(conn, project=other)
        for asked in (project, other) if step % 4 == 0 else ():
            for size in (1, 2, 5):
                query = " ".join(rng.sample(VOCABULARY, size))
                expected = plain(conn, query, asked)
                assert found(ask(conn, query, asked)) == expected
                top = ask(conn, query, asked, limit=10)
                assert [round(row["score"], 9) for row in top] == [
                    round(score, 9) for _, score in expected[:10]
                ]
    index_all(conn)
    merged = conn.execute("select max(chunks) as most, count(*) as n from mem_word_segments").fetchone()
    assert merged is not None
    assert merged["most"] > 15, "segments were merged"
    for query in VOCABULARY:
        assert found(ask(conn, query, project)) == plain(conn, query, project)


def test_a_hit_tells_its_words_and_how_rare_each_is(conn: Connection, project: int) -> None:
    save(conn, project, *(f"deploy number {n}" for n in range(9)), "deploy of zookeeper")
    for indexed in (False, True):
        if indexed:
            index_all(conn)
        best = ask(conn, "zookeeper deploy kafka", project)[0]
        rarities = dict(zip(best["lexemes"], best["rarities"], strict=True))
        assert rarities == pytest.approx(
            {"zookeep": math.log(1 + 9.5 / 1.5), "deploy": math.log(1 + 0.5 / 10.5)}
        )
        assert best["asked"] == pytest.approx(sum(rarities.values()) + math.log(1 + 10.5 / 0.5))


def test_another_projects_chunks_are_never_found(conn: Connection, project: int, other: int) -> None:
    ours = save(conn, project, *("deploy of the shop" for _ in range(12)))
    save(conn, other, *("deploy of the other" for _ in range(12)))
    for indexed in (False, True):
        if indexed:
            index_all(conn)
        assert {row["observation_id"] for row in ask(conn, "deploy", project)} == set(ours)
        assert ask(conn, f"project/{other}", project) == []


def test_a_deleted_chunk_is_not_found_and_its_words_are_taken_out(conn: Connection, project: int) -> None:
    texts = [f"deploy {n}" for n in range(20)]
    *_, first, second = save(conn, project, *texts, "deploy hunter2", "deploy hunter2 again")
    index_all(conn)
    store.delete(conn, [first])
    conn.commit()
    assert [row["observation_id"] for row in ask(conn, "hunter2", project)] == [second]
    assert not postings.purge(conn), "it waits a minute: a turn that goes on loses chunks all the time"
    store.delete(conn, [second])
    assert ask(conn, "hunter2", project) == []
    conn.execute("update mem_word_gone set gone_at = now() - interval '2 minutes'")
    conn.commit()
    assert worker.index_words(conn)
    assert "hunter2" not in lexemes(conn)
    assert found(ask(conn, "deploy", project)) == plain(conn, "deploy", project)
    conn.execute("delete from mem_observations")
    assert postings.purge(conn, project=project)
    assert lexemes(conn) == set()
    for table in ("mem_word_segments", "mem_word_queue", "mem_word_gone"):
        assert conn.execute(f"select from {table}".encode()).rowcount == 0


def test_what_is_deleted_while_it_is_indexed_leaves_no_word(
    conn: Connection, project: int, database_url: str
) -> None:
    *_, secret = save(conn, project, *(f"deploy {n}" for n in range(20)), "deploy hunter2")
    conn.commit()

    def delete() -> None:
        with server.connect(database_url) as mine:
            store.delete(mine, [secret])

    assert postings.fold(conn) == project  # and not committed yet
    thread = threading.Thread(target=delete)
    thread.start()
    thread.join(0.3)
    conn.commit()
    thread.join(30)
    assert ask(conn, "hunter2", project) == []
    postings.purge(conn, project=project)
    assert "hunter2" not in lexemes(conn)
    assert found(ask(conn, "deploy", project)) == plain(conn, "deploy", project)


def test_an_indexing_that_dies_leaves_everything_waiting(
    conn: Connection, project: int, database_url: str
) -> None:
    save(conn, project, *(f"deploy {n}" for n in range(20)))
    conn.commit()
    dying = server.connect(database_url)
    assert postings.fold(dying) == project
    dying.close()
    assert lexemes(conn) == set()
    assert len(ask(conn, "deploy", project)) == 20
    index_all(conn)
    assert len(ask(conn, "deploy", project)) == 20


def test_a_segment_that_is_merged_between_reading_and_ranking_is_read_again(
    conn: Connection, project: int
) -> None:
    for first in range(0, 10, 5):
        save(conn, project, *(f"deploy {n}" for n in range(5)), first=first)
        index_all(conn)
    asked = recall_store.terms(conn, "deploy", project_id=project)
    assert len(asked.segments) == 2
    save(conn, project, *(f"deploy {n}" for n in range(5)), first=10)
    index_all(conn)
    assert not set(asked.segments) & set(recall_store.terms(conn, "deploy", project_id=project).segments)
    rows = recall_store.text_leg(conn, asked, project_id=project, limit=100)
    assert len(rows) == 15


def test_words_too_common_to_be_read_score_all_the_same(
    conn: Connection, project: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [f"deploy of service {n}" for n in range(60)]
    save(conn, project, *texts, "deploy quorum", "quorum service", "quorum quorum deploy service")
    index_all(conn)
    save(conn, project, "quorum deploy waiting", first=100)
    expected = plain(conn, "deploy service quorum", project)[:4]
    monkeypatch.setattr(recall_store, "MAX_POSTINGS", 10)
    asked = recall_store.terms(conn, "deploy service quorum", project_id=project)
    assert [(term.lexeme, term.read) for term in asked.terms] == [
        ("quorum", True),
        ("servic", False),
        ("deploy", False),
    ]
    rows = recall_store.text_leg(conn, asked, project_id=project, limit=4)
    assert found(rows) == expected
    alone = ask(conn, "deploy service", project, limit=10)
    assert len(alone) == 10, "of common words alone the rarest is read whatever it costs"


def test_a_long_query_counts_words_that_the_project_knows(conn: Connection, project: int) -> None:
    (number,) = save(conn, project, "deploy of zookeeper")
    pasted = " ".join(f"unknown{n}" for n in range(150)) + " zookeeper"
    assert [row["observation_id"] for row in ask(conn, pasted, project)] == [number]
    assert len(recall_store.terms(conn, pasted, project_id=project).terms) == recall_store.MAX_TERMS


def test_a_filter_finds_what_ranks_far_below(conn: Connection, project: int) -> None:
    save(conn, project, *("deploy deploy" for _ in range(300)))
    (turn,) = save(conn, project, "a deploy among many other words of a turn", kind="turn")
    index_all(conn)
    rows = ask(conn, "deploy", project, limit=10, kinds=["turn"])
    assert [row["observation_id"] for row in rows] == [turn]


def test_a_chunk_whose_words_are_made_anew_is_found_by_the_new_ones_alone(
    conn: Connection, project: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = save(conn, project, *(f"deploy {n}" for n in range(12)))
    index_all(conn)
    model = vectors.model_id(conn, Three())
    chunks = [row["id"] for row in conn.execute("select id from mem_observation_chunks order by id")]
    vectors.save_vectors(conn, model, chunks, [[float(n), 0.0, 1.0] for n in range(12)])
    before = embeddings(conn)
    store.index_again(conn, store.get(conn, ids))
    assert [row["id"] for row in conn.execute("select id from mem_observation_chunks order by id")] == chunks
    monkeypatch.setattr(cutting, "indexable", lambda text: text.replace("deploy", "release"))
    store.index_again(conn, store.get(conn, ids))
    assert ask(conn, "deploy", project) == []
    assert len(ask(conn, "release", project)) == 12
    postings.purge(conn, project=project)
    assert "deploy" not in lexemes(conn)
    assert embeddings(conn) == before
    assert vectors.unembedded(conn) == 0
    index_all(conn)
    assert found(ask(conn, "release", project)) == plain(conn, "release", project)


def embeddings(conn: Connection) -> dict[int, str]:
    rows = conn.execute(
        "select c.observation_id, v.embedding::text as vector from mem_chunk_vectors v"
        " join mem_observation_chunks c on c.id = v.chunk_id"
    )
    return {row["observation_id"]: row["vector"] for row in rows}


class Three:
    name = "three"
    dimensions = 3

    def embed(self, texts: Sequence[str], *, query: bool = False) -> list[list[float]]:
        del query
        return [[0.0, 0.0, 1.0] for _ in texts]


def test_a_memory_of_an_earlier_version_is_found_at_once_and_indexed(
    empty_database_url: str, tmp_path: Path
) -> None:
    (number,) = [int(f.name[:4]) for f in FOLDER.iterdir() if f.name.endswith("_words.sql")]
    for file in FOLDER.iterdir():
        if file.name.endswith(".sql") and int(file.name[:4]) < number:
            (tmp_path / file.name).write_bytes(file.read_bytes())
    with server.connect(empty_database_url) as conn:
        migrate(conn, tmp_path)
        # In SQL: today's code knows columns that a database of that time did not have.
        row = conn.execute(
            "insert into mem_projects (identity, name, path) values ('path:/shop', 'shop', '/shop') returning id"
        ).fetchone()
        assert row is not None
        project = int(row["id"])
        conn.execute(
            "insert into mem_observations (project_id, kind, title, text, occurred_at)"
            " select %s, 'note', '', 'deploy ' || n, now() from generate_series(1, 12) n",
            (project,),
        )
        conn.execute(
            "insert into mem_observation_chunks (observation_id, project_id, ordinal, text, words, tsv)"
            " select id, project_id, 0, text, 2, to_tsvector('english', text)"
            " || array_to_tsvector(array['project/' || project_id]) from mem_observations"
        )
        conn.commit()
        migrate(conn)
        assert len(ask(conn, "deploy", project)) == 12
        index_all(conn)
        assert conn.execute("select from mem_word_queue").rowcount == 0
        assert found(ask(conn, "deploy", project)) == plain(conn, "deploy", project)
