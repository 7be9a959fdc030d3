"""Our entries in Codex's settings, written, brought up to date, and taken out again."""

from __future__ import annotations

import json
import subprocess
import tomllib
from pathlib import Path

import pytest

from agent_memory.agents import settings_file
from agent_memory.agents.codex import connect
from agent_memory.errors import AgentMemoryError

CONFIG = """\
# mine
model = "gpt-5.5"

[mcp_servers.tides]   # the tides
command = "tides"
"""
HOOKS = '{"hooks": {"Stop": [{"hooks": [{"type": "command", "command": "say done"}]}]}}\n'


@pytest.fixture(autouse=True)
def nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the tests may have moved his own settings: they are not ours to write."""
    monkeypatch.delenv("CODEX_HOME", raising=False)


@pytest.fixture
def codex(home: Path) -> Path:
    """Codex's folder, with settings of the user's."""
    folder = home.parent / ".codex"
    folder.mkdir()
    (folder / "config.toml").write_text(CONFIG, encoding="utf-8")
    (folder / "hooks.json").write_text(HOOKS, encoding="utf-8")
    return folder


def run(*, remove: bool = False) -> list[Path]:
    planned = connect.changes("user", Path.cwd(), remove=remove)
    settings_file.write(planned)
    return [change.path for change in planned if not change.is_backup]


def files(folder: Path) -> dict[str, str]:
    return {file.name: file.read_text(encoding="utf-8") for file in folder.iterdir()}


def test_connecting_adds_hooks_and_a_server_and_leaves_the_rest(codex: Path) -> None:
    assert run() == [codex / "hooks.json", codex / "config.toml"]
    written = files(codex)
    assert written["config.toml"].startswith(CONFIG)
    server = tomllib.loads(written["config.toml"])["mcp_servers"]["agent-memory"]
    assert server["args"] == ["-I", "-m", "agent_memory.mcp"]
    hooks = json.loads(written["hooks.json"])["hooks"]
    assert set(hooks) == set(connect.TIMEOUTS)
    assert hooks["Stop"][0] == {"hooks": [{"type": "command", "command": "say done"}]}
    assert all(
        hooks[event][-1]["hooks"][0]["timeout"] == seconds for event, seconds in connect.TIMEOUTS.items()
    )
    assert run() == []


def test_disconnecting_gives_back_every_byte(codex: Path) -> None:
    before = files(codex)
    run()
    run(remove=True)
    assert files(codex) == before
    assert run(remove=True) == []


def test_disconnecting_keeps_what_was_changed_since(codex: Path) -> None:
    run()
    config, hooks = codex / "config.toml", codex / "hooks.json"
    config.write_text(config.read_text(encoding="utf-8") + "\n[tui]\ntheme = 1\n", encoding="utf-8")
    run(remove=True)
    assert config.read_text(encoding="utf-8") == CONFIG + "\n[tui]\ntheme = 1\n"
    assert hooks.read_text(encoding="utf-8") == HOOKS


def test_where_codex_has_no_settings_yet_they_are_made_and_removed(home: Path) -> None:
    folder = home.parent / ".codex"
    run()
    assert set(files(folder)) == {"hooks.json", "config.toml"}
    run(remove=True)
    assert files(folder) == {}


def test_codexs_folder_may_be_elsewhere(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CODEX_HOME", str(home.parent / "elsewhere"))
    run()
    assert set(files(home.parent / "elsewhere")) == {"hooks.json", "config.toml"}


def test_somebody_elses_server_of_our_name_is_left_alone(codex: Path) -> None:
    (codex / "config.toml").write_text('[mcp_servers.agent-memory]\ncommand = "x"\n', encoding="utf-8")
    with pytest.raises(AgentMemoryError, match="not ours"):
        run()


def test_a_single_project_cannot_be_connected() -> None:
    with pytest.raises(AgentMemoryError, match="single project"):
        connect.changes("project", Path.cwd())


def test_hooks_are_untrusted_until_the_user_says_otherwise(codex: Path) -> None:
    assert connect.untrusted() == []
    run()
    assert sorted(connect.untrusted()) == sorted(connect.TIMEOUTS)
    assert "/hooks" in (connect.note() or "")
    hooks = json.loads((codex / "hooks.json").read_text(encoding="utf-8"))["hooks"]
    state = "".join(
        f'[hooks.state."{codex}/hooks.json:{name}:{len(hooks[event]) - 1}:0"]\n'
        f'trusted_hash = "{connect.trusted_hash(event, hooks[event][-1], hooks[event][-1]["hooks"][0])}"\n'
        for event, name in (("Stop", "stop"), ("PreToolUse", "pre_tool_use"))
    )
    config = codex / "config.toml"
    config.write_text(config.read_text(encoding="utf-8") + state, encoding="utf-8")
    assert set(connect.untrusted()) == set(connect.TIMEOUTS) - {"Stop", "PreToolUse"}
    hooks["Stop"][-1]["hooks"][0]["timeout"] = 6
    (codex / "hooks.json").write_text(json.dumps({"hooks": hooks}), encoding="utf-8")
    assert "Stop" in connect.untrusted()


def test_the_hash_of_trust_is_codexs_own() -> None:
    # As Codex 0.169.0 lists it for this handler.
    handler = {"type": "command", "command": "python3 /tmp/cx/log.py; true"}
    expected = "sha256:07aa684bd2672aa0ddbeefb1be6609f80b1419a5c44810bcc9420cac02607c1c"
    assert connect.trusted_hash("PreToolUse", {"hooks": [handler]}, handler) == expected


def test_the_hook_records_and_does_no_harm_where_it_is_gone(home: Path, codex: Path) -> None:
    run()
    hooks = json.loads((codex / "hooks.json").read_text(encoding="utf-8"))["hooks"]
    command = hooks["PreToolUse"][0]["hooks"][0]["command"]
    done = subprocess.run(
        ["bash", "-c", command], input=b'{"hook_event_name": "Stop"}', capture_output=True, check=True
    )
    assert (done.stdout, done.stderr) == (b"", b"")
    (file,) = (home / "spool" / "new").iterdir()
    assert file.suffix == ".codex"
    gone = command.replace("hook.py", "gone.py").replace("python", "no-python")
    done = subprocess.run(["bash", "-c", gone], input=b"{}", capture_output=True, check=True)
    assert (done.stdout, done.stderr) == (b"", b"")
