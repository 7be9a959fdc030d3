"""The REST API on a real database, through the real application: who gets in, what comes back, how it fails."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import MutableMapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from starlette.testclient import TestClient
from tests.integration.conftest import TOKEN, remember
from tests.integration.test_drain import payload

from agent_memory import paths
from agent_memory.capture import spool
from agent_memory.cli import service as cli_service
from agent_memory.database import Connection
from agent_memory.database.backup import archive
from agent_memory.errors import AgentMemoryError
from agent_memory.health import rules
from agent_memory.observations import embed
from agent_memory.service import app, health, run
from agent_memory.service.state import State


def test_the_log_tells_of_each_trouble_once_and_when_it_is_over(
    state: State, database_url: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level("INFO", run.__name__)
    monkeypatch.setattr(run, "RETRY_FIRST", 0.01)
    monkeypatch.setattr(run, "RETRY_MOST", 0.01)
    stopping = threading.Event()
    troubles: list[Exception | None] = [
        *[psycopg.OperationalError("the server closed the connection")] * 3,
        *[ValueError("a bug of ours")] * 3,
        None,
    ]
    told: list[int] = []

    def work(_: Connection) -> None:
        told.append(len(state.notes))  # what is wrong is in the notes only while it is
        if trouble := troubles.pop(0):
            raise trouble
        stopping.set()

    run._with_database(work, "spool", state, database_url, stopping)
    assert told == [0] * 7
    said = [
        (one.levelname, one.getMessage().partition(": ")[0], bool(one.exc_info)) for one in caplog.records
    ]
    lost, back = ("WARNING", "trying again and again", False), ("INFO", "the database answers again", False)
    assert said == [lost, back, lost, back, lost, back, ("WARNING", "trying again and again", True)]


def test_a_log_that_has_become_long_is_set_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "LONGEST_LOG", 3)
    file = run._log("worker.log")
    file.write_text("long")
    assert run._log("worker.log").read_text() == ""
    assert file.with_suffix(".log.1").read_text() == "long"
    assert file.stat().st_mode & 0o777 == 0o600


def test_without_the_token_tcp_gives_nothing_but_health(api: TestClient) -> None:
    for shown in (
        {"authorization": ""},
        {"authorization": "Bearer wrong"},
        {"authorization": f"Basic {TOKEN}"},
    ):
        refused = api.get("/api/prompts", headers=shown)
        assert refused.status_code == 401
        assert refused.headers["content-type"] == "application/problem+json"
        assert "token" in refused.json()["remedy"]
        assert api.get("/api/health", headers=shown).status_code == 200
    assert api.get("/api/prompts").status_code == 200


def test_an_agents_name_opens_nothing(api: TestClient) -> None:
    named = {"authorization": "", "x-agent-name": "claude"}
    assert api.post("/api/queue", content=b"{}", headers=named).status_code == 401


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", ""])
def test_a_foreign_host_name_is_refused_even_with_the_token(api: TestClient, host: str) -> None:
    assert api.get("/api/health", headers={"host": host}).status_code == 403


def test_a_web_page_elsewhere_is_refused(api: TestClient) -> None:
    assert api.get("/api/prompts", headers={"origin": "https://evil.example"}).status_code == 403
    assert api.get("/api/prompts", headers={"origin": "null"}).status_code == 403
    assert api.get("/api/prompts", headers={"origin": "http://localhost:3377"}).status_code == 200


def test_a_raw_payload_is_stored_when_the_answer_comes(api: TestClient) -> None:
    said = payload("UserPromptSubmit", prompt="Fix the login")
    assert api.post("/api/queue", json=said, headers={"x-agent-name": "claude"}).status_code == 202
    (prompt,) = api.get("/api/prompts", params={"session_id": said["session_id"]}).json()["items"]
    assert (prompt["text"], prompt["prompt_id"]) == ("Fix the login", "p1")
    session = api.get(f"/api/sessions/{said['session_id']}").json()
    assert (session["agent"], session["prompts"]) == ("claude", 1)


@pytest.mark.parametrize(
    ("raw", "agent"), [(b"", "claude"), (b"[]", "claude"), (b"{}", "claude"), (b"{}", "nobody-knows-it")]
)
def test_a_payload_that_makes_no_sense_is_refused_with_the_reason(
    api: TestClient, raw: bytes, agent: str
) -> None:
    refused = api.post("/api/queue", content=raw, headers={"x-agent-name": agent})
    assert refused.status_code == 422
    assert refused.json()["detail"]


def test_tool_calls_come_newest_first_page_by_page(api: TestClient) -> None:
    for n in range(7):
        api.post(
            "/api/queue",
            json=payload("PostToolUse", tool_name="Bash", tool_use_id=f"t{n}", tool_input={"n": n}),
        )
    seen: list[dict[str, Any]] = []
    cursor = None
    while True:
        page = api.get("/api/tool-calls", params={"limit": 3} | ({"cursor": cursor} if cursor else {})).json()
        seen += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert [call["tool_input"]["n"] for call in seen] == [6, 5, 4, 3, 2, 1, 0]
    wanted = set("id session_id tool_use_id tool_name tool_input output success error duration_ms".split())  # noqa: SIM905
    assert wanted | {"prompt_id", "agent_id", "occurred_at"} <= set(seen[0])


def test_prompts_come_newest_first_page_by_page(api: TestClient) -> None:
    for n in range(5):
        api.post("/api/prompts", json={"session_id": "s", "text": f"prompt {n}", "cwd": "/home/dev/shop"})
    first = api.get("/api/prompts", params={"limit": 2}).json()
    second = api.get("/api/prompts", params={"limit": 10, "cursor": first["next_cursor"]}).json()
    texts = [row["text"] for row in first["items"] + second["items"]]
    assert texts == [f"prompt {n}" for n in (4, 3, 2, 1, 0)]


def test_a_session_of_an_agent_of_ones_own(api: TestClient) -> None:
    made = api.post(
        "/api/sessions", json={"session_id": "mine", "agent": "robot", "project": "/home/dev/shop"}
    )
    assert made.status_code == 201
    assert made.json()["project"] == "path:/home/dev/shop"
    api.post("/api/prompts", json={"session_id": "mine", "text": "hello", "agent": "robot"})
    ended = api.patch(
        "/api/sessions/mine", json={"ended_at": "2999-01-01T00:00:00Z", "end_reason": "done"}
    ).json()
    assert (ended["end_reason"], ended["prompts"]) == ("done", 1)
    assert api.get("/api/sessions/nobody").status_code == 404


def test_what_was_saved_is_recalled_with_its_sources_and_nothing_else_is(
    api: TestClient, state: State
) -> None:
    notes = [
        {
            "project": "/home/dev/shop",
            "text": "Staging runs Postgres 16 behind pgbouncer.",
            "external_id": "a",
        },
        {"project": "/home/dev/other", "text": "Staging runs MySQL 8.", "external_id": "a"},
    ]
    ids = api.post("/api/observations", json=notes).json()["ids"]
    assert api.post("/api/observations", json=notes).json()["ids"] == ids
    remember(state)
    question = {"query": "which database does staging run?", "project": "/home/dev/shop"}
    answer = api.post("/api/recall", json=question).json()
    assert [hit["id"] for hit in answer["hits"]] == [ids[0]]
    assert answer["legs"] == ["text", "vector"]
    told = {"id", "kind", "title", "text", "occurred_at", "score", "session_id", "external_id", "sources"}
    assert told <= set(answer["hits"][0])
    nothing = api.post("/api/recall", json=question | {"query": "kubernetes ingress certificates"}).json()
    assert (nothing["hits"], nothing["abstained"]) == ([], True)
    assert api.post("/api/observations/search", json=question).json()["entries"][0]["id"] == ids[0]
    assert api.get(f"/api/observations/{ids[0]}").json()["text"] == notes[0]["text"]
    listed = api.get("/api/observations", params={"project": "/home/dev/shop"}).json()["items"]
    assert [entry["id"] for entry in listed] == [ids[0]]


def test_a_turn_is_recalled_with_the_rows_it_came_from(api: TestClient, state: State) -> None:
    api.post("/api/queue", json=payload("UserPromptSubmit", prompt="Why does checkout time out?"))
    call = {
        "tool_name": "Bash",
        "tool_use_id": "t1",
        "tool_input": {"command": "pytest tests/test_checkout.py"},
    }
    api.post(
        "/api/queue", json=payload("PostToolUseFailure", **call, error="Exit code 1\nReadTimeout in gateway")
    )
    api.post("/api/queue", json=payload("Stop", last_assistant_message="The gateway's read timeout is 1 s."))
    remember(state)
    answer = api.post(
        "/api/recall", json={"query": "checkout gateway timeout", "project": "/home/dev/shop"}
    ).json()
    (hit,) = answer["hits"]
    (stored,) = api.get("/api/tool-calls").json()["items"]
    assert hit["sources"]["tool_calls"] == [stored["id"]]
    assert hit["sources"]["prompts"] == ["p1"]
    assert "ReadTimeout" in hit["text"]


def test_a_secret_in_a_note_is_not_stored(api: TestClient, state: State) -> None:
    secret = "ghp_" + "Q7w2kR9tLm4XzB1vHc8YpD3nFs6JgA5eUo0I"
    api.post(
        "/api/observations",
        json={"project": "/home/dev/shop", "text": f"The token is {secret}", "title": secret},
    )
    api.post("/api/prompts", json={"session_id": "s", "text": f"use {secret}", "cwd": "/home/dev/shop"})
    with state.pool.connection() as conn:
        for table in ("mem_observations", "mem_observation_chunks", "mem_user_prompts"):
            assert secret not in json.dumps(
                conn.execute(f"select * from {table}".encode()).fetchall(), default=str
            )


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("post", "/api/recall", {"query": "x"}),
        ("post", "/api/recall", {"query": "x", "project": "/p", "k": 0}),
        ("post", "/api/observations", {"project": "/home/dev/shop", "text": ""}),
        ("post", "/api/observations", {"project": "/home/dev/shop", "text": "x" * 20_001}),
        ("post", "/api/observations", {"project": "/home/dev/shop", "text": "x", "kind": "turn"}),
        ("get", "/api/prompts?limit=0", None),
        ("get", "/api/tool-calls?cursor=x", None),
    ],
)
def test_a_misshapen_request_says_what_to_correct(api: TestClient, method: str, path: str, body: Any) -> None:
    refused = api.request(method, path, json=body)
    assert refused.status_code == 422
    assert refused.headers["content-type"] == "application/problem+json"
    assert {"type", "title", "status", "detail", "remedy"} <= set(refused.json())


def test_an_unknown_project_is_said_and_not_taken_for_all(api: TestClient) -> None:
    for path in ("/api/prompts", "/api/tool-calls", "/api/timeline", "/api/observations"):
        assert api.get(path, params={"project": "/nowhere"}).status_code == 404
    assert api.post("/api/recall", json={"query": "x", "project": "/nowhere"}).status_code == 404
    assert api.get("/api/nowhere").status_code == 404


def test_health_says_what_is_wrong(api: TestClient, state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    well = api.get("/api/health").json()
    assert (well["status"], well["problems"]) == ("ok", [])
    assert set(well["spool"]) >= {"pending", "bad"}
    assert set(well["queue"]) >= {"pending", "failed", "oldest_s"}
    bad = paths.make_private(paths.spool_new()) / "nonsense"
    bad.write_bytes(b"x")
    spool.waiting()
    with state.pool.connection() as conn:
        conn.execute("insert into mem_projects (identity, name) values ('path:/p', 'p')")
        conn.execute(
            "insert into mem_sessions (id, project_id, agent, started_at, last_event_at)"
            " select 's', id, 'claude', now(), now() from mem_projects"
        )
        conn.execute(
            "insert into mem_observation_queue (session_id, prompt_id, failed_at, enqueued_at)"
            " values ('s', 'dead', now(), now()), ('s', 'stuck', null, now() - interval '1 hour')"
        )
    ill = api.get("/api/health").json()
    assert ill["status"] == "degraded"
    said = " ".join(ill["problems"])
    assert "1 events could not be read" in said
    assert "1 turns could not be made into memories" in said
    assert "1 turns wait for the worker" in said
    monkeypatch.setattr(rules, "STUCK_S", 1e9)
    assert "wait for the worker" not in " ".join(health.report(state)["problems"])


def test_an_observation_cannot_supersede_one_of_another_project(api: TestClient) -> None:
    (ours,) = api.post("/api/observations", json={"project": "/home/dev/shop", "text": "We use npm."}).json()[
        "ids"
    ]
    for project, expected in (("/home/dev/shop", 201), ("/home/dev/other", 422)):
        new = {"project": project, "text": "We use pnpm.", "supersedes": ours}
        assert api.post("/api/observations", json=new).status_code == expected
    missing = {"project": "/home/dev/shop", "text": "x", "supersedes": 10**9}
    assert api.post("/api/observations", json=missing).status_code == 422


def test_without_an_embedding_model_recall_goes_by_words_and_says_so(
    api: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: object) -> None:
        raise AgentMemoryError("The model's file is gone.", "Reinstall agent-memory.")

    monkeypatch.setattr(embed, "load", refuse)
    api.post("/api/observations", json={"project": "/home/dev/shop", "text": "Staging runs Postgres 16."})
    answer = api.post("/api/recall", json={"query": "staging postgres", "project": "/home/dev/shop"}).json()
    assert len(answer["hits"]) == 1
    assert answer["legs"] == ["text"]
    assert "words alone" in answer["notice"]


def test_a_memory_is_retracted_and_holds_again_over_rest(api: TestClient) -> None:
    new = [
        {"project": "/home/dev/shop", "text": "Mail goes out through Postmark.", "external_id": "mail-1"},
        {"project": "/home/dev/shop", "text": "The cache lives in Redis.", "supersedes": "mail-1"},
    ]
    old, number = api.post("/api/observations", json=new).json()["ids"]
    assert api.get(f"/api/observations/{old}").json()["superseded_by"] == number
    change = {"valid_until": "2026-03-01T09:00:00Z", "retracted_because": "it was too slow"}
    told = api.patch(f"/api/observations/{number}", json=change).json()
    assert told["held"] == {
        "since": None,
        "until": "2026-03-01T09:00:00Z",
        "superseded_by": None,
        "because": "it was too slow",
    }
    asked = {"query": "where does the cache live, in Redis?", "project": "/home/dev/shop"}
    assert api.post("/api/recall", json=asked).json()["hits"] == []
    assert (
        api.patch(f"/api/observations/{number}", json={"valid_until": None}).json()["held"]["until"] is None
    )
    assert [hit["id"] for hit in api.post("/api/recall", json=asked).json()["hits"]] == [number]
    assert api.patch("/api/observations/99999", json=change).status_code == 404
    backwards = {"valid_from": "2026-05-01T00:00:00Z", "valid_until": "2026-04-01T00:00:00Z"}
    assert api.patch(f"/api/observations/{number}", json=backwards).status_code == 422


def test_backups_are_made_listed_and_proven_over_rest(api: TestClient) -> None:
    made = api.post("/api/admin/backups")
    assert made.status_code == 201, made.text
    name = made.json()["name"]
    assert [item["name"] for item in api.get("/api/admin/backups").json()["items"]] == [name]
    tried = api.post(f"/api/admin/backups/{name}/verify").json()
    assert tried["verified_at"] is not None
    assert tried["verify_problem"] is None
    assert api.post("/api/admin/backups/none/verify").status_code == 404
    with archive.lock():
        assert api.post("/api/admin/backups").status_code == 409
    assert api.get("/api/health").json()["backup"]["newest"]


def test_health_and_status_tell_of_lessons_that_wait_for_a_decision(api: TestClient) -> None:
    assert api.get("/api/health").json()["lessons"] == {}
    rule = {
        "title": "Push",
        "rule": "Run the tests first.",
        "trigger_tool": "Bash",
        "project": "/home/dev/shop",
    }
    for number, status in enumerate(("active", "candidate", "candidate")):
        made = rule | {
            "trigger_pattern": f"git push {number}",
            "rule": f"Run test {number} first.",
            "status": status,
        }
        assert api.post("/api/lessons", json=made).status_code == 201
    counted = api.get("/api/health").json()["lessons"]
    assert counted == {"active": 1, "candidate": 2}
    assert "2 candidates to decide on: agent-memory lesson review" in cli_service._lessons(counted)


def test_what_is_answered_is_committed_already(state: State) -> None:
    """Whoever asks at once for what was just saved must find it, and what cannot be committed must not be called
    saved."""
    body = b'{"project": "/home/dev/shop", "text": "Staging runs Postgres 16."}'
    headers = {
        "host": "127.0.0.1:3377",
        "authorization": f"Bearer {TOKEN}",
        "content-type": "application/json",
    }
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/api/observations",
        "raw_path": b"/api/observations",
        "query_string": b"",
        "root_path": "",
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 3377),
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }
    seen: list[tuple[int, int]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body}

    async def send(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            with state.pool.connection() as conn:
                saved = conn.execute("select from mem_observations").fetchall()
            seen.append((message["status"], len(saved)))

    async def asked() -> None:
        await app.create(state)(scope, receive, send)

    with ThreadPoolExecutor(1) as thread:  # where a browser was driven before, this one has a loop already
        thread.submit(asyncio.run, asked()).result()
    assert seen == [(201, 1)]
