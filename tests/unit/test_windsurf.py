"""Windsurf's hook payloads as Events. The payloads are invented, in the shapes that Windsurf documents."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from agent_memory.agents.windsurf import AGENT, events
from agent_memory.journal.event import AssistantMessage, Event, Prompt, ToolCall, TurnEnd

AT = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
PAYLOADS = Path(__file__).parent.parent / "fixtures" / "windsurf" / "hook_payloads.jsonl"


def payloads() -> list[dict[str, Any]]:
    return [json.loads(line) for line in PAYLOADS.read_text(encoding="utf-8").split("\n") if line]


def recorded() -> list[Event]:
    """Each payload came in a file of its own, a millisecond after the one before."""
    return [
        event
        for number, payload in enumerate(payloads())
        for event in events(payload, AT + timedelta(milliseconds=number))
    ]


def test_a_turn_is_told_from_its_prompt_to_its_end() -> None:
    told = [event.body for event in recorded()]
    assert told[0] == Prompt(text="Paint the lighthouse.")
    assert [type(body) for body in told[1:7]] == [ToolCall] * 6
    assert told[7:] == [
        AssistantMessage(text="### Planner Response\n\nThe lighthouse is white."),
        TurnEnd(),
    ]


def test_the_same_command_twice_is_two_calls_and_the_same_file_twice_is_one() -> None:
    runs = [e.body for e in recorded() if isinstance(e.body, ToolCall) and e.body.name == "run_command"]
    assert len({call.tool_use_id for call in runs}) == 2
    once, again = (events(payloads()[3], AT)[0].body for _ in range(2))
    assert once == again


def test_how_a_command_ended_is_left_open_where_windsurf_does_not_say() -> None:
    (run,) = events(payloads()[3], AT)
    assert isinstance(run.body, ToolCall)
    assert run.body.success is None
    assert run.body.input == {"command": "make paint", "cwd": "/home/dev/harbour"}
    failed = payloads()[3]
    failed["payload"]["tool_info"] |= {"exit_code": 2, "output": "no paint"}
    (run,) = events(failed, AT)
    assert isinstance(run.body, ToolCall)
    assert (run.body.success, run.body.error) == (False, "Exit code 2\nno paint")


def test_mcp_tools_have_the_name_that_they_have_under_every_agent_and_ours_no_answer() -> None:
    calls = {e.body.name: e.body for e in recorded() if isinstance(e.body, ToolCall)}
    assert calls["mcp__tides__high_water"].output == "04:12"
    assert calls["mcp__agent-memory__recall"].output is None


def test_every_event_says_where_and_for_which_prompt() -> None:
    assert {(e.agent, e.session_id, e.prompt_id, e.cwd, e.model) for e in recorded()} == {
        (AGENT, "traj-9", "exec-1", "/home/dev/harbour", "SWE-2")
    }


def test_a_payload_that_came_without_our_line_around_it_is_read_too() -> None:
    (run,) = events(payloads()[3]["payload"], AT)
    assert run.cwd == "/home/dev/harbour"  # its own
    (prompt,) = events(payloads()[0]["payload"], AT)
    assert prompt.cwd is None


def test_what_is_not_known_is_no_error_and_what_is_broken_is_one_in_words() -> None:
    assert events({"agent_action_name": "post_new_thing", "trajectory_id": "t"}, AT) == []
    with pytest.raises(ValueError, match="no text `trajectory_id`"):
        events({"agent_action_name": "pre_user_prompt"}, AT)
    with pytest.raises(ValueError, match="no text `user_prompt`"):
        events({"agent_action_name": "pre_user_prompt", "trajectory_id": "t", "tool_info": {}}, AT)
