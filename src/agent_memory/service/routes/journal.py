"""What happened: raw payloads in; sessions, prompts and tool calls in and out."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Query, Request
from fastapi.concurrency import run_in_threadpool
from pydantic import AliasChoices, AwareDatetime, BaseModel, Field

from agent_memory.capture import drain
from agent_memory.database import Connection
from agent_memory.errors import AgentMemoryError
from agent_memory.journal import forgotten, projects, store
from agent_memory.journal.event import Event, Prompt
from agent_memory.journal.ingest import ingest
from agent_memory.observations import store as observations
from agent_memory.service.auth import By, Caller
from agent_memory.service.state import Database, Service

router = APIRouter()
Limit = Annotated[int, Query(ge=1, le=1000)]


@router.post("/queue", status_code=202)
async def queue(
    request: Request, state: Service, by: By, x_agent_name: Annotated[str, Header()] = "claude"
) -> dict[str, Any]:
    """Take one raw hook payload. It is stored when the answer comes."""
    raw = await request.body()
    return await run_in_threadpool(_store_payload, state, by, x_agent_name, raw)


def _store_payload(state: Service, by: Caller, agent: str, raw: bytes) -> dict[str, Any]:
    try:
        events = drain.events_of(agent, drain.read_payload(raw), datetime.now(UTC))
    except ValueError as error:
        raise AgentMemoryError(
            f"This payload cannot be read. {error}", "Send one hook payload as a JSON object.", status=422
        ) from None
    with state.pool.connection() as conn, conn.transaction():
        _check_events(conn, by, events)
        ingest(conn, events, state.settings)
    return {"events": len(events)}


def _check_events(conn: Connection, by: Caller, events: Sequence[Event]) -> None:
    """Raises AgentMemoryError where one of the events would be stored in a project that is not the caller's."""
    if by.project_id is None:
        return
    known = store.known_projects(conn, [event.session_id for event in events])
    for event in events:
        project_id = known.get(event.session_id)
        by.check(projects.ensure(conn, projects.identify(event.cwd)) if project_id is None else project_id)


class NewSession(BaseModel):
    id: str = Field(min_length=1, max_length=200, validation_alias=AliasChoices("id", "session_id"))
    agent: str = Field(default="custom", max_length=100)
    project: str | None = None
    cwd: str | None = None
    model: str | None = None
    git_branch: str | None = None
    transcript_path: str | None = None
    source: str | None = None
    started_at: AwareDatetime | None = None


class SessionChange(BaseModel):
    ended_at: AwareDatetime | None = None
    end_reason: str | None = None
    model: str | None = None
    git_branch: str | None = None
    transcript_path: str | None = None


@router.post("/sessions", status_code=201)
def create_session(new: NewSession, conn: Database, by: By) -> dict[str, Any]:
    """Make a session known. Again with the same id: what was missing is filled."""
    gone = forgotten.look(conn)
    if gone and gone.sessions({new.id}):
        raise AgentMemoryError(
            "This session was forgotten, and is not recorded again.",
            "Where it should be after all, the owner lifts its tombstone: agent-memory tombstones --lift ID.",
            status=409,
        )
    if new.project:
        project = projects.ensure_argument(conn, new.project)
    else:
        project = projects.ensure(conn, projects.identify(new.cwd))
    by.check(store.known_projects(conn, [new.id]).get(new.id, project))
    at = new.started_at or datetime.now(UTC)
    row = store.SessionRow(
        id=new.id,
        project_id=project,
        started_at=at,
        last_event_at=at,
        **new.model_dump(include={"agent", "cwd", "model", "git_branch", "transcript_path", "source"}),
    )
    store.save_sessions(conn, [row])
    return _session(conn, new.id, by)


@router.patch("/sessions/{session_id}")
def change_session(session_id: str, change: SessionChange, conn: Database, by: By) -> dict[str, Any]:
    """Fill in what was not known of a session, such as its end."""
    known = _session(conn, session_id, by)
    at = change.ended_at or known["last_event_at"]
    row = store.SessionRow(
        id=session_id,
        project_id=known["project_id"],
        agent=known["agent"],
        started_at=known["started_at"],
        last_event_at=at,
        **change.model_dump(),
    )
    store.save_sessions(conn, [row])
    return _session(conn, session_id, by)


@router.get("/sessions/{session_id}")
def get_session(session_id: str, conn: Database, by: By) -> dict[str, Any]:
    """One session, with how many prompts and calls it had."""
    return _session(conn, session_id, by)


class NewPrompt(BaseModel):
    session_id: str = Field(min_length=1, max_length=200)
    text: str
    agent: str = Field(default="custom", max_length=100)
    cwd: str | None = None
    prompt_id: str | None = Field(default=None, max_length=200)
    kind: Literal["user", "task_notification", "subagent", "command"] = "user"
    occurred_at: AwareDatetime | None = None


@router.post("/prompts", status_code=201)
def create_prompt(new: NewPrompt, conn: Database, state: Service, by: By) -> dict[str, Any]:
    """Store one prompt of a session, which is made where it is not known."""
    event = Event(
        agent=new.agent,
        session_id=new.session_id,
        occurred_at=new.occurred_at or datetime.now(UTC),
        cwd=new.cwd,
        prompt_id=new.prompt_id,
        body=Prompt(text=new.text, kind=new.kind),
    )
    _check_events(conn, by, [event])
    return {"stored": ingest(conn, [event], state.settings).prompts}


@router.get("/prompts")
def list_prompts(
    conn: Database,
    by: By,
    session_id: str | None = None,
    project: str | None = None,
    limit: Limit = 100,
    cursor: str | None = None,
) -> dict[str, Any]:
    """Newest first."""
    rows = store.prompts(
        conn, session_id=session_id, project_id=by.narrowed(conn, project), after=cursor, limit=limit
    )
    last = rows[-1]["cursor"] if len(rows) == limit else None
    return {"items": [{k: v for k, v in row.items() if k != "cursor"} for row in rows], "next_cursor": last}


@router.get("/tool-calls")
def list_tool_calls(
    conn: Database,
    by: By,
    session_id: str | None = None,
    project: str | None = None,
    tool: str | None = None,
    limit: Limit = 100,
    cursor: Annotated[int | None, Query(ge=1)] = None,
) -> dict[str, Any]:
    """Newest first."""
    rows = store.tool_calls(
        conn,
        session_id=session_id,
        project_id=by.narrowed(conn, project),
        tool=tool,
        before=cursor,
        limit=limit,
    )
    return {"items": rows, "next_cursor": rows[-1]["id"] if len(rows) == limit else None}


@router.get("/projects")
def list_projects(conn: Database, by: By) -> dict[str, Any]:
    """Every project that something was recorded of."""
    return {"items": [row for row in store.projects(conn) if by.may_reach(row["id"])], "next_cursor": None}


@router.get("/counts")
def counts(conn: Database) -> dict[str, int]:
    """Rows in each table of the journal and of the memory."""
    return store.counts(conn) | observations.counts(conn)


def _session(conn: Database, session_id: str, by: Caller) -> dict[str, Any]:
    found = store.session(conn, session_id)
    if found is None or not by.may_reach(found["project_id"]):
        raise AgentMemoryError(
            f"No session {session_id!r} is known here.", "Use the agent's own session id.", status=404
        )
    return found
