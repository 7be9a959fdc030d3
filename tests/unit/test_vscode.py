"""VS Code's hook payloads as Events. The payloads are invented, in the shapes that Microsoft documents."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from agent_memory.agents import vscode
from agent_memory.agents.claude_code import payload as claude_code
from agent_memory.agents.copilot import payload as copilot
from agent_memory.agents.vscode import AGENT, events
from agent_memory.journal.event import Event, Prompt, SessionStart, ToolCall, TurnEnd

AT = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
FIXTURES = Path(__file__).parent.parent / "fixtures"


def payloads(agent: str) -> list[dict[str, Any]]:
    text = (FIXTURES / agent / "hook_payloads.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.split("\n") if line]


def recorded() -> list[Event]:
    return [event for payload in payloads("vscode") for event in events(payload, AT)]


def test_a_session_is_told_with_the_beginning_and_the_end_of_each_call() -> None:
    told = [event.body for event in recorded()]
    assert told[:2] == [SessionStart(source="new"), Prompt(text="Rename the quay.")]
    assert told[-1] == TurnEnd()
    calls = [(body.tool_use_id, body.success) for body in told if isinstance(body, ToolCall)]
    assert calls == [("tool-1", None), ("tool-1", True), ("tool-2", None), ("tool-3", None), ("tool-3", True)]


def test_a_call_that_fails_is_left_as_begun_since_vs_code_tells_no_more() -> None:
    (call,) = [e.body for e in recorded() if isinstance(e.body, ToolCall) and e.body.tool_use_id == "tool-2"]
    assert call.success is None


def test_our_own_tools_answers_are_not_recorded() -> None:
    ours = [e.body for e in recorded() if isinstance(e.body, ToolCall) and e.body.tool_use_id == "tool-3"]
    assert {(call.name, call.output) for call in ours} == {("mcp__agent-memory__recall", None)}


def test_every_event_says_where_and_when() -> None:
    told = recorded()
    assert {(event.agent, event.session_id, event.cwd) for event in told} == {
        (AGENT, "vs-41", "/home/dev/harbour")
    }
    assert told[0].occurred_at == datetime(2026, 11, 23, 10, 0, tzinfo=UTC)


def test_the_hook_of_another_agent_that_vs_code_runs_reads_its_payloads() -> None:
    for own in (copilot.events, claude_code.events):
        for payload in payloads("vscode"):
            assert vscode.shared(own)(payload, AT) == events(payload, AT)
    for told in payloads("copilot"):
        if told["event"][0].isupper():
            assert vscode.shared(claude_code.events)(told["payload"], AT) == copilot.events(
                told["payload"], AT
            )
    typed = {"hook_event_name": "UserPromptSubmit", "session_id": "s", "prompt": "Go"}
    for own in (copilot.events, claude_code.events):
        assert vscode.shared(own)(typed, AT) == own(typed, AT) != []


def test_our_hook_for_vs_code_reads_what_copilot_cli_gives_to_it() -> None:
    for told in payloads("copilot"):
        payload = told["payload"]
        assert vscode.events(payload, AT) == copilot.events(payload, AT)


def test_what_is_broken_is_said_in_words() -> None:
    with pytest.raises(ValueError, match="no text `sessionId`"):
        events({"hookEventName": "Stop"}, AT)
    with pytest.raises(ValueError, match="no text `tool_use_id`"):
        events({"hookEventName": "PreToolUse", "sessionId": "s", "tool_name": "x"}, AT)
    assert events({"hookEventName": "SomethingNew", "sessionId": "s"}, AT) == []
