"""The SQL of looking on. Functions take a connection and never commit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from agent_memory.database import Connection

TEXT_CHARS = 2_000
"""Of a text that is told live: what is shown of it is shorter."""
_LOOKED_AT = 50  # sessions, those with the latest events

_SESSION = "s.id as session_id, s.project_id, p.name as project, s.agent"
# The same columns of every kind of row, so that they can be read together.
_PROMPT = f"""
    select 'prompt' as kind, t.id, null::bigint as number, {_SESSION}, t.id as prompt_id, t.agent_id,
        t.occurred_at as at, t.kind as sort, left(t.text, {TEXT_CHARS}) as text, null as tool, null::jsonb as input,
        null::boolean as success, null::bigint as duration_ms
"""
_CALL = f"""
    select 'call' as kind, t.id::text, t.id as number, {_SESSION}, t.prompt_id, t.agent_id,
        t.occurred_at as at, null as sort, left(t.error, {TEXT_CHARS}) as text, t.tool_name as tool,
        case when octet_length(t.tool_input::text) < 100000 then t.tool_input else '{{}}' end as input,
        t.success, t.duration_ms
"""
_MESSAGE = f"""
    select 'message' as kind, t.id::text, t.id as number, {_SESSION}, t.prompt_id, t.agent_id,
        t.occurred_at as at, t.kind as sort, left(t.text, {TEXT_CHARS}) as text, null as tool, null::jsonb as input,
        null::boolean as success, null::bigint as duration_ms
"""
_OF = "join mem_sessions s on s.id = t.session_id join mem_projects p on p.id = s.project_id"


def listen(conn: Connection) -> None:
    """Hear what `journal.store.announce` tells. `conn` commits by itself."""
    conn.execute("listen mem_recorded")


def recorded(conn: Connection, told: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows that an announcement names (see `journal.announce`), in order of time. Columns: kind (prompt | call |
    message | session), id, number (of a call or message), session_id, project_id, project, agent, prompt_id, agent_id,
    at, sort, text, tool, input, success, duration_ms."""
    return conn.execute(
        f"""
        select * from (
            {_PROMPT} from mem_user_prompts t {_OF} where t.session_id = %(session)s and t.id = any(%(prompts)s)
            union all
            {_CALL} from mem_tool_calls t {_OF} where t.session_id = %(session)s and t.tool_use_id = any(%(calls)s)
            union all
            {_MESSAGE} from mem_assistant_messages t {_OF}
                where %(messages)s::text[] <> '{{}}' and t.session_id = %(session)s
                    and t.text_sha = any(array(select decode(sha, 'hex') from unnest(%(messages)s::text[]) sha))
            union all
            select 'session', s.id, null, {_SESSION}, null, null,
                case what when 'ended' then coalesce(s.ended_at, s.last_event_at) else s.started_at end,
                what, case what when 'ended' then s.end_reason else s.source end, null, null, null, null
            from mem_sessions s join mem_projects p on p.id = s.project_id, unnest(%(marks)s::text[]) what
            where s.id = %(session)s
        ) rows order by at, kind = 'session' desc, kind = 'prompt' desc, number
        """,
        {
            "session": told["session"],
            "prompts": list(told.get("prompts", ())),
            "calls": list(told.get("calls", ())),
            "messages": list(told.get("messages", ())),
            "marks": list(told.get("marks", ())),
        },
    ).fetchall()


def named(
    conn: Connection,
    *,
    sessions: Sequence[str],
    prompts: Sequence[str],
    calls: Sequence[int],
    messages: Sequence[int],
    project_id: int | None,
) -> list[dict[str, Any]]:
    """These rows, as far as they are there and of the project, in order of time; columns as those of `recorded`. The
    prompts are looked for in `sessions`."""
    return conn.execute(
        f"""
        select * from (
            {_PROMPT} from mem_user_prompts t {_OF}
                where t.session_id = any(%(sessions)s) and t.id = any(%(prompts)s)
            union all
            {_CALL} from mem_tool_calls t {_OF} where t.id = any(%(calls)s)
            union all
            {_MESSAGE} from mem_assistant_messages t {_OF} where t.id = any(%(messages)s)
        ) rows where %(project)s::bigint is null or project_id = %(project)s
        order by at, kind = 'prompt' desc, number
        """,
        {
            "sessions": list(sessions),
            "prompts": list(prompts),
            "calls": list(calls),
            "messages": list(messages),
            "project": project_id,
        },
    ).fetchall()


