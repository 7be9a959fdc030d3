"""Cline's hook payloads as Events. The payloads are invented, in the shapes that Cline documents."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agent_memory.agents.cline import AGENT, INTERRUPTED, events
from agent_memory.journal.event import AssistantMessage, Event, Prompt, SessionStart, ToolCall, TurnEnd

AT = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
PAYLOADS = Path(__file__).parent.parent / "fixtures" / "cline" / "hook_payloads.jsonl"


def recorded() -> list[Event]:
    lines = PAYLOADS.read_text(encoding="utf-8").split("\n")
    return [event for line in lines if line for event in events(json.loads(line), AT)]


def test_a_task_is_told_whole_and_its_prompts_as_they_were_typed() -> None:
    told = [event.body for event in recorded()]
    assert told[:2] == [SessionStart(source="startup"), Prompt(text="Tar the boats.")]
    assert [type(body) for body in told[2:6]] == [ToolCall] * 4
    assert told[6:] == [
        AssistantMessage(text="The boats are tarred."),
        TurnEnd(),
        SessionStart(source="resume"),
        Prompt(text="And the oars."),
        TurnEnd(error=INTERRUPTED),
    ]


def test_each_call_is_one_and_its_end_is_told() -> None:
    calls = [event.body for event in recorded() if isinstance(event.body, ToolCall)]
    assert len({call.tool_use_id for call in calls}) == 4
    again = [event.body for event in recorded() if isinstance(event.body, ToolCall)]
    assert [call.tool_use_id for call in calls] == [call.tool_use_id for call in again]
    first, _, failed, ours = calls
    assert (first.name, first.output, first.success, first.duration_ms) == (
        "execute_command",
        "tarred",
        True,
        10,
    )
    assert (failed.success, failed.error, failed.output) == (False, "File not found", None)
    assert (ours.name, ours.input, ours.output) == ("mcp__agent-memory__recall", {"query": "tar"}, None)


def test_the_users_id_is_nowhere() -> None:
    assert "harbour-master-1" in PAYLOADS.read_text(encoding="utf-8")
    assert "harbour-master-1" not in repr(recorded())


def test_every_event_says_where_when_and_by_what() -> None:
    told = recorded()
    assert {(e.agent, e.session_id, e.cwd, e.model, e.agent_version) for e in told} == {
        (AGENT, "1795428000000", "/home/dev/harbour", "stand-in", "3.65.0")
    }
    assert told[0].occurred_at == datetime.fromtimestamp(1795428000, UTC)


def test_tags_within_a_prompt_stay() -> None:
    payload = {
        "hookName": "UserPromptSubmit",
        "taskId": "t",
        "userPromptSubmit": {"prompt": "What is <task> for?"},
    }
    (event,) = events(payload, AT)
    assert event.body == Prompt(text="What is <task> for?")


def test_what_is_not_known_is_no_error_and_what_is_broken_is_one_in_words() -> None:
    assert events({"hookName": "PreCompact", "taskId": "t"}, AT) == []
    with pytest.raises(ValueError, match="no text `taskId`"):
        events({"hookName": "TaskStart"}, AT)
    with pytest.raises(ValueError, match="no text `toolName`"):
        events({"hookName": "PostToolUse", "taskId": "t", "postToolUse": {}}, AT)
