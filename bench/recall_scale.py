"""How long recall takes in a large memory: 10k, 100k and 1m chunks in one project, with twenty small ones beside.

    make bench-recall-scale        or: python -m bench.recall_scale 10k 100k 1m

Without sizes 10k and 100k are measured; 1m takes about an hour and 8 GB of disk. Each size has an embedded
Postgres of its own. The chunks are made up and seeded: words in Zipf's proportions, names of code that are taken
apart, phrases that many share, the date and the month in each; and vectors in 500 clusters. The queries: questions
(two very common words, three less common, two rare), names of code, very common words alone, and a pasted log of
2,000 characters.

p50 and p95 are those of the best of WINDOWS windows: others use the machine, too. CPU is what a query of that window
takes of our process and of its Postgres process together. "with its embedding" runs the product's own model for the
query beside the text leg, and takes a made-up vector all the same.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import psutil
from rich.console import Console
from rich.table import Table

from agent_memory import paths, settings
from agent_memory.database import Connection, embedded, server
from agent_memory.database.migrate import migrate
from agent_memory.journal import projects
from agent_memory.journal.projects import Identity
from agent_memory.observations import store as observations
from agent_memory.observations import vectors, worker
from agent_memory.observations.embed import LOCAL_DIMENSIONS, LOCAL_NAME, Embedder, LocalModel
from agent_memory.observations.observation import Observation
from agent_memory.observations.words import indexable
from agent_memory.recall import search, store
from bench.figures import Figure, short, yardstick
from bench.home import scratch_home

SIZES = {"10k": 10_000, "100k": 100_000, "1m": 1_000_000}
QUERIES = 40
WINDOWS = 4
WRITTEN = 2_000
WORDS = 40_000
SMALL_PROJECTS = 20
CLUSTERS = 500
BATCH = 2_000
START = datetime(2026, 1, 1, tzinfo=UTC)
PHRASES = (
    "Error in the build of {}: see the log.",
    "All tests passed after the change of {}.",
    "The user asked to look at {} again.",
    "Command failed with exit code 1 in {}.",
)
RNG = np.random.default_rng(7)
CENTRES = RNG.standard_normal((CLUSTERS, LOCAL_DIMENSIONS))


class Vectors:
    """An embedder that takes no time, or that of `model`: the benchmark brings its own vectors."""

    name = LOCAL_NAME
    dimensions = LOCAL_DIMENSIONS

    def __init__(self, model: Embedder | None = None) -> None:
        self._model = model

    def embed(self, texts: Sequence[str], *, query: bool = False) -> list[list[float]]:
        if self._model is not None:
            self._model.embed(texts, query=query)
        made: list[list[float]] = near_clusters(len(texts)).tolist()
        return made


def figures(names: Sequence[str] = ("10k", "100k")) -> list[Figure]:
    """p50 and p95 of questions with their embedding, beside a fixed piece of work, at these sizes."""
    found = []
    for name in names:
        with scratch_home(), server.connect(server.conninfo(settings.load())) as conn:
            migrate(conn)
            large, _ = fill(Console(stderr=True, width=120), conn, SIZES[name])
            asked = recalls(conn, large)["recall, questions, with its embedding"]
            p50, p95, _ = map(float, measured(conn, asked))
            plain = yardstick()
        found += [
            Figure(
                name=f"recall among {SIZES[name]:,} chunks, with its embedding: {which}",
                value=took,
                unit="ms",
                beside=f"a fixed piece of work: {short(plain)} ms",
                ratio=took / plain,
                slack=0.6,
            )
            for which, took in (("p50", p50), ("p95", p95))
        ]
    return found


def main() -> None:
    console = Console(width=120)
    for name in sys.argv[1:] or ["10k", "100k"]:
        with scratch_home():
            measure(console, SIZES[name])


def measure(console: Console, size: int) -> None:
    conninfo = server.conninfo(settings.load())
    with server.connect(conninfo) as conn:
        migrate(conn)
        large, small = fill(console, conn, size)
        report(console, conn, large, small)
    console.print(f"first recall of a cold server: {cold(large):.0f} ms")


def report(console: Console, conn: Connection, large: int, small: int) -> None:
    console.print(sizes(conn))
    table = Table(
        title=f"{chunks(conn, large):,} chunks, load {os.getloadavg()[0]:.1f}", title_justify="left"
    )
    for column in ("project", "what", "p50 ms", "p95 ms", "CPU ms"):
        table.add_column(column, justify="right" if "ms" in column else "left")
    for project, steps in ((large, all_steps(conn, large)), (small, recalls(conn, small))):
        for what, work in steps.items():
            table.add_row(f"{chunks(conn, project):,} chunks", what, *measured(conn, work))
        table.add_section()
    console.print(table)
    p50, p95, cpu = measured(conn, exact(conn, large), windows=1, queries=5)
    console.print(
        f"HNSW finds {overlap(conn, large):.3f} of the exact {search.DEPTH} nearest;"
        f" exact takes {p50} ms (p95 {p95}), {cpu} of CPU"
    )
    console.print(writing(conn, large))


def vocabulary() -> list[str]:
    syllables = [a + b for a in "bcdfglmnprstvz" for b in "aeiou"]
    words: dict[str, None] = {}
    while len(words) < WORDS:
        picked = RNG.choice(syllables, size=RNG.integers(2, 5))
        words["".join(picked) + RNG.choice(list("kntr"))] = None
    return list(words)


VOCABULARY = np.array(vocabulary())
ZIPF = np.cumsum(1 / np.arange(1, WORDS + 1))
ZIPF /= ZIPF[-1]


def texts(count: int) -> list[str]:
    """Texts of 30 to 110 words in Zipf's proportions, with names of code and phrases that many share."""
    lengths = RNG.integers(30, 110, count)
    words = VOCABULARY[np.searchsorted(ZIPF, RNG.random(int(lengths.sum())))]
    made = []
    for number, own in enumerate(np.split(words, np.cumsum(lengths)[:-1])):
        name = f"{own[0]}_{own[1]}.{own[2]}{RNG.integers(100)}"
        phrase = PHRASES[RNG.integers(len(PHRASES))].format(name) if number % 3 == 0 else ""
        made.append(f"{' '.join(own[3:])} {name} {phrase}")
    return made


