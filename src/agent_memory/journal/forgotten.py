"""What must not come in again: the tombstones, held against what is being stored.

Where nothing is forgotten, `look` costs a lock and one row. Else the events of what was forgotten are left out, and
of what is new the forgotten texts: one that was forgotten whole, and each forgotten passage, gives way to a mark.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from agent_memory.database import Connection
from agent_memory.journal import passages, projects, store, tombstones
from agent_memory.journal.event import AssistantMessage, Event, Prompt, ToolCall
from agent_memory.journal.folding import fold
from agent_memory.journal.tombstones import Key, base, key, keys

WHOLE_CHARS = 40
"""A prompt or a message that is shorter, folded, is forgotten in its place, but not everywhere: “continue” will be
said again."""

_LEFTOVERS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("session", ()),
    ("turn", ("",)),
    ("call", ("",)),
    ("message", ("",)),
)


def look(conn: Connection) -> Forgotten | None:
    """What is forgotten, or None. Until the transaction ends nothing else is."""
    tombstones.share(conn)
    secret = tombstones.secret(conn)
    return Forgotten(conn, secret) if secret is not None else None


def texts_in(value: Any) -> Iterator[str]:
    """The texts of a JSON value, the names of its fields among them."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from value
        value = list(value.values())
    if isinstance(value, list):
        for part in value:
            yield from texts_in(part)


