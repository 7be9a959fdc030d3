"""How long recall takes in a large memory: both legs, by themselves and together.

    python -m bench.recall_scale [CHUNKS]        100,000 by default

Made-up words in Zipf's proportions and made-up vectors in 500 clusters, seeded, on an embedded Postgres of its
own: one project with CHUNKS chunks, and as many again in twenty others. A query is two very common words, three
less common, two rare ones, and a vector. The query's embedding is not in the times. The text leg is also given
queries of nothing but very common words, which its guard is for; the vector leg is compared with an exact scan.
CPU is what one query takes of our process and of its Postgres process together.
"""

from __future__ import annotations

import os
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from typing import Any

import numpy as np
import psutil
from rich.console import Console
from rich.table import Table

from agent_memory import settings
from agent_memory.database import Connection, server
from agent_memory.database.migrate import migrate
from agent_memory.journal import projects
from agent_memory.journal.projects import Identity
from agent_memory.observations import vectors
from agent_memory.observations.embed import LOCAL_DIMENSIONS, LOCAL_NAME
from agent_memory.recall import search, store
from bench.home import scratch_home

WORDS = 40_000
SMALL_PROJECTS = 20
CLUSTERS = 500
QUERIES = 60
START = datetime(2026, 1, 1, tzinfo=UTC)

RNG = random.Random(7)
NOISE = np.random.default_rng(7)
CENTRES = NOISE.standard_normal((CLUSTERS, LOCAL_DIMENSIONS))


class Vectors:
    """An embedder in name only: the benchmark brings its own vectors, which take no time."""

    name = LOCAL_NAME
    dimensions = LOCAL_DIMENSIONS

    def embed(self, texts: Sequence[str], *, query: bool = False) -> list[list[float]]:
        del query
        return [near_a_cluster().tolist() for _ in texts]


def main() -> None:
    size = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    console = Console(width=110)
    with scratch_home(), server.connect(server.conninfo(settings.load())) as conn:
        migrate(conn)
        began = time.perf_counter()
        large, small = fill(conn, size)
        console.print(f"{2 * size:,} chunks and vectors written in {time.perf_counter() - began:.0f} s")
        console.print(sizes(conn))
        table = Table(title=f"{size:,} chunks, load {os.getloadavg()[0]:.1f}", title_justify="left")
        for column in ("project", "what", "p50 ms", "p95 ms", "CPU ms"):
            table.add_column(column, justify="right" if "ms" in column else "left")
        for name, project in ((f"{size:,} chunks", large), (f"{size // SMALL_PROJECTS:,} chunks", small)):
            for what, work in steps(conn, project).items():
                before = spent(conn)
                times = sorted(timed(work) for _ in range(QUERIES))
                cpu = (spent(conn) - before) / QUERIES * 1000
                p95 = times[int(len(times) * 0.95)]
                table.add_row(name, what, f"{statistics.median(times):.1f}", f"{p95:.1f}", f"{cpu:.1f}")
            table.add_section()
        console.print(table)
        console.print(f"HNSW finds {overlap(conn, large):.3f} of the exact 50 nearest in the large project")


def vocabulary() -> list[str]:
    syllables = [a + b for a in "bcdfglmnprstvz" for b in "aeiou"]
    words: dict[str, None] = {}
    while len(words) < WORDS:
        words["".join(RNG.choices(syllables, k=RNG.randrange(2, 5))) + RNG.choice("kntr")] = None
    return list(words)


VOCABULARY = vocabulary()
_ZIPF = list(accumulate(1 / rank for rank in range(1, WORDS + 1)))


def text() -> str:
    return " ".join(RNG.choices(VOCABULARY, cum_weights=_ZIPF, k=RNG.randrange(30, 150)))


def near_a_cluster() -> Any:
    vector = CENTRES[RNG.randrange(CLUSTERS)] + 0.8 * NOISE.standard_normal(LOCAL_DIMENSIONS)
    return vector / np.linalg.norm(vector)


def question() -> str:
    ranks = [
        RNG.randrange(low, high)
        for low, high, count in ((5, 40, 2), (100, 2_000, 3), (2_000, 30_000, 2))
        for _ in range(count)
    ]
    return " ".join(VOCABULARY[rank] for rank in ranks)


def common_words() -> str:
    return " ".join(VOCABULARY[RNG.randrange(2, 20)] for _ in range(4))


