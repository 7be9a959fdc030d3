"""The SQL that keeps the index of words: chunks that wait become a segment of posting lists, small segments a
larger one.

As with the segments of a search engine: what is written waits in a queue, from which recall reads it as it is;
250 waiting chunks of a project become a segment, eight such segments one of 2,000, and so on up to 16,000. So a
chunk is indexed three times in its life, at about 0.1 ms, and a query meets few lists. Why not a GIN index:
docs/decisions/0012-an-index-of-words.md. What was deleted is not found from its commit on, and its words leave
the lists when its segment is made anew: within a minute.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agent_memory.database import Connection

WAITING = 250
"""Chunks of a project that may wait: reading one for a query takes 10 µs."""
SMALL = 8 * WAITING
FULL = 16_000
"""Chunks after which a segment is left as it is. A place in a segment has two bytes, signed, and a segment
may come out with nearly twice as many."""
GONE_S = 60
"""Seconds that words of deleted chunks may stay in the lists. A turn that is still going on loses a chunk with
nearly every event."""
_LOCK = 1634533379  # with a project's number: who holds it changes its segments


@dataclass(frozen=True, slots=True)
class Segment:
    id: int
    chunks: int


def fold(conn: Connection) -> int | None:
    """Make a segment of what waits in one project, where it is enough, and return that project. None: there
    is nothing to do."""
    row = conn.execute(
        "select project_id from mem_word_queue group by project_id having count(*) >= %s"
        " order by count(*) desc limit 1",
        (WAITING,),
    ).fetchone()
    if row is None:
        return None
    project = int(row["project_id"])
    if not _locked(conn, project):
        return None  # another machine's worker is at it
    chunks = [
        row["chunk_id"]
        for row in conn.execute(
            "select chunk_id from mem_word_queue where project_id = %s order by chunk_id limit %s",
            (project, FULL),
        )
    ]
    if len(chunks) < WAITING:
        return None  # it was at it until just now
    _write(conn, project, chunks)
    conn.execute("delete from mem_word_queue where chunk_id = any(%s)", (chunks,))
    return project


def merge(conn: Connection, project: int) -> bool:
    """Make one segment of several, where a project has too many. False: it has not, or another worker is at it."""
    if not _locked(conn, project):
        return False
    segments = [
        Segment(row["id"], row["chunks"])
        for row in conn.execute(
            "select id, chunks from mem_word_segments where project_id = %s order by id", (project,)
        )
    ]
    old = too_small(segments)
    if not old:
        return False
    _replace(conn, project, [segment.id for segment in old])
    return True


def purge(conn: Connection, *, project: int | None = None) -> bool:
    """Take deleted chunks out of the lists of a project: of that where some have waited for long, or of
    `project` whatever they waited. False: there was nothing to do."""
    if project is None:
        row = conn.execute(
            "select project_id from mem_word_gone where gone_at < now() - make_interval(secs => %s)"
            " order by gone_at limit 1",
            (GONE_S,),
        ).fetchone()
        if row is None:
            return False
        project = int(row["project_id"])
        if not _locked(conn, project):
            return False
    else:
        _lock(conn, project)
    gone = [
        row["chunk_id"]
        for row in conn.execute("select chunk_id from mem_word_gone where project_id = %s", (project,))
    ]
    if not gone:
        return False
    holding = conn.execute(
        """
        select s.id from mem_word_segments s where s.project_id = %(project)s
            and exists (select from unnest(%(gone)s::bigint[]) id where id between s.first_chunk and s.last_chunk)
            and exists (select from generate_series(0, s.chunks - 1) place
                        where mem_word_id_at(s.chunk_ids, place) = any(%(gone)s::bigint[]))
        """,
        {"project": project, "gone": gone},
    ).fetchall()
    for segment in holding:
        _replace(conn, project, [segment["id"]])
    conn.execute("delete from mem_word_gone where chunk_id = any(%s)", (gone,))
    return True


def _replace(conn: Connection, project: int, segments: Sequence[int]) -> None:
    """Make one segment of several, without the chunks that were deleted."""
    chunks = conn.execute(
        "select mem_word_id_at(s.chunk_ids, place) as id from mem_word_segments s"
        " cross join generate_series(0, s.chunks - 1) place where s.id = any(%s)",
        (list(segments),),
    ).fetchall()
    _write(conn, project, [row["id"] for row in chunks])
    conn.execute("delete from mem_word_postings where segment_id = any(%s)", (list(segments),))
    conn.execute("delete from mem_word_segments where id = any(%s)", (list(segments),))


def too_small(segments: Sequence[Segment]) -> Sequence[Segment]:
    """The segments of a project, given the oldest first, that should be one. Pure."""
    smallest = [segment for segment in segments if segment.chunks < SMALL]
    if len(smallest) >= SMALL // WAITING:
        return smallest
    chosen: list[Segment] = []
    for segment in segments:
        if SMALL <= segment.chunks < FULL:
            chosen.append(segment)
            if sum(one.chunks for one in chosen) >= FULL:
                return chosen
    return []


def _lock(conn: Connection, project: int) -> None:
    conn.execute("select pg_advisory_xact_lock(%s, %s::integer)", (_LOCK, project))


def _locked(conn: Connection, project: int) -> bool:
    """Like `_lock`, where nobody holds it; False where somebody does."""
    row = conn.execute(
        "select pg_try_advisory_xact_lock(%s, %s::integer) as mine", (_LOCK, project)
    ).fetchone()
    return row is not None and bool(row["mine"])


def _write(conn: Connection, project: int, chunks: Sequence[int]) -> None:
    """Make a segment of those `chunks` that still exist."""
    conn.execute(
        """
        with chunk as materialized (
            select row_number() over (order by id) - 1 as place, id, words, tsv
            from mem_observation_chunks where id = any(%(chunks)s)
        ), segment as (
            insert into mem_word_segments (project_id, chunks, words, first_chunk, last_chunk, chunk_ids, lengths)
            select %(project)s, count(*), sum(words), min(id), max(id), string_agg(int8send(id), '' order by id),
                string_agg(int2send(least(words, 32767)::int2), '' order by id)
            from chunk having count(*) > 0 returning id
        ), word as (
            select lexeme collate "C" as lexeme, int2send(place::int2) as place,
                substring(int2send(least(cardinality(positions), 255)::int2) from 2) as frequency
            from chunk cross join unnest(tsv)
            where not starts_with(lexeme, 'project/')
        )
        insert into mem_word_postings (segment_id, lexeme, positions, frequencies)
        select segment.id, list.* from segment cross join (
            select lexeme, string_agg(place, '' order by place),
                string_agg(frequency, '' order by place)
            from word group by lexeme
        ) list
        """,
        {"project": project, "chunks": list(chunks)},
    )
