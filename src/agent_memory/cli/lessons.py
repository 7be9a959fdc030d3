"""Lessons: rules that speak up before a mistake is made again. Made, looked at, decided on, tried."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agent_memory import settings
from agent_memory.cli import completing
from agent_memory.cli.tables import print_table
from agent_memory.cli.terminal import (
    AsJson,
    Project,
    answered,
    audit,
    console,
    database,
    plain,
    print_json,
    readable,
    tell,
)
from agent_memory.errors import AgentMemoryError
from agent_memory.lessons.lesson import Action, Kind, Severity, Status
from agent_memory.lessons.moment import Phase

if TYPE_CHECKING:
    from rich.console import Console

    from agent_memory.lessons.lesson import Lesson
    from agent_memory.lessons.trigger import Trigger

RUN_BY_AGENTS = ("CLAUDECODE", "AI_AGENT", "CODEX_SANDBOX", "GEMINI_CLI", "OPENCODE")
"""Variables that agents set for the commands that they run."""

_NOBODY = (
    "A review asks questions, and nobody is at the keyboard.",
    "Use: agent-memory lesson list, and lesson approve ID or lesson reject ID.",
)

lessons_app = typer.Typer(
    help="Rules that speak up before a mistake is made again.", no_args_is_help=True, name="lesson"
)

Number = Annotated[
    int,
    typer.Argument(metavar="ID", autocompletion=completing.lesson, help="A lesson, as lesson list shows it."),
]
Numbers = Annotated[
    list[int],
    typer.Argument(
        metavar="ID", autocompletion=completing.lesson, help="Lessons, as lesson list shows them."
    ),
]
Title = Annotated[str | None, typer.Option(help="A few words. Default: the rule's beginning.")]
Pattern = Annotated[str | None, typer.Option(help="What to look for in the call's input; see --kind.")]
KindOption = Annotated[
    Kind | None,
    typer.Option("--kind", help="regex (RE2; the default), glob, or literal: as it stands."),
]
Tool = Annotated[
    list[str] | None,
    typer.Option(
        "--tool", help="Bash, Edit, … or a glob such as mcp__db__*. Several: repeat it. Default: any."
    ),
]
File = Annotated[
    list[str] | None, typer.Option("--file", help="A glob of files in the input, such as 'db/**/*.sql'.")
]
PhaseOption = Annotated[
    Phase | None, typer.Option("--phase", help="before a call (the default), after_failure, prompt, end.")
]
SeverityOption = Annotated[Severity | None, typer.Option("--severity", help="info, warning or critical.")]
ActionOption = Annotated[
    Action | None,
    typer.Option("--action", help="warn (the default), ask you first, or deny: refuse the call."),
]


def register(app: typer.Typer) -> None:
    app.add_typer(lessons_app)


@lessons_app.command()
def add(
    rule: Annotated[
        str, typer.Argument(metavar="RULE", help="What the agent is to do instead; 280 characters at most.")
    ],
    *,
    pattern: Pattern = None,
    kind: KindOption = None,
    tool: Tool = None,
    file: File = None,
    phase: PhaseOption = None,
    severity: SeverityOption = None,
    action: ActionOption = None,
    title: Title = None,
    project: Project = None,
    everywhere: Annotated[bool, typer.Option("--global", help="In every project.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make a lesson of your own; it speaks from now on."""
    from agent_memory.journal import projects
    from agent_memory.lessons import gate, render
    from agent_memory.lessons.lesson import Draft
    from agent_memory.lessons.trigger import Trigger

    agent = _run_by_an_agent()
    with database() as conn:
        project_id = None if everywhere else projects.ensure_argument(conn, project or os.getcwd())
        draft = Draft(
            rule=rule,
            title=title or "",
            trigger=_changed(Trigger(kind="regex"), pattern, kind, tool, file, phase),
            severity=severity or "warning",
            action=action or "warn",
            project_id=project_id,
            made_by="model" if agent else "user",
        )
        made = gate.create(
            conn, draft, settings.load(), active=not agent, may_deny=action == "deny" and not agent
        )
        audit(conn, "lesson add", target=f"lesson {made.lesson.id}", project_id=project_id)
    lesson = made.lesson
    if as_json:
        print_json({**render.as_dict(lesson), "new": made.new})
        return
    typer.echo(
        f"{'Made' if made.new else 'There is already'} lesson {lesson.id} ({lesson.status}, {lesson.action}):"
        f" it speaks {render.when(lesson.trigger)}"
    )
    if agent and lesson.status == "candidate":
        typer.echo(
            "An agent ran this, so it is a candidate. The user approves it in a terminal of their own."
        )
    elif lesson.status == "active":
        _tell_where_it_speaks(lesson)


