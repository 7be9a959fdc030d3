"""What the recall benchmark asks, and of whom: sets of questions whose evidence is labelled, and the way of what they
are about into the memory, which is the product's own.

`coding` and `languages`: sessions that were written for this (bench/scenarios.py says in which form). They go as
journal Events through the ingest and the queue to observations; notes go through the gate that REST and MCP use. The
split is by session: everything is tuned on `dev`; `test` is asked at the end.
`locomo-*`: conversations 0–4 of LoCoMo-10 (CC BY-NC 4.0, evaluation only, not part of this repository), posted as
notes of their sessions. 0 and 1 are `dev`, 2 to 4 `test`.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path

from agent_memory.database import Connection
from agent_memory.journal import projects
from agent_memory.journal.event import Event, SessionStart
from agent_memory.journal.ingest import ingest
from agent_memory.journal.projects import Identity
from agent_memory.observations import notes, turns, worker
from agent_memory.observations import store as observations
from agent_memory.settings import Settings
from bench import scenarios
from bench.scenarios import Session

HERE = Path(__file__).parent
SHARED = Path(os.environ.get("AGENT_MEMORY_TEST_DATA", HERE.parent.parent / "shared" / "data"))
WRITTEN = ("coding", "languages")
UNITS = ("session", "turn", "pooled")
LOCOMO = SHARED / "locomo" / "locomo_0-4.json"
_DEV_CONVERSATIONS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    project: str
    text: str
    evidence: frozenset[int]
    """The observations that hold the answer. Empty: none does."""
    split: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Filled:
    """A set whose memories are in store."""

    questions: Sequence[Question]
    projects: Mapping[str, int]
    pasted: Mapping[int, str]
    """For each observation the whole of its session, as one would paste it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Set:
    name: str
    files: Sequence[Path]
    fill: Callable[[Connection, Settings, Path], Filled]
    """Takes a folder to work in. Chunks are in store afterwards, vectors are not."""

    @property
    def sha256(self) -> str:
        return hashlib.sha256(b"".join(file.read_bytes() for file in self.files)).hexdigest()


def sets(names: Sequence[str] = ()) -> Iterator[Set]:
    """Every set whose data is there, or those that are named."""
    written = {name: sorted((HERE / name).glob("*.txt")) for name in WRITTEN}
    known = {
        name: Set(name=name, files=files, fill=partial(_written, files)) for name, files in written.items()
    }
    known |= {
        f"locomo-{unit}": Set(name=f"locomo-{unit}", files=[LOCOMO], fill=partial(_locomo, unit))
        for unit in UNITS
    }
    for name in names or known:
        if name.startswith("locomo") and not LOCOMO.exists():
            print(
                f"NOT MEASURED: {name}, for {LOCOMO} is not there (AGENT_MEMORY_TEST_DATA names its folder)"
            )
        else:
            yield known[name]


def _written(files: Sequence[Path], conn: Connection, settings: Settings, folder: Path) -> Filled:
    found: list[Question] = []
    known: dict[str, int] = {}
    pasted: dict[int, str] = {}
    for file in files:
        sessions, asked = scenarios.read(file)
        folders = scenarios.checkout(sessions, folder)
        for session in sessions:
            ingest(conn, scenarios.events(session, folders[session.id]), settings)
        conn.commit()
        while worker.build_due(conn):
            pass
        project = known[file.stem] = _project(conn, str(folder / file.stem))
        ids = _built(conn, sessions)
        for session in sessions:
            _save_notes(conn, settings, session, project, ids)
            pasted |= {ids[entry.label]: scenarios.transcript(session) for entry in session.entries}
        found += [
            Question(
                project=one.project,
                text=one.text,
                evidence=frozenset(ids[label] for label in one.evidence),
                split=one.split,
            )
            for one in asked
        ]
    return Filled(questions=found, projects=known, pasted=pasted)


def _project(conn: Connection, folder: str) -> int:
    number = projects.resolve(conn, folder)
    assert number is not None, folder
    return number


