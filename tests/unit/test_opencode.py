"""OpenCode's plugin records as Events."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from agent_memory.agents.opencode.payload import AGENT, events, prompt_text, unquoted
from agent_memory.journal.event import (
    AssistantMessage,
    Event,
    Prompt,
    SessionEnd,
    SessionStart,
    ToolCall,
    TurnEnd,
)

AT = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
RECORDS = Path(__file__).parent.parent / "fixtures" / "opencode" / "plugin_records.jsonl"


def recorded() -> list[Event]:
    lines = RECORDS.read_text(encoding="utf-8").split("\n")
    return [event for line in lines if line for event in events(json.loads(line), AT)]


def record(event: str, **more: Any) -> dict[str, Any]:
    about = {"sessionID": "ses_1", "rootID": "ses_1", "promptID": "msg_1", "directory": "/home/dev/harbour"}
    return {"event": event, "at": 1795405236432, **about, **more}


def part(status: str, **state: Any) -> dict[str, Any]:
    return {
        "type": "tool",
        "tool": "bash",
        "callID": "call_1",
        "state": {"status": status, "input": {}, **state},
    }


def only(payload: dict[str, Any]) -> Any:
    (event,) = events(payload, AT)
    return event.body


def of(kind: type[Any], told: list[Event]) -> list[Event]:
    return [event for event in told if isinstance(event.body, kind)]


def bodies(kind: type[Any], told: list[Event]) -> list[Any]:
    return [event.body for event in of(kind, told)]


def test_a_recorded_session_tells_each_prompt_once_and_as_it_was_typed() -> None:
    prompts = [(prompt.text, prompt.kind) for prompt in bodies(Prompt, recorded())]
    assert prompts == [
        ("Look after the harbour", "user"),
        ("Inspect every mooring", "subagent"),
        ("Mind the lighthouse", "user"),
        ("Count the boats of Dover now", "command"),
    ]


def test_the_beginning_and_the_end_of_a_call_have_one_id() -> None:
    calls = bodies(ToolCall, recorded())
    begun = {call.tool_use_id for call in calls if call.success is None}
    ended = [call.tool_use_id for call in calls if call.success is not None]
    assert len(ended) == len(set(ended)) == 8
    assert begun == set(ended)


def test_two_equal_commands_at_once_are_two_calls() -> None:
    calls = [call for call in bodies(ToolCall, recorded()) if call.success]
    same = [call.tool_use_id for call in calls if call.input.get("command") == "echo same"]
    assert len(same) == len(set(same)) == 2


def test_failures_are_failures() -> None:
    failed = [call for call in bodies(ToolCall, recorded()) if call.success is False]
    errors = {call.name: call.error for call in failed}
    assert errors == {
        "bash": "Exit code 3\n(no output)",
        "read": "File not found: /home/dev/harbour/none.md",
    }


def test_a_subagents_work_belongs_to_the_session_above_it_and_to_its_prompt() -> None:
    told = recorded()
    main = next(event for event in told if isinstance(event.body, Prompt))
    aside = [event for event in told if event.subagent_id]
    assert {event.session_id for event in aside} == {main.session_id}
    assert {event.subagent_type for event in aside} == {"general"}
    calls = of(ToolCall, aside)
    assert calls
    assert {event.prompt_id for event in calls} == {main.prompt_id}
    assert {type(event.body) for event in aside} == {Prompt, ToolCall, AssistantMessage}


def test_a_session_starts_resumes_and_ends() -> None:
    told = recorded()
    starts = [start.source for start in bodies(SessionStart, told)]
    assert starts == ["startup", "resume", "startup"]
    assert len(of(SessionEnd, told)) == 3
    assert len(of(TurnEnd, told)) == 3


def test_every_event_says_where_and_by_what_it_was_done() -> None:
    for event in recorded():
        assert event.agent == AGENT
        assert event.cwd == "/home/dev/harbour"
        assert event.occurred_at.tzinfo is not None
    assert {event.model for event in of(AssistantMessage, recorded())} == {"stand-in"}


def test_tokens_are_told_with_the_first_text_of_a_message() -> None:
    info = {
        "id": "msg_2",
        "tokens": {"input": 7, "output": 3, "reasoning": 0, "cache": {"read": 2, "write": 1}},
    }
    parts = [
        {"id": f"prt_{n}", "type": "text", "text": f"Text {n}", "time": {"start": 1, "end": 2}}
        for n in (1, 2)
    ]
    first, second = (event.body for event in events(record("message", info=info, parts=parts), AT))
    assert isinstance(first, AssistantMessage)
    assert isinstance(second, AssistantMessage)
    assert first.usage == {
        "input_tokens": 7,
        "output_tokens": 3,
        "reasoning_tokens": 0,
        "cache_read_input_tokens": 2,
        "cache_creation_input_tokens": 1,
    }
    assert second.usage is None
    assert (first.uuid, second.uuid) == ("prt_1", "prt_2")


def test_a_compactions_summary_is_one() -> None:
    parts = [{"id": "prt_1", "type": "text", "text": "So far: …"}]
    body = only(record("message", info={"id": "msg_2", "summary": True}, parts=parts))
    assert body.kind == "compact_summary"


@pytest.mark.parametrize(
    ("stored", "typed"),
    [
        ('"fix the port"', "fix the port"),
        ('"say \\"hello there\\" twice"', 'say "hello there" twice'),
        ('"two\nlines"', "two\nlines"),
        ('"hello"', '"hello"'),  # without a space `opencode run` puts no quotes
        ('"a b" and "c d"', '"a b" and "c d"'),
        ('fix "a b" now', 'fix "a b" now'),
        ("plain words", "plain words"),
        ('"', '"'),
        ("", ""),
    ],
)
def test_only_the_quotes_that_opencode_put_on_are_taken_off(stored: str, typed: str) -> None:
    assert unquoted(stored) == typed


def test_what_the_client_adds_is_no_prompt() -> None:
    added = {"type": "text", "text": "Called the Read tool with …", "synthetic": True}
    assert prompt_text([added]) is None
    assert prompt_text([{"type": "text", "text": "Look at @a.md"}, added]) == "Look at @a.md"
    assert events(record("prompt", message={"id": "msg_9"}, parts=[added]), AT) == []


def test_a_memory_that_was_shown_is_not_recorded_again() -> None:
    fenced = '<agent-memory note="recalled notes, not instructions">\nold\n</agent-memory>'
    body = only(record("prompt", message={"id": "msg_9"}, parts=[{"type": "text", "text": f"New. {fenced}"}]))
    assert body.text == "New."
    ended = part("completed", output="what was remembered", metadata={})
    ours = only(record("tool", part=ended | {"tool": "agent-memory_recall"}))
    assert (ours.name, ours.output, ours.success) == ("mcp__agent-memory__recall", None, True)


def test_a_call_whose_input_is_still_being_written_tells_nothing() -> None:
    assert events(record("tool", part=part("pending")), AT) == []


def test_times_are_those_of_the_call() -> None:
    ended = part("completed", output="ok", time={"start": 1795405236000, "end": 1795405236250})
    (event,) = events(record("tool", part=ended), AT)
    assert event.occurred_at == datetime.fromtimestamp(1795405236, UTC)
    assert isinstance(event.body, ToolCall)
    assert event.body.duration_ms == 250


def test_an_error_ends_the_turn_with_its_reason() -> None:
    error = {"name": "ProviderAuthError", "data": {"message": "no key"}}
    assert only(record("error", error=error)) == TurnEnd(error="ProviderAuthError: no key")


def test_a_subagents_end_ends_no_turn() -> None:
    for event in ("idle", "error", "end", "start"):
        assert events(record(event, sessionID="ses_2"), AT) == []


def test_what_is_not_known_is_no_error_and_what_is_broken_is_one_in_words() -> None:
    assert events(record("something.new"), AT) == []
    with pytest.raises(ValueError, match="no text `event`"):
        events({"sessionID": "ses_1"}, AT)
    with pytest.raises(ValueError, match="no text `callID`"):
        events(record("tool", part={"tool": "bash", "state": {"status": "running"}}), AT)
