"""How fast events become durable, and how soon they can be recalled.

    make bench-ingest

Durable: events a second from the spool into the journal, through the product's own drain (parse, redact, write, commit,
delete), a batch of 500 in turn with a raw multi-row INSERT of the same rows into the same Postgres. Lag: a running
service, 20 events a second through the spool; the time from the file's rename until the text leg finds a word that only
this event holds, and until its turn's vectors are there.
"""

from __future__ import annotations

import json
import random
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from agent_memory import paths, running, settings
from agent_memory.capture.drain import drain
from agent_memory.database import Connection, migrate, server
from agent_memory.journal import projects
from agent_memory.observations.words import indexable
from agent_memory.recall import store as recalling
from bench.figures import Figure, short, show
from bench.home import scratch_home

EVENTS = 6_000
BATCH = 500
LAG_SECONDS = 20
LAG_RATE = 20
FOLDER = "/home/dev/shop"
WORDS = ["request", "timeout", "cache", "index", "retry", "schema", "deploy", "buffer", "parser", "queue"]


def payloads(count: int, seed: int, session: str = "bench") -> Iterator[dict[str, Any]]:
    """Tool calls of about 2.8 KB, as a coding session has them: 25 calls a prompt."""
    rng = random.Random(seed)
    for n in range(count):
        prompt = f"{session}-prompt-{n // 25}"
        base = {"session_id": f"{session}-{n // 500}", "cwd": FOLDER, "prompt_id": prompt}
        if n % 25 == 0:
            text = " ".join(rng.choices(WORDS, k=12))
            yield base | {"hook_event_name": "UserPromptSubmit", "prompt": f"Please look at {text}"}
            continue
        lines = "\n".join(
            f"src/{rng.choice(WORDS)}.py:{rng.randrange(900)}: {' '.join(rng.choices(WORDS, k=8))}"
            for _ in range(30)
        )
        yield base | {
            "hook_event_name": "PostToolUse",
            "tool_name": "Bash",
            "tool_input": {"command": f"grep -rn {rng.choice(WORDS)} src", "description": "Look for it"},
            "tool_response": {"stdout": lines, "stderr": "", "interrupted": False},
            "tool_use_id": f"toolu_{seed}_{n}",
            "duration_ms": rng.randrange(200),
        }


def spool(payload: dict[str, Any], number: int) -> None:
    name = f"{time.time_ns():020d}-1-{number:08x}.claude"
    draft = paths.spool_tmp() / name
    draft.write_text(json.dumps(payload), encoding="utf-8")
    draft.rename(paths.spool_new() / name)


def durable(conninfo: str) -> list[Figure]:
    """Events a second of the drain and of the raw INSERT, a batch of each in turn."""
    for folder in (paths.spool_tmp(), paths.spool_new()):
        paths.make_private(folder)
    given = list(payloads(EVENTS, seed=1))
    size = sum(len(json.dumps(p)) for p in given) / EVENTS / 1e6
    ours = raw = 0.0
    stored = last = 0
    with server.connect(conninfo) as conn:
        conn.execute("create table bench_raw (like mem_tool_calls including all)")
        conn.commit()
        for start in range(0, EVENTS, BATCH):
            for number, payload in enumerate(given[start : start + BATCH]):
                spool(payload, number)
            began = time.perf_counter()
            counts = drain(conn, settings.load())
            ours += time.perf_counter() - began
            stored += counts.prompts + counts.tool_calls
            rows = conn.execute(
                "select session_id, tool_use_id, prompt_id, tool_name, tool_input::text, output, output_chars, success,"
                " occurred_at, project_id, id from mem_tool_calls where id > %s",
                (last,),
            ).fetchall()
            last = max(row.pop("id") for row in rows)
            conn.commit()
            began = time.perf_counter()
            _insert_raw(conn, rows)
            raw += (time.perf_counter() - began) * counts.tool_calls / len(rows)
        if stored != EVENTS:
            raise SystemExit(f"only {stored} of {EVENTS} events were stored")
        told = conn.execute("select count(*) as n from bench_raw").fetchone()
        conn.execute("drop table bench_raw")
    assert told is not None
    rate, plain = EVENTS / ours, told["n"] / raw
    return [
        Figure(
            name="spool → journal: parsed, redacted, durable",
            value=rate,
            unit=f"events/s ({rate * size:.1f} MB/s)",
            beside=f"raw multi-row INSERT of the same rows: {short(plain)} rows/s",
            ratio=plain / rate,
        )
    ]


