"""Promise 7, never resurrects: each way in against each way of forgetting."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from starlette.testclient import TestClient
from tests.conftest import new_database
from tests.integration.test_drain import payload, spooled

from agent_memory import paths, settings
from agent_memory.capture import spool
from agent_memory.capture.backfill import backfill
from agent_memory.capture.drain import drain
from agent_memory.capture.reconcile import reconcile
from agent_memory.database import Connection, server
from agent_memory.errors import AgentMemoryError
from agent_memory.forgetting import carry, clean
from agent_memory.forgetting import forget as forgetting
from agent_memory.forgetting.forget import Receipt, Wanted
from agent_memory.journal import projects, tombstones
from agent_memory.observations import notes, store, worker
from agent_memory.recall import search

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
    folder.mkdir(exist_ok=True, parents=True)
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
        text = str(conn.execute(f"select t::text from {table} t".encode()).fetchall()).lower()
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


def test_the_same_text_in_a_new_session_gives_way_to_a_mark(conn: Connection, tmp_path: Path) -> None:
    forget(conn, wanted(conn, "text", record(conn, tmp_path)))
    told = {"session_id": OTHER, "cwd": SHOP, "prompt_id": "p-new"}
    spooled(payload("UserPromptSubmit", **told, prompt=f"Is it true that {VARIANT}? Tell me."))
    bash = {"tool_name": "Bash", "tool_use_id": "t-new", "tool_input": {"command": f"grep '{VARIANT}' x"}}
    spooled(payload("PostToolUse", **told, **bash, tool_response={"stdout": VARIANT.upper(), "stderr": ""}))
    drain(conn, settings.load())
    build(conn)
    assert everywhere(conn) == []
    (prompt,) = conn.execute("select text from mem_user_prompts where session_id = %s", (OTHER,)).fetchall()
    assert prompt["text"] == "Is it true that [forgotten]? Tell me."
    (call,) = conn.execute("select * from mem_tool_calls where session_id = %s", (OTHER,)).fetchall()
    assert call["tool_input"] == {"command": "grep '[forgotten]' x"}
    assert call["output"] == "[forgotten]"


def test_a_forgotten_prompt_is_known_again_in_a_new_session(conn: Connection, tmp_path: Path) -> None:
    forget(conn, wanted(conn, "ids", record(conn, tmp_path)))
    told = {"session_id": OTHER, "cwd": SHOP, "prompt_id": "p-new"}
    spooled(payload("UserPromptSubmit", **told, prompt=f"{VARIANT}.  write THAT down."))
    spooled(
        payload("Stop", **told, last_assistant_message=f"I wrote down: {VARIANT}. ANYTHING else I can do?")
    )
    drain(conn, settings.load())
    build(conn)
    assert everywhere(conn) == []
    elsewhere = {"session_id": "elsewhere", "cwd": "/home/dev/blog", "prompt_id": "p-new"}
    spooled(payload("UserPromptSubmit", **elsewhere, prompt=f"{SECRET}. Write that down."))
    drain(conn, settings.load())
    assert everywhere(conn) == ["mem_user_prompts"], "another project's words are its own"


def test_a_copy_of_a_forgotten_session_does_not_bring_it_back(conn: Connection, tmp_path: Path) -> None:
    forget(conn, wanted(conn, "session", record(conn, tmp_path)))
    copy = transcript(tmp_path / "fork")
    copy.write_text(copy.read_text("utf-8").replace(SESSION, OTHER), encoding="utf-8")
    backfill(conn, [copy], settings.load(), lambda _: None)
    build(conn)
    assert everywhere(conn) == []


def test_what_was_not_meant_stays(conn: Connection, tmp_path: Path) -> None:
    turn = record(conn, tmp_path)
    receipt = forget(conn, Wanted(text=SECRET, project_id=project_of(conn)))
    assert dict(receipt.counts) == dict(receipt.counts) | {
        "mem_user_prompts": 1,
        "mem_tool_calls": 1,
        "mem_assistant_messages": 1,
        "mem_observations": 2,
    }
    assert store.get(conn, [turn]) == []
    (kept,) = conn.execute("select text from mem_user_prompts").fetchall()
    assert kept["text"].startswith("Now list the files")
    assert search.recall(conn, "list the files: README and Makefile", project_id=project_of(conn)).hits


def test_a_turn_that_loses_a_row_is_remembered_by_the_rest(conn: Connection, tmp_path: Path) -> None:
    turn = record(conn, tmp_path)
    receipt = forget(conn, Wanted(text="Write that down", project_id=project_of(conn)))
    assert (receipt.counts["mem_user_prompts"], receipt.rebuilt) == (1, 1)
    (row,) = store.get(conn, [turn])
    assert "Write that down" not in row["text"]
    assert "I wrote down" in row["text"]


def test_a_plan_says_what_would_go_and_changes_nothing(conn: Connection, tmp_path: Path) -> None:
    turn = record(conn, tmp_path)
    conn.commit()
    before = str(conn.execute("select * from mem_observations order by id").fetchall())
    plan = forgetting.plan(conn, Wanted(session=SESSION))
    conn.commit()
    assert {turn, note_of(conn)} <= {one["id"] for one in plan.observations}
    assert str(conn.execute("select * from mem_observations order by id").fetchall()) == before
    assert tombstones.listed(conn, limit=10) == []
    assert forget(conn, Wanted(session=SESSION)).counts == plan.counts


@pytest.mark.parametrize(
    ("what", "says"),
    [
        (Wanted(), "not clear"),
        (Wanted(ids=(1,), text="the heron"), "not clear"),
        (Wanted(text="a"), "nearly everything"),
        (Wanted(text=" \u200b "), "nearly everything"),
        (Wanted(since=AT, until=AT), "before it begins"),
        (Wanted(ids=(10**9,)), "no observation"),
        (Wanted(ids=(2**70,)), "no observation"),
        (Wanted(project_id=10**9), "no project"),
    ],
)
def test_what_is_not_clear_or_not_there_is_said(conn: Connection, what: Wanted, says: str) -> None:
    with pytest.raises(AgentMemoryError, match=says):
        forgetting.forget(conn, what, by="test")


def test_what_superseded_another_does_not_set_it_free_when_it_goes(conn: Connection) -> None:
    project = project_of(conn)

    def save(text: str, **more: Any) -> int:
        return notes.save(conn, [notes.note(text, settings.load(), project_id=project, **more)])[0]

    first = save("The heron is a bird.")
    second = save("The heron is a crane.", supersedes=first)
    third = save("The heron is a boat.", supersedes=second)
    forget(conn, Wanted(ids=(second,)))
    assert [hit.id for hit in search.recall(conn, "what is the heron", project_id=project).hits] == [third]
    forget(conn, Wanted(ids=(third,)))
    assert search.recall(conn, "what is the heron", project_id=project).hits == ()


def test_the_tombstone_holds_no_text_and_can_be_lifted(conn: Connection, tmp_path: Path) -> None:
    receipt = forget(conn, wanted(conn, "ids", record(conn, tmp_path)))
    assert [row["id"] for row in tombstones.listed(conn, limit=5)] == [receipt.tombstone]
    assert everywhere(conn) == []
    note = notes.note(SECRET, settings.load(), project_id=project_of(conn))
    with pytest.raises(AgentMemoryError, match="forgotten"), conn.transaction():
        notes.save(conn, [note])
    assert tombstones.lift(conn, receipt.tombstone)
    assert notes.save(conn, [note])
    conn.execute("delete from mem_transcripts")
    backfill(conn, [transcript(tmp_path / "again")], settings.load(), lambda _: None)
    assert "mem_user_prompts" in everywhere(conn)


def test_offsets_of_transcripts_stay_as_they_were(conn: Connection, tmp_path: Path) -> None:
    turn = record(conn, tmp_path)
    before = conn.execute("select path, bytes_read from mem_transcripts").fetchall()
    forget(conn, wanted(conn, "ids", turn))
    assert conn.execute("select path, bytes_read from mem_transcripts").fetchall() == before
    file = tmp_path / "first" / FILE
    line = json.loads(file.read_text("utf-8").splitlines()[4])
    line["message"]["content"] = "And one more thing, quite new."
    line |= {
        "uuid": "cccccccc-0000-4000-8000-00000000000a",
        "promptId": "dddddddd-0000-4000-8000-000000000003",
    }
    with file.open("a", encoding="utf-8") as out:
        out.write(json.dumps(line) + "\n")
    assert backfill(conn, [file], settings.load(), lambda _: None).lines == 1
    texts = [row["text"] for row in conn.execute("select text from mem_user_prompts")]
    assert "And one more thing, quite new." in texts


@pytest.mark.parametrize("kind", ["session", "text", "ids"])
def test_the_spools_leftovers_that_hold_it_are_deleted(conn: Connection, tmp_path: Path, kind: str) -> None:
    whole = hook_payloads()[0]
    half = json.dumps(whole).encode()[:-20]
    bad = spooled(half)
    other = spooled(b'{"session_id": "another", "prompt": "broken off')
    unknown = spooled(whole, agent="hal9000")
    turn = record(conn, tmp_path)
    assert spool.backlog().bad == 3
    forget(conn, wanted(conn, kind, turn))
    clean.clean_spool(conn)
    left = {path.name for path in paths.spool_bad().iterdir()}
    assert left == {other.name, f"{other.name}.reason"}, (bad, unknown)


def test_a_dump_of_the_files_holds_nothing_after_cleaning(
    conn: Connection, tmp_path: Path, cluster: str
) -> None:
    forget(conn, wanted(conn, "session", record(conn, tmp_path)))
    conn.execute("analyze")
    conn.commit()
    conn.autocommit = True
    assert tombstones.unclean(conn)
    assert clean.clean(conn)
    assert tombstones.unclean(conn) == []
    (row,) = conn.execute(
        "select current_setting('data_directory') || '/base/' || oid as folder from pg_database"
        " where datname = current_database()"
    ).fetchall()
    held = [
        file.name
        for file in Path(row["folder"]).iterdir()
        if any(word.encode() in file.read_bytes().lower() for word in ("kingsbarns", "lighthous"))
    ]
    assert held == []


def test_a_worker_at_the_turn_cannot_write_it_again(
    conn: Connection, database_url: str, tmp_path: Path
) -> None:
    record(conn, tmp_path)
    conn.commit()
    with server.connect(database_url) as building, server.connect(database_url) as forgets:
        tombstones.share(building)  # as a worker does before it reads the turn
        turn = store.load_turn(building, SESSION, PROMPT)
        assert turn is not None
        forgets.execute("set lock_timeout = '300ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            forgetting.forget(forgets, Wanted(session=SESSION), by="test")
        forgets.rollback()
        worker.build_turn(building, SESSION, PROMPT)
        building.commit()
        forgetting.forget(forgets, Wanted(session=SESSION), by="test")
        forgets.commit()
        worker.build_turn(building, SESSION, PROMPT)
        building.commit()
    assert everywhere(conn) == []


def test_forgetting_beside_writers_that_never_rest_leaves_nothing(
    conn: Connection, database_url: str, tmp_path: Path
) -> None:
    record(conn, tmp_path)
    conn.commit()
    stop = threading.Event()
    wrong: list[BaseException] = []

    def write(way: Callable[[Connection], object]) -> None:
        try:
            with server.connect(database_url) as own:
                while not stop.is_set():
                    way(own)
                    own.commit()
        except BaseException as error:
            wrong.append(error)

    def spool_again(own: Connection) -> None:
        for one in hook_payloads():
            spooled(one, at=int(AT.timestamp() * 1e9) + random.randrange(10**6))
        drain(own, settings.load())

    ways = (spool_again, worker.build_due, lambda own: worker.build_turn(own, SESSION, PROMPT))
    threads = [threading.Thread(target=write, args=(way,)) for way in ways]
    for thread in threads:
        thread.start()
    try:
        for _ in range(3):
            time.sleep(0.2)
            with server.connect(database_url) as forgets:
                forgetting.forget(forgets, Wanted(session=SESSION), by="test")
        time.sleep(0.5)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert wrong == []
    assert everywhere(conn) == []


def test_a_restored_backup_takes_over_what_was_forgotten_since(
    conn: Connection, cluster: str, template: str, tmp_path: Path
) -> None:
    with new_database(cluster, template) as url, server.connect(url) as backup:
        for one in (conn, backup):
            record(one, tmp_path / str(id(one)))
        forget(conn, Wanted(ids=(note_of(conn),)))
        forget(conn, Wanted(text=SECRET, project_id=project_of(conn)))
        assert everywhere(backup)
        carry.carry(conn, backup)
        backup.commit()
        assert everywhere(backup) == []
        (prompt,) = backup.execute("select text from mem_user_prompts").fetchall()
        assert prompt["text"].startswith("Now list the files")
        assert [row["id"] for row in tombstones.listed(backup, limit=5)] == [
            row["id"] for row in tombstones.listed(conn, limit=5)
        ]


def test_over_rest_a_caller_forgets_within_its_project(api: TestClient, conn: Connection) -> None:
    def save(project: str, text: str) -> int:
        return int(api.post("/api/observations", json={"project": project, "text": text}).json()["ids"][0])

    ours, theirs = save(SHOP, SECRET), save("/home/dev/blog", SECRET)
    dry = api.post("/api/admin/forget", json={"text": VARIANT, "project": SHOP, "dry_run": True}).json()
    assert [one["id"] for one in dry["observations"]] == [ours]
    receipt = api.post("/api/admin/forget", json={"text": VARIANT, "project": SHOP})
    assert receipt.status_code == 200
    assert receipt.json()["counts"]["mem_observations"] == 1
    assert "heron" not in receipt.text
    assert api.get(f"/api/observations/{ours}").status_code == 404
    assert api.get(f"/api/observations/{theirs}").status_code == 200
    assert api.delete(f"/api/observations/{theirs}").json()["what"] == "observations"
    assert api.delete(f"/api/observations/{theirs}").status_code == 404
    listed = api.get("/api/admin/tombstones").json()["items"]
    assert [one["forgotten_by"] for one in listed] == ["owner", "owner"]
    assert api.delete(f"/api/admin/tombstones/{listed[0]['id']}").status_code == 204
    assert api.post("/api/admin/forget", json={}).status_code == 422
    assert api.post("/api/sessions", json={"id": SESSION, "cwd": SHOP}).status_code == 201
    api.post("/api/admin/forget", json={"session_id": SESSION})
    assert api.post("/api/sessions", json={"id": SESSION, "cwd": SHOP}).status_code == 409
