"""What agents did before they were connected: their session files into the journal.

Idempotent and safe beside a live session: the journal's keys make a hook's event and the session file's one row, and
how far a file was read is stored in the same transaction as what was read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from agent_memory import agents, machine
from agent_memory.agents import json_lines
from agent_memory.agents.json_lines import Line
from agent_memory.database import Connection
from agent_memory.errors import AgentMemoryError
from agent_memory.journal import store
from agent_memory.journal.ingest import Counts, ingest
from agent_memory.settings import Settings

BATCH_EVENTS = 500
BATCH_BYTES = 4 << 20

Progress = Callable[[int], None]
"""Called with the number of bytes that were dealt with since the last call."""


@dataclass(slots=True)
class Report:
    files: int = 0
    unchanged: int = 0
    """Files of which nothing is new since they were read last."""
    lines: int = 0
    told: Counter[str] = field(default_factory=Counter)
    """What the lines told, by kind, and what was left out, by reason: every line is in here."""
    stored: Counts = field(default_factory=Counts)
    """Rows that were not there before."""
    unreadable: dict[str, str] = field(default_factory=dict)
    """Files that could not be read, with the reason."""

    def __iadd__(self, other: Report) -> Report:
        self.files += other.files
        self.unchanged += other.unchanged
        self.lines += other.lines
        self.told += other.told
        self.stored += other.stored
        self.unreadable |= other.unreadable
        return self


def default_places() -> list[Path]:
    """Where the agents keep their session files, as far as there are any on this machine."""
    return [place for files in agents.SESSION_FILES.values() if (place := files.default()).exists()]


def find(places: Sequence[Path]) -> list[Path]:
    """The session files in these files and folders, the latest first: what was done last is asked about first.

    Raises AgentMemoryError for a place that does not exist, and for a file that no agent writes.
    """
    found: dict[Path, float] = {}
    for place in places:
        if not place.exists():
            raise AgentMemoryError(
                f"{place} does not exist.", "Name a session file or a folder with such files."
            )
        if place.is_file() and agents.owner(place) is None:
            raise AgentMemoryError(
                f"{place} is not named like any agent's session file.",
                f"Known are the files of {', '.join(sorted(agents.SESSION_FILES))}.",
            )
        for file in [place] if place.is_file() else place.rglob("*"):
            if file.is_file() and agents.owner(file):
                found[file.absolute()] = file.stat().st_mtime
    return sorted(found, key=lambda file: found[file], reverse=True)


def backfill(conn: Connection, files: Sequence[Path], settings: Settings, progress: Progress) -> Report:
    """Read what is new in each file. Commits as it goes: broken off, it goes on from there the next time."""
    report = Report()
    for file in files:
        report.files += 1
        try:
            size = file.stat().st_size
            before = report.lines
            done = 0
            for step in _read(conn, file, size, settings, report):
                done += step
                progress(step)
            progress(max(0, size - done))
            report.unchanged += report.lines == before
        except OSError as error:
            report.unreadable[str(file)] = error.strerror or str(error)
    return report


def _read(conn: Connection, file: Path, size: int, settings: Settings, report: Report) -> Iterator[int]:
    """Store what is new in a file, batch by batch; of how many bytes each was."""
    agent = agents.owner(file)
    assert agent is not None
    kept = agents.SESSION_FILES[agent]
    with conn.transaction():
        offset = store.transcript_offset(conn, str(file), machine.here())
    if kept.offset_is_size and size == offset:
        return
    start = offset
    for batch in _batches(kept.read(file, offset), start):
        end = batch[-1].end
        with conn.transaction():
            events = [event for line in batch for event in line.events]
            report.stored += ingest(conn, events, settings)
            store.save_transcript_offset(conn, str(file), machine.here(), agent, end)
        report.lines += len(batch)
        report.told += json_lines.tally(batch)
        yield end - start if kept.offset_is_size else 0
        start = end


def _batches(lines: Iterator[Line], start: int) -> Iterator[list[Line]]:
    batch: list[Line] = []
    events = 0
    for line in lines:
        batch.append(line)
        events += len(line.events)
        if events >= BATCH_EVENTS or line.end - start >= BATCH_BYTES:
            yield batch
            batch, events, start = [], 0, line.end
    if batch:
        yield batch
