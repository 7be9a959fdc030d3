"""Hook payloads of Gemini CLI as Events."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from agent_memory.agents.gemini import payload
from agent_memory.journal import fence
from agent_memory.journal.event import (
    HOOK_ID,
    Body,
    Event,
    Prompt,
    SessionEnd,
    SessionStart,
    ToolCall,
    TurnEnd,
)

WRITTEN = datetime(2026, 11, 23, 9, 5, tzinfo=UTC)
HAPPENED = datetime(2026, 11, 23, 9, 0, 0, 250_000, tzinfo=UTC)
RECORDED = Path(__file__).parent.parent / "fixtures" / "gemini" / "hook_payloads.jsonl"


def recorded() -> list[Event]:
    lines = RECORDED.read_text(encoding="utf-8").splitlines()
    return [event for line in lines for event in payload.events(json.loads(line)["payload"], WRITTEN)]


def told(event: str, **fields: Any) -> list[Event]:
    base = {
        "session_id": "s1",
        "cwd": "/p",
        "transcript_path": "/c.jsonl",
        "timestamp": "2026-11-23T09:00:00.250Z",
    }
    return payload.events({**base, "hook_event_name": event, **fields}, WRITTEN)


def bodies(event: str, **fields: Any) -> list[Body]:
    return [e.body for e in told(event, **fields)]


def ended(name: str, said: Any, **fields: Any) -> ToolCall:
    response = {"llmContent": said, "returnDisplay": "…", **fields.pop("response", {})}
    (body,) = bodies(
        "AfterTool", **{"tool_name": name, "tool_input": {"x": 1}, "tool_response": response, **fields}
    )
    assert isinstance(body, ToolCall)
    return body


def shell(*lines: str) -> ToolCall:
    return ended("run_shell_command", "<untrusted_context>\n" + "\n".join(lines) + "\n</untrusted_context>")


def test_an_event_says_where_and_when_it_happened() -> None:
    assert told("BeforeAgent", prompt="hi") == [
        Event(
            agent="gemini",
            session_id="s1",
            occurred_at=HAPPENED,
            body=Prompt(text="hi"),
            cwd="/p",
            transcript_path="/c.jsonl",
        )
    ]


def test_without_a_time_of_its_own_the_event_has_that_of_its_file() -> None:
    (event,) = told("AfterAgent", timestamp=None)
    assert event.occurred_at == WRITTEN


def test_a_session_and_a_turn_start_and_end() -> None:
    assert bodies("SessionStart", source="startup") == [SessionStart(source="startup")]
    assert bodies("AfterAgent", prompt="hi", prompt_response="I look.\nDone.") == [TurnEnd()]
    assert bodies("SessionEnd", reason="exit") == [SessionEnd(reason="exit")]


@pytest.mark.parametrize("event", [*sorted(payload.NOT_RECORDED), "SomethingNew"])
def test_other_events_tell_nothing(event: str) -> None:
    assert told(event, tool_name="read_file", tool_input={}, trigger="auto", llm_request={}) == []


@pytest.mark.parametrize("field", ["session_id", "hook_event_name"])
def test_a_payload_without_what_it_needs_says_what_is_missing(field: str) -> None:
    given = {"session_id": "s1", "hook_event_name": "AfterAgent"}
    del given[field]
    with pytest.raises(ValueError, match=field):
        payload.events(given, WRITTEN)


@pytest.mark.parametrize(
    "prompt",
    [
        "Count the boats.",
        "<hook_context>It is six.</hook_context>\n\nCount the boats.",
        "<hook_context>It\nis six.</hook_context>\n<hook_context>Calm.</hook_context>\n\nCount the boats.",
        "Count the boats.<hook_context>It is six.</hook_context>",
        f"{fence.fence('the port is 5433')}\nCount the boats.",
    ],
)
def test_a_prompt_is_what_was_typed(prompt: str) -> None:
    assert bodies("BeforeAgent", prompt=prompt) == [Prompt(text="Count the boats.")]


def test_what_a_person_writes_about_the_wrapping_stays() -> None:
    text = "Why does <hook_context>x</hook_context> stand in my prompt?"
    assert bodies("BeforeAgent", prompt=text) == [Prompt(text=text)]


def test_a_prompt_of_nothing_but_context_is_none() -> None:
    assert bodies("BeforeAgent", prompt="<hook_context>It is six.</hook_context>") == []


def test_a_command_says_how_it_ended() -> None:
    done = shell("Output: north 12", "south 7", "Process Group PGID: 30148")
    assert (done.success, done.output) == (True, "north 12\nsouth 7")
    failed = shell("Output: (empty)", "Exit Code: 3", "Process Group PGID: 30148")
    assert (failed.success, failed.output, failed.error) == (False, None, "Exit code 3")
    killed = shell("Output: one", "Signal: 9", "Background PIDs: 1, 2", "Process Group PGID: 30148")
    assert (killed.success, killed.error) == (False, "Ended by signal 9\none")


def test_what_a_command_prints_stays_whole() -> None:
    assert shell("Output: Error: none", "Exit Code: unknown to me", "ok").output == (
        "Error: none\nExit Code: unknown to me\nok"
    )
    assert shell("Output: " + "x" * 200_000 + " " * 200_000 + "y").output is not None  # and in no time


def test_a_tools_error_is_its_error() -> None:
    failed = ended(
        "read_file", "Could not read.", response={"error": {"message": "File not found", "type": "x"}}
    )
    assert (failed.success, failed.output, failed.error) == (False, None, "File not found")


def test_a_tool_of_a_server_has_the_same_name_for_every_agent() -> None:
    served = {"mcp_context": {"server_name": "tides", "tool_name": "high_water"}}
    parts = [{"text": "<untrusted_context>\n04:12\n</untrusted_context>"}]
    done = ended("mcp_tides_high_water", parts, **served)
    assert (done.name, done.output) == ("mcp__tides__high_water", "04:12")


@pytest.mark.parametrize(
    "context", [{}, {"mcp_context": {"server_name": "agent-memory", "tool_name": "recall"}}]
)
def test_our_own_tools_keep_their_row_without_their_answer(context: dict[str, Any]) -> None:
    done = ended("mcp_agent-memory_recall", "the key is under the mat", **context)
    assert (done.name, done.success, done.output) == ("mcp__agent-memory__recall", True, None)


def test_the_same_call_read_twice_has_one_id_and_the_same_call_made_twice_has_two() -> None:
    first, again = ended("read_file", "a"), ended("read_file", "a")
    later = ended("read_file", "a", timestamp="2026-11-23T09:00:01.000Z")
    assert first == again
    assert first.tool_use_id.startswith(HOOK_ID)
    assert first.tool_use_id != later.tool_use_id


def test_every_recorded_call_is_told_once() -> None:
    calls = [event.body for event in recorded() if isinstance(event.body, ToolCall)]
    ids = {call.tool_use_id for call in calls}
    assert len(calls) == len(ids) == 11
    same = [call for call in calls if call.input.get("command") == "cat moorings.txt"]
    assert len(same) == 2


def test_recorded_prompts_are_told_as_they_were_typed() -> None:
    prompts = [event.body.text for event in recorded() if isinstance(event.body, Prompt)]
    assert prompts == ["Count the moorings, please.", "Write it down."]
