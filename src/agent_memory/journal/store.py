"""The SQL of what happened: projects, sessions, prompts, tool calls, assistant messages.

Every write is idempotent by a natural key, and the database arbitrates: the same event read twice, or told by a hook
and again by a transcript, is one row. A writer upserts its sessions first and in order of id; the rows' locks keep two
writers of one session apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from agent_memory.database import Connection, count
from agent_memory.journal.event import HOOK_ID


@dataclass(slots=True, kw_only=True)
class SessionRow:
    id: str
    project_id: int
    """Of a new session: one that is known stays where it is."""
    agent: str
    started_at: datetime
    last_event_at: datetime
    origin_id: int | None = None
    """The project that its folder names, where a person gave it to another."""
    agent_version: str | None = None
    model: str | None = None
    git_branch: str | None = None
    cwd: str | None = None
    transcript_path: str | None = None
    source: str | None = None
    ended_at: datetime | None = None
    end_reason: str | None = None
    machine: str | None = None
    """Where it ran."""


@dataclass(slots=True, kw_only=True)
class PromptRow:
    session_id: str
    id: str
    kind: str
    agent_id: str | None
    text: str
    text_sha: bytes
    occurred_at: datetime


@dataclass(slots=True, kw_only=True)
class CallRow:
    session_id: str
    tool_use_id: str
    prompt_id: str | None
    agent_id: str | None
    agent_type: str | None
    tool_name: str
    tool_input: str
    """As JSON text."""
    output: str | None
    output_chars: int | None
    success: bool | None
    error: str | None
    duration_ms: int | None
    occurred_at: datetime


@dataclass(slots=True, kw_only=True)
class MessageRow:
    session_id: str
    prompt_id: str | None
    agent_id: str | None
    agent_type: str | None
    kind: str
    message_uuid: str | None
    model: str | None
    text: str
    text_sha: bytes
    usage: str | None
    """As JSON text."""
    occurred_at: datetime


def project_id(
    conn: Connection, *, number: int | None = None, identity: str | None = None, name: str | None = None
) -> int | None:
    """A project's id by one of its names, or that of the project it was merged into; by `name` only where exactly one
    project has it."""
    rows = conn.execute(
        "select distinct coalesce(merged_into, id) as id from mem_projects"
        " where id = %(number)s or identity = %(identity)s or name = %(name)s limit 2",
        {"number": number, "identity": identity, "name": name},
    ).fetchall()
    return int(rows[0]["id"]) if len(rows) == 1 else None


def project_itself(conn: Connection, *, number: int | None = None, identity: str | None = None) -> int | None:
    """The id of the project that has this id or identity, also where it was merged into another."""
    row = conn.execute(
        "select id from mem_projects where id = %s or identity = %s", (number, identity)
    ).fetchone()
    return int(row["id"]) if row else None


def hold_project(conn: Connection, identity: str) -> dict[str, Any] | None:
    """The `id`, `merged_into`, `mark` and `machine` of a project, which nobody can merge or split before the caller
    commits."""
    return conn.execute(
        "select id, merged_into, mark, machine from mem_projects where identity = %s for key share",
        (identity,),
    ).fetchone()


def insert_project(
    conn: Connection,
    identity: str,
    name: str,
    path: str | None,
    *,
    mark: str | None = None,
    machine: str | None = None,
    merged_into: int | None = None,
) -> int:
    """The id of the project of this identity, made where there was none."""
    row = conn.execute(
        "insert into mem_projects (identity, name, path, mark, machine, merged_into) values (%s, %s, %s, %s, %s, %s)"
        " on conflict (identity) do update set identity = excluded.identity returning id",
        (identity, name, path, mark, machine, merged_into),
    ).fetchone()
    assert row is not None
    return int(row["id"])


def mark_project(conn: Connection, number: int, mark: str) -> None:
    conn.execute("update mem_projects set mark = %s where id = %s", (mark, number))


def claim_project(conn: Connection, number: int, machine: str) -> bool:
    """Make a place that is nobody's one of this machine. False: another machine was quicker."""
    return bool(
        conn.execute(
            "update mem_projects set machine = %s where id = %s and machine is null", (machine, number)
        ).rowcount
    )


