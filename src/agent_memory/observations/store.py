"""The SQL of what is remembered: observations, their chunks, and the chunks' vectors."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from agent_memory.database import Connection
from agent_memory.errors import AgentMemoryError
from agent_memory.observations.chunks import Chunk, cut_sections
from agent_memory.observations.embed import Embedder
from agent_memory.observations.observation import Observation, Section

WAKE_CHANNEL = "agent_memory_queue"
"""Where the worker listens. Notifications arrive when their transaction commits."""
_EMBEDDING_LOCK = 0x616D_0001  # an advisory lock: who holds it embeds
_MODEL_LOCK = 0x616D_0002


@dataclass(frozen=True, slots=True)
class PendingChunk:
    id: int
    text: str


def save(conn: Connection, observations: Sequence[Observation]) -> list[int]:
    """Write observations with their chunks; their ids, in the order given.

    One with the external id of a stored one replaces it. Of its chunks those that read the same keep their row and
    their vector; the others wait for new vectors. Text search finds all of it once the caller commits.
    """
    if not observations:
        return []
    # In one order everywhere, so that two writers of the same observations do not lock each other out.
    order = sorted(range(len(observations)), key=lambda i: _key(observations[i]))
    cursor = conn.cursor()
    cursor.executemany(
        """
        insert into mem_observations as o (project_id, session_id, kind, role, title, text, occurred_at, external_id,
            supersedes, sources)
        values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s::jsonb)
        on conflict (project_id, external_id) do update set session_id = excluded.session_id, kind = excluded.kind,
            role = excluded.role, title = excluded.title, text = excluded.text, occurred_at = excluded.occurred_at,
            supersedes = excluded.supersedes, sources = excluded.sources
        returning id
        """,
        (_row(observations[i]) for i in order),
        returning=True,
    )
    ids = [0] * len(observations)
    for position, result in zip(order, cursor.results(), strict=True):
        row = result.fetchone()
        assert row is not None
        ids[position] = int(row["id"])
    # The same external id twice in one call: the last one stands.
    latest = {ids[i]: observations[i] for i in order}
    _replace_chunks(conn, latest)
    return ids


def _key(observation: Observation) -> tuple[int, str]:
    return observation.project_id, observation.external_id or ""


def _row(o: Observation) -> tuple[object, ...]:
    sources = json.dumps({name: list(ids) for name, ids in o.sources.items()})
    return (
        *(
            o.project_id,
            o.session_id,
            o.kind,
            o.role,
            o.title,
            o.text,
            o.occurred_at,
            o.external_id,
            o.supersedes,
        ),
        sources,
    )


def chunks_of(observation: Observation) -> list[Chunk]:
    sections = observation.sections or (Section(observation.text, observation.role),)
    return cut_sections(observation.title, sections, observation.occurred_at)


def _replace_chunks(conn: Connection, observations: dict[int, Observation]) -> None:
    """Make the stored chunks those of `observations`, and touch none that stays."""
    kept: dict[tuple[int, str | None, str], list[dict[str, Any]]] = {}
    for row in conn.execute(
        "select id, observation_id, ordinal, role, text from mem_observation_chunks"
        " where observation_id = any(%s) order by observation_id, ordinal for update",
        (list(observations),),
    ):
        kept.setdefault((row["observation_id"], row["role"], row["text"]), []).append(row)
    new: list[tuple[int, int, Chunk]] = []
    moved: list[tuple[int, int]] = []
    for number, observation in observations.items():
        for chunk in chunks_of(observation):
            same = kept.get((number, chunk.role, chunk.text))
            if not same:
                new.append((number, observation.project_id, chunk))
            elif (row := same.pop(0))["ordinal"] != chunk.ordinal:
                moved.append((row["id"], chunk.ordinal))
    gone = [row["id"] for rows in kept.values() for row in rows]
    if gone:
        conn.execute("delete from mem_observation_chunks where id = any(%s)", (gone,))
    if moved:
        # First out of the way: two chunks that change places would meet.
        ids, ordinals = [m[0] for m in moved], [m[1] for m in moved]
        conn.execute("update mem_observation_chunks set ordinal = -1 - ordinal where id = any(%s)", (ids,))
        conn.execute(
            "update mem_observation_chunks c set ordinal = m.ordinal"
            " from unnest(%s::bigint[], %s::integer[]) as m (id, ordinal) where c.id = m.id",
            (ids, ordinals),
        )
    if new:
        _insert_chunks(conn, new)


def _insert_chunks(conn: Connection, chunks: Sequence[tuple[int, int, Chunk]]) -> None:
    conn.execute(
        """
        with added as (
            insert into mem_observation_chunks (observation_id, project_id, ordinal, role, text, words, tsv)
            select observation_id, project_id, ordinal, role, text, length,
                to_tsvector('english', words) || array_to_tsvector(array['project/' || project_id])
            from unnest(%s::bigint[], %s::bigint[], %s::integer[], %s::text[], %s::text[], %s::integer[], %s::text[])
                as chunk (observation_id, project_id, ordinal, role, text, length, words)
            returning id
        )
        insert into mem_embedding_queue (chunk_id) select id from added
        """,
        (
            [number for number, _, _ in chunks],
            [project for _, project, _ in chunks],
            [chunk.ordinal for _, _, chunk in chunks],
            [chunk.role for _, _, chunk in chunks],
            [chunk.text for _, _, chunk in chunks],
            [len(chunk.words.split()) for _, _, chunk in chunks],
            [chunk.words for _, _, chunk in chunks],
        ),
    )
    conn.execute(f"notify {WAKE_CHANNEL}")


def get(conn: Connection, ids: Sequence[int]) -> list[dict[str, Any]]:
    """Whole observations, in the order of `ids`; those that do not exist are left out."""
    rows = conn.execute("select * from mem_observations where id = any(%s)", (list(ids),)).fetchall()
    place = {number: position for position, number in enumerate(ids)}
    return sorted(rows, key=lambda row: place[row["id"]])


def delete(conn: Connection, ids: Sequence[int]) -> int:
    """Delete observations with their chunks and vectors. How many there were."""
    return conn.execute("delete from mem_observations where id = any(%s)", (list(ids),)).rowcount


def delete_external(conn: Connection, project_id: int, external_ids: Sequence[str]) -> int:
    return conn.execute(
        "delete from mem_observations where project_id = %s and external_id = any(%s)",
        (project_id, list(external_ids)),
    ).rowcount


def untied(conn: Connection, *, after: int, limit: int) -> list[dict[str, Any]]:
    """Observations that no turn is built from (notes, and what callers posted), by id: reindex cuts them again."""
    return conn.execute(
        "select * from mem_observations where id > %s and kind not in ('turn', 'summary') order by id limit %s",
        (after, limit),
    ).fetchall()


def model_id(conn: Connection, embedder: Embedder) -> int:
    """The number of the embedder's model; registers a new one and makes its index.

    The index covers only this model's vectors, of which there are none yet, so making it takes milliseconds. It
    locks the vectors against other writers until the caller commits.

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
            "Give it another name at your endpoint, set EMBEDDING_MODEL to it, and run: agent-memory reindex",
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

    A lock on the chunks' rows would do as well, but an endpoint may take a minute to answer, and whoever rebuilds
    one of these turns would wait for it.
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


def chunks_without_vector(conn: Connection, model: int, limit: int) -> list[PendingChunk]:
    rows = conn.execute(
        "select c.id, c.text from mem_observation_chunks c where not exists"
        " (select from mem_chunk_vectors v where v.model_id = %s and v.chunk_id = c.id) order by c.id desc limit %s",
        (model, limit),
    )
    return [PendingChunk(row["id"], row["text"]) for row in rows]


def count_without_vector(conn: Connection, model: int) -> int:
    row = conn.execute(
        "select count(*) as n from mem_observation_chunks c where not exists"
        " (select from mem_chunk_vectors v where v.model_id = %s and v.chunk_id = c.id)",
        (model,),
    ).fetchone()
    assert row is not None
    return int(row["n"])
