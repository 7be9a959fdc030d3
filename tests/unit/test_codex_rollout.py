"""Records of Codex rollouts as Events: all that hooks do not tell, and what older versions wrote."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from agent_memory.agents import json_lines
from agent_memory.agents.codex import records, transcript
from agent_memory.agents.json_lines import MALFORMED, Line
from agent_memory.journal import fence
from agent_memory.journal.event import AssistantMessage, Event, Prompt, SessionStart, ToolCall, TurnEnd

SESSIONS = sorted((Path(__file__).parent.parent / "fixtures" / "codex" / "sessions").glob("*.jsonl"))
PLAIN, MAIN, SCOUT, CODE = SESSIONS

THREAD = "01a2069f-98e3-7232-9aea-36ee50053159"
TURN = "01a2069f-99ed-7200-b091-0583297725e1"
META = {"id": THREAD, "session_id": THREAD, "cwd": "/p", "cli_version": "0.169.0", "git": {"branch": "main"}}


def read(
    *told: tuple[str, dict[str, Any]], meta: dict[str, Any] | None = None
) -> list[tuple[list[Event], list[str]]]:
    """What each of these records tells, behind the first line of a rollout."""
    rollout = records.Rollout(transcript_path="/r.jsonl")
    lines: Sequence[tuple[str, dict[str, Any]]] = [("session_meta", meta or META), *told]
    return [
        rollout.read({"timestamp": f"2026-11-23T09:00:{n:02}.000Z", "type": kind, "payload": payload})
        for n, (kind, payload) in enumerate(lines)
    ][1:]


def bodies(*told: tuple[str, dict[str, Any]], meta: dict[str, Any] | None = None) -> list[Any]:
    return [event.body for events, _ in read(*told, meta=meta) for event in events]


def event_msg(kind: str, /, **fields: Any) -> tuple[str, dict[str, Any]]:
    return "event_msg", {"type": kind, **fields}


def item(kind: str, /, **fields: Any) -> tuple[str, dict[str, Any]]:
    return event_msg("item_completed", turn_id=TURN, item={"type": kind, **fields})


def call(name: str, arguments: Any, **fields: Any) -> tuple[str, dict[str, Any]]:
    given = {"name": name, "arguments": json.dumps(arguments), "call_id": "c1"}
    return "response_item", {"type": "function_call", **given, **fields}


def answer(output: Any) -> tuple[str, dict[str, Any]]:
    return "response_item", {"type": "function_call_output", "call_id": "c1", "output": output}


def last(*told: tuple[str, dict[str, Any]]) -> ToolCall:
    (found,) = (body for body in bodies(*told)[-1:] if isinstance(body, ToolCall))
    return found


STARTED = event_msg("task_started", turn_id=TURN)


def test_an_event_says_where_and_when_and_by_whom() -> None:
    ((events, _),) = read(STARTED, item("UserMessage", content=[{"type": "text", "text": "hi"}]))[1:]
    (event,) = events
    assert (event.agent, event.session_id, event.prompt_id) == ("codex", THREAD, TURN)
    assert (event.cwd, event.agent_version, event.git_branch) == ("/p", "0.169.0", "main")
    assert (event.transcript_path, event.subagent_id) == ("/r.jsonl", None)
    assert event.body == Prompt(text="hi")


def test_a_command_that_failed_says_so() -> None:
    end = item(
        "CommandExecution",
        id="c1",
        command=["/bin/bash", "-lc", "make; exit 3"],
        status="failed",
        aggregated_output="no rule\n",
        exit_code=3,
        duration={"secs": 1, "nanos": 500_000_000},
    )
    assert last(STARTED, call("exec_command", {"cmd": "make; exit 3"}), end) == ToolCall(
        tool_use_id="c1",
        name="Bash",
        input={"command": "make; exit 3"},
        success=False,
        error="Exit code 3\nno rule",
        duration_ms=1500,
    )


def test_a_command_of_a_script_has_its_input_from_its_end() -> None:
    end = item(
        "CommandExecution", id="exec-1", command=["zsh", "-lc", "ls"], aggregated_output="a\n", exit_code=0
    )
    assert last(end) == ToolCall(
        tool_use_id="exec-1", name="Bash", input={"command": "ls"}, success=True, output="a\n"
    )


def test_a_command_that_runs_on_is_ended_by_its_own_end_alone() -> None:
    running = answer("Chunk ID: 1\nWall time: 1.0 seconds\nProcess running with session ID 7\nOutput:\nhalf")
    events, skipped = read(STARTED, call("exec_command", {"cmd": "make"}), running)[-1]
    assert (events, skipped) == ([], [records.RUNNING])


@pytest.mark.parametrize(
    ("output", "success", "said"),
    [
        ("Chunk ID: 1\nWall time: 0.1 seconds\nProcess exited with code 0\nOutput:\nok\n", True, "ok\n"),
        ("Wall time: 0.1 seconds\nProcess exited with code 2\nOutput:\nno\n", False, "Exit code 2\nno"),
        (
            "Wall time: 0.1 seconds\nOutput:\nExit code: 0\nWall time: 0 seconds\nOutput:\nM a\n",
            True,
            "M a\n",
        ),
        ("Wall time: 3.4 seconds\naborted by user", False, "aborted by user"),
        ("exec_command failed: no such shell", False, "exec_command failed: no such shell"),
        ('{"output":"old\\n","metadata":{"exit_code":1,"duration_seconds":0.1}}', False, "old"),
        ("unsupported call: exec_command", False, "unsupported call: exec_command"),
    ],
)
def test_a_result_without_a_better_line_is_read_as_the_model_got_it(
    output: str, success: bool, said: str
) -> None:
    found = last(STARTED, call("exec_command", {"cmd": "make"}), answer(output))
    assert found.success is success
    assert (found.output or found.error) == said


def test_a_result_is_not_told_twice() -> None:
    end = item("CommandExecution", id="c1", command=["sh", "-c", "ls"], aggregated_output="a\n", exit_code=0)
    told = read(
        STARTED, call("exec_command", {"cmd": "ls"}), end, answer("Wall time: 0 seconds\nOutput:\na\n")
    )
    assert told[-1] == ([], [records.TOLD])


def test_a_script_that_failed_says_why() -> None:
    begin = ("response_item", {"type": "custom_tool_call", "name": "exec", "input": "x()", "call_id": "c1"})
    end = [
        {"type": "input_text", "text": "Script failed\nWall time 0.0 seconds\nOutput:\n"},
        {"type": "input_text", "text": "Script error:\nno x"},
    ]
    found = last(STARTED, begin, answer(end))
    assert (found.name, found.input, found.success) == ("exec", {"input": "x()"}, False)
    assert found.error == "Script error:\nno x"


def test_our_own_tools_keep_their_row_without_their_answer() -> None:
    result = {"content": [{"type": "text", "text": "the key is under the mat"}]}
    about = {"server": "agent-memory", "tool": "recall", "arguments": {}, "status": "completed"}
    end = item("McpToolCall", id="c1", **about, result=result)
    found = last(STARTED, call("recall", {"query": "key"}, namespace="mcp__agent_memory"), end)
    assert (found.name, found.success, found.output) == ("mcp__agent-memory__recall", True, None)


def test_what_we_put_in_front_of_the_model_is_not_recorded_again() -> None:
    note = fence.fence("the port is 5433")
    message = {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": note}]}
    prompt = item("UserMessage", content=[{"type": "text", "text": f"Fix it.\n{note}"}])
    assert bodies(STARTED, ("response_item", message), prompt) == [Prompt(text="Fix it.")]


def test_what_a_hook_has_the_model_do_is_no_prompt() -> None:
    told = read(STARTED, item("HookPrompt", id="h1", fragments=[{"text": "Run the tests."}]))
    assert told[-1] == ([], [records.HOOK_PROMPT])


def test_a_summary_is_told_without_the_words_around_it() -> None:
    preamble = "Another language model started to solve this problem … in your own analysis:\n"
    assert bodies(STARTED, ("compacted", {"message": preamble + "We count moorings."})) == [
        AssistantMessage(text="We count moorings.", kind="compact_summary")
    ]


def test_a_turn_ends_well_or_with_its_error() -> None:
    ends = bodies(
        STARTED,
        event_msg("task_complete", turn_id=TURN, last_agent_message="Done."),
        event_msg("task_complete", turn_id=TURN, error={"message": "quota", "codex_error_info": "other"}),
        event_msg("turn_aborted", turn_id=TURN, reason="interrupted"),
    )
    assert ends == [TurnEnd(), TurnEnd(error="quota"), TurnEnd(error="interrupted by the user")]


def test_a_fork_does_not_tell_its_parents_turns_again() -> None:
    fork = META | {
        "id": "01a2069f-c000-7232-9aea-36ee50053159",
        "session_id": "01a2069f-c000-7232-9aea-36ee50053159",
    }
    own = "01a2069f-c001-7200-b091-0583297725e1"
    text = [{"type": "text", "text": "hi"}]
    told = read(
        ("session_meta", META),
        STARTED,
        event_msg("item_completed", turn_id=TURN, item={"type": "UserMessage", "content": text}),
        event_msg("task_started", turn_id=own),
        event_msg("item_completed", turn_id=own, item={"type": "UserMessage", "content": text}),
        meta=fork,
    )
    assert [reasons for _, reasons in told[:3]] == [[records.COPY]] * 3
    assert [event.prompt_id for events, _ in told for event in events] == [own]


def test_rollouts_of_2025_are_read_too() -> None:
    meta = {"id": "s-old", "cwd": "/p", "cli_version": "0.46.0", "git": None}
    told = read(
        (
            "response_item",
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "count"}]},
        ),
        event_msg("user_message", message="count", kind="plain"),
        ("turn_context", {"cwd": "/p", "model": "gpt-5-codex"}),
        event_msg("agent_reasoning", text="…"),
        call("shell", {"command": ["bash", "-lc", "ls"], "timeout_ms": 1000}),
        answer('{"output":"a\\n","metadata":{"exit_code":0,"duration_seconds":0.1}}'),
        event_msg("agent_message", message="One file."),
        event_msg("token_count", info={"last_token_usage": {"input_tokens": 7}}),
        meta=meta,
    )
    events = [event for found, _ in told for event in found]
    ended = ToolCall(tool_use_id="c1", name="Bash", input={"command": "ls"}, success=True, output="a\n")
    assert [event.body for event in events] == [
        Prompt(text="count"),
        ToolCall(tool_use_id="c1", name="Bash", input={"command": "ls"}),
        ended,
        AssistantMessage(text="One file."),
    ]
    assert {(event.session_id, event.prompt_id, event.subagent_id) for event in events} == {
        ("s-old", None, None)
    }
    assert events[-1].model == "gpt-5-codex"


def test_rollouts_of_early_2026_are_read_too() -> None:
    command = {"command": ["/bin/zsh", "-lc", "cat x"], "aggregated_output": "no x\n", "exit_code": 1}
    ends = bodies(
        STARTED,
        event_msg(
            "exec_command_end",
            call_id="c1",
            turn_id=TURN,
            **command,
            duration={"secs": 0, "nanos": 5_000_000},
        ),
        event_msg(
            "mcp_tool_call_end",
            call_id="c2",
            invocation={"server": "tides", "tool": "high_water", "arguments": {"harbour": "Dover"}},
            result={"Ok": {"content": [{"type": "text", "text": "04:12"}], "isError": False}},
        ),
        event_msg(
            "mcp_tool_call_end",
            call_id="c3",
            invocation={"server": "tides", "tool": "x"},
            result={"Err": "no"},
        ),
        event_msg(
            "patch_apply_end",
            call_id="c4",
            success=True,
            stdout="Success.",
            changes={"/p/a": {"type": "add"}},
        ),
    )
    assert [(end.name, end.success, end.output, end.error) for end in ends] == [
        ("Bash", False, None, "Exit code 1\nno x"),
        ("mcp__tides__high_water", True, "04:12", None),
        ("mcp__tides__x", False, None, "no"),
        ("apply_patch", True, "Success.", None),
    ]


@pytest.mark.parametrize(
    "record",
    [
        {},
        {"type": "event_msg", "payload": None, "timestamp": "2026-11-23T09:00:00Z"},
        {"type": "event_msg", "payload": {"type": "item_completed"}, "timestamp": "2026-11-23T09:00:00Z"},
        {"type": "event_msg", "payload": {"type": "task_complete"}, "timestamp": "yesterday"},
        {"type": "event_msg", "payload": {"type": "task_complete"}},
    ],
)
def test_a_broken_record_is_counted_and_nothing_more(record: dict[str, Any]) -> None:
    assert records.Rollout("/r.jsonl").read(record) == ([], [MALFORMED])


def test_a_kind_that_is_not_known_is_counted() -> None:
    told = read(
        ("weather", {}), event_msg("storm"), item("Lightning"), ("response_item", {"type": "thunder"})
    )
    assert told == [([], [records.UNKNOWN])] * 4


def test_every_line_of_our_files_is_told_or_skipped_for_a_reason() -> None:
    for file in SESSIONS:
        lines = list(transcript.read(file))
        assert len(lines) == len(file.read_bytes().splitlines())
        assert lines[-1].end == file.stat().st_size
        for line in lines:
            assert line.events or line.skipped
            assert not {MALFORMED, records.UNKNOWN, records.NO_SESSION} & set(line.skipped), line


def test_a_file_that_is_read_on_tells_what_is_new_and_nothing_else() -> None:
    whole = list(transcript.read(PLAIN))
    for line in whole:
        assert told_by(transcript.read(PLAIN, line.end)) == told_by(
            one for one in whole if one.end > line.end
        )


def told_by(lines: Any) -> list[Event]:
    return [event for line in lines for event in line.events if not isinstance(event.body, AssistantMessage)]


def test_a_message_has_the_tokens_of_its_response() -> None:
    told = [event.body for line in transcript.read(PLAIN) for event in line.events]
    messages = [body for body in told if isinstance(body, AssistantMessage)]
    assert [message.text for message in messages] == [
        "I look at the list first.",
        "There are 20 moorings now.",
        "It is in total.txt.",
    ]
    assert all(message.usage and message.usage["output_tokens"] == 20 for message in messages)
    assert len({message.uuid for message in messages}) == 3


def test_a_subagents_file_tells_of_the_subagent_in_its_session() -> None:
    events = [event for line in transcript.read(SCOUT) for event in line.events]
    (session,) = {event.session_id for event in events}
    (subagent,) = {event.subagent_id for event in events}
    assert session == next(iter(transcript.read(MAIN))).events[0].session_id != subagent
    assert {(event.subagent_type, event.transcript_path) for event in events} == {("default", str(SCOUT))}
    assert not any(isinstance(event.body, SessionStart) for event in events)


def test_a_sessions_files_are_its_own_and_its_subagents() -> None:
    assert transcript.of_session(MAIN) == [MAIN, SCOUT]
    assert transcript.of_session(PLAIN) == [PLAIN]
    assert transcript.of_session(SCOUT) == [SCOUT]
    assert transcript.of_session(PLAIN.with_name("rollout-gone.jsonl")) == []


def test_the_tally_counts_what_was_told_and_what_was_not() -> None:
    lines: list[Line] = list(transcript.read(CODE))
    counted = json_lines.tally(lines)
    assert counted["prompt: user"] == 1
    assert counted["message"] == 2
    assert counted["turn end"] == 1
    assert sum(counted.values()) == sum(len(line.events) + len(line.skipped) for line in lines)
