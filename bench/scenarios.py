"""Coding sessions as text files, one a project, and what is asked of them: bench/coding and bench/languages.

A file is read line by line; the first character says what a line is, indented lines belong to the one above.

    # t01 dev 2026-01-12T08:30 [worktree]   a session: its name, its half (dev or test), when it began
    > text        a prompt begins a turn; turns and notes are numbered in their session: t01.1, t01.2, …
    $ command     a command that worked, its output indented below
    ! command     a command that failed
    ~ path :: before => after               an edit
    @ path        a file that was read
    < text        what the agent said
    + title :: text                         a note that was saved; `+ title << t01.2 :: text` corrects another
    ? question    its answer is in the turn or the note above; `[t01.1]` at its end names further evidence
    # nowhere dev                           the questions below have no answer in this project

What is made of a session are journal Events, as an agent's hooks and its transcript tell them.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from agent_memory.journal.event import (
    AssistantMessage,
    Body,
    Event,
    Prompt,
    SessionEnd,
    SessionStart,
    ToolCall,
    TurnEnd,
)

_EVIDENCE = re.compile(r"\s*\[([\w.\- ]+)\]$")
NOWHERE = "nowhere"
HERE = Path(__file__).parent


@dataclass
class Step:
    mark: str
    """The character that its line began with."""
    text: str
    below: str = ""
    """The indented lines."""


@dataclass
class Entry:
    """A turn or a note: what becomes one observation."""

    label: str
    at: datetime
    steps: list[Step]
    """The first is the prompt, or the note."""


@dataclass
class Session:
    project: str
    name: str
    split: str
    began_at: datetime
    worktree: str | None
    entries: list[Entry] = field(default_factory=list)

    @property
    def id(self) -> str:
        return f"{self.project}-{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    project: str
    text: str
    evidence: frozenset[str]
    """Labels of entries. Empty: the project does not know."""
    split: str


def read(file: Path) -> tuple[list[Session], list[Asked]]:
    """A project's sessions, in order, and the questions."""
    sessions: list[Session] = []
    asked: list[Asked] = []
    split = ""
    nowhere = False
    for mark, text, below in _lines(file.read_text("utf-8")):
        if mark == "#":
            name, split, *rest = text.split()
            nowhere = name == NOWHERE
            if not nowhere:
                began = datetime.fromisoformat(rest[0]).replace(tzinfo=UTC)
                sessions.append(Session(file.stem, name, split, began, rest[1] if rest[1:] else None))
        elif mark == "?":
            further = _EVIDENCE.search(text)
            evidence = further[1].split() if further else []
            if not nowhere:
                evidence.append(sessions[-1].entries[-1].label)
            question = _EVIDENCE.sub("", text)
            asked.append(Asked(project=file.stem, text=question, evidence=frozenset(evidence), split=split))
        elif mark in ">+":
            session = sessions[-1]
            number = len(session.entries)
            at = session.began_at + timedelta(minutes=20 * number)
            session.entries.append(Entry(f"{session.name}.{number + 1}", at, [Step(mark, text, below)]))
        else:
            sessions[-1].entries[-1].steps.append(Step(mark, text, below))
    return sessions, asked


def _lines(text: str) -> Iterator[tuple[str, str, str]]:
    found: list[tuple[str, str, list[str]]] = []
    for line in text.splitlines():
        if line.startswith("  "):
            found[-1][2].append(line[2:])
        elif line.strip():
            found.append((line[0], line[2:], []))
    for mark, first, below in found:
        if mark in "><+" and below:  # prose goes on
            first, below = "\n".join([first, *below]), []
        yield mark, first, "\n".join(below)


def events(session: Session, folder: Path) -> list[Event]:
    """What the agent's hooks and its transcript tell of a session in `folder`, without its notes."""
    told: list[tuple[datetime, str | None, Body]] = [(session.began_at, None, SessionStart(source="startup"))]
    at = session.began_at
    for entry in session.entries:
        if entry.steps[0].mark != ">":
            continue
        at = entry.at
        told.append((at, entry.label, Prompt(text=entry.steps[0].text)))
        for number, step in enumerate(entry.steps[1:]):
            at += timedelta(seconds=40)
            told.append((at, entry.label, _body(step, f"{session.id}/{entry.label}/{number}", folder)))
        told.append((at, entry.label, TurnEnd()))
    told.append((at + timedelta(minutes=5), None, SessionEnd(reason="prompt_input_exit")))
    return [
        Event(
            agent="claude",
            session_id=session.id,
            occurred_at=when,
            body=body,
            cwd=str(folder),
            prompt_id=prompt,
            git_branch=session.worktree or "main",
        )
        for when, prompt, body in told
    ]


def _body(step: Step, call: str, folder: Path) -> Body:
    if step.mark == "<":
        return AssistantMessage(text=step.text)
    if step.mark == "~":
        path, _, change = step.text.partition(" :: ")
        before, _, after = change.partition(" => ")
        given = {"file_path": str(folder / path), "old_string": before, "new_string": after}
        done = f"The file {folder / path} has been updated."
        return ToolCall(tool_use_id=call, name="Edit", input=given, output=done, success=True)
    if step.mark == "@":
        given = {"file_path": str(folder / step.text)}
        return ToolCall(tool_use_id=call, name="Read", input=given, output=step.below, success=True)
    if step.mark not in "$!":
        raise ValueError(f"No line begins with {step.mark!r}: {step.text}")
    failed = step.mark == "!"
    return ToolCall(
        tool_use_id=call,
        name="Bash",
        input={"command": step.text},
        output=None if failed else step.below,
        success=not failed,
        error=f"Exit code 1\n{step.below}" if failed else None,
    )


def transcript(session: Session) -> str:
    """A session as one would paste it."""
    return "\n".join(
        "\n".join(filter(None, (step.text, step.below))) for entry in session.entries for step in entry.steps
    )


def checkout(sessions: Sequence[Session], home: Path) -> dict[str, Path]:
    """A repository for each project, with its worktrees; the folder of each session by the session's id."""
    folders = {}
    for session in sessions:
        main = home / session.project
        if not main.exists():
            _git("init", "--quiet", "--initial-branch=main", str(main))
            who = ("-c", "user.name=bench", "-c", "user.email=bench@example.com")
            _git("-C", str(main), *who, "commit", "--quiet", "--allow-empty", "-m", "first")
        folder = main
        if session.worktree:
            folder = home / f"{session.project}.{session.worktree.replace('/', '-')}"
            if not folder.exists():
                _git("-C", str(main), "worktree", "add", "--quiet", "-b", session.worktree, str(folder))
        folders[session.id] = folder
    return folders


def _git(*arguments: str) -> None:
    subprocess.run(["git", *arguments], check=True, capture_output=True)
