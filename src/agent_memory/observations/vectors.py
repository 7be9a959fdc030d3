"""The SQL of the chunks' vectors, of the models that made them, and of the chunks that wait for theirs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from agent_memory.database import Connection
from agent_memory.errors import AgentMemoryError
from agent_memory.observations.embed import Embedder

_EMBEDDING_LOCK = 0x616D_0001  # an advisory lock: who holds it embeds
_MODEL_LOCK = 0x616D_0002


@dataclass(frozen=True, slots=True)
class PendingChunk:
    id: int
    text: str


def model_id(conn: Connection, embedder: Embedder) -> int:
    """The number of the embedder's model; registers a new one and makes its index.

    The index covers only this model's vectors, of which there are none yet, so making it takes
    milliseconds. It locks the vectors against other writers until the caller commits.

    Raises:
        AgentMemoryError: the model is known with another dimension.
    """
    known = _known_model(conn, embedder)
    if known is not None:
        return known
    conn.execute("select pg_advisory_xact_lock(%s)", (_MODEL_LOCK,))
    known = _known_model(conn, embedder)  # somebody else may have been quicker
    if known is not None:
        return known
    row = conn.execute(
        "insert into mem_embedding_models (name, dimensions) values (%s, %s) returning id",
        (embedder.name, embedder.dimensions),
    ).fetchone()
    assert row is not None
    number, dimensions = int(row["id"]), int(embedder.dimensions)
    conn.execute(
        f"create index {_index(number)} on mem_chunk_vectors"
        f" using hnsw ((embedding::halfvec({dimensions})) halfvec_cosine_ops) where model_id = {number}"
    )
    return number


def _known_model(conn: Connection, embedder: Embedder) -> int | None:
    row = conn.execute(
        "select id, dimensions from mem_embedding_models where name = %s", (embedder.name,)
    ).fetchone()
    if row is None:
        return None
    if row["dimensions"] != embedder.dimensions:
        raise AgentMemoryError(
            f"The embedding model {embedder.name} had {row['dimensions']} dimensions and now has"
            f" {embedder.dimensions}: it is another model under the same name.",
            "Give it another name at your endpoint, set AGENT_MEMORY_EMBEDDING_MODEL to that, and run:"
            " agent-memory reindex",
        )
    return int(row["id"])


def _index(model: int) -> str:
    return f"mem_chunk_vectors_hnsw_{model}"


def drop_other_models(conn: Connection, keep: int) -> int:
    """Delete every model but `keep`, with its vectors and its index. How many."""
    others = [r["id"] for r in conn.execute("select id from mem_embedding_models where id <> %s", (keep,))]
    for model in others:
        conn.execute(f"drop index if exists {_index(int(model))}")
        conn.execute("delete from mem_chunk_vectors where model_id = %s", (model,))
        conn.execute("delete from mem_embedding_models where id = %s", (model,))
    return len(others)


def lock_embedding(conn: Connection) -> bool:
    """Become the one who embeds, until the transaction ends. False: somebody else is.

    A lock on the chunks' rows would do as well, but an endpoint may take a minute to answer, and whoever
    rebuilds one of these turns would wait for it.
    """
    row = conn.execute("select pg_try_advisory_xact_lock(%s) as mine", (_EMBEDDING_LOCK,)).fetchone()
    return row is not None and bool(row["mine"])


def pending_chunks(conn: Connection, limit: int, *, without: Iterable[int] = ()) -> list[PendingChunk]:
    """Chunks that wait for their vector. The newest first: today's work is asked about before an import's."""
    rows = conn.execute(
        "select c.id, c.text from mem_embedding_queue q join mem_observation_chunks c on c.id = q.chunk_id"
        " where q.chunk_id <> all(%s::bigint[]) order by q.chunk_id desc limit %s",
        (list(without), limit),
    )
    return [PendingChunk(row["id"], row["text"]) for row in rows]


def unembedded(conn: Connection) -> int:
    """How many chunks wait for their vector."""
    row = conn.execute("select count(*) as n from mem_embedding_queue").fetchone()
    assert row is not None
    return int(row["n"])


def save_vectors(
    conn: Connection, model: int, chunk_ids: Sequence[int], vectors: Sequence[list[float]]
) -> int:
    """Store vectors and take their chunks off the queue. How many: a chunk may have gone meanwhile."""
    stored = conn.execute(
        """
        insert into mem_chunk_vectors (model_id, chunk_id, project_id, embedding)
        select %s, chunk.id, chunk.project_id, chunk.vector::halfvec
        from (
            select c.id, c.project_id, v.vector
            from unnest(%s::bigint[], %s::text[]) as v (id, vector) join mem_observation_chunks c using (id)
            for key share of c
        ) chunk
        on conflict (model_id, chunk_id) do update set embedding = excluded.embedding
        """,
        (model, list(chunk_ids), [_literal(vector) for vector in vectors]),
    ).rowcount
    conn.execute("delete from mem_embedding_queue where chunk_id = any(%s)", (list(chunk_ids),))
    return stored


def _literal(vector: Sequence[float]) -> str:
    # A halfvec keeps 11 bits: six digits are more than enough.
    return f"[{','.join(f'{x:.6g}' for x in vector)}]"


def chunks_before(conn: Connection, before: int | None, limit: int) -> list[PendingChunk]:
    """Every chunk, the newest first, in pages: those with a smaller id than `before`."""
    rows = conn.execute(
        "select id, text from mem_observation_chunks where %(before)s::bigint is null or id < %(before)s"
        " order by id desc limit %(limit)s",
        {"before": before, "limit": limit},
    )
    return [PendingChunk(row["id"], row["text"]) for row in rows]


def chunks_without_vector(
    conn: Connection, model: int, limit: int, *, without: Iterable[int] = ()
) -> list[PendingChunk]:
    rows = conn.execute(
        "select c.id, c.text from mem_observation_chunks c where c.id <> all(%s::bigint[]) and not exists"
        " (select from mem_chunk_vectors v where v.model_id = %s and v.chunk_id = c.id)"
        " order by c.id desc limit %s",
        (list(without), model, limit),
    )
    return [PendingChunk(row["id"], row["text"]) for row in rows]


def count_chunks(conn: Connection) -> int:
    row = conn.execute("select count(*) as n from mem_observation_chunks").fetchone()
    assert row is not None
    return int(row["n"])
