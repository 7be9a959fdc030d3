"""Cursor's hook payloads as Events. The payloads are invented, in the shapes that Cursor documents."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from agent_memory.agents.cursor import AGENT, INTERRUPTED, events
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
PAYLOADS = Path(__file__).parent.parent / "fixtures" / "cursor" / "hook_payloads.jsonl"


def recorded() -> list[Event]:
    lines = PAYLOADS.read_text(encoding="utf-8").split("\n")
    return [event for line in lines if line for event in events(json.loads(line), AT)]


def payload(name: str, **more: Any) -> dict[str, Any]:
    return {"hook_event_name": name, "conversation_id": "c1", "generation_id": "g1", **more}


def test_a_session_is_told_whole_and_each_call_once() -> None:
    told = [event.body for event in recorded()]
    assert [type(body) for body in told] == [
        SessionStart,
        Prompt,
        *[ToolCall] * 5,
        AssistantMessage,
        TurnEnd,
        SessionEnd,
    ]
    assert told[1] == Prompt(text="The tide table is wrong for Dover. Mend it.")
    assert told[-3] == AssistantMessage(text="Dover is 5 now.")
    assert told[-1] == SessionEnd(reason="user_close")


def test_what_only_says_again_what_post_tool_use_says_is_left_out() -> None:
    again = ("preToolUse", "afterShellExecution", "afterMCPExecution", "afterFileEdit", "afterAgentThought")
    for name in again:
        assert events(payload(name, command="ls", tool_name="x"), AT) == []


def test_an_exit_code_makes_a_failure_and_an_error_too() -> None:
    calls = {e.body.tool_use_id: e.body for e in recorded() if isinstance(e.body, ToolCall)}
    assert calls["toolu_b"].success is True
    assert (calls["toolu_c"].success, calls["toolu_c"].error) == (False, "Exit code 1\n1 failed")
    assert calls["toolu_c"].duration_ms == 900
    assert (calls["toolu_d"].success, calls["toolu_d"].error) == (False, "Command timed out after 30s")


def test_our_own_tools_answers_are_not_recorded() -> None:
    ours = next(
        e.body for e in recorded() if isinstance(e.body, ToolCall) and e.body.tool_use_id == "toolu_e"
    )
    assert (ours.name, ours.output) == ("mcp__agent-memory__recall", None)


def test_the_users_address_is_nowhere() -> None:
    assert "harbour.master" in PAYLOADS.read_text(encoding="utf-8")
    assert "harbour.master" not in repr(recorded())


def test_every_event_says_where_by_what_and_for_which_prompt() -> None:
    for event in recorded():
        assert (event.agent, event.session_id, event.prompt_id) == (AGENT, "conv-7d1", "gen-1")
        assert (event.cwd, event.model, event.agent_version) == ("/home/dev/harbour", "gpt-5.6", "3.9.2")
        assert event.occurred_at == AT


def test_a_turn_that_was_broken_off_says_so() -> None:
    (event,) = events(payload("stop", status="aborted"), AT)
    assert event.body == TurnEnd(error=INTERRUPTED)
    (event,) = events(payload("stop", status="error"), AT)
    assert event.body == TurnEnd(error="error")


def test_what_is_not_known_is_no_error_and_what_is_broken_is_one_in_words() -> None:
    assert events(payload("workspaceOpen"), AT) == []
    with pytest.raises(ValueError, match="no text `tool_use_id`"):
        events(payload("postToolUse", tool_name="Shell"), AT)
