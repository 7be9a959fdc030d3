"""A large import in several processes, each with some of the files. What one file tells is stored by one process, in
order; two files of one session meet in the journal's keys and locks, as two agents at work do."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from multiprocessing.context import SpawnContext
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Event
from pathlib import Path

from agent_memory.capture.backfill import Progress, Report, backfill
from agent_memory.database import server
from agent_memory.settings import Settings

WORTH_IT = 16 << 20
"""Bytes of session files below which a second process costs more than it saves."""
MOST = 4
TICK = 0.1  # seconds between two looks at how far they are

_told: SimpleQueue[int]
_broken_off: Event


def import_files(conninfo: str, files: Sequence[Path], settings: Settings, progress: Progress) -> Report:
    """Like `backfill`, with as many processes as it is worth. KeyboardInterrupt stops each after its batch."""
    size = sum(file.stat().st_size for file in files if file.exists())
    processes = min(MOST, os.cpu_count() or 1, len(files))
    if processes < 2 or size < WORTH_IT:
        with server.connect(conninfo) as conn:
            return backfill(conn, files, settings, progress)
    return _in_processes(multiprocessing.get_context("spawn"), processes, conninfo, files, settings, progress)


def _in_processes(
    context: SpawnContext,
    processes: int,
    conninfo: str,
    files: Sequence[Path],
    settings: Settings,
    progress: Progress,
) -> Report:
    told, broken_off = context.SimpleQueue(), context.Event()
    report = Report()
    with ProcessPoolExecutor(processes, context, _begin, (told, broken_off)) as pool:
        running = {pool.submit(_import, conninfo, file, settings) for file in files}
        try:
            while running:
                done, running = wait(running, timeout=TICK, return_when=FIRST_COMPLETED)
                for one in done:
                    report += one.result()
                while not told.empty():
                    progress(told.get())
        except BaseException:
            broken_off.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return report


def _begin(told: SimpleQueue[int], broken_off: Event) -> None:
    global _told, _broken_off
    _told, _broken_off = told, broken_off
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process hears it, and says so


def _import(conninfo: str, file: Path, settings: Settings) -> Report:
    def progress(count: int) -> None:
        _told.put(count)
        if _broken_off.is_set():
            raise KeyboardInterrupt

    with server.connect(conninfo) as conn:
        return backfill(conn, [file], settings, progress)
