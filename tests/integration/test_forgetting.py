"""Promise 7, never resurrects: each way in against each way of forgetting."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from tests.integration.test_drain import payload, spooled

from agent_memory import settings
from agent_memory.capture.backfill import backfill
from agent_memory.capture.drain import drain
from agent_memory.capture.reconcile import reconcile
from agent_memory.database import Connection, server
from agent_memory.forgetting import forget as forgetting
from agent_memory.forgetting.forget import Receipt, Wanted
from agent_memory.journal import projects
from agent_memory.observations import notes, store, worker
from agent_memory.recall import search
from agent_memory.service import app
from agent_memory.service.state import State

TOKEN = "a-token-for-this-test"
SHOP = "/home/dev/shop"
SESSION = "5e551075-0000-4000-8000-000000000001"
OTHER = "5e551075-0000-4000-8000-000000000002"
PROMPT = "aaaaaaaa-0000-4000-8000-000000000001"
KEPT_PROMPT = "bbbbbbbb-0000-4000-8000-000000000002"
AT = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)
SECRET = "The heron nests behind the lighthouse of Kingsbarns"
VARIANT = "the  HERON nests\nbehind the lighthоuse of Kіngsbarns"  # other case and spaces, Cyrillic о and і
WORDS = ("heron", "lighth", "kingsbarns", "kіngsbarns")
QUESTION = "Where does the heron nest?"
FILE = f"{SESSION}.jsonl"


@pytest.fixture
def state(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[State]:
    monkeypatch.setenv("AGENT_MEMORY_TOKEN", TOKEN)
    with server.open_pool(database_url, size=4) as pool:
        yield State(settings.load(), pool)


@pytest.fixture
def api(state: State) -> Iterator[TestClient]:
    headers = {"authorization": f"Bearer {TOKEN}"}
    with TestClient(app.create(state), base_url="http://127.0.0.1:3377", headers=headers) as client:
        yield client


def hook_payloads(text: str = SECRET) -> list[dict[str, Any]]:
    """A turn that holds the text in its prompt, a call and the answer, and a turn that does not."""
    told = {"session_id": SESSION, "cwd": SHOP}
    first, second = told | {"prompt_id": PROMPT}, told | {"prompt_id": KEPT_PROMPT}
    call = {"tool_name": "Bash", "tool_use_id": "toolu_0123456789abcdefghijkl"}
    return [
        payload("UserPromptSubmit", **first, prompt=f"{text}. Write that down."),
        payload(
            "PostToolUse",
            **first,
            **call,
            tool_input={"command": f"echo '{text}' >> notes.txt"},
            tool_response={"stdout": text, "stderr": ""},
        ),
        payload("Stop", **first, last_assistant_message=f"I wrote down: {text}. Anything else I can do?"),
        payload("UserPromptSubmit", **second, prompt="Now list the files, please, all of them."),
        payload("Stop", **second, last_assistant_message="There are a README and a Makefile in here."),
    ]


def transcript(folder: Path, text: str = SECRET) -> Path:
    """The same session as the client's own file."""
    base = {
        "sessionId": SESSION,
        "cwd": SHOP,
        "version": "2.1.0",
        "isSidechain": False,
        "userType": "external",
    }

    def line(kind: str, prompt: str, second: int, uuid: str, message: dict[str, Any]) -> dict[str, Any]:
        at = (AT + timedelta(seconds=second)).isoformat().replace("+00:00", "Z")
        return base | {"type": kind, "promptId": prompt, "timestamp": at, "uuid": uuid, "message": message}

    def said(uuid: str) -> str:
        return f"cccccccc-0000-4000-8000-{uuid:>012}"

    call = {
        "type": "tool_use",
        "id": "toolu_0123456789abcdefghijkl",
        "name": "Bash",
        "input": {"command": f"echo '{text}' >> notes.txt"},
    }
    result = {"type": "tool_result", "tool_use_id": call["id"], "content": text}
    answer = {"type": "text", "text": f"I wrote down: {text}. Anything else I can do?"}
    other = {"type": "text", "text": "There are a README and a Makefile in here."}
    records = [
        line("user", PROMPT, 0, said("1"), {"role": "user", "content": f"{text}. Write that down."}),
        line("assistant", PROMPT, 1, said("2"), {"role": "assistant", "content": [call]}),
        line("user", PROMPT, 2, said("3"), {"role": "user", "content": [result]}),
        line("assistant", PROMPT, 3, said("4"), {"role": "assistant", "content": [answer]}),
        line(
            "user",
            KEPT_PROMPT,
            60,
            said("5"),
            {"role": "user", "content": "Now list the files, please, all of them."},
        ),
        line("assistant", KEPT_PROMPT, 61, said("6"), {"role": "assistant", "content": [other]}),
    ]
    folder.mkdir(exist_ok=True)
    file = folder / FILE
    file.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return file


def build(conn: Connection) -> None:
    while worker.build_due(conn):
        pass
    conn.commit()


