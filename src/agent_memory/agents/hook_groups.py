"""Our handlers in settings of the form {"hooks": {event: [{"matcher": …, "hooks": [handler, …]}, …]}}, which Codex and
Gemini CLI share, and out of them again. Everybody else's stay, in their order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from agent_memory.agents.entries import Dialect
from agent_memory.errors import AgentMemoryError

Handler: TypeAlias = dict[str, Any]
Groups: TypeAlias = list[Any]

_MARK = "agent_memory/hook.py"


def hooked(path: Path, text: str, handlers: Mapping[str, Handler], dialect: Dialect) -> str:
    """The settings in `text` with one handler of ours for each event. One that is there already is brought up to
    date in its place, so that what the user has arranged around it stays."""
    hooks = _hooks(path, text, dialect)
    for event, groups in hooks.items():
        if event not in handlers and any(ours(groups)):  # an event that we have listened to once
            text = _put(text, event, without(groups), dialect)
    for event, handler in handlers.items():
        groups = with_ours(hooks.get(event, []), handler)
        if groups != hooks.get(event):
            text = dialect.put(text, ("hooks", event), groups)
    return text


def unhooked(path: Path, text: str, original: dict[str, Any], dialect: Dialect) -> str:
    """The settings without our handlers. What is empty without them goes too, where `original` does not have it."""
    kept = original.get("hooks")
    touched = False
    for event, groups in _hooks(path, text, dialect).items():
        if any(ours(groups)):
            touched = True
            if isinstance(kept, dict) and event in kept:
                text = dialect.put(text, ("hooks", event), without(groups))
            else:
                text = _put(text, event, without(groups), dialect)
    if touched and not _hooks(path, text, dialect) and kept is None:
        text = dialect.remove(text, ("hooks",))
    return text


def with_ours(groups: Groups, handler: Handler) -> Groups:
    """The groups of an event with `handler`: in the place of the first one of ours, else in a group at the end."""
    places = list(ours(groups))
    if not places:
        return [*groups, {"hooks": [handler]}]
    return [
        {
            **group,
            "hooks": [handler if (g, h) == places[0] else other for h, other in _others(group, g, places)],
        }
        if any(g == place[0] for place in places)
        else group
        for g, group in enumerate(groups)
    ]


def without(groups: Groups) -> Groups:
    """The groups of an event without our handlers, and without groups that held nothing else."""
    places = list(ours(groups))
    kept = []
    for number, group in enumerate(groups):
        mine = [index for at, index in places if at == number]
        rest = [one for index, one in enumerate(group["hooks"]) if index not in mine] if mine else []
        if not mine:
            kept.append(group)
        elif rest:
            kept.append({**group, "hooks": rest})
    return kept


def ours(groups: Any) -> Iterator[tuple[int, int]]:
    """Where our handlers are in the groups of an event: (group, handler)."""
    for number, group in enumerate(groups if isinstance(groups, list) else []):
        handlers = group.get("hooks") if isinstance(group, dict) else None
        for index, handler in enumerate(handlers if isinstance(handlers, list) else []):
            if isinstance(handler, dict) and _MARK in str(handler.get("command", "")).replace("\\", "/"):
                yield number, index


def _others(group: Any, number: int, places: list[tuple[int, int]]) -> list[tuple[int, Any]]:
    """The handlers of a group, with their indices, without the second and further ones of ours."""
    return [(index, one) for index, one in enumerate(group["hooks"]) if (number, index) not in places[1:]]


def _put(text: str, event: str, groups: Groups, dialect: Dialect) -> str:
    return dialect.put(text, ("hooks", event), groups) if groups else dialect.remove(text, ("hooks", event))


def _hooks(path: Path, text: str, dialect: Dialect) -> dict[str, Groups]:
    hooks = dialect.parse(path, text).get("hooks", {})
    if not isinstance(hooks, dict) or not all(isinstance(groups, list) for groups in hooks.values()):
        raise AgentMemoryError(
            f"In {path}, `hooks` is no JSON object of lists.",
            "Nothing was changed. Mend the file, then try again.",
        )
    return hooks
