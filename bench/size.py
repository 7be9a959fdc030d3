"""How the database bears millions of tool calls: what goes in, what is asked, what is let go of.

    make bench-size        or: python -m bench.size 1m 5m

At each size: events a second through the spool; the questions that people and the service ask, with p50 and p95 of
RUNS different ones; sizes on disk. At the last size also what is rare:
forgetting a session, retention of the oldest month, vacuum, a backup. 5m takes about half an hour and 15 GB of disk.

The journal is made up and seeded, inside the database: projects in Zipf's proportions, 250 calls a session, twelve a
prompt, tools in the proportions of real sessions and a rare one, outputs from a pool of texts of 60 to 12,000
characters, 20 months. What its turns become is written as the worker would, without vectors: recall with vectors has
`bench.recall_scale`.
"""

from __future__ import annotations

import functools
import os
import random
import statistics
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from rich.console import Console
from rich.table import Table

from agent_memory import paths, settings
from agent_memory.capture.drain import drain
from agent_memory.database import Connection, migrate, server
from agent_memory.database.backup import make
from agent_memory.forgetting import forget, retention
from agent_memory.health import look
from agent_memory.journal import store
from agent_memory.lessons import miner, sessions
from agent_memory.observations import store as observations
from agent_memory.observations import worker
from agent_memory.recall import context_store, search
from bench.home import scratch_home
from bench.ingest import payloads, spool

SIZES = {"100k": 100_000, "1m": 1_000_000, "5m": 5_000_000}
RUNS = 20
PATIENCE = 30  # seconds for a question
EVENTS = 3_000
CALLS = 250  # a session
TURN = 12  # calls a prompt
PROJECTS = 40
STEP = 200_000  # calls written at once
MONTHS = 20
NOW = datetime.now(UTC)
RNG = random.Random(3)


def main() -> None:
    console = Console(width=130)
    sizes = sys.argv[1:] or ["1m", "5m"]
    with scratch_home():
        for folder in (paths.spool_tmp(), paths.spool_new()):
            paths.make_private(folder)
        conninfo = server.conninfo(settings.load())
        with server.connect(conninfo) as conn:
            migrate.migrate(conn)
            prepare(conn)
            console.print(f"empty: {ingest(conn, 0):,.0f} events/s")
            there = 0
            for name in sizes:
                began = time.perf_counter()
                fill(conn, there, SIZES[name])
                there = SIZES[name]
                console.print(f"{there:,} calls made in {time.perf_counter() - began:.0f} s")
                console.print(f"{there:,} calls: {ingest(conn, there):,.0f} events/s")
                console.print(on_disk(conn))
                console.print(asked(conn, there))
            console.print(rare(conn, conninfo))


def prepare(conn: Connection) -> None:
    """Tables of what the journal is made of: texts, tools, projects. They are gone with the connection."""
    conn.execute("select setseed(0.5)")
    conn.execute(
        """
        create temp table texts as select n, string_agg(
            (array['src/', 'tests/', 'error: ', 'def ', 'return ', 'import ', 'assert ', '{"id": ', 'line '])
                [1 + (random() * 8)::int] || substr(md5(random()::text), 1, 3 + (random() * 9)::int),
            ' ' order by word) as text
        from generate_series(0, 1999) n, lateral generate_series(1, (6 + 900 * power(random() + n * 0, 4))::int) word
        group by n
        """
    )
    conn.execute("create index on texts (n)")
    conn.execute(
        "insert into mem_projects (identity, name)"
        " select 'git:bench/' || n, 'bench-' || n from generate_series(1, %s) n",
        (PROJECTS,),
    )
    conn.execute("analyze texts")
    conn.commit()


def fill(conn: Connection, start: int, end: int) -> None:
    """Calls `start` to `end` with their sessions, prompts, messages and memories; vacuumed."""
    for first in range(start, end, STEP):
        write(conn, first, min(first + STEP, end), SIZES["5m"])
        conn.commit()
    while worker.index_words(conn):
        pass
    conn.autocommit = True
    conn.execute("vacuum analyze")
    conn.execute("checkpoint")
    conn.autocommit = False


