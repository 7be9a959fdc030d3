"""What a project remembers, day by day."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from agent_memory.errors import AgentMemoryError
from agent_memory.replay import store
from agent_memory.service.auth import By
from agent_memory.service.state import Database
from agent_memory.service.web.page import page, projects_of

router = APIRouter()
STRIP_DAYS = 70
MOST = 1_000


@router.get("/timeline")
def timeline(request: Request, conn: Database, by: By, project: str = "", day: str = "") -> HTMLResponse:
    """One day of one project: its sessions with their turns, and its notes. Without a day the last that it has."""
    projects = projects_of(conn, by)
    project_id = by.narrowed(conn, project or None) or (projects[0]["id"] if projects else None)
    if project_id is None:
        return page(
            request, "timeline.html", projects=[], project_id=None, chosen=None, strip=[], sessions=[]
        )
    today = date.today()  # noqa: DTZ011 - this machine's day is the user's
    if day:
        chosen = _date(day)
    else:
        last, _ = store.neighbours_in_time(
            conn, project_id, midnight(today + timedelta(days=1)), midnight(today)
        )
        chosen = last.astimezone().date() if last else today
    since, until = midnight(chosen), midnight(chosen + timedelta(days=1))
    before, after = store.neighbours_in_time(conn, project_id, since, until)
    rows = store.day(conn, project_id, since, until, limit=MOST)
    return page(
        request,
        "timeline.html",
        projects=projects,
        project_id=project_id,
        chosen=chosen,
        strip=_strip(conn, project_id, min(today, chosen + timedelta(days=STRIP_DAYS // 2))),
        sessions=grouped(rows),
        before=before.astimezone().date() if before else None,
        after=after.astimezone().date() if after else None,
        cut=len(rows) == MOST,
    )


def midnight(day: date) -> datetime:
    """When a day begins on this machine."""
    return datetime.combine(day, time.min).astimezone()


def grouped(rows: Sequence[dict[str, Any]]) -> list[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """What belongs together: the memories of each session, and the notes that are of none, behind the first of them."""
    groups: dict[str | None, list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(row["session_id"], []).append(row)
    return [(of[0], of) for of in groups.values()]


def _strip(conn: Database, project_id: int, last: date) -> list[tuple[date, int, str]]:
    """The days up to `last`, with how much each has and how that compares."""
    days = [last - timedelta(days=back) for back in range(STRIP_DAYS - 1, -1, -1)]
    bounds = [midnight(day) for day in (*days, last + timedelta(days=1))]
    counts = store.days(conn, project_id, bounds)
    most = max(counts, default=0)

    def shade(number: int) -> str:
        return "" if not number else "most" if number * 2 > most else "many" if number * 5 > most else "some"

    return [(day, number, shade(number)) for day, number in zip(days, counts, strict=True)]


def _date(said: str) -> date:
    try:
        chosen = date.fromisoformat(said)
    except ValueError:
        chosen = date.min
    if not 1970 <= chosen.year < 9999:
        raise AgentMemoryError(f"{said!r} is no day.", "Write it as 2026-11-25.", status=422)
    return chosen
