"""The SQL of lessons. Functions take a connection and never commit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from psycopg.types.json import Jsonb

from agent_memory.database import Connection
from agent_memory.lessons.lesson import Action, Draft, Lesson, Status
from agent_memory.lessons.moment import Phase
from agent_memory.lessons.outcome import Outcome, Ran
from agent_memory.lessons.trigger import Trigger


@dataclass(frozen=True, slots=True, kw_only=True)
class Firing:
    """A lesson spoke."""

    lesson_id: int
    project: str
    """The identity of the project in which it spoke."""
    session_id: str
    prompt_id: str | None
    agent_id: str | None
    tool_use_id: str | None
    tool_name: str | None
    phase: Phase
    action: Action
    fired_at: datetime = field(default_factory=lambda: datetime.now(UTC))


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsettled:
    """A firing, with what is needed to tell what came of it."""

    id: int
    session_id: str
    agent_id: str | None
    tool_use_id: str | None
    action: Action
    trigger: Trigger
    cwd: str | None
    outcome: str | None
    calls: list[int]


_SELECT = """
    select l.*, p.identity as project, p.name as project_name
    from mem_lessons l left join mem_projects p on p.id = l.project_id
"""
_RAN = """
    select id, tool_use_id, tool_name as tool, tool_input as input, success, error, prompt_id from mem_tool_calls
"""
_BY_WEIGHT = "array_position(array['critical', 'warning', 'info'], l.severity), l.id"


def by_status(conn: Connection) -> dict[str, int]:
    """How many lessons there are of each status, in all projects."""
    rows = conn.execute("select status, count(*) as n from mem_lessons group by status")
    return {row["status"]: int(row["n"]) for row in rows}


def lock(conn: Connection) -> None:
    """One lesson is made at a time until the transaction's end, so that two who make the same one make it once."""
    conn.execute("lock table mem_lessons in share row exclusive mode")


def insert(conn: Connection, draft: Draft, status: Status) -> int:
    """Write a lesson as it is given; `gate.create` is the way in."""
    row = conn.execute(
        """
        insert into mem_lessons (project_id, title, rule, severity, status, action, trigger_phase, trigger_tools,
            trigger_pattern, trigger_kind, trigger_files, made_by, session_id, origin, evidence, estimate, decided_at)
        values (%(project_id)s, %(title)s, %(rule)s, %(severity)s, %(status)s, %(action)s, %(trigger_phase)s,
            %(trigger_tools)s, %(trigger_pattern)s, %(trigger_kind)s, %(trigger_files)s, %(made_by)s, %(session_id)s,
            %(origin)s, %(evidence)s, %(estimate)s, case when %(status)s <> 'candidate' then now() end)
        returning id
        """,
        {
            "project_id": draft.project_id,
            "title": draft.title,
            "rule": draft.rule,
            "severity": draft.severity,
            "status": status,
            "action": draft.action,
            **trigger_columns(draft.trigger),
            "made_by": draft.made_by,
            "session_id": draft.session_id,
            "origin": draft.origin,
            "evidence": Jsonb(draft.evidence),
            "estimate": Jsonb(draft.estimate),
        },
    ).fetchone()
    assert row is not None
    return int(row["id"])


def update(conn: Connection, number: int, columns: Mapping[str, Any]) -> None:
    """Set columns of one lesson. Their names come from our code alone."""
    assignments = ", ".join(f"{column} = %({column})s" for column in columns)
    if "trigger_pattern" in columns:
        assignments += ", trigger_since = now()"
    if "status" in columns:
        assignments += ", decided_at = now()"
    conn.execute(
        f"update mem_lessons set {assignments} where id = %(id)s".encode(), {**columns, "id": number}
    )


def set_estimate(
    conn: Connection, number: int, *, evidence: Mapping[str, Any], estimate: Mapping[str, Any]
) -> None:
    """Bring what mining knows of a lesson up to date. Nothing is written where nothing changed, so that another run
    of the mining changes nothing."""
    conn.execute(
        """
        update mem_lessons set evidence = %(evidence)s, estimate = %(estimate)s
        where id = %(id)s and (evidence, estimate) is distinct from (%(evidence)s, %(estimate)s)
        """,
        {"id": number, "evidence": Jsonb(evidence), "estimate": Jsonb(estimate)},
    )


