"""The conversations with tools held out: every one can be solved, and what goes wrong in one is seen and stops it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from agent_memory.finetune.gguf import chat, pretend, scenarios
from agent_memory.finetune.gguf.chat import Transcript
from agent_memory.finetune.gguf.scenarios import SCENARIOS, Scenario
from agent_memory.finetune.training.score import Message

Answer = Callable[..., Message]


def named(name: str) -> Scenario:
    return next(one for one in SCENARIOS if one.name == name)


def called(name: str, /, **arguments: Any) -> Message:
    function = {"name": name, "arguments": json.dumps(arguments)}
    return {
        "role": "assistant",
        "content": "",
        "finish": "tool_calls",
        "tool_calls": [{"id": "c", "type": "function", "function": function}],
    }


def said(text: str, finish: str = "stop") -> Message:
    return {"role": "assistant", "content": text, "finish": finish}


def scripted(*messages: Message) -> Answer:
    left = iter(messages)
    return lambda *_, **__: next(left)


def always(message: Message) -> Answer:
    return lambda *_, **__: dict(message)


def play(scenario: Scenario, answer: Answer) -> Transcript:
    return chat.play(answer, scenario, max_tokens=64)


def knows(scenario: Scenario) -> Answer:
    """A model that does what is wanted, and ends each of the user's turns with the last result, or a question."""
    wants: Iterator[Any] = iter(scenario.wants)
    each = len(scenario.wants) // len(scenario.says)
    left = each

    def answer(messages: list[Message], tools: list[dict[str, Any]], *, max_tokens: int) -> Message:
        nonlocal left
        if messages[-1]["role"] == "user":
            left = each
        if left:
            left -= 1
            name, arguments = next(wants)
            return called(name, **arguments)
        if scenario.kind == "vague":
            return said("Which one do you mean?")
        if messages[-1]["role"] == "tool":
            return said(f"Done: {messages[-1]['content']}")
        return said(f"That is {scenario.reply}.")

    return answer


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda one: one.name)
def test_each_conversation_is_solved_by_who_does_what_is_wanted(scenario: Scenario) -> None:
    told = play(scenario, knows(scenario))
    assert told.solved, told.why
    assert told.valid == told.calls == len(scenario.wants)


def test_there_are_twenty_conversations_of_several_turns_and_the_names_are_unique() -> None:
    assert sum(one.kind in ("chain", "failure", "again") for one in SCENARIOS) >= 20
    assert len({one.name for one in SCENARIOS}) == len(SCENARIOS)
    assert {name for one in SCENARIOS for name in one.tools} <= set(pretend.TOOLS)


def test_the_same_call_for_the_third_time_ends_the_conversation() -> None:
    told = play(named("the rye"), always(called("flour_left", kind="rye")))
    assert (told.stopped, told.calls, told.solved) == ("loop", 3, False)
    assert told.messages[-1]["role"] == "assistant"


def test_a_model_that_calls_on_and_on_is_stopped() -> None:
    kinds = iter(range(100))
    told = play(named("the rye"), lambda *_, **__: called("flour_left", kind=f"rye {next(kinds)}"))
    assert (told.stopped, told.calls) == ("steps", chat.STEPS)


def test_an_answer_without_an_end_is_stopped() -> None:
    assert play(named("a sum"), always(said("and 5 and 5", finish="length"))).stopped == "length"


@pytest.mark.parametrize(
    "text",
    [
        '<tool_call>\n{"name": "flour_left", "arguments": {"kind": ',
        '{"name": "flour_left", "arguments": {"kind": "rye"}}',
        '```json\n{"name" : "flour_left", "arguments": {"kind": "rye"}}\n```',
    ],
)
def test_a_call_that_the_server_cannot_read_is_counted_and_not_done(text: str) -> None:
    told = play(named("the rye"), always(said(text)))
    assert (told.readable, told.unreadable, told.calls) == (0, 1, 0)


def test_a_wrong_call_gets_an_error_and_may_be_made_otherwise() -> None:
    told = play(
        named("the rye"),
        scripted(
            called("flour_left"),
            called("flour", kind="rye"),
            called("flour_left", kind="rye"),
            said("18 kg are left."),
        ),
    )
    results = [m["content"] for m in told.messages if m["role"] == "tool"]
    assert results == ["Error: 'kind' is a required property", "Error: there is no tool flour", "18"]
    assert (told.calls, told.valid, told.empty, told.solved) == (3, 1, 1, True)


def test_where_too_little_was_said_looking_and_asking_are_right_and_making_up_is_not() -> None:
    vague = named("renew what")
    assert play(vague, always(said("Which book is it?"))).solved
    assert not play(vague, always(said("I renewed it."))).solved
    made_up = play(vague, scripted(called("renew_loan", loan_id="L-999"), said("Done?")))
    assert (made_up.solved, made_up.made_up) == (False, ["l-999"])


def test_a_tool_where_none_helps_is_wrong() -> None:
    told = play(named("a sum"), scripted(called("flour_left", kind="rye"), said("It is 5.")))
    assert not told.solved


def transcripts(count: int = 20, **changed: Any) -> list[Transcript]:
    told = {"readable": 1, "calls": 1, "valid": 1, "solved": True, **changed}
    return [Transcript(scenario=f"s{n}", kind="chain", tools=[], **told) for n in range(count)]


def failed(tuned: list[Transcript], base: list[Transcript], *seen: str) -> list[str]:
    return [gate.name for gate in chat.judge(tuned, base, seen=set(seen)) if not gate.passed]


def test_each_gate_of_the_conversations_meets_what_it_is_for() -> None:
    good = transcripts()
    assert failed(good, good) == []
    assert failed(good, good, "flour_left", "Bash") == ["tools held out"]
    assert failed(transcripts(readable=0, calls=0), transcripts(solved=False)) == [
        "calls made",
        "calls that the server can read",
    ]
    assert failed([*transcripts(19), *transcripts(4, readable=0, unreadable=1)], transcripts(23)) == [
        "calls that the server can read"
    ]
    assert failed([*good[:19], *transcripts(1, stopped="loop")], good) == ["loops"]
    assert failed([*good[:19], *transcripts(1, empty=1)], good) == ["empty arguments"]
    assert failed(transcripts(solved=False), good) == ["solved, beside the base"]


def test_one_conversation_lost_by_chance_is_no_step_back() -> None:
    assert failed([*transcripts(19), *transcripts(1, solved=False)], transcripts()) == []


def test_values_that_a_result_named_are_not_made_up() -> None:
    messages = [
        {"role": "user", "content": "Renew Moby Dick."},
        {"role": "tool", "content": '{"loan_id": "L-204"}'},
    ]
    calls = [("find_loan", {"title": "Moby Dick"}), ("renew_loan", {"loan_id": "L-204"})]
    assert scenarios.invented(calls, messages) == []
    assert scenarios.invented([("renew_loan", {"loan_id": "L-20"})], messages) == ["l-20"]