def place_of(conn: Connection, identity: str) -> dict[str, Any] | None:
    """The `machine` and the `mark` of a project."""
    return conn.execute("select machine, mark from mem_projects where identity = %s", (identity,)).fetchone()


def places_elsewhere(conn: Connection, machine: str) -> dict[str, str | None]:
    """The identity of each project that is a place on another machine → its mark."""
    rows = conn.execute("select identity, mark from mem_projects where machine <> %s", (machine,))
    return {row["identity"]: row["mark"] for row in rows}


def own_places(conn: Connection, machine: str) -> None:
    """This machine is the only one that ever writes to the database: what it holds of places is this one's. So a backup
    that was brought to a new machine goes on there."""
    conn.execute(
        "update mem_projects set machine = %s where identity ~ '^(dir|path):' and machine is distinct from %s",
        (machine, machine),
    )
    conn.execute(
        "update mem_transcripts t set machine = %(here)s where machine = '' and not exists"
        " (select from mem_transcripts where path = t.path and machine = %(here)s)",
        {"here": machine},
    )


def heard(conn: Connection, machine: str, version: str) -> None:
    """The service of this machine is up."""
    conn.execute(
        "insert into mem_machines (id, version) values (%s, %s)"
        " on conflict (id) do update set version = excluded.version, heard_at = clock_timestamp()",
        (machine, version),
    )


def machines(conn: Connection) -> list[dict[str, Any]]:
    """Every machine whose service was ever up, the one that was heard last first: `id`, `version`, `heard_at`, and
    `silent_s`, by the database's clock."""
    return conn.execute(
        "select id, version, heard_at, extract(epoch from clock_timestamp() - heard_at)::float8 as silent_s"
        " from mem_machines order by heard_at desc"
    ).fetchall()


def marked_projects(conn: Connection, mark: str) -> list[dict[str, Any]]:
    """The projects with this mark: `identity`, and `id` (that of the project they are in)."""
    return conn.execute(
        "select coalesce(merged_into, id) as id, identity from mem_projects where mark = %s order by id",
        (mark,),
    ).fetchall()


def project_of_folder(conn: Connection, folders: Sequence[str], machine: str) -> int | None:
    """The project that a person gave the innermost of these folders to, on this machine, if any."""
    row = conn.execute(
        "select coalesce(p.merged_into, p.id) as id from mem_project_folders f"
        " join mem_projects p on p.id = f.project_id"
        " where f.path = any(%s) and f.machine in ('', %s) order by length(f.path) desc, f.machine desc limit 1",
        (list(folders), machine),
    ).fetchone()
    return int(row["id"]) if row else None


def merged_identities(conn: Connection) -> dict[str, str]:
    """The identity of each project that was merged → that of the one it was merged into."""
    rows = conn.execute(
        "select p.identity, t.identity as target from mem_projects p join mem_projects t on t.id = p.merged_into"
    )
    return {row["identity"]: row["target"] for row in rows}


def given_folders(conn: Connection, machine: str) -> dict[str, str]:
    """Each folder that a person gave to a project, on this machine → that project's identity."""
    rows = conn.execute(
        "select f.path, coalesce(t.identity, p.identity) as target from mem_project_folders f"
        " join mem_projects p on p.id = f.project_id left join mem_projects t on t.id = p.merged_into"
        " where f.machine in ('', %s) order by f.machine",
        (machine,),
    )
    return {row["path"]: row["target"] for row in rows}


def hold_number(conn: Connection, number: int) -> int:
    """Like `hold_project`, by id: the project that it is now."""
    row = conn.execute(
        "select coalesce(merged_into, id) as id from mem_projects where id = %s for key share", (number,)
    ).fetchone()
    assert row is not None
    return int(row["id"])


def projects(conn: Connection) -> list[dict[str, Any]]:
    return conn.execute(
        "select p.id, p.identity, p.name, p.path, count(s.id) as sessions, max(s.last_event_at) as last_event_at"
        " from mem_projects p left join mem_sessions s on s.project_id = p.id where p.merged_into is null"
        " group by p.id order by p.id"
    ).fetchall()


