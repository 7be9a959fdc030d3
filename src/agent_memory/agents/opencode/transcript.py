"""OpenCode's session database (SQLite, in WAL mode, while OpenCode writes it), read as Events. Schema of 1.18.33.

    for line in read(path, offset):
        …ingest line.events…, and keep line.end as the offset to go on from

A `Line` is a row of the tables `session`, `message` and `part`, in the order in which they were written last, and its
offset is that time in milliseconds since 1970: rows change as a message grows, and a changed row is told again.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from agent_memory.agents import fields
from agent_memory.agents.json_lines import EMPTY, MALFORMED, Line, parse
from agent_memory.agents.opencode.payload import (
    AGENT,
    began_at,
    call_of,
    error_of,
    messages_of,
    prompt_text,
)
from agent_memory.journal.event import Body, Event, Prompt, SessionStart, TurnEnd

OVERLAP_MS = 1_000
"""How far an offset lies before its row: a row of an earlier time may be committed a little later."""
SETTLED_MS = 2_000
"""The age at which a user's message that has no answer yet is surely whole: its parts are rows of their own."""

SUBAGENT = "a subagent's session: its work is told with the session above it"
CLIENTS_TEXT = "written by the client in the user's name"
UNFINISHED = "a message that is still being written"
TOLD_WITH_MESSAGE = "a text: it is told with its message"
WITHOUT_TEXT = "a message of nothing but calls and thoughts"
WRITING = "a call whose input is still being written"
PARTS = {
    "agent": "a mention of an agent",
    "compaction": "the mark of a compaction: its summary is a message",
    "file": "a file that was attached",
    "patch": "bookkeeping of changed files",
    "reasoning": "thinking",
    "retry": "a request that was tried again",
    "snapshot": "bookkeeping of changed files",
    "step-finish": "the mark of a step's end",
    "step-start": "the mark of a step's beginning",
    "subtask": TOLD_WITH_MESSAGE,
    "text": TOLD_WITH_MESSAGE,
}
UNKNOWN = "a kind of row that is not known here"

_CHANGED = """
    select time_updated, 1 as rank, 'session' as kind, id from session where time_updated > :after
    union all select time_updated, 2, 'message', id from message where time_updated > :after
    union all select time_updated, 3, 'part', id from part where time_updated > :after
    order by 1, 2, 4
"""


def default_path() -> Path:
    """Where OpenCode keeps its database, unless `OPENCODE_DB` says otherwise."""
    share = os.environ.get("XDG_DATA_HOME")
    folder = (Path(share) if share else Path.home() / ".local" / "share") / "opencode"
    return folder / os.environ.get("OPENCODE_DB", "opencode.db")


def read(path: Path, offset: int = 0) -> Iterator[Line]:
    """The rows of the database at `path` that were written after `offset` (in milliseconds since 1970).

    Safe beside a running OpenCode: it is one read transaction on a read-only connection. Reading ends before a
    prompt that may not be whole yet; it is left for the next time. Raises OSError where it cannot be read.
    """
    try:
        with closing(_open(path)) as database:
            yield from _lines(database, str(path), offset)
    except sqlite3.Error as error:
        raise OSError(f"{error} (read as OpenCode's database)") from error


def _open(path: Path) -> sqlite3.Connection:
    path.stat()
    database = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
    try:
        database.execute("begin")
        database.execute("select 1 from session").fetchone()
    except sqlite3.Error as error:
        database.close()
        if not isinstance(error, sqlite3.OperationalError) or Path(f"{path}-wal").exists():
            raise
        # In a folder that cannot be written, and with nobody writing the database, SQLite must be told so.
        database = sqlite3.connect(f"{path.absolute().as_uri()}?immutable=1", uri=True, isolation_level=None)
    return database


@dataclass(slots=True)
class _Session:
    id: str
    parent: str | None
    directory: str | None
    version: str | None
    messages: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By id: `role`, `parentID`, `agent`, `modelID`, `answered`, and for a user's message `text` and `command`."""
    prompts: dict[str, str | None] = field(default_factory=dict)
    """A user's message → the prompt that it belongs to: itself, or the one before it where nobody typed it."""