def latest(
    conn: Connection,
    *,
    project_id: int | None,
    calls: int = 0,
    messages: int = 0,
    prompts: datetime | None = None,
    limit: int,
) -> list[dict[str, Any]]:
    """The last `limit` rows with higher numbers and later prompts than these, in order of time; columns as those of
    `recorded`. Only the sessions in which something happened last are looked at."""
    return conn.execute(
        f"""
        with recent as (
            select id from mem_sessions where %(project)s::bigint is null or project_id = %(project)s
            order by last_event_at desc limit {_LOOKED_AT}
        )
        select * from (
            select * from (
                ({_PROMPT} from mem_user_prompts t {_OF} where t.session_id in (select id from recent)
                    and (%(prompts)s::timestamptz is null or t.occurred_at > %(prompts)s)
                order by t.occurred_at desc limit %(limit)s)
                union all
                ({_CALL} from mem_tool_calls t {_OF} where t.session_id in (select id from recent)
                    and t.id > %(calls)s order by t.id desc limit %(limit)s)
                union all
                ({_MESSAGE} from mem_assistant_messages t {_OF} where t.session_id in (select id from recent)
                    and t.id > %(messages)s order by t.id desc limit %(limit)s)
            ) rows order by at desc, number desc limit %(limit)s
        ) newest order by at, kind = 'prompt' desc, number
        """,
        {
            "project": project_id,
            "calls": calls,
            "messages": messages,
            "prompts": prompts,
            "limit": limit,
        },
    ).fetchall()


def sessions(
    conn: Connection,
    *,
    project_id: int | None,
    agent: str | None,
    text: str | None,
    after: str | None,
    limit: int,
) -> list[dict[str, Any]]:
    """Sessions, that with the latest event first. `text` is looked for in prompts, branch, folder and id; `after` is
    the last row's `cursor`. Columns: id, project_id, project, agent, model, git_branch, started_at, last_event_at,
    ended_at, title (its first prompt's beginning), prompts, calls, failed, told (how often a lesson spoke), cursor."""
    at, _, last = (after or "").partition("~")
    return conn.execute(
        """
        with page as (
            select s.* from mem_sessions s
            where (%(project)s::bigint is null or s.project_id = %(project)s)
                and (%(agent)s::text is null or s.agent = %(agent)s)
                and (%(at)s = '' or (s.last_event_at, s.id) < (%(at)s::timestamptz, %(last)s))
                and (%(text)s::text is null or s.id ^@ %(text)s
                    or strpos(lower(concat(s.git_branch, ' ', s.cwd)), lower(%(text)s)) > 0
                    or exists (select from mem_user_prompts t where t.session_id = s.id
                        and strpos(lower(t.text), lower(%(text)s)) > 0))
            order by s.last_event_at desc, s.id desc limit %(limit)s
        )
        select s.id, s.project_id, p.name as project, s.agent, s.model, s.git_branch, s.started_at, s.last_event_at,
            s.ended_at, first.title, asked.prompts, made.calls, made.failed, spoke.told,
            s.last_event_at::text || '~' || s.id as cursor
        from page s join mem_projects p on p.id = s.project_id
        left join lateral (
            select left(t.text, 200) as title from mem_user_prompts t
            where t.session_id = s.id and t.agent_id is null
            order by t.kind <> 'user', t.occurred_at limit 1
        ) first on true
        cross join lateral (
            select count(*) as prompts from mem_user_prompts t where t.session_id = s.id and t.kind = 'user'
        ) asked cross join lateral (
            select count(*) as calls, count(*) filter (where t.success is false) as failed
            from mem_tool_calls t where t.session_id = s.id
        ) made cross join lateral (
            select count(*) as told from mem_lesson_events e where e.session_id = s.id
        ) spoke
        order by s.last_event_at desc, s.id desc
        """,
        {
            "project": project_id,
            "agent": agent,
            "text": text,
            "at": at,
            "last": last,
            "limit": limit,
        },
    ).fetchall()


def agents(conn: Connection) -> list[str]:
    """Every agent that was recorded."""
    rows = conn.execute("select distinct agent from mem_sessions order by agent")
    return [row["agent"] for row in rows]


# A session's steps of one agent (null: the main one), to be ordered by _IN_ORDER: as they happened.
_STEPS = """
    select 'prompt' as kind, t.id as name, null::bigint as number, t.occurred_at as at, null::boolean as success,
        0 as weight
    from mem_user_prompts t where t.session_id = %(session)s and t.agent_id is not distinct from %(agent)s::text
    union all
    select 'message', null, t.id, t.occurred_at, null, 1
    from mem_assistant_messages t
    where t.session_id = %(session)s and t.agent_id is not distinct from %(agent)s::text
    union all
    select 'call', t.tool_use_id, t.id, t.occurred_at, t.success, 2
    from mem_tool_calls t where t.session_id = %(session)s and t.agent_id is not distinct from %(agent)s::text
"""
_IN_ORDER = "order by at, weight, number, name"


