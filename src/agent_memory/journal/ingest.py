"""Events into journal rows: redacted, idempotent, and with the work that follows queued in the same transaction.

The one way in: the spool, the REST routes, the backfill and the reconciliation all end here.
"""

from __future__ import annotations

import bisect
import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from agent_memory import machine
from agent_memory.database import Connection
from agent_memory.journal import announce, forgotten, projects, store, twice_told
from agent_memory.journal.event import (
    AssistantMessage,
    Event,
    Prompt,
    SessionEnd,
    SessionStart,
    ToolCall,
    TurnEnd,
)
from agent_memory.journal.forgotten import Forgotten
from agent_memory.journal.passages import CUT
from agent_memory.journal.redaction import redact, redact_value
from agent_memory.settings import Settings

REDACTION_MARGIN = 8_192
"""Characters read beyond the output's limit before redaction, so that a secret across the cut is seen whole."""


@dataclass(slots=True)
class Counts:
    """Rows that were not there before."""

    sessions: int = 0
    prompts: int = 0
    tool_calls: int = 0
    assistant_messages: int = 0

    def __iadd__(self, other: Counts) -> Counts:
        for field in self.__slots__:
            setattr(self, field, getattr(self, field) + getattr(other, field))
        return self


def ingest(conn: Connection, events: Sequence[Event], settings: Settings) -> Counts:
    """Write events, in any order and any number of times. The caller commits."""
    if not events:
        return Counts()
    gone = forgotten.look(conn)
    events = gone.outside(events) if gone else events
    known = store.known_sessions(conn, list({event.session_id for event in events}))
    events = [event for event in events if not _retired(event, known)]
    if not events:
        return Counts()
    rows = _Rows(settings)
    sessions = _sessions(conn, events, {id_: project for id_, (project, _) in known.items()})
    counts = Counts(sessions=store.save_sessions(conn, list(sessions.values())))
    events = _with_prompts(conn, twice_told.matched(conn, events, rows.shown))
    if gone:
        events = gone.left(events, fingerprint)
    for event in events:
        rows.add(event)
    if gone:
        rows.forget(gone, {session.id: session.project_id for session in sessions.values()})
    counts.prompts = store.save_prompts(conn, _apart(conn, rows.prompts))
    counts.tool_calls = store.save_calls(conn, list(rows.calls.values()))
    counts.assistant_messages = store.save_messages(conn, rows.messages)
    for event in rows.turn_ends:
        assert isinstance(event.body, TurnEnd)
        error = rows.text(event.body.error)
        if gone and error:
            error = gone.text(error, sessions[event.session_id].project_id)
        store.end_turn(conn, event.session_id, event.prompt_id or "", event.occurred_at, error)
    store.enqueue_turns(conn, [(e.session_id, e.prompt_id or "") for e in events if _makes_memory(e)])
    store.announce(conn, list(announce.announcements(_names(events, rows))))
    return counts


def _names(events: Sequence[Event], rows: _Rows) -> Iterator[announce.Name]:
    """What this batch has told of, new or not."""
    for event in events:
        if isinstance(event.body, SessionStart | SessionEnd):
            mark = "begun" if isinstance(event.body, SessionStart) else "ended"
            yield event.occurred_at, event.session_id, "marks", mark
    for prompt in rows.prompts:
        yield prompt.occurred_at, prompt.session_id, "prompts", prompt.id
    for call in rows.calls.values():
        yield call.occurred_at, call.session_id, "calls", call.tool_use_id
    for message in rows.messages:
        yield message.occurred_at, message.session_id, "messages", message.text_sha.hex()


def _retired(event: Event, known: Mapping[str, tuple[int, datetime | None]]) -> bool:
    """Whether retention has let go of what this tells."""
    _, until = known.get(event.session_id, (0, None))
    return until is not None and event.occurred_at <= until


def _makes_memory(event: Event) -> bool:
    return not isinstance(event.body, SessionStart | SessionEnd)


