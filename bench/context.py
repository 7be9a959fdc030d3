"""What sessions are told unasked: how sure a hit at a prompt is, and how long the hooks' answers take.

    make bench-context        or: python -m bench.context [certainty|latency]

Certainty: the coding set of bench/recall, its development half only. Each question is put as a prompt; what is shown at
each threshold is compared with the labelled evidence. Beside them the sessions' own prompts, each with only the other
sessions to be found: nobody labelled these, but the share that is shown something says how often a user would be told.
Latency: a project of 100 sessions and 10,000 turns, recorded through the product's own ingest and worker; vectors are
made up, in clusters. A running service is asked over its socket, and by the hook as an agent runs it, in turn with a
bare `python -I -S -c pass`.
"""

from __future__ import annotations

import json
import os
import socket
import statistics
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np

from agent_memory import hook as recorder
from agent_memory import paths, settings
from agent_memory.database import Connection, server
from agent_memory.database.migrate import migrate
from agent_memory.journal.event import (
    AssistantMessage,
    Event,
    Prompt,
    SessionEnd,
    SessionStart,
    ToolCall,
    TurnEnd,
)
from agent_memory.journal.ingest import ingest
from agent_memory.observations import embed, vectors, worker
from agent_memory.recall import context, search
from bench import recall_scale, recall_sets
from bench.home import scratch_home
from bench.hook import BARE
from bench.recall import Remembered

THRESHOLDS = (0.42, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 1.0, 1.05, 1.1, 1.2)
SESSIONS, TURNS = 100, 100
RUNS = 200
FOLDER = "/home/dev/large"


def main() -> None:
    wanted = sys.argv[1:] or ["certainty", "latency"]
    if "certainty" in wanted:
        certainty()
    if "latency" in wanted:
        latency()


def certainty() -> None:
    (coding,) = recall_sets.sets(["coding"])
    with scratch_home() as home:
        config = settings.load()
        kept = recall_sets.HERE / "results" / "vectors.sqlite"
        kept.parent.mkdir(exist_ok=True)
        embedder = Remembered(embed.load(config), kept)
        with server.connect(server.conninfo(config)) as conn:
            migrate(conn)
            filled = coding.fill(conn, config, home / "repositories")
            while worker.run_once(conn, embedder):
                pass

            def shown(text: str, project: int, session: str = "") -> list[tuple[float, int]]:
                if not context.worth_looking_up(text):
                    return []
                found = search.certain(
                    conn,
                    text[: context.QUERY_CHARS],
                    project_id=project,
                    embedder=embedder,
                    enough=0.0,
                    but_session=session,
                    but=(),
                    k=context.PROMPT_HITS,
                    budget_chars=100_000,
                    seconds=60,
                )
                return [(found.certainties[hit.id], hit.id) for hit in found.hits]

            asked = [q for q in filled.questions if q.split == "dev"]
            answers = [(q.evidence, shown(q.text, filled.projects[q.project])) for q in asked]
            prompts = conn.execute(
                "select p.text, p.session_id, s.project_id from mem_user_prompts p"
                " join mem_sessions s on s.id = p.session_id where p.kind = 'user' order by p.session_id, p.id"
            ).fetchall()
            own = [shown(row["text"], row["project_id"], row["session_id"]) for row in prompts]
    known = sum(bool(evidence) for evidence, _ in answers)
    print(
        f"coding, dev: {known} questions with an answer, {len(answers) - known} without; {len(own)} prompts\n"
    )
    print(
        "| certainty | hits shown | of them evidence | with an answer: shown it | without: shown something |",
        end="",
    )
    print(" own prompts: shown something |\n|---|---|---|---|---|---|")
    for threshold in THRESHOLDS:
        hits = right = found = wrong = 0
        for evidence, ranked in answers:
            sure = [number for certain, number in ranked if certain >= threshold]
            hits += len(sure)
            right += len(evidence & set(sure))
            found += bool(evidence & set(sure))
            wrong += bool(sure and not evidence)
        told = sum(any(certain >= threshold for certain, _ in ranked) for ranked in own)
        mark = "**" if threshold == context.ENOUGH else ""
        print(
            f"| {mark}{threshold}{mark} | {hits} | {right / max(1, hits):.2f} | {found / known:.2f}"
            f" | {wrong / max(1, len(answers) - known):.2f} | {told / len(own):.2f} |"
        )
    print()


def latency() -> None:
    os.environ["AGENT_MEMORY_PROMPT_CONTEXT"] = "true"
    with scratch_home() as home:
        with server.connect(server.conninfo(settings.load())) as conn:
            migrate(conn)
            fill(conn)
            prompts = [
                row["text"]
                for row in conn.execute(
                    "select text from mem_user_prompts order by text limit %s", (RUNS,)
                ).fetchall()
            ]
        command = Path(sys.executable).parent / "agent-memory"
        subprocess.run([command, "up", "--detach"], check=True, stdout=subprocess.DEVNULL)
        try:
            print(
                f"{SESSIONS} sessions, {SESSIONS * TURNS:,} turns; {RUNS} runs of each, load {os.getloadavg()[0]:.1f}\n"
            )
            print(
                "| | answered | p50 ms | p95 ms | hook, whole: p50 | p95 | bare interpreter: p50 | p95 | told |"
            )
            print("|---|---|---|---|---|---|---|---|---|")
            measure(
                "a session's start", lambda _: {"hook_event_name": "SessionStart", "source": "startup"}, home
            )
            measure(
                "a prompt",
                lambda n: {"hook_event_name": "UserPromptSubmit", "prompt": prompts[n % len(prompts)]},
                home,
            )
        finally:
            subprocess.run([command, "down"], check=True, stdout=subprocess.DEVNULL)
            del os.environ["AGENT_MEMORY_PROMPT_CONTEXT"]


