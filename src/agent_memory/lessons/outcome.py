"""What came of a lesson that spoke, read from the calls that followed. Pure.

Looked at are the call at which it spoke and the next one of the same agent on the same target: the same program and
subcommand, a command that shares most of its arguments, the same file, or the same MCP tool. A call is *unchanged*
where the lesson's trigger holds for it too; after a failure, where it is the same call again.

`prevented`: the agent did it otherwise, that worked, and the failure did not come back.
`heeded`: the agent did it otherwise; that it worked, or that anything would have failed, is not known.
`denied`: the call was refused, and nothing followed on its target.
`ignored`: the agent did the same again, and it failed again, was refused again, or its success says nothing.
`false`: the call went well, or went well unchanged: the lesson spoke for nothing.
`unknown`: nothing followed that would tell; always so at a prompt and at an end, where there is no call.

That an edit went well says nothing: it always does. So an edit is never `false`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

from agent_memory.lessons import moment
from agent_memory.lessons.lesson import Action
from agent_memory.lessons.trigger import Trigger, matches
from agent_memory.observations import commands
from agent_memory.observations.failures import REFUSED

Outcome: TypeAlias = Literal["prevented", "heeded", "denied", "ignored", "false", "unknown"]
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)

SOON = 5
"""Calls within which an agent redoes what went well, where it heeds a lesson about it."""
ASKED = re.compile(r"agent-memory asks, by lesson")

_EDITS = {"Edit", "Write", "MultiEdit", "NotebookEdit"}
_WORD = re.compile(r"[^\s'\"]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """A call as the journal has it."""

    id: int
    tool_use_id: str
    tool: str
    input: Mapping[str, Any]
    success: bool | None
    error: str | None
    prompt_id: str | None = None


def outcome(
    trigger: Trigger, action: Action, at: Ran, later: Sequence[Ran], *, cwd: str | None = None
) -> tuple[Outcome, list[int]]:
    """What came of a lesson that spoke at the call `at`, and the ids of the calls that tell so. `later` are the calls
    of the same agent after it, in order."""
    following = [one for one in later if _related(at, one)]
    after = following[0] if following else None
    ids = [at.id] if after is None else [at.id, after.id]
    edit = at.tool in _EDITS

    def unchanged(call: Ran) -> bool:
        if trigger.phase == "after_failure":
            return _text(call) == _text(at)
        return matches(trigger, moment.call("before", call.tool, call.input, cwd=cwd))

    if _stopped(action, at):
        if after is None:
            return "denied", ids
        if unchanged(after):
            return "ignored", ids
        return ("prevented" if after.success else "heeded"), ids
    if at.success:
        redone = next((one for one in following if one in later[:SOON] and not unchanged(one)), None)
        if redone is not None and redone.prompt_id == at.prompt_id:
            return "heeded", [at.id, redone.id]
        if edit:
            return ("ignored" if after else "unknown"), ids
        return "false", ids
    if after is None:
        return "unknown", ids
    if unchanged(after):
        return ("false" if after.success and not edit else "ignored"), ids
    came_back = any(unchanged(one) and one.success is False for one in following[1:])
    return ("prevented" if after.success and not came_back else "heeded"), ids


def _stopped(action: Action, at: Ran) -> bool:
    """Whether the call did not run: by the lesson, or by the user whom it made the agent ask."""
    if action == "deny":
        return True
    refused = at.success is False and at.error is not None
    return (
        action == "ask" and refused and bool(ASKED.search(at.error or "") or REFUSED.search(at.error or ""))
    )


def _related(first: Ran, second: Ran) -> bool:
    """Whether two calls have the same target."""
    path, other = _path(first), _path(second)
    if path is not None or other is not None:
        return path == other and (first.tool == second.tool or {first.tool, second.tool} <= _EDITS)
    if first.tool != second.tool:
        return False
    command, further = first.input.get("command"), second.input.get("command")
    if not isinstance(command, str) or not isinstance(further, str):
        return True
    key, other_key = sorted((commands.key_of(command), commands.key_of(further)))
    if key and f"{other_key} ".startswith(f"{key} "):  # `pytest` and `pytest tests`
        return True
    if commands.looks(further):
        return False
    words, others = _arguments(command), _arguments(further)
    return bool(words and others) and 2 * len(words & others) > min(len(words), len(others))


def _arguments(command: str) -> set[str]:
    """The words of a command without its program and its options: what `pip install x` and `uv pip install x` share."""
    words = [word for word in _WORD.findall(command[:2_000]) if not word.startswith("-")]
    return set(words[1:])


def _path(call: Ran) -> str | None:
    for name in ("file_path", "notebook_path", "path"):
        if isinstance(value := call.input.get(name), str):
            return value
    return None


def _text(call: Ran) -> str:
    return " ".join(moment.call("before", call.tool, call.input).text.split())
