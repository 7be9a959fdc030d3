"""Forget what a person names: from every table at once, with a tombstone that keeps it away.

One transaction does all of it, and nobody else writes meanwhile (`tombstones.own`): killed in the middle, nothing has
happened. The observation of a turn that only loses some of its rows is built again from the rest in the same
transaction.

Data sets that hold something of it are marked stale in their register. Files that were written earlier are out of reach
here, theirs and those of exports: to delete them is the user's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from agent_memory.database import Connection
from agent_memory.errors import AgentMemoryError
from agent_memory.forgetting import store
from agent_memory.forgetting.rows import Rows
from agent_memory.journal import folding, passages, tombstones
from agent_memory.lessons import mined
from agent_memory.observations import postings, worker


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is to be forgotten: observations, a session, a text, a time, or a project; `checked` says which."""

    ids: tuple[int, ...] = ()
    session: str | None = None
    text: str | None = None
    since: datetime | None = None
    """Inclusive."""
    until: datetime | None = None
    """Exclusive."""
    project_id: int | None = None
    """Where; None: in every project. By itself: all of this project."""

    @property
    def what(self) -> str:
        if self.ids:
            return "observations"
        if self.session is not None:
            return "session"
        if self.text is not None:
            return "text"
        return "period" if self.since or self.until else "project"

    def checked(self) -> Wanted:
        """Itself. Raises AgentMemoryError (422) where it names nothing, or too much at once."""
        named = (
            bool(self.ids),
            self.session is not None,
            self.text is not None,
            bool(self.since or self.until),
        )
        if sum(named) > 1 or not (any(named) or self.project_id is not None):
            raise AgentMemoryError(
                "It is not clear what is to be forgotten.",
                "Name one of: ids, a session, a text, a time (since, until), or a project alone.",
                status=422,
            )
        if self.since and self.until and self.since >= self.until:
            raise AgentMemoryError("The time ends before it begins.", "Give since before until.", status=422)
        if self.text is not None and not passages.long_enough(folding.fold(self.text)):
            raise AgentMemoryError(
                f"A text of less than {passages.SHORTEST} characters would be in nearly everything.",
                "Give a longer passage, or ids.",
                status=422,
            )
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What was done. No text is in it."""

    tombstone: int
    forgotten_at: datetime
    forgotten_by: str
    what: str
    counts: Mapping[str, int]
    """Rows that went, by table."""
    rebuilt: int = 0
    """Turns that lost some of their rows, and whose observation was built again from the others."""
    stale: list[dict[str, str]] = field(default_factory=list)
    """The data sets for training that hold something of it: `folder`, and `machine`, "" where that is not known."""
    stale_runs: list[dict[str, str]] = field(default_factory=list)
    """The training runs that learned from those: `name`, `folder`, `machine`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What would go."""

    counts: Mapping[str, int]
    rebuilt: int
    observations: list[dict[str, Any]] = field(default_factory=list)
    """id, kind, title and occurred_at of each that would go."""


def plan(conn: Connection, wanted: Wanted) -> Plan:
    """What forgetting would do, found by doing it and taking it back."""
    with conn.transaction(force_rollback=True):
        receipt, rows = _forget(conn, wanted.checked(), by="", at_most=None)
    named = [
        {name: row[name] for name in ("id", "kind", "title", "occurred_at")}
        for row in rows.observations.values()
    ]
    return Plan(counts=receipt.counts, rebuilt=receipt.rebuilt, observations=named)


def forget(conn: Connection, wanted: Wanted, *, by: str, at_most: int | None = None) -> Receipt:
    """Forget it. The caller commits; afterwards `clean.clean` clears the space that the rows had.

    Raises AgentMemoryError: nothing of these ids is there (404), or more than `at_most` memories would go (409).
    """
    return _forget(conn, wanted.checked(), by=by, at_most=at_most)[0]


def _forget(conn: Connection, wanted: Wanted, *, by: str, at_most: int | None) -> tuple[Receipt, Rows]:
    tombstones.own(conn)
    secret = tombstones.secret(conn, even_if_unused=True)
    assert secret is not None
    rows = Rows(secret)
    lessons = LessonsOf()
    match wanted.what:
        case "observations":
            _take_observations(conn, rows, wanted)
        case "session":
            assert wanted.session is not None
            _take_sessions(conn, rows, [wanted.session])
        case "project":
            _take_project(conn, rows, wanted)
        case "period":
            _take_period(conn, rows, wanted)
        case _:
            _take_text(conn, rows, wanted, lessons)
    named = len(rows.observations) + len(rows.touched - rows.turns)
    if at_most is not None and named > at_most:
        raise AgentMemoryError(
            f"{named} memories would be forgotten, which is more than {at_most}.",
            "Name them by id, or let the user do it: agent-memory forget.",
            status=409,
        )
    counts, rebuilt = delete(conn, rows, wanted, lessons)
    told = {table: count for table, count in sorted(counts.items()) if count}
    number, at = tombstones.lay(conn, by=by, what=wanted.what, counts=told, keys=rows.keys)
    stale, stale_runs = store.mark_stale(conn, sorted(rows.data_sets), number)
    receipt = Receipt(
        tombstone=number,
        forgotten_at=at,
        forgotten_by=by,
        what=wanted.what,
        counts=told,
        rebuilt=rebuilt,
        stale=stale,
        stale_runs=stale_runs,
    )
    return receipt, rows


@dataclass(slots=True)
class LessonsOf:
    """What becomes of lessons."""

    ids: set[int] = field(default_factory=set)
    """Lessons that go."""
    bare: set[int] = field(default_factory=set)
    """Lessons that stay, without what they were drawn from."""


def _take_observations(conn: Connection, rows: Rows, wanted: Wanted) -> None:
    found = store.observations_by_id(conn, [n for n in wanted.ids if 0 < n < 2**63])
    mine = [row for row in found if wanted.project_id in (None, row["project_id"])]
    missing = sorted(set(wanted.ids) - {row["id"] for row in mine})
    if missing:
        raise AgentMemoryError(
            f"There is no observation {', '.join(map(str, missing))} here.",
            "Search lists what there is. What was forgotten once is gone.",
            status=404,
        )
    take_whole(conn, rows, mine)


def take_whole(conn: Connection, rows: Rows, observations: Iterable[Mapping[str, Any]]) -> None:
    """Observations with what they were made of: of a turn all of its rows, of a summary its message."""
    turns: list[tuple[str, str]] = []
    for row in observations:
        rows.observation(row)
        session_id = row["session_id"]
        if row["kind"] == "turn" and session_id and row["external_id"].startswith(f"turn/{session_id}/"):
            turns.append((session_id, row["external_id"].removeprefix(f"turn/{session_id}/")))
        elif row["kind"] == "summary":
            for number in row["sources"].get("assistant_messages", ()):
                if message := store.message_by_id(conn, int(number)):
                    rows.message(message)
    if turns:
        _take_turns(conn, rows, turns)


def _take_turns(conn: Connection, rows: Rows, turns: list[tuple[str, str]]) -> None:
    rows.turns |= set(turns)
    values = {"sessions": [t[0] for t in turns], "prompts": [t[1] for t in turns]}
    for row in store.prompts(conn, "turns", values):
        rows.prompt(row)
    for row in store.calls(conn, "turns", values):
        rows.call(row)
    for row in store.messages(conn, "turns", values):
        rows.message(row)
    for row in store.observations_of_turns(conn, turns):
        rows.observation(row)
    for row in store.summaries_of_messages(conn, rows.messages):
        rows.observation(row)
    rows.name_turns(lambda session, after: store.next_prompt_at(conn, session, after))


def _take_sessions(conn: Connection, rows: Rows, sessions: list[str]) -> None:
    rows.sessions |= set(sessions)
    for session in sessions:
        rows.add_key("session", tombstones.key(rows.secret, "session", session))
    values = {"sessions": sessions}
    # By their turns, prompts and texts; the ids of calls and messages would be many, and each is in one of the turns.
    for row in store.prompts(conn, "sessions", values):
        rows.whole(row["text"], row["project_id"])
        rows.turn(row)
    for row in store.messages(conn, "sessions", values):
        rows.whole(row["text"], row["project_id"])
        rows.turn(row)
    for row in store.observations_of_sessions(conn, sessions):
        rows.observation(row)


def _take_project(conn: Connection, rows: Rows, wanted: Wanted) -> None:
    assert wanted.project_id is not None
    identities = store.identities(conn, wanted.project_id)
    if not identities:
        raise AgentMemoryError(
            f"There is no project {wanted.project_id}.", "See: agent-memory status", status=404
        )
    _take_sessions(conn, rows, store.sessions_of(conn, wanted.project_id))
    for row in store.observations(conn, project_id=wanted.project_id):
        rows.observation(row)
    for identity in identities:
        rows.period(("project", identity), None, datetime.now(UTC))
    # The project may be made anew, with another id.
    rows.everywhere()


def _take_period(conn: Connection, rows: Rows, wanted: Wanted) -> None:
    values = {"project": wanted.project_id, "since": wanted.since, "until": wanted.until}
    for row in store.prompts(conn, "period", values):
        rows.prompt(row)
    for row in store.calls(conn, "period", values):
        rows.call(row)
    for row in store.messages(conn, "period", values):
        rows.message(row)
    for row in store.summaries_of_messages(conn, rows.messages):
        rows.observation(row)
    for row in store.observations(conn, project_id=wanted.project_id, since=wanted.since, until=wanted.until):
        if row["kind"] != "turn":  # that of a turn is built again from what is left of it
            rows.observation(row)
    places: list[tuple[str, ...]] = [("",)]
    if wanted.project_id is not None:
        places = [("project", identity) for identity in store.identities(conn, wanted.project_id)]
    for place in places:
        rows.period(place, wanted.since, wanted.until)


def _take_text(conn: Connection, rows: Rows, wanted: Wanted, lessons: LessonsOf) -> None:
    passage = folding.fold(wanted.text or "")
    rows.keys.append(passages.passage_key(rows.secret, passage, wanted.project_id))
    values = {"project": wanted.project_id}
    for row in store.prompts(conn, "all", values):
        if _holds(row["text"], passage):
            rows.prompt(row)
    for row in store.calls(conn, "all", values, texts=True):
        if any(_holds(row[name], passage) for name in ("tool_input", "output", "error")):
            rows.call(row)
    for row in store.messages(conn, "all", values):
        if _holds(row["text"], passage):
            rows.message(row)
    for row in store.observations(conn, project_id=wanted.project_id):
        # That of a turn is built again without the rows that hold it.
        if row["kind"] != "turn" and (_holds(row["text"], passage) or _holds(row["title"], passage)):
            rows.observation(row)
    for row in store.summaries_of_messages(conn, rows.messages):
        rows.observation(row)
    for row in store.lessons(conn, wanted.project_id):
        if _holds(row["text"], passage):
            lessons.ids.add(row["id"])
        elif _holds(row["evidence"], passage) or _holds(row["estimate"], passage):
            lessons.bare.add(row["id"])


def _holds(value: Any, passage: str) -> bool:
    """Whether a text, or any text within a JSON value, holds a folded passage."""
    if isinstance(value, str):
        return next(folding.find(folding.fold(value), passage), None) is not None
    if isinstance(value, Mapping):
        return any(_holds(name, passage) or _holds(part, passage) for name, part in value.items())
    return isinstance(value, list) and any(_holds(part, passage) for part in value)


def delete(
    conn: Connection, rows: Rows, wanted: Wanted = Wanted(), lessons: LessonsOf | None = None
) -> tuple[Counter[str], int]:
    """Delete what was gathered. How many rows went, by table, and how many turns were built again."""
    lessons = lessons or LessonsOf()
    counts: Counter[str] = Counter()
    _lessons_of_sessions(conn, rows, wanted, lessons)
    touched = sorted(rows.touched - rows.turns)
    told_in = {session for session, _ in rows.touched | rows.turns} | rows.sessions
    rows.data_sets |= set(store.data_sets_of(conn, sorted(told_in)))
    counts += _counted(
        store.delete_rows(conn, prompts=rows.prompts, calls=rows.calls, messages=rows.messages)
    )
    left = store.rows_left(conn, touched)
    emptied = [turn for turn in touched if turn not in left]
    for row in store.observations_of_turns(conn, emptied):
        rows.observation(row)
    counts += _counted(store.delete_turns(conn, [*sorted(rows.turns), *emptied]))
    counts += _counted(store.delete_observations(conn, list(rows.observations)))
    if rows.sessions:
        counts += _counted(store.delete_sessions(conn, sorted(rows.sessions)))
    if wanted.what == "period":
        counts["mem_sessions"] += store.delete_empty_sessions(
            conn, project_id=wanted.project_id, since=wanted.since, until=wanted.until
        )
    for session_id, prompt_id in sorted(left):
        worker.build_turn(conn, session_id, prompt_id)
    for project_id in sorted(rows.projects):
        postings.purge(conn, project=project_id)
    if wanted.text is not None:
        counts += _still_there(conn, rows, wanted)
    counts["mem_lessons"] += store.delete_lessons(conn, sorted(lessons.ids))
    store.drop_evidence(conn, sorted(lessons.bare))
    counts["mem_lessons"] += mined.drop_baseless(conn)
    if wanted.what == "project" and wanted.project_id is not None:
        counts["mem_projects"] += store.delete_project(conn, wanted.project_id)
    return counts, len(left)


def _still_there(conn: Connection, rows: Rows, wanted: Wanted) -> Counter[str]:
    """The passage may stand in an observation although no row holds it whole: then its turn goes."""
    passage = folding.fold(wanted.text or "")
    found = [
        row
        for row in store.observations(conn, project_id=wanted.project_id)
        if _holds(row["text"], passage) or _holds(row["title"], passage)
    ]
    if not found:
        return Counter()
    more = Rows(rows.secret)
    take_whole(conn, more, found)
    counts = delete(conn, more)[0]
    rows.keys += more.keys
    rows.observations |= more.observations
    rows.data_sets |= more.data_sets
    return counts


def _lessons_of_sessions(conn: Connection, rows: Rows, wanted: Wanted, lessons: LessonsOf) -> None:
    """A candidate that was drawn from a forgotten session goes; a lesson that a person approved stays, bare."""
    if not rows.sessions:
        return
    for row in store.lessons(conn, wanted.project_id):
        drawn = store.text_of(row["evidence"])
        if wanted.what == "project":
            lessons.ids.add(row["id"])
        elif any(session in drawn for session in rows.sessions):
            (lessons.ids if row["status"] == "candidate" else lessons.bare).add(row["id"])


def _counted(counts: Mapping[str, int]) -> Counter[str]:
    return Counter(counts)