def _insert_raw(conn: Connection, rows: list[dict[str, Any]]) -> None:
    row = "(%s, %s, %s, %s, %s::jsonb, %s, %s, %s, %s, %s)"
    conn.execute(
        (
            "insert into bench_raw (session_id, tool_use_id, prompt_id, tool_name, tool_input, output, output_chars,"
            " success, occurred_at, project_id) values " + ", ".join([row] * len(rows))
        ).encode(),
        [value for r in rows for value in r.values()],
    )
    conn.commit()


@contextmanager
def running_service() -> Iterator[None]:

    running.start(adopt=True)
    try:
        yield
    finally:
        running.stop()


def lag(conninfo: str) -> list[tuple[str, list[float]]]:
    """Seconds from the spool to the text leg, and to the vectors, at LAG_RATE events a second."""
    found: dict[str, list[float]] = {"recallable by words": [], "embedded": []}
    with running_service(), server.connect(conninfo) as conn:
        conn.autocommit = True
        wait_until(lambda: idle(conn), 300)  # the first table's turns are remembered and embedded
        waiting: dict[str, float] = {}
        embedding: dict[str, float] = {}
        end = time.monotonic() + LAG_SECONDS
        number = 0
        due = time.monotonic()
        while time.monotonic() < end or ((waiting or embedding) and time.monotonic() < end + 20):
            if time.monotonic() >= due and time.monotonic() < end:
                due += 1 / LAG_RATE
                payload = next(payloads(1, seed=number + 100, session=f"lag-{number // 25}"))
                payload["prompt_id"] = f"lag-prompt-{number // 5}"
                if number % 5 == 0:
                    word = f"zebra{number:06d}x"
                    payload["prompt"] += f" {word}"
                    waiting[word] = time.monotonic()
                else:
                    payload |= {
                        "hook_event_name": "PostToolUse",
                        "tool_name": "Bash",
                        "tool_input": {"command": f"make step-{number}"},
                        "tool_response": {"stdout": "ok", "stderr": ""},
                        "tool_use_id": f"lag_{number}",
                    }
                spool(payload, number)
                number += 1
            now = time.monotonic()
            for word in _present(conn, list(waiting), embedded=False):
                found["recallable by words"].append(now - waiting[word])
                embedding[word] = waiting.pop(word)
            for word in _present(conn, list(embedding), embedded=True):
                found["embedded"].append(time.monotonic() - embedding.pop(word))
            time.sleep(0.02)
        if waiting or embedding:
            raise SystemExit(f"never seen: {len(waiting)} by words, {len(embedding)} embedded")
    return list(found.items())


def _present(conn: Connection, words: list[str], *, embedded: bool) -> list[str]:
    """Which of these words the text leg finds; `embedded`: in a chunk that has its vector."""
    project = projects.resolve(conn, FOLDER) if words else None
    if project is None:
        return []
    present = []
    for word in words:
        terms = recalling.terms(conn, indexable(word), project_id=project)
        found = [row["chunk_id"] for row in recalling.text_leg(conn, terms, project_id=project, limit=1)]
        if found and embedded:
            found = conn.execute(
                "select chunk_id from mem_chunk_vectors where chunk_id = any(%s)", (found,)
            ).fetchall()
        present += [word] * bool(found)
    return present


def idle(conn: Connection) -> bool:
    row = conn.execute(
        "select (select count(*) from mem_observation_queue) + (select count(*) from mem_embedding_queue) as n"
    ).fetchone()
    return bool(row and row["n"] == 0)


def wait_until(true: Any, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            raise SystemExit("waited in vain")
        time.sleep(0.05)


def figures() -> list[Figure]:
    with scratch_home():
        conninfo = server.conninfo(settings.load())
        with server.connect(conninfo) as conn:
            migrate.migrate(conn)
        found = durable(conninfo)
        for what, seconds in lag(conninfo):
            seconds.sort()
            for which, took in (
                ("p50", statistics.median(seconds)),
                ("p95", seconds[int(len(seconds) * 0.95)]),
            ):
                found.append(
                    Figure(
                        name=f"hook → {what}, {LAG_RATE} events a second: {which}",
                        value=took * 1000,
                        unit="ms",
                    )
                )
        return found


if __name__ == "__main__":
    show(figures())
