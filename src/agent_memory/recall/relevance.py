"""Whether what was found answers the question at all. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from agent_memory.recall.fusion import Ranked

LOOKED_AT = 5


def relevant(ranked: Sequence[Ranked]) -> bool:
    """Whether one of the first observations is near enough to the query."""
    return bool(ranked)