def write(conn: Connection, first: int, last: int, whole: int) -> None:
    """Every session is of a project by Zipf, and runs for a day at most; time goes on with the calls' numbers."""
    conn.execute(
        """
        insert into mem_sessions (id, project_id, agent, cwd, started_at, last_event_at, ended_at)
        select 'size-' || number, 1 + least(%(projects)s - 1, floor(power(%(projects)s + 1, random()) - 1))::int,
            'claude', '/home/dev/p', at, at + interval '2 hours', at + interval '2 hours'
        from generate_series(%(first)s / %(per)s, (%(last)s - 1) / %(per)s) number,
            lateral (select %(now)s::timestamptz - interval '3 hours'
                - make_interval(days => %(days)s) * (1 - number::float8 * %(per)s / %(whole)s) as at) t
        on conflict do nothing
        """,
        _values(first, last, whole),
    )
    conn.execute(
        """
        insert into mem_user_prompts (session_id, id, kind, text, text_sha, occurred_at, ended_at)
        select s.id, 'p' || turn, 'user', left(t.text, 400), sha256(s.id::bytea),
            s.started_at + turn * interval '5 min', s.started_at + turn * interval '5 min' + interval '4 min'
        from generate_series(%(first)s / %(per)s, (%(last)s - 1) / %(per)s) number
        join mem_sessions s on s.id = 'size-' || number
        cross join generate_series(0, %(turns)s) turn
        join texts t on t.n = (number * 31 + turn * 7) %% 2000
        """,
        _values(first, last, whole),
    )
    conn.execute(
        """
        insert into mem_tool_calls (session_id, tool_use_id, prompt_id, tool_name, tool_input, output, output_chars,
            success, error, duration_ms, occurred_at{columns})
        select s.id, 'toolu_01' || substr(md5(c::text), 1, 22), 'p' || (c %% %(per)s) / %(turn)s, case
                when c %% 50000 = 7 then 'mcp__rare__tool' when c %% 20 < 8 then 'Bash' when c %% 20 < 13 then 'Read'
                when c %% 20 < 16 then 'Edit' when c %% 20 < 18 then 'Grep' else 'Write' end,
            jsonb_build_object('command', left(t.text, 120), 'description', 'step ' || c, 'file_path',
                '/home/dev/p/' || c %% 997),
            t.text, length(t.text), c %% 17 <> 3, case when c %% 17 = 3 then left(t.text, 200) end, 40,
            s.started_at + (c %% %(per)s) * interval '25 s'{values}
        from generate_series(%(first)s, %(last)s - 1) c
        join mem_sessions s on s.id = 'size-' || c / %(per)s
        join texts t on t.n = (c::bigint * 7919) %% 2000 order by c
        """.format(
            columns=", project_id" if has_project(conn) else "",
            values=", s.project_id" if has_project(conn) else "",
        ),
        _values(first, last, whole),
    )
    conn.execute(
        """
        insert into mem_assistant_messages (session_id, prompt_id, kind, message_uuid, text, text_sha, occurred_at)
        select s.id, 'p' || (c %% %(per)s) / %(turn)s, 'message', md5('m' || c), left(t.text, 600),
            sha256(c::text::bytea), s.started_at + (c %% %(per)s) * interval '25 s'
        from generate_series(%(first)s, %(last)s - 1, 4) c
        join mem_sessions s on s.id = 'size-' || c / %(per)s join texts t on t.n = (c::bigint * 31) %% 2000
        """,
        _values(first, last, whole),
    )
    conn.execute(
        """
        insert into mem_observations (project_id, session_id, kind, title, text, occurred_at, external_id)
        select s.project_id, s.id, 'turn', left(p.text, 80), p.text, p.occurred_at, 'turn/' || s.id || '/' || p.id
        from generate_series(%(first)s / %(per)s, (%(last)s - 1) / %(per)s) number
        join mem_sessions s on s.id = 'size-' || number
        join mem_user_prompts p on p.session_id = s.id
        """,
        _values(first, last, whole),
    )
    conn.execute(
        """
        with added as (
            insert into mem_observation_chunks (observation_id, project_id, ordinal, text, words, tsv)
            select o.id, o.project_id, 0, o.text, 40,
                to_tsvector('english', o.text) || array_to_tsvector(array['project/' || o.project_id])
            from generate_series(%(first)s / %(per)s, (%(last)s - 1) / %(per)s) number
            join mem_observations o on o.session_id = 'size-' || number returning id, project_id
        )
        insert into mem_word_queue (chunk_id, project_id) select id, project_id from added
        """,
        _values(first, last, whole),
    )