class _Database:
    """What rows mean depends on others, which are looked up once per session."""

    def __init__(self, database: sqlite3.Connection, path: str) -> None:
        self.database, self.path = database, path
        rows = database.execute("select id, parent_id, directory, version from session")
        self.known = {row[0]: _Session(*row) for row in rows}
        self.loaded: set[str] = set()
        self.driven: dict[str, str | None] = {}
        """A subagent's session → the prompt that drove it."""

    def session(self, session_id: str) -> _Session:
        found = self.known.setdefault(session_id, _Session(session_id, None, None, None))
        if session_id not in self.loaded:
            self.loaded.add(session_id)
            self._load(found)
        return found

    def root(self, session: _Session) -> _Session:
        for _ in range(10):
            if session.parent is None or session.parent not in self.known:
                break
            session = self.known[session.parent]
        return session

    def prompt_of(self, session: _Session, message_id: str | None) -> str | None:
        """The typed prompt that drove this message. A subagent's is that of the call which started it."""
        if session.parent is not None and session.parent in self.known:
            if session.id not in self.driven:
                self.driven[session.id] = self._prompt_of_subagent(session, self.session(session.parent))
            return self.driven[session.id]
        message = session.messages.get(message_id or "", {})
        asked = message_id if message.get("role") == "user" else message.get("parentID")
        return session.prompts.get(asked or "")

    def _prompt_of_subagent(self, session: _Session, parent: _Session) -> str | None:
        row = self.database.execute(
            "select message_id from part where session_id = ? and json_valid(data)"
            " and json_extract(data, '$.state.metadata.sessionId') = ? limit 1",
            (parent.id, session.id),
        ).fetchone()
        return self.prompt_of(parent, row[0]) if row else None

    def row(self, kind: str, id_: str) -> tuple[str, str, int, str]:
        """Session id, message id (of a part), time of creation, and the data as JSON."""
        if kind == "session":
            return (
                *self.database.execute(
                    "select id, '', time_created, '{}' from session where id = ?", (id_,)
                ).fetchone(),
            )
        message = "message_id" if kind == "part" else "id"
        return (
            *self.database.execute(
                f"select session_id, {message}, time_created, data from {kind} where id = ?", (id_,)
            ).fetchone(),
        )

    def _load(self, session: _Session) -> None:
        rows = self.database.execute(
            "select id, data from message where session_id = ? order by time_created, id", (session.id,)
        )
        for id_, data in rows:
            info = parse(data.encode()) or {}
            session.messages[id_] = {
                name: info.get(name) for name in ("role", "parentID", "agent", "modelID")
            }
        typed: str | None = None
        for id_, message in session.messages.items():
            if message["role"] != "user":
                if message["parentID"] in session.messages:
                    session.messages[message["parentID"]]["answered"] = True
                continue
            parts = self.parts(id_)
            message["text"] = prompt_text(parts)
            message["command"] = any(part.get("command") for part in parts)
            typed = id_ if message["text"] is not None else typed
            session.prompts[id_] = typed

    def parts(self, message_id: str) -> list[dict[str, Any]]:
        rows = self.database.execute(
            "select id, data from part where message_id = ? order by id", (message_id,)
        )
        return [(parse(data.encode()) or {}) | {"id": id_} for id_, data in rows]


def _lines(database: sqlite3.Connection, path: str, offset: int) -> Iterator[Line]:
    about = _Database(database, path)
    now = time.time() * 1000
    for updated, _, kind, id_ in database.execute(_CHANGED, {"after": offset}):
        session_id, message_id, created, data = about.row(kind, id_)
        session = about.session(session_id)
        end = updated - OVERLAP_MS
        info = parse(data.encode()) if data.strip() else {}
        if info is None:
            yield Line(end, (), (MALFORMED,))
            continue
        young = kind == "message" and info.get("role") == "user" and now - created < SETTLED_MS
        if young and not session.messages[id_].get("answered"):
            return
        at = datetime.fromtimestamp(created / 1000, UTC)
        if kind == "session":
            told = _of_session(session, at)
        elif kind == "message":
            told = _of_message(about, session, id_, info, at)
        else:
            told = _of_part(info, at)
        events = tuple(
            _event(about, session, message_id, info, when, body)
            for when, body in (item for item in told if not isinstance(item, str))
        )
        yield Line(end, events, tuple(item for item in told if isinstance(item, str)))


def _event(
    about: _Database, session: _Session, message_id: str, info: dict[str, Any], at: datetime, body: Body
) -> Event:
    root = about.root(session)
    aside = root is not session
    message = session.messages.get(message_id, {})
    own_prompt = isinstance(body, Prompt)
    return Event(
        agent=AGENT,
        session_id=root.id,
        occurred_at=at,
        body=body,
        cwd=session.directory,
        prompt_id=message_id if own_prompt else about.prompt_of(session, message_id) if message_id else None,
        subagent_id=session.id if aside else None,
        subagent_type=message.get("agent") if aside else None,
        model=fields.optional(message, "modelID")
        or fields.optional(fields.mapping(info.get("model")), "modelID"),
        agent_version=session.version,
        transcript_path=about.path,
    )


_Told = list[tuple[datetime, Body] | str]


def _of_session(session: _Session, at: datetime) -> _Told:
    return [SUBAGENT] if session.parent else [(at, SessionStart())]


def _of_message(about: _Database, session: _Session, id_: str, info: dict[str, Any], at: datetime) -> _Told:
    times = fields.mapping(info.get("time"))
    if info.get("role") == "user":
        known = session.messages[id_]
        if known["text"] is None:
            return [CLIENTS_TEXT]
        if not known["text"]:
            return [EMPTY]
        aside = about.root(session) is not session
        kind: Any = "subagent" if aside else "command" if known["command"] else "user"
        return [(fields.moment(times.get("created"), at), Prompt(text=known["text"], kind=kind))]
    if not times.get("completed"):
        return [UNFINISHED]
    told: _Told = [*messages_of(info, about.parts(id_), at)] or [WITHOUT_TEXT]
    done = fields.moment(times.get("completed"), at)
    over = info.get("finish") not in (None, "tool-calls") and info.get("summary") is not True
    if about.root(session) is session and (over or info.get("error")):
        told.append((done, TurnEnd(error=error_of(info["error"]) if info.get("error") else None)))
    return told


def _of_part(info: dict[str, Any], at: datetime) -> _Told:
    if info.get("type") != "tool":
        return [PARTS.get(str(info.get("type")), UNKNOWN)]
    try:
        call = call_of(info)
    except ValueError:
        return [MALFORMED]
    return [(began_at(info, at), call)] if call else [WRITING]