def project(conn: Connection, number: int) -> dict[str, Any]:
    """One project, with what was `merged` into it, the `folders` that a person gave to it, and the folders in which its
    sessions ran (`seen`)."""
    row = conn.execute(
        """
        select p.id, p.identity, p.name, p.path, p.merged_into, p.created_at,
            (select count(*) from mem_sessions where project_id = p.id) as sessions,
            (select max(last_event_at) from mem_sessions where project_id = p.id) as last_event_at,
            array(select identity from mem_projects where merged_into = p.id order by id) as merged,
            array(select path from mem_project_folders where project_id = p.id order by path) as folders,
            array(select cwd from mem_sessions where project_id = p.id and cwd is not null
                group by cwd order by count(*) desc, cwd limit 20) as seen
        from mem_projects p where p.id = %s
        """,
        (number,),
    ).fetchone()
    assert row is not None
    return row


def lock_projects(conn: Connection, numbers: Sequence[int]) -> None:
    """Let nobody store anything new in these projects until the caller commits."""
    conn.execute(
        "select from mem_projects where id = any(%s) order by id for update", (sorted(set(numbers)),)
    )


def merge_projects(conn: Connection, source: int, target: int) -> None:
    """From now on whatever names `source` means `target`."""
    conn.execute(
        "update mem_projects set merged_into = %(target)s where id = %(source)s or merged_into = %(source)s",
        {"source": source, "target": target},
    )


def separate_project(conn: Connection, number: int) -> None:
    """A project that was merged is one of its own again."""
    conn.execute("update mem_projects set merged_into = null where id = %s", (number,))


def give_folder(conn: Connection, path: str, machine: str, project: int) -> None:
    """From now on what happens in this folder of this machine, and below, is that project's."""
    conn.execute(
        "insert into mem_project_folders (path, machine, project_id) values (%s, %s, %s)"
        " on conflict (path, machine) do update set project_id = excluded.project_id",
        (path, machine, project),
    )


def sessions_of(conn: Connection, project: int) -> list[dict[str, Any]]:
    """Every session of a project: `id`, `cwd`, `origin_id`; none can go on until the caller commits."""
    return conn.execute(
        "select id, cwd, origin_id from mem_sessions where project_id = %s order by id for no key update",
        (project,),
    ).fetchall()


def move_sessions(conn: Connection, sessions: Sequence[str], target: int) -> int:
    """Give sessions to another project. How many were not there before."""
    values = {"ids": list(sessions), "target": target}
    conn.execute(
        "update mem_tool_calls set project_id = %(target)s"
        " where session_id = any(%(ids)s) and project_id <> %(target)s",
        values,
    )
    return conn.execute(
        "update mem_sessions set project_id = %(target)s,"
        " origin_id = nullif(coalesce(origin_id, project_id), %(target)s)"
        " where id = any(%(ids)s) and project_id <> %(target)s",
        values,
    ).rowcount


def session_counts(conn: Connection, sessions: Sequence[str]) -> dict[str, int]:
    """The rows of these sessions in each table of the journal."""
    tables = {
        "prompts": "user_prompts",
        "tool_calls": "tool_calls",
        "assistant_messages": "assistant_messages",
    }
    row = conn.execute(
        "select "
        + ", ".join(
            f"(select count(*) from mem_{table} where session_id = any(%(ids)s)) as {name}"
            for name, table in tables.items()
        ),
        {"ids": list(sessions)},
    ).fetchone()
    assert row is not None
    return dict(row)


def known_sessions(conn: Connection, sessions: Sequence[str]) -> dict[str, tuple[int, datetime | None]]:
    """The project of each of these sessions that is known already (a session never changes its project), and up to
    when retention has let go of it."""
    rows = conn.execute(
        "select id, project_id, retired_until from mem_sessions where id = any(%s)", (list(sessions),)
    )
    return {row["id"]: (row["project_id"], row["retired_until"]) for row in rows}