def has_project(conn: Connection) -> bool:
    row = conn.execute(
        "select exists (select from pg_attribute where attrelid = 'mem_tool_calls'::regclass"
        " and attname = 'project_id') as yes"
    ).fetchone()
    return bool(row and row["yes"])


def _values(first: int, last: int, whole: int) -> dict[str, Any]:
    return {
        "first": first,
        "last": last,
        "whole": whole,
        "per": CALLS,
        "turn": TURN,
        "turns": CALLS // TURN,
        "projects": PROJECTS,
        "now": NOW,
        "days": MONTHS * 30,
    }


def ingest(conn: Connection, size: int) -> float:
    """Events a second from the spool into the journal, the best of three."""
    best = 0.0
    for turn in range(3):
        given = list(payloads(EVENTS, seed=size * 10 + turn, session=f"in-{size}-{turn}"))
        for number, payload in enumerate(given):
            spool(payload, number)
        began = time.perf_counter()
        counts = drain(conn, settings.load())
        took = time.perf_counter() - began
        if counts.prompts + counts.tool_calls != EVENTS:
            raise SystemExit(f"only {counts} of {EVENTS} events were stored")
        conn.execute("delete from mem_observation_queue")  # no worker runs here
        conn.commit()
        best = max(best, EVENTS / took)
    return best


def asked(conn: Connection, size: int) -> Table:
    """Every question RUNS times, each time about something else."""
    known = [f"size-{RNG.randrange(size // CALLS)}" for _ in range(RUNS)]
    large, small = 1, PROJECTS
    last = {project: _last_call(conn, project) for project in (large, small)}
    words = [
        row["text"].split()
        for row in conn.execute("select text from texts where length(text) > 200 limit 50")
    ]
    queries = [" ".join(RNG.sample(RNG.choice(words), 5)) for _ in range(RUNS)]
    calls: dict[str, Callable[[int], object]] = {
        "a session's calls (replay)": lambda n: list_calls(conn, session_id=known[n], limit=200),
        "a session with its counts": lambda n: store.session(conn, known[n]),
        "a large project's latest calls": lambda _: list_calls(conn, project_id=large),
        "a large project's calls, far back": lambda _: list_calls(
            conn, project_id=large, before=last[large] // 3
        ),
        "a small project's latest calls": lambda _: list_calls(conn, project_id=small),
        "a small project's calls, far back": lambda _: list_calls(
            conn, project_id=small, before=last[small] // 3
        ),
        "a small project's calls of one tool": lambda _: list_calls(conn, project_id=small, tool="Edit"),
        "a rare tool's calls": lambda _: list_calls(conn, tool="mcp__rare__tool"),
        "a rare tool's calls in a small project": lambda _: list_calls(
            conn, project_id=small, tool="mcp__rare__tool"
        ),
        "all latest calls": lambda _: list_calls(conn),
        "a small project's prompts": lambda _: store.prompts(
            conn, session_id=None, project_id=small, after=None, limit=100
        ),
        "all latest prompts": lambda _: store.prompts(
            conn, session_id=None, project_id=None, after=None, limit=100
        ),
        "timeline": lambda _: search.timeline(conn, project_id=large),
        "recall by words, large project": lambda n: search.recall(conn, queries[n], project_id=large),
        "recall by words, small project": lambda n: search.recall(conn, queries[n], project_id=small),
        "a session's start: its project's sessions": lambda _: context_store.sessions(
            conn, project_id=large, but="", since=None, limit=5
        ),
        "status: counts": lambda _: store.counts(conn) | observations.counts(conn),
        "status: projects": lambda _: store.projects(conn),
        "health": lambda _: look.at_database(conn),
        "session files of the last days": lambda _: store.recent_transcripts(conn, "here", days=7),
        "mining: is it due": lambda _: miner.due(conn),
        "mining: a small project's history": lambda _: sessions.load(conn, small),
        "retention: what is due": lambda _: retention.plan(
            conn, settings.Settings(agent_memory_retention_days=30 * (MONTHS - 1) + 5)
        ),
    }
    table = Table(title=f"{size:,} calls, load {os.getloadavg()[0]:.1f}", title_justify="left")
    for column in ("asked", "p50 ms", "p95 ms", "first ms"):
        table.add_column(column, justify="right" if "ms" in column else "left")
    for what, call in calls.items():
        table.add_row(what, *timed(conn, call))
    return table


