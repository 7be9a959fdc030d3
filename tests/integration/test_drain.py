"""Spool to journal: promise 2 (never loses, never doubles) and what becomes of files that cannot be read."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from agent_memory import paths, settings
from agent_memory.capture import spool
from agent_memory.capture.drain import drain
from agent_memory.database import Connection, server
from agent_memory.journal import store
from agent_memory.journal.ingest import Counts

SESSION = "11111111-2222-4333-8444-555555555555"


def spooled(payload: dict[str, Any] | bytes, *, agent: str = "claude", at: int | None = None) -> Path:
    """A file as the hook writes it."""
    raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    folder = paths.make_private(paths.spool_new())
    file = folder / f"{at or time.time_ns():020d}-1-{len(list(folder.iterdir())):08x}.{agent}"
    file.write_bytes(raw)
    return file


def payload(event: str, **fields: Any) -> dict[str, Any]:
    base = {"session_id": SESSION, "cwd": "/home/dev/shop", "hook_event_name": event, "prompt_id": "p1"}
    return base | {"transcript_path": f"/home/dev/.claude/projects/-home-dev-shop/{SESSION}.jsonl"} | fields


def call(event: str, tool_use_id: str, **fields: Any) -> dict[str, Any]:
    given: dict[str, Any] = {
        "tool_name": "Bash",
        "tool_input": {"command": f"echo {tool_use_id}"},
        "tool_use_id": tool_use_id,
    }
    if event == "PostToolUse":
        given |= {"tool_response": {"stdout": "done", "stderr": "", "interrupted": False}, "duration_ms": 12}
    return payload(event, **given | fields)


def run(conn: Connection) -> Counts:
    counts = drain(conn, settings.load())
    conn.commit()
    return counts


def rows(conn: Connection, table: str) -> list[dict[str, Any]]:
    return conn.execute(f"select * from {table} order by 1, 2".encode()).fetchall()


def test_a_turn_becomes_linked_rows_and_its_files_are_deleted(conn: Connection) -> None:
    spooled(payload("SessionStart", source="startup"))
    spooled(payload("UserPromptSubmit", prompt="Run the tests"))
    spooled(call("PreToolUse", "t1"))
    spooled(call("PostToolUse", "t1"))
    failed = call("PostToolUseFailure", "t2", error="Exit code 3\nboom", tool_input={"command": "false"})
    spooled(failed | {"agent_id": "a7", "agent_type": "Explore"})
    spooled(payload("Stop", stop_hook_active=False, last_assistant_message="All green."))
    spooled(payload("SessionEnd", reason="other"))
    counts = run(conn)
    assert (counts.sessions, counts.prompts, counts.tool_calls, counts.assistant_messages) == (1, 1, 2, 1)
    assert spool.waiting() == []
    (session,) = rows(conn, "mem_sessions")
    assert (session["source"], session["end_reason"], session["agent"]) == ("startup", "other", "claude")
    (prompt,) = rows(conn, "mem_user_prompts")
    assert (prompt["kind"], prompt["text"]) == ("user", "Run the tests")
    assert prompt["ended_at"] is not None
    done, failure = rows(conn, "mem_tool_calls")
    assert {done["prompt_id"], failure["prompt_id"]} == {prompt["id"]}
    assert (done["success"], done["output"], done["duration_ms"]) == (True, "done", 12)
    assert done["tool_input"] == {"command": "echo t1"}
    assert (failure["success"], failure["agent_id"], failure["agent_type"]) == (False, "a7", "Explore")
    assert "boom" in failure["error"]
    queued = rows(conn, "mem_observation_queue")
    assert [(q["session_id"], q["prompt_id"]) for q in queued] == [(SESSION, "p1")]


def test_a_file_read_twice_makes_one_row(conn: Connection) -> None:
    for event in (payload("UserPromptSubmit", prompt="x"), call("PostToolUse", "t1")):
        spooled(event)
    spooled(payload("Stop", last_assistant_message="Done."))
    kept = [(file.path.name, file.path.read_bytes()) for file in spool.waiting()]
    assert run(conn) != Counts()
    for name, content in kept:
        (paths.spool_new() / name).write_bytes(content)
    assert run(conn) == Counts()
    assert store.counts(conn) == {"sessions": 1, "prompts": 1, "tool_calls": 1, "assistant_messages": 1}


@pytest.mark.parametrize("order", [("PreToolUse", "PostToolUse"), ("PostToolUse", "PreToolUse")])
@pytest.mark.parametrize("together", [True, False])
def test_the_beginning_and_the_end_of_a_call_are_one_row_in_any_order(
    conn: Connection, order: tuple[str, str], together: bool
) -> None:
    for event in order:
        spooled(call(event, "t1"))
        if not together:
            run(conn)
    run(conn)
    (row,) = rows(conn, "mem_tool_calls")
    assert (row["success"], row["output"]) == (True, "done")


def test_a_call_that_never_ended_is_kept_as_such(conn: Connection) -> None:
    spooled(call("PreToolUse", "t1"))
    run(conn)
    (row,) = rows(conn, "mem_tool_calls")
    assert row["success"] is None


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "empty"),
        (b'{"session_id": ', "not JSON"),
        (b"[1, 2]", "instead of an object"),
        (b'{"hook_event_name": "Stop"}', "session_id"),
    ],
)
def test_a_file_that_makes_no_sense_is_set_aside_with_its_reason(
    conn: Connection, raw: bytes, reason: str
) -> None:
    bad = spooled(raw)
    spooled(call("PostToolUse", "t1"))
    assert run(conn).tool_calls == 1
    assert (paths.spool_bad() / bad.name).read_bytes() == raw
    assert reason in (paths.spool_bad() / f"{bad.name}.reason").read_text()
    assert (spool.backlog().pending, spool.backlog().bad) == (0, 1)


def test_an_agent_that_nobody_knows_is_set_aside(conn: Connection) -> None:
    bad = spooled(payload("Stop"), agent="hal9000")
    run(conn)
    assert "hal9000" in (paths.spool_bad() / f"{bad.name}.reason").read_text()


def test_a_file_that_is_set_aside_holds_no_secret(conn: Connection) -> None:
    secret = "ghp_" + "a1B2" * 9
    bad = spooled(b'{"prompt": "my token is ' + secret.encode() + b'"')
    run(conn)
    assert secret not in (paths.spool_bad() / bad.name).read_text()


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("nul \x00 inside", id="NUL"),
        pytest.param("half a pair \ud83d", id="lone surrogate"),
        pytest.param("\u2028 and \U0001f600 and \u200b", id="odd but valid"),
    ],
)
def test_texts_that_postgres_would_refuse_are_stored_all_the_same(conn: Connection, text: str) -> None:
    spooled(payload("UserPromptSubmit", prompt=text))
    spooled(call("PostToolUse", "t1", tool_input={"command": text, text: [text]}))
    counts = run(conn)
    assert (counts.prompts, counts.tool_calls) == (1, 1)


def test_invalid_utf_8_costs_a_character_and_not_the_event(conn: Connection) -> None:
    raw = json.dumps(payload("UserPromptSubmit", prompt="caf?!")).encode().replace(b"?", b"\xe9")
    spooled(raw)
    run(conn)
    (prompt,) = rows(conn, "mem_user_prompts")
    assert prompt["text"] == "caf\ufffd!"


def test_a_long_output_is_cut_and_its_true_size_kept(
    conn: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OUTPUT_LIMIT_CHARS", "100")
    spooled(call("PostToolUse", "t1", tool_response={"stdout": "y" * 5000, "stderr": ""}))
    run(conn)
    (row,) = rows(conn, "mem_tool_calls")
    assert (row["output"], row["output_chars"]) == ("y" * 100, 5000)


def test_a_task_notification_is_not_a_users_prompt(conn: Connection) -> None:
    spooled(payload("UserPromptSubmit", prompt="<task-notification>\n<task-id>a</task-id>"))
    run(conn)
    (prompt,) = rows(conn, "mem_user_prompts")
    assert prompt["kind"] == "task_notification"


def test_two_texts_under_one_prompt_id_are_two_prompts(conn: Connection) -> None:
    spooled(payload("UserPromptSubmit", prompt="first"))
    spooled(payload("UserPromptSubmit", prompt="typed while it worked"))
    spooled(payload("UserPromptSubmit", prompt="first"))
    assert run(conn).prompts == 2
    assert {p["text"] for p in rows(conn, "mem_user_prompts")} == {"first", "typed while it worked"}


def test_two_drains_at_once_store_each_event_once(database_url: str, conn: Connection) -> None:
    for n in range(300):
        spooled(call("PostToolUse", f"t{n}", session_id=f"session-{n % 7}"))

    def drain_all() -> None:
        with server.connect(database_url) as own:
            drain(own, settings.load())

    threads = [threading.Thread(target=drain_all) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert spool.waiting() == []
    assert store.counts(conn)["tool_calls"] == 300


def test_files_wait_while_the_database_is_away(database_url: str, conn: Connection) -> None:
    spooled(call("PostToolUse", "t1"))
    conn.execute("alter table mem_tool_calls rename to away")
    conn.commit()
    with pytest.raises(Exception, match="mem_tool_calls"):
        run(conn)
    conn.rollback()
    assert len(spool.waiting()) == 1
    assert spool.backlog().bad == 0
    conn.execute("alter table away rename to mem_tool_calls")
    conn.commit()
    assert run(conn).tool_calls == 1


def test_what_a_killed_hook_left_half_written_is_set_aside_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    half = paths.make_private(paths.spool_tmp()) / "00000000000000000001-1-aa.claude"
    half.write_bytes(b'{"session')
    spool.set_aside_abandoned()
    assert half.exists()
    monkeypatch.setattr(spool, "ABANDONED", -1)
    spool.set_aside_abandoned()
    assert not half.exists()
    assert (spool.backlog().bad, (paths.spool_bad() / half.name).exists()) == (1, True)
