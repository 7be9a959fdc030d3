"""The SQL of recall: the two legs over chunks, and what a hit is shown with.

Every function takes the project and reads nothing outside of it (promise 4). Why the queries have these
shapes, with measurements: docs/decisions/0004-recall-legs-and-fusion.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from agent_memory.database import Connection

K1 = 0.9
"""BM25: how soon a word's repetition stops to count."""
B = 0.4
"""BM25: how much the words of a long chunk are discounted."""
SAMPLED_OBSERVATIONS = 500
"""Word frequencies are guessed from so many of a project's newest observations. A smaller one is counted."""
MAX_CANDIDATES = 4_000
"""Chunks that a query may score, at about 10 µs each. Words beyond still score, but bring no chunk in."""
MAX_TERMS = 48
"""Words of a query that count, the rarest first: a pasted log file is a query, too."""
_COUNTED_OBSERVATIONS = (
    5_000  # a project's size is counted up to here (1 ms), and beyond is the planner's guess
)
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
    """A stemmed word of a query, and in about how many of the project's chunks it stands."""

    lexeme: str
    chunks: float
    """0: the sample does not hold it, so it is rare."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What a query asks for, and the project that it asks."""

    terms: Sequence[Term]
    """Rarest first."""
    chunks: float
    """About how many chunks the project has."""
    words: float
    """The average length of a chunk."""


def terms(conn: Connection, words: str, *, project_id: int) -> Terms:
    """The stemmed words of a query without its stop words, and how rare each is in the project.

    Counting one common word through the index takes 2–30 ms at 100,000 chunks; the sample takes 5 ms for all.
    """
    rows = conn.execute(
        """
        with asked as materialized (
            select coalesce(array_agg(lexeme), '{}') as lexemes from unnest(to_tsvector('english', %(words)s))
        ), newest as materialized (
            select id from mem_observations where project_id = %(project)s
            order by occurred_at desc limit %(sampled)s
        ), sample as materialized (
            select c.words, ts_filter(setweight(c.tsv, 'A', asked.lexemes), '{a}') as tsv
            from newest join mem_observation_chunks c on c.observation_id = newest.id cross join asked
        ), seen as (
            select found.lexeme, count(*) as chunks
            from sample cross join unnest(sample.tsv) found group by found.lexeme
        )
        select lexeme, coalesce(seen.chunks, 0) as chunks,
            (select count(*) from newest) as sampled_observations,
            (select count(*) from sample) as sampled_chunks,
            (select avg(sample.words)::float8 from sample) as words,
            (select count(*) from (select from mem_observations where project_id = %(project)s
                                   limit %(counted)s) counted) as observations
        from asked cross join unnest(asked.lexemes) lexeme left join seen using (lexeme)
        order by chunks, length(lexeme) desc, lexeme limit %(max_terms)s
        """,
        {
            "words": words,
            "project": project_id,
            "sampled": SAMPLED_OBSERVATIONS,
            "counted": _COUNTED_OBSERVATIONS,
            "max_terms": MAX_TERMS,
        },
        prepare=False,
    ).fetchall()
    if not rows or not rows[0]["sampled_chunks"]:
        return Terms((), 0, 1)
    first = rows[0]
    observations = first["observations"]
    if observations == _COUNTED_OBSERVATIONS:
        observations = max(observations, _guessed_observations(conn, project_id))
    share = observations / first["sampled_observations"]
    found = [Term(row["lexeme"], row["chunks"] * share) for row in rows]
    return Terms(found, first["sampled_chunks"] * share, max(1.0, first["words"]))


def _guessed_observations(conn: Connection, project_id: int) -> int:
    """How many observations the planner expects a project to have: from its statistics, in 0.2 ms."""
    row = conn.execute(
        "explain (format json) select from mem_observations where project_id = %s",
        (project_id,),
        prepare=False,
    ).fetchone()
    assert row is not None
    return int(row["QUERY PLAN"][0]["Plan"]["Plan Rows"])


