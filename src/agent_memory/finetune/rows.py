"""Trajectories cut into rows of messages that fit a budget of tokens. Pure functions."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from agent_memory.finetune.trajectory import LOOP, Step, Trajectory, Turn

RESULT_CHARS = 2_000
"""A tool's result is shown up to so many characters: its beginning and its end, with a mark between."""
STEPS_LEFT_OUT = "[{n} earlier steps of this turn are not shown]"
_FAILED, _TOKENS = "failed", "tokens"
_CALL = "call_0"  # before calls are numbered
_END_OF_MARK = STEPS_LEFT_OUT.partition("}")[2]

Message = dict[str, Any]
"""As TRL and the OpenAI API have it: role, content, and where there are calls, tool_calls."""
Size = Callable[[Message], int]
"""How many tokens a message adds to a row."""
Head = Callable[[frozenset[str]], int]
"""How many tokens stand before the first question, the tools among them, in a row that calls these."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    id: str
    session_id: str
    project_id: int
    agent: str
    messages: list[Message]
    tokens: int
    label_tokens: int
    """Those that the agent said: what a model is trained on."""
    failed: list[str] = field(default_factory=list)
    """The ids of its calls that failed."""


def row_of(line: Mapping[str, Any]) -> Row:
    """A row as it was written into a draft's file."""
    return Row(
        id=line["id"],
        session_id=line["session"],
        project_id=line["project"],
        agent=line["agent"],
        messages=line["messages"],
        tokens=line["tokens"],
        label_tokens=line["label_tokens"],
    )


def rows(
    trajectory: Trajectory,
    *,
    budget: int,
    size: Size,
    head: Head,
    dropped: Counter[str],
    success_only: bool = False,
) -> Iterator[Row]:
    """The trajectory in rows of at most `budget` tokens, cut between turns where that is possible. A turn that is
    longer by itself is cut between its steps: each part has the question again, and says that steps are missing."""
    number = 0
    for messages in _parts(trajectory, budget, size, head, dropped, success_only=success_only):
        while messages and messages[-1]["role"] != "assistant":
            messages.pop()  # nothing is learned from what no answer follows
        label = sum(m[_TOKENS] for m in messages if m["role"] == "assistant")
        if not label:
            continue
        if any(m["content"].endswith(_END_OF_MARK) for m in messages) and not any(calls_of(messages)):
            dropped["end of a cut turn that speaks of what is not shown"] += (
                1  # it would teach to make things up
            )
            continue
        yield Row(
            id=f"{trajectory.session_id}/{trajectory.subagent or 'main'}/{number}",
            session_id=trajectory.session_id,
            project_id=trajectory.project_id,
            agent=trajectory.agent,
            messages=[
                {key: one for key, one in m.items() if key not in (_FAILED, _TOKENS)} for m in messages
            ],
            failed=[m["tool_call_id"] for m in messages if m.get(_FAILED)],
            tokens=_needed(messages, head),
            label_tokens=label,
        )
        number += 1


def _needed(messages: Sequence[Message], head: Head) -> int:
    said: int = sum(m[_TOKENS] for m in messages)
    return head(names_of(messages)) + said


def _parts(
    trajectory: Trajectory,
    budget: int,
    size: Size,
    head: Head,
    dropped: Counter[str],
    *,
    success_only: bool,
) -> Iterator[list[Message]]:
    system = {"role": "system", "content": trajectory.system, _TOKENS: 0}  # `head` has them
    row = [system]
    for turn in trajectory.turns:
        if success_only and not turn.ended_well:
            dropped["turn that did not end well"] += 1
            if len(row) > 1:  # what follows builds on what is missing here
                yield row
                row = [system]
            continue
        for part, whole in _turn_parts(turn, budget, size, head, dropped):
            if len(row) > 1 and (turn.afresh or not whole or _needed([*row, *part], head) > budget):
                yield row
                row = [system]
            row += _numbered(part, sum(m["role"] == "tool" for m in row))
    if len(row) > 1:
        yield row


