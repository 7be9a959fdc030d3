"""What a model's answers are worth: pure functions over questions, the reference's answers and the model's.

A question is a place in a held-out row where the agent spoke: the messages before it, the tools, and what the agent
said there. Whoever can run a model gives an `Answer`; the same answers are judged the same way, whoever gave them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from agent_memory.finetune import gates
from agent_memory.finetune.training.interval import Difference, Rate, difference
from agent_memory.journal.redaction import redact

Message = dict[str, Any]
"""As the OpenAI API has it: role, content, tool_calls."""
Call = tuple[str, dict[str, Any]]
"""Name and arguments."""
Answer = Callable[[list[Message], list[dict[str, Any]]], Message]
"""Messages and tools → the model's message: `content`, `tool_calls` (arguments as an object or as its JSON text),
`raw`, the text as it came, and `finish`: "length" where it was cut off at the limit of tokens."""

MEASURES: dict[str, str] = {
    "parse": "its calls can be read, where the reference makes a call",
    "valid": "they fit their tools' schemas",
    "tool": "the reference's tools",
    "arguments": "the reference's tools and arguments",
    "multi-turn": "after a result: a valid call that is not the last one again",
    "adapts": "after a failure: a valid call that is not the failed one again",
    "needless call": "a call where the reference speaks",
    "empty arguments": "a call without arguments, of a tool that takes some",
    "unknown tool": "a call of a tool that was not offered",
    "re-emits": "the last call again, where the reference goes on",
    "loops": "the same call twice in an answer, or the same words without an end",
    "cut off": "no end within the limit of tokens",
    "secrets": "what looks like a secret in an answer",
}
"""What is measured, and what counts as a hit. More of the first six is better, of the others less."""
_LEFT_OPEN = re.compile(r"</?tool_call>|<function=|</?function>|\[TOOL_CALLS\]|<\|python_tag\|>")
_ENDLESS = re.compile(r"(.{4,200}?)\1{3,}\s*\Z", re.S)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    id: str
    """The row's id, `#`, and the place of the message that is asked for."""
    messages: list[Message]
    tools: list[dict[str, Any]]
    expected: Message
    after_failure: bool = False
    """The call right before failed."""


@dataclass(slots=True, kw_only=True)
class Scores:
    rates: dict[str, Rate]
    verdicts: dict[str, dict[str, bool]] = field(default_factory=dict)
    """By question: measure → hit. A measure that a question says nothing about is not there."""

    def as_dict(self) -> dict[str, Any]:
        return {name: rate.as_dict() for name, rate in self.rates.items()}


def ask(
    questions: Iterable[Question], answer: Answer, tell: Callable[[int, Message], None] = lambda *_: None
) -> list[Message]:
    """The answers to the questions, in their order; `tell` gets how many there are so far, and the last one."""
    answers: list[Message] = []
    for question in questions:
        answers.append(answer(question.messages, question.tools))
        tell(len(answers), answers[-1])
    return answers


def score(questions: Sequence[Question], answers: Sequence[Message]) -> Scores:
    verdicts = {q.id: judge(q, answer) for q, answer in zip(questions, answers, strict=True)}
    rates = {}
    for name in MEASURES:
        measured = [verdict[name] for verdict in verdicts.values() if name in verdict]
        rates[name] = Rate(sum(measured), len(measured))
    return Scores(rates=rates, verdicts=verdicts)


def compare(earlier: Scores, later: Scores) -> dict[str, Difference]:
    """What changed from one model's answers to another's, measure by measure, over the questions that both have."""
    found = {}
    for name in MEASURES:
        pairs = [
            (earlier.verdicts[id_][name], verdict[name])
            for id_, verdict in later.verdicts.items()
            if name in verdict and name in earlier.verdicts.get(id_, {})
        ]
        found[name] = difference(pairs)
    return found


def judge(question: Question, answer: Mapping[str, Any]) -> dict[str, bool]:
    """Measure → hit, for what this question says something about.

    What the reference's kind of answer decides is never left to the model's: a model that speaks where a call was due
    has not parsed, and is in the denominator. So a model that never calls has no good rate of the calls it made."""
    expected = calls_of(question.expected) or []
    calls = calls_of(answer)
    well = bool(calls) and answer.get("finish") != "length"
    known = {tool["function"]["name"]: tool["function"].get("parameters") or {} for tool in question.tools}
    last = _last_calls(question.messages)
    found = {
        "loops": _repeats(calls or []) or _ENDLESS.search(_said(answer)[-2_000:]) is not None,
        "cut off": answer.get("finish") == "length",
        "secrets": redact(_said(answer)) != _said(answer),
    }
    if calls:
        found["empty arguments"] = any(
            not given and bool(known[name].get("properties")) for name, given in calls if name in known
        )
        found["unknown tool"] = any(name not in known for name, _ in calls)
    if not expected:
        return {**found, "needless call": calls is None or bool(calls)}
    valid = well and all(
        name in known and gates.validator(known[name]).is_valid(given) for name, given in calls or []
    )
    again = any(_key(call) in map(_key, last) for call in calls or [])
    found["parse"] = well
    found["valid"] = valid
    found["tool"] = well and sorted(name for name, _ in calls or []) == sorted(name for name, _ in expected)
    found["arguments"] = well and sorted(map(_key, calls or [])) == sorted(map(_key, expected))
    if last:
        goes_on = not any(_key(call) in map(_key, last) for call in expected)
        if goes_on:
            found["re-emits"] = again
        found["multi-turn"] = valid and not (again and goes_on)
    if question.after_failure:
        found["adapts"] = valid and not again
    return found


def calls_of(message: Mapping[str, Any]) -> list[Call] | None:
    """The calls of a message; None where it tried one that cannot be read."""
    found: list[Call] = []
    for call in message.get("tool_calls") or ():
        function = call.get("function") if isinstance(call, dict) else None
        given = function.get("arguments") if isinstance(function, dict) else None
        if isinstance(given, str):
            try:
                given = json.loads(given)
            except ValueError:
                return None
        name = function.get("name") if isinstance(function, dict) else None
        if not isinstance(name, str) or not name or not isinstance(given, dict):
            return None
        found.append((name, given))
    if _LEFT_OPEN.search(message.get("content") or ""):
        return None
    return found


def _last_calls(messages: Sequence[Message]) -> list[Call]:
    """The calls whose results the model is looking at, if it is."""
    if not messages or messages[-1]["role"] != "tool":
        return []
    asked = next((m for m in reversed(messages) if m["role"] == "assistant"), {})
    return calls_of(asked) or []


def _repeats(calls: Sequence[Call]) -> bool:
    keys = list(map(_key, calls))
    return len(keys) > len(set(keys))


def _key(call: Call) -> str:
    """The same for calls that do the same: texts but for the space around them."""
    return json.dumps([call[0], _trimmed(call[1])], sort_keys=True, ensure_ascii=False)


def _trimmed(value: Any) -> Any:
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, dict):
        return {key: _trimmed(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_trimmed(one) for one in value]
    return value


def _said(answer: Mapping[str, Any]) -> str:
    if isinstance(raw := answer.get("raw"), str) and raw:
        return raw
    calls = [json.dumps(call, ensure_ascii=False) for call in answer.get("tool_calls") or ()]
    return "\n".join([answer.get("content") or "", *calls])
