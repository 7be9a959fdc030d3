"""The SQL of what a session is told unasked: what a project was last about, and the record of what was told.

Every function that reads takes the project and reads nothing outside of it (promise 4).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from agent_memory.database import Connection

TEXT_CHARS = 3_000
"""Of a prompt, of a message's beginning and of its end: more is not looked at."""
_LOOKED_AT = 40  # sessions, those with the latest events: their prompts' times are compared
# What agents call their lists of things to do: {"todos": [{"content", "status"}]} or {"plan": [{"step", "status"}]}.
_LISTS = ("TodoWrite", "todowrite", "update_plan", "write_todos")

# A text typed while the agent worked is stored as <prompt>/<hash>: it belongs to that prompt's turn.
_TYPED = "p.kind = 'user' and p.agent_id is null and p.id !~ '/[0-9a-f]{8}$'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """One thing that was shown, or that a silence was about."""

    part: str
    """Where it stood: a section of a session's start, or `hit`."""
    observation_id: int | None = None
    session_id: str | None = None
    prompt_id: str | None = None
    """With `session_id`: the turn that is told of, where no observation was made of it."""
    lesson_id: int | None = None
    score: float | None = None
    why: dict[str, Any] | None = None


def sessions(
    conn: Connection, *, project_id: int, but: str, since: datetime | None, limit: int
) -> list[dict[str, Any]]:
    """The project's sessions in which a person typed something, the latest first, without the session `but`.

    Columns: id, git_branch, began_at and last_at (the first and the last prompt's time; `since` bounds the last).
    """
    return conn.execute(
        f"""
        with looked as (
            select s.id, s.git_branch from mem_sessions s
            where s.project_id = %(project)s and s.id <> %(but)s
                and exists (select from mem_user_prompts p where p.session_id = s.id and {_TYPED})
            order by s.last_event_at desc, s.id limit {_LOOKED_AT}
        )
        select looked.id, looked.git_branch, typed.began_at, typed.last_at
        from looked cross join lateral (
            select min(p.occurred_at) as began_at, max(p.occurred_at) as last_at
            from mem_user_prompts p where p.session_id = looked.id and {_TYPED}
        ) typed
        where %(since)s::timestamptz is null or typed.last_at > %(since)s
        order by typed.last_at desc, looked.id limit %(limit)s
        """,
        {"project": project_id, "but": but, "since": since, "limit": limit},
    ).fetchall()


def turns(conn: Connection, sessions: Sequence[str], *, per_session: int) -> list[dict[str, Any]]:
    """The last turns of these sessions that a person began, in order of time.

    Columns: session_id, prompt_id, text, occurred_at, ended_at, end_error, calls (how many), last_call_at, said (the
    agent's last message, its beginning and its end), said_at, observation_id, observation (its text), holds (nobody has
    taken it back).
    """
    return conn.execute(
        f"""
        select p.session_id, p.id as prompt_id, left(p.text, {TEXT_CHARS}) as text, p.occurred_at, p.ended_at,
            p.end_error, made.calls, made.last_call_at, answer.said, answer.said_at,
            o.id as observation_id, o.text as observation, (o.id is null or {_holds("o")}) as holds
        from unnest(%(sessions)s::text[]) session(id) cross join lateral (
            select p.* from mem_user_prompts p where p.session_id = session.id and {_TYPED}
            order by p.occurred_at desc, p.id desc limit %(per_session)s
        ) p cross join lateral (
            select count(*) as calls, max(c.occurred_at) as last_call_at from mem_tool_calls c
            where c.session_id = p.session_id and c.prompt_id = p.id and c.agent_id is null
        ) made left join lateral (
            select {_both_ends("m.text")} as said, m.occurred_at as said_at from mem_assistant_messages m
            where m.session_id = p.session_id and m.prompt_id = p.id and m.agent_id is null and m.kind = 'message'
            order by m.occurred_at desc, m.id desc limit 1
        ) answer on true
        left join mem_observations o on o.session_id = p.session_id
            and o.external_id = 'turn/' || p.session_id || '/' || p.id
        order by p.occurred_at, p.session_id, p.id
        """,
        {"sessions": list(sessions), "per_session": per_session},
    ).fetchall()