def near_clusters(count: int) -> Any:
    found = CENTRES[RNG.integers(CLUSTERS, size=count)]
    found = found + 0.8 * RNG.standard_normal((count, LOCAL_DIMENSIONS))
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def name_of_code() -> str:
    first, second, third = VOCABULARY[RNG.integers(2_000, 30_000, 3)]
    return f"{first}_{second}.{third}"


def question() -> str:
    ranks = [*RNG.integers(5, 40, 2), *RNG.integers(100, 2_000, 3), *RNG.integers(2_000, 30_000, 2)]
    return " ".join(VOCABULARY[ranks])


def common_words() -> str:
    return " ".join([*VOCABULARY[RNG.integers(0, 20, 4)], "error", "tests", "2026"])


def pasted_log() -> str:
    return " ".join(VOCABULARY[np.searchsorted(ZIPF, RNG.random(300))])[:2_000]


def fill(console: Console, conn: Connection, size: int) -> tuple[int, int]:
    """A chunk an observation. The ids of the large project and of a small one."""
    names = ["large", *(f"small-{number}" for number in range(SMALL_PROJECTS))]
    ids = [projects.ensure(conn, Identity(f"bench:{name}", name, None)) for name in names]
    small = min(size // SMALL_PROJECTS, 5_000)
    owners = RNG.permutation(np.repeat(ids, [size] + [small] * SMALL_PROJECTS))
    began = time.perf_counter()
    for start in range(0, len(owners), BATCH):
        save(conn, owners[start : start + BATCH].tolist(), start)
    parts = [f"{len(owners):,} chunks written in {time.perf_counter() - began:.0f} s"]
    began = time.perf_counter()
    while worker.index_words(conn):
        pass
    parts.append(f"their words indexed in {time.perf_counter() - began:.0f} s")
    model = vectors.model_id(conn, Vectors())
    index = f"mem_chunk_vectors_hnsw_{model}"
    made = conn.execute("select pg_get_indexdef(%s::regclass) as how", (index,)).fetchone()
    assert made is not None
    conn.execute(f"drop index {index}")  # made anew at the end, in a tenth of the time
    rows = conn.execute("select id, project_id from mem_observation_chunks order by id").fetchall()
    columns = "mem_chunk_vectors (model_id, chunk_id, project_id, embedding)"
    with conn.cursor().copy(f"copy {columns} from stdin (format binary)") as sink:
        sink.write(b"PGCOPY\n\xff\r\n\0" + bytes(8))
        for start in range(0, len(rows), BATCH):
            sink.write(binary(model, rows[start : start + BATCH]))
        sink.write(b"\xff\xff")
    conn.commit()
    began = time.perf_counter()
    conn.execute("set local maintenance_work_mem = '3GB'")
    conn.execute(made["how"])
    parts.append(f"HNSW built in {time.perf_counter() - began:.0f} s on one core")
    conn.commit()
    conn.autocommit = True
    conn.execute("vacuum analyze")
    conn.autocommit = False
    console.print("; ".join(parts))
    return ids[0], ids[1]


def save(conn: Connection, owners: list[int], start: int) -> None:
    """Write a batch of observations and their chunks as `observations.store` would."""
    said = texts(len(owners))
    days = [START + timedelta(minutes=start + number) for number in range(len(owners))]
    rows = conn.execute(
        "insert into mem_observations (project_id, kind, title, text, occurred_at)"
        " select p, 'note', '', t, d from unnest(%s::bigint[], %s::text[], %s::timestamptz[]) as new (p, t, d)"
        " returning id",
        (owners, said, days),
    ).fetchall()
    words = [indexable(f"{day:%Y-%m-%d} {text} {day:%B}") for day, text in zip(days, said, strict=True)]
    conn.execute(
        """
        with added as (
            insert into mem_observation_chunks (observation_id, project_id, ordinal, text, words, tsv)
            select id, project, 0, text, length, to_tsvector('english', words)
                || array_to_tsvector(array['project/' || project])
            from unnest(%s::bigint[], %s::bigint[], %s::text[], %s::integer[], %s::text[])
                as new (id, project, text, length, words)
            returning id, project_id
        )
        insert into mem_word_queue (chunk_id, project_id) select id, project_id from added
        """,
        ([row["id"] for row in rows], owners, said, [len(one.split()) for one in words], words),
    )
    conn.commit()


BINARY = np.dtype(
    [
        ("fields", ">i2"),
        *(("a", ">i4"), ("model", ">i2")),
        *(("b", ">i4"), ("chunk", ">i8")),
        *(("c", ">i4"), ("project", ">i8")),
        *(("d", ">i4"), ("dimensions", ">i2"), ("zero", ">i2"), ("values", ">f2", LOCAL_DIMENSIONS)),
    ]
)


def binary(model: int, rows: Sequence[dict[str, Any]]) -> bytes:
    """Rows of mem_chunk_vectors in COPY's binary format."""
    made = np.zeros(len(rows), BINARY)
    made["fields"], made["a"], made["b"], made["c"], made["d"] = 4, 2, 8, 8, 4 + 2 * LOCAL_DIMENSIONS
    made["model"], made["dimensions"] = model, LOCAL_DIMENSIONS
    made["chunk"] = [row["id"] for row in rows]
    made["project"] = [row["project_id"] for row in rows]
    made["values"] = near_clusters(len(rows))
    return made.tobytes()


def all_steps(conn: Connection, project: int) -> dict[str, Callable[[], object]]:
    near = nearest(conn, project)

    def words(asked: Callable[[], str]) -> Callable[[], object]:
        def work() -> object:
            found = store.terms(conn, indexable(asked()), project_id=project)
            return store.text_leg(conn, found, project_id=project, limit=search.DEPTH)

        return work

    return {
        "text leg, questions": words(question),
        "text leg, names of code": words(name_of_code),
        "text leg, very common words": words(common_words),
        "text leg, a pasted log": words(pasted_log),
        "vector leg": lambda: near(near_clusters(1)[0].tolist()),
        **recalls(conn, project),
    }


def recalls(conn: Connection, project: int) -> dict[str, Callable[[], object]]:
    def recall(asked: Callable[[], str], embedder: Embedder) -> Callable[[], object]:
        return lambda: search.recall(conn, asked(), project_id=project, embedder=embedder)

    embedding = Vectors(LocalModel())
    return {
        "recall, questions": recall(question, Vectors()),
        "recall, very common words": recall(common_words, Vectors()),
        "recall, a pasted log": recall(pasted_log, Vectors()),
        "recall, names of code": recall(name_of_code, Vectors()),
        "recall, questions, with its embedding": recall(question, embedding),
    }


def measured(
    conn: Connection, work: Callable[[], object], *, windows: int = WINDOWS, queries: int = QUERIES
) -> tuple[str, str, str]:
    """p50, p95 and CPU in ms, of the window with the lowest p95."""
    found = []
    for _ in range(3):
        work()
    for _ in range(windows):
        before = spent(conn)
        times = sorted(timed(work) for _ in range(queries))
        cpu = (spent(conn) - before) / queries * 1000
        found.append((times[int(len(times) * 0.95)], statistics.median(times), cpu))
    p95, p50, cpu = min(found)
    return f"{p50:.1f}", f"{p95:.1f}", f"{cpu:.1f}"


def timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1000


def spent(conn: Connection) -> float:
    """Seconds of CPU that we and our Postgres process have used: on a busy machine the truer number."""
    theirs = psutil.Process(conn.info.backend_pid).cpu_times()
    return time.process_time() + theirs.user + theirs.system


def exact(conn: Connection, project: int) -> Callable[[], object]:
    """The vector leg, reading each of the project's vectors."""
    near = nearest(conn, project)

    def work() -> object:
        conn.execute("set local enable_indexscan = off")
        try:
            return near(near_clusters(1)[0].tolist())
        finally:
            conn.execute("set local enable_indexscan = on")

    return work


def nearest(conn: Connection, project: int) -> Callable[[list[float]], list[dict[str, Any]]]:
    model = store.model(conn, LOCAL_NAME)
    assert model is not None
    return lambda vector: store.vector_leg(conn, vector, model, project_id=project, limit=search.DEPTH)


def overlap(conn: Connection, project: int) -> float:
    """Which share of the exact nearest the index finds."""
    near = nearest(conn, project)
    shares = []
    for _ in range(10):
        vector = near_clusters(1)[0].tolist()
        found = []
        for indexed in ("on", "off"):
            conn.execute(f"set local enable_indexscan = {indexed}")
            found.append({row["chunk_id"] for row in near(vector)})
        shares.append(len(found[0] & found[1]) / len(found[1]))
    conn.execute("set local enable_indexscan = on")
    return statistics.mean(shares)


def writing(conn: Connection, project: int) -> str:
    """What writing and deleting a chunk costs beside this memory, without its vector."""
    new = [
        Observation(
            project_id=project, kind="note", title="", text=text, occurred_at=START, external_id=f"new/{n}"
        )
        for n, text in enumerate(texts(WRITTEN))
    ]
    before = spent(conn)
    ids = []
    for start in range(0, WRITTEN, 20):
        ids += observations.save(conn, new[start : start + 20])
        conn.commit()
    written = spent(conn)
    while worker.index_words(conn):
        pass
    indexed = spent(conn)
    for number in ids:
        observations.delete(conn, [number])
    conn.commit()
    deleted = spent(conn)
    each = [1000 * seconds / WRITTEN for seconds in (written - before, indexed - written, deleted - indexed)]
    return "CPU ms a chunk: written {:.2f}, its words indexed {:.2f}, deleted {:.2f}".format(*each)


def cold(project: int) -> float:
    """The first recall after Postgres started with none of its files in memory."""
    embedded.stop()
    for file in paths.postgres().resolve().rglob("*"):
        if file.is_file():
            with file.open("rb") as one:
                os.posix_fadvise(one.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    with server.connect(server.conninfo(settings.load())) as conn:
        return timed(lambda: search.recall(conn, question(), project_id=project, embedder=Vectors()))


def chunks(conn: Connection, project: int) -> int:
    row = conn.execute(
        "select count(*) as n from mem_observation_chunks where project_id = %s", (project,)
    ).fetchone()
    assert row is not None
    return int(row["n"])


def sizes(conn: Connection) -> str:
    """MB on disk, with TOAST; of the vectors without their index, which follows."""
    rows = conn.execute(
        """
        select relname as name, pg_table_size(oid) as bytes from pg_class
        where relname in ('mem_observation_chunks', 'mem_chunk_vectors', 'mem_word_postings', 'mem_word_segments')
            or relname in ('mem_word_postings_pkey') or relname like 'mem_chunk_vectors_hnsw%' order by 1
        """
    )
    return ", ".join(f"{row['name']} {row['bytes'] / 1e6:.0f} MB" for row in rows)


if __name__ == "__main__":
    main()