def get(conn: Connection, number: int) -> Lesson | None:
    row = conn.execute(f"{_SELECT} where l.id = %s".encode(), (number,)).fetchone()
    return lesson_of(row) if row else None


def of_origin(conn: Connection, project_id: int | None, origin: str) -> Lesson | None:
    row = conn.execute(
        f"{_SELECT} where coalesce(l.project_id, 0) = %s and l.origin = %s".encode(),
        (project_id or 0, origin),
    ).fetchone()
    return lesson_of(row) if row else None


def of_origins(conn: Connection, origins: Sequence[str]) -> list[Lesson]:
    """The mined lessons of every project that were made from one of these, whatever their status; oldest first. A
    lesson has an origin of its own, and in its evidence those of what was merged into it."""
    rows = conn.execute(
        f"""
        {_SELECT} where l.made_by = 'mining' and (
            array[l.origin] || array(select jsonb_array_elements_text(l.evidence -> 'origins'))) && %s::text[]
        order by l.id
        """.encode(),
        (list(origins),),
    )
    return [lesson_of(row) for row in rows]


def same_trigger(conn: Connection, project_id: int | None, trigger: Trigger) -> list[Lesson]:
    """The lessons of a project, or the global ones, with this very trigger, whatever their status; oldest first."""
    rows = conn.execute(
        f"""
        {_SELECT} where l.project_id is not distinct from %(project_id)s and l.trigger_phase = %(trigger_phase)s
            and l.trigger_pattern = %(trigger_pattern)s and l.trigger_kind = %(trigger_kind)s
            and l.trigger_tools @> %(trigger_tools)s and l.trigger_tools <@ %(trigger_tools)s
            and l.trigger_files @> %(trigger_files)s and l.trigger_files <@ %(trigger_files)s
        order by l.id
        """.encode(),
        {"project_id": project_id, **trigger_columns(trigger)},
    )
    return [lesson_of(row) for row in rows]


def active(conn: Connection) -> list[Lesson]:
    """Every active lesson of every project, the weightiest first."""
    rows = conn.execute(f"{_SELECT} where l.status = 'active' order by {_BY_WEIGHT}".encode())
    return [lesson_of(row) for row in rows]


def ranked(conn: Connection, query: str, ids: Sequence[int]) -> dict[int, float]:
    """How well lessons answer a query by their words; one without any of its words is left out."""
    rows = conn.execute(
        """
        with asked as (
            select string_agg(quote_literal(lexeme), ' | ')::tsquery as words
            from unnest(to_tsvector('english', %(query)s))
        ), texts as (
            select id, to_tsvector('english', title || ' ' || rule || ' ' || trigger_pattern) as text
            from mem_lessons where id = any(%(ids)s)
        )
        select id, ts_rank(text, words) as rank from texts, asked where text @@ words
        """,
        {"query": query[:10_000], "ids": list(ids)},
    )
    return {row["id"]: row["rank"] for row in rows}


def listed(
    conn: Connection,
    *,
    project_id: int | None = None,
    statuses: Sequence[Status] | None = None,
    every_project: bool = False,
    after: int = 0,
    limit: int = 1000,
) -> list[Lesson]:
    """Lessons in the order of their ids, from behind `after` on: those of one project and the global ones, or of
    every project."""
    rows = conn.execute(
        f"""
        {_SELECT}
        where (%(every)s or l.project_id is null or l.project_id = %(project_id)s)
            and (%(statuses)s::text[] is null or l.status = any(%(statuses)s)) and l.id > %(after)s
        order by l.id limit %(limit)s
        """.encode(),
        {
            "every": every_project,
            "project_id": project_id,
            "statuses": None if statuses is None else list(statuses),
            "after": after,
            "limit": limit,
        },
    )
    return [lesson_of(row) for row in rows]


def listen(conn: Connection) -> None:
    """Hear of every change to a lesson, in whatever process, through `conn.notifies()`."""
    conn.execute("listen mem_lessons")