def record(conn: Connection, tmp_path: Path) -> int:
    """Record the session by its hooks and its file, save a note; the number of the turn's observation."""
    for one in hook_payloads():
        spooled(one, at=int(AT.timestamp() * 1e9))
    drain(conn, settings.load())
    backfill(conn, [transcript(tmp_path / "first")], settings.load(), lambda _: None)
    project = projects.ensure_argument(conn, SHOP)
    note = notes.note(
        SECRET, settings.load(), project_id=project, external_id="bird-1", session_id=SESSION, occurred_at=AT
    )
    notes.save(conn, [note])
    build(conn)
    (row,) = conn.execute(
        "select id from mem_observations where external_id = %s", (f"turn/{SESSION}/{PROMPT}",)
    ).fetchall()
    assert everywhere(conn)
    return int(row["id"])


def everywhere(conn: Connection) -> list[str]:
    """The tables that hold a word of the text."""
    found = []
    for row in conn.execute(
        "select relname from pg_class where relname like 'mem_%' and relkind = 'r' order by 1"
    ).fetchall():
        table = row["relname"]
        text = str(conn.execute(f"select * from {table}".encode()).fetchall()).lower()
        if any(word in text for word in WORDS):
            found.append(table)
    return found


def project_of(conn: Connection) -> int:
    return projects.ensure_argument(conn, SHOP)


def note_of(conn: Connection) -> int:
    (row,) = conn.execute("select id from mem_observations where external_id = 'bird-1'").fetchall()
    return int(row["id"])


KINDS = ("ids", "session", "project", "time", "text")


def wanted(conn: Connection, kind: str, turn: int) -> Wanted:
    match kind:
        case "ids":
            return Wanted(ids=(turn, note_of(conn)))
        case "session":
            return Wanted(session=SESSION)
        case "project":
            return Wanted(project_id=project_of(conn))
        case "time":
            since, until = AT - timedelta(minutes=1), AT + timedelta(seconds=30)
            return Wanted(since=since, until=until, project_id=project_of(conn))
        case _:
            return Wanted(text=VARIANT, project_id=project_of(conn))


def forget(conn: Connection, what: Wanted) -> Receipt:
    receipt = forgetting.forget(conn, what, by="test")
    conn.commit()
    return receipt


def by_spool(conn: Connection, api: TestClient, tmp_path: Path) -> None:
    for text in (SECRET, VARIANT):
        for one in hook_payloads(text):
            spooled(one, at=int(AT.timestamp() * 1e9))
    drain(conn, settings.load())


def by_queue(conn: Connection, api: TestClient, tmp_path: Path) -> None:
    for one in hook_payloads():
        assert api.post("/api/queue", json=one).status_code == 202


def by_prompts(conn: Connection, api: TestClient, tmp_path: Path) -> None:
    for text in (f"{SECRET}. Write that down.", f"{VARIANT}. Write that DOWN."):
        new = {"session_id": SESSION, "prompt_id": PROMPT, "text": text, "cwd": SHOP, "agent": "claude"}
        assert api.post("/api/prompts", json=new).status_code == 201


def by_backfill(conn: Connection, api: TestClient, tmp_path: Path) -> None:
    conn.execute("delete from mem_transcripts")
    conn.commit()
    for folder in ("first", "second"):
        backfill(conn, [transcript(tmp_path / folder)], settings.load(), lambda _: None)


def by_reconcile(conn: Connection, api: TestClient, tmp_path: Path) -> None:
    conn.execute("delete from mem_transcripts")
    conn.commit()
    reconcile(conn, [transcript(tmp_path / "again")], settings.load())


def by_note(conn: Connection, api: TestClient, tmp_path: Path) -> None:
    for text in (SECRET, VARIANT):
        answer = api.post("/api/observations", json={"project": SHOP, "text": text})
        assert answer.status_code == 409, answer.text
        assert "forgotten" in answer.json()["detail"]


def by_import(conn: Connection, api: TestClient, tmp_path: Path) -> None:
    batch = [
        {"project": SHOP, "text": SECRET, "external_id": "bird-1", "occurred_at": AT.isoformat()},
        {"project": SHOP, "text": VARIANT, "external_id": "bird-2", "occurred_at": AT.isoformat()},
        {"project": SHOP, "text": "The cache lives in Redis.", "external_id": "cache-1"},
    ]
    ids = api.post("/api/observations", json=batch).json()["ids"]
    assert ids[:2] == [None, None]
    assert isinstance(ids[2], int)


def by_reindex(conn: Connection, api: TestClient, tmp_path: Path) -> None:
    for session, prompt in store.turns(conn):
        worker.build_turn(conn, session, prompt)
    conn.commit()


WAYS = [by_spool, by_queue, by_prompts, by_backfill, by_reconcile, by_note, by_import, by_reindex]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("kind", KINDS)
def test_what_was_forgotten_does_not_come_back(
    conn: Connection,
    api: TestClient,
    tmp_path: Path,
    kind: str,
    way: Callable[[Connection, TestClient, Path], None],
) -> None:
    turn = record(conn, tmp_path)
    forget(conn, wanted(conn, kind, turn))
    assert everywhere(conn) == []
    build(conn)
    assert everywhere(conn) == []
    way(conn, api, tmp_path)
    build(conn)
    assert everywhere(conn) == []
    answer = search.recall(conn, QUESTION, project_id=project_of(conn))
    assert not any(word in f"{hit.title} {hit.text}".lower() for hit in answer.hits for word in WORDS)
