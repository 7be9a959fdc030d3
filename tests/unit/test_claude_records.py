"""Records of Claude Code's transcripts, one after the other, as Events."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from agent_memory.agents.claude_code import compaction, reasons
from agent_memory.agents.claude_code.records import Conversation, Record
from agent_memory.journal import fence
from agent_memory.journal.event import AssistantMessage, Event, Prompt, ToolCall, TurnEnd


class Session:
    """A conversation that is being written: each record follows the one before it, unless it says otherwise."""

    def __init__(self, **conversation: Any) -> None:
        self.conversation = Conversation(session_id="file", **conversation)
        self.count = itertools.count(1)
        self.parent: str | None = None

    def read(self, kind: str, **fields: Any) -> tuple[list[Event], list[str]]:
        number = next(self.count)
        record: Record = {
            "type": kind,
            "uuid": f"u{number}",
            "parentUuid": self.parent,
            "timestamp": f"2026-11-03T09:00:{number:02d}.000Z",
            "sessionId": "s1",
            "cwd": "/p",
            "version": "2.1.330",
            "gitBranch": "main",
            **fields,
        }
        self.parent = record["uuid"]
        return self.conversation.read(record)

    def user(self, content: Any, **fields: Any) -> tuple[list[Event], list[str]]:
        return self.read("user", message={"role": "user", "content": content}, **fields)

    def assistant(
        self, *blocks: Any, model: str = "claude-x", **fields: Any
    ) -> tuple[list[Event], list[str]]:
        message = {"id": "m1", "model": model, "content": list(blocks), **fields.pop("message", {})}
        return self.read("assistant", message=message, **fields)

    def call(self, name: str = "Bash", call_id: str = "t1", **given: Any) -> Event:
        (event,), _ = self.assistant({"type": "tool_use", "id": call_id, "name": name, "input": given})
        return event

    def result(self, content: Any, call_id: str = "t1", *, error: bool = False, **fields: Any) -> ToolCall:
        block = {"type": "tool_result", "tool_use_id": call_id, "content": content, "is_error": error}
        (event,), _ = self.user([block], **fields)
        assert isinstance(event.body, ToolCall)
        return event.body


def text(words: str) -> dict[str, str]:
    return {"type": "text", "text": words}


def test_a_prompt_has_the_clients_prompt_id_or_its_own_uuid() -> None:
    session = Session(transcript_path="/t/s1.jsonl")
    (event,), _ = session.user("hello", promptId="p1")
    assert event == Event(
        agent="claude",
        session_id="s1",
        occurred_at=event.occurred_at,
        body=Prompt(text="hello"),
        cwd="/p",
        prompt_id="p1",
        agent_version="2.1.330",
        git_branch="main",
        transcript_path="/t/s1.jsonl",
    )
    assert event.occurred_at.isoformat() == "2026-11-03T09:00:01+00:00"
    (event,), _ = session.user("again")
    assert event.prompt_id == "u2"


def test_what_follows_a_prompt_is_driven_by_it_across_lines_of_other_kinds() -> None:
    session = Session()
    session.user("hello")
    session.read("progress", data={"type": "hook_progress"})
    session.read("attachment", attachment={"type": "environment"})
    (message,), _ = session.assistant(text("Hi."))
    assert (message.prompt_id, message.model) == ("u1", "claude-x")
    assert message.body == AssistantMessage(text="Hi.", uuid="u4")
    assert session.call(command="ls").prompt_id == "u1"


def test_a_branch_belongs_to_the_prompt_it_branches_from() -> None:
    session = Session()
    session.user("first")
    session.assistant(text("One."))
    session.user("second")
    session.parent = "u2"
    (event,), _ = session.assistant(text("One, again."))
    assert event.prompt_id == "u1"


def test_a_record_whose_parent_is_unknown_belongs_to_the_last_prompt() -> None:
    session = Session()
    session.user("first")
    session.parent = "elsewhere"
    (event,), _ = session.assistant(text("One."))
    assert event.prompt_id == "u1"


def test_an_automatic_compaction_does_not_end_the_turn() -> None:
    session = Session()
    session.user("first")
    session.read("system", subtype="compact_boundary", parentUuid=None, logicalParentUuid="u1")
    (summary,), _ = session.user(
        "This session is being continued from a previous conversation that ran out of context.\n\nSummary:\nAll of it."
        "\n\nIf you need specific details from before compaction (…), read /x.jsonl",
        isCompactSummary=True,
    )
    assert summary.body == AssistantMessage(text="All of it.", kind="compact_summary", uuid="u3")
    (after,), _ = session.assistant(text("Going on."))
    assert summary.prompt_id == after.prompt_id == "u1"


@pytest.mark.parametrize(
    "told_by_client",
    [
        "This session is being continued from a previous conversation that ran out of context. The summary below "
        "covers the earlier portion of the conversation.\n\nAnalysis:\nI think.\n\nSummary:\n1. Do.\n   It.\n\nIf you "
        "need specific details from before compaction (like code), read the full transcript at: /x.jsonl",
        "This session is being continued from a previous conversation that ran out of context. The conversation is "
        "summarized below:\n1. Do.\n   It.\nPlease continue the conversation from where we left it off.",
        "<analysis>I think.</analysis>\n<summary>\n1. Do.\n   It.\n</summary>",
        "<analysis>I think.</analysis>\n1. Do.\n   It.",
        "1. Do.\n   It.",
    ],
)
def test_a_summary_is_the_same_text_whoever_tells_it(told_by_client: str) -> None:
    assert compaction.summary(told_by_client) == "1. Do.\n   It."


def test_a_local_command_is_no_prompt_to_the_model() -> None:
    session = Session()
    _, skipped = session.user("<local-command-caveat>…</local-command-caveat>", isMeta=True)
    assert skipped == [reasons.META]
    (event,), _ = session.user(
        "<command-name>/compact</command-name>\n  <command-message>compact</command-message>\n"
        "  <command-args>keep names</command-args>"
    )
    assert event.body == Prompt(text="/compact keep names", kind="command")
    assert session.user("<local-command-stdout>Done</local-command-stdout>") == ([], [reasons.COMMAND_OUTPUT])
    (event,), _ = session.user("<bash-input>ls -l</bash-input>")
    assert event.body == Prompt(text="! ls -l", kind="command")
    assert session.user("<bash-stdout>x</bash-stdout>") == ([], [reasons.COMMAND_OUTPUT])


def test_a_command_with_a_prompt_is_what_the_user_typed() -> None:
    session = Session()
    (event,), _ = session.user(
        "<command-message>cover</command-message>\n<command-name>/cover</command-name>"
    )
    assert event.body == Prompt(text="/cover", kind="user")


def test_a_message_typed_while_the_agent_works_joins_its_turn() -> None:
    session = Session()
    session.user("first", promptId="p1")
    queued = {"type": "queued_command", "prompt": "and this", "commandMode": "prompt"}
    (event,), _ = session.read("attachment", attachment=queued)
    assert (event.body, event.prompt_id) == (Prompt(text="and this"), "p1")
    queued = {"type": "queued_command", "prompt": "<task-notification>x", "commandMode": "task-notification"}
    (event,), _ = session.read("attachment", attachment=queued)
    assert event.body == Prompt(text="<task-notification>x", kind="task_notification")
    assert session.read("attachment", attachment={**queued, "isMeta": True}) == ([], [reasons.META])


def test_what_the_editor_adds_to_a_prompt_is_left_out() -> None:
    session = Session()
    events, skipped = session.user([text("<ide_opened_file>a.py</ide_opened_file>"), text("explain it")])
    assert [e.body for e in events] == [Prompt(text="explain it")]
    assert skipped == [reasons.EDITOR_NOTE]


def test_a_picture_in_a_prompt_is_counted_and_named_where_there_is_no_text() -> None:
    picture = {"type": "image", "source": {"type": "base64", "data": "A" * 4000}}
    session = Session()
    events, skipped = session.user([text("what is this?"), picture])
    assert [e.body for e in events] == [Prompt(text="what is this?")]
    assert skipped == [reasons.IMAGE]
    events, _ = session.user([picture])
    assert [e.body for e in events] == [Prompt(text="[image, 3 kB]")]


def test_a_call_and_its_result_are_told_under_one_id() -> None:
    session = Session()
    session.user("go", promptId="p1")
    begun = session.call("Bash", command="ls")
    assert begun.body == ToolCall(tool_use_id="t1", name="Bash", input={"command": "ls"})
    ended = session.result("out", toolUseResult={"stdout": "out", "stderr": "warn", "durationMs": 7})
    assert ended == ToolCall(
        tool_use_id="t1",
        name="Bash",
        input={"command": "ls"},
        output="out\nwarn",
        success=True,
        duration_ms=7,
    )


def test_a_result_without_a_structured_form_gives_the_text_that_the_model_saw() -> None:
    session = Session()
    session.call("Bash")
    assert session.result([text("one"), text("two")]).output == "one\ntwo"
    session.call("WebSearch", "t2")
    assert session.result("Links: …", "t2", toolUseResult={"query": "x", "results": []}).output == "Links: …"


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ("Exit code 3\noops", "Exit code 3\noops"),
        ("<tool_use_error>File does not exist.</tool_use_error>", "File does not exist."),
        (
            "The user doesn't want to proceed with this tool use. The tool use was rejected (…). STOP what you are "
            "doing and wait for the user to tell you how to proceed.",
            "rejected by the user",
        ),
        (
            "The user doesn't want to proceed with this tool use. The tool use was rejected (…). To tell you how to "
            "proceed, the user said:\nuse make",
            "rejected by the user; the user said: use make",
        ),
        (
            "The user doesn't want to proceed with this tool use. (…) Correction to the text above: this call was "
            "stopped while running, not refused before it ran.",
            "Request interrupted by user: the call was stopped while it ran",
        ),
    ],
)
def test_a_failed_call_says_why(content: str, error: str) -> None:
    session = Session()
    session.call("Bash")
    ended = session.result(content, error=True, toolUseResult=f"Error: {content}")
    assert (ended.success, ended.error, ended.output) == (False, error, None)


def test_our_own_tools_lose_their_output_and_fences_are_cut() -> None:
    session = Session()
    session.call("mcp__agent-memory__recall", query="x")
    assert session.result("an old note").output is None
    session.call("Bash", "t2")
    assert session.result(f"a\n{fence.fence('an old note')}\nb", "t2").output == "a\n\nb"
    (event,), _ = session.user(f"{fence.fence('x')} go")
    assert event.body == Prompt(text="go")


def test_a_result_whose_call_is_not_there_is_counted() -> None:
    block = {"type": "tool_result", "tool_use_id": "t9", "content": "x"}
    assert Session().user([block]) == ([], [reasons.ORPHAN])


def test_an_interruption_ends_the_turn() -> None:
    session = Session()
    session.user("go", promptId="p1")
    for words in ("[Request interrupted by user]", "[Request interrupted by user for tool use]"):
        (event,), _ = session.user([text(words)])
        assert (event.body, event.prompt_id) == (TurnEnd(error="interrupted by the user"), "p1")
    (event,), _ = session.user([text("[Request interrupted by user]"), text("do that instead")])
    assert event.body == Prompt(text="do that instead")


def test_an_api_error_ends_the_turn_and_is_no_message() -> None:
    session = Session()
    session.user("go")
    (event,), _ = session.assistant(
        text("API Error: 529"), model="<synthetic>", isApiErrorMessage=True, error="overloaded"
    )
    assert (event.body, event.model) == (TurnEnd(error="overloaded: API Error: 529"), None)
    assert session.assistant(text("No response requested."), model="<synthetic>") == (
        [],
        [reasons.CLIENTS_TEXT],
    )


def test_a_turn_ends_with_the_answer_or_with_the_clients_word() -> None:
    session = Session()
    session.user("go", promptId="p1")
    events, _ = session.assistant(text("Done."), message={"stop_reason": "end_turn"})
    assert [e.body for e in events] == [AssistantMessage(text="Done.", uuid="u2"), TurnEnd()]
    (event,), _ = session.read("system", subtype="turn_duration", durationMs=9)
    assert (event.body, event.prompt_id) == (TurnEnd(), "p1")
    assert session.read("system", subtype="stop_hook_summary") == ([], [reasons.SYSTEM])


def test_usage_is_told_once_for_each_response_of_the_api() -> None:
    session = Session()
    usage = {"output_tokens": 9}
    _, skipped = session.assistant({"type": "thinking", "thinking": "hm"}, message={"usage": usage})
    assert skipped == [reasons.THINKING]
    bodies = [
        session.assistant(text(words), message={"id": response, "usage": usage})[0][0].body
        for words, response in [("one", "m1"), ("two", "m1"), ("three", "m2")]
    ]
    assert [b.usage for b in bodies if isinstance(b, AssistantMessage)] == [usage, None, usage]


def test_a_subagents_file_belongs_to_the_session_and_to_the_parents_prompt() -> None:
    session = Session(subagent_type="Explore")
    (prompt,), _ = session.user("count", promptId="p1", agentId="a1", isSidechain=True)
    assert (prompt.body, prompt.prompt_id) == (Prompt(text="count", kind="subagent"), "u1")
    call, result = (
        {"type": "tool_use", "id": "t1", "name": "Bash", "input": {}},
        {"type": "tool_result", "tool_use_id": "t1", "content": "3"},
    )
    (begun,), _ = session.assistant(call, agentId="a1", isSidechain=True)
    (ended,), _ = session.user([result], promptId="p1", agentId="a1", isSidechain=True)
    message, end = session.assistant(
        text("Three."), agentId="a1", isSidechain=True, message={"stop_reason": "end_turn"}
    )[0]
    for event in (begun, ended, message):
        assert (event.prompt_id, event.subagent_id, event.subagent_type) == ("p1", "a1", "Explore")
    assert (end.body, end.prompt_id) == (TurnEnd(), "u1")


def test_a_subagents_type_is_learnt_from_its_records() -> None:
    session = Session()
    session.user("count", agentId="a1", isSidechain=True)
    (event,), _ = session.assistant(text("Hm."), agentId="a1", isSidechain=True, attributionAgent="Plan")
    assert event.subagent_type == "Plan"


def test_an_old_subagents_file_that_names_no_prompt_is_driven_by_its_own() -> None:
    session = Session()
    session.user("count", agentId="a1", isSidechain=True)
    (event,), _ = session.assistant(text("Hm."), agentId="a1", isSidechain=True)
    assert (event.prompt_id, event.subagent_id) == ("u1", "a1")


def test_an_old_subagent_within_the_sessions_file_is_named_after_its_first_record() -> None:
    session = Session()
    session.user("go", promptId="p1")
    session.parent = None
    (prompt,), _ = session.user("count", isSidechain=True)
    assert (prompt.body, prompt.prompt_id) == (Prompt(text="count", kind="subagent"), "u2")
    (event,), _ = session.assistant(text("Hm."), isSidechain=True)
    assert (event.prompt_id, event.subagent_id) == ("p1", "u2")
    session.parent = "u1"
    (event,), _ = session.assistant(text("Main again."))
    assert (event.prompt_id, event.subagent_id) == ("p1", None)


@pytest.mark.parametrize(
    "agent", ["acompact-946d2b", "aprompt_suggestion-33a4cf", "aside_question-0a1b2c3d4e5f6071"]
)
def test_the_clients_own_helpers_are_not_recorded(agent: str) -> None:
    session = Session()
    assert session.user("Summarise.", agentId=agent, isSidechain=True) == ([], [reasons.HELPER])
    (event,), _ = Session().user("Count.", agentId="areviewer-33a4cf", isSidechain=True)
    assert event.subagent_id == "areviewer-33a4cf"


def test_a_copy_within_the_file_is_told_once_and_what_follows_it_belongs_to_the_original() -> None:
    session = Session()
    first = {"timestamp": "2026-11-03T09:00:01.000Z"}
    second = {"timestamp": "2026-11-03T09:00:02.000Z"}
    third = {"timestamp": "2026-11-03T09:00:03.000Z"}
    for copied in (False, True):
        session.parent = None
        seen = [
            session.user("go", **first),
            session.assistant(text("Hm."), **second),
            session.assistant({"type": "tool_use", "id": "t1", "name": "Bash", "input": {}}, **second),
            session.user([{"type": "tool_result", "tool_use_id": "t1", "content": "x"}], **third),
            session.user([text("[Request interrupted by user]")], **third),
        ]
        if copied:
            assert seen == [([], [reasons.COPY])] * 5
        else:
            assert all(events for events, _ in seen)
    (event,), _ = session.assistant(text("New."))
    assert event.prompt_id == "u1"


def test_a_record_written_twice_is_told_once() -> None:
    session = Session()
    session.user("go", uuid="same")
    assert session.user("go", uuid="same") == ([], [reasons.COPY])


def test_a_branched_sessions_beginning_is_its_parents() -> None:
    session = Session(transcript_path="/t/s1.jsonl")
    origin = {"forkedFrom": {"sessionId": "parent", "messageUuid": "u1"}}
    (event,), _ = session.user("go", promptId="p1", **origin)
    assert (event.session_id, event.transcript_path, event.prompt_id) == ("parent", None, "p1")
    (event,), _ = session.user("now", promptId="p2")
    assert (event.session_id, event.transcript_path) == ("s1", "/t/s1.jsonl")


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({"type": "summary", "summary": "x", "leafUuid": "u"}, reasons.OLD_SUMMARY),
        ({"type": "queue-operation", "operation": "enqueue"}, reasons.METADATA),
        ({"type": "progress", "uuid": "u", "data": {}}, reasons.PROGRESS),
        ({"type": "dream", "uuid": "u"}, reasons.UNKNOWN),
        ({"type": "dream"}, reasons.UNKNOWN),
        ({}, reasons.UNKNOWN),
        ({"type": "user", "message": {"content": "no uuid"}}, reasons.MALFORMED),
        ({"type": "user", "uuid": "u", "message": {"content": "no time"}}, reasons.MALFORMED),
        ({"type": "user", "uuid": "u", "timestamp": "2026-11-03T09:00:00Z"}, reasons.MALFORMED),
        (
            {
                "type": "assistant",
                "uuid": "u",
                "timestamp": "2026-11-03T09:00:00Z",
                "message": {"content": [7]},
            },
            reasons.MALFORMED,
        ),
        (
            {
                "type": "attachment",
                "uuid": "u",
                "timestamp": "2026-11-03T09:00:00Z",
                "attachment": {"type": "date"},
            },
            reasons.ATTACHMENT,
        ),
        (
            {
                "type": "attachment",
                "uuid": "u",
                "timestamp": "2026-11-03T09:00:00Z",
                "attachment": {"type": "hook_success", "stdout": "an old note"},
            },
            reasons.HOOK_OUTPUT,
        ),
        (
            {"type": "user", "uuid": "u", "timestamp": "2026-11-03T09:00:00Z", "message": {"content": ""}},
            reasons.EMPTY,
        ),
        (
            {"type": "user", "uuid": "u", "timestamp": "2026-11-03T09:00:00Z", "message": {"content": []}},
            reasons.EMPTY,
        ),
    ],
)
def test_what_is_not_recorded_has_a_reason(record: Record, reason: str) -> None:
    assert Conversation(session_id="s").read(record) == ([], [reason])
