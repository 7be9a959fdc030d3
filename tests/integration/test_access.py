"""Who gets in: tokens and their scopes, a token bound to one project, limits, the audit log, the socket's peer."""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from starlette.testclient import TestClient
from tests.integration.conftest import TOKEN, remember

from agent_memory import paths, settings
from agent_memory.access import audit, store, tokens
from agent_memory.database import Connection
from agent_memory.errors import AgentMemoryError
from agent_memory.journal import projects
from agent_memory.journal.redaction import redact
from agent_memory.service import app, auth, sockets, web
from agent_memory.service.state import State

OURS, THEIRS = "/home/dev/shop", "/home/dev/other"
CANARY = "The heron nests behind the weir."


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def made(state: State, name: str, **options: Any) -> dict[str, str]:
    with state.pool.connection() as conn:
        return bearer(tokens.create(conn, name, **options))


def test_a_token_is_stored_as_its_hash_and_recognised_by_the_redaction(conn: Connection) -> None:
    token = tokens.create(conn, "codex")
    row = conn.execute("select * from mem_api_tokens").fetchone()
    assert token not in str(row)
    assert token.encode() not in row["sha256"]  # type: ignore[index]
    assert token not in redact(f"curl -d {token} http://127.0.0.1:3377")
    assert tokens.find(conn, token) == tokens.Token("codex", "write", None)
    assert tokens.find(conn, token[:-1]) is None
    assert tokens.find(conn, "") is None


def test_a_token_opens_nothing_once_it_is_revoked_or_has_run_out(conn: Connection) -> None:
    revoked = tokens.create(conn, "codex")
    tokens.revoke(conn, "codex")
    assert tokens.find(conn, revoked) is None
    again = tokens.create(conn, "codex", expires_at=datetime.now(UTC) + timedelta(hours=1))
    assert tokens.find(conn, again)
    conn.execute(
        "update mem_api_tokens set expires_at = now() - interval '1 second' where revoked_at is null"
    )
    assert tokens.find(conn, again) is None
    assert tokens.create(conn, "codex")  # the name is free again
    with pytest.raises(AgentMemoryError, match="in force"):
        tokens.create(conn, "codex")
    assert [row["valid"] for row in tokens.listed(conn)] == [True, False, False]


@pytest.mark.parametrize("name", ["", " ", "a b", "-x", "x" * 65, "name\n"])
def test_what_cannot_be_a_name_is_refused(conn: Connection, name: str) -> None:
    with pytest.raises(AgentMemoryError, match="cannot be a token's name"):
        tokens.create(conn, name)


def test_a_scope_opens_what_it_says_and_no_more(api: TestClient, state: State) -> None:
    note = {"project": OURS, "text": "Staging runs Postgres 16."}
    question = {"project": OURS, "query": "staging"}
    api.post("/api/observations", json=note)
    may = {"read": (200, 403, 403), "write": (200, 201, 403), "admin": (200, 201, 200)}
    for scope, expected in may.items():
        shown = made(state, scope, scope=scope)
        got = (
            api.post("/api/recall", json=question, headers=shown).status_code,
            api.post("/api/observations", json=note, headers=shown).status_code,
            api.get("/api/admin/audit", headers=shown).status_code,
        )
        assert got == expected, scope
    refused = api.post("/api/observations", json=note, headers=made(state, "reader", scope="read"))
    assert "--scope write" in refused.json()["remedy"]


def test_tokens_are_made_listed_and_revoked_over_rest(api: TestClient) -> None:
    new = api.post("/api/admin/tokens", json={"name": "laptop", "scope": "read"}).json()
    shown = bearer(new["token"])
    assert api.get("/api/projects", headers=shown).status_code == 200
    (listed,) = api.get("/api/admin/tokens").json()["items"]
    assert listed["last_used_at"]
    assert new["token"] not in str(listed)
    assert api.delete("/api/admin/tokens/laptop").status_code == 204
    assert api.get("/api/projects", headers=shown).status_code == 401
    assert api.delete("/api/admin/tokens/laptop").status_code == 404


def theirs(api: TestClient, state: State) -> dict[str, Any]:
    """Something in another project, of each kind, with the canary in it."""
    api.post("/api/prompts", json={"session_id": "theirs", "text": CANARY, "cwd": THEIRS, "prompt_id": "p"})
    api.post("/api/prompts", json={"session_id": "ours", "text": "Ours alone.", "cwd": OURS})
    (number,) = api.post("/api/observations", json={"project": THEIRS, "text": CANARY}).json()["ids"]
    rule = {"rule": CANARY, "trigger_tool": "Bash", "trigger_pattern": "heron", "project": THEIRS}
    assert api.post("/api/lessons", json=rule | {"status": "active"}).json()["id"] == number
    remember(state)
    return {"session_id": "theirs", "number": number, "project": THEIRS}


