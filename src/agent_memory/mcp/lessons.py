"""The two tools for lessons: rules that speak up before a mistake is made again."""

from __future__ import annotations

from typing import Annotated

from mcp.server import MCPServer
from mcp.types import CallToolResult
from pydantic import BaseModel, Field

from agent_memory.database import Connection
from agent_memory.journal.fence import fence_rule
from agent_memory.lessons import gate, render
from agent_memory.lessons import search as looking
from agent_memory.lessons.lesson import LONGEST_RULE, LONGEST_TITLE, Draft, Kind, Severity, Status
from agent_memory.lessons.moment import Phase
from agent_memory.lessons.trigger import Trigger
from agent_memory.mcp.memory import Memory
from agent_memory.mcp.results import ADDS, READS, result, told

_STANDS = {
    "candidate": "a candidate: it stays silent until the user approves it (agent-memory lesson review)",
    "active": "active already",
    "retired": "one that the user has retired; it stays silent",
    "rejected": "one that the user has rejected; it stays silent",
}


class Found(BaseModel):
    ids: list[int]


class Proposed(BaseModel):
    id: int
    status: Status
    new: bool


def register(mcp: MCPServer[None], memory: Memory) -> None:
    """Add the tools to the server."""

    @mcp.tool(title="Search lessons", annotations=READS)
    @told
    def search_lessons(
        query: Annotated[
            str, Field(max_length=10_000, description="A command or words. Empty: the weightiest.")
        ] = "",
        limit: Annotated[int, Field(ge=1, le=50)] = 10,
    ) -> CallToolResult:
        """List the rules that hold in this project, learned from earlier mistakes and approved by the user. Use it
        before something risky or unfamiliar (a deployment, a migration, a release), with the command or the topic. The
        rules that fit a call are also told when it is made."""
        found = memory.read(
            "search_lessons",
            lambda conn, project: looking.search(conn, query, project_id=project, limit=limit),
        )
        text = fence_rule("\n".join(map(render.line, found))) if found else "No lesson fits."
        return result(text, Found(ids=[one.id for one in found]))

    @mcp.tool(title="Propose a lesson", annotations=ADDS)
    @told
    def create_lesson(
        rule: Annotated[
            str,
            Field(
                description=f"What to do instead, and why, to a later agent; {LONGEST_RULE} characters at most."
            ),
        ],
        pattern: Annotated[
            str,
            Field(
                description="What to look for in the call's input, such as `git push.*--force`; see `kind`."
            ),
        ] = "",
        kind: Annotated[
            Kind,
            Field(
                description="How the pattern is read: a regular expression (RE2), a glob, or as it stands."
            ),
        ] = "regex",
        tools: Annotated[
            list[str] | None,
            Field(description="Names such as Bash, or globs such as mcp__db__*. None: any tool."),
        ] = None,
        files: Annotated[
            list[str] | None, Field(description="Globs of files in the input, such as migrations/*.sql.")
        ] = None,
        phase: Annotated[
            Phase,
            Field(
                description="before a call; after_failure, where the pattern may also stand in the error; at a prompt"
                " of the user's; at the end of a turn."
            ),
        ] = "before",
        severity: Severity = "warning",
        title: Annotated[str, Field(max_length=LONGEST_TITLE, description="A few words.")] = "",
    ) -> CallToolResult:
        """Propose a rule that will be told just before a mistake is made again. Use it when a call failed for a reason
        that will come back (a wrong tool, option, folder or order) and you found what works, and when the user corrects
        you ("no, use X"). It is a candidate: it speaks only after the user has approved it."""
        trigger = Trigger(
            phase=phase, tools=tuple(tools or ("*",)), pattern=pattern, kind=kind, files=tuple(files or ())
        )

        def create(conn: Connection, project: int) -> gate.Created:
            draft = Draft(
                rule=rule,
                title=title,
                trigger=trigger,
                severity=severity,
                project_id=project,
                made_by="model",
                session_id=memory.session_id,
            )
            made = gate.create(conn, draft, memory.settings)
            memory.write_down(conn, project, "create_lesson", target=f"lesson {made.lesson.id}")
            return made

        made = memory.run(create)
        lesson = made.lesson
        done = "Proposed as" if made.new else "There is already"
        text = f"{done} lesson #{lesson.id}, {_STANDS[lesson.status]}. It would speak {render.when(lesson.trigger)}"
        return result(text, Proposed(id=lesson.id, status=lesson.status, new=made.new))