def _turn_parts(
    turn: Turn, budget: int, size: Size, head: Head, dropped: Counter[str]
) -> Iterator[tuple[list[Message], bool]]:
    """The turn's messages, in several parts where it does not fit, and whether this is all of it."""

    def sized(message: Message) -> Message:
        return {**message, _TOKENS: size(message)}

    def again(left_out: int) -> Message:
        mark = STEPS_LEFT_OUT.format(n=left_out)
        return sized({"role": "user", "content": f"{turn.asked}\n\n{mark}"})

    part, cut = [sized({"role": "user", "content": turn.asked})], False
    if part[0][_TOKENS] > (budget - head(frozenset())) * 3 // 4:
        dropped["turn with too long a question"] += 1
        return
    for number, step in enumerate(turn.steps):
        messages = [sized(message) for message in _messages(step)]
        if _needed([*part, *messages], head) > budget:
            if len(part) > 1:
                yield part, False
            cut = True
            part = [again(number)]
            if _needed([*part, *messages], head) > budget:
                dropped["step longer than the budget"] += 1
                part = [again(number + 1)]
                continue
        part += messages
    if len(part) > 1:
        yield part, not cut


def _messages(step: Step) -> list[Message]:
    said: Message = {"role": "assistant", "content": step.text}
    if step.calls:
        said["tool_calls"] = [
            {"id": _CALL, "type": "function", "function": {"name": call.tool, "arguments": call.arguments}}
            for call in step.calls
        ]
    results = [
        {
            "role": "tool",
            "tool_call_id": _CALL,
            "name": call.tool,
            "content": call.result,
            _FAILED: call.failed,
        }
        for call in step.calls
    ]
    return [said, *results]


def shortened(text: str, limit: int, *, more: int = 0) -> str:
    """`text`, or its beginning and its end around a mark that says how much is missing. `more`: characters that were
    missing already, at its end."""
    if len(text) <= limit:
        return f"{text}\n[… {more:,} characters left out]" if more else text
    head = limit * 2 // 3
    tail = limit - head
    missing = len(text) - limit + more
    return f"{text[:head]}\n[… {missing:,} characters left out …]\n{text[len(text) - tail :]}"


def _numbered(messages: Sequence[Message], before: int) -> list[Message]:
    """The messages with their calls numbered through the row, and each result with its call's number."""
    found, calls, results = [], before, before
    for message in messages:
        if "tool_calls" in message:
            numbered = []
            for call in message["tool_calls"]:
                numbered.append({**call, "id": f"call_{calls}"})
                calls += 1
            message = {**message, "tool_calls": numbered}
        elif message["role"] == "tool":
            message = {**message, "tool_call_id": f"call_{results}"}
            results += 1
        found.append(message)
    return found


def without(messages: Sequence[Message], ids: set[str]) -> list[Message]:
    """The messages without these calls, their results, and what is empty then."""
    found = []
    for message in messages:
        if message.get("tool_call_id") in ids:
            continue
        if "tool_calls" in message:
            calls = [call for call in message["tool_calls"] if call["id"] not in ids]
            message = {key: one for key, one in message.items() if key != "tool_calls"}
            if calls:
                message["tool_calls"] = calls
            elif not message["content"]:
                continue
        found.append(message)
    while found and found[-1]["role"] != "assistant":
        found.pop()
    return found


def has_loop(messages: Sequence[Message]) -> bool:
    """Whether the same call comes three times in a row."""
    calls = list(calls_of(messages))
    return any(
        all(call == calls[n] for call in calls[n + 1 : n + LOOP]) for n in range(len(calls) - LOOP + 1)
    )


def calls_of(messages: Sequence[Message]) -> Iterator[dict[str, Any]]:
    """Each call's function: name and arguments."""
    for message in messages:
        for call in message.get("tool_calls", ()):
            yield call["function"]


def names_of(messages: Sequence[Message]) -> frozenset[str]:
    """The tools that are called."""
    return frozenset(call["name"] for call in calls_of(messages))


def text_of(messages: Sequence[Message]) -> str:
    """All that is said and done in a row, but for the system's words."""
    parts = []
    for message in messages:
        if message["role"] != "system":
            parts.append(message["content"])
            parts += [
                json.dumps(c["function"], ensure_ascii=False, sort_keys=True)
                for c in message.get("tool_calls", ())
            ]
    return "\n".join(parts)
