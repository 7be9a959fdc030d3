"""The SQL of recall: the two legs over chunks, and what a hit is shown with.

Every function takes the project and reads nothing outside of it (promise 4). Why the queries have these
shapes, with measurements: docs/decisions/0004-recall-legs-and-fusion.md.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from agent_memory.database import Connection
from agent_memory.recall import bm25

MAX_TERMS = 48
"""Words of a query that count, the rarest first: a pasted log file is a query, too."""
MAX_ASKED = 200
"""Words of a query that are looked up, the first ones: each takes 3 µs in each of a project's segments."""
MAX_POSTINGS = 2_000_000
"""Entries of lists that a query may read, at about 10 ns each. Words beyond, the most common ones, still
score, but bring no chunk in."""
MAX_CANDIDATES = 1_000
"""Chunks that the words beyond may bring to the front."""
_EF_SEARCH = 200  # HNSW: as many as are asked for, in one pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """Which observations a caller wants. Bounds in time are inclusive below and exclusive above."""

    since: datetime | None = None
    until: datetime | None = None
    kinds: Sequence[str] | None = None

    def sql(self, observation: str) -> str:
        """A condition on an observation's id, given as an expression. Empty where every one is wanted."""
        wanted = [
            condition
            for value, condition in (
                (self.since, "o.occurred_at >= %(since)s"),
                (self.until, "o.occurred_at < %(until)s"),
                (self.kinds, "o.kind = any(%(kinds)s)"),
            )
            if value is not None
        ]
        if not wanted:
            return ""
        conditions = " and ".join(wanted)
        return f" and exists (select from mem_observations o where o.id = {observation} and {conditions})"

    def values(self) -> dict[str, Any]:
        kinds = None if self.kinds is None else list(self.kinds)
        return {"since": self.since, "until": self.until, "kinds": kinds}


EVERY = Filters()


@dataclass(frozen=True, slots=True)
class Term:
    """A stemmed word of a query, and in how many of the project's chunks it stands."""

    lexeme: str
    chunks: int
    idf: float
    read: bool
    """Whether its lists are read. Not where it is one of the most common, and the others have used up the limit."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What a query asks for, and what the project's index of words holds of it."""

    query: str
    """The words as they were asked for."""
    terms: Sequence[Term]
    """Rarest first."""
    average: float
    """The average length of the project's chunks, in words."""
    segments: Mapping[int, bytes]
    """Its segments by id, in order, with the lengths of their chunks."""
    lists: Mapping[str, Sequence[bm25.List]]
    """For each lexeme that is read, its list in each segment that has one, in the order of the segments."""
    fresh: Mapping[int, Mapping[str, float]]
    """The scores of chunks that are in no segment yet: for each, what each of its words adds."""


