"""Recall: a question to what this project remembers of it. The read path of MCP, REST and the command line.

The text leg and the vector leg each find chunks; fusion ranks their observations; the rule of relevance says
whether the best of them answer at all; the budget says how much of each is shown.
"""

from __future__ import annotations

import queue
import re
import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from agent_memory.database import Connection
from agent_memory.observations.words import indexable
from agent_memory.recall import budget, fusion, proximity, relevance, render, store
from agent_memory.recall.answer import Answer, Entry, Full, Held, Hit, Index
from agent_memory.recall.fusion import Ranked
from agent_memory.recall.store import Filters

if TYPE_CHECKING:
    from agent_memory.observations.embed import Embedder

MAX_HITS = 50
DEPTH = 200
"""Chunks that each leg gives to the fusion."""
EMBEDDING_SECONDS = 5.0
"""How long recall waits for the query's vector. An endpoint may be loading its model, or hang."""
QUERY_CHARS = 10_000
"""Of a longer query only the beginning counts."""
_BEGINNING_CHARS = 900  # as much as a chunk holds
LINE_TOKENS = 75
"""What a line of an index may cost the agent that reads it, as guessed: with a real tokenizer it stays within 80."""
_SNIPPET_CHARS = 120
_TITLE_CHARS = 80
_TITLE_TOKENS = 30


