"""The answers to a session's start and to a prompt, each written down with what was shown and why."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeAlias

import psycopg
import psycopg_pool

from agent_memory.agents.reply import Reply
from agent_memory.database import Connection
from agent_memory.journal import projects
from agent_memory.journal import store as journal
from agent_memory.lessons import store as lessons
from agent_memory.recall import context, context_store
from agent_memory.recall.context import Told
from agent_memory.recall.opening import Lesson
from agent_memory.service.asks import Ask
from agent_memory.service.state import State
from agent_memory.settings import Settings

Tell: TypeAlias = Callable[[Connection, int, str], Told]
"""Of a connection, a project and a session."""

AT_START_MS = 500
"""How long a session's start waits for the answer, which takes about 10."""
AT_PROMPT_MS = 120
"""How long a prompt waits: with the hook's own start it is to stay within 150."""
_EMBEDDING_SHARE = 0.6  # of a prompt's time that the prompt's vector may take


def asks(settings: Settings) -> tuple[Ask, ...]:
    """What the hooks are to ask the service."""
    at_prompt = (Ask("UserPromptSubmit", AT_PROMPT_MS),) if settings.agent_memory_prompt_context else ()
    return (Ask("SessionStart", AT_START_MS), *at_prompt)


def asks_when_down(settings: Settings) -> tuple[Ask, ...]:
    """What the service leaves behind when it stops: the next session's start, which starts it, waits for its answer."""
    return asks(settings)[:1] if settings.agent_memory_context else ()


def for_a_start(
    conn: Connection, settings: Settings, *, project_id: int, session_id: str = "", source: str = "startup"
) -> Told:
    """What a session of this project is told at its start: see `recall.context.at_start`."""
    active = lessons.active(conn)
    return context.at_start(
        conn,
        project_id=project_id,
        session_id=session_id,
        source=source,
        budget=settings.agent_memory_context_chars,
        lessons=[Lesson(one.id, one.rule) for one in active if one.project_id in (None, project_id)],
    )


def at_start(state: State, event: str, payload: dict[str, Any], agent: str) -> Reply | None:
    """What this project was last about, in the first words that the model reads."""
    if event != "SessionStart" or not state.settings.agent_memory_context:
        return None

    def tell(conn: Connection, project_id: int, session_id: str) -> Told:
        source = str(payload.get("source") or "startup")
        return for_a_start(conn, state.settings, project_id=project_id, session_id=session_id, source=source)

    return _answer(state, payload, agent, AT_START_MS, tell)


def at_prompt(state: State, event: str, payload: dict[str, Any], agent: str) -> Reply | None:
    """What certainly belongs to a prompt, where the user wants it."""
    prompt = payload.get("prompt")
    if event != "UserPromptSubmit" or not state.settings.agent_memory_prompt_context:
        return None
    if not isinstance(prompt, str) or payload.get("agent_id") or not context.worth_looking_up(prompt):
        return None

    def tell(conn: Connection, project_id: int, session_id: str) -> Told:
        return context.at_prompt(
            conn,
            prompt,
            project_id=project_id,
            session_id=session_id,
            embedder=state.embedder(),
            seconds=AT_PROMPT_MS * _EMBEDDING_SHARE / 1000,
        )

    return _answer(state, payload, agent, AT_PROMPT_MS, tell)


def _answer(state: State, payload: dict[str, Any], agent: str, milliseconds: int, tell: Tell) -> Reply | None:
    """What `tell` makes of this session's project, in time, and written down. None: silence."""
    began = time.monotonic()
    session_id = payload.get("session_id")
    if not isinstance(session_id, str) or not session_id:
        return None
    try:
        with state.pool.connection(timeout=milliseconds / 1000) as conn, conn.transaction():
            project_id = _project(conn, session_id, payload.get("cwd"))
            if project_id is None or not context_store.context_wanted(conn, project_id):
                return None
            # The hook is gone by then, and whatever is still looked for would only take others' time.
            conn.execute("select set_config('statement_timeout', %s, true)", (str(milliseconds),))
            told = tell(conn, project_id, session_id)
            took = round((time.monotonic() - began) * 1000)
            outcome = "silent" if not told.text else "told" if took <= milliseconds else "late"
            _record(conn, payload, agent, project_id, told, outcome, took)
    except (psycopg.errors.QueryCanceled, psycopg_pool.PoolTimeout):
        took = round((time.monotonic() - began) * 1000)
        told = Told(reason=f"not found within {milliseconds} ms")
        with state.pool.connection(timeout=1) as conn, conn.transaction():
            project_id = _project(conn, session_id, payload.get("cwd"))
            if project_id is not None:
                _record(conn, payload, agent, project_id, told, "late", took)
        return None
    return Reply(context=told.text) if outcome == "told" else None


def _project(conn: Connection, session_id: str, cwd: Any) -> int | None:
    """The project that the session belongs to, where something was recorded of it. A session keeps its project."""
    known = journal.known_projects(conn, [session_id]).get(session_id)
    identity = projects.identify(cwd if isinstance(cwd, str) else None)
    if known is None and identity != projects.UNKNOWN:
        known = projects.known(conn, identity)
    # Sessions of which nobody knows where they were have nothing in common.
    nobodys = journal.project_id(conn, identity=projects.UNKNOWN.key)
    return None if known == nobodys else known


def _record(
    conn: Connection,
    payload: dict[str, Any],
    agent: str,
    project_id: int,
    told: Told,
    outcome: str,
    took: int,
) -> None:
    now = datetime.now(UTC)
    session = journal.SessionRow(
        id=payload["session_id"], project_id=project_id, agent=agent, started_at=now, last_event_at=now
    )
    journal.save_sessions(conn, [session])  # its start may still lie in the spool
    prompt_id = payload.get("prompt_id")
    context_store.record(
        conn,
        session_id=session.id,
        event=payload["hook_event_name"],
        outcome=outcome,
        reason=told.reason,
        prompt_id=prompt_id if isinstance(prompt_id, str) else None,
        text_sha=hashlib.sha256(told.text.encode()).digest() if told.text else None,
        chars=len(told.text) if outcome == "told" else 0,
        took_ms=took,
        shown=told.shown,
    )