def terms(conn: Connection, words: str, *, project_id: int) -> Terms:
    """The stemmed words of a query without its stop words, how rare each is in the project, and where it
    stands. In one statement: between two a chunk may move from the queue into a segment."""
    with conn.cursor(binary=True) as cursor:
        rows = cursor.execute(
            """
            with asked as materialized (
                select lexeme collate "C" as lexeme from unnest(to_tsvector('english', %(words)s))
                order by positions[1] limit %(max_asked)s
            ), segment as materialized (
                select id, chunks, words, lengths from mem_word_segments where project_id = %(project)s
            ), waiting as materialized (
                select c.id, c.words,
                    ts_filter(setweight(c.tsv, 'A', array(select lexeme from asked)), '{a}') as tsv
                from mem_word_queue q join mem_observation_chunks c on c.id = q.chunk_id
                where q.project_id = %(project)s
            ), found as materialized (
                select waiting.id, word.lexeme collate "C" as lexeme, cardinality(word.positions) as frequency
                from waiting cross join unnest(waiting.tsv) word
            ), list as materialized (
                select list.* from segment cross join lateral (
                    select p.segment_id, p.lexeme, octet_length(p.frequencies) as chunks, p.positions,
                        p.frequencies
                    from mem_word_postings p
                    where p.segment_id = segment.id and p.lexeme = any(array(select lexeme from asked))
                    offset 0  -- by the index, whatever the statistics say
                ) list
            ), counted as (
                select lexeme, sum(chunks)::bigint as chunks
                from (select lexeme, chunks from list union all select lexeme, 1 from found
                      union all select lexeme, 0 from asked) one
                group by lexeme
                -- what the project does not know brings nothing in
                order by sum(chunks) = 0, chunks, length(lexeme) desc, lexeme limit %(max_terms)s
            ), term as materialized (
                select lexeme, chunks, sum(chunks) over rarest_first <= %(max_postings)s
                    or row_number() over rarest_first = 1 as read
                from counted window rarest_first as (order by chunks, length(lexeme) desc, lexeme)
            )
            select 1 as kind, null::bigint as id, lexeme, chunks, null::bigint as words, read,
                null::bytea as first, null::bytea as second from term
            union all select 2, id, null, chunks, words, null, lengths, null from segment
            union all select 3, id, null, 1, words, null, null, null from waiting
            union all select 4, id, lexeme, frequency, null, null, null, null from found
            union all select 5, segment_id, lexeme, list.chunks, null, null, positions, frequencies
                from list join term using (lexeme) where term.read
            """,
            {
                "words": words,
                "project": project_id,
                "max_asked": MAX_ASKED,
                "max_terms": MAX_TERMS,
                "max_postings": MAX_POSTINGS,
            },
        ).fetchall()
    kinds: dict[int, list[dict[str, Any]]] = {kind: [] for kind in range(1, 6)}
    for row in rows:
        kinds[row["kind"]].append(row)
    asked, segments, waiting, found, lists = kinds.values()
    total = sum(row["chunks"] for row in (*segments, *waiting))
    average = max(1.0, sum(row["words"] for row in (*segments, *waiting)) / max(1, total))
    known = {
        row["lexeme"]: Term(row["lexeme"], row["chunks"], bm25.rarity(row["chunks"], total), row["read"])
        for row in sorted(asked, key=lambda row: (row["chunks"], -len(row["lexeme"]), row["lexeme"]))
    }
    lengths = {row["id"]: row["first"] for row in sorted(segments, key=lambda row: row["id"])}
    number = {segment: place for place, segment in enumerate(lengths)}
    read: dict[str, list[bm25.List]] = {}
    for row in sorted(lists, key=lambda row: row["id"]):
        read.setdefault(row["lexeme"], []).append(bm25.List(number[row["id"]], row["first"], row["second"]))
    long = {row["id"]: row["words"] for row in waiting}
    fresh: dict[int, dict[str, float]] = {}
    for row in found:
        term = known.get(row["lexeme"])
        if term is not None:
            adds = bm25.weight(term.idf, row["chunks"], long[row["id"]], average)
            fresh.setdefault(row["id"], {})[term.lexeme] = adds
    return Terms(words, list(known.values()) if total else [], average, lengths, read, fresh)


def text_leg(
    conn: Connection, asked: Terms, *, project_id: int, limit: int, filters: Filters = EVERY
) -> list[dict[str, Any]]:
    """The chunks that share words with a query, best first by BM25; of equal ones the newest.

    Columns: chunk_id, observation_id, role, occurred_at, score, lexemes and rarities (each matched lexeme and
    its inverse document frequency), asked (the sum of all the query's rarities).
    """
    for _ in range(3):
        rows = _ranked(conn, asked, project_id, limit, filters)
        if rows is not None:
            return rows
        # A segment became part of a larger one after its lists were read.
        asked = terms(conn, asked.query, project_id=project_id)
    return []


