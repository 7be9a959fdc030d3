"""Hook payloads of Claude Code as Events."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from agent_memory import agents
from agent_memory.agents.claude_code import payload
from agent_memory.errors import AgentMemoryError
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

AT = datetime(2026, 11, 3, 9, 0, tzinfo=UTC)


def told(event: str, **fields: Any) -> list[Event]:
    base = {"session_id": "s1", "cwd": "/p", "transcript_path": "/t.jsonl", "hook_event_name": event}
    return payload.events({**base, **fields}, AT)


def bodies(event: str, **fields: Any) -> list[Body]:
    return [e.body for e in told(event, **fields)]


def call(event: str, **fields: Any) -> ToolCall:
    given = {"tool_name": "Bash", "tool_input": {"command": "ls"}, "tool_use_id": "t1", **fields}
    (body,) = bodies(event, **given)
    assert isinstance(body, ToolCall)
    return body


def test_an_event_says_where_and_when_and_by_whom() -> None:
    (event,) = told("UserPromptSubmit", prompt="hi", prompt_id="p1", agent_id="a1", agent_type="Explore")
    assert event == Event(
        agent="claude",
        session_id="s1",
        occurred_at=AT,
        body=Prompt(text="hi"),
        cwd="/p",
        prompt_id="p1",
        subagent_id="a1",
        subagent_type="Explore",
        transcript_path="/t.jsonl",
    )


def test_a_session_starts_and_ends() -> None:
    assert bodies("SessionStart", source="resume") == [SessionStart(source="resume")]
    assert bodies("SessionEnd", reason="clear") == [SessionEnd(reason="clear")]


def test_a_background_tasks_end_is_no_users_prompt() -> None:
    assert bodies("UserPromptSubmit", prompt="<task-notification>\n<task-id>a</task-id>") == [
        Prompt(text="<task-notification>\n<task-id>a</task-id>", kind="task_notification")
    ]
    assert bodies("UserPromptSubmit", prompt="what is a <task-notification>?") == [
        Prompt(text="what is a <task-notification>?", kind="user")
    ]


def test_a_slash_command_is_a_users_prompt() -> None:
    assert bodies("UserPromptSubmit", prompt="/cover clock.py") == [
        Prompt(text="/cover clock.py", kind="user")
    ]


def test_what_we_injected_is_cut_from_a_prompt() -> None:
    prompt = f"{fence.fence('an old note')}\nfix it"
    assert bodies("UserPromptSubmit", prompt=prompt) == [Prompt(text="fix it")]


def test_a_call_begins_and_ends() -> None:
    assert call("PreToolUse") == ToolCall(tool_use_id="t1", name="Bash", input={"command": "ls"})
    ended = call(
        "PostToolUse", tool_response={"stdout": "a\nb", "stderr": "warning", "isImage": False}, duration_ms=42
    )
    assert (ended.success, ended.output, ended.duration_ms) == (True, "a\nb\nwarning", 42)


def test_a_failed_call_says_why() -> None:
    failed = call("PostToolUseFailure", error="Exit code 3\noops", is_interrupt=False, duration_ms=11)
    assert (failed.success, failed.error, failed.output) == (False, "Exit code 3\noops", None)
    stopped = call("PostToolUseFailure", error="Exit code 137", is_interrupt=True)
    assert stopped.error == "interrupted by the user: Exit code 137"


@pytest.mark.parametrize("name", ["mcp__agent-memory__recall", "mcp__plugin_agent-memory_memory__search"])
def test_our_own_tools_keep_their_row_and_lose_their_output(name: str) -> None:
    ended = call("PostToolUse", tool_name=name, tool_input={"query": "x"}, tool_response="an old note")
    assert (ended.name, ended.input, ended.success, ended.output) == (name, {"query": "x"}, True, None)


def test_another_memorys_tools_keep_their_output() -> None:
    assert call("PostToolUse", tool_name="mcp__agent-memory-2__recall", tool_response="x").output == "x"
    assert call("PostToolUse", tool_name="mcp__mem__search", tool_response="x").output == "x"


def test_what_we_injected_is_cut_from_an_output() -> None:
    stdout = f"before\n{fence.fence('an old note')}\nafter"
    ended = call("PostToolUse", tool_response={"stdout": stdout, "stderr": ""})
    assert ended.output == "before\n\nafter"


def test_a_subagents_last_message_is_its_own() -> None:
    (event,) = told(
        "SubagentStop", agent_id="a1", agent_type="Explore", last_assistant_message=" Two files.\n"
    )
    assert event.body == AssistantMessage(text="Two files.")
    assert (event.subagent_id, event.subagent_type) == ("a1", "Explore")


def test_the_clients_own_helpers_are_not_recorded() -> None:
    assert told("SubagentStop", agent_id="a1", agent_type="", last_assistant_message="A summary") == []


def test_a_stop_is_the_answer_and_the_turns_end_even_beside_background_tasks() -> None:
    running = [{"id": "a1", "type": "subagent", "status": "running"}]
    assert bodies("Stop", last_assistant_message="Done.", background_tasks=running) == [
        AssistantMessage(text="Done."),
        TurnEnd(),
    ]
    assert bodies("Stop") == [TurnEnd()]


def test_a_failed_stop_says_why() -> None:
    assert bodies("StopFailure", error="overloaded", last_assistant_message="API Error: 529") == [
        TurnEnd(error="overloaded: API Error: 529")
    ]
    assert bodies("StopFailure", error="unknown", last_assistant_message="API Error: 400 bad") == [
        TurnEnd(error="API Error: 400 bad")
    ]
    assert bodies("StopFailure", error="rate_limit", error_details="until 5 pm") == [
        TurnEnd(error="rate_limit: until 5 pm")
    ]
    assert bodies("StopFailure", error="rate_limit") == [TurnEnd(error="rate_limit")]


def test_a_compactions_summary_is_kept_without_the_thoughts_before_it() -> None:
    summary = "<analysis>\nhm\n</analysis>\n\n<summary>\n1. Files: a.py\n</summary>"
    assert bodies("PostCompact", trigger="auto", compact_summary=summary) == [
        AssistantMessage(text="1. Files: a.py", kind="compact_summary")
    ]
    assert bodies("PostCompact", trigger="auto", compact_summary="Just words.") == [
        AssistantMessage(text="Just words.", kind="compact_summary")
    ]


@pytest.mark.parametrize("event", sorted(payload.NOT_RECORDED))
def test_some_events_are_known_and_not_recorded(event: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        assert told(event) == []
    assert caplog.messages == []


def test_an_event_of_a_newer_client_is_passed_over_with_a_notice(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        assert told("DreamStart") == []
    assert "DreamStart" in caplog.text


@pytest.mark.parametrize(
    ("fields", "missing"),
    [
        ({"session_id": "s1"}, "`hook_event_name` in the payload"),
        ({"hook_event_name": "Stop"}, "`session_id` in the Stop payload"),
        ({"hook_event_name": "Stop", "session_id": ""}, "`session_id` in the Stop payload"),
        (
            {"hook_event_name": "UserPromptSubmit", "session_id": "s"},
            "`prompt` in the UserPromptSubmit payload",
        ),
        ({"hook_event_name": "PreToolUse", "session_id": "s", "tool_name": "Bash"}, "`tool_use_id`"),
    ],
)
def test_a_payload_without_what_it_needs_is_refused_in_words(fields: dict[str, Any], missing: str) -> None:
    with pytest.raises(ValueError, match=missing):
        payload.events(fields, AT)


def test_a_tools_input_that_is_no_object_is_kept_in_one() -> None:
    assert call("PreToolUse", tool_input="ls").input == {"input": "ls"}
    assert call("PreToolUse", tool_input=None).input == {}


def test_agents_are_found_by_name_and_an_unknown_one_is_refused() -> None:
    assert callable(agents.normaliser("claude"))
    with pytest.raises(AgentMemoryError, match=r"nobody.*Known agents: .*claude"):
        agents.normaliser("nobody")
