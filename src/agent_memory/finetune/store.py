"""The SQL of fine-tuning: sessions out of the journal, the register of what was published, and the training runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from agent_memory.database import Connection
from agent_memory.finetune.trajectory import Called, Session
from agent_memory.observations.turns import Message, Prompt


def snapshot(conn: Connection) -> None:
    """Begin a transaction that sees the journal as it is now, however long it reads."""
    conn.commit()
    conn.execute("set transaction isolation level repeatable read, read only")


def sessions(
    conn: Connection, *, project_id: int | None, agent: str | None, since: datetime | None
) -> Iterator[Session]:
    """The sessions of which something is wanted, the oldest first, each whole but for what was before `since`. One
    at a time is in memory."""
    with conn.cursor(name="finetune_sessions") as cursor:
        cursor.itersize = 200
        cursor.execute(
            """
            select id, project_id, agent, cwd from mem_sessions
            where (%(project)s::bigint is null or project_id = %(project)s)
                and (%(agent)s::text is null or agent = %(agent)s)
                and (%(since)s::timestamptz is null or last_event_at >= %(since)s)
            order by started_at, id
            """,
            {"project": project_id, "agent": agent, "since": since},
        )
        for row in cursor:
            yield _session(conn, row, since)


def _session(conn: Connection, row: dict[str, Any], since: datetime | None) -> Session:
    values = {"session": row["id"], "since": since}
    mine = "session_id = %(session)s and (%(since)s::timestamptz is null or occurred_at >= %(since)s)"
    prompts = conn.execute(
        "select id, kind, text, occurred_at, agent_id, end_error from mem_user_prompts"
        f" where {mine} order by occurred_at, id",
        values,
    )
    messages = conn.execute(
        "select id, kind, text, occurred_at, agent_id, agent_type from mem_assistant_messages"
        f" where {mine} order by occurred_at, id",
        values,
    )
    calls = conn.execute(
        "select id, tool_name as tool, tool_input as input, occurred_at, success, output, output_chars, error,"
        f" duration_ms, agent_id, agent_type from mem_tool_calls where {mine} order by occurred_at, id",
        values,
    )
    return Session(
        **row,
        prompts=[Prompt(**one) for one in prompts],
        messages=[Message(**one) for one in messages],
        calls=[Called(**one) for one in calls],
    )


def folders(conn: Connection) -> Iterator[str]:
    """Paths that tell whose home folders there are."""
    with conn.cursor(name="finetune_folders") as cursor:
        cursor.execute(
            "select distinct path from (select substring(cwd for 80) as path from mem_sessions"
            " union all select substring(transcript_path for 80) from mem_sessions) p where path is not null"
        )
        for row in cursor:
            yield row["path"]


def tombstones(conn: Connection) -> dict[str, int]:
    """How many there are, and the last one's number, 0 where there is none."""
    row = conn.execute(
        "select count(*) as count, coalesce(max(id), 0) as last from mem_tombstones"
    ).fetchone()
    assert row is not None
    return {"count": int(row["count"]), "last": int(row["last"])}


def register(
    conn: Connection,
    *,
    path: str,
    machine: str,
    manifest_sha256: str,
    rows: int,
    tombstone_id: int,
    sessions: Iterable[str],
) -> int:
    row = conn.execute(
        "insert into mem_data_sets (path, machine, manifest_sha256, rows, tombstone_id)"
        " values (%s, %s, %s, %s, %s) returning id",
        (path, machine, manifest_sha256, rows, tombstone_id),
    ).fetchone()
    assert row is not None
    with conn.cursor() as cursor:
        cursor.executemany(
            "insert into mem_data_set_sessions (data_set_id, session_id) values (%s, %s)",
            [(row["id"], session) for session in sessions],
        )
    return int(row["id"])


def data_set(conn: Connection, manifest_sha256: str) -> dict[str, Any] | None:
    """What is known of a published data set: id, made_at, path, machine, rows, tombstone_id,
    stale_since, stale_by."""
    return conn.execute(
        "select * from mem_data_sets where manifest_sha256 = %s order by id desc limit 1", (manifest_sha256,)
    ).fetchone()


def data_sets(conn: Connection) -> list[dict[str, Any]]:
    """The latest first."""
    return conn.execute("select * from mem_data_sets order by id desc").fetchall()


def data_set_of_run(conn: Connection, folder: str, machine: str) -> dict[str, Any] | None:
    """The data set that a run of this machine was trained on, as it was written down; its files may be gone."""
    return conn.execute(
        "select d.* from mem_data_sets d join mem_training_runs r on r.data_set_id = d.id"
        " where r.folder = %s and r.machine in (%s, '') order by r.machine desc limit 1",
        (folder, machine),
    ).fetchone()


def withdraw(conn: Connection, manifest_sha256: str) -> None:
    """Take a data set out of the register, whose files are gone."""
    conn.execute("delete from mem_data_sets where manifest_sha256 = %s", (manifest_sha256,))


def record_run(conn: Connection, told: Mapping[str, Any]) -> None:
    """Write down how far a run is. `told` has the columns of mem_training_runs but for id and updated_at. A row that
    does not say whose it is becomes this machine's, if it is of this run."""
    values = {name: Jsonb(value) if isinstance(value, dict | list) else value for name, value in told.items()}
    names = ", ".join(told)
    conn.execute(
        "update mem_training_runs r set machine = %(machine)s"
        " where folder = %(folder)s and machine = '' and created_at = %(created_at)s and not exists"
        " (select from mem_training_runs where folder = r.folder and machine = %(machine)s)",
        values,
    )
    conn.execute(
        f"insert into mem_training_runs ({names}) values ({', '.join(f'%({name})s' for name in told)})"
        " on conflict (folder, machine) do update set"
        f" ({names}, updated_at) = ({', '.join(f'excluded.{name}' for name in told)}, clock_timestamp())".encode(),
        values,
    )


def own_runs(conn: Connection, machine: str) -> None:
    """This machine is the only one that ever writes to the database, so all runs and data sets are its own."""
    conn.execute(
        "update mem_training_runs r set machine = %(here)s where machine <> %(here)s and id ="
        " (select max(id) from mem_training_runs where folder = r.folder) and not exists"
        " (select from mem_training_runs where folder = r.folder and machine = %(here)s)",
        {"here": machine},
    )
    conn.execute(
        "update mem_data_sets set machine = %s where machine is distinct from %s", (machine, machine)
    )


def training_runs(conn: Connection) -> list[dict[str, Any]]:
    """All runs that were written down, the latest first, with `stale_since` and `stale_by` of their data sets."""
    return conn.execute(
        "select r.*, d.stale_since, d.stale_by from mem_training_runs r"
        " left join mem_data_sets d on d.id = r.data_set_id order by r.created_at desc, r.id desc"
    ).fetchall()


def forgotten(conn: Connection, data_set_id: int) -> list[dict[str, Any]]:
    """What was forgotten of a data set since it was made: session_id, tombstone_id, forgotten_at (None: the
    tombstone was lifted)."""
    return conn.execute(
        "select f.session_id, f.tombstone_id, t.forgotten_at from mem_data_set_forgotten f"
        " left join mem_tombstones t on t.id = f.tombstone_id where f.data_set_id = %s"
        " order by f.tombstone_id, f.session_id",
        (data_set_id,),
    ).fetchall()
