"""What is remembered: observations in and out, search, recall, the timeline."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import AwareDatetime, BaseModel, Field

from agent_memory.errors import AgentMemoryError
from agent_memory.journal import projects
from agent_memory.observations import notes, store
from agent_memory.recall import search as recalling
from agent_memory.recall.answer import Answer, Entry, Full, Index
from agent_memory.service.auth import By
from agent_memory.service.state import Database, Service

router = APIRouter()
Number = Annotated[int, Field(ge=1, le=2**63 - 1)]


class NewObservation(BaseModel):
    project: str
    text: str
    title: str | None = Field(default=None, max_length=1000)
    kind: str = Field(default="note", pattern=r"^[a-z][a-z0-9_-]{0,39}$")
    role: Literal["user", "assistant"] | None = None
    occurred_at: AwareDatetime | None = None
    session_id: str | None = Field(default=None, max_length=200)
    external_id: str | None = Field(default=None, max_length=500)
    supersedes: Number | str | None = None
    """An observation's id or its external id; also of one that comes in the same request."""
    valid_from: AwareDatetime | None = None
    valid_until: AwareDatetime | None = None


class Validity(BaseModel):
    """Fields that are not given stay as they are. `valid_until`: null takes a retraction back."""

    valid_from: AwareDatetime | None = None
    valid_until: AwareDatetime | None = None
    retracted_because: str | None = Field(default=None, max_length=notes.LONGEST_REASON)


class Question(BaseModel):
    query: str = Field(max_length=100_000)
    project: str
    k: int = Field(default=5, ge=1, le=50)
    budget_chars: int = Field(default=6000, ge=200, le=100_000)
    since: AwareDatetime | None = None
    until: AwareDatetime | None = None
    kinds: list[str] | None = None


class Lookup(BaseModel):
    query: str = Field(max_length=100_000)
    project: str
    limit: int = Field(default=20, ge=1, le=50)
    since: AwareDatetime | None = None
    until: AwareDatetime | None = None
    kinds: list[str] | None = None


@router.post("/observations", status_code=201)
def save_observations(
    new: NewObservation | Annotated[list[NewObservation], Field(max_length=1000)],
    conn: Database,
    state: Service,
    by: By,
) -> dict[str, Any]:
    """Remember one observation, or up to 1,000. The same project and `external_id` again replaces the first. Of a list
    those that were forgotten are left out: null stands in the place of their id."""
    given = new if isinstance(new, list) else [new]
    project_ids = {name: projects.ensure_argument(conn, name) for name in {one.project for one in given}}
    for project_id in project_ids.values():
        by.check(project_id)
    ready = [
        notes.note(one.text, state.settings, project_id=project_ids[one.project], **_rest(one))
        for one in given
    ]
    if not isinstance(new, list):
        return {"ids": notes.save(conn, ready)}
    gone = notes.forgotten_among(conn, ready)
    saved = iter(notes.save(conn, [one for one, left_out in zip(ready, gone, strict=True) if not left_out]))
    return {"ids": [None if left_out else next(saved) for left_out in gone]}


@router.get("/observations")
def list_observations(
    conn: Database,
    by: By,
    project: str,
    limit: Annotated[int, Query(ge=1, le=50)] = 50,
    cursor: datetime | None = None,
) -> dict[str, Any]:
    """Newest first. `next_cursor` is a time: what comes before it is the next page."""
    project_id = by.project(conn, project)
    entries = recalling.timeline(conn, project_id=project_id, around=cursor, before=limit, after=0)[::-1]
    last = entries[-1].occurred_at if len(entries) == limit else None
    return {"items": entries, "next_cursor": last}


@router.get("/observations/{number}")
def get_observation(number: Number, conn: Database, by: By) -> Full:
    """One observation whole, with its sources."""
    project_id = store.project_of(conn, number)
    found = recalling.get(conn, project_id=project_id, ids=[number]) if project_id is not None else []
    if not found or not by.may_reach(project_id):
        raise AgentMemoryError(
            f"There is no observation {number}.", "Search lists what there is.", status=404
        )
    return found[0]


@router.patch("/observations/{number}")
def change_observation(number: int, change: Validity, conn: Database, state: Service, by: By) -> Full:
    """Say when an observation held. A `valid_until` retracts it: recall no longer gives it, and it stays, marked."""
    get_observation(number, conn, by)
    if change.valid_until is not None:
        because = change.retracted_because
        notes.retract(conn, number, at=change.valid_until, because=because, settings=state.settings)
    elif "valid_until" in change.model_fields_set:
        notes.hold_again(conn, number)
    if "valid_from" in change.model_fields_set:
        notes.change_validity(conn, number, {"valid_from": change.valid_from})
    return get_observation(number, conn, by)


@router.post("/observations/search")
def search_observations(wanted: Lookup, conn: Database, state: Service, by: By) -> Index:
    """An index of hits, a line each."""
    project_id = by.project(conn, wanted.project)
    filters = wanted.model_dump(include={"limit", "since", "until", "kinds"})
    return recalling.search(conn, wanted.query, project_id=project_id, embedder=state.embedder(), **filters)


@router.post("/recall")
def recall(question: Question, conn: Database, state: Service, by: By) -> Answer:
    """The observations of one project that answer a question, within a budget of characters."""
    project_id = by.project(conn, question.project)
    filters = question.model_dump(include={"k", "budget_chars", "since", "until", "kinds"})
    return recalling.recall(conn, question.query, project_id=project_id, embedder=state.embedder(), **filters)


@router.get("/timeline")
def timeline(
    conn: Database,
    by: By,
    project: str,
    around: Number | None = None,
    before: Annotated[int, Query(ge=0, le=50)] = 10,
    after: Annotated[int, Query(ge=0, le=50)] = 10,
) -> dict[str, list[Entry]]:
    """What happened in a project, the oldest first: around one observation, or the latest."""
    project_id = by.project(conn, project)
    return {
        "items": recalling.timeline(conn, project_id=project_id, around=around, before=before, after=after)
    }


def _rest(one: NewObservation) -> dict[str, Any]:
    return one.model_dump(exclude={"project", "text"})