@dataclass(frozen=True, slots=True)
class _Found:
    """What both legs say of a query."""

    ranked: Sequence[Ranked]
    legs: Sequence[str]
    notice: str | None
    abstained: bool
    model: str | None = None
    """Which model made the vectors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Certain(Answer):
    certainties: Mapping[int, float]
    """How surely each hit answers, by its id: see `relevance.certainty`."""


def recall(
    conn: Connection,
    query: str,
    *,
    project_id: int,
    embedder: Embedder | None = None,
    k: int = 5,
    budget_chars: int = 6_000,
    since: datetime | None = None,
    until: datetime | None = None,
    kinds: Sequence[str] | None = None,
) -> Answer:
    """The up to `k` observations of a project that answer `query`, best first.

    `render.answer` makes at most `budget_chars` characters of it. `since` (inclusive) and `until`
    (exclusive) bound when an observation occurred. Only what holds is given, at `until` where that is past, else
    now: what was retracted is not, and what superseded another takes its place. Without an embedder, or where
    it fails, the text leg answers alone and the notice says so. Nothing relevant gives no hits and
    `abstained`. Any text is a query; one without words gets no hits.
    """
    filters = Filters(since=since, until=until, kinds=kinds)
    found = _find(conn, query, project_id, embedder, filters)
    if found.abstained:
        return Answer(abstained=True, legs=found.legs, notice=found.notice)
    current = _current(conn, found.ranked, project_id, limit=max(1, min(k, MAX_HITS)), at=_past(until))
    if not current:
        return Answer(abstained=True, legs=found.legs, notice=_no_longer(found))
    hits = _full_enough(conn, current, project_id, budget_chars - render.frame(found.notice))
    notice = found.notice
    if current and not hits:
        notice = f"A budget of {budget_chars} characters is too small for a hit."
    return Answer(hits=hits, legs=found.legs, notice=notice)


def certain(
    conn: Connection,
    query: str,
    *,
    project_id: int,
    embedder: Embedder | None,
    enough: float,
    but_session: str,
    but: Collection[int],
    k: int,
    budget_chars: int,
    seconds: float,
) -> Certain:
    """Like `recall`, for a question that nobody asked: only hits whose certainty is `enough` or more, none of the
    session `but_session`, none of the observations `but`. Without the query's vector in time there are no hits, and
    the notice says why."""
    found = _find(conn, query, project_id, embedder, Filters(), seconds=seconds)
    sure: dict[int, float] = {}
    for one in found.ranked:
        certainty = relevance.certainty(one, found.model)
        if certainty is not None and certainty >= enough:
            sure[one.observation_id] = certainty
    chosen = [one for one in found.ranked if one.observation_id in sure]
    chosen.sort(key=lambda one: sure[one.observation_id], reverse=True)
    current = [
        one
        for one in _current(conn, chosen[:MAX_HITS], project_id, limit=MAX_HITS, at=None)
        if one.row["session_id"] != but_session and one.row["id"] not in but
    ]
    hits = _full_enough(conn, current[:k], project_id, budget_chars - render.frame(None))
    certainties = {one.row["id"]: sure[one.ranked.observation_id] for one in current}
    notice = None if "vector" in found.legs else found.notice
    return Certain(hits=hits, abstained=not hits, legs=found.legs, notice=notice, certainties=certainties)


def search(
    conn: Connection,
    query: str,
    *,
    project_id: int,
    embedder: Embedder | None = None,
    limit: int = 20,
    since: datetime | None = None,
    until: datetime | None = None,
    kinds: Sequence[str] | None = None,
) -> Index:
    """Like `recall`, with a line of at most 80 tokens in place of each text. What no longer holds without anything in
    its place is listed, and marked."""
    found = _find(conn, query, project_id, embedder, Filters(since=since, until=until, kinds=kinds))
    if found.abstained:
        return Index(abstained=True, legs=found.legs, notice=found.notice)
    bound, at = max(1, min(limit, MAX_HITS)), _past(until)
    current = _current(conn, found.ranked, project_id, limit=bound, at=at, also_retracted=True)
    passages = _passages(conn, current, project_id)
    entries = [
        _entry(
            one.row,
            passages[one.row["id"]][0],
            words=one.ranked.legs.get("text", {}).get("words", ()),
            score=one.ranked.score,
        )
        for one in current
    ]
    return Index(entries=entries, legs=found.legs, notice=found.notice)


def timeline(
    conn: Connection,
    *,
    project_id: int,
    around: int | datetime | None = None,
    before: int = 10,
    after: int = 10,
    kinds: Sequence[str] | None = None,
) -> list[Entry]:
    """What happened in a project, the oldest first: up to `before` and `after` observations on either
    side of one (its id) or of a moment. None: the latest `before`. An id of another project gives
    nothing."""
    before, after = (max(0, min(count, MAX_HITS)) for count in (before, after))
    id_at = 0
    at: datetime | None
    if isinstance(around, int):
        anchor = store.observations(conn, [around], project_id=project_id)
        if not anchor:
            return []
        at, id_at, after = anchor[0]["occurred_at"], around, after + 1
    else:
        at = around
    rows = store.around(conn, at, project_id=project_id, id_at=id_at, before=before, after=after, kinds=kinds)
    return [_entry(row, row["text"]) for row in rows]


def get(conn: Connection, *, project_id: int, ids: Sequence[int]) -> list[Full]:
    """The project's own among the observations `ids`, whole, the oldest first."""
    rows = store.observations(conn, [number for number in ids if 0 < number < 2**63], project_id=project_id)
    return [
        Full(
            **{
                name: row[name]
                for name in (
                    *(
                        "id",
                        "kind",
                        "role",
                        "title",
                        "text",
                        "occurred_at",
                        "session_id",
                        "external_id",
                        "sources",
                    ),
                    *("supersedes", "superseded_by"),
                )
            },
            held=_held(row),
        )
        for row in rows
    ]


def _find(
    conn: Connection,
    query: str,
    project_id: int,
    embedder: Embedder | None,
    filters: Filters,
    *,
    seconds: float = EMBEDDING_SECONDS,
) -> _Found:
    # Postgres takes neither NUL nor lone surrogates.
    query = query[:QUERY_CHARS].replace("\0", " ").encode("utf-8", "replace").decode()
    words = indexable(query)
    if not words:
        return _Found((), (), "The query has no words to look for.", abstained=True)
    embedding = _Embedding(embedder, query) if embedder else None
    asked = store.terms(conn, words, project_id=project_id)
    text = store.text_leg(conn, asked, project_id=project_id, limit=DEPTH, filters=filters)
    vector, notice = _near(conn, embedding, text, project_id, filters, seconds)
    nearness = _nearness(conn, words, text, project_id)
    ranked = fusion.fuse(text, vector, nearness)
    places = store.places(conn, [one.observation_id for one in ranked], project_id=project_id)
    ranked = fusion.with_neighbours(ranked, places)
    legs = ["text", "vector"] if vector else ["text"]
    model = embedding.model if embedding else None
    answered = relevance.relevant(ranked, model)
    shown = relevance.speaking(ranked, places, model)
    return _Found(shown, legs, notice, abstained=not answered, model=model)


