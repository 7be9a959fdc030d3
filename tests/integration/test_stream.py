"""Looking on while things are recorded: the real application behind a real server."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import uvicorn
from tests.integration.conftest import TOKEN
from tests.integration.test_drain import payload

from agent_memory.access import tokens
from agent_memory.database import Connection
from agent_memory.journal.announce import LONGEST, announcements
from agent_memory.replay import store
from agent_memory.replay.live import Place, place
from agent_memory.service import app
from agent_memory.service.routes import stream as route
from agent_memory.service.state import State

SHOP, OTHER = "/home/dev/shop", "/home/dev/other"


@pytest.fixture
def served(state: State) -> Iterator[str]:
    """The address of the application, served."""
    config = uvicorn.Config(app.create(state), log_config=None, lifespan="off")
    server = uvicorn.Server(config)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        state.stream.close()
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive()


class Watching:
    """What comes over a stream."""

    def __init__(self, response: httpx.Response) -> None:
        self.lines = response.iter_lines()
        self.last_id = ""

    def next(self) -> dict[str, Any] | None:
        """The next event's data; None at the stream's end."""
        data: dict[str, Any] | None = None
        for line in self.lines:
            if line.startswith("data: "):
                data = json.loads(line[6:])
            elif line.startswith("id: "):
                self.last_id = line[4:]
            elif not line and data is not None:
                return data
        return None

    def begun(self) -> None:
        """Come back when what is recorded from now on will be told."""
        assert next(self.lines) == ": looking on"


@contextmanager
def watching(served: str, last_event_id: str = "", token: str = TOKEN, **query: Any) -> Iterator[Watching]:
    headers = {"authorization": f"Bearer {token}", "last-event-id": last_event_id}
    with httpx.stream(
        "GET", f"{served}/api/stream", params={"last": 0} | query, headers=headers, timeout=20
    ) as response:
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        watching = Watching(response)
        watching.begun()
        yield watching


def post(served: str, event: str, session: str = "s1", cwd: str = SHOP, **fields: Any) -> None:
    said = payload(event, **fields) | {"session_id": session, "cwd": cwd}
    done = httpx.post(
        f"{served}/api/queue", json=said, headers={"authorization": f"Bearer {TOKEN}"}, verify=False
    )
    assert done.status_code == 202


def call(served: str, number: str, **fields: Any) -> None:
    given = {"tool_name": "Bash", "tool_use_id": number, "tool_input": {"command": "make test"}}
    post(served, fields.pop("event", "PostToolUse"), **given | fields)


def test_what_is_recorded_is_told_as_it_lands(served: str) -> None:
    with watching(served) as seen:
        post(served, "UserPromptSubmit", prompt="Fix the login\nplease", prompt_id="p1")
        prompt = seen.next()
        call(served, "t1", event="PostToolUseFailure", error="Exit code 2\nno such target")
        failed = seen.next()
    assert prompt
    assert (prompt["kind"], prompt["id"], prompt["text"]) == ("prompt", "p1", "Fix the login please")
    assert (prompt["session_id"], prompt["project"], prompt["agent"]) == ("s1", "shop", "claude")
    assert datetime.fromisoformat(prompt["at"]) > datetime.now(UTC) - timedelta(minutes=1)
    assert failed
    assert (failed["kind"], failed["tool"], failed["text"]) == ("call", "Bash", "make test")
    assert (failed["success"], failed["error"]) == (False, "Exit code 2 no such target")


def test_a_row_is_told_once_and_again_when_its_end_is_known(served: str) -> None:
    with watching(served) as seen:
        call(served, "t1", event="PreToolUse")
        call(served, "t1", event="PreToolUse")
        told = [seen.next()]  # before its end is recorded: a row is told as it is when it is read
        call(served, "t1")
        call(served, "t1")
        call(served, "t2")
        told += [seen.next(), seen.next()]
    assert [(one["success"], one["id"] == told[0]["id"]) for one in told if one and told[0]] == [
        (None, True),
        (True, True),
        (True, False),
    ]


def test_a_secret_is_told_to_nobody(served: str) -> None:
    secret = "ghp_" + "Q7w2kR9tLm4XzB1vHc8YpD3nFs6JgA5eUo0I"
    with watching(served) as seen:
        post(served, "UserPromptSubmit", prompt=f"Use {secret}", prompt_id="p1")
        told = seen.next()
    assert told
    assert told["text"].startswith("Use ")
    assert secret not in str(told)


def test_one_project_is_told_of_itself_alone(served: str, state: State) -> None:
    post(served, "UserPromptSubmit", prompt="Ours before", prompt_id="p0")
    post(served, "UserPromptSubmit", session="s2", cwd=OTHER, prompt="Theirs before", prompt_id="p0")
    with state.pool.connection() as conn:
        row = conn.execute("select id from mem_projects where path = %s", (SHOP,)).fetchone()
        assert row
        bound = tokens.create(conn, "bound", scope="read", project_id=row["id"])
    for options in ({"project": SHOP}, {"token": bound}, {"token": bound, "project": SHOP}):
        with watching(served, last=5, **options) as seen:
            post(served, "UserPromptSubmit", session="s2", cwd=OTHER, prompt="Theirs", prompt_id=f"{options}")
            post(served, "UserPromptSubmit", prompt="Ours", prompt_id=f"{options}")
            told = [seen.next()]
            while told[-1] and told[-1]["id"] != f"{options}":
                told.append(seen.next())
            assert {one["text"] for one in told if one} == {"Ours before", "Ours"}
            assert {one["project"] for one in told if one} == {"shop"}
    refused = httpx.get(
        f"{served}/api/stream", params={"project": OTHER}, headers={"authorization": f"Bearer {bound}"}
    )
    assert refused.status_code == 403
    assert httpx.get(f"{served}/api/stream").status_code == 401


def test_whoever_comes_back_goes_on_from_where_it_was(served: str) -> None:
    post(served, "UserPromptSubmit", prompt="one", prompt_id="p1")
    with watching(served, last=5) as seen:
        assert (seen.next() or {})["text"] == "one"
    post(served, "UserPromptSubmit", prompt="two", prompt_id="p2")
    call(served, "t1")
    with watching(served, last_event_id=seen.last_id) as again:
        post(served, "UserPromptSubmit", prompt="three", prompt_id="p3")
        assert [(again.next() or {})["text"] for _ in range(3)] == ["two", "make test", "three"]
    with watching(served, last_event_id="no such place", last=1) as anew:
        assert (anew.next() or {})["text"] == "three"


def test_what_happened_long_ago_is_not_told_as_if_it_happened_now(served: str) -> None:
    with watching(served) as seen:
        long_ago = {
            "session_id": "old",
            "text": "Long ago",
            "cwd": SHOP,
            "occurred_at": "2020-01-01T00:00:00Z",
        }
        httpx.post(f"{served}/api/prompts", json=long_ago, headers={"authorization": f"Bearer {TOKEN}"})
        post(served, "UserPromptSubmit", prompt="Now", prompt_id="p1")
        assert (seen.next() or {})["text"] == "Now"


def test_the_stream_ends_with_the_service_and_nobody_is_waited_for(served: str, state: State) -> None:
    with watching(served) as seen:
        began = time.monotonic()
        state.stream.close()
        assert seen.next() is None
        assert time.monotonic() - began < 10
    refused = httpx.get(f"{served}/api/stream", headers={"authorization": f"Bearer {TOKEN}"})
    assert refused.status_code == 503


def test_nothing_runs_when_nobody_looks(served: str, state: State) -> None:
    def running() -> bool:
        return any(thread.name == "stream" for thread in threading.enumerate())

    assert not running()
    with watching(served):
        assert running()
    deadline = time.monotonic() + 20
    while running():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_nothing_is_missed_while_the_database_is_slow_to_listen(
    served: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = threading.Event()
    listen = store.listen

    def late(conn: Connection) -> None:
        slow.wait(3)
        listen(conn)

    monkeypatch.setattr(store, "listen", late)
    with watching(served) as seen:
        post(served, "UserPromptSubmit", prompt="At once", prompt_id="p1")
        post(served, "UserPromptSubmit", prompt="And then", prompt_id="p2")
        assert (seen.next() or {})["text"] == "At once"


def test_a_token_that_is_revoked_looks_on_no_longer(
    served: str, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(route, "CHECK_S", 0.2)
    with state.pool.connection() as conn:
        token = tokens.create(conn, "guest", scope="read")
    with watching(served, token=token) as seen:
        with state.pool.connection() as conn:
            tokens.revoke(conn, "guest")
        assert seen.next() is None


def test_an_announcement_fits_and_names_every_row() -> None:
    now = datetime.now(UTC)
    names = [(now, "s", "calls", f"toolu_{n:030}") for n in range(1_000)]
    told = list(announcements([*names, (now, "s", "prompts", "x" * 9_000)], now=now))  # type: ignore[list-item]
    assert all(len(one.encode()) <= LONGEST for one in told)
    assert [name for one in told for name in json.loads(one)["calls"]] == [name for *_, name in names]
    assert list(announcements([(now - timedelta(hours=1), "s", "calls", "t")], now=now)) == []


def test_a_place_is_read_from_what_it_is_written_as() -> None:
    at = Place(12, 34, datetime(2026, 11, 25, 12, 0, 0, 123456, tzinfo=UTC))
    assert place(str(at)) == at
    for text in ("", "1", "1-2", "a-b-c", "1-2-3-4", "-1-2-3", "1-2-" + 18 * "9"):
        assert place(text) is None