BODIES: dict[str, dict[str, Any]] = {
    "POST /api/recall": {"query": CANARY, "project": THEIRS},
    "POST /api/observations/search": {"query": CANARY, "project": THEIRS},
    "POST /api/observations": {"text": "x", "project": THEIRS},
    "POST /api/prompts": {"text": "x", "session_id": "theirs"},
    "POST /api/sessions": {"id": "theirs"},
    "PATCH /api/sessions/{session_id}": {"end_reason": "x"},
    "POST /api/queue": {
        "hook_event_name": "UserPromptSubmit",
        "session_id": "theirs",
        "prompt": "x",
        "cwd": OURS,
    },
    "PATCH /api/observations/{number}": {"retracted_because": "x", "valid_until": "2020-01-01T00:00:00Z"},
    "POST /api/lessons": {"rule": "x", "trigger_tool": "Bash", "trigger_pattern": "x", "project": THEIRS},
    "PATCH /api/lessons/{number}": {"status": "retired"},
    "POST /api/lessons/match": {
        "tool_name": "Bash",
        "tool_input": {"command": "heron weir"},
        "cwd": THEIRS,
        "project": THEIRS,
    },
    "POST /api/hook": {"hook_event_name": "SessionStart", "session_id": "theirs", "cwd": THEIRS},
}
"""What to send to each route that takes a body. A new route has to be added here: the test below asks them all."""
COUNTS_ONLY = {"GET /api/health", "GET /api/counts"}
ELSEWHERE = {"GET /api/stream"}
ENDLESS = {"/live"}
"""They do not end: test_stream.py asks them."""


def test_a_token_of_one_project_gets_nothing_of_another_from_any_route(
    api: TestClient,
    state: State,
) -> None:
    known = theirs(api, state)
    with state.pool.connection() as conn:
        before = rows_of(conn)
        project = conn.execute("select id from mem_projects where path = %s", (OURS,)).fetchone()
    shown = made(state, "bound", scope="write", project_id=project["id"])  # type: ignore[index]
    asked = 0
    for path, operations in api.app.openapi()["paths"].items():  # type: ignore[attr-defined]
        for method in operations:
            name = f"{method.upper()} {path}"
            if name in COUNTS_ONLY | ELSEWHERE:
                continue
            filled = re.sub(r"{(\w+)}", lambda found: str(known.get(found[1], known["number"])), path)
            assert method in ("get", "delete") or name in BODIES or "/admin/" in name, (
                f"{name}: add to BODIES"
            )
            for query in ({}, {"project": THEIRS}, {"session_id": "theirs"}, {"around": known["number"]}):
                said = api.request(method, filled, params=query, json=BODIES.get(name), headers=shown)
                assert CANARY not in said.text, name
                assert said.status_code < 500, name
                if "/admin/" in name:
                    assert said.status_code == 403, name
                asked += 1
    assert asked > 40
    with state.pool.connection() as conn:
        assert rows_of(conn) == before  # nor was anything written there


def test_a_token_of_one_project_gets_nothing_of_another_from_any_page(api: TestClient, state: State) -> None:
    known = theirs(api, state)
    api.post(
        "/api/queue",
        json={
            "session_id": "theirs",
            "cwd": THEIRS,
            "hook_event_name": "PostToolUse",
            "tool_name": "Bash",
            "tool_use_id": "t1",
            "tool_input": {"command": f"echo {CANARY}"},
            "tool_response": CANARY,
        },
    )
    with state.pool.connection() as conn:
        before = rows_of(conn)
        project = conn.execute("select id from mem_projects where path = %s", (OURS,)).fetchone()
    shown = made(state, "bound", scope="write", project_id=project["id"])  # type: ignore[index]
    asked = seen = 0
    for path, methods in web.routes():
        for method in methods:
            filled = re.sub(
                r"{(\w+)(?::\w+)?}", lambda found: str(known.get(found[1], known["number"])), path
            )
            for query in (
                {},
                {"project": THEIRS},
                {"project": OURS},
                {"q": "heron weir"},
                {"q": "heron weir", "project": THEIRS},
            ):
                if path in ENDLESS:
                    continue
                said = api.request(method, filled, params=query, headers=shown)
                assert CANARY not in said.text, (path, query)
                assert said.status_code < 500, path
                if query.get("project") == THEIRS and path in ("/", "/sessions", "/recall", "/timeline"):
                    assert said.status_code == 403, path
                asked += 1
                seen += said.status_code == 200
                if method == "GET" and path not in auth.OPEN:
                    nobody = api.request(method, filled, params=query, headers={"authorization": ""})
                    assert nobody.status_code == 401, path
    assert asked > 30
    assert seen > 10
    with state.pool.connection() as conn:
        assert rows_of(conn) == before