def fill(conn: Connection, size: int) -> tuple[int, int]:
    """A chunk an observation. The ids of the large project and of one small one."""
    names = ["large", *(f"small-{number}" for number in range(SMALL_PROJECTS))]
    ids = [projects.ensure(conn, Identity(f"bench:{name}", name, None)) for name in names]
    owners = [ids[0]] * size + [ids[1 + number % SMALL_PROJECTS] for number in range(size)]
    RNG.shuffle(owners)
    copy(conn, "mem_observations (project_id, kind, title, text, occurred_at)", observations(owners))
    conn.execute(
        """
        insert into mem_observation_chunks (observation_id, project_id, ordinal, text, words, tsv)
        select id, project_id, 0, text, array_length(string_to_array(text, ' '), 1),
            to_tsvector('english', text) || array_to_tsvector(array['project/' || project_id])
        from mem_observations order by id
        """
    )
    model = vectors.model_id(conn, Vectors())
    index = f"mem_chunk_vectors_hnsw_{model}"
    made = conn.execute("select pg_get_indexdef(%s::regclass) as how", (index,)).fetchone()
    assert made is not None
    conn.execute(f"drop index {index}")  # made anew at the end, in a tenth of the time
    rows = conn.execute("select id, project_id from mem_observation_chunks order by id").fetchall()
    copy(
        conn,
        "mem_chunk_vectors (model_id, chunk_id, project_id, embedding)",
        (
            (model, row["id"], row["project_id"], "[" + ",".join(f"{x:.5g}" for x in near_a_cluster()) + "]")
            for row in rows
        ),
    )
    conn.execute("set local maintenance_work_mem = '1GB'")
    conn.execute(made["how"])
    conn.commit()
    conn.autocommit = True
    conn.execute("vacuum analyze")
    conn.autocommit = False
    return ids[0], ids[1]


def observations(owners: list[int]) -> Iterator[tuple[Any, ...]]:
    for number, owner in enumerate(owners):
        yield owner, "note", "", text(), START + timedelta(minutes=number)


def copy(conn: Connection, into: str, rows: Iterator[tuple[Any, ...]]) -> None:
    with conn.cursor().copy(f"copy {into} from stdin") as sink:
        for row in rows:
            sink.write_row(row)


def steps(conn: Connection, project: int) -> dict[str, Callable[[], object]]:
    model = store.model(conn, LOCAL_NAME)
    assert model is not None

    def words(asked: str) -> object:
        found = store.terms(conn, asked, project_id=project)
        return store.text_leg(conn, found, project_id=project, limit=search.DEPTH)

    def near() -> object:
        return store.vector_leg(
            conn, near_a_cluster().tolist(), model, project_id=project, limit=search.DEPTH
        )

    return {
        "words: how rare each is": lambda: store.terms(conn, question(), project_id=project),
        "text leg": lambda: words(question()),
        "text leg, common words only": lambda: words(common_words()),
        "vector leg": near,
        "recall": lambda: search.recall(conn, question(), project_id=project, embedder=Vectors()),
    }


def timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1000


def spent(conn: Connection) -> float:
    """Seconds of CPU that we and our Postgres process have used: on a busy machine the truer number."""
    theirs = psutil.Process(conn.info.backend_pid).cpu_times()
    return time.process_time() + theirs.user + theirs.system


def overlap(conn: Connection, project: int) -> float:
    """Which share of the exact nearest the index finds."""
    model = store.model(conn, LOCAL_NAME)
    assert model is not None
    shares = []
    for _ in range(20):
        vector = near_a_cluster().tolist()
        found = []
        for exact in (False, True):
            conn.execute(f"set local enable_indexscan = {'off' if exact else 'on'}")
            rows = store.vector_leg(conn, vector, model, project_id=project, limit=50)
            found.append({row["chunk_id"] for row in rows})
        shares.append(len(found[0] & found[1]) / len(found[1]))
    return statistics.mean(shares)


def sizes(conn: Connection) -> str:
    rows = conn.execute(
        "select relname, pg_relation_size(oid) as bytes from pg_class"
        " where relname in ('mem_observation_chunks', 'mem_observation_chunks_tsv')"
        " or relname like 'mem_chunk_vectors%' and relkind = 'i' order by relname"
    )
    return ", ".join(f"{row['relname']} {row['bytes'] / 1e6:.0f} MB" for row in rows)


if __name__ == "__main__":
    main()