def bringing(terms: Terms) -> list[str]:
    """The lexemes that bring chunks in: the rarest, while the chunks that they bring stay within bounds."""
    chosen: list[str] = []
    total = 0.0
    for term in terms.terms:
        total += term.chunks
        if chosen and total > MAX_CANDIDATES:
            break
        chosen.append(term.lexeme)
    return chosen


def text_leg(
    conn: Connection, terms: Terms, *, project_id: int, limit: int, filters: Filters = EVERY
) -> list[dict[str, Any]]:
    """The chunks that share words with a query, best first by BM25.

    Columns: chunk_id, observation_id, role, occurred_at, score, lexemes and rarities (each matched lexeme and
    its inverse document frequency), asked (the sum of all the query's rarities).

    A word's frequency in a chunk is the number of its positions. `setweight` marks the query's lexemes and
    `ts_filter` leaves no others to unnest: 5 µs a chunk, where unnesting all takes 23 and `ts_rank` a word 3.
    """
    chosen = bringing(terms)
    if not chosen:
        return []
    rest = {term.lexeme: term.chunks for term in terms.terms[len(chosen) :]}
    return conn.execute(
        f"""
        with candidate as materialized (
            select c.id, c.observation_id, c.role, c.words,
                ts_filter(setweight(c.tsv, 'A', %(lexemes)s::text[]), '{{a}}') as tsv
            from mem_observation_chunks c
            where c.tsv @@ %(query)s::tsquery{filters.sql("c.observation_id")}
            order by c.id desc limit %(candidates)s
        ), found as materialized (
            select candidate.id, candidate.words, word.lexeme,
                cardinality(word.positions)::float8 as frequency
            from candidate cross join unnest(candidate.tsv) word
        ), counted as (
            select lexeme, coalesce(rest.chunks, here.chunks, 0) as chunks
            from unnest(%(lexemes)s::text[]) lexeme
            left join unnest(%(rest)s::text[], %(rest_chunks)s::float8[]) rest(lexeme, chunks) using (lexeme)
            left join (select lexeme, count(*)::float8 as chunks from found group by lexeme) here
                using (lexeme)
        ), rarity as materialized (
            select lexeme, ln(1 + (project.chunks - counted.chunks + 0.5) / (counted.chunks + 0.5)) as idf
            from counted
            cross join (select greatest(%(chunks)s::float8, max(chunks)) as chunks from counted) project
        ), scored as (
            select found.id, array_agg(lexeme) as lexemes, array_agg(rarity.idf) as rarities,
                sum(rarity.idf * found.frequency * {K1 + 1}::float8 / (found.frequency + {K1}::float8
                    * ({1 - B}::float8 + {B}::float8 * found.words / %(words)s::float8))) as score
            from found join rarity using (lexeme)
            group by found.id order by score desc, found.id desc limit %(limit)s
        )
        select scored.id as chunk_id, candidate.observation_id, candidate.role, o.occurred_at,
            scored.score, scored.lexemes, scored.rarities, (select sum(idf) from rarity) as asked
        from scored join candidate using (id) join mem_observations o on o.id = candidate.observation_id
        order by scored.score desc, scored.id desc
        """,
        {
            "query": f"'project/{project_id}' & ({' | '.join(map(_quoted, chosen))})",
            "lexemes": [term.lexeme for term in terms.terms],
            "rest": list(rest),
            "rest_chunks": list(rest.values()),
            "chunks": terms.chunks,
            "words": terms.words,
            "candidates": MAX_CANDIDATES,  # the newest, where the guesses were too low or one word is too many
            "limit": limit,
            **filters.values(),
        },
        prepare=False,  # the plan depends on how common the words are
    ).fetchall()


def _quoted(lexeme: str) -> str:
    """A lexeme as a tsquery writes it."""
    return "'" + lexeme.replace("\\", "\\\\").replace("'", "''") + "'"


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
            "also": list(also),
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
        where c.id = any(%(chunks)s) and c.project_id = %(project)s
        """,
        {"words": words, "chunks": list(chunk_ids), "project": project_id},
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