def rows_of(conn: Connection) -> Any:
    """What their project holds."""
    return [
        conn.execute(
            "select s.id, s.end_reason, p.text from mem_sessions s join mem_projects j on j.id = s.project_id"
            " left join mem_user_prompts p on p.session_id = s.id where j.path = %s order by 1, 3",
            (THEIRS,),
        ).fetchall(),
        conn.execute(
            "select o.id, o.text from mem_observations o join mem_projects j on j.id = o.project_id"
            " where j.path = %s and o.kind = 'note' order by 1",
            (THEIRS,),
        ).fetchall(),
        conn.execute("select id, rule, status from mem_lessons order by id").fetchall(),
    ]


def test_a_token_of_one_project_works_there(api: TestClient, state: State) -> None:
    theirs(api, state)
    with state.pool.connection() as conn:
        project = conn.execute("select id from mem_projects where path = %s", (OURS,)).fetchone()
    shown = made(state, "bound", scope="write", project_id=project["id"])  # type: ignore[index]
    assert [p["text"] for p in api.get("/api/prompts", headers=shown).json()["items"]] == ["Ours alone."]
    assert len(api.get("/api/projects", headers=shown).json()["items"]) == 1
    note = {"project": OURS, "text": "Ours too."}
    assert api.post("/api/observations", json=note, headers=shown).status_code == 201
    refused = api.post("/api/observations", json=note | {"project": THEIRS}, headers=shown)
    assert (refused.status_code, "another project" in refused.json()["detail"]) == (403, True)


def test_a_lesson_for_every_project_tells_a_bound_token_nothing_of_the_others(
    api: TestClient, state: State
) -> None:
    for folder, session in ((OURS, "ours"), (THEIRS, "theirs")):
        api.post("/api/prompts", json={"session_id": session, "text": "Deploy it.", "cwd": folder})
    rule = {"rule": "Run the tests first.", "trigger_tool": "Bash", "trigger_pattern": "git push"}
    number = api.post("/api/lessons", json=rule | {"status": "active"}).json()["id"]
    with state.pool.connection() as conn:
        ours = projects.resolve(conn, OURS)
        conn.execute(
            "update mem_lessons set session_id = 'theirs', evidence = '{\"session_ids\": [\"theirs\"]}'"
        )
        conn.execute(
            "insert into mem_lesson_events (lesson_id, project_id, session_id, phase, action, fired_at)"
            " select %s, project_id, id, 'before', 'warn', now() from mem_sessions",
            (number,),
        )
    shown = made(state, "bound", scope="read", project_id=ours)
    for path in (f"/api/lessons/{number}", "/api/lessons"):
        assert "theirs" not in api.get(path, headers=shown).text, path
    seen = api.get(f"/api/lessons/{number}", headers=shown).json()
    assert [one["session_id"] for one in seen["firings"]] == ["ours"]
    whole = api.get(f"/api/lessons/{number}").json()
    assert {one["session_id"] for one in whole["firings"]} == {"ours", "theirs"}
    assert whole["evidence"] == {"session_ids": ["theirs"]}


@pytest.fixture
def narrow(state: State) -> Iterator[TestClient]:
    """A caller where three writes and five reads a minute are allowed."""
    state.settings = state.settings.model_copy(update={"rate_limit_writes": 3, "rate_limit_reads": 5})
    with TestClient(app.create(state), base_url="http://127.0.0.1:3377", headers=bearer(TOKEN)) as client:
        yield client


def test_one_request_too_many_is_told_when_to_come_again(narrow: TestClient, state: State) -> None:
    note = {"project": OURS, "text": "x"}
    got = [narrow.post("/api/observations", json=note) for _ in range(4)]
    assert [one.status_code for one in got] == [201, 201, 201, 429]
    assert 1 <= int(got[3].headers["retry-after"]) <= 60
    assert got[3].headers["content-type"] == "application/problem+json"
    assert "nothing of it was done" in got[3].json()["remedy"]
    assert narrow.get("/api/projects").status_code == 200  # reading has a count of its own
    other = made(state, "other")
    assert narrow.post("/api/observations", json=note, headers=other).status_code == 201  # as has each token