def version(conn: Connection) -> Any:
    """Something that differs whenever the active lessons do."""
    return conn.execute(
        """
        select count(*) as lessons, coalesce(sum(hashint8extended(id, xmin::text::bigint)), 0) as rows
        from mem_lessons where status = 'active'
        """
    ).fetchone()


def record(conn: Connection, firings: Sequence[Firing]) -> None:
    """Write down that lessons spoke. A lesson that is gone by now is an IntegrityError."""
    conn.cursor().executemany(
        """
        insert into mem_lesson_events
            (lesson_id, project_id, session_id, prompt_id, agent_id, tool_use_id, tool_name, phase, action, fired_at)
        values (%s, (select id from mem_projects where identity = %s), %s, %s, %s, %s, %s, %s, %s, %s)
        """,
        [
            (
                one.lesson_id,
                one.project,
                one.session_id,
                one.prompt_id,
                one.agent_id,
                one.tool_use_id,
                one.tool_name,
                one.phase,
                one.action,
                one.fired_at,
            )
            for one in firings
        ],
    )


def told(conn: Connection, most: int) -> dict[tuple[str, str | None, str | None], set[int]]:
    """The lessons that spoke the latest `most` times, by session, prompt and subagent; the latest turn last."""
    rows = conn.execute(
        """
        select session_id, prompt_id, agent_id, array_agg(distinct lesson_id) as lessons
        from (select * from mem_lesson_events order by id desc limit %s) latest
        group by session_id, prompt_id, agent_id order by max(id)
        """,
        (most,),
    )
    return {(row["session_id"], row["prompt_id"], row["agent_id"]): set(row["lessons"]) for row in rows}


def unsettled(conn: Connection, since: datetime | None) -> list[Unsettled]:
    """The firings without an outcome, and those after `since`; None: all of them."""
    rows = conn.execute(
        """
        select e.id, e.session_id, e.agent_id, e.tool_use_id, e.action, e.outcome, e.outcome_calls as calls, s.cwd,
            l.trigger_phase, l.trigger_tools, l.trigger_pattern, l.trigger_kind, l.trigger_files
        from mem_lesson_events e join mem_lessons l on l.id = e.lesson_id
            left join mem_sessions s on s.id = e.session_id
        where %(since)s::timestamptz is null or e.outcome is null or e.fired_at > %(since)s
        order by e.id
        """,
        {"since": since},
    ).fetchall()
    kept = [name for name in Unsettled.__slots__ if name != "trigger"]
    return [Unsettled(trigger=_trigger(row), **{name: row[name] for name in kept}) for row in rows]


def call_at(conn: Connection, session_id: str, tool_use_id: str) -> Ran | None:
    rows = conn.execute(
        f"{_RAN} where session_id = %s and tool_use_id = %s".encode(), (session_id, tool_use_id)
    )
    return next((Ran(**row) for row in rows), None)


def calls_after(conn: Connection, session_id: str, agent_id: str | None, call_id: int) -> list[Ran]:
    """The calls that an agent, or one of its subagents, made in a session after a call; the first 50."""
    rows = conn.execute(
        f"""
        {_RAN} where session_id = %(session)s and agent_id is not distinct from %(agent)s
            and (occurred_at, id) > (select occurred_at, id from mem_tool_calls where id = %(call)s)
        order by occurred_at, id limit 50
        """.encode(),
        {"session": session_id, "agent": agent_id, "call": call_id},
    )
    return [Ran(**row) for row in rows]


def set_outcome(conn: Connection, number: int, outcome: Outcome, calls: Sequence[int]) -> None:
    conn.execute(
        "update mem_lesson_events set outcome = %s, outcome_calls = %s, decided_at = now() where id = %s",
        (outcome, list(calls), number),
    )


def records(conn: Connection) -> dict[int, dict[str, int]]:
    """How often each lesson spoke with its present trigger, by what came of it; `unknown` where nothing is known."""
    rows = conn.execute(
        """
        select e.lesson_id, coalesce(e.outcome, 'unknown') as outcome, count(*) as times
        from mem_lesson_events e join mem_lessons l on l.id = e.lesson_id
        where e.fired_at >= l.trigger_since group by 1, 2
        """
    )
    found: dict[int, dict[str, int]] = {}
    for row in rows:
        found.setdefault(row["lesson_id"], {})[row["outcome"]] = row["times"]
    return found


