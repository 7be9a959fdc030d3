"""Which lessons the mining finds, and how they would have fared.

    make bench-mining
    python -m bench.mining FOLDER    # and over session files of your own, too

Two parts. Made-up histories (`bench/lessons_history`), each labelled with the lessons that are in it or none: precision
and recall of the candidates, for `dev.txt`, on which the mining was chosen, and `test.txt`, on which nothing was. Real
session files, where a folder of them is given or stands beside the repository: each candidate, and how its trigger
would have fared over sessions that it was not made from.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from rich.console import Console

from agent_memory import settings
from agent_memory.capture import backfill
from agent_memory.database import Connection, migrate, server
from agent_memory.journal import projects, store
from agent_memory.journal.event import Event, Prompt, ToolCall
from agent_memory.journal.ingest import ingest
from agent_memory.lessons import moment, proposing, sessions, wording
from agent_memory.lessons.mining import Candidate, Estimate, mine
from agent_memory.lessons.trigger import matches
from bench.home import scratch_home

HISTORIES = Path(__file__).parent / "lessons_history"
REAL = (
    Path(os.environ.get("AGENT_MEMORY_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))
    / "transcripts"
)
SPEED_CALLS = 10_000
BEGAN = datetime(2026, 3, 2, 9, tzinfo=UTC)


@dataclass(slots=True)
class Happened:
    """A prompt or a call of a made-up session."""

    session: int
    word: str
    """`>` for a prompt; else the call's tool."""
    text: str
    failed: bool = False
    output: list[str] = field(default_factory=list)
    times: int = 1


@dataclass(slots=True)
class Case:
    """A project's made-up history."""

    name: str
    lesson: str = ""
    """What there is to learn; empty: nothing."""
    bad: list[str] = field(default_factory=list)
    """Calls before which the lesson must speak."""
    good: list[str] = field(default_factory=list)
    """Calls before which it must not."""
    says: str = ""
    """What the rule must name."""
    happened: list[Happened] = field(default_factory=list)

    @property
    def folder(self) -> str:
        return f"/home/dev/{self.name}"

    def is_met(self, candidate: Candidate) -> bool:
        """Whether a candidate is the lesson of this history: it speaks where it must and only there, and says it."""

        def speaks(line: str) -> bool:
            tool, given = _call(line, self.folder)
            return matches(candidate.trigger, moment.call("before", tool, given, cwd=self.folder))

        fits = all(map(speaks, self.bad)) and not any(map(speaks, self.good))
        return bool(self.lesson) and fits and self.says in candidate.rule

    def events(self) -> Iterator[Event]:
        for number, one in enumerate(self.happened):
            at = BEGAN + timedelta(days=one.session, seconds=60 * number)
            for copy in range(one.times):
                yield Event(
                    agent="claude",
                    session_id=f"{self.name}-{one.session}",
                    occurred_at=at + timedelta(milliseconds=copy),
                    body=self._body(one, f"{number}-{copy}"),
                    cwd=self.folder,
                )

    def _body(self, one: Happened, number: str) -> Prompt | ToolCall:
        if one.word == ">":
            return Prompt(text=one.text)
        tool, given = _call(f"{one.word} {one.text}", self.folder)
        said = "\n".join(one.output)
        return ToolCall(
            tool_use_id=f"{self.name}-{number}",
            name=tool,
            input=given,
            success=not one.failed,
            output=None if one.failed else said,
            error=(f"Exit code 1\n{said}" if tool == "Bash" else said) if one.failed else None,
        )


def _call(line: str, folder: str) -> tuple[str, dict[str, Any]]:
    """`$ command`, `@Tool path` or `@Tool {json}` as a tool and its input."""
    word, _, text = line.partition(" ")
    if word == "$":
        return "Bash", {"command": text}
    return word[1:], json.loads(text) if text.startswith("{") else {"file_path": f"{folder}/{text}"}


def read(file: Path) -> list[Case]:
    """The cases of a file of histories.

    `## name` begins a case, `-- session` a session of it, `> ` is what the user typed, `$ ` a command, `@Tool ` another
    call with a file's path or JSON; `! ` lines under a call say how it failed, `= ` lines what it printed, and `x N`
    repeats it.
    """
    cases: list[Case] = []
    session = 0
    for line in file.read_text(encoding="utf-8").splitlines():
        word, _, rest = line.partition(" ")
        if word == "##":
            cases.append(Case(rest))
            session = 0
        elif not cases or not line:
            continue
        elif word == "--":
            session += 1
        elif word in ("lesson", "says"):
            setattr(cases[-1], word, rest)
        elif word in ("bad", "good"):
            getattr(cases[-1], word).append(rest)
        elif word in ("!", "="):
            cases[-1].happened[-1].output.append(rest)
            cases[-1].happened[-1].failed |= word == "!"
        elif word == "x":
            cases[-1].happened[-1].times = int(rest)
        else:
            cases[-1].happened.append(Happened(session, word, rest))
    return cases


def replay(conn: Connection, cases: Sequence[Case]) -> dict[str, list[Candidate]]:
    """The candidates of each case, by its name, through the journal as for any history."""
    found = {}
    for case in cases:
        ingest(conn, list(case.events()), settings.load())
        project = projects.resolve(conn, case.folder)
        assert project is not None
        found[case.name] = mine(sessions.load(conn, project)).candidates
    conn.commit()
    return found


