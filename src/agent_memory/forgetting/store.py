"""The SQL of forgetting and of retention: which rows are meant, and their going."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from agent_memory.database import Connection

_numbers = itertools.count()
Choice = Literal["sessions", "turns", "period", "all"]

# Which rows of the journal are meant: `t` is the row, `{turn}` its turn.
_CHOICES: dict[str, str] = {
    "sessions": "t.session_id = any(%(sessions)s)",
    "turns": """t.session_id = any(%(sessions)s)
        and (t.session_id, {turn}) in (select * from unnest(%(sessions)s::text[], %(prompts)s::text[]))""",
    "period": """(%(since)s::timestamptz is null or t.occurred_at >= %(since)s)
        and (%(until)s::timestamptz is null or t.occurred_at < %(until)s)
        and (%(since)s::timestamptz is null or s.last_event_at >= %(since)s)
        and (%(until)s::timestamptz is null or s.started_at < %(until)s)
        and (%(project)s::bigint is null or s.project_id = %(project)s)""",
    "all": "(%(project)s::bigint is null or s.project_id = %(project)s)",
}
_PROMPT_TURN = "regexp_replace(t.id, '/[0-9a-f]{8}$', '')"
_TURN = "coalesce(t.prompt_id, '')"

TABLES = (
    *("mem_user_prompts", "mem_tool_calls", "mem_assistant_messages", "mem_sessions", "mem_observations"),
    *("mem_observation_chunks", "mem_chunk_vectors", "mem_observation_queue", "mem_embedding_queue"),
    *("mem_lessons", "mem_lesson_events"),
)
"""Where something may go from. Whoever adds a table with texts, or with what was made of them, adds it here, and its
going below."""


def prompts(conn: Connection, choice: Choice, values: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """session_id, id, turn, text, text_sha, occurred_at, agent, project_id."""
    return _stream(
        conn,
        f"select t.session_id, t.id, {_PROMPT_TURN} as turn, t.text, t.text_sha, t.occurred_at, s.agent,"
        " s.project_id from mem_user_prompts t join mem_sessions s on s.id = t.session_id"
        f" where {_CHOICES[choice].format(turn=_PROMPT_TURN)}",
        values,
    )


def calls(
    conn: Connection, choice: Choice, values: Mapping[str, Any], *, texts: bool = False
) -> Iterator[dict[str, Any]]:
    """session_id, id, turn, tool_use_id, occurred_at, agent, project_id; with `texts` tool_input, output, error."""
    more = ", t.tool_input, t.output, t.error" if texts else ""
    return _stream(
        conn,
        f"select t.session_id, t.id, {_TURN} as turn, t.tool_use_id, t.occurred_at, s.agent, s.project_id{more}"
        " from mem_tool_calls t join mem_sessions s on s.id = t.session_id"
        f" where {_CHOICES[choice].format(turn=_TURN)}",
        values,
    )


def messages(conn: Connection, choice: Choice, values: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """session_id, id, turn, message_uuid, text, text_sha, occurred_at, agent, project_id."""
    return _stream(
        conn,
        f"select t.session_id, t.id, {_TURN} as turn, t.message_uuid, t.text, t.text_sha, t.occurred_at, s.agent,"
        " s.project_id"
        " from mem_assistant_messages t join mem_sessions s on s.id = t.session_id"
        f" where {_CHOICES[choice].format(turn=_TURN)}",
        values,
    )


def message_by_id(conn: Connection, number: int) -> dict[str, Any] | None:
    return conn.execute(
        f"select t.session_id, t.id, {_TURN} as turn, t.message_uuid, t.text, t.text_sha, t.occurred_at, s.agent,"
        " s.project_id"
        " from mem_assistant_messages t join mem_sessions s on s.id = t.session_id where t.id = %s",
        (number,),
    ).fetchone()


_OBSERVATION = (
    "select o.id, o.project_id, o.session_id, o.kind, o.external_id, o.title, o.text, o.occurred_at, o.sources"
    " from mem_observations o"
)


def observations_by_id(conn: Connection, ids: Sequence[int]) -> list[dict[str, Any]]:
    return conn.execute(f"{_OBSERVATION} where o.id = any(%s) order by o.id", (list(ids),)).fetchall()


def observations_of_sessions(conn: Connection, sessions: Sequence[str]) -> list[dict[str, Any]]:
    return conn.execute(
        f"{_OBSERVATION} where o.session_id = any(%s) order by o.id", (list(sessions),)
    ).fetchall()


def observations_of_turns(conn: Connection, turns: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
    return conn.execute(
        f"{_OBSERVATION} join unnest(%s::text[], %s::text[]) as turn (session_id, prompt_id)"
        " on o.session_id = turn.session_id"
        " and o.external_id = 'turn/' || turn.session_id || '/' || turn.prompt_id order by o.id",
        ([t[0] for t in turns], [t[1] for t in turns]),
    ).fetchall()


def next_prompt_at(conn: Connection, session_id: str, after: datetime) -> datetime | None:
    row = conn.execute(
        "select min(occurred_at) as at from mem_user_prompts"
        " where session_id = %s and agent_id is null and occurred_at > %s",
        (session_id, after),
    ).fetchone()
    return row["at"] if row else None


def rows_left(conn: Connection, turns: Sequence[tuple[str, str]]) -> set[tuple[str, str]]:
    """Those of these turns of which the journal still has a row."""
    rows = conn.execute(
        """
        select turn.* from unnest(%s::text[], %s::text[]) as turn (session_id, prompt_id)
        where exists (select from mem_user_prompts p where p.session_id = turn.session_id
                and (p.id = turn.prompt_id or starts_with(p.id, turn.prompt_id || '/')))
            or exists (select from mem_tool_calls t where t.session_id = turn.session_id
                and coalesce(t.prompt_id, '') = turn.prompt_id)
            or exists (select from mem_assistant_messages m where m.session_id = turn.session_id
                and coalesce(m.prompt_id, '') = turn.prompt_id)
        """,
        ([t[0] for t in turns], [t[1] for t in turns]),
    )
    return {(row["session_id"], row["prompt_id"]) for row in rows}


def summaries_of_messages(conn: Connection, ids: Sequence[int]) -> list[dict[str, Any]]:
    """What was made of a session's own summaries."""
    return conn.execute(
        f"{_OBSERVATION} join mem_assistant_messages m on o.session_id = m.session_id"
        " and o.external_id = 'summary/' || m.session_id || '/' || m.id where m.id = any(%s) order by o.id",
        (list(ids),),
    ).fetchall()


