"""`agent-memory lesson mine`: look through the journal for lessons."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from agent_memory import settings
from agent_memory.cli.lessons import lessons_app
from agent_memory.cli.terminal import AsJson, Project, database, moment, print_json
from agent_memory.cli.terminal import project as project_of

if TYPE_CHECKING:
    from agent_memory.lessons.mining import Candidate
    from agent_memory.lessons.proposing import Report


def register(app: typer.Typer) -> None:  # noqa: ARG001
    lessons_app.command()(mine)


def mine(
    *,
    project: Project = None,
    every: Annotated[bool, typer.Option("--all", help="Every project.")] = False,
    since: Annotated[
        str | None, typer.Option(help="Only what happened since: 30d, 8w, or a date such as 2026-03-01.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be proposed.")] = False,
    as_json: AsJson = False,
) -> None:
    """Look for lessons in what was recorded.

    Failures that came back and what fixed them, and what you corrected. What is found waits for your word. The service
    does this by itself at quiet times.
    """
    from agent_memory.lessons import mined, proposing

    with database() as conn:
        wanted = mined.projects(conn) if every else [project_of(conn, project)]
        report = proposing.propose(
            conn, settings.load(), wanted, since=moment(since) if since else None, dry_run=dry_run
        )
    if as_json:
        print_json(_as_dict(report))
        return
    _print(report, dry_run=dry_run)


def _as_dict(report: Report) -> dict[str, Any]:
    return {
        "calls": report.calls,
        "failed": report.failed,
        "candidates": [
            {
                "project_id": one.project_id,
                "title": one.title,
                "rule": one.rule,
                "kind": one.kind,
                "severity": one.severity,
                "trigger": one.trigger,
                "failures": len(one.steps),
                "sessions": one.sessions,
                "held_out": one.held_out,
                "whole": one.whole,
            }
            for one in report.candidates
        ],
        "made": [lesson.id for lesson in report.made],
        "known": [lesson.id for lesson in report.known],
        "refused": report.refused,
    }


def _print(report: Report, *, dry_run: bool) -> None:
    typer.echo(f"{report.calls} calls looked at, {report.failed} of them failed.")
    if dry_run:
        for candidate in report.candidates:
            typer.echo(f"\n{candidate.rule}\n{_basis(candidate)}")
        typer.echo(
            f"\n{len(report.candidates)} would be proposed, as far as they are new. Nothing was written."
        )
        return
    made = {lesson.origin: lesson for lesson in report.made}
    for candidate in report.candidates:
        if lesson := made.get(candidate.origins[0]):
            typer.echo(f"\nlesson {lesson.id}: {lesson.rule}\n{_basis(candidate)}")
    for refused in report.refused:
        typer.echo(f"\nnot proposed: {refused}")
    known = f"; {len(report.known)} more are known already" if report.known else ""
    if report.made:
        typer.echo(f"\n{len(report.made)} new{known}. Decide: agent-memory lesson review")
    else:
        typer.echo(f"Nothing new{known}.")


def _basis(candidate: Candidate) -> str:
    from agent_memory.lessons import proposing, wording

    estimate = proposing.estimate_of(candidate.held_out, candidate.whole)
    return "\n".join(f"    {line}" for line in wording.basis(proposing.evidence_of(candidate), estimate))
