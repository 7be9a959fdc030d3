"""What a tool takes, learned from the calls that were seen: the agents' own schemas are not in the journal."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

MOST_KEYS = 40
"""An object with more different keys than this is free in its keys: they are data."""
DEEPEST = 4
_MISCALLED = re.compile(
    r"InputValidationError"
    r"|(?:required|unexpected|unknown|missing|invalid) (?:required )?(?:param|argument|propert|input)"
    r"|is a required property|does not match the schema",
    re.I,
)
"""An error that speaks of a call's arguments."""


@dataclass(slots=True)
class Shape:
    """What values in one place looked like."""

    seen: int = 0
    types: set[str] = field(default_factory=set)
    keys: dict[str, Shape] = field(default_factory=dict)
    items: Shape | None = None
    objects: int = 0

    def see(self, value: Any, depth: int = 0) -> None:
        self.seen += 1
        self.types.add(_type(value))
        if depth >= DEEPEST:
            return
        if isinstance(value, dict):
            self.objects += 1
            for name, one in value.items():
                if name in self.keys or len(self.keys) <= MOST_KEYS:
                    self.keys.setdefault(name, Shape()).see(one, depth + 1)
        elif isinstance(value, list):
            self.items = self.items or Shape()
            for one in value:
                self.items.see(one, depth + 1)

    def schema(self) -> dict[str, Any]:
        """As JSON Schema. What was always there is required."""
        types = sorted(self.types - ({"integer"} if "number" in self.types else set()))
        found: dict[str, Any] = {"type": types[0] if len(types) == 1 else types}
        if self.objects and len(self.keys) <= MOST_KEYS:
            found["properties"] = {name: one.schema() for name, one in sorted(self.keys.items())}
            if required := sorted(name for name, one in self.keys.items() if one.seen == self.objects):
                found["required"] = required
        if self.items and self.items.seen:
            found["items"] = self.items.schema()
        return found


class Tools:
    """The shapes of all tools, each agent's apart. Learned from the calls whose arguments the tool took; where it never
    took any, from all. So a call that failed for its arguments does not make them right."""

    def __init__(self) -> None:
        self._well: dict[tuple[str, str], Shape] = {}
        self._ill: dict[tuple[str, str], Shape] = {}
        self._made: dict[tuple[str, str], dict[str, Any]] = {}

    def see(self, agent: str, tool: str, arguments: Mapping[str, Any], *, refused: str = "") -> None:
        """`refused`: what a call that failed said."""
        ill = bool(_MISCALLED.search(refused[:500]))
        (self._ill if ill else self._well).setdefault((agent, tool), Shape()).see(dict(arguments))

    def of(self, agent: str, tool: str) -> dict[str, Any]:
        """The tool as a function for a chat template. Called when all calls were seen."""
        key = (agent, tool)
        if key not in self._made:
            shape = self._well.get(key) or self._ill.get(key)
            parameters = shape.schema() if shape else {"type": "object", "properties": {}}
            told = {"name": tool, "description": f"The tool {tool}.", "parameters": parameters}
            self._made[key] = {"type": "function", "function": told}
        return self._made[key]

    def seen(self) -> dict[str, dict[str, int]]:
        """How many calls each was learned from: agent → tool → calls."""
        found: dict[str, dict[str, int]] = {}
        for agent, tool in sorted({*self._well, *self._ill}):
            shape = self._well.get((agent, tool)) or self._ill[agent, tool]
            found.setdefault(agent, {})[tool] = shape.seen
        return found


def _type(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "number"
        case str():
            return "string"
        case list():
            return "array"
    return "object"