def list_calls(conn: Connection, **wanted: Any) -> list[dict[str, Any]]:
    values: dict[str, Any] = {
        "session_id": None,
        "project_id": None,
        "tool": None,
        "before": None,
        "limit": 100,
    }
    return store.tool_calls(conn, **values | wanted)


def timed(conn: Connection, call: Callable[[int], object]) -> tuple[str, str, str]:
    taken: list[float] = []
    began = time.perf_counter()
    for n in range(RUNS):
        conn.execute("select set_config('statement_timeout', %s, true)", (str(PATIENCE * 1000),))
        since = time.perf_counter()
        try:
            call(n)
        except psycopg.errors.QueryCanceled:
            return f"> {PATIENCE * 1000:,}", "", ""
        finally:
            conn.rollback()
        taken.append((time.perf_counter() - since) * 1000)
        if time.perf_counter() - began > PATIENCE:
            break
    ordered = sorted(taken)
    p95 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))]
    return f"{statistics.median(ordered):,.1f}", f"{p95:,.1f}", f"{taken[0]:,.1f}"


def rare(conn: Connection, conninfo: str) -> Table:
    """What is done once a day or less, each once."""
    table = Table(title="once", title_justify="left")
    for column in ("what", "s", "rows"):
        table.add_column(column, justify="left" if column == "what" else "right")

    def once(what: str, work: Callable[[], object]) -> None:
        began = time.perf_counter()
        done = work()
        conn.commit()
        table.add_row(what, f"{time.perf_counter() - began:.1f}", str(done))

    config = settings.Settings(agent_memory_retention_days=30 * (MONTHS - 1) + 5)
    once("forget a session", lambda: forgotten(conn, session=_newest(conn)))
    since = NOW - timedelta(days=100)
    once(
        "forget a day of all projects", lambda: forgotten(conn, since=since, until=since + timedelta(days=1))
    )
    once(
        "forget a text in a small project",
        lambda: forgotten(conn, text=_some_text(conn), project_id=PROJECTS),
    )
    once("retention of the oldest month", lambda: retention.run(conn, config).counts.get("mem_tool_calls"))
    conn.autocommit = True
    for table_name in ("mem_tool_calls", "mem_user_prompts", "mem_observations"):
        once(f"vacuum {table_name} after it", functools.partial(vacuum, conn, table_name))
    conn.autocommit = False
    paths.make_private(paths.backups())
    once("backup", lambda: f"{make.backup(conninfo, 'manual').size / 1e9:.1f} GB")
    return table


def vacuum(conn: Connection, table: str) -> str:
    conn.execute(f"vacuum {table}".encode())
    return ""


def forgotten(conn: Connection, **wanted: Any) -> str:
    done = forget.forget(conn, forget.Wanted(**wanted), by="cli")
    return f"{sum(done.counts.values()):,}"


def _newest(conn: Connection) -> str:
    row = conn.execute("select max(id) as id from mem_sessions where id like 'size-%'").fetchone()
    assert row is not None
    return str(row["id"])


def _some_text(conn: Connection) -> str:
    row = conn.execute("select text from texts where length(text) between 200 and 400 limit 1").fetchone()
    assert row is not None
    return str(row["text"])[:60]


def _last_call(conn: Connection, project: int) -> int:
    row = conn.execute(
        "select max(t.id) as id from mem_tool_calls t join mem_sessions s on s.id = t.session_id"
        " where s.project_id = %s",
        (project,),
    ).fetchone()
    return int(row["id"] or 0) if row else 0


def on_disk(conn: Connection) -> Table:
    """The largest tables and every index of the calls."""
    table = Table(title="on disk", title_justify="left")
    for column in ("what", "MB", "bytes a row"):
        table.add_column(column, justify="left" if column == "what" else "right")
    rows = conn.execute(
        """
        select c.relname as name, pg_table_size(c.oid) as bytes, greatest(c.reltuples, 1) as rows from pg_class c
        where c.relkind in ('r', 'i') and c.relname like 'mem\\_%' and (c.relkind = 'r' and c.relpages > 500
            or c.oid in (select indexrelid from pg_index where indrelid = 'mem_tool_calls'::regclass))
        order by 2 desc
        """
    )
    for row in rows:
        table.add_row(row["name"], f"{row['bytes'] / 1e6:,.0f}", f"{row['bytes'] / row['rows']:,.0f}")
    return table


if __name__ == "__main__":
    main()