def _near(
    conn: Connection,
    embedding: _Embedding | None,
    text: Sequence[Mapping[str, Any]],
    project_id: int,
    filters: Filters,
    seconds: float,
) -> tuple[list[dict[str, Any]], str | None]:
    """The vector leg, or nothing and why."""
    if embedding is None:
        return [], "Searched by words alone: no embedding model is loaded."
    vector, problem = embedding.result(seconds)
    if vector is None:
        return [], f"Searched by words alone: {problem}"
    model = store.model(conn, embedding.model)
    if model is None:
        return [], "Searched by words alone: nothing has been embedded yet."
    if model["dimensions"] != len(vector):
        return [], (
            f"Searched by words alone: {embedding.model} gives {len(vector)} dimensions, the stored vectors"
            f" have {model['dimensions']}; run agent-memory reindex."
        )
    near = store.vector_leg(
        conn,
        vector,
        model,
        project_id=project_id,
        limit=DEPTH,
        also=[row["chunk_id"] for row in text],
        filters=filters,
    )
    return near, None


def _nearness(
    conn: Connection, words: str, text: Sequence[Mapping[str, Any]], project_id: int
) -> dict[int, float]:
    """How near to each other the query's words stand, for the chunks of the text leg that hold two of them."""
    several = [row["chunk_id"] for row in text if len(row["lexemes"]) > 1]
    if not several:
        return {}
    query, positions = store.positions(conn, words, several, project_id=project_id)
    return proximity.nearness(query, text, positions)


class _Embedding:
    """A query's vector, made in a thread while the text leg runs."""

    def __init__(self, embedder: Embedder, query: str) -> None:
        self._made: queue.Queue[tuple[str, list[float] | None, str]] = queue.Queue(maxsize=1)
        self.model = ""
        threading.Thread(target=self._make, args=(embedder, query), daemon=True).start()

    def _make(self, embedder: Embedder, query: str) -> None:
        try:
            self._made.put((embedder.name, embedder.embed([query], query=True)[0], ""))
        except Exception as error:  # whatever is wrong with the vectors, the words still answer
            self._made.put(("", None, str(error) or type(error).__name__))

    def result(self, seconds: float) -> tuple[list[float] | None, str]:
        """The vector, or None and what is wrong."""
        try:
            self.model, vector, problem = self._made.get(timeout=seconds)
        except queue.Empty:
            return None, f"the embedding model did not answer within {seconds:g} seconds."
        return vector, problem


@dataclass(frozen=True, slots=True)
class _Current:
    """A ranked observation that holds now, with its row."""

    ranked: Ranked
    row: dict[str, Any]
    instead_of: int | None


def _current(
    conn: Connection,
    ranked: Sequence[Ranked],
    project_id: int,
    *,
    limit: int,
    at: datetime | None,
    also_retracted: bool = False,
) -> list[_Current]:
    """The first `limit` of the ranked, those that were superseded replaced by what holds at the moment `at`."""
    ids = [one.observation_id for one in ranked]
    standing = store.standing(conn, ids, project_id=project_id, at=at)
    chosen: dict[int, tuple[Ranked, int | None]] = {}
    for one in ranked:
        found = one.observation_id
        for now in standing[found] or ([found] if also_retracted else []):
            if len(chosen) < limit:
                chosen.setdefault(now, (one, found if now != found else None))
    rows = {row["id"]: row for row in store.observations(conn, list(chosen), project_id=project_id)}
    return [_Current(one, rows[now], instead_of) for now, (one, instead_of) in chosen.items() if now in rows]


def _past(until: datetime | None) -> datetime | None:
    """The moment that a question about the past asks about. None: it asks about now."""
    return until if until is not None and until < datetime.now(UTC) else None


