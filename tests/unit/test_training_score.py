"""Each measure met by a planted answer, the intervals against numbers worked out elsewhere, and the gates over them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from tests.tiny_model import TOOLS, rows

from agent_memory.finetune.gates import Gate
from agent_memory.finetune.training import bar, questions
from agent_memory.finetune.training.interval import Rate, difference
from agent_memory.finetune.training.score import (
    MEASURES,
    Message,
    Question,
    Scores,
    ask,
    compare,
    judge,
    score,
)

BEFORE: list[Message] = [{"role": "system", "content": "."}, {"role": "user", "content": "Please test it"}]


def says(*calls: tuple[str, Any], content: str = "", **more: Any) -> Message:
    made = [{"type": "function", "function": {"name": name, "arguments": given}} for name, given in calls]
    return {"role": "assistant", "content": content, **({"tool_calls": made} if made else {}), **more}


CALL = ("Bash", {"command": "make test"})
OTHER = ("Read", {"path": "main.py"})


def question(expected: Message, last: Message | None = None, *, after_failure: bool = False) -> Question:
    messages = [*BEFORE, last, {"role": "tool", "content": "No."}] if last else BEFORE
    return Question(
        id="s/main/0#2", messages=messages, tools=TOOLS, expected=expected, after_failure=after_failure
    )


FIRST = question(says(CALL))
NEXT = question(says(OTHER), says(CALL))
FAILED = question(says(OTHER), says(CALL), after_failure=True)
WORDS = question(says(content="Done."))


@pytest.mark.parametrize(
    ("asked", "answer", "hits", "misses"),
    [
        (FIRST, says(CALL), "parse, valid, tool, arguments", "empty arguments, unknown tool, loops, cut off, secrets"),
        (FIRST, says(("Bash", '{"command": "make test"}')), "parse, valid, tool, arguments", ""),
        (FIRST, says(("Bash", {"command": " make test\n"})), "arguments", ""),
        (FIRST, says(("Bash", {"command": "make lint"})), "parse, valid, tool", "arguments"),
        (FIRST, says(CALL, OTHER), "parse, valid", "tool, arguments, loops"),
        (FIRST, says(("Bash", {"command": 7})), "parse, tool", "valid, arguments"),
        (FIRST, says(("Bash", "{command")), "", "parse, valid, tool, arguments"),
        (FIRST, says(("Bash", ["make test"])), "", "parse, valid, tool"),
        (FIRST, says(content="I would run make test."), "", "parse, valid, tool, arguments"),
        (FIRST, says(content='<tool_call>\n{"name": "Bash"'), "", "parse"),
        (FIRST, says(CALL, content="</tool_call>"), "", "parse"),
        (FIRST, says(CALL, finish="length"), "cut off", "parse, valid, tool, arguments"),
        (FIRST, says(("Bash", {})), "parse, empty arguments", "valid, unknown tool"),
        (FIRST, says(("Write", {"path": "a"})), "parse, unknown tool", "valid, tool"),
        (FIRST, says(CALL, CALL), "parse, valid, loops", "tool, arguments"),
        (FIRST, says(content="and then again " * 30), "loops", "parse"),
        (FIRST, says(content="password=" + "Tr0ub4dor&3xyzzy9"), "secrets", "parse"),
        (NEXT, says(OTHER), "parse, valid, multi-turn, arguments", "re-emits"),
        (NEXT, says(CALL), "parse, valid, re-emits", "multi-turn"),
        (NEXT, says(("Read", {})), "parse, empty arguments", "multi-turn, re-emits"),
        (question(says(CALL), says(CALL)), says(CALL), "multi-turn, arguments", ""),
        (FAILED, says(OTHER), "adapts, multi-turn", "re-emits"),
        (FAILED, says(CALL), "re-emits", "adapts, multi-turn"),
        (FAILED, says(content="It failed."), "", "adapts, multi-turn, parse"),
        (WORDS, says(CALL), "needless call", ""),
        (WORDS, says(content="Done!"), "", "needless call"),
        (WORDS, says(content="<tool_call>"), "needless call", ""),
    ],
)  # fmt: skip
def test_an_answer_is_judged(asked: Question, answer: Message, hits: str, misses: str) -> None:
    found = judge(asked, answer)

    def names(told: str) -> list[str]:
        return [name for name in told.split(", ") if name]

    assert set(names(hits) + names(misses)) <= MEASURES.keys()
    assert [name for name in names(hits) if found.get(name) is not True] == []
    assert [name for name in names(misses) if found.get(name) is not False] == []


def test_what_a_question_says_nothing_about_is_not_measured() -> None:
    assert {"parse", "multi-turn", "adapts", "re-emits"} & judge(WORDS, says(CALL)).keys() == set()
    assert {"needless call", "multi-turn", "adapts"} & judge(FIRST, says(CALL)).keys() == set()
    assert {"empty arguments", "unknown tool"} & judge(FIRST, says(content="No.")).keys() == set()
    assert "re-emits" not in judge(question(says(CALL), says(CALL)), says(CALL))


def test_a_model_that_never_calls_has_no_rate_to_be_proud_of() -> None:
    asked = [FIRST, replace(WORDS, id="another")]
    found = score(asked, [says(content="Well."), says(content="Done.")])
    assert (found.rates["parse"].hits, found.rates["parse"].of) == (0, 1)
    assert found.rates["empty arguments"].of == 0


def test_wilsons_interval_is_the_one_of_the_books() -> None:
    low, high = Rate(81, 263).interval  # Newcombe 1998, table I
    assert (round(low, 4), round(high, 4)) == (0.2553, 0.3662)
    assert Rate(0, 20).interval[0] == 0.0
    assert round(Rate(0, 20).interval[1], 4) == 0.1611
    assert Rate(0, 0).interval == (0.0, 1.0)


def test_the_interval_of_a_difference_of_pairs_holds_the_truth_about_95_times_in_100() -> None:
    rng = Random(1)
    draws = [
        difference(
            [(earlier := rng.random() < 0.6, rng.random() < (0.9 if earlier else 0.5)) for _ in range(60)]
        )
        for _ in range(500)
    ]
    truth = 0.6 * 0.9 + 0.4 * 0.5 - 0.6
    assert 0.92 < sum(found.low <= truth <= found.high for found in draws) / 500 < 0.99


def test_a_difference_is_known_for_pairs_that_are_alike_and_for_none() -> None:
    alike = difference([(True, True)] * 20)
    assert alike.value == 0.0
    assert alike.low < 0 < alike.high
    assert (difference([]).low, difference([]).high) == (-1.0, 1.0)


def test_the_same_questions_come_from_the_same_rows() -> None:
    told = rows(30, seed=1)
    first = questions.choose(told, 20)
    assert [q.id for q in first] == [q.id for q in questions.choose(reversed(told), 20)]
    calls = [q for q in first if q.expected.get("tool_calls")]
    assert len(calls) == 20
    assert 0 < sum(q.after_failure for q in first) <= 6
    assert len(first) - len(calls) == 5
    assert len({q.id.split("#")[0] for q in first}) > 15
    assert all(q.messages[-1]["role"] in ("user", "tool") for q in first)


def test_a_question_that_does_not_fit_is_not_asked() -> None:
    told = rows(10, seed=1)
    assert questions.choose(told, 5, lambda _: False) == []
    assert all(len(q.messages) < 4 for q in questions.choose(told, 5, lambda q: len(q.messages) < 4))


def of(count: int, answer: Message, asked: Question = FAILED) -> tuple[list[Question], list[Message]]:
    return [replace(asked, id=f"{n}") for n in range(count)], [answer] * count


def scores(*parts: tuple[int, Message]) -> Scores:
    asked, _ = of(sum(count for count, _ in parts), says())
    return score(asked, [answer for count, one in parts for answer in [one] * count])


def failed(scored: Scores, base: Scores, canaries: Rate | None = None) -> list[str]:
    return [gate.name for gate in bar.full(scored, base, canaries=canaries) if not gate.passed]


def warnings(gates: Iterable[Gate]) -> list[str]:
    return [gate.warning for gate in gates if gate.warning]


def test_a_model_that_learned_passes_the_bar() -> None:
    good, base = scores((120, says(OTHER))), scores((120, says(content="?")))
    assert failed(good, base) == []
    assert not warnings(bar.full(good, base))


def test_each_way_of_being_bad_meets_its_gate() -> None:
    base = scores((60, says(OTHER)), (60, says(content="?")))
    assert failed(scores((90, says(OTHER)), (30, says(content="?"))), base) == ["calls that can be read"]
    loops = failed(scores((120, says(CALL))), base)
    assert loops == ["multi-turn beside the base", "after a failure beside the base", "loops"]
    round_and_round = scores((120, says(OTHER, OTHER)))
    assert failed(round_and_round, round_and_round) == ["loops"]
    assert "empty arguments" in failed(scores((110, says(OTHER)), (10, says(("Read", {})))), base)
    assert failed(scores((120, says(OTHER))), base, Rate(1, 3)) == ["canaries"]
    assert failed(score([], []), score([], []))[0] == "questions"


def test_a_model_that_mostly_repeats_itself_does_not_pass_beside_a_base_that_never_calls() -> None:
    silent, repeats = scores((120, says(content="?"))), scores((50, says(OTHER)), (70, says(CALL)))
    assert failed(repeats, silent) == ["loops"]


def test_a_model_that_repeats_itself_is_warned_of_where_its_base_is_no_measure() -> None:
    silent, repeats = scores((120, says(content="?"))), scores((60, says(OTHER)), (60, says(CALL)))
    assert failed(repeats, silent) == []
    assert any("re-emits" in warning for warning in warnings(bar.full(repeats, silent)))


def test_few_questions_are_let_through_and_never_without_a_word() -> None:
    good = scores((5, says(OTHER)))
    gates = bar.full(good, good)
    assert all(gate.passed for gate in gates)
    assert {gate.name for gate in gates if gate.warning} >= {"questions", "multi-turn beside the base"}


def test_the_smoke_wants_three_calls_of_a_hundred() -> None:
    assert not bar.smoke(scores((100, says(content="?"))))[0].passed
    assert not bar.smoke(scores((2, says(OTHER)), (98, says(content="?"))))[0].passed
    assert bar.smoke(scores((3, says(OTHER)), (97, says(content="?"))))[0].passed


def test_a_comparison_is_over_the_questions_that_both_have() -> None:
    base, tuned = scores((10, says(content="?"))), scores((6, says(OTHER)))
    found = compare(base, tuned)["parse"]
    assert (found.value, found.of) == (1.0, 6)


def test_answers_are_asked_in_order_and_told() -> None:
    asked, _ = of(3, says())
    seen: list[int] = []
    answers = ask(asked, lambda *_: says(CALL), lambda n, _: seen.append(n))
    assert (len(answers), seen) == (3, [1, 2, 3])