def last_words(conn: Connection, sessions: Sequence[str]) -> list[dict[str, Any]]:
    """What each of these sessions ended with: session_id, said (the main agent's last message), said_at, and todo (its
    last list of things to do, as JSON)."""
    return conn.execute(
        f"""
        select session.id as session_id, answer.said, answer.said_at, list.todo
        from unnest(%(sessions)s::text[]) session(id) left join lateral (
            select {_both_ends("m.text")} as said, m.occurred_at as said_at from mem_assistant_messages m
            where m.session_id = session.id and m.agent_id is null and m.kind = 'message'
            order by m.occurred_at desc, m.id desc limit 1
        ) answer on true left join lateral (
            select coalesce(c.tool_input -> 'todos', c.tool_input -> 'plan') as todo from mem_tool_calls c
            where c.session_id = session.id and c.agent_id is null and c.tool_name = any(%(lists)s)
            order by c.occurred_at desc, c.id desc limit 1
        ) list on true
        """,
        {"sessions": list(sessions), "lists": list(_LISTS)},
    ).fetchall()


def notes(
    conn: Connection, *, project_id: int, but: str, since: datetime | None, limit: int
) -> list[dict[str, Any]]:
    """What was saved by hand or by an agent in this project and still holds, the latest first: id, title, text,
    occurred_at. Without those of the session `but`."""
    return conn.execute(
        f"""
        select o.id, o.title, left(o.text, 1000) as text, o.occurred_at from mem_observations o
        where o.project_id = %(project)s and o.kind = 'note' and o.session_id is distinct from %(but)s
            and (%(since)s::timestamptz is null or o.created_at > %(since)s)
            and {_holds("o")}
        order by o.occurred_at desc, o.id desc limit %(limit)s
        """,
        {"project": project_id, "but": but, "since": since, "limit": limit},
    ).fetchall()


def last_active(conn: Connection, session_id: str) -> datetime | None:
    """When this session last did something of its own, its start excepted, or was last told something at its start."""
    row = conn.execute(
        """
        select greatest(
            (select max(greatest(occurred_at, ended_at)) from mem_user_prompts where session_id = %(session)s),
            (select max(occurred_at) from mem_assistant_messages where session_id = %(session)s),
            (select max(occurred_at) from mem_injections where session_id = %(session)s and chars > 0
                and event = 'SessionStart')
        ) as at
        """,
        {"session": session_id},
    ).fetchone()
    assert row is not None
    at: datetime | None = row["at"]
    return at


def _holds(o: str) -> str:
    """Whether an observation holds now, as SQL: it was neither retracted nor superseded."""
    return (
        f"(coalesce({o}.valid_from <= now(), true) and coalesce({o}.valid_until > now(), true) and not exists"
        f" (select from mem_observations later where later.supersedes = {o}.id"
        " and coalesce(later.valid_from <= now(), true)))"
    )


def _both_ends(text: str) -> str:
    """A long text's beginning and end, as SQL."""
    return (
        f"case when length({text}) <= {2 * TEXT_CHARS} then {text}"
        f" else left({text}, {TEXT_CHARS}) || E'\\n\\n' || right({text}, {TEXT_CHARS}) end"
    )


def context_wanted(conn: Connection, project_id: int) -> bool:
    """Whether the user wants this project's sessions to be told something unasked."""
    row = conn.execute("select tells_context from mem_projects where id = %s", (project_id,)).fetchone()
    return bool(row and row["tells_context"])


def want_context(conn: Connection, project_id: int, *, wanted: bool) -> None:
    conn.execute("update mem_projects set tells_context = %s where id = %s", (wanted, project_id))


