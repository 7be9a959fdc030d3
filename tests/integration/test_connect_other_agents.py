"""Connecting and disconnecting agents: what is written into their settings, that it runs, and that it goes again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent_memory import paths
from agent_memory.agents import (
    Connection,
    cline,
    cursor,
    entries,
    json_comments,
    settings_file,
    vscode,
    windsurf,
    zed,
)
from agent_memory.agents.copilot import connect as copilot
from agent_memory.agents.opencode import connect as opencode
from agent_memory.capture import spool
from agent_memory.errors import AgentMemoryError

CONNECTIONS: dict[str, Connection] = {
    "opencode": opencode.changes,
    "copilot": copilot.changes,
    "cursor": cursor.changes,
    "vscode": vscode.changes,
    "windsurf": windsurf.changes,
    "cline": cline.changes,
    "zed": zed.changes,
}

MCP_FILES = {
    "opencode": (".config/opencode/opencode.json", "mcp"),
    "copilot": (".copilot/mcp-config.json", "mcpServers"),
    "cursor": (".cursor/mcp.json", "mcpServers"),
    "vscode": (".config/Code/User/mcp.json", "servers"),
    "windsurf": (".codeium/windsurf/mcp_config.json", "mcpServers"),
    "cline": (".cline/data/settings/cline_mcp_settings.json", "mcpServers"),
    "zed": (".config/zed/settings.json", "context_servers"),
}

HOOK_COMMANDS: dict[str, Callable[[], str]] = {
    "copilot": lambda: entries.hook_command("copilot"),
    "cursor": lambda: entries.hook_command("cursor", cursor.ANSWER),
    "vscode": lambda: entries.hook_command("vscode"),
    "windsurf": windsurf.hook_command,
    "cline": lambda: entries.hook_command("cline", cline.ANSWER),
}

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="NOT TESTED: the paths are those of Linux")


def apply(agent: str, *, remove: bool = False) -> int:
    changes = CONNECTIONS[agent]("user", Path.cwd(), remove=remove)
    settings_file.write(changes)
    return len(changes)


def tree(folder: Path) -> dict[str, str]:
    """Every file below the folder, with its text."""
    return {
        str(file.relative_to(folder)): file.read_text(encoding="utf-8")
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def server(agent: str) -> Any:
    name, key = MCP_FILES[agent]
    file = Path.home() / name
    return json_comments.parse(file, file.read_text(encoding="utf-8"))[key][entries.SERVER]


def shell(command: str, given: str = '{"x": 1}', cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", "-c", command], input=given, capture_output=True, text=True, check=False, cwd=cwd
    )


@pytest.mark.parametrize("agent", CONNECTIONS)
def test_connecting_writes_once_and_disconnecting_leaves_nothing(agent: str) -> None:
    assert apply(agent) > 0
    assert entries.MODULE in json.dumps(server(agent))
    assert apply(agent) == 0
    assert apply(agent, remove=True) > 0
    assert tree(Path.home()) == {}
    assert apply(agent, remove=True) == 0


@pytest.mark.parametrize("agent", CONNECTIONS)
def test_a_users_own_settings_come_back_byte_for_byte(agent: str) -> None:
    name, key = MCP_FILES[agent]
    file = Path.home() / name
    file.parent.mkdir(parents=True)
    file.write_text(f'{{"{key}": {{ "theirs": {{"command": "x"}}}},\r\n   "more": [1,2]}}', encoding="utf-8")
    before = tree(Path.home())
    apply(agent)
    there = json_comments.parse(file, file.read_text(encoding="utf-8"))
    assert there[key]["theirs"] == {"command": "x"}
    assert there["more"] == [1, 2]
    apply(agent, remove=True)
    assert tree(Path.home()) == before


@pytest.mark.parametrize("agent", CONNECTIONS)
def test_what_the_user_changed_since_stays(agent: str) -> None:
    name, key = MCP_FILES[agent]
    file = Path.home() / name
    apply(agent)
    with_more = json_comments.put(file.read_text(encoding="utf-8"), (key, "theirs"), {"command": "x"})
    file.write_text(with_more, encoding="utf-8")
    apply(agent, remove=True)
    assert json_comments.parse(file, file.read_text(encoding="utf-8")) == {key: {"theirs": {"command": "x"}}}
    assert tree(Path.home()).keys() == {name}


@pytest.mark.parametrize("agent", ["opencode", "vscode", "zed"])
def test_comments_stay_where_they_are(agent: str) -> None:
    name, key = MCP_FILES[agent]
    file = Path.home() / name
    file.parent.mkdir(parents=True)
    text = f'// mine\n{{\n  // dark, always\n  "theme": "dark", // yes\n  "{key}": {{\n    /* none yet */\n  }},\n}}\n'
    file.write_text(text, encoding="utf-8")
    apply(agent)
    written = file.read_text(encoding="utf-8")
    for comment in ("// mine", "// dark, always", '"theme": "dark", // yes', "/* none yet */"):
        assert comment in written
    file.write_text(written.replace('"dark", // yes', '"light", // no'), encoding="utf-8")
    apply(agent, remove=True)
    assert file.read_text(encoding="utf-8") == text.replace('"dark", // yes', '"light", // no')


@pytest.mark.parametrize("agent", CONNECTIONS)
def test_somebody_elses_server_of_our_name_is_not_touched(agent: str) -> None:
    name, key = MCP_FILES[agent]
    file = Path.home() / name
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({key: {entries.SERVER: {"command": "other"}}}), encoding="utf-8")
    before = tree(Path.home())
    with pytest.raises(AgentMemoryError, match="not ours"):
        apply(agent)
    apply(agent, remove=True)
    assert tree(Path.home()) == before


@pytest.mark.parametrize("agent", CONNECTIONS)
def test_a_file_that_cannot_be_understood_is_refused_and_left(agent: str) -> None:
    name, key = MCP_FILES[agent]
    file = Path.home() / name
    file.parent.mkdir(parents=True)
    for text in ('{"mcp', "[]", json.dumps({key: []})):
        file.write_text(text, encoding="utf-8")
        with pytest.raises(AgentMemoryError, match=file.name):
            apply(agent)
        assert tree(Path.home()) == {name: text}


@pytest.mark.parametrize("agent", CONNECTIONS)
def test_another_home_is_told_to_hooks_and_server(agent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = Path.home() / "else where" / "memory"
    monkeypatch.setenv("AGENT_MEMORY_HOME", str(elsewhere))
    apply(agent)
    assert str(elsewhere) in json.dumps(server(agent))
    if agent != "zed":
        hooks = "".join(
            text for name, text in tree(Path.home()).items() if not name.endswith(MCP_FILES[agent][0])
        )
        assert str(elsewhere) in hooks
    apply(agent, remove=True)
    assert tree(Path.home()) == {}


@pytest.mark.parametrize("agent", HOOK_COMMANDS)
def test_the_line_that_we_install_records_and_lets_the_agent_go_on(agent: str) -> None:
    done = shell(HOOK_COMMANDS[agent](), '{"hook": "this"}')
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == {"cursor": cursor.ANSWER, "cline": cline.ANSWER}.get(agent, "")
    (file,) = spool.waiting()
    assert file.agent == agent
    assert b'{"hook": "this"}' in file.path.read_bytes()


@pytest.mark.parametrize("agent", HOOK_COMMANDS)
@pytest.mark.parametrize("gone", ["hook", "python"])
def test_the_line_never_fails_though_what_it_runs_is_gone(
    agent: str, gone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if gone == "hook":
        monkeypatch.setattr(entries, "HOOK", Path("/nowhere/agent_memory/hook.py"))
    else:
        monkeypatch.setattr(sys, "executable", "/nowhere/python")
    done = shell(HOOK_COMMANDS[agent]())
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == {"cursor": cursor.ANSWER, "cline": cline.ANSWER}.get(agent, "")
    assert spool.waiting() == []


def test_windsurfs_payload_is_wrapped_with_the_folder_whatever_its_name(tmp_path: Path) -> None:
    folder = tmp_path / 'a "quoted" \\ and $(odd) %s folder'
    folder.mkdir()
    told = {
        "agent_action_name": "pre_user_prompt",
        "trajectory_id": "t",
        "tool_info": {"user_prompt": "100 % \\n"},
    }
    assert shell(windsurf.hook_command(), json.dumps(told), cwd=folder).returncode == 0
    (file,) = spool.waiting()
    payload = json.loads(file.path.read_bytes())
    assert payload == {"cwd": str(folder), "payload": told}
    (event,) = windsurf.events(payload, file.written_at)
    assert event.cwd == str(folder)


def test_copilots_hooks_are_all_such_as_cannot_stop_it() -> None:
    apply("copilot")
    text = (Path.home() / ".copilot" / "hooks" / "agent-memory.json").read_text(encoding="utf-8")
    hooks = json.loads(text)["hooks"]
    assert "PreToolUse" not in hooks  # Copilot refuses a call whose hook fails
    assert {"UserPromptSubmit", "PostToolUse", "PostToolUseFailure", "Stop", "SessionEnd"} <= hooks.keys()


def test_other_peoples_hooks_stay_and_ours_are_brought_up_to_date(monkeypatch: pytest.MonkeyPatch) -> None:
    file = Path.home() / ".cursor" / "hooks.json"
    file.parent.mkdir()
    theirs = {"command": "./audit.sh"}
    file.write_text(json.dumps({"version": 1, "hooks": {"stop": [theirs]}}, indent=4), encoding="utf-8")
    before = tree(Path.home())
    apply("cursor")
    stop = json.loads(file.read_text(encoding="utf-8"))["hooks"]["stop"]
    assert stop[0] == theirs
    assert len(stop) == 2
    monkeypatch.setattr(sys, "executable", "/opt/new/python")
    assert apply("cursor") > 0
    stop = json.loads(file.read_text(encoding="utf-8"))["hooks"]["stop"]
    assert stop[0] == theirs
    assert stop[1]["command"].startswith("/opt/new/python ")
    assert len(stop) == 2
    apply("cursor", remove=True)
    assert tree(Path.home()) == before


def test_a_hook_of_the_users_own_for_cline_is_not_overwritten() -> None:
    own = Path.home() / "Documents" / "Cline" / "Hooks" / "PostToolUse"
    own.parent.mkdir(parents=True)
    own.write_text("#!/bin/sh\necho mine\n", encoding="utf-8")
    before = tree(Path.home())
    with pytest.raises(AgentMemoryError, match="not ours") as refused:
        apply("cline")
    assert entries.hook_command("cline", cline.ANSWER) in refused.value.remedy
    assert tree(Path.home()) == before


def test_clines_hooks_can_be_run() -> None:
    apply("cline")
    script = Path.home() / "Documents" / "Cline" / "Hooks" / "PostToolUse"
    done = subprocess.run([script], input="{}", capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, cline.ANSWER)
    assert len(spool.waiting()) == 1


def test_opencodes_plugin_names_this_installation(tmp_path: Path) -> None:
    text = opencode.plugin()
    assert json.dumps(str(paths.home())) in text
    assert json.dumps(str(entries.HOOK)) in text
    assert "__SETTINGS__" not in text
    changes = opencode.changes("project", tmp_path)
    settings_file.write(changes)
    assert (tmp_path / ".opencode" / "plugin" / "agent-memory.js").read_text(encoding="utf-8") == text
    assert entries.SERVER in json.loads((tmp_path / "opencode.json").read_text(encoding="utf-8"))["mcp"]
    settings_file.write(opencode.changes("project", tmp_path, remove=True))
    assert tree(tmp_path) == {}


@pytest.mark.parametrize("agent", ["copilot", "vscode", "windsurf", "cline", "zed"])
def test_an_agent_that_cannot_be_connected_for_a_project_says_so(agent: str, tmp_path: Path) -> None:
    with pytest.raises(AgentMemoryError, match="single project"):
        CONNECTIONS[agent]("project", tmp_path)


@pytest.mark.parametrize("agent", CONNECTIONS)
def test_what_we_write_is_the_owners_alone(agent: str) -> None:
    apply(agent)
    for file in Path.home().rglob("*"):
        if file.is_file():
            assert os.stat(file).st_mode & 0o077 == 0, file
