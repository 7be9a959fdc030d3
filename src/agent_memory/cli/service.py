"""Starting, stopping and looking at the service."""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import os
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from agent_memory import __version__, paths, running, settings
from agent_memory.cli.tables import print_facts
from agent_memory.cli.terminal import AsJson, console, counted, plain, print_findings, print_json, span, tell

PROJECTS_SHOWN = 6
"""Fewer for each thing that is wrong, so that all of it stands in 24 lines."""
MACHINES_SHOWN_S = 30 * 86_400.0
"""A machine that was silent for longer is not shown."""
UP_S = 120.0
"""A machine tells every half a minute that its service is up."""


def register(app: typer.Typer) -> None:
    for command in (up, down, status, migrate):
        app.command()(command)


def up(
    *,
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Start it in the background and come back.")
    ] = False,
    agent_started: Annotated[bool, typer.Option("--agent-started", hidden=True)] = False,
    as_json: AsJson = False,
) -> None:
    """Start the service: it stores what is recorded, and answers."""
    from agent_memory.service import sockets

    config = settings.load()
    pid = running.process_id()
    if pid is not None:
        tell(
            f"agent-memory runs already: {sockets.address(config)} (process {pid}). Stop it with: agent-memory down",
            {"address": sockets.address(config), "pid": pid, "started": False},
            as_json=as_json,
        )
        return
    if detach:
        pid = running.start(adopt=not agent_started)
        tell(
            f"agent-memory runs: {sockets.address(config)} (process {pid})",
            {"address": sockets.address(config), "pid": pid, "started": True},
            as_json=as_json,
        )
    else:
        gc.disable()  # nothing of an import is garbage: 0.15 s less
        from agent_memory.service import run

        gc.enable()
        tell(
            f"agent-memory starts at {sockets.address(config)}; Ctrl-C stops it.",
            {"address": sockets.address(config), "pid": os.getpid(), "started": True},
            as_json=as_json,
        )
        if agent_started:
            os.chdir("/")  # the agent's folder is not to be held
        run.serve(adopt=not agent_started)


def down(*, as_json: AsJson = False) -> None:
    """Stop the service, and the embedded Postgres with it."""
    from agent_memory.database import embedded, server

    stopped = running.stop()
    database = server.external(settings.load()) is None and embedded.stop()
    said = [name for name, was in (("the service", stopped), ("the embedded Postgres", database)) if was]
    tell(
        f"Stopped {' and '.join(said)}." if said else "Nothing ran.",
        {"service": stopped, "database": database},
        as_json=as_json,
    )


def status(*, as_json: AsJson = False) -> None:
    """Show on one screen whether everything works.

    Exit code 1: something does not, with what to do about it.
    """
    report = _report()
    if as_json:
        print_json(report)
    else:
        _print(report)
    if report["problems"]:
        raise typer.Exit(1)


def migrate(*, as_json: AsJson = False) -> None:
    """Bring the database's tables up to this version.

    The service does it at every start.
    """
    from agent_memory.database import migrate as migrations
    from agent_memory.database import server

    with server.connect(server.conninfo(settings.load(), adopt=True)) as conn:
        applied = migrations.migrate(conn)
    said = "\n".join(f"applied {name}" for name in applied) or "Nothing to do."
    tell(said, {"applied": applied}, as_json=as_json)


def _report() -> dict[str, Any]:
    import httpx

    from agent_memory.capture import heard
    from agent_memory.database import embedded, server
    from agent_memory.service import sockets

    config = settings.load()
    pid = running.process_id()
    report: dict[str, Any] = {"home": str(paths.home()), "address": sockets.address(config), "pid": pid}
    told: dict[str, Any] = {}
    if pid is not None:
        with contextlib.suppress(httpx.HTTPError, ValueError), running.client(timeout=10) as service:
            told = service.get("/api/health").json()
            told["stored"] = service.get("/api/counts").json()
            told["projects"] = service.get("/api/projects").json()["items"]
            told["machines"] = service.get("/api/admin/machines").json()["items"]
    report |= told or _without_service(pid)
    if told and told["version"] != __version__:
        report["problems"].append(f"The running service is version {told['version']}; this is {__version__}.")
        report["findings"].append(
            {
                "problem": report["problems"][-1],
                "remedy": "Restart it: agent-memory down, agent-memory up --detach",
            }
        )
        report["status"] = "degraded"
    report["agents"] = {agent: at and at.isoformat() for agent, at in heard.expected().items()}
    if server.external(config):
        report["database"] = "your own Postgres"
    else:
        report["database"] = f"embedded Postgres, {'running' if embedded.running() else 'stopped'}"
    return report


