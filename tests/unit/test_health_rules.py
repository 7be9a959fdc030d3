"""What is said of which facts: each rule, and when it keeps quiet."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from agent_memory.capture.spool import Backlog
from agent_memory.database.backup.archive import Failure
from agent_memory.database.backup.schedule import Scheduled
from agent_memory.health import connections, fixes, rules
from agent_memory.health.facts import Backups, Connected, Coverage, Disk, Facts, Finding, Queue, Versions

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
A_WEEK_AGO = NOW - 8 * DAY
DAY_UP = 90_000.0


def facts(**known: Any) -> Facts:
    return Facts(**{"now": NOW, "backlog": Backlog(0, 0, 0.0), **known})


def said(**known: Any) -> list[str]:
    return [finding.problem for finding in rules.findings(facts(**known))]


def in_use(days: float, **known: Any) -> dict[str, Any]:
    """Of somebody who has used it for so long, up to an hour ago."""
    times = {"database_since": NOW - days * DAY, "newest_event": NOW - timedelta(hours=1)}
    return {**times, "connected": (Connected("claude"),), **known}


def test_a_sound_installation_has_nothing_wrong() -> None:
    well = in_use(
        3,
        queue=Queue(3, 0, 1.0, 5),
        service_answers=True,
        service_pid=7,
        versions=Versions("1", "1", "18.4", "18.4", "0.8", "0.8"),
        coverage=Coverage(),
        disks=(Disk("the home", 10**10),),
        backups=Backups(newest=NOW - DAY, scheduled=Scheduled("cron", A_WEEK_AGO)),
        uptime_s=DAY_UP,
    )
    assert rules.findings(facts(**well)) == []


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        ({"service_answers": False}, "The service does not run"),
        ({"service_answers": False, "service_pid": 7}, "(process 7) does not answer"),
        ({"backlog": Backlog(2, 0, 3_600 * 5.0)}, "2 events wait in the spool, the oldest for 5 hours"),
        ({"backlog": Backlog(0, 4, 0.0)}, "4 events could not be read"),
        ({"queue": Queue(1, 0, 600.0, 0)}, "1 turns wait for the worker, the oldest for 10 minutes"),
        ({"queue": Queue(0, 3, 0.0, 0)}, "3 turns could not be made into memories"),
        ({"database_error": "PoolTimeout"}, "The database does not answer (PoolTimeout)"),
        ({"threads": ("spool",)}, "part “spool” fails"),
        ({"embedder_error": "Reinstall."}, "recall goes by words alone"),
        ({"disks": (Disk("the home", 10**8),)}, "The disk of the home has only 100 MB left"),
        ({"newest_event": NOW + DAY}, "in the future"),
        ({"clock_off_s": -300.0}, "The database's clock is 5 minutes off"),
        ({"versions": Versions("2", service="1")}, "The running service is version 1; this is 2"),
        (
            {"versions": Versions("2", postgres="18.4", postgres_installed="18.5")},
            "The running Postgres is 18.4",
        ),
        ({"versions": Versions("2", vector="0.8.5", vector_installed="0.9")}, "uses pgvector 0.8.5"),
        ({"versions": Versions("2", pending_migrations=("0009_x",))}, "lacks 0009_x"),
        ({"versions": Versions("2", newer_migration="0010_y")}, "by a newer agent-memory (0010_y)"),
        ({"connected": (Connected("codex", gone=(Path("/gone"),)),)}, "codex's hooks or server name /gone"),
        ({"connected": (Connected("codex", current=False),)}, "of another installation, or of an older form"),
        ({"connected": (Connected("codex", unreadable="It is no JSON."),)}, "codex: It is no JSON."),
        ({"connected": ()}, "No agent is connected"),
        ({"too_open": (Path("/home/me/.agent-memory"),)}, "can get at /home/me/.agent-memory"),
        ({"unknown_settings": ("agent_memory_prot",)}, "agent_memory_prot is no setting"),
        ({"coverage": Coverage(turns=(("s", "p"),))}, "1 turns have no memory"),
        ({"coverage": Coverage(observations=2)}, "2 memories cannot be found by words"),
        ({"coverage": Coverage(chunks=1200)}, "1,200 passages cannot be found by meaning"),
    ],
)
def test_what_is_wrong_is_said_once_and_with_a_remedy(known: dict[str, Any], expected: str) -> None:
    (finding,) = rules.findings(facts(**known))
    assert expected in finding.problem
    assert finding.remedy
    assert finding.fix is None or finding.fix in fixes.FIXES


def test_a_newcomer_is_not_told_of_backups() -> None:
    assert said(**in_use(6)) == []
    assert said(database_since=A_WEEK_AGO, connected=(Connected("claude"),)) == []  # nothing is stored


def test_after_a_week_without_a_backup_it_is_said() -> None:
    assert said(**in_use(8)) == ["There is no backup of what is remembered."]
    assert said(**in_use(30, backups=Backups(newest=NOW - 6 * DAY))) == []
    assert said(**in_use(30, backups=Backups(newest=NOW - 9 * DAY))) == ["The newest backup is 9 days old."]


def test_a_night_without_the_backup_that_was_due_is_told() -> None:
    known = Backups(newest=NOW - 2 * DAY, scheduled=Scheduled("cron", A_WEEK_AGO))
    late = said(**in_use(30, backups=known, uptime_s=DAY_UP))
    assert late == ["The newest backup is 2 days old, though one is due each night."]
    none_yet = Backups(scheduled=Scheduled("cron", NOW - 3 * DAY))
    assert "No nightly backup was made yet" in said(**in_use(30, backups=none_yet, uptime_s=DAY_UP))[0]


@pytest.mark.parametrize(
    "quiet",
    [
        {"uptime_s": 3_600.0},  # the machine was off, or slept
        {"uptime_s": None},
        {"backups": Backups(newest=NOW - 2 * DAY, scheduled=Scheduled("cron", NOW - timedelta(hours=2)))},
        {"backups": Backups(newest=NOW - timedelta(hours=25), scheduled=Scheduled("cron", A_WEEK_AGO))},
    ],
)
def test_no_false_alarm_is_given(quiet: dict[str, Any]) -> None:
    stale = Backups(newest=NOW - 2 * DAY, scheduled=Scheduled("cron", A_WEEK_AGO))
    assert said(**in_use(30, **{"backups": stale, "uptime_s": DAY_UP, **quiet})) == []


def test_a_backup_that_failed_is_told_until_one_succeeds() -> None:
    failed = Failure(NOW - timedelta(hours=9), "The disk is full.")
    scheduled = Scheduled("cron", A_WEEK_AGO)
    before = Backups(newest=NOW - DAY, scheduled=scheduled, failure=failed)
    assert said(**in_use(30, backups=before)) == ["The last nightly backup failed."]
    after = Backups(newest=NOW - timedelta(hours=1), scheduled=scheduled, failure=failed)
    assert said(**in_use(30, backups=after)) == []


def test_a_broken_backup_is_told() -> None:
    assert "did not pass" in said(**in_use(3, backups=Backups(newest=NOW, broken="2026-03-01-manual")))[0]


def test_problems_come_before_advice() -> None:
    found = rules.findings(facts(connected=(), queue=Queue(0, 1, 0.0, 0)))
    assert [finding.level for finding in found] == ["problem", "advice"]


def test_what_every_program_may_ask_for_names_no_path() -> None:
    """`/api/health` needs no token."""
    ill = facts(
        **in_use(30, backlog=Backlog(5, 5, 1e5), queue=Queue(1, 1, 1e5, 1)),
        database_error="OperationalError",
        disks=(Disk("the home", 1),),
        embedder_error="See http://internal.example/v1",
    )
    found: list[Finding] = rules.findings(ill, rules.CHEAP)
    assert len(found) >= 6
    assert not [
        finding.problem for finding in found if "/home" in finding.problem or "http" in finding.problem
    ]


def test_what_an_entry_names_is_found_in_json_toml_and_code() -> None:
    hook = "/opt/my tools/lib/agent_memory/hook.py"
    json = f"""{{"hooks": {{"Stop": [{{"hooks": [
        {{"command": "/opt/my tools/bin/python", "args": ["-I", "-S", "-c", "code", "{hook}", "claude"]}},
        {{"command": "/usr/bin/other --flag"}}]}}]}},
        "line": {{"command": "'/opt/my tools/bin/python' -I -S '{hook}' codex 2>/dev/null; true"}}}}"""
    assert connections.named(json) == {Path("/opt/my tools/bin/python"), Path(hook)}
    toml = (
        '[mcp_servers.agent-memory]\ncommand = "/opt/bin/python"\nargs = ["-I", "-m", "agent_memory.mcp"]\n'
    )
    assert connections.named(toml) == {Path("/opt/bin/python")}
    code = f'spawn("/opt/bin/python", ["-I", "-S", "{hook}"])'
    assert connections.named(code) == {Path("/opt/bin/python"), Path(hook)}