def _ranked(
    conn: Connection, asked: Terms, project_id: int, limit: int, filters: Filters
) -> list[dict[str, Any]] | None:
    """The text leg, or None where a segment is not there any more."""
    scores = bm25.Scores(list(asked.segments.values()), asked.average)
    for term in asked.terms:
        if term.lexeme in asked.lists:
            scores.add(term.lexeme, term.idf, asked.lists[term.lexeme])
    unread = [term.lexeme for term in asked.terms if not term.read]
    wanted = max(limit, MAX_CANDIDATES) if unread else limit
    fresh = {chunk: sum(adds.values()) for chunk, adds in asked.fresh.items()}
    depth = wanted + wanted // 4  # some were deleted
    while True:
        places = scores.best(depth)
        waiting = heapq.nlargest(depth, fresh, key=lambda chunk: (fresh[chunk], chunk))
        rows = _standing(conn, asked, scores, places, waiting, unread, project_id, filters)
        if rows is None:
            return None
        if len(places) < depth or sum(row["number"] < len(places) for row in rows) >= wanted:
            break
        depth *= 8  # a filter leaves little
    lexemes = scores.lexemes(places) + [list(asked.fresh[chunk]) for chunk in waiting]
    points = scores.scores(places) + [fresh[chunk] for chunk in waiting]
    known = {term.lexeme: term for term in asked.terms}
    total = sum(term.idf for term in asked.terms)
    found = []
    for row in rows:
        number = row["number"]
        words, score = lexemes[number], points[number]
        if number < len(places):
            for lexeme, frequency in (row["more"] or {}).items():
                words.append(lexeme)
                score += bm25.weight(known[lexeme].idf, frequency, row["words"], asked.average)
        found.append(
            {
                **{name: row[name] for name in ("chunk_id", "observation_id", "role", "occurred_at")},
                "score": score,
                "lexemes": words,
                "rarities": [known[lexeme].idf for lexeme in words],
                "asked": total,
            }
        )
    found.sort(key=lambda row: (-row["score"], -row["chunk_id"]))
    return found[:limit]


def _standing(
    conn: Connection,
    asked: Terms,
    scores: bm25.Scores,
    places: Any,
    waiting: Sequence[int],
    unread: Sequence[str],
    project_id: int,
    filters: Filters,
) -> list[dict[str, Any]] | None:
    """Those of the chunks at `places`, and of those that are `waiting`, that stand and are wanted; `number` is
    a chunk's place in both together, `more` its frequencies of the words `unread`. None: a segment has
    gone."""
    ids = list(asked.segments)
    segments, positions = scores.segments(places)
    more = """(select jsonb_object_agg(word.lexeme, cardinality(word.positions))
        from unnest(ts_filter(setweight(c.tsv, 'A', %(unread)s::text[]), '{a}')) word)"""
    rows = conn.execute(
        f"""
        with found as (
            select mem_word_id_at(s.chunk_ids, at.position) as id, at.number
            from unnest(%(segments)s::bigint[], %(positions)s::integer[]) with ordinality at (segment, position, number)
            join mem_word_segments s on s.id = at.segment
            union all
            select at.id, %(places)s + at.number
            from unnest(%(waiting)s::bigint[]) with ordinality at (id, number)
        ), standing as (
            select found.number - 1 as number, c.id as chunk_id, c.observation_id, c.role, o.occurred_at, c.words,
                {more if unread else "null::jsonb"} as more
            from found join mem_observation_chunks c on c.id = found.id and c.project_id = %(project)s
            join mem_observations o on o.id = c.observation_id
            where true{filters.sql("c.observation_id")}
        )
        select segments.standing, standing.*
        from (select count(*) as standing from mem_word_segments where id = any(%(ids)s)) segments
        left join standing on true
        """,
        {
            "segments": _array(ids[segment] for segment in segments),
            "positions": _array(positions),
            "places": len(places),
            "waiting": _array(waiting),
            "unread": list(unread),
            "project": project_id,
            "ids": ids,
            **filters.values(),
        },
    ).fetchall()
    if rows[0]["standing"] < len(ids):
        return None
    return [row for row in rows if row["number"] is not None]


def _array(numbers: Iterable[int]) -> str:
    """Integers as Postgres writes them: psycopg takes ten times as long for each."""
    return "{" + ",".join(map(str, numbers)) + "}"


def model(conn: Connection, name: str) -> dict[str, Any] | None:
    """The id and the dimensions of an embedding model, or None where nothing is embedded with it yet."""
    return conn.execute("select id, dimensions from mem_embedding_models where name = %s", (name,)).fetchone()