def known_projects(conn: Connection, sessions: Sequence[str]) -> dict[str, int]:
    """The project of each of these sessions that is known already."""
    return {id_: project for id_, (project, _) in known_sessions(conn, sessions).items()}


def identities(conn: Connection, sessions: Sequence[str]) -> dict[str, str]:
    """The identity of the project of each of these sessions that is known."""
    rows = conn.execute(
        "select s.id, p.identity from mem_sessions s join mem_projects p on p.id = s.project_id"
        " where s.id = any(%s)",
        (list(sessions),),
    )
    return {row["id"]: row["identity"] for row in rows}


def save_sessions(conn: Connection, rows: Sequence[SessionRow]) -> int:
    """Upsert, in order of id (the locks). What is known stays; what was missing is filled. How many were new."""
    new = 0
    for row in sorted(rows, key=lambda r: r.id):
        said = conn.execute(
            """
            insert into mem_sessions as s (id, project_id, origin_id, agent, agent_version, model, git_branch, cwd,
                transcript_path, source, started_at, last_event_at, ended_at, end_reason, machine)
            values (%(id)s, %(project_id)s, %(origin_id)s, %(agent)s, %(agent_version)s, %(model)s, %(git_branch)s,
                %(cwd)s, %(transcript_path)s, %(source)s, %(started_at)s, %(last_event_at)s, %(ended_at)s,
                %(end_reason)s, %(machine)s)
            on conflict (id) do update set
                agent_version = coalesce(excluded.agent_version, s.agent_version),
                model = coalesce(excluded.model, s.model),
                git_branch = coalesce(excluded.git_branch, s.git_branch),
                cwd = coalesce(s.cwd, excluded.cwd),
                transcript_path = coalesce(s.transcript_path, excluded.transcript_path),
                source = coalesce(s.source, excluded.source),
                started_at = least(s.started_at, excluded.started_at),
                last_event_at = greatest(s.last_event_at, excluded.last_event_at),
                ended_at = coalesce(excluded.ended_at, s.ended_at),
                end_reason = coalesce(excluded.end_reason, s.end_reason)
            returning (xmax = 0) as new
            """,
            {field: getattr(row, field) for field in SessionRow.__slots__},
        ).fetchone()
        new += bool(said and said["new"])
    return new


def prompt_texts(conn: Connection, keys: Sequence[tuple[str, str]]) -> dict[tuple[str, str], bytes]:
    """The text hash of each of these (session, prompt) that is stored."""
    rows = conn.execute(
        "select p.session_id, p.id, p.text_sha from mem_user_prompts p"
        " join unnest(%s::text[], %s::text[]) as k (session_id, id) using (session_id, id)",
        ([k[0] for k in keys], [k[1] for k in keys]),
    )
    return {(row["session_id"], row["id"]): row["text_sha"] for row in rows}


def save_prompts(conn: Connection, rows: Sequence[PromptRow]) -> int:
    if not rows:
        return 0
    return conn.execute(
        """
        insert into mem_user_prompts (session_id, id, kind, agent_id, text, text_sha, occurred_at)
        select * from unnest(%b::text[], %b::text[], %b::text[], %b::text[], %b::text[], %b::bytea[],
            %b::timestamptz[])
        on conflict (session_id, id) do nothing
        """,
        _columns(rows, PromptRow.__slots__),
    ).rowcount


def end_turn(conn: Connection, session_id: str, prompt_id: str, at: datetime, error: str | None) -> None:
    conn.execute(
        "update mem_user_prompts set ended_at = greatest(ended_at, %s), end_error = coalesce(%s, end_error)"
        " where session_id = %s and id = %s",
        (at, error, session_id, prompt_id),
    )


def last_prompts(conn: Connection, sessions: Sequence[str]) -> dict[str, list[tuple[datetime, str]]]:
    """The prompts of these sessions that the main agent got, as (time, id), oldest first: for agents whose calls do
    not say which prompt drove them."""
    rows = conn.execute(
        "select session_id, occurred_at, id from mem_user_prompts where session_id = any(%s) and agent_id is null"
        " order by session_id, occurred_at",
        (list(sessions),),
    )
    found: dict[str, list[tuple[datetime, str]]] = {}
    for row in rows:
        found.setdefault(row["session_id"], []).append((row["occurred_at"], row["id"]))
    return found


