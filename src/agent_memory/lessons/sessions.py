"""The journal's sessions as mining reads them: the SQL that reads them, and nothing that writes."""

from __future__ import annotations

import bisect
from collections import defaultdict
from datetime import datetime
from typing import Any

from agent_memory.database import Connection
from agent_memory.lessons.history import Said, Session, Step
from agent_memory.observations.calls import READ_CHARS, Call
from agent_memory.observations.store import BOTH_ENDS, COMMAND, PATH

MOST_CALLS = 20_000
"""The latest ones of a project: half a year of daily work, and a few seconds of mining."""
_INPUT_CHARS = 2_000
_END_CHARS = 600


def load(conn: Connection, project_id: int, *, since: datetime | None = None) -> list[Session]:
    """A project's sessions with their latest calls, in order of time. `since`: only calls from then on."""
    key = {
        "project": project_id,
        "since": since,
        "most": MOST_CALLS,
        "input": READ_CHARS,
        "json": _INPUT_CHARS,
    }
    rows = conn.execute(
        f"""
        select c.id, c.session_id, c.tool_name as tool, c.success, c.agent_id, c.occurred_at,
            left({COMMAND}, %(input)s) as command, {PATH} as path,
            case when c.tool_name like 'mcp\\_\\_%%' then left(i::text, %(json)s) end as input,
            case when c.success is false then {BOTH_ENDS} end as error,
            case when strpos({COMMAND}, '|') > 0 then right(c.output, {_END_CHARS}) end as output
        from (
            select t.* from mem_tool_calls t
            where t.project_id = %(project)s and (%(since)s::timestamptz is null or t.occurred_at >= %(since)s)
            order by t.id desc limit %(most)s
        ) c, lateral (select c.tool_input as i, coalesce(c.error, c.output) as said) given
        order by c.session_id, c.occurred_at, c.id
        """.encode(),
        key,
    ).fetchall()
    calls: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        calls[row["session_id"]].append(row)
    prompts = _prompts(conn, list(calls))
    return [
        _session(about, calls[about["id"]], prompts[about["id"]])
        for about in conn.execute(
            "select s.id, s.project_id, s.cwd, p.path from mem_sessions s join mem_projects p on p.id = s.project_id"
            " where s.id = any(%s) order by s.started_at, s.id",
            (list(calls),),
        )
    ]


def _prompts(conn: Connection, sessions: list[str]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in conn.execute(
        "select session_id, id, left(text, %s) as text, occurred_at from mem_user_prompts"
        " where session_id = any(%s) and kind = 'user' and agent_id is null order by session_id, occurred_at, id",
        (READ_CHARS, sessions),
    ):
        found[row["session_id"]].append(row)
    return found


def _session(about: dict[str, Any], calls: list[dict[str, Any]], prompts: list[dict[str, Any]]) -> Session:
    times = [prompt["occurred_at"] for prompt in prompts]
    steps = [
        Step(
            Call(**{name: row[name] for name in _COLUMNS}),
            about["id"],
            bisect.bisect_right(times, row["occurred_at"]),
        )
        for row in calls
    ]
    return Session(
        id=about["id"],
        project_id=about["project_id"],
        roots=sorted({path for path in (about["path"], about["cwd"]) if path}, key=len, reverse=True),
        steps=steps,
        said=[
            Said(id=prompt["id"], session_id=about["id"], turn=turn, text=prompt["text"])
            for turn, prompt in enumerate(prompts, 1)
        ],
    )


_COLUMNS = ("id", "tool", "success", "agent_id", "command", "path", "input", "error", "output")