def observations(
    conn: Connection, *, project_id: int | None, since: datetime | None = None, until: datetime | None = None
) -> Iterator[dict[str, Any]]:
    return _stream(
        conn,
        f"{_OBSERVATION} where (%(project)s::bigint is null or o.project_id = %(project)s)"
        " and (%(since)s::timestamptz is null or o.occurred_at >= %(since)s)"
        " and (%(until)s::timestamptz is null or o.occurred_at < %(until)s)",
        {"project": project_id, "since": since, "until": until},
    )


def sessions_of(conn: Connection, project_id: int) -> list[str]:
    rows = conn.execute("select id from mem_sessions where project_id = %s", (project_id,))
    return [row["id"] for row in rows]


def data_sets_of(conn: Connection, sessions: Sequence[str]) -> list[tuple[int, str]]:
    """The data sets for training that were made of these sessions, each with the session."""
    rows = conn.execute(
        "select data_set_id, session_id from mem_data_set_sessions where session_id = any(%s)",
        (list(sessions),),
    )
    return [(row["data_set_id"], row["session_id"]) for row in rows]


def mark_stale(
    conn: Connection, told_in: Sequence[tuple[int, str]], tombstone: int | None
) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """Mark data sets that hold what this tombstone forgets, by data set and session. None: the latest tombstone. The
    `folder` and `machine` of the data sets; and those of the training runs that learned from them, with `name`."""
    if not told_in:
        return [], []
    data_sets = sorted({number for number, _ in told_in})
    if tombstone is None:
        row = conn.execute("select max(id) as id from mem_tombstones").fetchone()
        tombstone = row["id"] if row else None
    rows = conn.execute(
        "update mem_data_sets set stale_since = coalesce(stale_since, clock_timestamp()),"
        " stale_by = array_append(stale_by, %s) where id = any(%s)"
        " returning path as folder, coalesce(machine, '') as machine",
        (tombstone, data_sets),
    ).fetchall()
    with conn.cursor() as cursor:
        cursor.executemany(
            "insert into mem_data_set_forgotten (data_set_id, tombstone_id, session_id)"
            " values (%s, %s, %s) on conflict do nothing",
            [(number, tombstone, session) for number, session in told_in],
        )
    runs = conn.execute(
        "select name, folder, machine from mem_training_runs where data_set_id = any(%s) order by id",
        (data_sets,),
    )
    return rows, runs.fetchall()


