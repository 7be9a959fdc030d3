"""Records of Gemini CLI's chat files as Events."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from agent_memory.agents.gemini import records, transcript
from agent_memory.agents.json_lines import EMPTY, MALFORMED
from agent_memory.journal.event import AssistantMessage, Event, Prompt, SessionStart, ToolCall, TurnEnd

CHATS = Path(__file__).parent.parent / "fixtures" / "gemini"
MAIN, RESTARTED = sorted((CHATS / "chats").glob("session-*.jsonl"))
(SCOUT,) = (CHATS / "chats").glob("*/*.jsonl")

HEADER = {"sessionId": "s1", "projectHash": "…", "startTime": "2026-11-23T09:00:00.000Z", "kind": "main"}
CONTEXT = {
    "id": "m0",
    "type": "user",
    "timestamp": "2026-11-23T09:00:00.001Z",
    "content": [
        {"text": "<session_context>\n- **Workspace Directories:**\n  - /home/dev/harbour\n</session_context>"}
    ],
}


def message(id_: str, kind: str, content: Any, **fields: Any) -> dict[str, Any]:
    return {"id": id_, "type": kind, "timestamp": "2026-11-23T09:00:05.000Z", "content": content, **fields}


def used(id_: str, name: str, said: dict[str, Any], **fields: Any) -> dict[str, Any]:
    result = [{"functionResponse": {"id": id_, "name": name, "response": said}}]
    call = {"id": id_, "name": name, "args": {"x": 1}, "result": result, "status": "success"}
    return call | {"timestamp": "2026-11-23T09:00:09.000Z"} | fields


def read(*lines: dict[str, Any], chat: records.Chat | None = None) -> list[tuple[list[Event], list[str]]]:
    """What each of these records tells, behind the head of a chat file."""
    chat = chat or records.Chat(transcript_path="/c.jsonl")
    head: list[dict[str, Any]] = [HEADER, {"$set": {"messages": [CONTEXT]}}]
    return [chat.read(line) for line in [*head, *lines]][len(head) :]


def bodies(*lines: dict[str, Any]) -> list[Any]:
    return [event.body for events, _ in read(*lines) for event in events]


def events_of(file: Path) -> list[Event]:
    return [event for line in transcript.read(file) for event in line.events]


def test_a_session_begins_in_its_folder() -> None:
    chat = records.Chat(transcript_path="/c.jsonl")
    assert chat.read(HEADER) == ([], [records.HEADER])
    (event,), skipped = chat.read({"$set": {"messages": [CONTEXT]}})
    assert event.body == SessionStart()
    assert (event.session_id, event.cwd, event.transcript_path) == ("s1", "/home/dev/harbour", "/c.jsonl")
    assert skipped == [records.HEADER, records.CONTEXT]


def test_a_prompt_is_told_with_its_own_id_and_as_it_was_typed() -> None:
    ((event,), _), *_ = read(message("m1", "user", [{"text": "<hook_context>Six.</hook_context>\n\nCount."}]))
    assert (event.body, event.prompt_id) == (Prompt(text="Count."), "m1")


def test_what_the_client_loads_in_front_of_a_subagents_task_is_no_part_of_it() -> None:
    loaded = {"text": "\n<loaded_context>\nBe kind.\n</loaded_context>"}
    ((event,), _), alone = read(
        message("m1", "user", [loaded, {"text": "Count."}]), message("m2", "user", [loaded])
    )
    assert event.body == Prompt(text="Count.")
    assert alone == ([], [records.CONTEXT])


def test_a_message_that_is_written_again_with_more_in_it_is_told_once() -> None:
    said = message("m1", "gemini", "I look.", tokens={"input": 100, "total": 120}, model="gemini-2.5-flash")
    told = bodies(said, said | {"toolCalls": [used("c1", "read_file", {"output": "north"})]}, said)
    assert told == [
        AssistantMessage(text="I look.", uuid="m1", usage={"input": 100, "total": 120}),
        ToolCall(tool_use_id="c1", name="read_file", input={"x": 1}, success=True, output="north"),
    ]


@pytest.mark.parametrize(
    ("name", "said", "fields", "success", "text"),
    [
        ("read_file", {"error": "File not found"}, {"status": "error"}, False, "File not found"),
        ("read_file", {}, {"status": "cancelled"}, False, "cancelled"),
        ("run_shell_command", {"output": "Output: no\nExit Code: 2"}, {}, False, "Exit code 2\nno"),
        ("mcp_tides_x", {"output": "<untrusted_context>\n04:12\n</untrusted_context>"}, {}, True, "04:12"),
    ],
)
def test_a_call_says_how_it_ended(
    name: str, said: dict[str, Any], fields: dict[str, Any], success: bool, text: str
) -> None:
    (call,) = bodies(message("m1", "gemini", "", toolCalls=[used("c1", name, said, **fields)]))
    assert call.success is success
    assert (call.output or call.error) == text


def test_a_tool_of_a_server_has_the_same_name_for_every_agent() -> None:
    shown = {"displayName": "high_water (tides MCP Server)"}
    (call,) = bodies(message("m1", "gemini", "", toolCalls=[used("c1", "mcp_tides_high_water", {}, **shown)]))
    assert call.name == "mcp__tides__high_water"


def test_what_is_written_again_when_a_session_is_resumed_is_not_told_again() -> None:
    asked = message("m1", "user", [{"text": "Count."}])
    later = asked | {"timestamp": "2026-11-23T10:00:00.000Z"}
    answer = {"functionResponse": {"id": "c1", "name": "read_file", "response": {"output": "north"}}}
    made_up = message("m2_response", "user", [answer])
    again = {"$set": {"messages": [CONTEXT, later, made_up], "lastUpdated": "…"}}
    told = read(asked, HEADER, again)
    assert [event.body for events, _ in told for event in events] == [Prompt(text="Count.")]
    assert told[-1][1] == [records.HEADER, records.COPY, records.COPY, records.COPY]


def test_a_compression_tells_its_summary_and_nothing_else_again() -> None:
    compressed = [
        CONTEXT,
        message("n1", "user", [{"text": "<state_snapshot>20 moorings</state_snapshot>"}]),
        message("n2", "gemini", [{"text": "Got it. Thanks for the additional context!"}]),
        message("n3", "user", [{"text": "Count."}]),
    ]
    told = bodies(message("m1", "user", [{"text": "Count."}]), {"$set": {"messages": compressed}})
    summary = "<state_snapshot>20 moorings</state_snapshot>"
    assert told == [Prompt(text="Count."), AssistantMessage(text=summary, kind="compact_summary", uuid="n1")]


def test_thoughts_and_notices_are_left_out() -> None:
    told = read(
        message("m1", "gemini", [{"text": "hm", "thought": True}]),
        message("m2", "info", "Update available."),
        {"$rewindTo": "m1"},
        message("m3", "user", []),
        message("m4", "weather", "calm"),
        {"weather": "calm"},
    )
    assert told == [
        ([], [records.WITHOUT_TEXT]),
        ([], [records.NOTICE]),
        ([], [records.REWIND]),
        ([], [EMPTY]),
        ([], [records.UNKNOWN]),
        ([], [records.UNKNOWN]),
    ]


def test_a_turn_that_broke_off_says_why() -> None:
    ends = bodies(
        message("m1", "info", "Request cancelled."),
        message("m2", "error", "[API Error: quota exceeded]"),
    )
    assert ends == [TurnEnd(error="interrupted by the user"), TurnEnd(error="API Error: quota exceeded")]


@pytest.mark.parametrize(
    "broken", [{"id": "m1"}, {"id": "m1", "type": "user", "timestamp": "yesterday"}, {"$set": 1}]
)
def test_a_broken_record_is_counted_and_nothing_more(broken: dict[str, Any]) -> None:
    assert read(broken) == [([], [MALFORMED])]


def test_a_message_before_its_session_is_none() -> None:
    assert records.Chat("/c.jsonl").read(message("m1", "user", "hi")) == ([], [records.NO_SESSION])


def test_every_line_of_our_files_is_told_or_skipped_for_a_reason() -> None:
    for file in (MAIN, RESTARTED, SCOUT):
        lines = list(transcript.read(file))
        assert len(lines) == len(file.read_bytes().splitlines())
        assert lines[-1].end == file.stat().st_size
        for line in lines:
            assert line.events or line.skipped
            assert not {MALFORMED, records.UNKNOWN, records.NO_SESSION} & set(line.skipped), line


def test_a_file_that_is_read_on_tells_what_is_new_and_nothing_else() -> None:
    whole = list(transcript.read(MAIN))
    for line in whole:
        assert list(transcript.read(MAIN, line.end)) == [one for one in whole if one.end > line.end]


def test_our_session_is_whole() -> None:
    told = events_of(MAIN)
    kinds = Counter(type(event.body).__name__ for event in told)
    assert kinds == {"SessionStart": 1, "Prompt": 2, "ToolCall": 12, "AssistantMessage": 3}
    prompts = [event.body.text for event in told if isinstance(event.body, Prompt)]
    assert prompts == ["Count the moorings, please.", "Write it down."]
    assert {event.cwd for event in told} == {"/home/dev/harbour"}


def test_a_subagents_file_tells_of_the_subagent_in_its_session() -> None:
    told = events_of(SCOUT)
    assert {event.session_id for event in told} == {events_of(MAIN)[0].session_id}
    assert {event.subagent_id for event in told} == {SCOUT.stem}
    assert {event.transcript_path for event in told} == {str(SCOUT)}
    assert told[0].body == Prompt(text="Scout the south quay", kind="subagent")


def test_a_sessions_files_are_its_own_and_its_subagents() -> None:
    assert transcript.of_session(MAIN) == [MAIN, SCOUT]
    assert transcript.of_session(MAIN.with_name("session-2026-11-23T04-18-gone0000.jsonl")) == []


def test_a_chat_of_2025_is_one_line(tmp_path: Path) -> None:
    chats = tmp_path / "harbour" / "chats"
    chats.mkdir(parents=True)
    (chats.parent / ".project_root").write_text("/home/dev/harbour\n", encoding="utf-8")
    file = chats / "session-2025-11-03T09-00-s1.json"
    said = message("m2", "gemini", "Twenty.", toolCalls=[used("c1", "read_file", {"output": "north"})])
    whole = HEADER | {"messages": [message("m1", "user", "Count."), said]}
    file.write_text(json.dumps(whole, indent=2), encoding="utf-8")
    assert [type(event.body) for event in events_of(file)] == [
        SessionStart,
        Prompt,
        AssistantMessage,
        ToolCall,
    ]
    assert {event.cwd for event in events_of(file)} == {"/home/dev/harbour"}
    assert list(transcript.read(file, file.stat().st_size)) == []
    assert list(transcript.files(tmp_path)) == [file]