def vector_leg(
    conn: Connection,
    vector: Sequence[float],
    model: dict[str, Any],
    *,
    project_id: int,
    limit: int,
    also: Sequence[int] = (),
    filters: Filters = EVERY,
) -> list[dict[str, Any]]:
    """The chunks nearest to `vector`, best first: chunk_id, observation_id, role, occurred_at, cosine.

    The chunks `also` come too, however far: what the text leg found has a cosine as well. The planner
    reads a small project whole, and walks the model's HNSW index for a large one; the iterative scan
    goes on until enough of the chunks that it met are the project's.
    """
    conn.execute(
        """
        select set_config('hnsw.ef_search', %s, true), set_config('hnsw.iterative_scan', 'strict_order', true)
        from pg_extension where extname = 'vector' and string_to_array(extversion, '.')::int[] >= '{0,8}'
        """,
        (str(_EF_SEARCH),),
    )
    # The cast and the model's id stand in the text as they do in the index's definition, or it is not used.
    dimensions, number = int(model["dimensions"]), int(model["id"])
    distance = f"v.embedding::halfvec({dimensions}) <=> %(vector)s::halfvec({dimensions})"
    owner = "(select c.observation_id from mem_observation_chunks c where c.id = v.chunk_id)"
    return conn.execute(
        f"""
        with nearest as materialized (
            select v.chunk_id, {distance} as distance from mem_chunk_vectors v
            where v.model_id = {number} and v.project_id = %(project)s{filters.sql(owner)}
            order by {distance} limit %(limit)s
        ), named as (
            select v.chunk_id, {distance} as distance from mem_chunk_vectors v
            where v.model_id = {number} and v.chunk_id = any(%(also)s::bigint[])
                and v.project_id = %(project)s
        ), met as (select * from nearest union select * from named)
        select c.id as chunk_id, c.observation_id, c.role, o.occurred_at, 1 - met.distance as cosine
        from met join mem_observation_chunks c on c.id = met.chunk_id
        join mem_observations o on o.id = c.observation_id
        order by met.distance, c.id desc
        """,
        {
            "vector": "[" + ",".join(map(repr, vector)) + "]",
            "project": project_id,
            "limit": limit,
            "also": _array(also),
            **filters.values(),
        },
        prepare=False,
    ).fetchall()


def standing(
    conn: Connection, ids: Sequence[int], *, project_id: int, at: datetime | None
) -> dict[int, list[int]]:
    """For each of these observations what holds in its place at the moment `at` (None: now): itself, or the ends of
    the chains that supersede it, the newest first. None of them: it was retracted, or what superseded it was."""
    rows = conn.execute(
        """
        with recursive chain(old, new, earlier, steps) as (
            select o.id, o.id, null::bigint, 0 from mem_observations o
            where o.id = any(%(ids)s) and o.project_id = %(project)s
            union all
            select chain.old, later.id, chain.new, chain.steps + 1 from chain join mem_observations later
                on later.supersedes = chain.new and later.project_id = %(project)s
            where chain.steps < 100  -- two that supersede each other
                and coalesce(later.valid_from, case when %(past)s then later.occurred_at end, '-infinity') <= %(at)s
        )
        select distinct chain.old, o.id as new, o.occurred_at,
            coalesce(o.valid_until > %(at)s, true) and coalesce(o.valid_from <= %(at)s, true) as holds
        from chain join mem_observations o on o.id = chain.new
        where not exists (select from chain next where next.old = chain.old and next.earlier = chain.new)
        order by chain.old, o.occurred_at desc, o.id desc
        """,
        {
            "ids": list(ids),
            "project": project_id,
            "past": at is not None,
            "at": at or datetime.now(UTC),
        },
    ).fetchall()
    found: dict[int, list[int]] = {}
    for row in rows:
        found.setdefault(row["old"], []).extend([row["new"]] if row["holds"] else [])
    return {number: found.get(number, [number]) for number in ids}


_HELD = """
    o.valid_from, o.retracted_because, later.id as superseded_by, least(o.valid_until, later.since) as held_until
"""
_LATER = """
    left join lateral (
        select max(l.id) as id, min(coalesce(l.valid_from, l.occurred_at)) as since
        from mem_observations l where l.supersedes = o.id and l.project_id = o.project_id
    ) later on true
"""


def observations(conn: Connection, ids: Sequence[int], *, project_id: int) -> list[dict[str, Any]]:
    """The project's own among `ids`, whole, in order of time; `superseded_by` is what replaced one, `held_until` when
    it ceased to hold."""
    return conn.execute(
        f"""
        select o.id, o.kind, o.role, o.title, o.text, o.occurred_at, o.session_id, o.external_id, o.sources,
            o.supersedes, {_HELD}
        from mem_observations o {_LATER}
        where o.id = any(%s) and o.project_id = %s order by o.occurred_at, o.id
        """,
        (list(ids), project_id),
    ).fetchall()