def session_project(conn: Connection, session_id: str) -> int | None:
    row = conn.execute("select project_id from mem_sessions where id = %s", (session_id,)).fetchone()
    return int(row["project_id"]) if row else None


def identities(conn: Connection, project_id: int) -> list[str]:
    """A project's identity, and those of the projects that were merged into it."""
    rows = conn.execute(
        "select identity from mem_projects where id = %s or merged_into = %s order by id",
        (project_id, project_id),
    )
    return [row["identity"] for row in rows]


def lessons(conn: Connection, project_id: int | None) -> list[dict[str, Any]]:
    """id, project_id, status, all the words of the rule as `text`, evidence and estimate."""
    return conn.execute(
        "select id, project_id, status, concat_ws(E'\\n', title, rule, trigger_pattern) as text, evidence, estimate"
        " from mem_lessons where %(project)s::bigint is null or project_id = %(project)s",
        {"project": project_id},
    ).fetchall()


def end_what_they_superseded(conn: Connection, ids: Sequence[int]) -> None:
    """What an observation superseded does not hold again when that one goes."""
    conn.execute(
        """
        update mem_observations o set valid_until = least(o.valid_until, later.since)
        from (
            select supersedes, min(coalesce(valid_from, occurred_at)) as since from mem_observations
            where id = any(%(ids)s) and supersedes is not null group by supersedes
        ) later
        where o.id = later.supersedes and o.id <> all(%(ids)s)
        """,
        {"ids": list(ids)},
    )


def delete_observations(conn: Connection, ids: Sequence[int]) -> dict[str, int]:
    """Observations with all that was made of them; how many rows, by table."""
    row = conn.execute(
        """
        with mine as materialized (
            select id from mem_observation_chunks where observation_id = any(%s)
        )
        select (select count(*) from mine) as mem_observation_chunks,
            (select count(*) from mem_chunk_vectors where chunk_id in (select id from mine)) as mem_chunk_vectors,
            (select count(*) from mem_embedding_queue where chunk_id in (select id from mine))
                as mem_embedding_queue
        """,
        (list(ids),),
    ).fetchone()
    assert row is not None
    end_what_they_superseded(conn, ids)
    gone = conn.execute("delete from mem_observations where id = any(%s)", (list(ids),)).rowcount
    return {"mem_observations": gone, **row}


def delete_rows(
    conn: Connection,
    *,
    prompts: Sequence[tuple[str, str]],
    calls: Sequence[int],
    messages: Sequence[int],
) -> dict[str, int]:
    """Rows of the journal, with what lessons said of the calls."""
    said = conn.execute(
        "delete from mem_lesson_events e using mem_tool_calls t where t.id = any(%s)"
        " and e.session_id = t.session_id and e.tool_use_id = t.tool_use_id",
        (list(calls),),
    ).rowcount
    return {
        "mem_lesson_events": said,
        "mem_user_prompts": conn.execute(
            "delete from mem_user_prompts p using unnest(%s::text[], %s::text[]) as gone (session_id, id)"
            " where p.session_id = gone.session_id and p.id = gone.id",
            ([p[0] for p in prompts], [p[1] for p in prompts]),
        ).rowcount,
        "mem_tool_calls": conn.execute(
            "delete from mem_tool_calls where id = any(%s)", (list(calls),)
        ).rowcount,
        "mem_assistant_messages": conn.execute(
            "delete from mem_assistant_messages where id = any(%s)", (list(messages),)
        ).rowcount,
    }


