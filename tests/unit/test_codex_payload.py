"""Hook payloads of Codex as Events."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from agent_memory.agents.codex import payload
from agent_memory.journal import fence
from agent_memory.journal.event import (
    AssistantMessage,
    Body,
    Event,
    Prompt,
    SessionEnd,
    SessionStart,
    ToolCall,
    TurnEnd,
)

AT = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
RECORDED = Path(__file__).parent.parent / "fixtures" / "codex" / "hook_payloads.jsonl"


def recorded() -> list[Event]:
    lines = RECORDED.read_text(encoding="utf-8").splitlines()
    return [event for line in lines for event in payload.events(json.loads(line)["payload"], AT)]


def told(event: str, **fields: Any) -> list[Event]:
    base = {
        "session_id": "s1",
        "turn_id": "t1",
        "cwd": "/p",
        "transcript_path": "/r.jsonl",
        "model": "gpt-5.5",
    }
    return payload.events({**base, "hook_event_name": event, **fields}, AT)


def bodies(event: str, **fields: Any) -> list[Body]:
    return [e.body for e in told(event, **fields)]


def ended(name: str, response: Any) -> ToolCall:
    (body,) = bodies("PostToolUse", tool_name=name, tool_input={}, tool_use_id="c1", tool_response=response)
    assert isinstance(body, ToolCall)
    return body


def test_an_event_says_where_and_when_and_by_whom() -> None:
    (event,) = told("UserPromptSubmit", prompt="hi")
    assert event == Event(
        agent="codex",
        session_id="s1",
        occurred_at=AT,
        body=Prompt(text="hi"),
        cwd="/p",
        prompt_id="t1",
        model="gpt-5.5",
        transcript_path="/r.jsonl",
    )


def test_a_subagents_task_is_no_persons_prompt() -> None:
    (event,) = told("UserPromptSubmit", prompt="Scout", agent_id="a1", agent_type="default")
    assert event.body == Prompt(text="Scout", kind="subagent")
    assert (event.subagent_id, event.subagent_type) == ("a1", "default")


def test_a_subagents_end_names_its_own_file() -> None:
    end = {"agent_id": "a1", "agent_type": "default", "agent_transcript_path": "/a.jsonl"}
    message, turn_end = told("SubagentStop", last_assistant_message="Seven.", **end)
    assert (message.body, turn_end.body) == (AssistantMessage(text="Seven."), TurnEnd())
    assert {event.transcript_path for event in (message, turn_end)} == {"/a.jsonl"}


def test_a_session_starts_and_ends() -> None:
    assert bodies("SessionStart", source="resume") == [SessionStart(source="resume")]
    assert bodies("SessionEnd", reason="other") == [SessionEnd(reason="other")]


def test_a_turn_ends_with_its_answer_or_by_the_user() -> None:
    assert bodies("Stop", last_assistant_message="Done.") == [AssistantMessage(text="Done."), TurnEnd()]
    assert bodies("Stop", last_assistant_message=None) == [TurnEnd()]
    assert bodies("Interrupt") == [TurnEnd(error="interrupted by the user")]


@pytest.mark.parametrize("event", [*sorted(payload.NOT_RECORDED), "SomethingNew"])
def test_other_events_tell_nothing(event: str) -> None:
    assert told(event, tool_name="Bash", trigger="auto", agent_id="a1") == []


@pytest.mark.parametrize("field", ["session_id", "hook_event_name"])
def test_a_payload_without_what_it_needs_says_what_is_missing(field: str) -> None:
    given = {"session_id": "s1", "hook_event_name": "Stop"}
    del given[field]
    with pytest.raises(ValueError, match=field):
        payload.events(given, AT)


def test_how_a_command_ended_is_not_told_by_hooks() -> None:
    assert ended("Bash", "grep: no such file\n").success is None
    assert ended("Bash", "grep: no such file\n").output == "grep: no such file\n"


def test_a_patch_tells_its_exit_code() -> None:
    done = ended("apply_patch", "Exit code: 0\nWall time: 0.1 seconds\nOutput:\nSuccess.\n")
    assert (done.success, done.output, done.error) == (True, "Success.\n", None)
    failed = ended("apply_patch", "Exit code: 1\nWall time: 0.1 seconds\nOutput:\nno such file\n")
    assert (failed.success, failed.output, failed.error) == (False, None, "no such file\n")


def test_a_result_of_mcp_is_its_text() -> None:
    done = ended("mcp__tides__high_water", {"content": [{"type": "text", "text": "04:12"}], "isError": False})
    assert (done.success, done.output) == (True, "04:12")


def test_our_own_tools_keep_their_row_without_their_answer() -> None:
    done = ended(
        "mcp__agent_memory__recall", {"content": [{"type": "text", "text": "the key is under the mat"}]}
    )
    assert (done.name, done.success, done.output) == ("mcp__agent-memory__recall", True, None)


def test_what_we_put_into_a_prompt_is_not_recorded_again() -> None:
    note = fence.fence("the port is 5433")
    assert bodies("UserPromptSubmit", prompt=f"Fix it.\n{note}") == [Prompt(text="Fix it.")]
    assert ended("Bash", f"{note}\nok").output == "ok"


def test_every_recorded_call_has_one_id_from_beginning_to_end() -> None:
    calls = [event.body for event in recorded() if isinstance(event.body, ToolCall)]
    begun = {call.tool_use_id for call in calls if call.output is None and call.success is None}
    over = [call.tool_use_id for call in calls if call.output is not None or call.success is not None]
    assert len(over) == len(set(over)) == 12
    assert set(over) < begun
    assert len(begun) == 15  # three failed, of which hooks tell the beginning alone


def test_recorded_prompts_are_told_once_and_with_their_kind() -> None:
    prompts = [(e.body.text, e.body.kind) for e in recorded() if isinstance(e.body, Prompt)]
    assert prompts == [
        ("Count the moorings, please.", "user"),
        ("Write it down.", "user"),
        ("Send a scout.", "user"),
        ("Scout the south quay", "subagent"),
        ("Work in code.", "user"),
    ]
