"""Transcripts into the journal: all of the shared data against an independent count, resumption, and live files."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.integration.test_drain import rows
from typer.testing import CliRunner

from agent_memory import agents, sample, settings
from agent_memory.capture import backfill as filling
from agent_memory.capture import parallel
from agent_memory.capture.backfill import backfill, find
from agent_memory.cli import main, setup
from agent_memory.database import Connection
from agent_memory.errors import AgentMemoryError
from agent_memory.journal import store
from agent_memory.journal.event import ToolCall
from agent_memory.journal.ingest import Counts, ingest


def run(conn: Connection, *places: Path) -> filling.Report:
    return backfill(conn, find(places), settings.load(), lambda _: None)


def test_the_sample_is_imported_once(conn: Connection) -> None:
    first = run(conn, sample.session())
    assert (first.stored.sessions, first.stored.prompts) == (1, 5)
    assert first.stored.tool_calls == 25
    again = run(conn, sample.session())
    assert (again.unchanged, again.stored) == (1, Counts())
    conn.execute("delete from mem_transcripts")
    assert run(conn, sample.session()).stored == Counts()


def test_a_broken_off_import_goes_on_where_it_stopped(conn: Connection, tmp_path: Path) -> None:
    whole = sample.session().read_bytes()
    file = tmp_path / sample.session().name
    cuts = [
        len(whole) // 3,
        len(whole) // 2,
        len(whole),
    ]  # in the middle of a line: as a live session's file is
    for cut in cuts:
        file.write_bytes(whole[:cut])
        run(conn, file)
    assert rows(conn, "mem_transcripts")[0]["bytes_read"] == len(whole)
    counts = store.counts(conn)
    conn.execute("truncate mem_transcripts, mem_sessions cascade")
    run(conn, sample.session())
    # The session's id comes from the records, so both files tell the same session.
    assert counts == store.counts(conn)


def test_ctrl_c_loses_nothing_and_the_next_run_goes_on(conn: Connection, tmp_path: Path) -> None:
    lines = sample.session().read_text(encoding="utf-8").splitlines()
    own = json.loads(next(line for line in lines if "sessionId" in line))["sessionId"]
    for number in range(3):
        text = "\n".join(lines).replace(own, f"{own}-{number}") + "\n"
        (tmp_path / f"{number}.jsonl").write_text(text, encoding="utf-8")
    read = 0

    def interrupt(count: int) -> None:
        nonlocal read
        read += count
        if read > 1.5 * sample.session().stat().st_size:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        backfill(conn, find([tmp_path]), settings.load(), interrupt)
    assert 0 < store.counts(conn)["sessions"] < 3
    assert run(conn, tmp_path).unchanged >= 1
    assert store.counts(conn)["tool_calls"] == 75
    assert run(conn, tmp_path).stored == Counts()


def test_several_processes_store_what_one_does(
    conn: Connection, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = sample.session().read_text(encoding="utf-8").splitlines()
    own = json.loads(next(line for line in lines if "sessionId" in line))["sessionId"]
    for number in range(6):
        text = "\n".join(lines).replace(own, f"{own}-{number % 3}") + "\n"  # two files tell each session
        (tmp_path / f"{number}.jsonl").write_text(text, encoding="utf-8")
    files, read = find([tmp_path]), 0

    def progress(count: int) -> None:
        nonlocal read
        read += count

    monkeypatch.setattr(parallel, "WORTH_IT", 0)
    report = parallel.import_files(database_url, files, settings.load(), progress)
    assert (report.files, report.unreadable) == (6, {})
    assert read == sum(file.stat().st_size for file in files)
    assert report.stored.tool_calls == store.counts(conn)["tool_calls"] == 75
    conn.rollback()
    assert parallel.import_files(database_url, files, settings.load(), progress).unchanged == 6

    def interrupt(count: int) -> None:
        raise KeyboardInterrupt

    conn.execute("truncate mem_transcripts, mem_sessions cascade")
    conn.commit()
    with pytest.raises(KeyboardInterrupt):
        parallel.import_files(database_url, files, settings.load(), interrupt)
    parallel.import_files(database_url, files, settings.load(), progress)
    assert store.counts(conn)["tool_calls"] == 75


def test_a_broken_off_import_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken_off(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(setup, "_import", broken_off)
    done = CliRunner().invoke(main.app, ["backfill", str(sample.session())])
    assert done.exit_code == 130
    assert "goes on there" in done.stderr


def test_a_place_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(AgentMemoryError, match="does not exist"):
        find([tmp_path / "nowhere"])


def test_a_file_of_nonsense_is_counted_and_not_fatal(conn: Connection, tmp_path: Path) -> None:
    file = tmp_path / "nonsense.jsonl"
    file.write_bytes(b'// a comment\n{"half": \n\x00\x00\n[1]\n"text"\n{"type": "new-kind-of-line"}\n')
    report = run(conn, file)
    assert report.lines == sum(report.told.values()) == 6
    assert report.stored == Counts()


class Naive:
    """Calls and results of Claude Code files, counted as plainly as can be: by looking for their blocks."""

    def __init__(self) -> None:
        self.calls: set[tuple[str, str]] = set()
        self.ended: set[tuple[str, str]] = set()
        self.failed: set[tuple[str, str]] = set()
        self.prompts: set[str] = set()
        self.answers: Counter[str] = Counter()

    def read(self, file: Path) -> None:
        for line in file.read_bytes().split(b"\n"):
            try:
                record = json.loads(line.strip(b"\0 \t\r"))
            except ValueError:
                continue
            if not isinstance(record, dict) or record.get("type") not in ("user", "assistant"):
                continue
            content = (record.get("message") or {}).get("content")
            for block in content if isinstance(content, list) else []:
                key = (record.get("sessionId", ""), block.get("id") or block.get("tool_use_id") or "")
                if block.get("type") == "tool_use":
                    self.calls.add(key)
                elif block.get("type") == "tool_result":
                    self.ended.add(key)
                    if block.get("is_error"):
                        self.failed.add(key)


def test_every_tool_call_of_the_shared_transcripts_is_stored_once(
    conn: Connection, shared_data: Path
) -> None:
    places = [shared_data / "transcripts", shared_data / "claude_code_2.1.330" / "transcripts"]
    naive = Naive()
    for file in find(places):
        naive.read(file)
    report = run(conn, *places)
    assert report.lines == sum(
        sum(1 for line in file.read_bytes().split(b"\n")[:-1]) + (not file.read_bytes().endswith(b"\n"))
        for file in find(places)
    )
    assert report.unreadable == {}
    stored = rows(conn, "mem_tool_calls")
    by_key = {(row["session_id"], row["tool_use_id"]): row for row in stored}
    assert len(by_key) == len(stored)
    # Helpers of the client's own (they write a compaction's summary) make calls that are nobody's work.
    missing = naive.calls - set(by_key)
    print(
        f"\n{len(naive.calls)} calls in the files, {len(by_key)} stored, {len(missing)} of the client's helpers"
    )
    assert set(by_key) <= naive.calls
    assert missing == helpers_calls(places)
    for key in naive.calls & naive.ended - missing:
        assert by_key[key]["success"] is (key not in naive.failed), key
    assert Counter(row["success"] is None for row in stored)[True] == len(naive.calls - naive.ended - missing)
    counts = store.counts(conn)
    conn.execute("delete from mem_transcripts")
    assert run(conn, *places).stored == Counts()
    assert store.counts(conn) == counts


def helpers_calls(places: list[Path]) -> set[tuple[str, str]]:
    naive = Naive()
    for file in find(places):
        if file.name.startswith("agent-acompact-"):
            naive.read(file)
    own = Naive()
    for file in find(places):
        if not file.name.startswith("agent-acompact-"):
            own.read(file)
    return naive.calls - own.calls


def test_every_shared_hook_payload_of_claude_is_stored_or_known_not_to_be(
    conn: Connection, shared_data: Path
) -> None:
    file = shared_data / "claude_code_2.1.330" / "hook_payloads.jsonl"
    payloads: list[dict[str, Any]] = [
        json.loads(line)["stdin"] for line in file.read_text("utf-8").split("\n") if line
    ]
    read = agents.normaliser("claude")
    for payload in payloads:
        ingest(conn, read(payload, datetime.now(UTC)), settings.load())
    begun = {p["tool_use_id"] for p in payloads if p["hook_event_name"] == "PreToolUse"}
    ended = {
        p["tool_use_id"]
        for p in payloads
        if p["hook_event_name"].startswith("PostToolUse") and "tool_use_id" in p
    }
    stored = rows(conn, "mem_tool_calls")
    assert {row["tool_use_id"] for row in stored} == begun | ended
    assert len(stored) == len(begun | ended)
    assert {row["tool_use_id"] for row in stored if row["success"] is not None} == ended
    prompts = {(p["prompt_id"], p["prompt"]) for p in payloads if p["hook_event_name"] == "UserPromptSubmit"}
    assert len(rows(conn, "mem_user_prompts")) == len(prompts)
    assert {row["prompt_id"] for row in stored} <= {row["id"] for row in rows(conn, "mem_user_prompts")}


def test_all_shared_data_goes_in_twice_and_every_line_is_accounted_for(
    conn: Connection, shared_data: Path
) -> None:
    report = run(conn, shared_data)
    lines = 0
    for file in find([shared_data]):
        content = file.read_bytes()
        lines += content.count(b"\n") + (not content.endswith(b"\n"))
    assert report.lines == lines
    assert report.unreadable == {}
    # A line may tell several things, but never nothing.
    assert report.told.total() >= lines
    agents_stored = Counter(row["agent"] for row in rows(conn, "mem_sessions"))
    assert set(agents_stored) == {"claude", "codex", "copilot", "gemini"}
    counts = store.counts(conn)
    print(f"\n{report.files} files, {lines} lines: {counts}")
    for why, count in report.told.most_common():
        print(f"{count:>7} {why}")
    conn.execute("delete from mem_transcripts")
    assert run(conn, shared_data).stored == Counts()
    assert store.counts(conn) == counts


# OpenCode's recording is of calls to a plugin's functions; what our plugin makes of them is tested with the plugin.
@pytest.mark.parametrize("agent", ["claude_code", "codex", "gemini_cli", "copilot_cli"])
def test_every_shared_hook_payload_is_read_and_every_call_in_it_stored(
    conn: Connection, shared_data: Path, agent: str
) -> None:
    (file,) = shared_data.glob(f"{agent}_*/hook_payloads.jsonl")
    read = agents.normaliser(agent.partition("_")[0])
    called: set[tuple[str, str]] = set()
    for line in file.read_text(encoding="utf-8").split("\n")[:-1]:
        record = json.loads(line)
        events = read(record["stdin"], datetime.fromtimestamp(record["t"], UTC))
        called |= {(e.session_id, e.body.tool_use_id) for e in events if isinstance(e.body, ToolCall)}
        ingest(conn, events, settings.load())
    assert called
    assert {(r["session_id"], r["tool_use_id"]) for r in rows(conn, "mem_tool_calls")} == called