def chunks(
    conn: Connection, ids: Sequence[int], first_of: Sequence[int], *, project_id: int
) -> list[dict[str, Any]]:
    """id, observation_id and text of the chunks `ids`, and of the first chunks of `first_of`."""
    return conn.execute(
        """
        select id, observation_id, text from mem_observation_chunks
        where project_id = %(project)s and id = any(%(ids)s)
        union
        select id, observation_id, text from mem_observation_chunks
        where project_id = %(project)s and observation_id = any(%(first_of)s) and ordinal = 0
        """,
        {"project": project_id, "ids": list(ids), "first_of": list(first_of)},
    ).fetchall()


def around(
    conn: Connection,
    at: datetime | None,
    *,
    project_id: int,
    id_at: int = 0,
    before: int,
    after: int,
    kinds: Sequence[str] | None = None,
) -> list[dict[str, Any]]:
    """What happened about the moment `at` (None: the end of time), in order of time.

    Up to `before` observations that are older than `(at, id_at)`, and up to `after` from it on.
    """
    columns = f"o.id, o.kind, o.title, o.text, o.occurred_at, o.session_id, {_HELD}"
    moment = "(coalesce(%(at)s, 'infinity'::timestamptz), %(id)s::bigint)"
    ours = "o.project_id = %(project)s" + ("" if kinds is None else " and o.kind = any(%(kinds)s)")
    return conn.execute(
        f"""
        select * from (
            (select {columns} from mem_observations o {_LATER} where {ours} and (o.occurred_at, o.id) < {moment}
             order by o.occurred_at desc, o.id desc limit %(before)s)
            union all
            (select {columns} from mem_observations o {_LATER} where {ours} and (o.occurred_at, o.id) >= {moment}
             order by o.occurred_at, o.id limit %(after)s)
        ) met order by occurred_at, id
        """,
        {
            "project": project_id,
            "at": at,
            "id": id_at,
            "before": before,
            "after": after,
            "kinds": None if kinds is None else list(kinds),
        },
    ).fetchall()


def positions(
    conn: Connection, words: str, chunk_ids: Sequence[int], *, project_id: int
) -> tuple[list[str], dict[int, dict[str, list[int]]]]:
    """The stemmed words of a query in order, and for each of the chunks where they stand in it.

    2 ms for 200 chunks.
    """
    rows = conn.execute(
        """
        with asked as materialized (select * from unnest(to_tsvector('english', %(words)s)))
        select 0 as chunk, lexeme, positions from asked
        union all
        select c.id, word.lexeme, word.positions from mem_observation_chunks c cross join lateral
            unnest(ts_filter(setweight(c.tsv, 'A', (select array_agg(lexeme) from asked)), '{a}')) word
        where c.id = any(%(chunks)s::bigint[]) and c.project_id = %(project)s
        """,
        {"words": words, "chunks": _array(chunk_ids), "project": project_id},
    ).fetchall()
    found: dict[int, dict[str, list[int]]] = {}
    for row in rows:
        found.setdefault(row["chunk"], {})[row["lexeme"]] = row["positions"]
    asked = found.pop(0, {})
    order = sorted((position, lexeme) for lexeme, standing in asked.items() for position in standing)
    return [lexeme for _, lexeme in order], found


def places(conn: Connection, ids: Sequence[int], *, project_id: int) -> dict[int, tuple[str, int]]:
    """For each observation that is part of a session, the session and its place in it, in order of time."""
    rows = conn.execute(
        """
        with met as (
            select distinct session_id from mem_observations
            where id = any(%(ids)s) and project_id = %(project)s and session_id is not null
        ), placed as (
            select o.id, o.session_id,
                row_number() over (partition by o.session_id order by o.occurred_at, o.id) as place
            from met join mem_observations o using (session_id)
        )
        select * from placed where id = any(%(ids)s)
        """,
        {"ids": list(ids), "project": project_id},
    )
    return {row["id"]: (row["session_id"], row["place"]) for row in rows}