def prompts_told(
    conn: Connection, sessions: Sequence[str], ids: Sequence[str], since: datetime
) -> list[dict[str, Any]]:
    """What the main agent was asked in these sessions since then, or under these ids: `session_id`, `id`, `text`,
    `occurred_at`."""
    return conn.execute(
        "select session_id, id, text, occurred_at from mem_user_prompts"
        " where session_id = any(%s) and agent_id is null and (id = any(%s) or occurred_at >= %s)",
        (list(sessions), list(ids), since),
    ).fetchall()


def calls_told(
    conn: Connection, sessions: Sequence[str], ids: Sequence[str], since: datetime
) -> list[dict[str, Any]]:
    """The calls of these sessions since then, under these ids, or told by hooks alone: `session_id`, `tool_use_id`,
    `tool_name`, `tool_input`, `occurred_at`."""
    return conn.execute(
        "select session_id, tool_use_id, tool_name, tool_input, occurred_at from mem_tool_calls"
        " where session_id = any(%s) and (tool_use_id = any(%s) or occurred_at >= %s or tool_use_id ^@ %s)",
        (list(sessions), list(ids), since, HOOK_ID),
    ).fetchall()


def rename_call(conn: Connection, session_id: str, tool_use_id: str, own: str) -> None:
    """Give a call that only a hook has told the agent's own id."""
    conn.execute(
        "update mem_tool_calls set tool_use_id = %s where session_id = %s and tool_use_id = %s",
        (own, session_id, tool_use_id),
    )


def save_calls(conn: Connection, rows: Sequence[CallRow]) -> int:
    """Upsert, at most one row a key, into sessions that are saved. The end of a call fills what its beginning left
    open. How many were new."""
    if not rows:
        return 0
    said = conn.execute(
        """
        insert into mem_tool_calls as t (session_id, tool_use_id, prompt_id, agent_id, agent_type, tool_name,
            tool_input, output, output_chars, success, error, duration_ms, occurred_at, project_id)
        select told.*, (select project_id from mem_sessions where id = told.session_id) from unnest(
            %b::text[], %b::text[], %b::text[], %b::text[], %b::text[], %b::text[], %b::jsonb[], %b::text[],
            %b::bigint[], %b::boolean[], %b::text[], %b::bigint[], %b::timestamptz[]) as told (session_id)
        on conflict (session_id, tool_use_id) do update set
            prompt_id = coalesce(t.prompt_id, excluded.prompt_id),
            agent_id = coalesce(t.agent_id, excluded.agent_id),
            agent_type = coalesce(t.agent_type, excluded.agent_type),
            output = coalesce(t.output, excluded.output),
            output_chars = coalesce(t.output_chars, excluded.output_chars),
            success = coalesce(t.success, excluded.success),
            error = coalesce(t.error, excluded.error),
            duration_ms = coalesce(t.duration_ms, excluded.duration_ms),
            occurred_at = least(t.occurred_at, excluded.occurred_at)
        where (t.prompt_id is null and excluded.prompt_id is not null)
            or (t.agent_id is null and excluded.agent_id is not null)
            or (t.agent_type is null and excluded.agent_type is not null)
            or (t.output is null and excluded.output is not null)
            or (t.success is null and excluded.success is not null)
            or (t.error is null and excluded.error is not null)
            or (t.duration_ms is null and excluded.duration_ms is not null)
            or excluded.occurred_at < t.occurred_at
        returning (xmax = 0) as new
        """,
        _columns(rows, CallRow.__slots__),
    )
    return sum(row["new"] for row in said)


