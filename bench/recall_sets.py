"""What the recall benchmark asks, and of whom: memories and questions with the evidence labelled.

`coding`: made-up coding memories of three projects (bench/coding, written for this), with questions whose answer
is not there, near misses among them. Its split is by session: thresholds are calibrated on `dev`, `test` tells.
`locomo-*`: conversations 0–4 of LoCoMo-10 (CC BY-NC 4.0, evaluation only, not part of this repository).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from agent_memory.observations.observation import Section, title_of

HERE = Path(__file__).parent
SHARED = Path(os.environ.get("AGENT_MEMORY_TEST_DATA", HERE.parent.parent / "shared" / "data"))
UNITS = ("session", "turn", "pooled")
LOCOMO = SHARED / "locomo" / "locomo_0-4.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """An observation to be. Its key is unique in its project."""

    project: str
    key: str
    kind: str
    title: str
    text: str
    occurred_at: datetime
    sections: Sequence[Section] = ()
    supersedes: str | None = None

    @property
    def document(self) -> str:
        """What a baseline reads: the same words, with the date."""
        return f"{self.occurred_at:%Y-%m-%d %B} {self.title}\n{self.text}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    project: str
    text: str
    evidence: frozenset[str]
    """The keys of the memories that hold the answer. Empty: no memory does."""
    split: str = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Set:
    name: str
    memories: Sequence[Memory]
    questions: Sequence[Question]
    sha256: str
    """Of the data."""


def sets(names: Sequence[str] = ()) -> Iterator[Set]:
    """Every set whose data is there, or those that are named."""
    makers: dict[str, Callable[[], Set]] = {
        "coding": coding,
        **{f"locomo-{unit}": partial(locomo, unit) for unit in UNITS},
    }
    for name in names or makers:
        if name.startswith("locomo") and not LOCOMO.exists():
            print(
                f"NOT MEASURED: {name}, for {LOCOMO} is not there (AGENT_MEMORY_TEST_DATA names its folder)"
            )
        else:
            yield makers[name]()


def coding() -> Set:
    files = [HERE / "coding" / "observations.jsonl", HERE / "coding" / "questions.jsonl"]
    rows, asked = ([json.loads(line) for line in file.read_text("utf-8").splitlines()] for file in files)
    return Set(
        name="coding",
        memories=[_coding_memory(row) for row in rows],
        questions=[
            Question(
                project=row["project"],
                text=row["question"],
                evidence=frozenset(row["evidence"]),
                split=row["split"],
            )
            for row in asked
        ],
        sha256=_sha256(files),
    )


def _coding_memory(row: dict[str, Any]) -> Memory:
    turn = row["kind"] == "turn"
    return Memory(
        project=row["project"],
        key=row["id"],
        kind=row["kind"],
        title=title_of(row["asked"]) if turn else row["title"],
        text=f"{row['asked']}\n\n{row['done']}" if turn else row["text"],
        occurred_at=datetime.fromisoformat(row["at"]),
        sections=[Section(row["asked"], "user"), Section(row["done"], "assistant")] if turn else (),
        supersedes=row.get("supersedes"),
    )


def locomo(unit: str) -> Set:
    """`session`: a session is a memory. `turn`: each turn with its date is one. `pooled`: sessions, all five
    conversations in one project; in the others each conversation is a project."""
    memories: list[Memory] = []
    questions: list[Question] = []
    for number, conversation in enumerate(json.loads(LOCOMO.read_text("utf-8"))):
        project = "pooled" if unit == "pooled" else f"conversation-{number}"
        prefix = f"{number}/" if unit == "pooled" else ""
        talk = conversation["conversation"]
        session = 1
        while turns := talk.get(f"session_{session}"):
            said = [(turn["dia_id"], _line(turn)) for turn in turns]
            units = said if unit == "turn" else [(f"D{session}", "\n".join(line for _, line in said))]
            told = talk[f"session_{session}_date_time"]
            at = datetime.strptime(f"{told} +0000", "%I:%M %p on %d %B, %Y %z")
            memories += [
                Memory(
                    project=project,
                    key=prefix + key,
                    kind="note",
                    title="",
                    text=text,
                    occurred_at=at,
                )
                for key, text in units
            ]
            session += 1
        for asked in conversation["qa"]:
            turns_of = [e for field in asked["evidence"] for e in field.replace(";", " ").split() if ":" in e]
            keys = turns_of if unit == "turn" else [turn.split(":")[0] for turn in turns_of]
            if keys:
                evidence = frozenset(prefix + key for key in keys)
                questions.append(Question(project=project, text=asked["question"], evidence=evidence))
    return Set(name=f"locomo-{unit}", memories=memories, questions=questions, sha256=_sha256([LOCOMO]))


def _line(turn: dict[str, str]) -> str:
    picture = f" [shares a picture: {turn['blip_caption']}]" if "blip_caption" in turn else ""
    return f"{turn['speaker']}: {turn['text']}{picture}"


def _sha256(files: Sequence[Path]) -> str:
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