def steps(
    conn: Connection, session_id: str, *, agent_id: str | None, after: int, limit: int
) -> list[dict[str, Any]]:
    """Which steps follow the place `after`, in order: kind, name (of a prompt its id, of a call the agent's id for it),
    number (of a call or message), at, success."""
    return conn.execute(
        f"select kind, name, number, at, success from ({_STEPS}) steps {_IN_ORDER} limit %(limit)s offset %(after)s",
        {"session": session_id, "agent": agent_id, "after": after, "limit": limit},
    ).fetchall()


def turns(conn: Connection, session_id: str, *, agent_id: str | None) -> list[dict[str, Any]]:
    """The prompts of a session with what followed each: place (of the prompt among the agent's steps, from 1), at, text
    (its beginning), kind, steps (with the prompt), calls, failed. What was before the first prompt is a turn without
    text."""
    # Nothing is sorted but the prompts: a step belongs to the last of them that is not later than it.
    return conn.execute(
        """
        with prompt as (
            select row_number() over (order by occurred_at, id) as turn, occurred_at as at, left(text, 120) as text,
                kind
            from mem_user_prompts
            where session_id = %(session)s and agent_id is not distinct from %(agent)s::text
        ), bounds as materialized (
            select array_agg(at order by turn) as began from prompt
        ), followed as (
            select coalesce(width_bucket(at, began), 0) as turn, min(at) as at, count(*) as steps,
                count(*) filter (where call) as calls, count(*) filter (where success is false) as failed
            from bounds, (
                select occurred_at as at, true as call, success from mem_tool_calls
                where session_id = %(session)s and agent_id is not distinct from %(agent)s::text
                union all
                select occurred_at, false, null from mem_assistant_messages
                where session_id = %(session)s and agent_id is not distinct from %(agent)s::text
            ) step
            group by 1
        ), turn as (
            select turn, coalesce(prompt.at, followed.at) as at, text, kind,
                (kind is not null)::int + coalesce(steps, 0) as steps, coalesce(calls, 0) as calls,
                coalesce(failed, 0) as failed
            from prompt full join followed using (turn)
        )
        select (sum(steps) over (order by turn) - steps + 1)::bigint as place, at, text, kind, steps, calls, failed
        from turn order by turn
        """,
        {"session": session_id, "agent": agent_id},
    ).fetchall()


def place_of(
    conn: Connection, session_id: str, *, prompt_id: str | None = None, call: int | None = None
) -> tuple[str | None, int] | None:
    """Where in a session a prompt or a call is: whose step (see `steps`), and its place."""
    owner = conn.execute(
        """
        select agent_id from mem_user_prompts where session_id = %(session)s and id = %(prompt)s
        union all select agent_id from mem_tool_calls where session_id = %(session)s and id = %(call)s
        """,
        {"session": session_id, "prompt": prompt_id, "call": call},
    ).fetchone()
    if owner is None:
        return None
    row = conn.execute(
        f"select place from (select *, row_number() over ({_IN_ORDER}) as place from ({_STEPS}) steps) placed"
        " where (kind = 'prompt' and name = %(prompt)s) or (kind = 'call' and number = %(call)s)",
        {"session": session_id, "agent": owner["agent_id"], "prompt": prompt_id, "call": call},
    ).fetchone()
    return (owner["agent_id"], int(row["place"])) if row else None


