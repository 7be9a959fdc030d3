"""Which rows stay so that no project and no tool has too large a share, and which of them are for validation.

All by the rows' ids, so that the same journal gives the same data set.
"""

from __future__ import annotations

import hashlib
import math
import sqlite3
from collections.abc import Mapping

from agent_memory.finetune import index as rows
from agent_memory.finetune.index import TRAIN, VALIDATION

KEPT = 0.25
"""Balancing never takes more than all but this share of the rows: before that the shares are left as they are."""
VALIDATION_SHARE = 0.1
ENOUGH_PROJECTS = 5
"""From so many projects on, the validation has projects of its own."""
NEAR = "nearly the same as a row for training"
_ROUNDS = 200


def balance(index: sqlite3.Connection, *, project_share: float, tool_share: float) -> dict[str, str]:
    """Take rows out until the shares are kept. Which gate's share could not be reached, with the reason."""
    least = math.ceil(KEPT * sum(rows.counted(index, "project").values()))
    unreached: dict[str, str] = {}
    for _ in range(3):  # taking rows of a tool may give a project too much again
        shares = {
            "project share": _projects(index, project_share, least),
            "tool share": _tools(index, tool_share, least),
        }
        unreached |= {gate: reason for gate, reason in shares.items() if reason}
    return unreached


def _projects(index: sqlite3.Connection, share: float, least: int) -> str:
    counts = rows.counted(index, "project")
    if not counts or max(counts.values()) <= share * sum(counts.values()):
        return ""
    cap = most_each(list(counts.values()), share)
    left = sum(min(n, cap) for n in counts.values())
    largest = max(counts.values()) / sum(counts.values())
    if not cap or left < least:
        return (
            f"One project has {largest:.0%} of the rows, more than {share:.0%}: the journal has"
            f" {len(counts)} project{'s' * (len(counts) != 1)}, too few or too small beside it to balance that. A model"
            " trained on this learns that one project's ways."
        )
    for project, count in counts.items():
        if count > cap:
            gone = index.execute(
                "select n from rows where dropped is null and project = ? order by chance limit ?",
                (project, count - cap),
            ).fetchall()
            rows.drop(index, [n for (n,) in gone], "too large a share of its project")
    return ""


def most_each(counts: list[int], share: float) -> int:
    """How many rows a project may have at most, so that none has more than its share. 0: that cannot be."""
    low, high = 0, max(counts)
    while low < high:
        middle = (low + high + 1) // 2
        fits = middle <= share * sum(min(n, middle) for n in counts)
        low, high = (middle, high) if fits else (low, middle - 1)
    return low


def _tools(index: sqlite3.Connection, share: float, least: int) -> str:
    """Take out the rows that are fullest of the tool that is called too much, tool after tool."""
    reason = "too large a share of its tool"
    for _ in range(_ROUNDS):
        counts = rows.tools(index)
        total = sum(counts.values())
        worst, n = next(iter(counts.items()), ("", 0))
        if n <= share * total:
            return ""
        room = sum(rows.counted(index, "project").values()) - least
        gone = []
        fullest = index.execute(
            "select r.n, c.n, r.calls from calls c join rows r on r.n = c.row"
            " where tool = ? and dropped is null order by c.n * 1.0 / r.calls desc, chance limit ?",
            (worst, max(room, 0)),
        )
        for row, mine, calls in fullest:
            if n <= share * total or mine <= share * calls:
                break
            gone.append(row)
            n, total = n - mine, total - calls
        fullest.close()
        if not gone:
            break
        rows.drop(index, gone, reason)
    else:
        worst = next(iter(rows.tools(index)), "")
    index.execute("update rows set dropped = null where dropped = ?", (reason,))
    counts = rows.tools(index)
    worst, n = next(iter(counts.items()))
    return (
        f"{n / sum(counts.values()):.0%} of the calls are {worst}, more than {share:.0%}, and without three quarters of"
        " the rows the journal gives no better balance: they stay as they are."
    )


def split(index: sqlite3.Connection) -> tuple[str, list[str]]:
    """Set a tenth of the rows apart for validation: whole projects where there are enough, else whole sessions. By
    what it was split, and a warning where it could not be."""
    for by in ("project", "session"):
        counts = rows.counted(index, by)
        if by == "project" and len(counts) < ENOUGH_PROJECTS:
            continue
        chosen = _apart(counts)
        if chosen:
            index.executemany(
                f"update rows set part = ? where {by} = ?", [(VALIDATION, one) for one in chosen]
            )
            _drop_near(index)
            if rows.counted(index, "part").get(VALIDATION):
                return by, []
            index.execute("update rows set part = ?", (TRAIN,))
            index.execute("update rows set dropped = null where dropped = ?", (NEAR,))
    return "nothing", [
        "There is no row for validation: what there is comes from one session, or is all alike."
    ]


def _apart(counts: Mapping[str, int]) -> list[str]:
    """Projects or sessions with about a tenth of the rows, none of them a large one."""
    total = sum(counts.values())
    wanted, chosen, got = max(1, round(VALIDATION_SHARE * total)), [], 0
    by_chance = sorted(counts, key=lambda one: hashlib.sha256(f"{one}".encode()).digest())
    for most in (2 * wanted, total // 2):
        for one in by_chance:
            if got < wanted and one not in chosen and got + counts[one] <= most:
                chosen.append(one)
                got += counts[one]
    return chosen


def _drop_near(index: sqlite3.Connection) -> None:
    rows.drop(index, [n for n, _ in rows.near_across(index)], NEAR)
