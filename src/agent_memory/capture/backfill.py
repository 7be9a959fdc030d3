"""What agents did before they were connected: their transcripts into the journal.

Idempotent and safe beside a live session: the journal's keys make a hook's event and the transcript's one row, and how
far a file was read is stored in the same transaction as what was read.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from agent_memory.agents.claude_code import transcript
from agent_memory.agents.claude_code.payload import AGENT
from agent_memory.agents.claude_code.transcript import Line
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
    bytes: int = 0
    lines: int = 0
    told: Counter[str] = field(default_factory=Counter)
    """What the lines told, by kind, and what was left out, by reason: every line is in here."""
    stored: Counts = field(default_factory=Counts)
    """Rows that were not there before."""
    unreadable: dict[str, str] = field(default_factory=dict)
    """Files that could not be read, with the reason."""


def default_folder() -> Path:
    """Where Claude Code keeps its transcripts."""
    config = os.environ.get("CLAUDE_CONFIG_DIR")
    return (Path(config) if config else Path.home() / ".claude") / "projects"


def find(places: Sequence[Path]) -> list[Path]:
    """The transcripts in these files and folders, the latest first: what was done last is asked about first.

    Raises AgentMemoryError for a place that does not exist.
    """
    found: dict[Path, float] = {}
    for place in places:
        if not place.exists():
            raise AgentMemoryError(
                f"{place} does not exist.", "Name a transcript or a folder with transcripts."
            )
        for file in [place] if place.is_file() else place.rglob("*.jsonl"):
            found[file.absolute()] = file.stat().st_mtime
    return sorted(found, key=lambda file: found[file], reverse=True)


def backfill(conn: Connection, files: Sequence[Path], settings: Settings, progress: Progress) -> Report:
    """Read what is new in each file. Commits as it goes: broken off, it goes on from there the next time."""
    report = Report()
    for file in files:
        report.files += 1
        with conn.transaction():
            offset = store.transcript_offset(conn, str(file))
        try:
            size = file.stat().st_size
            if size == offset:
                report.unchanged += 1
                progress(size)
                continue
            progress(min(offset, size))
            _read(conn, file, offset, settings, report, progress)
        except OSError as error:
            report.unreadable[str(file)] = error.strerror or str(error)
    return report


def _read(
    conn: Connection, file: Path, offset: int, settings: Settings, report: Report, progress: Progress
) -> None:
    start = offset
    for batch in _batches(transcript.read(file, offset), start):
        end = batch[-1].end
        with conn.transaction():
            events = [event for line in batch for event in line.events]
            report.stored += ingest(conn, events, settings)
            store.save_transcript_offset(conn, str(file), AGENT, end)
        report.lines += len(batch)
        report.told += transcript.tally(batch)
        report.bytes += end - start
        progress(end - start)
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