def test_a_flood_is_told_in_the_log_once_and_not_in_the_audit_log(
    narrow: TestClient, state: State, caplog: pytest.LogCaptureFixture
) -> None:
    note = {"project": OURS, "text": "x"}
    assert [narrow.post("/api/observations", json=note).status_code for _ in range(9)] == [201] * 3 + [
        429
    ] * 6
    (line,) = (one.getMessage() for one in caplog.records if one.levelname == "WARNING")
    assert line == "owner by tcp asks for more than 3 writes in a minute, and is sent away"
    with state.pool.connection() as conn:
        kept = conn.execute("select status from mem_audit_log").fetchall()
    assert [row["status"] for row in kept] == [201] * 3


def test_guessing_tokens_is_limited_too(narrow: TestClient) -> None:
    got = [narrow.get("/api/projects", headers=bearer(f"agmem_{n}")).status_code for n in range(6)]
    assert got == [401] * 5 + [429]


def test_what_is_changed_is_written_down_and_what_is_read_is_not(
    api: TestClient,
    state: State,
) -> None:
    secret = "ghp_" + "Q7w2kR9tLm4XzB1vHc8YpD3nFs6JgA5eUo0I"
    api.post("/api/observations", json={"project": OURS, "text": f"{CANARY} {secret}"})
    api.get("/api/projects")
    api.get("/api/admin/machines")
    api.get("/api/prompts", headers=bearer(secret))
    made_token = api.post("/api/admin/tokens", json={"name": "laptop"}).json()["token"]
    api.delete("/api/admin/tokens/laptop", headers=made(state, "weak"))
    rows = api.get("/api/admin/audit").json()["items"]
    assert [(r["who"], r["action"], r["target"], r["status"]) for r in reversed(rows)] == [
        ("owner", "POST /api/observations", None, 201),
        ("nobody", "GET /api/prompts", None, 401),
        ("owner", "POST /api/admin/tokens", "token laptop", 201),
        ("token:weak", "DELETE /api/admin/tokens/laptop", None, 403),
    ]
    for text in (CANARY, secret, made_token):
        assert text not in str(rows)


@pytest.mark.parametrize(
    ("level", "kinds"),
    [("off", []), ("admin", ["admin"]), ("write", ["write", "admin"]), ("all", ["read", "write", "admin"])],
)
def test_the_level_says_what_is_written_down(conn: Connection, level: str, kinds: list[str]) -> None:
    config = settings.load().model_copy(update={"audit_log_level": level})
    for kind in ("read", "write", "admin"):
        audit.record(conn, config, who="cli", action=kind, kind=kind)
    assert [row["action"] for row in audit.read(conn)][::-1] == kinds


def test_the_audit_log_keeps_thirty_days(conn: Connection) -> None:
    for action in ("old", "new"):
        store.insert_audit(
            conn, machine="desk-0001", who="cli", action=action, target=None, project_id=None, status=200
        )
    conn.execute(
        "update mem_audit_log set occurred_at = now() - interval '30 days 1 hour' where action = 'old'"
    )
    assert audit.prune(conn) == 1
    assert [row["action"] for row in audit.read(conn)] == ["new"]