def measure(what: str, made: Callable[[int], dict[str, Any]], home: Path) -> None:
    """Ask over the socket and through the hook, in turn with a bare interpreter, each time as another session."""
    hook = [sys.executable, "-I", "-S", recorder.__file__, "claude", str(home)]
    asked: list[float] = []
    hooked: list[float] = []
    bare: list[float] = []
    answered = told = 0
    for run in range(RUNS + 10):
        payload = {
            "session_id": str(uuid.uuid4()),
            "cwd": FOLDER,
            "prompt_id": str(uuid.uuid4()),
            **made(run),
        }
        raw = json.dumps(payload, separators=(",", ":")).encode()
        began = time.perf_counter()
        body = ask(raw)
        asked.append(time.perf_counter() - began)
        raw = json.dumps({**payload, "session_id": str(uuid.uuid4())}, separators=(",", ":")).encode()
        for times, argv in ((bare, BARE), (hooked, hook)):
            began = time.perf_counter()
            done = subprocess.run(argv, input=raw, capture_output=True, check=True)
            times.append(time.perf_counter() - began)
        if run >= 10:
            answered += bool(body)
            told += bool(done.stdout)
    numbers = " | ".join(
        f"{statistics.median(times[10:]) * 1000:.1f} | {statistics.quantiles(times[10:], n=20)[-1] * 1000:.1f}"
        for times in (asked, hooked, bare)
    )
    print(f"| {what} | {answered} | {numbers} | {told} |", flush=True)


def ask(raw: bytes) -> bytes:
    """The body of the service's answer to a hook."""
    with socket.socket(socket.AF_UNIX) as service:
        service.connect(str(paths.service_socket()))
        head = f"POST /api/hook HTTP/1.1\r\nHost: localhost\r\nX-Agent-Name: claude\r\nContent-Length: {len(raw)}\r\n"
        service.sendall(head.encode() + b"Connection: close\r\n\r\n" + raw)
        answer = b""
        while block := service.recv(1 << 16):
            answer += block
    return answer.partition(b"\r\n\r\n")[2]


def fill(conn: Connection) -> None:
    """Record the sessions, build their memories, and give every chunk a made-up vector."""
    began = time.perf_counter()
    for number in range(SESSIONS):
        ingest(conn, list(session(number)), settings.load())
        conn.commit()
    while worker.build_due(conn):
        pass
    model = vectors.model_id(conn, recall_scale.Vectors())
    rows = conn.execute("select id, project_id from mem_observation_chunks order by id").fetchall()
    columns = "mem_chunk_vectors (model_id, chunk_id, project_id, embedding)"
    with conn.cursor().copy(f"copy {columns} from stdin (format binary)") as sink:
        sink.write(b"PGCOPY\n\xff\r\n\0" + bytes(8) + recall_scale.binary(model, rows) + b"\xff\xff")
    conn.execute("delete from mem_embedding_queue")
    conn.commit()
    conn.autocommit = True
    conn.execute("vacuum analyze")
    conn.autocommit = False
    print(
        f"recorded and remembered in {time.perf_counter() - began:.0f} s: {len(rows):,} chunks",
        file=sys.stderr,
    )


def session(number: int) -> Iterator[Event]:
    rng = np.random.default_rng(number)
    session_id = str(uuid.UUID(bytes=rng.bytes(16)))
    at = recall_scale.START + timedelta(hours=3 * number)

    def event(body: Any, seconds: float, prompt_id: str | None = None) -> Event:
        moment = at + timedelta(seconds=seconds)
        return Event(
            agent="claude",
            session_id=session_id,
            occurred_at=moment,
            body=body,
            cwd=FOLDER,
            prompt_id=prompt_id,
        )

    yield event(SessionStart(source="startup"), 0)
    for turn in range(TURNS):
        prompt_id, second = f"{session_id}-{turn}", 60 * turn
        yield event(Prompt(text=words(rng, 25)), second, prompt_id)
        for call in range(2):
            done = ToolCall(
                tool_use_id=f"{prompt_id}-{call}",
                name="Bash",
                input={"command": f"grep -rn {words(rng, 1)} src/{words(rng, 1)}.py"},
                output=words(rng, 100),
                success=True,
            )
            yield event(done, second + call, prompt_id)
        yield event(AssistantMessage(text=f"{words(rng, 60)}."), second + 10, prompt_id)
        yield event(TurnEnd(), second + 11, prompt_id)
    yield event(SessionEnd(reason="other"), 60 * TURNS)


def words(rng: np.random.Generator, count: int) -> str:
    places = np.searchsorted(recall_scale.ZIPF, rng.random(count) * recall_scale.ZIPF[-1])
    return " ".join(recall_scale.VOCABULARY[places])


if __name__ == "__main__":
    main()
