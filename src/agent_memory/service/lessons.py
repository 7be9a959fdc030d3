"""The active lessons in the service's memory, and what they say to a hook.

Matching touches no database: the lessons are held compiled, and a notification tells when somebody changed one, in
whatever process. Only a lesson that speaks is written down, as soon as it has been said: the hook does not wait for the
disk. Until then it is in this process's memory alone, so a service that is killed in between loses the record of it,
and may tell it once more in that turn; one that is stopped loses nothing.
"""

from __future__ import annotations

import collections
import functools
import logging
import select
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import psycopg
import psycopg_pool

from agent_memory.agents.claude_code.payload import is_ours, prompt_kind
from agent_memory.agents.reply import Reply
from agent_memory.database import Connection
from agent_memory.journal import projects
from agent_memory.lessons import active, moment, store
from agent_memory.lessons.active import Active
from agent_memory.lessons.moment import Moment, Phase
from agent_memory.lessons.store import Firing
from agent_memory.service.asks import Ask, Board

if TYPE_CHECKING:
    from agent_memory.service.state import State

log = logging.getLogger(__name__)

DEADLINE = 100  # milliseconds that a hook waits
RECORD_WITHIN = 1.0  # seconds to get a connection; what is not recorded by then is a moment later
MOST_TURNS = 1_000  # whose lessons are remembered, so that none is told twice
MOST_UNRECORDED = 1_000
LISTEN_S = 0.5  # between two looks at whether the service stops
LOOK_EVERY = 20  # times that long, after which the lessons are looked at although nobody told of a change

EVENTS: dict[str, Phase] = {
    "PreToolUse": "before",
    "PostToolUseFailure": "after_failure",
    "UserPromptSubmit": "prompt",
    "Stop": "end",
}

Turn = tuple[str, str | None, str | None]
"""Session, prompt, subagent."""


class Lessons:
    """What the service holds of lessons: the active ones, and what they said in the turns that run."""

    def __init__(self) -> None:
        self.active = Active()
        self.groups = projects.Groups()
        self.told: collections.OrderedDict[Turn, set[int]] = collections.OrderedDict()
        self.unrecorded: collections.deque[Firing] = collections.deque(maxlen=MOST_UNRECORDED)
        self.lock = threading.Lock()
        self.recording = threading.Lock()


def answer(state: State, event: str, payload: dict[str, Any], agent: str) -> Reply | None:  # noqa: ARG001
    """What the lessons say to this hook. Whoever gives the answer calls `record` afterwards."""
    held = state.lessons
    seen = moment_of(event, payload)
    if seen is None:
        return None
    here = functools.cache(lambda: held.groups.of(_text(payload, "cwd")))
    matching = held.active.matching(seen, here)
    if not matching:
        return None
    turn = (_text(payload, "session_id") or "", _text(payload, "prompt_id"), _text(payload, "agent_id"))
    with held.lock:
        told = held.told.get(turn)
        if told is None:
            told = held.told[turn] = set()
            while len(held.told) > MOST_TURNS:
                held.told.popitem(last=False)
        held.told.move_to_end(turn)
        speaking = active.chosen(matching, told)
        told.update(one.id for one in speaking)
    if not speaking:
        return None
    session_id, prompt_id, agent_id = turn
    held.unrecorded.extend(
        [
            Firing(
                lesson_id=one.id,
                project=here(),
                session_id=session_id,
                prompt_id=prompt_id,
                agent_id=agent_id,
                tool_use_id=_text(payload, "tool_use_id"),
                tool_name=seen.tool or None,
                phase=seen.phase,
                action=one.action,
            )
            for one in speaking
        ]
    )
    return active.reply(speaking)