def score(cases: Sequence[Case], found: dict[str, list[Candidate]], console: Console) -> None:
    """Print what was found, missed, and made up."""
    right = [case for case in cases if any(map(case.is_met, found[case.name]))]
    wanted = [case for case in cases if case.lesson]
    offered = sum(map(len, found.values()))
    met = sum(case.is_met(candidate) for case in cases for candidate in found[case.name])
    fired = sum((candidate.held_out for all_of in found.values() for candidate in all_of), Estimate())
    for case in wanted:
        if case not in right:
            console.print(f"  missed  {case.name}: {case.lesson}", markup=False)
    for case in cases:
        for candidate in found[case.name]:
            mark = "found  " if case.is_met(candidate) else "wrong  "
            console.print(f"  {mark} {case.name}: {candidate.rule}", markup=False, soft_wrap=True)
    console.print(
        f"  precision {met}/{offered} candidates, recall {len(right)}/{len(wanted)} lessons;"
        f" {len(cases) - len(wanted)} histories with nothing to learn;"
        f" held out: spoke before {fired.right} calls that failed so and {fired.wrong} that succeeded"
    )


def real(conn: Connection, folder: Path, console: Console) -> None:
    """Print what real session files give."""
    report = backfill.backfill(conn, backfill.find([folder]), settings.load(), lambda _: None)
    _together(conn, folder)
    conn.commit()
    candidates: list[Candidate] = []
    calls = failures = 0
    took = 0.0
    for row in conn.execute("select id from mem_projects order by id").fetchall():
        began = time.perf_counter()
        history = sessions.load(conn, row["id"])
        candidates += mine(history).candidates if history else []
        took += time.perf_counter() - began
        calls += sum(len(session.steps) for session in history)
        failures += sum(step.call.success is False for session in history for step in session.steps)
    console.print(f"{report.files} session files, {calls} calls, {failures} failed; mined in {took:.2f} s")
    for one in candidates:
        console.print(f"  {one.rule}", markup=False, soft_wrap=True)
        for line in wording.basis(proposing.evidence_of(one), proposing.estimate_of(one.held_out, one.whole)):
            console.print(f"      {line}", markup=False, soft_wrap=True)
    held = sum((one.held_out for one in candidates), Estimate())
    whole = sum((one.whole for one in candidates), Estimate())
    for name, fared in (("held-out sessions", held), ("all sessions", whole)):
        rate = 1000 * fared.wrong / fared.calls if fared.calls else 0.0
        console.print(
            f"  {len(candidates)} candidates on {name}: precision {_of(fared.precision)} ({fared.right} right,"
            f" {fared.wrong} wrong), {rate:.1f} false fires per 1,000 calls ({fared.calls})"
        )


def speed(conn: Connection, cases: Sequence[Case], console: Console) -> None:
    """Print what it takes to mine one project with many calls: all histories again and again in one folder."""
    made = 0
    copies = itertools.count()
    while made < SPEED_CALLS:
        copy = next(copies)
        events = [
            dataclasses.replace(
                event,
                session_id=f"{event.session_id}-{copy}",
                cwd="/home/dev/busy",
                occurred_at=event.occurred_at + timedelta(days=copy),
            )
            for case in cases
            for event in case.events()
        ]
        ingest(conn, events, settings.load())
        made += sum(isinstance(event.body, ToolCall) for event in events)
    conn.commit()
    project = projects.resolve(conn, "/home/dev/busy")
    assert project is not None
    began = time.perf_counter()
    history = sessions.load(conn, project)
    loaded = time.perf_counter()
    found = mine(history).candidates
    ended = time.perf_counter()
    calls = sum(len(session.steps) for session in history)
    console.print(
        f"Speed: {calls} calls of one project in {len(history)} sessions: read in {loaded - began:.1f} s, mined in"
        f" {ended - loaded:.1f} s, {10_000 * (ended - began) / calls:.1f} s per 10,000 calls; {len(found)} candidates"
    )


def _together(conn: Connection, folder: Path) -> None:
    """Make one project of the sessions that lie in one folder of `folder`: its worktrees' folders, which tell that
    otherwise, are not on this machine."""
    known = {row["id"] for row in conn.execute("select id from mem_sessions")}
    groups: dict[str, set[str]] = {}
    for file in folder.rglob("*.jsonl"):
        first, *parts = file.relative_to(folder).with_suffix("").parts
        groups.setdefault(first, set()).update(known & set(parts))
    for row in conn.execute("select id, transcript_path from mem_sessions where transcript_path is not null"):
        file = Path(row["transcript_path"])
        if file.is_relative_to(folder):
            groups[file.relative_to(folder).parts[0]].add(row["id"])
    for together in groups.values():
        lowest = conn.execute(
            "select min(project_id) as id from mem_sessions where id = any(%s)", (list(together),)
        ).fetchone()
        assert lowest is not None
        store.move_sessions(conn, list(together), lowest["id"])


def _of(share: float | None) -> str:
    return "no" if share is None else f"{share:.0%}"


def main() -> None:
    console = Console(highlight=False, soft_wrap=True)
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else REAL
    for name in ("dev", "test"):
        with scratch_home(), server.connect(server.conninfo(settings.load())) as conn:
            migrate.migrate(conn)
            cases = read(HISTORIES / f"{name}.txt")
            console.print(f"Made-up histories, {name}: {len(cases)}")
            score(cases, replay(conn, cases), console)
            if name == "dev":
                speed(conn, cases, console)
    if not folder.exists():
        console.print(f"NOT REPLAYED: no session files at {folder}")
        return
    console.print(f"Session files in {folder}")
    with scratch_home(), server.connect(server.conninfo(settings.load())) as conn:
        migrate.migrate(conn)
        real(conn, folder, console)


if __name__ == "__main__":
    main()
