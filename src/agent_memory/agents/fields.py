"""Reading the fields of what an agent wrote: payloads and session files whose types are only promised."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from typing import Any


def text(payload: dict[str, Any], *names: str) -> str:
    """The first of these fields that holds a text. ValueError, in words for a person, where none does."""
    found = optional(payload, *names)
    if found is None:
        raise ValueError(f"There is no text `{names[0]}` in the payload.")
    return found


def optional(payload: dict[str, Any], *names: str) -> str | None:
    """The first of these fields that holds a text which is not empty, or None."""
    return next((value for name in names if isinstance(value := payload.get(name), str) and value), None)


def mapping(value: Any) -> dict[str, Any]:
    """`value` where it is an object, also where it is one written as JSON in a text; else an empty one."""
    if isinstance(value, str) and value.lstrip().startswith("{"):
        try:
            value = json.loads(value)
        except ValueError:
            return {}
    return value if isinstance(value, dict) else {}


def given(value: Any) -> dict[str, Any]:
    """A tool's input as an object, whatever the agent gave: nothing, an object, JSON in a text, or a plain value."""
    return mapping(value) or ({} if value in (None, "", {}) else {"input": value})


def milliseconds(value: Any) -> int | None:
    return round(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def moment(value: Any, otherwise: datetime) -> datetime:
    """A time as agents write it: milliseconds since 1970 (a number, or digits in a text) or ISO 8601. `otherwise`
    where it is neither, such as Go's zero time."""
    if isinstance(value, str) and value.isdigit():
        value = int(value)
    try:
        if isinstance(value, int | float) and not isinstance(value, bool):
            found = datetime.fromtimestamp(value / 1000, UTC)
        elif isinstance(value, str):
            found = datetime.fromisoformat(value)
        else:
            return otherwise
    except (ValueError, OverflowError, OSError):
        return otherwise
    found = found if found.tzinfo else found.replace(tzinfo=UTC)
    return found if found.year > 2000 else otherwise


def key(*parts: Any) -> str:
    """20 hexadecimal digits that the same parts always give: an id for what the agent gave none."""
    words = json.dumps(parts, sort_keys=True, ensure_ascii=True, default=str)
    return hashlib.sha256(words.encode()).hexdigest()[:20]