def record(
    conn: Connection,
    *,
    session_id: str,
    event: str,
    outcome: str,
    reason: str,
    prompt_id: str | None = None,
    text_sha: bytes | None = None,
    chars: int = 0,
    took_ms: int | None = None,
    shown: Sequence[Shown] = (),
) -> int:
    """Write down that a session was told something, or why it was not. Its id."""
    row = conn.execute(
        """
        insert into mem_injections (session_id, prompt_id, event, outcome, reason, text_sha, chars, took_ms)
        values (%s, %s, %s, %s, %s, %s, %s, %s) returning id
        """,
        (session_id, prompt_id, event, outcome, reason, text_sha, chars, took_ms),
    ).fetchone()
    assert row is not None
    # A row that was forgotten since it was read is not written: its foreign key would refuse it.
    conn.cursor().executemany(
        """
        insert into mem_injected (injection_id, ordinal, part, observation_id, session_id, prompt_id, lesson_id,
            score, why)
        select %s, %s, %s, o.id, p.session_id, p.id, l.id, %s, %s
        from (select %s::bigint as observation, %s::text as session, %s::text as prompt, %s::bigint as lesson) given
        left join mem_observations o on o.id = given.observation
        left join mem_user_prompts p on p.session_id = given.session and p.id = given.prompt
        left join mem_lessons l on l.id = given.lesson
        where (given.observation is null or o.id is not null) and (given.prompt is null or p.id is not null)
            and (given.lesson is null or l.id is not null)
        """,
        (
            (
                row["id"],
                ordinal,
                one.part,
                one.score,
                None if one.why is None else Jsonb(one.why),
                one.observation_id,
                one.session_id if one.prompt_id else None,
                one.prompt_id,
                one.lesson_id,
            )
            for ordinal, one in enumerate(shown, start=1)
        ),
    )
    return int(row["id"])


def told_before(conn: Connection, session_id: str) -> set[int]:
    """The observations that this session was shown in full, at a prompt or as a note at its start."""
    rows = conn.execute(
        """
        select distinct i.observation_id from mem_injected i join mem_injections told on told.id = i.injection_id
        where told.session_id = %s and told.chars > 0 and i.part in ('hit', 'note') and i.observation_id is not null
        """,
        (session_id,),
    )
    return {row["observation_id"] for row in rows}


def injections(
    conn: Connection,
    *,
    session_id: str | None = None,
    project_id: int | None = None,
    observation_id: int | None = None,
    before: int | None = None,
    limit: int = 100,
) -> list[dict[str, Any]]:
    """What sessions were told, the latest first, each with the `items` that it was told of: one session, those of a
    project, or those that were told of an observation. `before` is an id. `project` is the project's name."""
    return conn.execute(
        """
        with told as (
            select told.*, project.name as project from mem_injections told
            join mem_sessions s on s.id = told.session_id join mem_projects project on project.id = s.project_id
            where (%(session)s::text is null or told.session_id = %(session)s)
                and (%(project)s::bigint is null or s.project_id = %(project)s)
                and (%(observation)s::bigint is null or told.id in
                    (select injection_id from mem_injected where observation_id = %(observation)s))
                and (%(before)s::bigint is null or told.id < %(before)s)
            order by told.id desc limit %(limit)s
        )
        select told.id, told.session_id, told.prompt_id, told.event, told.occurred_at, told.outcome, told.reason,
            told.chars, encode(told.text_sha, 'hex') as text_sha256, told.took_ms, told.project, items.items
        from told cross join lateral (
            select coalesce(jsonb_agg(jsonb_build_object(
                    'part', i.part, 'observation_id', i.observation_id, 'session_id', i.session_id,
                    'prompt_id', i.prompt_id, 'lesson_id', i.lesson_id, 'score', i.score, 'why', i.why,
                    'kind', o.kind, 'title', coalesce(o.title, left(p.text, 200), l.title),
                    'occurred_at', coalesce(o.occurred_at, p.occurred_at)
                ) order by i.ordinal), '[]') as items
            from mem_injected i left join mem_observations o on o.id = i.observation_id
            left join mem_user_prompts p on p.session_id = i.session_id and p.id = i.prompt_id
            left join mem_lessons l on l.id = i.lesson_id
            where i.injection_id = told.id
        ) items
        order by told.id desc
        """,
        {
            "session": session_id,
            "project": project_id,
            "observation": observation_id,
            "before": before,
            "limit": limit,
        },
    ).fetchall()


def sessions_named(conn: Connection, name: str) -> list[str]:
    """The session of this id, or those whose ids begin so: three at most, the latest first."""
    rows = conn.execute(
        "select id from mem_sessions where id ^@ %(name)s order by id <> %(name)s, last_event_at desc limit 3",
        {"name": name},
    ).fetchall()
    ids = [row["id"] for row in rows]
    return ids[:1] if name in ids else ids


def latest_session(conn: Connection, project_id: int) -> str | None:
    """The session of a project in which something happened last."""
    row = conn.execute(
        "select id from mem_sessions where project_id = %s order by last_event_at desc, id desc limit 1",
        (project_id,),
    ).fetchone()
    return row["id"] if row else None