def prompts(conn: Connection, session_id: str, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Prompts by their ids: kind, text, ended_at, end_error."""
    rows = conn.execute(
        "select id, kind, text, ended_at, end_error from mem_user_prompts where session_id = %s and id = any(%s)",
        (session_id, list(ids)),
    )
    return {row["id"]: row for row in rows}


def messages(conn: Connection, numbers: Sequence[int]) -> dict[int, dict[str, Any]]:
    """Messages by their numbers: kind, text, model, usage."""
    rows = conn.execute(
        "select id, kind, text, model, usage from mem_assistant_messages where id = any(%s)", (list(numbers),)
    )
    return {row["id"]: row for row in rows}


def calls(conn: Connection, numbers: Sequence[int], *, chars: int) -> dict[int, dict[str, Any]]:
    """Calls by their numbers: tool_name, tool_input (null where longer than ten times `chars`), input_chars, output and
    error (at most `chars` of each; of an error its end), kept (characters of the output that are stored), output_chars
    (how many it had), error_chars, success, duration_ms, agent_id."""
    rows = conn.execute(
        """
        select id, tool_use_id, tool_name, case when size.input <= 10 * %(chars)s then tool_input end as tool_input,
            size.input as input_chars, left(output, %(chars)s) as output, length(output) as kept, output_chars,
            right(error, %(chars)s) as error, length(error) as error_chars, success, duration_ms, agent_id
        from mem_tool_calls, lateral (select length(tool_input::text) as input) size where id = any(%(ids)s)
        """,
        {"ids": list(numbers), "chars": chars},
    )
    return {row["id"]: row for row in rows}


def call(conn: Connection, number: int) -> dict[str, Any] | None:
    """One call, whole, with its session's project_id, project and agent."""
    return conn.execute(
        f"select t.*, {_SESSION} from mem_tool_calls t {_OF} where t.id = %s", (number,)
    ).fetchone()


def subagents(conn: Connection, session_id: str) -> list[dict[str, Any]]:
    """The subagents of a session, in the order in which they began: agent_id, agent_type, began_at, ended_at, calls,
    failed, asked (the beginning of what it was told)."""
    return conn.execute(
        """
        select agent_id, max(agent_type) as agent_type, min(at) as began_at, max(at) as ended_at,
            count(*) filter (where call) as calls, count(*) filter (where success is false) as failed,
            (select left(p.text, 200) from mem_user_prompts p where p.session_id = %(session)s
                and p.agent_id = told.agent_id order by p.occurred_at limit 1) as asked
        from (
            select agent_id, agent_type, occurred_at as at, true as call, success from mem_tool_calls
            where session_id = %(session)s and agent_id is not null
            union all
            select agent_id, agent_type, occurred_at, false, null from mem_assistant_messages
            where session_id = %(session)s and agent_id is not null
            union all
            select agent_id, null, occurred_at, false, null from mem_user_prompts
            where session_id = %(session)s and agent_id is not null
        ) told
        group by agent_id order by began_at, agent_id
        """,
        {"session": session_id},
    ).fetchall()


def spoke(
    conn: Connection, session_id: str, *, agent_id: str | None, since: datetime | None, until: datetime | None
) -> list[dict[str, Any]]:
    """The lessons that spoke in a session to one agent: at, lesson_id, title, rule, severity, action, outcome,
    tool_name, phase. From `since` on, before `until`."""
    return conn.execute(
        """
        select e.fired_at as at, e.lesson_id, l.title, l.rule, l.severity, e.action, e.outcome, e.tool_name, e.phase
        from mem_lesson_events e join mem_lessons l on l.id = e.lesson_id
        where e.session_id = %(session)s and e.agent_id is not distinct from %(agent)s::text
            and (%(since)s::timestamptz is null or e.fired_at >= %(since)s)
            and (%(until)s::timestamptz is null or e.fired_at < %(until)s)
        order by e.fired_at, e.id
        """,
        {"session": session_id, "agent": agent_id, "since": since, "until": until},
    ).fetchall()


def days(conn: Connection, project_id: int, bounds: Sequence[datetime]) -> list[int]:
    """How many observations of a project occurred between each two of these moments, which are in order."""
    rows = conn.execute(
        """
        select width_bucket(occurred_at, %(bounds)s::timestamptz[]) as day, count(*) as number from mem_observations
        where project_id = %(project)s and occurred_at >= %(first)s and occurred_at < %(last)s group by 1
        """,
        {"project": project_id, "bounds": list(bounds), "first": bounds[0], "last": bounds[-1]},
    )
    found = {row["day"]: int(row["number"]) for row in rows}
    return [found.get(day, 0) for day in range(1, len(bounds))]


def day(
    conn: Connection, project_id: int, since: datetime, until: datetime, *, limit: int
) -> list[dict[str, Any]]:
    """What a project remembers of a time, in order: id, kind, title, occurred_at, session_id, external_id, sources,
    agent, git_branch, retracted (it no longer holds)."""
    return conn.execute(
        """
        select o.id, o.kind, o.title, o.occurred_at, o.session_id, o.external_id, o.sources, s.agent, s.git_branch,
            o.valid_until <= now() or exists (select from mem_observations l where l.supersedes = o.id) as retracted
        from mem_observations o left join mem_sessions s on s.id = o.session_id
        where o.project_id = %(project)s and o.occurred_at >= %(since)s and o.occurred_at < %(until)s
        order by o.occurred_at, o.id limit %(limit)s
        """,
        {"project": project_id, "since": since, "until": until, "limit": limit},
    ).fetchall()


def neighbours_in_time(
    conn: Connection, project_id: int, since: datetime, until: datetime
) -> tuple[datetime | None, datetime | None]:
    """When a project last remembered something before a time, and first from its end on."""
    row = conn.execute(
        """
        select
            (select max(occurred_at) from mem_observations
                where project_id = %(project)s and occurred_at < %(since)s) as before,
            (select min(occurred_at) from mem_observations
                where project_id = %(project)s and occurred_at >= %(until)s) as after
        """,
        {"project": project_id, "since": since, "until": until},
    ).fetchone()
    assert row is not None
    return row["before"], row["after"]
