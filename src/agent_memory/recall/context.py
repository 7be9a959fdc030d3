"""What a session is told without having asked: at its start, and, where the user wants it, at a prompt.

What is decided here, and why: docs/decisions/0014-context.md.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent_memory.database import Connection
from agent_memory.journal import fence
from agent_memory.recall import context_store as store
from agent_memory.recall import render, search
from agent_memory.recall.context_store import Shown
from agent_memory.recall.opening import Lesson, Opening, Recorded, opening, says_something

if TYPE_CHECKING:
    from agent_memory.observations.embed import Embedder

LONGEST = 9_000
"""Characters. Claude Code gives its model no more than 10,000 of one hook, and of more only a file's name."""
ENOUGH = 0.8
"""How certain a hit has to be to be shown at a prompt: see `relevance.certainty`. The lowest at which, on the dev
half of bench/coding, nine hits in ten are labelled as evidence and no unanswerable question is shown anything
(`make bench-context`); recall itself speaks at half of it."""
PROMPT_CHARS = 1_500
PROMPT_HITS = 3
QUERY_CHARS = 1_000
"""Of a longer prompt only the beginning is looked up: what is asked for stands there, and what is pasted below."""
_SESSIONS, _TURNS, _NOTES = 12, 12, 6  # that are looked at, the latest
_NOT_TYPED = re.compile(r"\s*(?:[/!#]|<[a-z][a-z-]*[ >])")


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A text for a session, or silence and its reason."""

    reason: str
    text: str = ""
    shown: Sequence[Shown] = ()


def at_start(
    conn: Connection,
    *,
    project_id: int,
    session_id: str = "",
    source: str = "startup",
    budget: int,
    lessons: Sequence[Lesson] = (),
) -> Told:
    """What a session of this project is told at its start, at most `budget` characters.

    `source` is how it starts, in the agent's words. A resumed session still has what it was told, so it is told only
    what other sessions did since; a forked one has it from its parent. After a compaction it is gone, and told again;
    what the session itself did is in the compaction's summary.
    """
    if source == "fork":
        return Told(reason="fork: it has what its parent was told")
    since = store.last_active(conn, session_id) if source == "resume" else None
    sessions = store.sessions(conn, project_id=project_id, but=session_id, since=since, limit=_SESSIONS)
    ids = [row["id"] for row in sessions]
    recorded = Recorded(
        sessions=sessions,
        turns=store.turns(conn, ids, per_session=_TURNS) if ids else (),
        last_words=store.last_words(conn, ids) if ids else (),
        notes=store.notes(conn, project_id=project_id, but=session_id, since=since, limit=_NOTES),
        lessons=() if since else lessons,
    )
    made: Opening = opening(recorded, budget=min(budget, LONGEST))
    if not made.text:
        return Told(reason=f"{source}: nothing to tell" + (" since it was last here" if since else ""))
    return Told(
        reason=f"{source}" + (": what others did since" if since else ""), text=made.text, shown=made.shown
    )


def worth_looking_up(prompt: str) -> bool:
    """Whether a prompt asks for something: not a command, not a text that the client wrote, not “yes, go on”."""
    return not _NOT_TYPED.match(prompt) and says_something(prompt)


def at_prompt(
    conn: Connection,
    prompt: str,
    *,
    project_id: int,
    session_id: str,
    embedder: Embedder | None,
    seconds: float,
    enough: float = ENOUGH,
) -> Told:
    """What a session is told at a prompt, at most 1,500 characters: hits that are certain, that are not the session's
    own, and that it was not shown before. `seconds` bounds the wait for the prompt's vector; without it: silence."""
    query = fence.strip(prompt)[:QUERY_CHARS]
    found = search.certain(
        conn,
        query,
        project_id=project_id,
        embedder=embedder,
        enough=enough,
        but_session=session_id,
        but=store.told_before(conn, session_id),
        k=PROMPT_HITS,
        budget_chars=PROMPT_CHARS,
        seconds=seconds,
    )
    if not found.hits:
        return Told(reason=found.notice or "nothing that is certain enough")
    text = render.answer(found)
    shown = [
        Shown(
            part="hit",
            observation_id=hit.id,
            score=found.certainties[hit.id],
            why={"place": place, "score": hit.score, "legs": hit.legs},
        )
        for place, hit in enumerate(found.hits, start=1)
    ]
    return Told(reason=f"certain by {enough} or more", text=text, shown=shown)