class _Rows:
    """The rows of one batch, redacted as they are added."""

    def __init__(self, settings: Settings) -> None:
        self.limit = settings.output_limit_chars
        self._redact: Callable[[str], str] = redact if settings.redact_secrets else lambda text: text
        self._redact_value: Callable[[Any], Any] = (
            redact_value if settings.redact_secrets else lambda value: value
        )
        self.prompts: list[store.PromptRow] = []
        self.calls: dict[tuple[str, str], store.CallRow] = {}
        self.messages: list[store.MessageRow] = []
        self.turn_ends: list[Event] = []

    def text(self, text: str | None) -> str | None:
        return None if text is None else self._redact(storable(text))

    def shown(self, value: Any) -> Any:
        """A value as it will be read from the journal again."""
        return orjson.loads(as_json(self._redact_value(value)))

    def output(self, text: str | None) -> str | None:
        if text is None:
            return None
        seen = self._redact(storable(text[: self.limit + REDACTION_MARGIN]))
        return seen[: self.limit]

    def add(self, event: Event) -> None:
        body = event.body
        if isinstance(body, Prompt):
            self.prompts.append(
                store.PromptRow(
                    session_id=event.session_id,
                    id=event.prompt_id or "",
                    kind=body.kind,
                    agent_id=event.subagent_id,
                    text=self.text(body.text) or "",
                    text_sha=fingerprint(body.text),
                    occurred_at=event.occurred_at,
                )
            )
        elif isinstance(body, ToolCall):
            self.add_call(event, body)
        elif isinstance(body, AssistantMessage):
            self.messages.append(
                store.MessageRow(
                    session_id=event.session_id,
                    prompt_id=event.prompt_id,
                    agent_id=event.subagent_id,
                    agent_type=event.subagent_type,
                    kind=body.kind,
                    message_uuid=body.uuid,
                    model=event.model,
                    text=self.text(body.text) or "",
                    text_sha=fingerprint(body.text),
                    usage=as_json(body.usage) if body.usage else None,
                    occurred_at=event.occurred_at,
                )
            )
        elif isinstance(body, TurnEnd):
            self.turn_ends.append(event)

    def forget(self, gone: Forgotten, projects: Mapping[str, int]) -> None:
        """Put a mark into the place of every text that is forgotten."""
        told: list[store.PromptRow | store.MessageRow] = [*self.prompts, *self.messages]
        calls = list(self.calls.values())
        inputs = [json.loads(call.tool_input) if gone.cuts else None for call in calls]
        holding = gone.holding(
            [row.text for row in told]
            + [text for call in calls for text in (call.output, call.error) if text is not None]
            + [text for given in inputs for text in forgotten.texts_in(given)]
        )
        whole = gone.whole([(row.text, projects[row.session_id]) for row in told])
        for row, forgotten_whole in zip(told, whole, strict=True):
            text = CUT if forgotten_whole else row.text
            if text in holding:
                text = gone.text(text, projects[row.session_id])
            if text != row.text:
                row.text, row.text_sha = text, fingerprint(text)
        for call, given in zip(calls, inputs, strict=True):
            project = projects[call.session_id]
            if call.output in holding:
                call.output = gone.text(call.output, project)
            if call.error in holding:
                call.error = gone.text(call.error, project)
            if not holding.isdisjoint(forgotten.texts_in(given)):
                call.tool_input = as_json(gone.value(given, project))

    def add_call(self, event: Event, call: ToolCall) -> None:
        row = store.CallRow(
            session_id=event.session_id,
            tool_use_id=call.tool_use_id,
            prompt_id=event.prompt_id,
            agent_id=event.subagent_id,
            agent_type=event.subagent_type,
            tool_name=call.name,
            tool_input=as_json(self._redact_value(call.input)),
            output=self.output(call.output),
            output_chars=None if call.output is None else len(call.output),
            success=call.success,
            error=self.output(call.error),
            duration_ms=call.duration_ms,
            occurred_at=event.occurred_at,
        )
        key = (event.session_id, call.tool_use_id)
        begun = self.calls.get(key)
        self.calls[key] = row if begun is None else _merged(begun, row)


def _merged(first: store.CallRow, second: store.CallRow) -> store.CallRow:
    """Two tellings of one call in one batch, as the database would merge them."""
    for field in store.CallRow.__slots__:
        if getattr(first, field) is None:
            setattr(first, field, getattr(second, field))
    first.occurred_at = min(first.occurred_at, second.occurred_at)
    return first