def _without_service(pid: int | None) -> dict[str, Any]:
    """What can be told while the service does not."""
    from agent_memory.health import look, rules

    facts = look.at_home(service_pid=pid, service_answers=False)
    found = rules.findings(facts, (rules.service, *rules.CHEAP))
    backlog, newest = facts.backlog, facts.backups.newest
    return {
        "status": "down" if pid is None else "hung",
        "problems": [finding.problem for finding in found if finding.level == "problem"],
        "findings": [dataclasses.asdict(finding) for finding in found],
        "spool": {"pending": backlog.pending, "bad": backlog.bad, "oldest_s": round(backlog.oldest_s, 1)},
        "backup": {
            "newest": newest.isoformat() if newest else None,
            "each_night": facts.backups.scheduled is not None,
        },
    }


def _print(report: dict[str, Any]) -> None:
    rows: list[tuple[str, str]] = []
    well = not report["problems"]
    since = f" · up {span(report['uptime_s'])} · process {report['pid']}" if "uptime_s" in report else ""
    state = f"[{'green' if well else 'red'}]{report['status']}[/]"

    def add(name: str, said: str) -> None:
        rows.append((name, said))

    add("service", f"{state}{since} · {report['address']}")
    add("home", f"{plain(report['home'])} · {report['database']}")
    if stored := report.get("stored"):
        add("stored", " · ".join(counted(n, name.replace("_", " ")) for name, n in stored.items()))
    add("agents", _agents(report["agents"]))
    add("waiting", _waiting(report))
    add("backup", _backup(report["backup"]))
    if lessons := report.get("lessons"):
        add("lessons", _lessons(lessons))
    if (kept := report.get("retention")) and (kept["policies"] or kept["last_run"]):
        last = kept["last_run"]
        freed = (
            f"last run {last['ran_at'][:16]}, {last['bytes'] / 2**20:.1f} MB freed" if last else "not run yet"
        )
        add("retention", f"{counted(kept['policies'], 'settings')} · {freed}")
    if len(machines := _heard_lately(report)) > 1:
        said = [f"{plain(one['id'])} ({one['version']}, {_heard(one['silent_s'])})" for one in machines]
        add("machines", " · ".join(said))
    latest = sorted(report.get("projects", []), key=lambda p: p["last_event_at"] or "", reverse=True)
    most = max(2, PROJECTS_SHOWN - 2 * len(report["findings"]))
    for number, project in enumerate(latest[:most]):
        where = plain(project["path"] or project["identity"])
        add(
            "" if number else "projects",
            f"#{project['id']} {where} · {counted(project['sessions'], 'sessions')}",
        )
    if len(latest) > most:
        add("", f"and {len(latest) - most} more: agent-memory project list")
    print_facts(rows)
    print_findings(report["findings"])
    if not well:
        console().print("\nA closer look: [bold]agent-memory doctor[/bold]")


def _agents(heard: dict[str, str | None]) -> str:
    def told(at: str | None) -> str:
        if at is None:
            return "connected"
        return f"last heard {span((datetime.now(UTC) - datetime.fromisoformat(at)).total_seconds())} ago"

    return " · ".join(f"{agent}, {told(at)}" for agent, at in heard.items()) or (
        "none heard yet (agent-memory connect claude)"
    )


def _waiting(report: dict[str, Any]) -> str:
    spool, queue = report["spool"], report.get("queue") or {}
    parts = [
        counted(spool["pending"], "events") if spool["pending"] else "",
        counted(queue["pending"], "turns") if queue.get("pending") else "",
        f"{queue['unembedded']:,} passages for their vectors" if queue.get("unembedded") else "",
    ]
    return ", ".join(part for part in parts if part) or "nothing"


def _heard_lately(report: dict[str, Any]) -> list[dict[str, Any]]:
    return [one for one in report.get("machines", ()) if one["silent_s"] < MACHINES_SHOWN_S]


def _heard(silent_s: float) -> str:
    return "up" if silent_s < UP_S else f"last heard {span(silent_s)} ago"


def _lessons(count: dict[str, int]) -> str:
    waiting = count.get("candidate", 0)
    wait = f" · {counted(waiting, 'candidates')} to decide on: agent-memory lesson review" if waiting else ""
    return f"{count.get('active', 0)} active{wait}"


def _backup(backup: dict[str, Any]) -> str:
    newest = backup["newest"]
    age = (datetime.now(UTC) - datetime.fromisoformat(newest)).total_seconds() if newest else 0
    made = f"{span(age)} old" if newest else "none yet"
    return f"{made} · {'one each night' if backup['each_night'] else 'not scheduled (agent-memory backup schedule)'}"
