"""The plugin's launcher, run as Claude Code runs it: it finds the installation; without one it harms nobody."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import REPOSITORY

import agent_memory
from agent_memory import paths
from agent_memory.agents import entries
from agent_memory.agents.claude_code import connect, plugin
from agent_memory.agents.settings_file import write

PLUGIN = REPOSITORY / "plugin"
PAYLOAD = b'{"hook_event_name": "Stop", "session_id": "s", "cwd": "/home/dev/shop"}'


def run(*arguments: str, payload: bytes = PAYLOAD, **environment: str) -> subprocess.CompletedProcess[bytes]:
    moved = {"HOME": str(Path.home()), "AGENT_MEMORY_HOME": str(paths.home()), "PATH": "/usr/bin:/bin"}
    return subprocess.run(
        ["sh", PLUGIN / "run.sh", *arguments],
        input=payload,
        env=moved | environment,
        capture_output=True,
        timeout=30,
        check=False,
    )


def spooled() -> list[bytes]:
    return [file.read_bytes() for file in paths.spool_new().glob("*.claude")]


def test_an_event_is_recorded_by_the_installation_that_the_home_names() -> None:
    plugin.note_installation()
    done = run("hook", "Stop")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert spooled() == [PAYLOAD]


def test_an_installation_that_was_never_started_is_found_on_the_path_when_a_session_starts() -> None:
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    assert run("hook", "Stop", PATH=path).returncode == 0
    assert spooled() == []
    done = run("hook", "SessionStart", PATH=path)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert spooled() == [PAYLOAD]
    assert paths.installation().read_text(encoding="utf-8").split("\n")[0] == sys.executable


@pytest.mark.parametrize(
    "installation", [None, "", "/gone/python\n/gone/hook.py\n", "/bin/sh\n/gone\n", "\0\n\n"]
)
def test_where_nothing_is_installed_a_hook_does_nothing_and_says_so_once_a_session(
    installation: str | None,
) -> None:
    if installation is not None:
        paths.make_private(paths.home())
        paths.installation().write_text(installation, encoding="utf-8")
    for event in connect.TIMEOUTS:
        done = run("hook", event, payload=PAYLOAD * 10_000)  # more than a pipe holds: nobody may be cut off
        assert (done.returncode, done.stderr) == (0, b"")
        if event == "SessionStart":
            assert "records nothing" in json.loads(done.stdout)["systemMessage"]
        else:
            assert done.stdout == b""
    served = run("mcp")
    assert served.returncode == 1
    assert b"agent-memory up" in served.stderr


def test_a_python_that_is_broken_blocks_no_call(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexit 2\n", encoding="utf-8")
    python.chmod(0o700)
    paths.make_private(paths.home())
    paths.installation().write_text(f"{python}\n{entries.HOOK}\n", encoding="utf-8")
    paths.asks().write_text("PreToolUse 100\n", encoding="ascii")
    assert run("hook", "PreToolUse").returncode == 0


def test_before_a_call_python_runs_only_where_a_lesson_may_speak(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho asked\ncat >/dev/null", encoding="utf-8")
    python.chmod(0o700)
    paths.make_private(paths.home())
    paths.installation().write_text(f"{python}\n{entries.HOOK}\n", encoding="utf-8")
    for asks, said in (("SessionStart 500\n", b""), ("Stop 100\nPreToolUse 100 Bash\n", b"asked\n")):
        paths.asks().write_text(asks, encoding="ascii")
        done = run("hook", "PreToolUse", payload=PAYLOAD * 10_000)
        assert (done.returncode, done.stdout, done.stderr) == (0, said, b"")
    paths.asks().unlink()
    done = run("hook", "PreToolUse", payload=PAYLOAD * 10_000)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


@pytest.mark.parametrize("scope", ["user", "project"])
def test_what_the_connected_hooks_record_is_not_recorded_again(scope: connect.Scope, tmp_path: Path) -> None:
    write(connect.changes(scope, tmp_path))
    plugin.note_installation()
    done = run("hook", "Stop", payload=PAYLOAD * 10_000, CLAUDE_PROJECT_DIR=str(tmp_path))
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert spooled() == []


def test_hooks_of_an_installation_that_is_gone_leave_the_recording_to_the_plugin(tmp_path: Path) -> None:
    write(connect.changes("user", tmp_path))
    settings = Path.home() / ".claude" / "settings.json"
    old = str(Path(agent_memory.__file__).parent.parent)
    settings.write_text(settings.read_text(encoding="utf-8").replace(old, "/gone"), encoding="utf-8")
    plugin.note_installation()
    run("hook", "Stop")
    assert spooled() == [PAYLOAD]


def test_whoever_connects_beside_the_plugin_is_told_that_one_is_enough() -> None:
    assert plugin.note() is None
    settings = Path.home() / ".claude" / "settings.json"
    settings.parent.mkdir(parents=True)
    for enabled, said in (
        ({"agent-memory@acme": True}, True),
        ({"agent-memory@acme": False}, False),
        ([], False),
    ):
        settings.write_text(json.dumps({"enabledPlugins": enabled}), encoding="utf-8")
        assert bool(plugin.note()) is said
    settings.write_text("{", encoding="utf-8")
    assert plugin.note() is None


def read(name: str) -> Any:
    return json.loads((PLUGIN / name).read_bytes())


def test_the_plugin_has_the_hooks_that_connecting_writes(tmp_path: Path) -> None:
    """Where this fails, a hook was changed in one place only."""
    write(connect.changes("user", tmp_path))
    written = json.loads((Path.home() / ".claude" / "settings.json").read_bytes())["hooks"]
    for event, groups in written.items():
        for handler in (handler for group in groups for handler in group["hooks"]):
            handler["command"], handler["args"] = "sh", ["${CLAUDE_PLUGIN_ROOT}/run.sh", "hook", event]
    assert read("hooks/hooks.json")["hooks"] == written
    assert connect.RUN in (PLUGIN / "run.sh").read_text(encoding="utf-8")
    assert read(".claude-plugin/plugin.json")["version"] == agent_memory.__version__
