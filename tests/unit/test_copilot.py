"""Copilot CLI's hook payloads and session files as Events."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from agent_memory.agents.copilot import transcript
from agent_memory.agents.copilot.payload import AGENT, events
from agent_memory.agents.json_lines import tally
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
FIXTURES = Path(__file__).parent.parent / "fixtures" / "copilot"
EVENTS_FILE = FIXTURES / "events.jsonl"
SESSION = "s1"


def recorded(*, pascal: bool = True) -> list[Event]:
    """What hooks that are configured in PascalCase, or in camelCase, were told of the session in the fixture."""
    lines = (FIXTURES / "hook_payloads.jsonl").read_text(encoding="utf-8").split("\n")
    told = [json.loads(line) for line in lines if line]
    payloads = [one["payload"] for one in told if one["event"][0].isupper() is pascal]
    return [event for payload in payloads for event in events(payload, AT)]


def read(file: Path = EVENTS_FILE) -> list[Event]:
    return [event for line in transcript.read(file) for event in line.events]


def of(kind: type[Any], told: list[Event]) -> list[Event]:
    return [event for event in told if isinstance(event.body, kind)]


def bodies(kind: type[Any], told: list[Event]) -> list[Any]:
    return [event.body for event in of(kind, told)]


def id_of(event: Event) -> str | None:
    return event.body.tool_use_id if isinstance(event.body, ToolCall) else event.prompt_id


def hook(event: str, **more: Any) -> dict[str, Any]:
    about = {"session_id": SESSION, "timestamp": "2026-11-23T08:00:00.123Z", "cwd": "/home/dev/harbour"}
    return {"hook_event_name": event, **about, **more}


def ended(text: str, **more: Any) -> dict[str, Any]:
    result = {"result_type": "success", "text_result_for_llm": text}
    given = {"tool_name": "Bash", "tool_input": {"command": "make"}, "tool_result": result}
    return hook("PostToolUse", **given | more)


def only(payload: dict[str, Any]) -> Any:
    (event,) = events(payload, AT)
    return event.body


def lines_of(tmp_path: Path, *records: tuple[str, dict[str, Any]]) -> Path:
    """A session file with these (type, data), a second apart."""
    file = tmp_path / SESSION / "events.jsonl"
    file.parent.mkdir()
    with file.open("w", encoding="utf-8") as out:
        for number, (kind, data) in enumerate(records):
            at = f"2026-11-23T08:00:{number:02d}.000Z"
            record = {"type": kind, "data": data, "id": f"e{number}", "timestamp": at, "parentId": None}
            out.write(json.dumps(record) + "\n")
    return file


def test_hooks_tell_each_prompt_and_each_call_once() -> None:
    told = recorded()
    assert [(prompt.text, prompt.kind) for prompt in bodies(Prompt, told)] == [
        ("Look after the harbour", "user"),
        ("Count the boats please", "subagent"),
        ("And now the lighthouse", "user"),
    ]
    calls = bodies(ToolCall, told)
    assert len(calls) == len({call.tool_use_id for call in calls}) == 8
    assert sum(call.input.get("command") == "echo same" for call in calls) == 2
    assert [start.source for start in bodies(SessionStart, told)] == ["new", "resume"]
    assert len(bodies(TurnEnd, told)) == len(bodies(SessionEnd, told)) == 2


def test_both_ways_to_configure_hooks_tell_the_same() -> None:
    def shown(event: Event) -> tuple[Any, ...]:
        return event.session_id, event.occurred_at, event.prompt_id, event.subagent_id, event.cwd

    pascal = {e.body.tool_use_id: shown(e) for e in recorded() if isinstance(e.body, ToolCall)}
    camel = {e.body.tool_use_id: shown(e) for e in recorded(pascal=False) if isinstance(e.body, ToolCall)}
    assert len(camel) == 7  # no postToolUseFailure was configured in the camelCase way
    assert camel.items() <= pascal.items()
    names = {call.tool_use_id: call.name for call in bodies(ToolCall, recorded())}
    assert all(names[call.tool_use_id] == call.name for call in bodies(ToolCall, recorded(pascal=False)))


def test_the_session_file_tells_prompts_and_calls_under_the_same_ids_as_hooks() -> None:
    from_hooks, from_file = recorded(), read()
    for kind in (ToolCall, Prompt):
        hooked = {id_of(event): event for event in of(kind, from_hooks)}
        filed = {id_of(event): event for event in of(kind, from_file)}
        assert hooked.keys() == filed.keys()
        for id_, event in hooked.items():
            other = filed[id_]
            assert (event.session_id, event.subagent_id) == (other.session_id, other.subagent_id)
            assert (event.subagent_type, event.cwd) == (other.subagent_type, other.cwd)
    calls = {call.tool_use_id: call for call in bodies(ToolCall, from_file)}
    for call in bodies(ToolCall, from_hooks):
        other = calls[call.tool_use_id]
        assert other.duration_ms is not None
        assert call == replace(other, duration_ms=None)


def test_every_line_of_the_file_is_accounted_for() -> None:
    lines = list(transcript.read(EVENTS_FILE))
    assert len(lines) == EVENTS_FILE.read_bytes().count(b"\n")
    assert all(line.events or line.skipped for line in lines)
    assert f"skipped: {transcript.UNKNOWN}" not in tally(lines)
    assert lines[-1].end == EVENTS_FILE.stat().st_size


def test_reading_goes_on_where_it_was_left() -> None:
    whole = list(transcript.read(EVENTS_FILE))
    for cut in (0, 30, len(whole) - 1):
        rest = list(transcript.read(EVENTS_FILE, whole[cut].end))
        assert rest == whole[cut + 1 :]


def test_the_file_tells_what_hooks_do_not() -> None:
    told = read()
    messages = of(AssistantMessage, told)
    said = [message.text for message in bodies(AssistantMessage, [e for e in told if not e.subagent_id])]
    assert said == ["I look first.", "All done.", "Lit."]
    for event in messages:
        assert isinstance(event.body, AssistantMessage)
        assert event.body.usage == {
            "input_tokens": 100,
            "output_tokens": 20,
            "cache_read_input_tokens": 0,
            "cache_creation_input_tokens": 0,
        }
    assert {event.agent_version for event in told} == {"1.0.102"}
    assert {event.git_branch for event in told} == {"main"}
    assert {event.model for event in told} == {"gpt-4.1"}
    first, second = (event.prompt_id for event in of(Prompt, told) if not event.subagent_id)
    assert {event.prompt_id for event in of(ToolCall, told)} == {first, second}


def test_a_command_that_failed_is_a_failure_though_copilot_calls_it_a_success() -> None:
    failed = only(ended("boom\n<shellId: 4 completed with exit code 2>"))
    assert (failed.success, failed.error, failed.output) == (False, "Exit code 2\nboom", None)
    done = only(ended("fine\n<shellId: 4 completed with exit code 0>"))
    assert (done.success, done.error, done.output) == (True, None, "fine")


def test_words_like_copilots_own_stay_in_the_middle_of_an_output() -> None:
    text = "<shellId: 1 completed with exit code 9>\nand more"
    assert only(ended(text)).output == text


def test_a_tool_that_failed_tells_why() -> None:
    payload = hook(
        "PostToolUseFailure", tool_name="Read", tool_input={"path": "/x"}, error="Path does not exist"
    )
    call = only(payload)
    assert (call.success, call.error, call.input) == (False, "Path does not exist", {"path": "/x"})
    refused = only(ended("no", tool_result={"result_type": "denied", "text_result_for_llm": "no"}))
    assert (refused.success, refused.error) == (False, "no")


def test_the_same_payload_has_the_same_id_and_a_later_call_another() -> None:
    first, again = only(ended("a")), only(ended("a"))
    later = only(ended("a", timestamp="2026-11-23T08:00:00.124Z"))
    assert first.tool_use_id == again.tool_use_id != later.tool_use_id
    in_milliseconds = only(ended("a", timestamp=1795420800123))
    assert in_milliseconds.tool_use_id == first.tool_use_id


def test_our_own_tools_answers_are_not_recorded() -> None:
    call = only(ended("what was remembered", tool_name="agent-memory-recall", tool_input={"query": "port"}))
    assert (call.name, call.output, call.success) == ("mcp__agent-memory__recall", None, True)


def test_a_subagents_end_ends_no_turn_and_tells_what_it_said() -> None:
    of_subagent = {"agent_id": "a1", "agent_type": "explore", "parent_agent_id": SESSION}
    assert events(hook("Stop", **of_subagent) | {"session_id": "a1"}, AT) == []
    (event,) = events(hook("SubagentStop", last_assistant_message="None.", **of_subagent), AT)
    assert event.body == AssistantMessage(text="None.")
    assert (event.session_id, event.subagent_id, event.subagent_type) == (SESSION, "a1", "explore")


def test_permission_requests_and_unknown_events_tell_nothing() -> None:
    assert events({"hookName": "permissionRequest", "sessionId": SESSION, "toolName": "bash"}, AT) == []
    assert events({"sessionId": SESSION, "toolName": "bash", "toolArgs": {}}, AT) == []  # preToolUse
    assert events(hook("SomethingNew"), AT) == []
    assert events({"sessionId": SESSION, "trigger": "auto"}, AT) == []
    assert (
        events({"sessionId": SESSION, "hookEventName": "UserPromptSubmit", "prompt": "VS Code's"}, AT) == []
    )


def test_what_is_missing_is_said_in_words() -> None:
    with pytest.raises(ValueError, match="no text `session_id`"):
        events({"hook_event_name": "Stop"}, AT)
    with pytest.raises(ValueError, match="no text `prompt`"):
        events(hook("UserPromptSubmit"), AT)


def test_without_hooks_the_file_keeps_the_clients_own_ids(tmp_path: Path) -> None:
    file = lines_of(
        tmp_path,
        ("session.start", {"sessionId": SESSION, "context": {"cwd": "/home/dev/harbour"}}),
        ("user.message", {"content": "Fix it", "messageId": "m1"}),
        (
            "tool.execution_start",
            {"toolCallId": "call_1", "toolName": "bash", "arguments": {"command": "make"}},
        ),
        ("tool.execution_complete", {"toolCallId": "call_1", "success": True, "result": {"content": "ok"}}),
    )
    start, prompt, call = read(file)
    assert isinstance(start.body, SessionStart)
    assert (prompt.prompt_id, call.prompt_id) == ("m1", "m1")
    assert isinstance(call.body, ToolCall)
    assert (call.body.tool_use_id, call.body.name, call.body.output) == ("call_1", "Bash", "ok")
    assert call.body.duration_ms == 1000
    assert call.agent == AGENT


def test_a_call_that_never_ended_is_told_when_its_end_can_no_longer_come(tmp_path: Path) -> None:
    begun = (
        "tool.execution_start",
        {"toolCallId": "call_1", "toolName": "bash", "arguments": {"command": "make"}},
    )
    file = lines_of(tmp_path, begun)
    assert read(file) == []
    with file.open("a", encoding="utf-8") as out:
        out.write(
            json.dumps({"type": "abort", "data": {"reason": "user"}, "timestamp": "2026-11-23T08:01:00Z"})
            + "\n"
        )
    call, end = (event.body for event in read(file))
    assert call == ToolCall(tool_use_id="call_1", name="Bash", input={"command": "make"})
    assert end == TurnEnd(error=transcript.INTERRUPTED)


def test_only_what_a_person_typed_is_a_users_prompt(tmp_path: Path) -> None:
    file = lines_of(
        tmp_path,
        ("user.message", {"content": "Fix it", "messageId": "m1"}),
        ("user.message", {"content": "<skill>…</skill>", "messageId": "m2", "source": "skill-pdf"}),
        ("user.message", {"content": "Go on", "messageId": "m3", "isAutopilotContinuation": True}),
    )
    kinds = {event.prompt_id: event.body.kind for event in read(file) if isinstance(event.body, Prompt)}
    assert kinds == {"m1": "user", "m3": "task_notification"}


def test_a_compactions_summary_and_errors_are_told(tmp_path: Path) -> None:
    file = lines_of(
        tmp_path,
        ("session.compaction_complete", {"success": True, "summaryContent": "So far: …"}),
        ("session.compaction_complete", {"success": False, "error": "no"}),
        ("session.error", {"errorType": "quota", "message": "used up"}),
    )
    summary, error = (event.body for event in read(file))
    assert summary == AssistantMessage(text="So far: …", kind="compact_summary", uuid="e0")
    assert error == TurnEnd(error="quota: used up")


def test_broken_and_unknown_lines_are_counted(tmp_path: Path) -> None:
    file = lines_of(
        tmp_path, ("brand.new", {}), ("tool.execution_complete", {"toolCallId": "x", "success": True})
    )
    with file.open("ab") as out:
        out.write(b'{"type": 5}\n\n{"half": ')
    lines = list(transcript.read(file))
    assert [line.skipped[0] for line in lines] == [
        transcript.UNKNOWN,
        transcript.ORPHAN,
        "not a whole record",
        "empty",
    ]


def test_a_real_session_is_told_whole_by_hooks_and_by_its_file(shared_data: Path) -> None:
    """Counted by an own reading of the recording."""
    folder = shared_data / "copilot_cli_1.0.102"
    hooks = [
        json.loads(one)
        for one in (folder / "hook_payloads.jsonl").read_text(encoding="utf-8").split("\n")
        if one
    ]
    (file,) = (folder / "session-state").iterdir()
    lines = [json.loads(one) for one in file.read_text(encoding="utf-8").split("\n") if one]
    ended = {
        one["data"]["toolCallId"]: one["data"] for one in lines if one["type"] == "tool.execution_complete"
    }
    begun = [one["data"] for one in lines if one["type"] == "tool.execution_start"]
    typed = [one["data"]["content"] for one in lines if one["type"] == "user.message"]
    said = [
        one["data"]["content"]
        for one in lines
        if one["type"] == "assistant.message" and one["data"]["content"]
    ]
    from_file = read(file)
    for pascal in (True, False):
        payloads = [hook["stdin"] for hook in hooks if hook["event_arg"][0].isupper() is pascal]
        from_hooks = [event for payload in payloads for event in events(payload, AT)]
        for told in (from_hooks, from_file):
            calls = bodies(ToolCall, told)
            assert [call.input for call in calls] == [call["arguments"] for call in begun]
            assert [call.success for call in calls] == [
                ended[call["toolCallId"]]["success"]
                and not ended[call["toolCallId"]].get("shellExecution", {}).get("exitCode")
                for call in begun
            ]
            assert [prompt.text for prompt in bodies(Prompt, told)] == typed
        for kind in (ToolCall, Prompt):
            assert [id_of(event) for event in of(kind, from_hooks)] == [
                id_of(event) for event in of(kind, from_file)
            ]
    assert [message.text for message in bodies(AssistantMessage, from_file)] == said
    kept = list(transcript.read(file))
    assert len(kept) == len(lines)
    assert f"skipped: {transcript.UNKNOWN}" not in tally(kept)