@lessons_app.command("list")
def list_lessons(
    *,
    project: Project = None,
    every: Annotated[bool, typer.Option("--all", help="Of every project.")] = False,
    status: Annotated[
        Status | None,
        typer.Option(help="candidate, active, retired, rejected. Default: the first two."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the lessons of this project and the global ones.

    With how often each spoke, and what came of it.
    """
    from agent_memory.journal import projects
    from agent_memory.lessons import ledger, render, store

    with database() as conn:
        project_id = projects.resolve(conn, project or os.getcwd())
        ledger.settle(conn)
        found = store.listed(
            conn,
            project_id=project_id,
            every_project=every,
            statuses=[status] if status else ["candidate", "active"],
        )
        records = store.records(conn)
    shown = [render.as_dict(one, records.get(one.id)) for one in found]
    if as_json:
        print_json(shown)
        return
    if not shown:
        typer.echo("No lessons here yet. Make one: agent-memory lesson add, or let candidates be found.")
        return
    counted = ("fired", "heeded", "prevented", "false")
    print_table(
        ("id", "status", "severity", "does", *counted, "lesson"),
        [
            (
                str(one["id"]),
                one["status"],
                one["severity"],
                one["action"],
                *(str(one[name]) if one["fired"] else "–" for name in counted),
                ("" if one["project_id"] else "everywhere: ") + one["title"],
            )
            for one in shown
        ],
        wide="lesson",
        right=("id", *counted),
    )
    out = console()
    candidates = sum(one["status"] == "candidate" for one in shown)
    if candidates:
        out.print(f"\n{candidates} wait for your word: agent-memory lesson review")
    for one in shown:
        if one["proposal"]:
            out.print(readable(f"lesson {one['id']}: {one['proposal']}"), style="yellow", markup=False)


@lessons_app.command()
def show(number: Number, *, as_json: AsJson = False) -> None:
    """Show one lesson: its rule, its trigger, what came of it."""
    from agent_memory.lessons import gate, ledger, render, store

    with database() as conn:
        lesson = gate.find(conn, number)
        ledger.settle(conn)
        record = store.records(conn).get(number)
        firings = store.firings(conn, number)
    shown = {**render.as_dict(lesson, record), "firings": firings}
    if as_json:
        print_json(shown)
        return
    out = console()
    _print_lesson(out, lesson, shown)
    for firing in firings:
        at = firing["fired_at"].astimezone()
        calls = ", ".join(map(str, firing["outcome_calls"])) or "–"
        outcome = firing["outcome"] or "not known yet"
        out.print(f"{at:%Y-%m-%d %H:%M}  {firing['action']}  {outcome}  (tool calls {calls})", markup=False)


@lessons_app.command()
def review(
    *,
    project: Project = None,
    every: Annotated[bool, typer.Option("--all", help="Of every project.")] = False,
) -> None:
    """Step through what waits for your word, and decide.

    Candidates, and lessons whose record proposes something.
    """
    from agent_memory.journal import projects
    from agent_memory.lessons import gate, ledger, render, store

    _only_the_user()
    if not sys.stdin.isatty():
        raise AgentMemoryError(*_NOBODY)
    with database() as conn:
        project_id = projects.resolve(conn, project or os.getcwd())
        ledger.settle(conn)
        records = store.records(conn)
        lessons = store.listed(
            conn, project_id=project_id, every_project=every, statuses=["candidate", "active"]
        )
        conn.commit()
        shown = {one.id: render.as_dict(one, records.get(one.id)) for one in lessons}
        due = [one for one in lessons if one.status == "candidate" or shown[one.id]["proposal"]]
        out = console()
        for place, lesson in enumerate(due, 1):
            out.rule(f"{place} of {len(due)}", align="left")
            _print_lesson(out, lesson, shown[lesson.id])
            with answered(*_NOBODY):
                changes = _decision(lesson)
            if changes is None:
                break
            if changes:
                gate.change(conn, lesson.id, settings.load(), **changes)
                audit(conn, "lesson review", target=f"lesson {lesson.id}: {', '.join(changes)}")
                conn.commit()
    typer.echo("Nothing waits for your word." if not due else "Done.")


@lessons_app.command()
def approve(
    numbers: Numbers,
    *,
    action: ActionOption = None,
    as_json: AsJson = False,
) -> None:
    """Let candidates speak from now on.

    Also lessons that were retired or rejected.
    """
    from agent_memory.lessons import gate, render

    _only_the_user()
    approved = []
    with database() as conn:
        for number in numbers:
            lesson = gate.change(
                conn,
                number,
                settings.load(),
                status="active",
                action=action,
                may_deny=action == "deny",
            )
            audit(conn, "lesson approve", target=f"lesson {number} ({lesson.action})")
            approved.append(lesson)
    if as_json:
        print_json([render.as_dict(lesson) for lesson in approved])
        return
    for lesson in approved:
        typer.echo(f"Lesson {lesson.id} speaks from now on ({lesson.action}).")
        _tell_where_it_speaks(lesson)


@lessons_app.command()
def retire(numbers: Numbers, *, as_json: AsJson = False) -> None:
    """Silence active lessons.

    They are kept, and are not proposed again.
    """
    _decide(numbers, "retired", "is silent from now on", as_json=as_json)


@lessons_app.command()
def reject(numbers: Numbers, *, as_json: AsJson = False) -> None:
    """Decide against candidates.

    They are kept, so that they are not proposed again.
    """
    _decide(numbers, "rejected", "is rejected and will not be proposed again", as_json=as_json)


@lessons_app.command()
def edit(
    number: Number,
    *,
    rule: Annotated[str | None, typer.Option(help="280 characters at most.")] = None,
    title: Title = None,
    pattern: Pattern = None,
    kind: KindOption = None,
    tool: Tool = None,
    file: File = None,
    phase: PhaseOption = None,
    severity: SeverityOption = None,
    action: ActionOption = None,
    as_json: AsJson = False,
) -> None:
    """Change a lesson.

    With another trigger its record starts anew.
    """
    from agent_memory.lessons import gate, render

    _only_the_user()
    with database() as conn:
        before = gate.find(conn, number)
        lesson = gate.change(
            conn,
            number,
            settings.load(),
            rule=rule,
            title=title,
            severity=severity,
            action=action,
            trigger=_changed(before.trigger, pattern, kind, tool, file, phase),
            may_deny=action == "deny",
        )
        audit(conn, "lesson edit", target=f"lesson {number} ({lesson.action})")
    said = f"Lesson {number} ({lesson.status}, {lesson.action}): {lesson.rule}\nIt speaks {render.when(lesson.trigger)}"
    tell(said, render.as_dict(lesson), as_json=as_json)


@lessons_app.command("test")
def try_out(
    call: Annotated[
        str,
        typer.Argument(
            metavar="CALL",
            help="A command, or a tool call as JSON with tool_name and tool_input; - reads it.",
        ),
    ],
    *,
    error: Annotated[str | None, typer.Option(help="As after a failure with this error.")] = None,
    project: Project = None,
    as_json: AsJson = False,
) -> None:
    """Show which lessons would speak at a call, and why.

    Nothing is recorded.
    """
    from agent_memory.journal import projects
    from agent_memory.lessons import moment, render, search

    tool, given = _call(typer.get_text_stream("stdin").read() if call == "-" else call)
    folder = os.path.abspath(os.path.expanduser(project)) if project else os.getcwd()
    seen = moment.call("after_failure" if error else "before", tool, given, cwd=folder, error=error)
    with database() as conn:
        project_id = projects.resolve(conn, project or folder)
        found = search.matching(conn, seen, project_id=project_id, statuses=("active", "candidate"))
    if as_json:
        print_json(
            [{**render.as_dict(one.lesson), "why": list(one.why), "speaks": one.speaks} for one in found]
        )
        return
    for one in found:
        lesson = one.lesson
        does = {"warn": "warns", "ask": "asks you", "deny": "refuses the call"}[lesson.action]
        would = (
            does if one.speaks else "is a candidate" if lesson.status == "candidate" else "would be a fourth"
        )
        typer.echo(readable(f"lesson {lesson.id} {would}: {lesson.rule}\n    since {', and '.join(one.why)}"))
    if not found:
        typer.echo("No lesson would speak.")


def _decide(numbers: list[int], status: Any, what: str, *, as_json: bool) -> None:
    from agent_memory.lessons import gate, render

    _only_the_user()
    with database() as conn:
        changed = [gate.change(conn, number, settings.load(), status=status) for number in numbers]
        for number in numbers:
            audit(conn, f"lesson {status}", target=f"lesson {number}")
    said = "\n".join(f"Lesson {number} {what}." for number in numbers)
    tell(said, [render.as_dict(lesson) for lesson in changed], as_json=as_json)


def _decision(lesson: Lesson) -> dict[str, Any] | None:
    """What the user wants of a lesson, as changes; None: to stop."""
    if lesson.status == "candidate":
        choices = "[a]pprove, [w] approve with other words, [r]eject, [s]kip, [q]uit"
    else:
        choices = "[k] let it ask, [t] retire, [s]kip, [q]uit"
    while True:
        match typer.prompt(choices, default="s").strip().lower()[:1]:
            case "a" if lesson.status == "candidate":
                return {"status": "active"}
            case "w" if lesson.status == "candidate":
                return {"status": "active", "rule": typer.prompt("rule", default=lesson.rule)}
            case "r" if lesson.status == "candidate":
                return {"status": "rejected"}
            case "k" if lesson.status == "active":
                return {"action": "ask"}
            case "t" if lesson.status == "active":
                return {"status": "retired"}
            case "s":
                return {}
            case "q":
                return None


def _print_lesson(out: Console, lesson: Lesson, shown: Mapping[str, Any]) -> None:
    from agent_memory.lessons import render

    where = f"in {lesson.project_name}" if lesson.project_name else "everywhere"
    out.print(f"[bold]{lesson.id}  {plain(lesson.title)}[/bold]")
    said = f"{lesson.status}, {lesson.severity}, {lesson.action}, {where}, made by {lesson.made_by}"
    out.print(readable(said), markup=False)
    rule = [lesson.rule] if lesson.rule != lesson.title else []
    for line in (*rule, f"speaks {render.when(lesson.trigger)}", *render.basis(lesson)):
        out.print(readable(line), markup=False)
    if shown["fired"]:
        counts = ", ".join(
            f"{name} {shown[name]}" for name in ("fired", "heeded", "prevented", "ignored", "false")
        )
        out.print(counts)
    if shown["proposal"]:
        out.print(shown["proposal"], style="yellow", markup=False)


def _changed(
    trigger: Trigger,
    pattern: str | None,
    kind: Kind | None,
    tools: list[str] | None,
    files: list[str] | None,
    phase: Phase | None,
) -> Trigger:
    """The trigger with what the options say; the gate checks it."""
    named = tuple(name for one in tools or () for name in one.split(","))
    return dataclasses.replace(
        trigger,
        pattern=trigger.pattern if pattern is None else pattern,
        kind=kind or trigger.kind,
        tools=named or trigger.tools,
        files=tuple(files) if files else trigger.files,
        phase=phase or trigger.phase,
    )


def _call(text: str) -> tuple[str, dict[str, Any]]:
    """A tool's name and its input, from JSON or a plain command."""
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        return "Bash", {"command": text}
    tool, given = value.get("tool_name"), value.get("tool_input")
    if not isinstance(tool, str) or not isinstance(given, dict):
        raise AgentMemoryError(
            "This JSON is no tool call.",
            'Give {"tool_name": "Bash", "tool_input": {"command": "…"}}, or a command.',
        )
    return tool, given


def _tell_where_it_speaks(lesson: Lesson) -> None:
    """A lesson before a call of a tool that no hook asks about would never speak."""
    from fnmatch import fnmatchcase

    asked = ("Bash", "Edit", "Write", "NotebookEdit")
    tools = lesson.trigger.tools
    if lesson.trigger.phase == "before" and not any(
        tool.startswith("mcp__") or fnmatchcase(name, tool) for tool in tools for name in asked
    ):
        typer.echo(
            f"But hooks ask only before {', '.join(asked)} and MCP tools, so not before {', '.join(tools)}."
        )


def _run_by_an_agent() -> bool:
    return any(os.environ.get(name) for name in RUN_BY_AGENTS)


def _only_the_user() -> None:
    """An agent must not approve its own lessons. That is a rail, not a wall: who runs as the user can do all that the
    user can."""
    if _run_by_an_agent():
        raise AgentMemoryError(
            "Lessons are decided on by the user, and an agent runs this command.",
            "Run it in a terminal of your own.",
        )