def save_messages(conn: Connection, rows: Sequence[MessageRow]) -> int:
    """A message that a transcript tells has its line's id. One that a hook told has none: it is the transcript's
    message of the same text in the same turn, whichever came first. How many were new."""
    rows = list(rows)
    nameless = {row.session_id for row in rows if row.message_uuid is None}
    nameless |= {
        row["session_id"]
        for row in conn.execute(
            "select distinct session_id from mem_assistant_messages"
            " where session_id = any(%s) and message_uuid is null",
            (list({row.session_id for row in rows} - nameless),),
        )
    }
    # Where no hook has told of any, as in an import, a line's id says all: one statement for the batch.
    named = [row for row in rows if row.session_id not in nameless]
    new = _insert_messages(conn, named) if named else 0
    for row in (row for row in rows if row.session_id in nameless):
        values = {field: getattr(row, field) for field in MessageRow.__slots__}
        same = """session_id = %(session_id)s and kind = %(kind)s and text_sha = %(text_sha)s
            and agent_id is not distinct from %(agent_id)s
            and (prompt_id = %(prompt_id)s or prompt_id is null or %(prompt_id)s::text is null)"""
        fresh = f"not exists (select from mem_assistant_messages where {same})"
        if row.message_uuid is not None:
            met = conn.execute(
                f"""
                update mem_assistant_messages set message_uuid = %(message_uuid)s,
                    model = coalesce(model, %(model)s), usage = coalesce(usage, %(usage)s::jsonb),
                    prompt_id = coalesce(prompt_id, %(prompt_id)s), occurred_at = %(occurred_at)s
                where id = (select id from mem_assistant_messages where message_uuid is null and {same}
                        order by id limit 1)
                    and not exists (select from mem_assistant_messages
                        where session_id = %(session_id)s and message_uuid = %(message_uuid)s)
                """,
                values,
            )
            if met.rowcount:
                continue
            fresh = "true"
        new += conn.execute(
            f"""
            insert into mem_assistant_messages (session_id, prompt_id, agent_id, agent_type, kind, message_uuid, model,
                text, text_sha, usage, occurred_at)
            select %(session_id)s, %(prompt_id)s, %(agent_id)s, %(agent_type)s, %(kind)s, %(message_uuid)s, %(model)s,
                %(text)s, %(text_sha)s, %(usage)s::jsonb, %(occurred_at)s
            where {fresh}
            on conflict (session_id, message_uuid) do nothing
            """,
            values,
        ).rowcount
    return new


def _insert_messages(conn: Connection, rows: Sequence[MessageRow]) -> int:
    return conn.execute(
        """
        insert into mem_assistant_messages (session_id, prompt_id, agent_id, agent_type, kind, message_uuid, model,
            text, text_sha, usage, occurred_at)
        select * from unnest(%b::text[], %b::text[], %b::text[], %b::text[], %b::text[], %b::text[], %b::text[],
            %b::text[], %b::bytea[], %b::jsonb[], %b::timestamptz[])
        on conflict (session_id, message_uuid) do nothing
        """,
        _columns(rows, MessageRow.__slots__),
    ).rowcount


def enqueue_turns(conn: Connection, turns: Sequence[tuple[str, str]]) -> None:
    """Ask the worker to build these (session, prompt) again, and wake it when the transaction commits."""
    if not turns:
        return
    ordered = sorted(set(turns))
    conn.execute(
        """
        insert into mem_observation_queue as q (session_id, prompt_id)
        select * from unnest(%b::text[], %b::text[])
        on conflict (session_id, prompt_id) do update set
            version = q.version + 1, ready_at = now(), attempts = 0, failed_at = null, error = null
        """,
        ([t[0] for t in ordered], [t[1] for t in ordered]),
    )
    conn.execute("notify agent_memory_queue")


def announce(conn: Connection, announcements: Sequence[str]) -> None:
    """Tell whoever looks on, when the transaction commits."""
    if announcements:
        conn.execute(
            "select pg_notify('mem_recorded', told) from unnest(%s::text[]) told", (list(announcements),)
        )


def transcript_offset(conn: Connection, path: str, machine: str) -> int:
    row = conn.execute(
        "select bytes_read from mem_transcripts where path = %s and machine = %s", (path, machine)
    ).fetchone()
    return int(row["bytes_read"]) if row else 0


def save_transcript_offset(conn: Connection, path: str, machine: str, agent: str, bytes_read: int) -> None:
    conn.execute(
        "insert into mem_transcripts (path, machine, agent, bytes_read) values (%s, %s, %s, %s)"
        " on conflict (path, machine) do update set bytes_read = excluded.bytes_read, read_at = now()",
        (path, machine, agent, bytes_read),
    )


