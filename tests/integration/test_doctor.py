"""The doctor on a real installation: what it finds, what it mends, what it leaves alone."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.integration.test_drain import payload, spooled
from typer.testing import CliRunner

from agent_memory import paths, settings
from agent_memory.agents import settings_file
from agent_memory.agents.claude_code import connect
from agent_memory.capture import spool
from agent_memory.capture.drain import drain
from agent_memory.cli.main import app
from agent_memory.database import Connection, server
from agent_memory.health import connections, deep, fixes, rules, store
from agent_memory.health.facts import Connected, Facts, Finding
from agent_memory.observations import embed, worker


@pytest.fixture
def installed(database_url: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Connection]:
    """A home whose database holds one finished turn, an hour old. No service runs."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    paths.make_private(home)
    at = int((datetime.now(UTC) - timedelta(hours=1)).timestamp() * 1e9)
    spooled(payload("UserPromptSubmit", prompt="Why does the login fail?"), at=at)
    spooled(payload("Stop", last_assistant_message="The cookie was not set on localhost."), at=at + 1)
    with server.connect(database_url) as conn:
        drain(conn, settings.load())
        conn.commit()
        model = embed.load(settings.load())
        while worker.run_once(conn, model):
            pass
        conn.commit()
        conn.autocommit = True
        yield conn


def examined() -> tuple[Facts, list[Finding]]:
    facts = deep.examine(settings.load())
    found = rules.findings(facts)
    return facts, [one for one in found if one.check not in ("service", "hooks")]


def mended(*names: str) -> list[str]:
    """Apply the fixes of these checks and look again: what is left."""
    facts, found = examined()
    assert {one.check for one in found} == set(names)
    fixes.apply(facts, found)
    return [one.problem for one in examined()[1]]


def test_nothing_is_wrong_with_a_sound_one(installed: Connection) -> None:
    facts, found = examined()
    assert found == []
    assert facts.queue is not None
    assert facts.versions is not None
    assert facts.versions.pending_migrations == ()


def test_a_lost_memory_is_found_and_made_again(installed: Connection) -> None:
    installed.execute("delete from mem_observations")
    facts, _ = examined()
    assert facts.coverage is not None
    assert len(facts.coverage.turns) == 1
    assert mended("index") == []
    worker.build_due(installed)
    assert installed.execute("select count(*) as n from mem_observations").fetchone() == {"n": 1}
    assert examined()[1] == []


def test_a_lost_vector_and_a_lost_chunk_are_found_and_made_again(installed: Connection) -> None:
    installed.execute("delete from mem_chunk_vectors")
    assert mended("index") == []
    installed.execute("delete from mem_observation_chunks")
    assert mended("index") == []
    model = embed.load(settings.load())
    while worker.embed_pending(installed, model):
        pass
    assert installed.execute("select count(*) > 0 as yes from mem_chunk_vectors").fetchone() == {"yes": True}
    assert examined()[1] == []


def test_a_turn_that_is_worth_no_memory_is_not_missed(installed: Connection) -> None:
    at = int((datetime.now(UTC) - timedelta(hours=1)).timestamp() * 1e9)
    spooled(payload("UserPromptSubmit", prompt="/clear", prompt_id="p2"), at=at)
    drain(installed, settings.load())
    worker.build_due(installed)
    assert store.turns_without_observation(installed, datetime.now(UTC))
    assert examined()[1] == []


def test_dead_turns_are_tried_again(installed: Connection) -> None:
    installed.execute(
        "insert into mem_observation_queue (session_id, prompt_id, attempts, failed_at, error)"
        " select id, 'p1', 6, now(), 'boom' from mem_sessions"
    )
    assert mended("queue") == []
    assert worker.build_due(installed) == 1


def test_what_could_not_be_read_is_tried_again(installed: Connection) -> None:
    name = spooled(payload("UserPromptSubmit", prompt="Read me after the upgrade", prompt_id="p9")).name
    spool.set_aside(paths.spool_new() / name, "An older version did not know it.")
    (paths.spool_bad() / "nonsense").write_text("x")
    assert mended("spool") == ["1 events could not be read; they lie in spool/bad with the reasons."]
    drain(installed, settings.load())
    prompts = installed.execute("select text from mem_user_prompts order by occurred_at").fetchall()
    assert [row["text"] for row in prompts][-1] == "Read me after the upgrade"
    assert [path.name for path in paths.spool_bad().iterdir()] == ["nonsense"]


def test_what_others_can_read_is_closed(installed: Connection, home: Path) -> None:
    home.chmod(0o755)
    paths.config_file().touch(mode=0o644)
    assert mended("permissions") == []
    assert home.stat().st_mode & 0o777 == 0o700
    assert paths.config_file().stat().st_mode & 0o777 == 0o600


def test_an_older_schema_is_told_and_migrated(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", empty_database_url)
    paths.make_private(paths.home())
    paths.config_file().write_text(f'database_url = "{empty_database_url}"\n')
    paths.config_file().chmod(0o600)
    assert mended("schema") == []


def test_a_newer_schema_is_told(installed: Connection) -> None:
    installed.execute("insert into mem_schema_migrations values (9999, '9999_future', 'x', now())")
    (finding,) = examined()[1]
    assert "newer agent-memory (9999_future)" in finding.problem


def test_a_database_that_is_away_is_told_and_the_rest_is_looked_at(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths.make_private(home)
    paths.config_file().write_text('database_url = "postgresql://me@127.0.0.1:1/mine"\n')
    (home / "config.toml").chmod(0o644)  # in a closed home nobody gets at it
    _, found = examined()
    assert {one.check for one in found} == {"database"}


def test_hooks_of_a_python_that_is_gone_are_told(home: Path) -> None:
    assert connections.connected() == ()
    settings_file.write(connect.changes("user", Path.cwd()))
    assert connections.connected() == (Connected("claude"),)
    file = Path.home() / ".claude/settings.json"
    file.write_text(file.read_text().replace(sys.executable, "/gone/bin/python"))
    assert connections.connected() == (Connected("claude", current=False, gone=(Path("/gone/bin/python"),)),)
    settings_file.write(connect.changes("user", Path.cwd()))
    assert connections.connected() == (Connected("claude"),)


def test_hooks_of_an_older_form_are_told(home: Path) -> None:
    settings_file.write(connect.changes("user", Path.cwd()))
    file = Path.home() / ".claude/settings.json"
    held = json.loads(file.read_text())
    del held["hooks"]["Stop"]
    file.write_text(json.dumps(held))
    (known,) = connections.connected()
    assert (known.current, known.gone) == (False, ())


def test_settings_that_cannot_be_read_are_told(home: Path) -> None:
    file = Path.home() / ".claude/settings.json"
    file.parent.mkdir()
    file.write_text("{ no json")
    (known,) = connections.connected()
    assert known.agent == "claude"
    assert known.unreadable is not None
    assert "is not valid JSON" in known.unreadable


def test_the_command_says_it_all_and_its_exit_code_too(installed: Connection) -> None:
    done = CliRunner().invoke(app, ["doctor"])
    assert done.exit_code == 1  # the service does not run
    assert "✗ The service does not run" in done.output
    assert "✓ every memory can be found by words and by meaning" in done.output
    said = json.loads(CliRunner().invoke(app, ["doctor", "--json"]).output)
    assert [one["check"] for one in said["findings"]] == ["service", "hooks"][: len(said["findings"])]
    assert said["findings"][0]["fix"] == "start"
