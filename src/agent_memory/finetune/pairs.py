"""Preference pairs: a call that failed, and the one that then did it, in the same place. Pure functions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from agent_memory.finetune.index import label
from agent_memory.finetune.rows import Message, without
from agent_memory.observations.failures import REFUSED

AHEAD = 4
"""A call that comes later than so many of the agent's messages after the failure is no fix of it."""


def pairs(messages: Sequence[Message], failed: set[str], invalid: set[str]) -> Iterator[dict[str, Any]]:
    """`prompt`, `chosen` and `rejected`, each a list of messages; calls alone, for the words beside a fix speak of
    the failure. `invalid`: calls that are never shown but as the rejected one."""
    said = {message["tool_call_id"]: message["content"] for message in messages if message["role"] == "tool"}
    for place, message in enumerate(messages):
        call = _single(message)
        if call is None or call["id"] not in failed or REFUSED.search(said.get(call["id"], "")):
            continue
        fix = _fix(messages, place, call, failed | invalid)
        prompt = _before(messages[:place], invalid)
        if fix is not None and prompt and prompt[-1]["role"] != "system":
            yield {"prompt": prompt, "chosen": [_alone(fix)], "rejected": [_alone(call)]}


def _fix(
    messages: Sequence[Message], place: int, call: Mapping[str, Any], bad: set[str]
) -> Mapping[str, Any] | None:
    """The next call for the same thing, if it did it."""
    left = AHEAD
    for message in messages[place + 1 :]:
        if message["role"] == "user" or not left:
            return None
        if message["role"] != "assistant":
            continue
        left -= 1
        later = _single(message)
        if later and later["id"] not in bad and _for_the_same(call["function"], later["function"]):
            return later if later["function"] != call["function"] else None
    return None


def _for_the_same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    mine, its = one["arguments"], other["arguments"]
    what = label(one["name"], mine)
    if one["name"] != other["name"] or what != label(other["name"], its):
        return False
    if what != one["name"]:
        return True  # the same program and subcommand
    paths = [key for key in mine if "path" in key.lower()]
    alike = [key for key in paths or mine if isinstance(mine[key], str) and its.get(key) == mine[key]]
    return bool(alike)


def _single(message: Message) -> dict[str, Any] | None:
    calls = message.get("tool_calls", ())
    return calls[0] if len(calls) == 1 else None


def _alone(call: Mapping[str, Any]) -> Message:
    return {"role": "assistant", "content": "", "tool_calls": [dict(call)]}


def _before(messages: Sequence[Message], invalid: set[str]) -> list[Message]:
    """What came before, up to the last question or result."""
    last = max((n for n, m in enumerate(messages) if m["role"] in ("user", "tool")), default=-1)
    end: Message = {"role": "assistant", "content": "."}
    return without([*messages[: last + 1], end], invalid)[:-1]  # the end holds the results in their place
