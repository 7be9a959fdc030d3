"""The SQL of what is remembered: the journal's rows that it is made from, observations, and their chunks."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from agent_memory.database import Connection, count
from agent_memory.observations import calls
from agent_memory.observations.calls import Call, Tally
from agent_memory.observations.chunks import Chunk, cut_sections
from agent_memory.observations.observation import Observation, Section
from agent_memory.observations.turns import READ_CHARS, Message, Prompt, Turn

# The project is a lexeme of its own, so that one index serves word and project.
_TSV = "to_tsvector('english', new.words) || array_to_tsvector(array['project/' || project_id])"

# Of a call's input `i`, by the keys of Claude Code and of its kin: what they mean is the same everywhere.
COMMAND = "coalesce(i ->> 'command', i ->> 'cmd')"
PATH = "coalesce(i ->> 'file_path', i ->> 'filePath', i ->> 'absolute_path', i ->> 'notebook_path', i ->> 'path')"
BOTH_ENDS = "left(said, 3000) || right(substr(said, 3001), 2000)"
"""Of what a call said, where the error stands."""

WAKE_CHANNEL = "agent_memory_queue"
"""Where the worker listens. Notifications arrive when their transaction commits."""


def save(conn: Connection, observations: Sequence[Observation], *, index_again: bool = False) -> list[int]:
    """Write observations with their chunks; their ids, in the order given.

    One with the external id of a stored one replaces it. Of its chunks those that read the same keep their
    row and their vector; the others wait for new vectors. Text search finds all of it once the caller
    commits. What was said of when the stored one holds stays, where the new one says nothing of it.
    """
    if not observations:
        return []
    # In one order everywhere, so that two writers of the same observations do not lock each other out.
    order = sorted(range(len(observations)), key=lambda i: _key(observations[i]))
    cursor = conn.cursor()
    cursor.executemany(
        """
        insert into mem_observations as o (project_id, session_id, kind, role, title, text, occurred_at,
            external_id, supersedes, valid_from, valid_until, sources)
        values (%s, (select id from mem_sessions where id = %s), %s, %s, %s, %s, %s, %s, %s, %s, %s, %s::jsonb)
        on conflict (project_id, external_id) do update set session_id = excluded.session_id,
            kind = excluded.kind, role = excluded.role, title = excluded.title, text = excluded.text,
            occurred_at = excluded.occurred_at, sources = excluded.sources,
            supersedes = coalesce(excluded.supersedes, o.supersedes),
            valid_from = coalesce(excluded.valid_from, o.valid_from),
            valid_until = coalesce(excluded.valid_until, o.valid_until)
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
    _replace_chunks(conn, latest, index_again=index_again)
    return ids


def _key(observation: Observation) -> tuple[int, str]:
    return observation.project_id, observation.external_id or ""


def _row(o: Observation) -> tuple[object, ...]:
    sources = json.dumps({name: list(ids) for name, ids in o.sources.items()})
    place = (o.project_id, o.session_id)
    said = (o.kind, o.role, o.title, o.text, o.occurred_at)
    return (*place, *said, o.external_id, o.supersedes, o.valid_from, o.valid_until, sources)


def chunks_of(observation: Observation) -> list[Chunk]:
    sections = observation.sections or (Section(observation.text, observation.role),)
    return cut_sections(observation.title, sections, observation.occurred_at)


def _replace_chunks(conn: Connection, observations: dict[int, Observation], *, index_again: bool) -> None:
    """Make the stored chunks those of `observations`, and touch none that stays."""
    kept: dict[tuple[int, str | None, str], list[dict[str, Any]]] = {}
    for row in conn.execute(
        "select id, observation_id, ordinal, role, text from mem_observation_chunks"
        " where observation_id = any(%s) order by observation_id, ordinal",
        (list(observations),),
    ):
        kept.setdefault((row["observation_id"], row["role"], row["text"]), []).append(row)
    new: list[tuple[int, int, Chunk]] = []
    stay: dict[int, tuple[int, int, Chunk]] = {}
    moved: list[tuple[int, int]] = []
    for number, observation in observations.items():
        for chunk in chunks_of(observation):
            same = kept.get((number, chunk.role, chunk.text))
            if not same:
                new.append((number, observation.project_id, chunk))
                continue
            row = same.pop(0)
            stay[row["id"]] = (number, observation.project_id, chunk)
            if row["ordinal"] != chunk.ordinal:
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
    if index_again and stay:
        _index_again(conn, stay)
    if new:
        _insert_chunks(conn, new)