def test_a_page_of_this_machine_may_ask_and_one_of_elsewhere_may_not(api: TestClient) -> None:
    wish = {"access-control-request-method": "POST", "access-control-request-headers": "authorization"}
    here = api.options("/api/recall", headers=wish | {"origin": "http://localhost:5173"})
    assert here.headers["access-control-allow-origin"] == "http://localhost:5173"
    for origin in ("https://evil.example", "http://localhost.evil.example", "null"):
        there = api.options("/api/recall", headers=wish | {"origin": origin})
        assert "access-control-allow-origin" not in there.headers
        assert api.get("/api/projects", headers={"origin": origin}).status_code == 403


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "::", "example.com", ""])
def test_an_address_that_others_reach_is_refused_with_the_reason(
    monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    config = settings.load().model_copy(update={"agent_memory_host": host})
    with pytest.raises(AgentMemoryError, match="other machines") as refused, sockets.tcp(config):
        pass
    assert "ssh -L" in refused.value.remedy


def test_an_agent_that_is_not_trusted_does_not_get_in_by_the_socket(
    state: State,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TRUSTED_AGENTS", "claude, codex")
    state.settings = settings.load()
    monkeypatch.setattr("agent_memory.service.auth.over_unix_socket", lambda _: True)
    with TestClient(app.create(state), base_url="http://localhost") as client:
        assert client.get("/api/projects", headers={"x-agent-name": "codex"}).status_code == 200
        refused = client.get("/api/projects", headers={"x-agent-name": "robot"})
        assert (refused.status_code, "TRUSTED_AGENTS" in refused.json()["detail"]) == (403, True)


def test_another_user_gets_no_word_out_of_the_socket_even_where_its_mode_was_loosened() -> None:
    if os.geteuid() != 0:
        pytest.skip("NOT TESTED: a second user at the socket; becoming one needs root")
    paths.make_private(paths.home())
    for folder in (paths.home(), paths.home().parent):
        folder.chmod(0o755)
    ask = (
        "import socket, sys; s = socket.socket(socket.AF_UNIX); s.settimeout(10); s.connect(sys.argv[1]);"
        "s.sendall(b'hello'); print(s.recv(10))"
    )
    with sockets.unix(paths.service_socket()) as listening:
        paths.service_socket().chmod(0o777)
        listening.listen()
        heard: list[str] = []

        def serve() -> None:
            for _ in range(2):
                try:
                    caller, _where = listening.accept()
                except ConnectionAbortedError:
                    heard.append("turned away")
                    continue
                with caller:
                    heard.append(caller.recv(10).decode())
                    caller.sendall(b"welcome")

        thread = threading.Thread(target=serve)
        thread.start()
        command = ["/usr/bin/env", "python3", "-c", ask, str(paths.service_socket())]
        interpreter = sys._base_executable if os.access(sys._base_executable, os.X_OK) else None  # type: ignore[attr-defined]
        command = ["/usr/bin/python3", *command[2:]] if os.path.exists("/usr/bin/python3") else command
        stranger = subprocess.run(
            command, user=pwd.getpwnam("nobody").pw_uid, capture_output=True, text=True, check=False
        )
        owner = subprocess.run(
            [interpreter or sys.executable, *command[1:]], capture_output=True, text=True, check=False
        )
        thread.join(20)
    assert heard == ["turned away", "hello"], stranger.stderr
    assert "welcome" not in stranger.stdout
    assert "welcome" in owner.stdout


def test_a_postgres_without_a_password_is_named_at_the_start(
    conn: Connection, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from agent_memory.service import run

    monkeypatch.setenv("DATABASE_URL", "postgresql://me@db.example/agent_memory")
    run._warn_of_trust(conn, settings.load())
    (line,) = [record for record in caplog.records if record.levelname == "CRITICAL"]
    assert "ALLOW_TRUST_AUTH" in line.message
    caplog.clear()
    monkeypatch.setenv("ALLOW_TRUST_AUTH", "true")
    run._warn_of_trust(conn, settings.load())
    assert not caplog.records


def test_the_socket_module_names_a_port_that_is_taken() -> None:
    with socket.socket() as taken, contextlib.ExitStack():
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        config = settings.load().model_copy(update={"agent_memory_port": taken.getsockname()[1]})
        with pytest.raises(AgentMemoryError, match="cannot be had"), sockets.tcp(config):
            pass


def test_nobody_else_may_have_the_port_at_the_other_loopback_address() -> None:
    """A browser that looks for a name under localhost asks there first."""
    with socket.socket(socket.AF_INET6) as taken:
        try:
            taken.bind(("::1", 0))
        except OSError:
            pytest.skip("no IPv6 here")
        taken.listen()
        config = settings.load().model_copy(update={"agent_memory_port": taken.getsockname()[1]})
        with pytest.raises(AgentMemoryError, match="on ::1 cannot be had"), sockets.tcp(config):
            pass


def test_what_is_changed_on_the_command_line_is_written_down_too(
    database_url: str, conn: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    from typer.testing import CliRunner

    from agent_memory.cli.main import app as command

    monkeypatch.setenv("DATABASE_URL", database_url)
    run = CliRunner().invoke
    folder = ["--project", OURS]
    for arguments in (
        ["save", CANARY, *folder],
        ["retract", "1"],
        ["lesson", "add", "Run the tests first.", "--pattern", "git push", "--tool", "Bash", *folder],
        ["lesson", "retire", "1"],
        ["token", "create", "laptop"],
        ["token", "revoke", "laptop"],
        ["forget", "1", "--yes"],
        ["recall", "herons", *folder],
    ):
        done = run(command, arguments)
        assert done.exit_code == 0, (arguments, done.output, done.exception)
    rows = audit.read(conn)[::-1]
    assert [(row["who"], row["action"]) for row in rows] == [
        ("cli", action)
        for action in (
            "save",
            "retract",
            "lesson add",
            "lesson retired",
            "token create",
            "token revoke",
            "forget",
        )
    ]
    assert CANARY not in str(rows)