def firings(
    conn: Connection, lesson_id: int, *, project_id: int | None = None, limit: int = 20
) -> list[dict[str, Any]]:
    """When and where a lesson spoke last, in one project or in all, with what came of it; the newest first."""
    return conn.execute(
        """
        select session_id, prompt_id, agent_id, tool_use_id, tool_name, phase, action, fired_at, outcome,
            outcome_calls
        from mem_lesson_events
        where lesson_id = %(lesson)s and (%(project)s::bigint is null or project_id = %(project)s)
        order by id desc limit %(limit)s
        """,
        {"lesson": lesson_id, "project": project_id, "limit": limit},
    ).fetchall()


def ledger(
    conn: Connection,
    *,
    project_id: int | None = None,
    lesson_id: int | None = None,
    session_id: str | None = None,
    before: int | None = None,
    limit: int = 100,
) -> list[dict[str, Any]]:
    """The times that lessons spoke, the newest first: in one project or in all, of one lesson, in one session. `before`
    is the id of the last one that was read. Columns: id, at, lesson_id, title, severity, project (its name),
    session_id, prompt_id, tool_name, phase, action, outcome, call_id (at which it spoke, if that is stored), calls
    (that tell the outcome)."""
    return conn.execute(
        """
        select e.id, e.fired_at as at, e.lesson_id, l.title, l.severity, p.name as project, e.session_id, e.prompt_id,
            e.tool_name, e.phase, e.action, coalesce(e.outcome, 'unknown') as outcome, c.id as call_id,
            e.outcome_calls as calls
        from mem_lesson_events e join mem_lessons l on l.id = e.lesson_id
            left join mem_projects p on p.id = e.project_id
            left join mem_tool_calls c on c.session_id = e.session_id and c.tool_use_id = e.tool_use_id
        where (%(project)s::bigint is null or e.project_id = %(project)s)
            and (%(lesson)s::bigint is null or e.lesson_id = %(lesson)s)
            and (%(session)s::text is null or e.session_id = %(session)s)
            and (%(before)s::bigint is null or e.id < %(before)s)
        order by e.id desc limit %(limit)s
        """,
        {
            "project": project_id,
            "lesson": lesson_id,
            "session": session_id,
            "before": before,
            "limit": limit,
        },
    ).fetchall()


def trigger_columns(trigger: Trigger) -> dict[str, Any]:
    return {
        "trigger_phase": trigger.phase,
        "trigger_tools": list(trigger.tools),
        "trigger_pattern": trigger.pattern,
        "trigger_kind": trigger.kind,
        "trigger_files": list(trigger.files),
    }


def lesson_of(row: Mapping[str, Any]) -> Lesson:
    kept = {name: row[name] for name in Lesson.__slots__ if name != "trigger"}
    return Lesson(trigger=_trigger(row), **kept)


def _trigger(row: Mapping[str, Any]) -> Trigger:
    return Trigger(
        phase=row["trigger_phase"],
        tools=tuple(row["trigger_tools"]),
        pattern=row["trigger_pattern"],
        kind=row["trigger_kind"],
        files=tuple(row["trigger_files"]),
    )


def move(conn: Connection, target: int, *, project: int | None = None, sessions: Sequence[str] = ()) -> int:
    """Give lessons to another project, with what came of them: all of a project, or those that were made in
    `sessions`. How many. One that mining would make again there keeps its rule and gives up its origin."""
    chosen = {"target": target, "project": project, "sessions": list(sessions)}
    mine = "(project_id = %(project)s::bigint or session_id = any(%(sessions)s::text[]))"
    conn.execute(
        f"""
        update mem_lessons l set origin = null where project_id <> %(target)s and {mine} and exists
            (select from mem_lessons there where there.project_id = %(target)s and there.origin = l.origin)
        """,
        chosen,
    )
    conn.execute(
        f"update mem_lesson_events set project_id = %(target)s where project_id <> %(target)s and {mine}",
        chosen,
    )
    return conn.execute(
        f"update mem_lessons set project_id = %(target)s where project_id <> %(target)s and {mine}", chosen
    ).rowcount
