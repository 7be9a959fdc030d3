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
_FAILED = "failed"
_END_OF_MARK = STEPS_LEFT_OUT.partition("}")[2]
MESSAGE_TOKENS = 4
"""What a chat template puts around a message, about."""

Message = dict[str, Any]
"""As TRL and the OpenAI API have it: role, content, and where there are calls, tool_calls."""
Count = Callable[[str], int]
"""How many tokens a text has."""


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


@dataclass(slots=True)
class _Open:
    messages: list[Message] = field(default_factory=list)
    tokens: int = 0
    calls: int = 0


def rows(
    trajectory: Trajectory, *, budget: int, count: Count, dropped: Counter[str], success_only: bool = False
) -> Iterator[Row]:
    """The trajectory in rows of at most `budget` tokens, cut between turns where that is possible. A turn that is
    longer by itself is cut between its steps: each part has the question again, and says that steps are missing."""
    number = 0
    for messages in _parts(trajectory, budget, count, dropped, success_only=success_only):
        while messages and messages[-1]["role"] != "assistant":
            messages.pop()  # nothing is learned from what no answer follows
        label = sum(size(m, count) for m in messages if m["role"] == "assistant")
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
            messages=[{key: one for key, one in m.items() if key != _FAILED} for m in messages],
            failed=[m["tool_call_id"] for m in messages if m.get(_FAILED)],
            tokens=sum(size(m, count) for m in messages),
            label_tokens=label,
        )
        number += 1


def _parts(
    trajectory: Trajectory, budget: int, count: Count, dropped: Counter[str], *, success_only: bool
) -> Iterator[list[Message]]:
    system = {"role": "system", "content": trajectory.system}
    empty = size(system, count)
    row = _Open([system], empty)
    for turn in trajectory.turns:
        if success_only and not turn.ended_well:
            dropped["turn that did not end well"] += 1
            if len(row.messages) > 1:  # what follows builds on what is missing here
                yield row.messages
                row = _Open([system], empty)
            continue
        for part, whole in _turn_parts(turn, budget - empty, count, dropped):
            needed = sum(size(m, count) for m in part)
            if len(row.messages) > 1 and (turn.afresh or not whole or row.tokens + needed > budget):
                yield row.messages
                row = _Open([system], empty)
            row.messages += _numbered(part, row.calls)
            row.tokens += needed
            row.calls += sum(m["role"] == "tool" for m in part)
    if len(row.messages) > 1:
        yield row.messages


def _turn_parts(
    turn: Turn, room: int, count: Count, dropped: Counter[str]
) -> Iterator[tuple[list[Message], bool]]:
    """The turn's messages, in several parts where it does not fit, and whether this is all of it."""
    asked = {"role": "user", "content": turn.asked}
    if size(asked, count) > room * 3 // 4:
        dropped["turn with too long a question"] += 1
        return
    part, used, cut = [asked], size(asked, count), False
    for number, step in enumerate(turn.steps):
        messages = _messages(step)
        needed = sum(size(m, count) for m in messages)
        if used + needed > room:
            if len(part) > 1:
                yield part, False
            cut = True
            mark = STEPS_LEFT_OUT.format(n=number)
            again = {"role": "user", "content": f"{turn.asked}\n\n{mark}"}
            part, used = [again], size(again, count)
            if used + needed > room:
                dropped["step longer than the budget"] += 1
                mark = STEPS_LEFT_OUT.format(n=number + 1)
                part = [{"role": "user", "content": f"{turn.asked}\n\n{mark}"}]
                continue
        part += messages
        used += needed
    if len(part) > 1:
        yield part, not cut


def _messages(step: Step) -> list[Message]:
    said: Message = {"role": "assistant", "content": step.text}
    if step.calls:
        said["tool_calls"] = [
            {"type": "function", "function": {"name": call.tool, "arguments": call.arguments}}
            for call in step.calls
        ]
    results = [
        {"role": "tool", "name": call.tool, "content": call.result, _FAILED: call.failed}
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
                numbered.append({"id": f"call_{calls}", **call})
                calls += 1
            message = {**message, "tool_calls": numbered}
        elif message["role"] == "tool":
            message = {"role": "tool", "tool_call_id": f"call_{results}", **message}
            results += 1
        found.append(message)
    return found


def size(message: Mapping[str, Any], count: Count) -> int:
    """Tokens of a message, with what a template puts around it."""
    calls = [call["function"] for call in message.get("tool_calls", ())]
    told = json.dumps(calls, ensure_ascii=False) if calls else ""
    return MESSAGE_TOKENS + count(message["content"]) + (count(told) if told else 0)


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
