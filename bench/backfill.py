"""How fast an import goes, and what its parts cost.

    make bench-backfill

Made-up Claude Code transcripts, seeded: prompts, what the agent says, calls, and results of 3 to 150 lines. MB/s of
transcript: read from disk, parsed, redacted after that, stored by one process, and as the command line does it; beside
it a COPY of the same lines as plain text into the same Postgres.
"""

from __future__ import annotations

import json
import random
import tempfile
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from agent_memory import settings
from agent_memory.agents.claude_code import transcript
from agent_memory.capture import parallel
from agent_memory.capture.backfill import backfill
from agent_memory.database import migrate, server
from agent_memory.journal.ingest import _Rows
from bench.figures import Figure, short, show
from bench.home import scratch_home
from bench.ingest import WORDS

FILES = 24
FILE_BYTES = 4 << 20
SEED = 7
RAW = "COPY of the same lines as text"


def session(rng: random.Random) -> str:
    """A transcript of FILE_BYTES: a prompt, then thirty rounds of words and calls, and again."""
    session_id, at = str(uuid.UUID(int=rng.getrandbits(128), version=4)), datetime(2026, 11, 1, tzinfo=UTC)
    lines: list[str] = []
    parent, size, prompt_id = None, 0, ""

    def line(kind: str, content: Any, **more: Any) -> None:
        nonlocal parent, size, at
        at += timedelta(seconds=rng.randrange(1, 9))
        own = str(uuid.UUID(int=rng.getrandbits(128), version=4))
        common = {"sessionId": session_id, "cwd": "/home/dev/shop", "version": "2.1.330", "gitBranch": "main"}
        message = {"role": kind, "content": content} | more.pop("message", {})
        stamp = at.isoformat().replace("+00:00", "Z")
        record = {
            "type": kind,
            "uuid": own,
            "parentUuid": parent,
            "timestamp": stamp,
            "message": message,
            **common,
        }
        lines.append(json.dumps(record | more))
        parent, size = own, size + len(lines[-1]) + 1

    while size < FILE_BYTES:
        prompt_id = str(uuid.UUID(int=rng.getrandbits(128), version=4))
        line("user", f"Please look at {' '.join(rng.choices(WORDS, k=30))}", promptId=prompt_id)
        for _ in range(30):
            reply = {
                "id": f"msg_{rng.getrandbits(60):x}",
                "model": "claude-opus-5",
                "usage": {"output_tokens": 90},
            }
            line("assistant", [{"type": "text", "text": " ".join(rng.choices(WORDS, k=60))}], message=reply)
            call = f"toolu_{rng.getrandbits(80):020x}"
            asked = {"command": f"grep -rn {rng.choice(WORDS)} src", "description": "Look for it"}
            block = {"type": "tool_use", "id": call, "name": "Bash", "input": asked}
            line("assistant", [block], message=reply)
            told = "\n".join(
                f"src/{rng.choice(WORDS)}.py:{rng.randrange(900)}: {' '.join(rng.choices(WORDS, k=8))}"
                for _ in range(rng.choice((3, 20, 60, 150)))
            )
            answer = [{"type": "tool_result", "tool_use_id": call, "content": told}]
            result = {"stdout": told, "stderr": "", "interrupted": False}
            line("user", answer, toolUseResult=result, promptId=prompt_id)
    return "\n".join(lines) + "\n"


def timed(what: Callable[[], object]) -> float:
    began = time.perf_counter()
    what()
    return time.perf_counter() - began


def figures() -> list[Figure]:
    rng = random.Random(SEED)
    with tempfile.TemporaryDirectory() as folder, scratch_home():
        files = []
        for number in range(FILES):
            file = Path(folder) / f"{number}.jsonl"
            file.write_text(session(rng), encoding="utf-8")
            files.append(file)
        size = sum(file.stat().st_size for file in files) / 1e6
        config = settings.load()
        conninfo = server.conninfo(config)
        with server.connect(conninfo) as conn:
            migrate.migrate(conn)
        rows: list[tuple[str, float]] = [("read", timed(lambda: [file.read_bytes() for file in files]))]
        events: list[Any] = []

        def parse() -> None:
            events.extend(e for file in files for line in transcript.read(file, 0) for e in line.events)

        rows.append(("parsed", timed(parse)))

        def redact() -> None:
            added = _Rows(config)
            for event in events:
                added.add(event)

        rows.append(("redacted, after parsing", timed(redact)))
        events.clear()

        def copied() -> None:
            with server.connect(conninfo) as conn:
                conn.execute("create table bench_raw (line text)")
                with conn.cursor().copy("copy bench_raw from stdin") as copy:
                    for file in files:
                        for line in file.read_text(encoding="utf-8").splitlines():
                            copy.write_row((line,))
                conn.execute("drop table bench_raw")

        rows.append((RAW, timed(copied)))

        def stored() -> None:
            with server.connect(conninfo) as conn:
                backfill(conn, files, config, lambda _: None)

        rows.append(("stored, one process", timed(stored)))
        with server.connect(conninfo) as conn:
            counted = conn.execute("select count(*) as n from mem_tool_calls").fetchone()
            conn.execute("truncate mem_transcripts, mem_sessions cascade")
        rows.append(
            (
                "stored, as the command does",
                timed(lambda: parallel.import_files(conninfo, files, config, lambda _: None)),
            )
        )
        with server.connect(conninfo) as conn:
            again = conn.execute("select count(*) as n from mem_tool_calls").fetchone()
        if counted != again or not counted or not counted["n"]:
            raise SystemExit(f"the two imports differ: {counted} and {again} calls")
        plain = dict(rows)[RAW]
        return [
            Figure(
                name=f"{size:.0f} MB of transcripts {what}",
                value=size / seconds,
                unit="MB/s",
                beside=f"{RAW}: {short(size / plain)} MB/s",
                ratio=seconds / plain,
            )
            for what, seconds in rows
            if what not in ("read", RAW)
        ]


if __name__ == "__main__":
    show(figures())