def moment_of(event: str, payload: dict[str, Any]) -> Moment | None:
    """What a lesson's trigger may look at in this payload; None where no lesson speaks."""
    phase = EVENTS.get(event)
    if phase == "prompt":
        text = _text(payload, "prompt") or ""
        return moment.said("prompt", text) if prompt_kind(text) == "user" else None
    if phase == "end":
        # After a lesson has spoken at an end, the agent goes on and ends again.
        if payload.get("stop_hook_active"):
            return None
        return moment.said("end", _text(payload, "last_assistant_message") or "")
    tool = _text(payload, "tool_name")
    if phase is None or tool is None or is_ours(tool):
        return None
    given = payload.get("tool_input")
    return moment.call(
        phase,
        tool,
        given if isinstance(given, dict) else {"input": given},
        cwd=_text(payload, "cwd"),
        error=_text(payload, "error") if phase == "after_failure" else None,
    )


def listen(state: State, conn: Connection, asks: Board, stopping: Callable[[], bool]) -> None:
    """Hold the active lessons, and say which events they want to answer, until the service stops. `conn` is this
    thread's own."""
    conn.autocommit = True
    store.listen(conn)
    remember(state, conn)
    seen: object = None
    quiet = LOOK_EVERY
    while not stopping():
        if quiet >= LOOK_EVERY and (version := store.version(conn)) != seen:
            seen = version
            # Lessons move with their projects: who regroups these changes the lessons too, and so we hear of it.
            state.lessons.groups = projects.groups(conn)
            state.lessons.active = Active(store.active(conn))
            asks.want("lessons", asked(state.lessons.active))
            log.info("%d active lessons", len(state.lessons.active.lessons))
        record_late(state, conn)
        select.select([conn.fileno()], [], [], LISTEN_S)  # psycopg's own wait wakes ten times a second
        told = any(conn.notifies(timeout=0))
        quiet = LOOK_EVERY if told else quiet % LOOK_EVERY + 1
    record_late(state, conn)


def asked(lessons: Active) -> list[Ask]:
    """What the hooks are to ask about: the events and tools at which some lesson may speak."""
    wanted = []
    for event, phase in EVENTS.items():
        tools = lessons.tools(phase)
        if tools is not None:
            names = tuple(sorted({_beginning(tool) for tool in tools}))
            wanted.append(Ask(event, DEADLINE, () if "*" in names or phase in ("prompt", "end") else names))
    return wanted


def _beginning(glob: str) -> str:
    """A tool's name, or the beginning of one with `*`, as the hook reads it."""
    for place, char in enumerate(glob):
        if char in "*?" or char.isspace() or not char.isascii():
            return f"{glob[:place]}*"
    return glob


def remember(state: State, conn: Connection) -> None:
    """Learn what the lessons said in the latest turns to a service that ran before this one."""
    before = store.told(conn, MOST_TURNS)
    with state.lessons.lock:
        if not state.lessons.told:
            state.lessons.told.update(before)


def record(state: State) -> None:
    """Write down what the lessons have said, or leave it to the thread that listens."""
    held = state.lessons
    if not held.recording.acquire(blocking=False):
        return
    taken: list[Firing] = []
    try:
        with state.pool.connection(timeout=RECORD_WITHIN) as conn:
            while held.unrecorded:
                taken.append(held.unrecorded.popleft())
            store.record(conn, taken)
    except (psycopg.Error, psycopg_pool.PoolTimeout) as error:
        log.warning("a lesson spoke and is written down later: %s", error)
        held.unrecorded.extendleft(reversed(taken))
    finally:
        held.recording.release()


def record_late(state: State, conn: Connection) -> None:
    """Write down what could not be recorded at once. `conn` commits by itself."""
    with state.lessons.recording:
        while state.lessons.unrecorded:
            firing = state.lessons.unrecorded[0]
            try:
                store.record(conn, [firing])
            except (psycopg.IntegrityError, psycopg.DataError) as error:
                # The lesson is gone, or a session's name cannot be stored: trying again would hold up the others.
                log.info("that lesson %d spoke is not written down: %s", firing.lesson_id, error)
            state.lessons.unrecorded.popleft()


def _text(payload: dict[str, Any], field: str) -> str | None:
    value = payload.get(field)
    return value if isinstance(value, str) else None
