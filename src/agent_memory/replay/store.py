"""The SQL of looking on. Functions take a connection and never commit."""

from __future__ import annotations

from collections.abc import Mapping
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