def _built(conn: Connection, sessions: Sequence[Session]) -> dict[str, int]:
    """The observations that the worker made of the sessions' turns, by label."""
    keys = {
        turns.external_id(session.id, entry.label): entry.label
        for session in sessions
        for entry in session.entries
    }
    rows = conn.execute(
        "select id, external_id from mem_observations where external_id = any(%s)", (list(keys),)
    )
    return {keys[row["external_id"]]: row["id"] for row in rows}


def _save_notes(
    conn: Connection, settings: Settings, session: Session, project: int, ids: dict[str, int]
) -> None:
    for entry in session.entries:
        if entry.steps[0].mark != "+":
            continue
        heading, _, text = entry.steps[0].text.partition(" :: ")
        title, _, corrected = heading.partition(" << ")
        note = notes.note(
            text,
            settings,
            project_id=project,
            title=title,
            occurred_at=entry.at,
            session_id=session.id,
            supersedes=ids[corrected] if corrected else None,
        )
        (ids[entry.label],) = notes.save(conn, [note])
    conn.commit()


def _locomo(unit: str, conn: Connection, settings: Settings, folder: Path) -> Filled:
    """`session`: a session is a memory. `turn`: each turn with its date is one. `pooled`: sessions, all five
    conversations in one project; in the others each conversation is a project."""
    del folder
    found: list[Question] = []
    known: dict[str, int] = {}
    pasted: dict[int, str] = {}
    for number, conversation in enumerate(json.loads(LOCOMO.read_text("utf-8"))):
        name = "pooled" if unit == "pooled" else f"conversation-{number}"
        project = known[name] = projects.ensure(conn, Identity(f"bench:locomo-{unit}/{name}", name, None))
        ids: dict[str, int] = {}
        talk = conversation["conversation"]
        session = 1
        while said := talk.get(f"session_{session}"):
            lines = {turn["dia_id"]: _line(turn) for turn in said}
            whole = "\n".join(lines.values())
            units = lines if unit == "turn" else {f"D{session}": whole}
            told = talk[f"session_{session}_date_time"]
            at = datetime.strptime(f"{told} +0000", "%I:%M %p on %d %B, %Y %z")
            begun = f"{unit}-{number}-{session}"
            ingest(
                conn, [Event(agent="bench", session_id=begun, occurred_at=at, body=SessionStart())], settings
            )
            ready = [
                notes.note(
                    text,
                    settings,
                    project_id=project,
                    occurred_at=at,
                    session_id=begun,
                    external_id=f"{number}/{key}",
                )
                for key, text in units.items()
            ]
            saved = dict(zip(units, notes.save(conn, ready), strict=True))
            ids |= saved
            pasted |= dict.fromkeys(saved.values(), whole)
            session += 1
        for asked in conversation["qa"]:
            turns_of = [e for field in asked["evidence"] for e in field.replace(";", " ").split() if ":" in e]
            keys = turns_of if unit == "turn" else [turn.split(":")[0] for turn in turns_of]
            if keys:
                # A few labels name turns that do not exist: evidence that nobody can find.
                evidence = frozenset(
                    ids.get(key, -position) for position, key in enumerate(dict.fromkeys(keys), 1)
                )
                split = "dev" if number < _DEV_CONVERSATIONS else "test"
                found.append(Question(project=name, text=asked["question"], evidence=evidence, split=split))
    conn.commit()
    return Filled(questions=found, projects=known, pasted=pasted)


def _line(turn: dict[str, str]) -> str:
    picture = f" [shares a picture: {turn['blip_caption']}]" if "blip_caption" in turn else ""
    return f"{turn['speaker']}: {turn['text']}{picture}"


def rows(conn: Connection, numbers: Sequence[int]) -> dict[int, dict[str, list[int | str]]]:
    """The journal's rows that observations were made of."""
    return {row["id"]: row["sources"] for row in observations.get(conn, [n for n in numbers if n > 0])}