class Forgotten:
    def __init__(self, conn: Connection, secret: bytes) -> None:
        self._conn = conn
        self._secret = secret
        scanned = tombstones.scanned(conn)
        self._passages = [one for one in scanned if one.kind == "passage"]
        self._periods: dict[bytes, list[Key]] = {}
        for one in scanned:
            if one.kind == "period":
                self._periods.setdefault(one.key, []).append(one)

    @property
    def cuts(self) -> bool:
        """Whether any passage is forgotten."""
        return bool(self._passages)

    def outside(self, events: Sequence[Event]) -> list[Event]:
        """The events that belong to no forgotten session and to no forgotten time."""
        sessions = {event.session_id for event in events}
        gone = self.sessions(sessions)
        events = [event for event in events if event.session_id not in gone]
        if not self._periods:
            return events
        places = self._places(events)
        return [
            event
            for event in events
            if not self.in_period(event.session_id, places[event.session_id], event.occurred_at)
        ]

    def sessions(self, ids: set[str]) -> set[str]:
        """Which of these sessions are forgotten."""
        by_key = {key(self._secret, "session", session_id): session_id for session_id in ids}
        return {by_key[found] for _, found, _ in tombstones.known(self._conn, list(by_key))}

    def left(self, events: Sequence[Event], fingerprint: Any) -> list[Event]:
        """The events whose turn, prompt, call or message is not forgotten; each knows its prompt by now."""
        made = [self._keys_of(event, fingerprint) for event in events]
        known = tombstones.known(self._conn, [one for several in made for one in several])
        gone = {found for _, found, _ in known}
        return [event for event, several in zip(events, made, strict=True) if gone.isdisjoint(several)]

    def rows(self, rows: Sequence[Mapping[str, Any]], kind: str) -> list[bool]:
        """The same of rows that are stored: prompts, calls or messages, as `kind` says."""
        made = []
        for row in rows:
            session, turn = row["session_id"], row["turn"]
            several = keys(self._secret, "turn", session, turn) if turn else []
            if kind == "call":
                several += keys(self._secret, "call", session, row["tool_use_id"])
            elif kind == "prompt":
                several += keys(self._secret, "prompt", session, turn, bytes(row["text_sha"]))
            else:
                uuid = row["message_uuid"]
                several += keys(self._secret, "message", session, uuid) if uuid else []
                several += keys(self._secret, "said", session, turn, bytes(row["text_sha"]))
            made.append(several)
        known = tombstones.known(self._conn, [one for several in made for one in several])
        gone = {found for _, found, _ in known}
        return [not gone.isdisjoint(several) for several in made]

    def text(self, text: str, project_id: int) -> str:
        """`text` without the passages that are forgotten in this project."""
        mine = [one for one in self._passages if one.project_id in (None, project_id)]
        return passages.without(text, self._secret, mine) if mine else text

    def value(self, value: Any, project_id: int) -> Any:
        """A JSON value whose texts are without these passages."""
        if isinstance(value, str):
            return self.text(value, project_id)
        if isinstance(value, Mapping):
            return {self.text(name, project_id): self.value(part, project_id) for name, part in value.items()}
        return [self.value(part, project_id) for part in value] if isinstance(value, list) else value

    def holding(self, texts: Iterable[str]) -> set[str]:
        """Those of the texts that hold a passage that is forgotten, in whatever project: for many texts at once, since
        hardly any does. `text` and `value` then tell of the one project."""
        return passages.holding(texts, self._secret, self._passages) if self._passages else set()

    def whole(self, texts: Sequence[tuple[str, int]], *, shortest: int = WHOLE_CHARS) -> list[bool]:
        """Which of these (text, project) were forgotten as they are, in whatever case, spaces and look-alikes."""
        folded = [fold(text) for text, _ in texts]
        made = [key(self._secret, "text", one) if len(one) >= shortest else b"" for one in folded]
        known = tombstones.known(self._conn, [one for one in made if one])
        gone = {(found, project) for _, found, project in known}
        return [
            bool(one) and ((one, None) in gone or (one, project) in gone)
            for one, (_, project) in zip(made, texts, strict=True)
        ]

    def external(self, ids: Sequence[tuple[str, int]]) -> list[bool]:
        """Which of these (external id, project) belonged to a forgotten observation."""
        made = [key(self._secret, "external", one) for one, _ in ids]
        gone = {(found, project) for _, found, project in tombstones.known(self._conn, made)}
        return [
            (one, project) in gone or (one, None) in gone for one, (_, project) in zip(made, ids, strict=True)
        ]

    def in_leftover(self, texts: Sequence[str], ids: set[str]) -> bool:
        """Whether texts and ids of an unknown place are of something forgotten, in whatever project."""
        made = [key(self._secret, kind, *where, one) for one in ids for kind, where in _LEFTOVERS]
        made += [
            key(self._secret, "text", folded) for text in texts if len(folded := fold(text)) >= WHOLE_CHARS
        ]
        if tombstones.known(self._conn, made):
            return True
        return any(passages.spans(fold(text), self._secret, self._passages) for text in texts)

    def _keys_of(self, event: Event, fingerprint: Any) -> list[bytes]:
        secret, session, body = self._secret, event.session_id, event.body
        prompt = base(event.prompt_id)
        found = keys(secret, "turn", session, prompt) if prompt else []
        if isinstance(body, Prompt):
            found += keys(secret, "prompt", session, prompt, fingerprint(body.text))
        elif isinstance(body, ToolCall):
            found += keys(secret, "call", session, body.tool_use_id)
        elif isinstance(body, AssistantMessage):
            found += keys(secret, "message", session, body.uuid) if body.uuid else []
            found += keys(secret, "said", session, prompt, fingerprint(body.text))
        return found

    def _places(self, events: Sequence[Event]) -> dict[str, set[str]]:
        """The identity of each session's project, none of which becomes known by it, and of the one that its folder
        names, where somebody merged or split these."""
        known = store.identities(self._conn, list({event.session_id for event in events}))
        found = {event.session_id: {known.get(event.session_id, "")} for event in events}
        folders = {(event.session_id, event.cwd) for event in events if event.cwd}
        groups = projects.groups(self._conn) if folders else projects.Groups()
        for session_id, cwd in folders:
            found[session_id] |= {groups.own(projects.identify(cwd)), groups.of(cwd)}
        return found

    def in_period(self, session_id: str, identities: Collection[str], at: datetime) -> bool:
        """Whether a forgotten time holds for this session, in a project with one of these identities."""
        places = (
            [("",), ("session", session_id), *(("project", one) for one in identities)]
            if self._periods
            else []
        )
        return any(
            (one.since is None or one.since <= at) and (one.until is None or at < one.until)
            for place in places
            for one in self._periods.get(key(self._secret, "period", *place), ())
        )
