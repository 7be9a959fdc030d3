"""What a session is told at its start, as text: what the project was last about, what stayed open, notes and lessons.
Pure.

The same state gives the same bytes: no “minutes ago”, no counters, one order. Who reads it pays for every character, so
a line is only there where it says something: no “ok”, no bare slash command, no text that nobody typed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from agent_memory.journal import fence
from agent_memory.observations.observation import shorten, title_of
from agent_memory.observations.turns import Prompt, asked_by, is_small_talk
from agent_memory.recall import open_ends
from agent_memory.recall.context_store import Shown

ASKED_CHARS, CAME_CHARS = 110, 120
"""Of what was asked, and of what came of it, in one line."""
_OPEN_CHARS = 230
_NOTE_CHARS = 200
_LAST_TURNS = 4  # of the last session
_ENDS = (
    4  # sessions whose ends are looked at: what older ones left open has been seen since, or does not matter
)
_LEFT = 2  # sessions whose last words are believed to be still true
_OPENS, _NOTES, _LESSONS = 5, 4, 6

OPENING = "What agent-memory recorded in this project before now (times in UTC)."
CLOSING = "More: recall answers questions from all of it, get_observations gives one #number whole."
_PARTS = {  # in the order in which they stand; the last session's heading tells its date
    "session": "",
    "earlier": "Earlier:",
    "open": "Left open:",
    "note": "Notes:",
    "lesson": "Lessons learnt here:",
}
_FIRST = {"session": 0, "open": 1, "lesson": 2, "earlier": 3, "note": 4}
"""Whose lines are taken first where there is no room for all; within a part the first lines come first."""

_NOT_TYPED = re.compile(r"\[image\b[^\]\n]*\]|</?[a-z][a-z_-]{1,40}>")
_CODE = re.compile(r"```.*?```", re.S)
_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")
_MARKUP = re.compile(r"\*\*|__|^\s*(?:[#>*+|-]+|\d+[.)])\s+|[|\s-]+$")
_CAME_ENOUGH = 40  # characters
_UNRECORDED = "its end was not recorded"
_WORD = re.compile(r"[^\W_]{2,}")
_SAYS_LITTLE = frozenset(
    re.findall(
        r"\w+",
        "the and for you your can could please now then just this that these those with from into are is was were be it"
        " its"
        " me my we our us to of in on at as so do does did done go going on ok okay yes yeah yep no not sure fine"
        " good great thanks thank continue proceed next again try retry lets commit push run start stop help hi"
        " hello hey what why how when where who all also but or if an there here them they still keep more"
        " make want need get",
    )
)


@dataclass(frozen=True, slots=True)
class Line:
    part: str
    text: str
    shown: Shown
    place: int
    """Its place among the lines of its part, the most telling first: 0, 1, …"""
    heading: str = ""


@dataclass(frozen=True, slots=True)
class Lesson:
    """An active lesson: its id and its rule in a line."""

    id: int
    rule: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    text: str = ""
    """Fenced; empty where there is nothing to say."""
    shown: Sequence[Shown] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What the store gave of a project, each as its function there says."""

    sessions: Sequence[Mapping[str, Any]] = ()
    turns: Sequence[Mapping[str, Any]] = ()
    last_words: Sequence[Mapping[str, Any]] = ()
    notes: Sequence[Mapping[str, Any]] = ()
    lessons: Sequence[Lesson] = field(default_factory=tuple)


def opening(recorded: Recorded, *, budget: int) -> Opening:
    """The text of a session's start, at most `budget` characters with its fence; of equal states the same."""
    lines = [*_lines(recorded)]
    frame = len(fence.fence("")) + len(OPENING) + len(CLOSING) + 2
    chosen: set[int] = set()
    for position in sorted(range(len(lines)), key=lambda p: _rank(lines[p])):
        size = frame + len(_body([lines[p] for p in sorted({*chosen, position})]))
        if size <= budget:
            chosen.add(position)
    if not chosen:
        return Opening()
    kept = [lines[position] for position in sorted(chosen)]
    return Opening(
        text=fence.fence(f"{OPENING}\n{_body(kept)}{CLOSING}"), shown=[line.shown for line in kept]
    )


def says_something(text: str, words: int = 3) -> bool:
    """Whether a text has at least so many words that mean something: “yes, go on” has none."""
    return len(meaning(text)) >= words