def _insert_chunks(conn: Connection, chunks: Sequence[tuple[int, int, Chunk]]) -> None:
    conn.execute(
        f"""
        with added as (
            insert into mem_observation_chunks (observation_id, project_id, ordinal, role, text, words, tsv)
            select observation_id, project_id, ordinal, role, text, length, {_TSV}
            from unnest(%s::bigint[], %s::bigint[], %s::integer[], %s::text[], %s::text[], %s::integer[],
                %s::text[]) as new (observation_id, project_id, ordinal, role, text, length, words)
            returning id, project_id
        ), waiting as (
            insert into mem_word_queue (chunk_id, project_id) select id, project_id from added
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


def _index_again(conn: Connection, chunks: dict[int, tuple[int, int, Chunk]]) -> None:
    """Give stored chunks, by id, the words that they have now. One that had others before becomes a new chunk
    with the old one's vectors: the index of words relies on that a chunk's words never change."""
    rows = conn.execute(
        "select c.id from unnest(%s::bigint[], %s::integer[], %s::text[]) as new (id, length, words)"
        f" join mem_observation_chunks c using (id) where c.words <> new.length or c.tsv <> {_TSV}",
        (
            list(chunks),
            [len(chunk.words.split()) for _, _, chunk in chunks.values()],
            [chunk.words for _, _, chunk in chunks.values()],
        ),
    )
    old = [row["id"] for row in rows]
    if not old:
        return
    conn.execute("update mem_observation_chunks set ordinal = -1 - ordinal where id = any(%s)", (old,))
    _insert_chunks(conn, [chunks[number] for number in old])
    conn.execute(
        """
        with taken as (
            update mem_chunk_vectors v set chunk_id = new.id
            from mem_observation_chunks old join mem_observation_chunks new
                on new.observation_id = old.observation_id and new.ordinal = -1 - old.ordinal
            where old.id = any(%s) and v.chunk_id = old.id returning v.chunk_id
        )
        delete from mem_embedding_queue q using taken where q.chunk_id = taken.chunk_id
        """,
        (old,),
    )
    conn.execute("delete from mem_observation_chunks where id = any(%s)", (old,))


def move(
    conn: Connection, target: int, *, project: int | None = None, sessions: Sequence[str] = ()
) -> dict[str, int]:
    """Give observations to another project, with their chunks and vectors: all of a project, or those of `sessions`.
    How many `observations`, `chunks` and `vectors`, and how many observations were there twice (`same`).

    Where both projects have an observation of one external id, those that read the same become one; of others the
    later one keeps the id.
    """
    chosen = {"target": target, "project": project, "sessions": list(sessions)}
    mine = """o.project_id <> %(target)s
        and (o.project_id = %(project)s::bigint or o.session_id = any(%(sessions)s::text[]))"""
    twice = f"""select o.id as moving, there.id as staying, o.occurred_at > there.occurred_at as later,
            (o.title, o.text) = (there.title, there.text) as same
        from mem_observations o join mem_observations there
            on there.project_id = %(target)s and there.external_id = o.external_id where {mine}"""
    conn.execute(
        f"update mem_observations o set supersedes = twice.staying from ({twice}) twice"
        " where o.supersedes = twice.moving and twice.same and o.id <> twice.staying",
        chosen,
    )
    same = conn.execute(
        f"delete from mem_observations o using ({twice}) twice where o.id = twice.moving and twice.same",
        chosen,
    ).rowcount
    conn.execute(
        f"update mem_observations o set external_id = null from ({twice}) twice"
        " where o.id = case when twice.later then twice.staying else twice.moving end",
        chosen,
    )
    moved = conn.execute(
        f"update mem_observations o set project_id = %(target)s where {mine} returning id", chosen
    ).fetchall()
    counts = _move_chunks(conn, [row["id"] for row in moved], target)
    return {"observations": len(moved), **counts, "same": same}


def _move_chunks(conn: Connection, observations: Sequence[int], target: int) -> dict[str, int]:
    """Copies in the other project take the chunks' place: what is indexed by project is never changed in place."""
    those = {"ids": list(observations), "target": target}
    old = "mem_observation_chunks old"
    pair = f"""{old} join mem_observation_chunks new
        on new.observation_id = old.observation_id and new.ordinal = -1 - old.ordinal
        where old.observation_id = any(%(ids)s) and old.project_id <> %(target)s"""
    chunks = conn.execute(
        f"""
        insert into mem_observation_chunks (observation_id, project_id, ordinal, role, text, words, tsv)
        select observation_id, %(target)s::bigint, -1 - ordinal, role, text, words,
            ts_delete(tsv, 'project/' || project_id) || array_to_tsvector(array['project/' || %(target)s::bigint])
        from {old} where observation_id = any(%(ids)s) and project_id <> %(target)s order by id
        """,
        those,
    ).rowcount
    vectors = conn.execute(
        f"""
        insert into mem_chunk_vectors (model_id, chunk_id, project_id, embedding)
        select v.model_id, pair.new, %(target)s, v.embedding
        from (select old.id as old, new.id as new from {pair}) pair
            join mem_chunk_vectors v on v.chunk_id = pair.old
        """,
        those,
    ).rowcount
    conn.execute(
        f"""
        insert into mem_embedding_queue (chunk_id)
        select pair.new from (select old.id as old, new.id as new from {pair}) pair
            join mem_embedding_queue q on q.chunk_id = pair.old
        """,
        those,
    )
    conn.execute(
        "insert into mem_word_queue (chunk_id, project_id) select id, project_id from mem_observation_chunks"
        " where observation_id = any(%(ids)s) and ordinal < 0",
        those,
    )
    conn.execute(f"delete from {old} where observation_id = any(%(ids)s) and project_id <> %(target)s", those)
    conn.execute(
        "update mem_observation_chunks set ordinal = -1 - ordinal"
        " where observation_id = any(%(ids)s) and ordinal < 0",
        those,
    )
    return {"chunks": chunks, "vectors": vectors}


def get(conn: Connection, ids: Sequence[int]) -> list[dict[str, Any]]:
    """Whole observations, in the order of `ids`; those that do not exist are left out."""
    rows = conn.execute("select * from mem_observations where id = any(%s)", (list(ids),)).fetchall()
    place = {number: position for position, number in enumerate(ids)}
    return sorted(rows, key=lambda row: place[row["id"]])


def delete(conn: Connection, ids: Sequence[int]) -> int:
    """Delete observations with their chunks and vectors. How many there were."""
    return conn.execute("delete from mem_observations where id = any(%s)", (list(ids),)).rowcount


def delete_turn(conn: Connection, session_id: str, external_id: str) -> None:
    conn.execute(
        "delete from mem_observations where session_id = %s and external_id = %s", (session_id, external_id)
    )


def delete_of_session(conn: Connection, session_id: str, project_id: int) -> None:
    """Delete what a project has of a session."""
    conn.execute(
        "delete from mem_observations where session_id = %s and project_id = %s", (session_id, project_id)
    )


_POSTED = "sources = '{}'"  # what a journal made names its rows


def posted(conn: Connection, *, after: int, limit: int) -> list[dict[str, Any]]:
    """Observations that were not made from the journal: notes, and what callers posted. In order of id."""
    return conn.execute(
        f"select * from mem_observations where id > %s and {_POSTED} order by id limit %s", (after, limit)
    ).fetchall()


def count_posted(conn: Connection) -> int:
    row = conn.execute(f"select count(*) as n from mem_observations where {_POSTED}").fetchone()
    assert row is not None
    return int(row["n"])


def index_again(conn: Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Cut stored observations again, and write their chunks' words anew."""
    stored = {row["id"]: _filled(Observation, {**row, "sections": ()}) for row in rows}
    _replace_chunks(conn, stored, index_again=True)


def owners(conn: Connection, chunks: Sequence[int]) -> list[int]:
    """The observations of these chunks."""
    rows = conn.execute(
        "select distinct observation_id from mem_observation_chunks where id = any(%s)", (list(chunks),)
    )
    return [row["observation_id"] for row in rows]


def stored(conn: Connection, number: int) -> dict[str, Any] | None:
    """An observation's row."""
    return conn.execute("select * from mem_observations where id = %s", (number,)).fetchone()


def set_texts(conn: Connection, number: int, *, title: str, text: str) -> None:
    conn.execute("update mem_observations set title = %s, text = %s where id = %s", (title, text, number))


_TURN_OF = {
    "mem_user_prompts": "select session_id, regexp_replace(id, '/[0-9a-f]{8}$', '') as prompt_id"
    " from mem_user_prompts where session_id = %(session_id)s and id = %(id)s",
    "mem_tool_calls": "select session_id, coalesce(prompt_id, '') as prompt_id from mem_tool_calls"
    " where id = %(id)s",
    "mem_assistant_messages": "select session_id, coalesce(prompt_id, '') as prompt_id"
    " from mem_assistant_messages where id = %(id)s",
}


def turn_of(conn: Connection, table: str, row: dict[str, Any]) -> tuple[str, str] | None:
    """The (session, prompt) that a row of the journal belongs to; None for a row of another table."""
    found = conn.execute(_TURN_OF[table], row).fetchone() if table in _TURN_OF else None
    return (found["session_id"], found["prompt_id"]) if found else None


EXPORTED = {
    "mem_projects": "select p.* from mem_projects p where {of} order by p.id",
    "mem_sessions": "select s.* from mem_sessions s join mem_projects p on p.id = s.project_id where {of}"
    " order by s.started_at, s.id",
    "mem_user_prompts": "select t.session_id, t.id, t.kind, t.agent_id, t.text, t.occurred_at, t.ended_at, t.end_error"
    " from mem_user_prompts t join mem_sessions s on s.id = t.session_id join mem_projects p on p.id = s.project_id"
    " where {of} order by t.occurred_at, t.session_id, t.id",
    "mem_tool_calls": "select t.* from mem_tool_calls t join mem_sessions s on s.id = t.session_id"
    " join mem_projects p on p.id = s.project_id where {of} order by t.id",
    "mem_assistant_messages": "select t.id, t.session_id, t.prompt_id, t.agent_id, t.agent_type, t.kind,"
    " t.message_uuid, t.model, t.text, t.usage, t.occurred_at from mem_assistant_messages t"
    " join mem_sessions s on s.id = t.session_id"
    " join mem_projects p on p.id = s.project_id where {of} order by t.id",
    "mem_observations": "select o.* from mem_observations o join mem_projects p on p.id = o.project_id where {of}"
    " order by o.id",
}
"""What an export holds of each table, in this order."""


def exported(conn: Connection, table: str, *, project_id: int | None) -> Iterator[dict[str, Any]]:
    """The rows of one project, or of all, a page at a time."""
    of = "p.id = %(project)s" if project_id is not None else "true"
    with conn.cursor(name=f"export_{table}") as cursor:
        cursor.itersize = 500
        yield from cursor.execute(EXPORTED[table].format(of=of).encode(), {"project": project_id})


def turns(conn: Connection) -> list[tuple[str, str]]:
    """Every (session, prompt) that the journal knows something of, the latest sessions first."""
    rows = conn.execute(
        """
        select turn.session_id, turn.prompt_id
        from (
            select session_id, regexp_replace(id, '/[0-9a-f]{8}$', '') as prompt_id from mem_user_prompts
            union select session_id, coalesce(prompt_id, '') from mem_tool_calls
            union select session_id, coalesce(prompt_id, '') from mem_assistant_messages
        ) turn join mem_sessions s on s.id = turn.session_id
        order by s.started_at desc, turn.session_id, turn.prompt_id
        """
    )
    return [(row["session_id"], row["prompt_id"]) for row in rows]


def load_turn(conn: Connection, session_id: str, prompt_id: str) -> Turn | None:
    """The journal's rows of one turn, without what a memory has no use for: long values are cut in the
    database, and of more than a few hundred calls only the first, the last and those that failed are read.
    None: there are none.
    """
    session = conn.execute(
        "select s.project_id, s.cwd, s.started_at, p.path from mem_sessions s"
        " join mem_projects p on p.id = s.project_id where s.id = %s",
        (session_id,),
    ).fetchone()
    if session is None:
        return None
    key = {"session": session_id, "prompt": prompt_id, "long": READ_CHARS, "input": calls.READ_CHARS}
    prompts = _prompts(conn, key)
    messages = _messages(conn, key)
    made = _calls(conn, key)
    times = [row["occurred_at"] for row in (*prompts, *messages, *made)]
    if not times:
        return None
    roots = sorted({path for path in (session["path"], session["cwd"]) if path}, key=len, reverse=True)
    return Turn(
        project_id=session["project_id"],
        session_id=session_id,
        prompt_id=prompt_id,
        roots=roots,
        began_at=prompts[0]["occurred_at"] if prompts else min(times),
        ended_at=max(times),
        prompts=[_filled(Prompt, row) for row in prompts],
        messages=[_filled(Message, row) for row in messages],
        calls=[_filled(Call, row) for row in made],
        tallies=_tallies(conn, key),
    )


def _of(key: dict[str, Any]) -> str:
    """The condition that the index of `mem_tool_calls` and `mem_assistant_messages` serves."""
    return "session_id = %(session)s and prompt_id " + ("= %(prompt)s" if key["prompt"] else "is null")


def _prompts(conn: Connection, key: dict[str, Any]) -> list[dict[str, Any]]:
    # A text typed while the agent worked on a prompt is stored as <prompt>/<hash>.
    return conn.execute(
        """
        select id, kind, left(text, %(long)s) as text, occurred_at, agent_id, end_error from mem_user_prompts
        where session_id = %(session)s and (id = %(prompt)s or starts_with(id, %(prompt)s || '/'))
        order by id <> %(prompt)s, occurred_at limit 100
        """,
        key,
    ).fetchall()


def _messages(conn: Connection, key: dict[str, Any]) -> list[dict[str, Any]]:
    return conn.execute(
        f"""
        select * from (
            select id, kind, occurred_at, agent_id, agent_type,
                case when kind = 'message' then left(text, %(long)s) else text end as text
            from mem_assistant_messages where {_of(key)} order by occurred_at desc, id desc limit 500
        ) latest order by occurred_at, id
        """,
        key,
    ).fetchall()


def _calls(conn: Connection, key: dict[str, Any]) -> list[dict[str, Any]]:
    return conn.execute(
        f"""
        with numbered as materialized (
            select id, success, row_number() over (order by occurred_at, id) as n, count(*) over () as of
            from mem_tool_calls where {_of(key)}
        ), chosen as materialized (
            select id, n from numbered where n <= 100 or n > of - 300 or success is false
            order by n desc limit 600
        )
        select c.id, c.tool_name as tool, c.success, c.agent_id, c.occurred_at,
            left({COMMAND}, %(input)s) as command, {PATH} as path,
            left(coalesce(i ->> 'plan', i ->> 'description', i ->> 'query', i ->> 'url', i ->> 'prompt'),
                %(input)s) as subject,
            left(coalesce(i ->> 'old_string', i ->> 'oldString', i ->> 'old_str'), %(input)s) as before,
            left(coalesce(i ->> 'new_string', i ->> 'newString', i ->> 'new_str'), %(input)s) as after,
            case when c.tool_name like 'mcp\\_\\_%%' then left(i::text, 300) end as input,
            case when c.success is false then {BOTH_ENDS} end as error,
            case when c.tool_name = 'AskUserQuestion' then left(c.output, 1000)
                when i ? 'command' or i ? 'cmd' then right(c.output, 600) end as output
        from chosen join mem_tool_calls c using (id),
            lateral (select c.tool_input as i, coalesce(c.error, c.output) as said) given
        order by chosen.n
        """,
        key,
    ).fetchall()


def _tallies(conn: Connection, key: dict[str, Any]) -> list[Tally]:
    rows = conn.execute(
        "select tool_name, count(*) as calls, count(*) filter (where success is false) as failed"
        f" from mem_tool_calls where {_of(key)} group by tool_name order by tool_name",
        key,
    )
    return [Tally(row["tool_name"], row["calls"], row["failed"]) for row in rows]


def _filled(kind: Any, row: dict[str, Any]) -> Any:
    """A dataclass from the columns of the same names."""
    return kind(**{field.name: row[field.name] for field in dataclasses.fields(kind)})


def supersede(conn: Connection, number: int, earlier: int) -> None:
    conn.execute("update mem_observations set supersedes = %s where id = %s", (earlier, number))


def earlier_of(conn: Connection, number: int) -> list[int]:
    """What an observation supersedes, and what that supersedes, and so on."""
    rows = conn.execute(
        """
        with recursive chain(id) as (
            select supersedes from mem_observations where id = %s and supersedes is not null
            union select o.supersedes from chain join mem_observations o on o.id = chain.id
            where o.supersedes is not null
        )
        select id from chain
        """,
        (number,),
    )
    return [row["id"] for row in rows]


def by_external_id(conn: Connection, project_id: int, external_id: str) -> int | None:
    row = conn.execute(
        "select id from mem_observations where project_id = %s and external_id = %s",
        (project_id, external_id),
    ).fetchone()
    return int(row["id"]) if row else None


def said_before(conn: Connection, project_id: int, external_ids: Sequence[str]) -> list[dict[str, Any]]:
    """The observations of these external ids, the first first: `external_id`, and when each ceased to hold (`ended`,
    or None)."""
    return conn.execute(
        """
        select o.external_id, least(o.valid_until, (select min(coalesce(later.valid_from, later.occurred_at))
            from mem_observations later where later.supersedes = o.id)) as ended
        from mem_observations o where o.project_id = %s and o.external_id = any(%s) order by o.id
        """,
        (project_id, list(external_ids)),
    ).fetchall()


def set_validity(conn: Connection, number: int, values: Mapping[str, datetime | str | None]) -> bool:
    """Set some of `valid_from`, `valid_until` and `retracted_because`. False: there is no such observation."""
    changed = conn.execute(
        """
        update mem_observations set
            valid_from = case when %(names)s::text[] @> '{valid_from}' then %(valid_from)s else valid_from end,
            valid_until = case when %(names)s::text[] @> '{valid_until}' then %(valid_until)s else valid_until end,
            retracted_because = case when %(names)s::text[] @> '{retracted_because}'
                then %(retracted_because)s else retracted_because end
        where id = %(id)s
        """,
        {"valid_from": None, "valid_until": None, "retracted_because": None}
        | dict(values)
        | {"id": number, "names": list(values)},
    )
    return bool(changed.rowcount)


def project_of(conn: Connection, number: int) -> int | None:
    """The project of an observation, or None where there is no such observation."""
    row = conn.execute("select project_id from mem_observations where id = %s", (number,)).fetchone()
    return int(row["project_id"]) if row else None


def counts(conn: Connection) -> dict[str, int]:
    """Rows in each table of the memory; of a large one about how many."""
    return {
        "observations": count(conn, "mem_observations"),
        "chunks": count(conn, "mem_observation_chunks"),
        "vectors": count(conn, "mem_chunk_vectors"),
    }


def latest_turn(conn: Connection) -> dict[str, Any] | None:
    """The newest observation of a turn in any project: its `project_id` and `title`."""
    return conn.execute(
        "select project_id, title from mem_observations where kind = 'turn' order by occurred_at desc limit 1"
    ).fetchone()