def recent_transcripts(conn: Connection, machine: str, *, days: int) -> list[str]:
    """The session files, on this machine, of the sessions that something happened in during the last days."""
    rows = conn.execute(
        "select distinct transcript_path from mem_sessions where transcript_path is not null"
        " and last_event_at > now() - make_interval(days => %s) and coalesce(machine, %s) = %s",
        (days, machine, machine),
    )
    return [row["transcript_path"] for row in rows]


def session(conn: Connection, session_id: str) -> dict[str, Any] | None:
    return conn.execute(
        """
        select s.*, p.identity as project, p.name as project_name,
            (select count(*) from mem_user_prompts where session_id = s.id) as prompts,
            (select count(*) from mem_tool_calls where session_id = s.id) as tool_calls,
            (select count(*) from mem_assistant_messages where session_id = s.id) as assistant_messages
        from mem_sessions s join mem_projects p on p.id = s.project_id where s.id = %s
        """,
        (session_id,),
    ).fetchone()


def prompts(
    conn: Connection, *, session_id: str | None, project_id: int | None, after: str | None, limit: int
) -> list[dict[str, Any]]:
    """Newest first. `after` is the last row's `cursor`."""
    at, _, last = (after or "").partition("~")
    asked = {
        "p.session_id = %(session_id)s": session_id,
        "s.project_id = %(project_id)s": project_id,
        # The first half is for the index.
        "p.occurred_at <= %(at)s and (p.occurred_at, p.session_id || '/' || p.id) < (%(at)s::timestamptz, %(last)s)": (
            at or None
        ),
    }
    return conn.execute(
        f"""
        select p.id, p.id as prompt_id, p.session_id, s.project_id, p.kind, p.agent_id, p.text, p.occurred_at,
            p.ended_at, p.end_error, p.occurred_at::text || '~' || p.session_id || '/' || p.id as cursor
        from mem_user_prompts p join mem_sessions s on s.id = p.session_id where {_given(asked)}
        order by p.occurred_at desc, p.session_id || '/' || p.id desc limit %(limit)s
        """.encode(),
        {"session_id": session_id, "project_id": project_id, "at": at, "last": last, "limit": limit},
    ).fetchall()


def tool_calls(
    conn: Connection,
    *,
    session_id: str | None,
    project_id: int | None,
    tool: str | None,
    before: int | None,
    limit: int,
) -> list[dict[str, Any]]:
    """Newest first. `before` is the last row's id."""
    asked = {
        "session_id = %(session_id)s": session_id,
        "project_id = %(project_id)s": project_id,
        "tool_name = %(tool)s": tool,
        "id < %(before)s": before,
    }
    return conn.execute(
        f"""
        select id, session_id, project_id, tool_use_id, tool_name, tool_input, output, output_chars, success, error,
            duration_ms, prompt_id, agent_id, agent_type, occurred_at
        from mem_tool_calls where {_given(asked)} order by id desc limit %(limit)s
        """.encode(),
        {"session_id": session_id, "project_id": project_id, "tool": tool, "before": before, "limit": limit},
    ).fetchall()


def counts(conn: Connection) -> dict[str, int]:
    """Rows in each table of the journal; of a large one about how many."""
    return {
        "sessions": count(conn, "mem_sessions"),
        "prompts": count(conn, "mem_user_prompts"),
        "tool_calls": count(conn, "mem_tool_calls"),
        "assistant_messages": count(conn, "mem_assistant_messages"),
    }


def _given(asked: Mapping[str, object]) -> str:
    """Those conditions that something was given for. A plan for “given or not” would have to serve both, and reads the
    whole table."""
    return " and ".join(condition for condition, value in asked.items() if value is not None) or "true"


def _columns(rows: Sequence[Any], fields: Sequence[str]) -> list[list[Any]]:
    """Rows turned into one array a column: a statement with arrays is parsed and planned once for the whole batch."""
    return [[getattr(row, field) for row in rows] for field in fields]
