"""The rows that are to go, as they are gathered, and the keys that keep them away."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from agent_memory.journal import tombstones, twice_told
from agent_memory.journal.folding import fold
from agent_memory.journal.forgotten import WHOLE_CHARS
from agent_memory.journal.tombstones import Key

_NAMED_BY_TIME = re.compile(r"\d{8}T\d{12}-[0-9a-f]{8}")
Turn = tuple[str, str]
"""Session and prompt."""


class Rows:
    """Rows of the journal and observations."""

    def __init__(self, secret: bytes) -> None:
        self.secret = secret
        self.keys: list[Key] = []
        self.prompts: list[tuple[str, str]] = []
        self.calls: list[int] = []
        self.messages: list[int] = []
        self.observations: dict[int, Mapping[str, Any]] = {}
        self.sessions: set[str] = set()
        self.turns: set[Turn] = set()
        """Turns that go with all their rows, those included that come later."""
        self.touched: set[Turn] = set()
        """Turns that lose a row."""
        self.projects: set[int] = set()
        """Whose index of words has to be made anew."""
        self.data_sets: set[tuple[int, str]] = set()
        """Data sets for training that hold something of them."""
        self._times: dict[Turn, tuple[datetime, datetime]] = {}
        self._agents: dict[Turn, str] = {}

    def prompt(self, row: Mapping[str, Any]) -> None:
        self.prompts.append((row["session_id"], row["id"]))
        self._touch(row)
        self._row_keys("prompt", row["session_id"], row["turn"], bytes(row["text_sha"]))
        self.whole(row["text"], row["project_id"])

    def call(self, row: Mapping[str, Any]) -> None:
        self.calls.append(row["id"])
        self._touch(row)
        self._row_keys("call", row["session_id"], row["tool_use_id"])

    def message(self, row: Mapping[str, Any]) -> None:
        self.messages.append(row["id"])
        self._touch(row)
        if row["message_uuid"]:
            self._row_keys("message", row["session_id"], row["message_uuid"])
        self._row_keys("said", row["session_id"], row["turn"], bytes(row["text_sha"]))
        self.whole(row["text"], row["project_id"])

    def observation(self, row: Mapping[str, Any]) -> None:
        if row["id"] in self.observations:
            return
        self.observations[row["id"]] = row
        self.projects.add(row["project_id"])
        of_the_journal = row["kind"] in ("turn", "summary")
        self.whole(row["text"], row["project_id"], shortest=WHOLE_CHARS if of_the_journal else 1)
        if row["external_id"] and not of_the_journal:
            made = tombstones.key(self.secret, "external", row["external_id"])
            self.add_key("external", made, project_id=row["project_id"])

    def turn(self, row: Mapping[str, Any]) -> None:
        """Keep a row's turn away."""
        if row["turn"]:
            self._row_keys("turn", row["session_id"], row["turn"])

    def whole(self, text: str, project_id: int, *, shortest: int = WHOLE_CHARS) -> None:
        """Keep a text away from a project, if it is long enough to be nobody else's."""
        folded = fold(text)
        if len(folded) >= shortest:
            self.add_key("text", tombstones.key(self.secret, "text", folded), project_id=project_id)

    def period(self, place: tuple[str, ...], since: datetime | None, until: datetime | None) -> None:
        made = tombstones.key(self.secret, "period", *place)
        self.keys.append(Key(kind="period", key=made, since=since, until=until))

    def name_turns(self, next_prompt: Callable[[str, datetime], datetime | None]) -> None:
        """Keep whole turns away. Where nobody numbers a session's prompts, they are known by their time."""
        for session, prompt in self.turns:
            if prompt:
                self._row_keys("turn", session, prompt)
            times = self._times.get((session, prompt))
            agent = self._agents.get((session, prompt))
            if times and (_NAMED_BY_TIME.fullmatch(prompt) or agent in twice_told.WITHOUT_IDS):
                end = times[1] + twice_told.PATIENCE
                following = next_prompt(session, times[0])
                end = min(end, following) if following else end
                self.period(("session", session), times[0], max(end, times[0] + timedelta(microseconds=1)))

    def everywhere(self) -> None:
        """Let every key hold in all projects."""
        self.keys = [replace(one, project_id=None) for one in self.keys]

    def add_key(self, kind: str, key: bytes, *, project_id: int | None = None) -> None:
        self.keys.append(Key(kind=kind, key=key, project_id=project_id))

    def _row_keys(self, kind: str, session: str, *parts: str | bytes) -> None:
        for made in tombstones.keys(self.secret, kind, session, *parts):
            self.add_key(kind, made)

    def _touch(self, row: Mapping[str, Any]) -> None:
        turn = (row["session_id"], row["turn"])
        self.touched.add(turn)
        self.projects.add(row["project_id"])
        self._agents[turn] = row["agent"]
        first, last = self._times.get(turn, (row["occurred_at"], row["occurred_at"]))
        self._times[turn] = (min(first, row["occurred_at"]), max(last, row["occurred_at"]))