def delete_turns(conn: Connection, turns: Sequence[tuple[str, str]]) -> dict[str, int]:
    """What is still to be done for turns, and what lessons said in them; their rows are gone already."""
    values = ([t[0] for t in turns], [t[1] for t in turns])
    which = "using unnest(%s::text[], %s::text[]) as gone (session_id, prompt_id)"
    same = "t.session_id = gone.session_id and coalesce(t.prompt_id, '') = gone.prompt_id"
    return {
        table: conn.execute(f"delete from {table} t {which} where {same}", values).rowcount
        for table in ("mem_observation_queue", "mem_lesson_events")
    }


def delete_sessions(conn: Connection, ids: Sequence[str]) -> dict[str, int]:
    """Sessions with all their rows, whose observations are gone already."""
    found: dict[str, int] = {}
    for table in (
        *("mem_lesson_events", "mem_observation_queue", "mem_user_prompts", "mem_tool_calls"),
        "mem_assistant_messages",
    ):
        found[table] = conn.execute(f"delete from {table} where session_id = any(%s)", (list(ids),)).rowcount
    found["mem_sessions"] = conn.execute("delete from mem_sessions where id = any(%s)", (list(ids),)).rowcount
    return found


def delete_empty_sessions(
    conn: Connection, *, project_id: int | None, since: datetime | None, until: datetime | None
) -> int:
    """Sessions of a time of which no row is left."""
    return conn.execute(
        """
        delete from mem_sessions s
        where (%(project)s::bigint is null or s.project_id = %(project)s)
            and (%(since)s::timestamptz is null or s.started_at >= %(since)s)
            and (%(until)s::timestamptz is null or s.last_event_at < %(until)s)
            and not exists (select from mem_user_prompts where session_id = s.id)
            and not exists (select from mem_tool_calls where session_id = s.id)
            and not exists (select from mem_assistant_messages where session_id = s.id)
            and not exists (select from mem_observations where session_id = s.id)
        """,
        {"project": project_id, "since": since, "until": until},
    ).rowcount


def delete_lessons(conn: Connection, ids: Sequence[int]) -> int:
    return conn.execute("delete from mem_lessons where id = any(%s)", (list(ids),)).rowcount


def drop_evidence(conn: Connection, ids: Sequence[int]) -> None:
    """Leave lessons without what they were drawn from."""
    conn.execute("update mem_lessons set evidence = '{}', estimate = '{}' where id = any(%s)", (list(ids),))


def delete_project(conn: Connection, project_id: int) -> bool:
    """The project itself, where nothing of another domain holds on to it."""
    import psycopg

    try:
        with conn.transaction():
            return bool(conn.execute("delete from mem_projects where id = %s", (project_id,)).rowcount)
    except psycopg.errors.ForeignKeyViolation:
        return False