def meaning(text: str) -> set[str]:
    """The words of a text that mean something, in lower case. Of a text without spaces, every two characters."""
    found: set[str] = set()
    for word in _WORD.findall(text.casefold()):
        if word.isascii() or len(word) < 4:
            found.add(word)
        else:
            found |= {word[i : i + 2] for i in range(len(word) - 1)}
    return found - _SAYS_LITTLE


def _rank(line: Line) -> tuple[int, int]:
    """The first line of each part before the second of any, so that no part crowds out another."""
    return line.place, _FIRST[line.part]


def _body(lines: Sequence[Line]) -> str:
    parts = []
    for part, heading in _PARTS.items():
        own = [line for line in lines if line.part == part]
        if own:
            parts.append("\n".join([own[0].heading or heading, *(line.text for line in own)]) + "\n")
    return "".join(parts)


def _lines(recorded: Recorded) -> Iterator[Line]:
    turns: dict[str, list[_Turn]] = {}
    for row in recorded.turns:
        turns.setdefault(row["session_id"], []).append(_Turn.of(row))
    words = {row["session_id"]: row for row in recorded.last_words}
    opened = [*_open(recorded.sessions, turns, words)]
    cut = {turn.prompt_id for own in turns.values() for turn in own if turn.cut and turn is own[-1]}
    number = -1
    goals: set[str] = set()
    for session in recorded.sessions:
        told = [turn for turn in turns.get(session["id"], ()) if turn.tells and turn.prompt_id not in cut]
        if not told:
            continue
        goal = told[0].what(ASKED_CHARS)
        if goal in goals:
            continue  # the same request in session after session is told of the latest
        goals.add(goal)
        number += 1
        if number == 0:
            yield from _last_session(session, told[-_LAST_TURNS:])
        else:
            yield _earlier(session, told, number - 1)
    for place, (text, shown) in enumerate(opened[:_OPENS]):
        yield Line("open", text, shown, place)
    for place, note in enumerate(recorded.notes[:_NOTES]):
        text = f"- #{note['id']} {_day(note['occurred_at'])} {shorten(note['text'], _NOTE_CHARS)}"
        yield Line("note", text, Shown(part="note", observation_id=note["id"]), place)
    for place, lesson in enumerate(recorded.lessons[:_LESSONS]):
        yield Line(
            "lesson", f"- {shorten(lesson.rule, 280)}", Shown(part="lesson", lesson_id=lesson.id), place
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Turn:
    prompt_id: str
    session_id: str
    at: datetime
    asked: str
    came: str
    """What came of it, in a sentence; empty where it was cut off, or where nothing was said."""
    cut: str
    """Why the agent did not get to the end of it; empty where it did."""
    observation_id: int | None
    observation: str
    holds: bool
    """False: somebody has taken back what is remembered of it."""

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> _Turn:
        cut = _cut(row)
        prompt = Prompt(id="", kind="user", text=row["text"], occurred_at=row["occurred_at"])
        return cls(
            prompt_id=row["prompt_id"],
            session_id=row["session_id"],
            at=row["occurred_at"],
            asked=_NOT_TYPED.sub("", asked_by(prompt)).strip(),
            came="" if cut else _came(row["said"] or ""),
            cut=cut,
            observation_id=row["observation_id"],
            observation=row["observation"] or "",
            holds=row["holds"],
        )

    @property
    def tells(self) -> bool:
        """Whether a line about it says something: what was asked, or what came of it."""
        if self.asked.startswith(("/", "!")) and not says_something(self.asked.partition(" ")[2]):
            return False
        return (
            self.holds and bool(self.asked) and (says_something(self.asked) or says_something(self.came, 4))
        )

    def line(self) -> str:
        """`#12 asked → what came of it`."""
        came = self.came or (f"({self.cut})" if self.cut not in ("", _UNRECORDED) else "")
        return f"{self.number}{self.what(ASKED_CHARS)}{f' → {came}' if came else ''}"

    @property
    def number(self) -> str:
        return f"#{self.observation_id} " if self.observation_id else ""

    def what(self, limit: int) -> str:
        """What was asked, in a line: the first, unless that only leads in (“Hi,” or “Do the following:”)."""
        first = self.asked.strip().partition("\n")[0].strip()
        whole = first.endswith((":", ",")) or not says_something(first, 2) or limit > ASKED_CHARS
        return shorten(self.asked if whole else title_of(first) or first, limit)

    def shown(self, part: str) -> Shown:
        if self.observation_id:
            return Shown(part=part, observation_id=self.observation_id)
        return Shown(part=part, session_id=self.session_id, prompt_id=self.prompt_id)


def _cut(row: Mapping[str, Any]) -> str:
    error = (row["end_error"] or "").strip()
    if "interrupted by the user" in error:
        return "interrupted by the user"
    if error:
        return f"ended with an error: {shorten(error, 80)}"
    answered = row["said_at"] and (row["last_call_at"] is None or row["said_at"] >= row["last_call_at"])
    if row["ended_at"] or answered:
        return ""
    return "its end was not recorded"


def _came(said: str) -> str:
    """What a last message says, in a sentence: the first that is not small talk. One that is short, or that leads in,
    takes the next with it."""
    text = _CODE.sub("", _NOT_TYPED.sub("", fence.strip(said)))
    taken = ""
    for sentence in _SENTENCE.split(text):
        sentence = " ".join(_MARKUP.sub("", sentence).split())
        if not taken and (len(sentence) < 12 or is_small_talk(sentence)):
            continue
        taken = f"{taken} {sentence}".strip()
        if len(taken) >= _CAME_ENOUGH and not taken.endswith(":"):
            break
    return shorten(taken, CAME_CHARS)


def _last_session(session: Mapping[str, Any], told: Sequence[_Turn]) -> Iterator[Line]:
    """One line a turn, in their order."""
    branch = session["git_branch"]
    where = f", branch {shorten(branch, 60)}" if branch and branch not in ("main", "master", "HEAD") else ""
    span = _day(session["began_at"])
    heading = f"Session of {span} {session['began_at'].astimezone(UTC):%H:%M}{where}:"
    for number, turn in enumerate(told):
        place = len(told) - 1 - number
        yield Line("session", f"- {turn.line()}", turn.shown("session"), place, heading)


def _earlier(session: Mapping[str, Any], told: Sequence[_Turn], place: int) -> Line:
    """What it set out for, and what came of it in the end."""
    goal, last = told[0], told[-1]
    line = goal.line()
    if last is not goal and last.came:
        line = f"{goal.number}{goal.what(ASKED_CHARS)} → finally: {last.came}"
    return Line("earlier", f"- {_day(session['last_at'])} {line}", goal.shown("earlier"), place)


def _open(
    sessions: Sequence[Mapping[str, Any]],
    turns: Mapping[str, Sequence[_Turn]],
    words: Mapping[str, Mapping[str, Any]],
) -> Iterator[tuple[str, Shown]]:
    """What the latest sessions left open, the latest first. What was asked again since is not told."""
    since: list[set[str]] = []
    for number, session in enumerate(sessions[:_ENDS]):
        own = turns.get(session["id"], ())
        if not own:
            continue
        last = own[-1]
        day = _day(session["last_at"])
        if last.cut:
            told = _meant(own)
            if told and not _covered(meaning(told.asked), since):
                what = f"{told.number}{told.what(_OPEN_CHARS - 60)}"
                yield f"- {day} {last.cut}: {what}", told.shown("open")
        elif number < _LEFT:
            yield from _left(day, last, words.get(session["id"], {}), since)
        since += [meaning(turn.asked) | meaning(turn.came) for turn in own]


def _left(
    day: str, last: _Turn, words: Mapping[str, Any], since: Sequence[set[str]]
) -> Iterator[tuple[str, Shown]]:
    said = words.get("said") or ""
    for label, text in (
        ("to do", open_ends.todo_left(words.get("todo"))),
        ("said to be left", open_ends.said_left(said)),
        ("fails", open_ends.still_failing(last.observation)),
        ("asked, without an answer", open_ends.unanswered(said)),
    ):
        if text and not _covered(meaning(text), since):
            yield f"- {day} {label}: {shorten(text, _OPEN_CHARS)}", last.shown("open")


def _meant(own: Sequence[_Turn]) -> _Turn | None:
    """The turn that a session's last one went on with: itself, or the one before “continue”."""
    for turn in reversed(own):
        if turn.tells and says_something(turn.asked):
            return turn
        if turn.asked.startswith(("/", "!")) or len(meaning(turn.asked)) > 1:
            return None
    return None


def _covered(words: set[str], since: Sequence[set[str]]) -> bool:
    """Whether a later turn was about the same: it has most of these words."""
    return bool(words) and any(len(words & later) >= max(2, 0.6 * len(words)) for later in since)


def _day(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d}"