def _no_longer(found: _Found) -> str:
    numbers = ", ".join(f"#{one.observation_id}" for one in found.ranked[:3])
    said = f"What was found no longer holds ({numbers}); search lists it, get_observations tells it."
    return f"{found.notice} {said}" if found.notice else said


def _held(row: Mapping[str, Any]) -> Held:
    return Held(
        since=row["valid_from"],
        until=row["held_until"],
        superseded_by=row["superseded_by"],
        because=row["retracted_because"],
    )


def _passages(conn: Connection, current: Sequence[_Current], project_id: int) -> dict[int, list[str]]:
    """For each observation the passages that were found, best first; for a successor its beginning."""
    ids = [chunk for one in current if one.instead_of is None for chunk in one.ranked.chunks]
    replaced = [one.row["id"] for one in current if one.instead_of is not None]
    rows = store.chunks(conn, ids, replaced, project_id=project_id)
    bodies = {row["id"]: _body(row["text"]) for row in rows}
    owners = {row["observation_id"]: row["id"] for row in rows}
    passages = {}
    for one in current:
        chunks = one.ranked.chunks if one.instead_of is None else [owners.get(one.row["id"], 0)]
        # A chunk that is a title alone stands for the text's beginning.
        beginning = one.row["text"][:_BEGINNING_CHARS].rstrip()
        passages[one.row["id"]] = [bodies.get(chunk) or beginning for chunk in chunks]
    return passages


def _body(chunk: str) -> str:
    """A chunk without its first line, which tells date and title."""
    return chunk.partition("\n")[2]


def _full_enough(conn: Connection, current: Sequence[_Current], project_id: int, chars: int) -> list[Hit]:
    """The hits that fit into `chars` characters, heading and all."""
    passages = _passages(conn, current, project_id)
    hits = [
        Hit(
            id=one.row["id"],
            kind=one.row["kind"],
            title=one.row["title"],
            text=one.row["text"],
            occurred_at=one.row["occurred_at"],
            score=one.ranked.score,
            session_id=one.row["session_id"],
            external_id=one.row["external_id"],
            sources=one.row["sources"],
            legs=one.ranked.legs,
            instead_of=one.instead_of,
            held=_held(one.row),
        )
        for one in current
    ]
    needs = [
        (
            render.overhead(hit),
            min(len(hit.text), len(passages[hit.id][0]) + budget.MARKS),
            len(hit.text),
        )
        for hit in hits
    ]
    return [
        replace(hit, text=budget.excerpt(hit.text, passages[hit.id], chars))
        for hit, chars in zip(hits, budget.allot(needs, chars), strict=False)
    ]


def _entry(
    row: Mapping[str, Any], passage: str, *, words: Sequence[str] = (), score: float | None = None
) -> Entry:
    title = budget.cut(" ".join(row["title"].split()), _TITLE_CHARS)
    entry = Entry(
        id=row["id"],
        kind=row["kind"],
        title=budget.within(title, _TITLE_TOKENS),
        snippet="",
        occurred_at=row["occurred_at"],
        session_id=row["session_id"],
        score=score,
        held=_held(row),
    )
    left = LINE_TOKENS - budget.tokens(render.line(entry))
    return replace(entry, snippet=budget.within(_snippet(passage or row["text"], words), left))


def _snippet(passage: str, words: Sequence[str]) -> str:
    """One line of a passage, from shortly before the first of the stemmed `words` on."""
    flat = " ".join(passage.split())
    first = min(
        (
            met.start()
            for word in words
            if (met := re.search((r"\b" if word.isascii() else "") + re.escape(word), flat, re.IGNORECASE))
        ),
        default=0,
    )
    if first + len(flat[first:]) <= _SNIPPET_CHARS or first < _SNIPPET_CHARS // 2:
        return budget.cut(flat, _SNIPPET_CHARS)
    start = flat.rfind(" ", 0, max(0, first - _SNIPPET_CHARS // 4)) + 1
    return budget.GAP + budget.cut(flat[start:], _SNIPPET_CHARS - len(budget.GAP))
