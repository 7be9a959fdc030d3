"""A mined lesson in plain words, built by code. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from agent_memory.lessons.changes import Change
from agent_memory.lessons.lesson import LONGEST_RULE, LONGEST_TITLE
from agent_memory.observations.calls import relative
from agent_memory.observations.observation import shorten

_ERROR = 110
_COMMAND = 70


def rule(change: Change, about: str, error: str, failures: int, roots: Sequence[str]) -> str:
    """What failed, how often and with what, and what worked instead. `about` names the call where `change` does
    not; `error` is a telling line as it was said."""
    call = _code(change.failed, roots) or about
    said = shorten(_local(error, roots).strip().rstrip("."), _ERROR)
    start = f"{call} failed {_times(failures)} here with “{said}”"
    if change.kind == "instead":
        end = f"; what worked: {_code(change.worked, roots)}."
    elif change.kind == "first":
        end = f"; it worked after {_listed([_code((command,), roots) for command in change.worked[:3]])}."
    elif change.worked:
        end = f" and never worked; what was done instead: {_code(change.worked, roots)}."
    else:
        end = " and never worked: do it another way."
    return shorten(start + end, LONGEST_RULE) if len(start) + len(end) <= LONGEST_RULE else _cut(start, end)


def correction_rule(said: str, about: str) -> str:
    """The user's own words, and what they were said about."""
    start, end = "The user said: “", f"” (about {about})."
    return f"{start}{shorten(said, LONGEST_RULE - len(start) - len(end))}{end}"


def title(change: Change, about: str, roots: Sequence[str]) -> str:
    call = _code(change.failed, roots) or about
    if change.kind == "instead":
        text = f"{call} → {_code(change.worked, roots)}"
    elif change.kind == "first":
        text = f"Before {call}: {_listed([_code((command,), roots) for command in change.worked[:2]])}"
    else:
        text = f"{call} does not work here"
    return shorten(text, LONGEST_TITLE)


def basis(evidence: Mapping[str, Any], estimate: Mapping[str, Any]) -> list[str]:
    """What a mined lesson rests on, for whoever decides on it. The arguments are as `proposing` stores them."""
    what = "You said so" if evidence["kind"] == "correction" else "It failed"
    lines = [f"{what} {_times(evidence['failures'])} in {_sessions(evidence['sessions'])}."]
    if estimate["sessions"]:
        lines.append(f"In {_sessions(estimate['sessions'])} that it was not made from {_fared(estimate)}")
    else:
        lines.append("There is no other session yet to tell how it would fare.")
    if evidence["kind"] != "correction":
        lines.append(f"Over all, those that it was made from among them, {_fared(estimate['all'])}")
    return lines


def _fared(estimate: Mapping[str, int]) -> str:
    return (
        f"it would have spoken before {estimate['right']} calls that failed so and {estimate['wrong']} that went well,"
        f" of {estimate['calls']} calls."
    )


def _sessions(count: int) -> str:
    return f"{count} session{'s' * (count != 1)}"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _cut(start: str, end: str) -> str:
    room = max(LONGEST_RULE - len(end), 80)
    return shorten(f"{shorten(start.rstrip('”'), room - 1)}”{end}", LONGEST_RULE)


def _code(words: Sequence[str], roots: Sequence[str]) -> str:
    text = _local(" ".join(words), roots)
    return f"`{shorten(text, _COMMAND)}`" if text else ""


def _local(text: str, roots: Sequence[str]) -> str:
    for root in roots:
        text = text.replace(root.rstrip("/") + "/", "")
    return " ".join(relative(word, roots) if word.startswith("/") else word for word in text.split())


def _listed(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
