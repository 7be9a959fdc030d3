"""A close look at the whole installation."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated

import typer

from agent_memory import settings
from agent_memory.cli.terminal import AsJson, console, plain, print_findings, print_json

if TYPE_CHECKING:
    from agent_memory.health.facts import Facts, Finding


def register(app: typer.Typer) -> None:
    app.command()(doctor)


def doctor(
    *,
    fix: Annotated[bool, typer.Option("--fix", help="Do what is safe about it, then look again.")] = False,
    as_json: AsJson = False,
) -> None:
    """Look closely at everything, and mend what is safe to mend.

    Capture, index, model, database, disk, backups, versions, agents' hooks. Exit code 1: something is wrong.
    """
    from agent_memory.health import deep, fixes, rules

    config = settings.load()
    facts = deep.examine(config)
    found = rules.findings(facts)
    done: list[str] = []
    if fix and found:
        done = fixes.apply(facts, found)
        facts = deep.examine(config)
        found = rules.findings(facts)
    if as_json:
        print_json({"findings": found, "done": done})
    else:
        _print(facts, found, done)
    if any(finding.level == "problem" for finding in found):
        raise typer.Exit(1)


CHECKS = {
    "service": "the service answers",
    "version": "one version everywhere",
    "settings": "every setting is one that is known",
    "schema": "the tables are this version's",
    "database": "the database answers",
    "hooks": "agents' hooks and servers are as they should be",
    "spool": "what agents do is stored",
    "queue": "turns become memories",
    "index": "every memory can be found by words and by meaning",
    "embedder": "the embedding model works",
    "backup": "there is a backup",
    "disk": "there is room on the disk",
    "permissions": "nobody else can get at the home",
    "clock": "the clock is right",
    "models": "no model of yours learned what was forgotten",
}


def _print(facts: Facts, found: list[Finding], done: list[str]) -> None:
    out = console()
    for one in done:
        out.print(f"[green]fixed[/] {plain(one)}")
    wrong = {finding.check for finding in found}
    unseen = set() if facts.queue else {"queue", "index", "schema", "clock", "models"}
    for check, well in CHECKS.items():
        if check in unseen - wrong:
            out.print(f"[dim]? not looked at: {well}[/]")
        elif check not in wrong:
            out.print(f"[green]✓[/] {well}{_more(check, facts)}")
    print_findings(map(dataclasses.asdict, found))
    if any(finding.fix for finding in found):
        out.print("\nWhat is safe is done by: [bold]agent-memory doctor --fix[/bold]")


def _more(check: str, facts: Facts) -> str:
    if check == "hooks" and facts.connected:
        return f" [dim]({', '.join(one.agent for one in facts.connected)})[/]"
    if check == "disk":
        return f" [dim]({min((disk.free for disk in facts.disks), default=0) / 1e9:.0f} GB)[/]"
    if check == "version" and (known := facts.versions):
        return f" [dim]({known.ours}, Postgres {known.postgres}, pgvector {known.vector})[/]"
    if check == "backup":
        return "" if facts.backups.newest else " [dim](none yet; nothing that is old enough)[/]"
    return ""