def _stream(conn: Connection, query: str, values: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Rows as they come: a project's journal need not fit into memory."""
    with conn.cursor(name=f"forgetting_{next(_numbers)}") as cursor:
        cursor.itersize = 500
        cursor.execute(query.encode(), values)
        yield from cursor


def text_of(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def tables_of(conn: Connection, tombstone_ids: Sequence[int]) -> list[tuple[str, int]]:
    """The tables that rows went from for these tombstones, with their size in bytes, and those that were written again
    for it: what was said of a turn."""
    rows = conn.execute(
        "select distinct name from mem_tombstones, jsonb_object_keys(counts) name where id = any(%s)",
        (list(tombstone_ids),),
    )
    names = {row["name"] for row in rows} & set(TABLES)
    if names:
        names |= {"mem_observations", "mem_observation_chunks", "mem_chunk_vectors", "mem_observation_queue"}
        names |= {"mem_word_segments", "mem_word_postings"}
    sizes = conn.execute(
        "select name, pg_total_relation_size(name::regclass) as bytes from unnest(%s::text[]) name order by name",
        (sorted(names),),
    )
    return [(row["name"], row["bytes"]) for row in sizes]


def policies(conn: Connection) -> list[dict[str, Any]]:
    """What is set: project_id (None: every project without a row of its own), name, days, megabytes, notes."""
    return conn.execute(
        "select r.project_id, p.name, r.days, r.megabytes, r.notes from mem_retention r"
        " left join mem_projects p on p.id = r.project_id order by r.project_id nulls first"
    ).fetchall()


def set_policy(
    conn: Connection, project_id: int | None, *, days: int | None, megabytes: int | None, notes: bool
) -> None:
    drop_policy(conn, project_id)
    conn.execute(
        "insert into mem_retention (project_id, days, megabytes, notes) values (%s, %s, %s, %s)",
        (project_id, days, megabytes, notes),
    )


def drop_policy(conn: Connection, project_id: int | None) -> bool:
    return bool(
        conn.execute(
            "delete from mem_retention where project_id is not distinct from %s", (project_id,)
        ).rowcount
    )


def projects(conn: Connection) -> list[dict[str, Any]]:
    return conn.execute("select id, name from mem_projects order by id").fetchall()


def session_sizes(
    conn: Connection, project_id: int, *, before: datetime | None = None
) -> list[dict[str, Any]]:
    """id, last_event_at, rows and bytes of each of a project's sessions that has rows, the oldest first; with `before`
    only of those in which nothing happened since. Bytes are those of the texts as they are stored, with what was made
    of them."""
    return conn.execute(
        """
        with mine as materialized (
            select id, last_event_at from mem_sessions where project_id = %(project)s
                and (%(before)s::timestamptz is null or last_event_at < %(before)s)
                and (retired_until is null or last_event_at > retired_until)
        )
        select mine.id, mine.last_event_at, size.rows::bigint, size.bytes::bigint from mine cross join lateral (
            select sum(rows) as rows, sum(bytes) as bytes from (
                select count(*) as rows, sum(100 + pg_column_size(text)) as bytes
                from mem_user_prompts where session_id = mine.id
                union all select count(*), sum(150 + coalesce(pg_column_size(tool_input), 0)
                    + coalesce(pg_column_size(output), 0) + coalesce(pg_column_size(error), 0))
                from mem_tool_calls where session_id = mine.id
                union all select count(*), sum(100 + pg_column_size(text))
                from mem_assistant_messages where session_id = mine.id
                union all select count(distinct o.id), sum(100 + coalesce(pg_column_size(c.text), 0)
                    + coalesce(pg_column_size(c.tsv), 0) + coalesce(pg_column_size(v.embedding), 0))
                from mem_observations o left join mem_observation_chunks c on c.observation_id = o.id
                left join mem_chunk_vectors v on v.chunk_id = c.id
                where o.session_id = mine.id and o.project_id = %(project)s and o.kind in ('turn', 'summary')
            ) part
        ) size where size.rows > 0 order by mine.last_event_at
        """,
        {"project": project_id, "before": before},
    ).fetchall()


def quiet_since(conn: Connection, sessions: Sequence[str], at: datetime) -> list[str]:
    """Those of these sessions in which nothing happened since."""
    rows = conn.execute(
        "select id from mem_sessions where id = any(%s) and last_event_at < %s order by last_event_at",
        (list(sessions), at),
    )
    return [row["id"] for row in rows]


def notes_before(conn: Connection, project_id: int, at: datetime) -> list[int]:
    rows = conn.execute(
        "select id from mem_observations where project_id = %s and kind not in ('turn', 'summary')"
        " and occurred_at < %s",
        (project_id, at),
    )
    return [row["id"] for row in rows]


def retire(conn: Connection, sessions: Sequence[str]) -> dict[str, int]:
    """Let go of sessions: their rows, and what was made of them. The session itself stays, marked with how far."""
    made = [
        row["id"]
        for row in conn.execute(
            "select id from mem_observations where session_id = any(%s) and kind in ('turn', 'summary')",
            (list(sessions),),
        )
    ]
    counts = delete_observations(conn, made)
    for table in ("mem_observation_queue", "mem_user_prompts", "mem_tool_calls", "mem_assistant_messages"):
        counts[table] = conn.execute(
            f"delete from {table} where session_id = any(%s)", (list(sessions),)
        ).rowcount
    # An hour more: a session's file may tell the end of it a little later than its hooks did.
    conn.execute(
        "update mem_sessions set retired_until = last_event_at + interval '1 hour' where id = any(%s)",
        (list(sessions),),
    )
    return counts


def save_run(conn: Connection, counts: Mapping[str, int], bytes_: int) -> None:
    conn.execute(
        "insert into mem_retention_runs (counts, bytes) values (%s::jsonb, %s)", (json.dumps(counts), bytes_)
    )


def last_run(conn: Connection) -> dict[str, Any] | None:
    """ran_at, counts and bytes of the last run of retention."""
    return conn.execute(
        "select ran_at, counts, bytes from mem_retention_runs order by id desc limit 1"
    ).fetchone()


def all_sessions(conn: Connection) -> list[str]:
    return [row["id"] for row in conn.execute("select id from mem_sessions")]


def all_identities(conn: Connection) -> dict[str, str]:
    """The identity of each session's project."""
    rows = conn.execute(
        "select s.id, p.identity from mem_sessions s join mem_projects p on p.id = s.project_id"
    )
    return {row["id"]: row["identity"] for row in rows}


def knows_tombstones(conn: Connection) -> bool:
    row = conn.execute("select to_regclass('mem_tombstone_keys') is not null as known").fetchone()
    return bool(row and row["known"])


def copy_tombstones(old: Connection, new: Connection) -> None:
    """The tombstones of `old` in the place of those of `new`, with the secret that they were made with."""
    for table, columns in (
        ("mem_tombstone_secret", "only_one, secret"),
        ("mem_tombstones", "id, forgotten_at, forgotten_by, what, counts"),
        ("mem_tombstone_keys", "tombstone_id, kind, key, project_id, length, beginning, since, until"),
    ):
        new.execute(f"delete from {table}")
        overriding = " overriding system value" if table == "mem_tombstones" else ""
        places = ", ".join(["%s"] * len(columns.split(",")))
        with new.cursor() as cursor:
            cursor.executemany(
                f"insert into {table} ({columns}){overriding} values ({places})",
                (
                    [json.dumps(value) if isinstance(value, dict) else value for value in row.values()]
                    for row in old.execute(f"select {columns} from {table}")
                ),
            )
    new.execute(
        "select setval(pg_get_serial_sequence('mem_tombstones', 'id'),"
        " (select coalesce(max(id), 0) + 1 from mem_tombstones), false)"
    )


def copy_retired(old: Connection, new: Connection) -> None:
    """How far retention has let go of sessions; what it has let go of since is let go of again."""
    rows = old.execute(
        "select id, retired_until from mem_sessions where retired_until is not null"
    ).fetchall()
    ids, until = [row["id"] for row in rows], [row["retired_until"] for row in rows]
    again = new.execute(
        "update mem_sessions s set last_event_at = s.last_event_at"
        " from unnest(%s::text[], %s::timestamptz[]) as old (id, until)"
        " where s.id = old.id and s.last_event_at <= old.until returning s.id",
        (ids, until),
    ).fetchall()
    retire(new, [row["id"] for row in again])
    new.execute(
        "update mem_sessions s set retired_until = old.until"
        " from unnest(%s::text[], %s::timestamptz[]) as old (id, until) where s.id = old.id",
        (ids, until),
    )
