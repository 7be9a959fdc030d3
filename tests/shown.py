"""Something of each kind that the viewer's pages show: for tests of what is seen of it and what can be done to it.

Everything comes by the doors that it comes by in life; what those doors do not give (what mining finds, a training run,
what a session was told) is written by the rooms' own functions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from agent_memory import settings
from agent_memory.database import Connection
from agent_memory.finetune import store as finetune
from agent_memory.lessons import gate, ledger
from agent_memory.lessons import store as lessons
from agent_memory.lessons.lesson import Draft
from agent_memory.lessons.store import Firing
from agent_memory.lessons.trigger import Trigger
from agent_memory.observations import store as observations
from agent_memory.recall import context_store
from agent_memory.recall.context_store import Shown

Post = Callable[[str, dict[str, Any]], Any]
"""POST a JSON object to a path of the service's, over whatever door; gives the answer."""


@dataclass(frozen=True, slots=True)
class Scene:
    """Numbers of what there is."""

    project: int
    note: int
    candidate: int
    lesson: int
    run: int
    data_set: int


def record(post: Post, folder: str, session: str, words: str = "") -> None:
    """A turn in which a call failed twice, and worked after another one. `words` go into every text."""

    def hook(event: str, **fields: Any) -> None:
        said = {"session_id": session, "cwd": folder, "hook_event_name": event, "prompt_id": f"{session}-p1"}
        post("/api/queue", said | fields)

    def call(number: int, command: str, *, error: str | None = None) -> None:
        hook(
            "PostToolUseFailure" if error else "PostToolUse",
            tool_use_id=f"{session}-t{number}",
            tool_name="Bash",
            tool_input={"command": command},
            **({"error": error} if error else {"tool_response": {"stdout": "done", "stderr": ""}}),
        )

    hook("SessionStart", source="startup")
    hook("UserPromptSubmit", prompt=f"Make the tests of the shop pass. {words}")
    call(1, f"make test {words}", error=f'Exit code 2\nrelation "vouchers" does not exist {words}')
    call(2, f"make test {words}", error=f'Exit code 2\nrelation "vouchers" does not exist {words}')
    call(3, f"make migrate {words}")
    call(4, f"make test {words}")
    hook("Stop", last_assistant_message=f"The tests pass, since the tables are there now. {words}")


def furnish(post: Post, conn: Connection, folder: str, session: str, words: str = "") -> Scene:
    """All the rest, about that session. The caller commits."""
    said = {
        "project": folder,
        "text": f"Staging runs Postgres 16. {words}",
        "title": f"Staging {words}".strip(),
    }
    (note,) = post("/api/observations", said)["ids"]
    project = observations.project_of(conn, note)
    assert project is not None
    config = settings.load()
    calls = [
        row["id"]
        for row in conn.execute("select id from mem_tool_calls where session_id = %s order by id", (session,))
    ]
    fared = {"sessions": 3, "calls": 40, "right": 4, "wrong": 1, "missed": 0}
    candidate = gate.create(
        conn,
        Draft(
            title=f"Before make test: make migrate {words}"[:80],
            rule=f"make test failed 2 times here; it worked after make migrate. {words}",
            trigger=Trigger(tools=("Bash",), pattern=f"make test {words}".strip(), kind="literal"),
            project_id=project,
            made_by="mining",
            origin=f"first/{session}",
            evidence={
                "kind": "first",
                "failures": 2,
                "episodes": 1,
                "sessions": 1,
                "session_ids": [session],
                "tool_calls": calls[:3],
                "fixed_by": calls[2:3],
                "prompts": [f"{session}-p1"],
                "origins": [f"first/{session}"],
            },
            estimate={**fared, "all": fared},
        ),
        config,
    ).lesson.id
    lesson = gate.create(
        conn,
        Draft(
            title=f"Never push to main {words}"[:80],
            rule=f"Push to a branch of your own. {words}",
            trigger=Trigger(tools=("Bash",), pattern=r"\bmake test\b", kind="regex"),
            project_id=project,
            made_by="user",
        ),
        config,
        active=True,
    ).lesson.id
    identity = conn.execute("select identity from mem_projects where id = %s", (project,)).fetchone()
    assert identity is not None
    lessons.record(
        conn,
        [
            Firing(
                lesson_id=lesson,
                project=identity["identity"],
                session_id=session,
                prompt_id=f"{session}-p1",
                agent_id=None,
                tool_use_id=f"{session}-t1",
                tool_name="Bash",
                phase="before",
                action="warn",
            )
        ],
    )
    ledger.settle(conn)
    context_store.record(
        conn,
        session_id=session,
        event="SessionStart",
        outcome="told",
        reason="a session began",
        chars=420,
        took_ms=12,
        shown=[
            Shown(part="session", session_id=session, prompt_id=f"{session}-p1"),
            Shown(part="note", observation_id=note),
            Shown(part="lesson", lesson_id=lesson),
        ],
    )
    context_store.record(
        conn,
        session_id=session,
        prompt_id=f"{session}-p1",
        event="UserPromptSubmit",
        outcome="told",
        reason="certain enough",
        chars=200,
        took_ms=31,
        shown=[
            Shown(
                part="hit",
                observation_id=note,
                score=0.82,
                why={"legs": {"text": {"rank": 1, "words": ["staging", words]}, "vector": {"rank": 2}}},
            )
        ],
    )
    context_store.record(
        conn, session_id=session, event="UserPromptSubmit", outcome="silent", reason=f"nothing fits {words}"
    )
    data_set = finetune.register(
        conn,
        path=f"/data/set {words}",
        machine="laptop-3f9a",
        manifest_sha256="a" * 64,
        rows=120,
        tombstone_id=0,
        sessions=[session],
    )
    gates = [
        {"name": "secrets", "wants": "0", "found": f"0 {words}", "passed": True, "warning": None, "rows": []},
        {"name": "bar", "wants": "≥ 0.6", "found": "0.41", "passed": False, "remedy": f"More rows. {words}"},
    ]
    begun = {"began": "2026-11-20T10:00:00+00:00", "numbers": {"rows": 120, "words": words}, "peak_mb": 812.0}
    finetune.record_run(
        conn,
        {
            "name": f"my-model {words}".strip(),
            "folder": f"/training/my-model {words}",
            "machine": "laptop-3f9a",
            "created_at": datetime(2026, 11, 20, 10, tzinfo=UTC),
            "config": {"name": "my-model", "base": {"model": f"small {words}"}},
            "data_set_id": data_set,
            "data_set": {"rows": {"train": 100, "validation": 20}, "counts": {"tokens": 52_000}},
            "steps": {
                "dataset": {"state": "passed", "seconds": 12.5, "gates": gates[:1], "error": None, **begun},
                "train": {"state": "failed", "seconds": 3600.0, "gates": gates, "error": words, **begun},
            },
            "metrics": [
                {
                    "step": step,
                    "loss": 2.5 / (1 + step / 20),
                    **({"eval_loss": 2.0} if step % 20 == 0 else {}),
                }
                for step in range(0, 101, 5)
            ],
            "files": {f"adapter/model {words}": {"bytes": 4_200_000, "sha256": "b" * 64}},
            "retracted_at": None,
            "retracted_because": None,
        },
    )
    run = conn.execute("select max(id) as id from mem_training_runs").fetchone()
    assert run is not None
    return Scene(project, note, candidate, lesson, run["id"], data_set)