def _sessions(
    conn: Connection, events: Sequence[Event], known: Mapping[str, int]
) -> dict[str, store.SessionRow]:
    """One row a session of the batch, with what the batch knows of it. `known`: the projects of those that are."""
    rows: dict[str, store.SessionRow] = {}
    for event in events:
        row = rows.get(event.session_id)
        if row is None:
            if event.session_id in known:
                place = projects.Place(known[event.session_id], None)
            else:
                cwd = next((e.cwd for e in events if e.session_id == event.session_id and e.cwd), None)
                place = projects.place(conn, projects.identify(cwd))
            row = rows[event.session_id] = store.SessionRow(
                id=event.session_id,
                project_id=place.project_id,
                origin_id=place.origin_id,
                agent=event.agent,
                started_at=event.occurred_at,
                last_event_at=event.occurred_at,
                machine=machine.here(),
            )
        row.started_at = min(row.started_at, event.occurred_at)
        row.last_event_at = max(row.last_event_at, event.occurred_at)
        row.cwd = row.cwd or event.cwd
        row.agent_version = event.agent_version or row.agent_version
        row.git_branch = event.git_branch or row.git_branch
        if event.subagent_id is None:
            row.model = event.model or row.model
            row.transcript_path = row.transcript_path or event.transcript_path
        if isinstance(event.body, SessionStart):
            row.source = row.source or event.body.source
        elif isinstance(event.body, SessionEnd):
            row.ended_at, row.end_reason = event.occurred_at, event.body.reason
    return rows


def _with_prompts(conn: Connection, events: Sequence[Event]) -> list[Event]:
    """Give every event the id of the prompt that drove it. Agents that number their prompts have said it; for the
    others a prompt is named by its time, and what follows it in the session is its work."""
    if all(e.prompt_id for e in events if _makes_memory(e)):
        return list(events)
    nameless = {e.session_id for e in events if not e.prompt_id}
    turns = store.last_prompts(conn, list(nameless))
    named = []
    for event in sorted(events, key=lambda e: e.occurred_at):
        turn = turns.setdefault(event.session_id, [])
        if isinstance(event.body, Prompt):
            prompt_id = event.prompt_id or _prompt_name(event.occurred_at, event.body.text)
            if event.subagent_id is None:
                bisect.insort(turn, (event.occurred_at, prompt_id))
        else:
            before = bisect.bisect_right(turn, event.occurred_at, key=lambda t: t[0])
            prompt_id = event.prompt_id or (turn[before - 1][1] if before else "")
        named.append(_replace_prompt(event, prompt_id or None))
    return named


def _prompt_name(at: datetime, text: str) -> str:
    return f"{at:%Y%m%dT%H%M%S%f}-{fingerprint(text).hex()[:8]}"


def _replace_prompt(event: Event, prompt_id: str | None) -> Event:
    return event if event.prompt_id == prompt_id else dataclasses.replace(event, prompt_id=prompt_id)


def _apart(conn: Connection, rows: Sequence[store.PromptRow]) -> list[store.PromptRow]:
    """Two texts under one prompt id (a message typed while the agent works) are two rows: the second's id gets its
    text's hash. The same text again is the same row."""
    seen = store.prompt_texts(conn, [(row.session_id, row.id) for row in rows])
    kept: dict[tuple[str, str], store.PromptRow] = {}
    for row in rows:
        if seen.setdefault((row.session_id, row.id), row.text_sha) != row.text_sha:
            row.id = f"{row.id}/{row.text_sha.hex()[:8]}"
        kept.setdefault((row.session_id, row.id), row)
    return list(kept.values())


def fingerprint(text: str) -> bytes:
    """16 bytes that tell two texts apart. Taken before redaction, so that a better redaction later does not make an
    old text look new; white space at the ends does not count."""
    return hashlib.sha256(text.strip().encode("utf-8", "surrogatepass")).digest()[:16]


def storable(text: str) -> str:
    """Postgres takes neither NUL nor half a surrogate pair in a text."""
    if "\x00" in text:
        text = text.replace("\x00", "\ufffd")
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def as_json(value: Any) -> str:
    """JSON that Postgres's jsonb takes."""
    try:
        packed = orjson.dumps(value)
        if b"\\u0000" not in packed:
            return packed.decode()
    except TypeError:  # half a surrogate pair, or a number over 64 bits
        pass
    return json.dumps(_storable_value(value), ensure_ascii=False)


def _storable_value(value: Any) -> Any:
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, dict):
        return {storable(str(k)): _storable_value(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_storable_value(v) for v in value]
    return value
