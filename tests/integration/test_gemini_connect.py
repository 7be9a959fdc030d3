"""Our entries in Gemini CLI's settings, written, brought up to date, and taken out again."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from agent_memory.agents import settings_file
from agent_memory.agents.entries import Scope
from agent_memory.agents.gemini import connect
from agent_memory.errors import AgentMemoryError

THEIRS = """\
{
    "theme": "dark",
    "hooks": {"AfterTool": [{"matcher": "write_file", "hooks": [{"type": "command", "command": "say done"}]}]},
    "mcpServers": {"tides": {"command": "tides"}}
}
"""
COMMENTED = """\
{
  // how it looks
  "theme": "dark", /* not light */
  "mcpServers": {
    // the tides
    "tides": {"command": "tides"}
  }
}
"""


@pytest.fixture(autouse=True)
def nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the tests may have moved his own settings: they are not ours to write."""
    monkeypatch.delenv("GEMINI_CLI_HOME", raising=False)


@pytest.fixture
def file(home: Path) -> Path:
    """Gemini CLI's settings, which are not there yet."""
    (home.parent / ".gemini").mkdir()
    return home.parent / ".gemini" / "settings.json"


def run(scope: Scope = "user", project: Path = Path(), *, remove: bool = False) -> int:
    planned = connect.changes(scope, project, remove=remove)
    settings_file.write(planned)
    return len(planned)


def plain(text: str) -> str:
    """As Gemini CLI reads it: it takes comments, but no trailing comma."""
    return re.sub(r"^\s*//.*$|/\*.*?\*/", "", text, flags=re.M)


@pytest.mark.parametrize("before", [None, "", "{}", THEIRS, COMMENTED])
def test_connecting_adds_hooks_and_a_server_and_disconnecting_takes_them_out(
    file: Path, before: str | None
) -> None:
    if before is not None:
        file.write_text(before, encoding="utf-8")
    theirs = json.loads(plain(before or "{}"))
    assert run()
    written = json.loads(plain(file.read_text(encoding="utf-8")))
    assert written["mcpServers"].pop("agent-memory")["args"] == ["-I", "-m", "agent_memory.mcp"]
    assert written["mcpServers"] == theirs.get("mcpServers", {})
    for event, milliseconds in connect.TIMEOUTS.items():
        *others, group = written["hooks"][event]
        assert others == theirs.get("hooks", {}).get(event, [])
        assert group["hooks"][0]["timeout"] == milliseconds
    assert run() == 0
    assert run(remove=True)
    assert (file.read_text(encoding="utf-8") if file.exists() else None) == before
    assert run(remove=True) == 0


@pytest.mark.parametrize("before", [THEIRS, COMMENTED])
def test_disconnecting_keeps_what_was_changed_since(file: Path, before: str) -> None:
    file.write_text(before, encoding="utf-8")
    run()
    file.write_text(file.read_text(encoding="utf-8").replace('"dark"', '"light"'), encoding="utf-8")
    run(remove=True)
    after = file.read_text(encoding="utf-8")
    left = {name: value for name, value in json.loads(plain(after)).items() if value}
    assert left == json.loads(plain(before)) | {"theme": "light"}
    assert "agent-memory" not in after
    assert after.count("//") == before.count("//") or "// how it looks" in after


def test_a_project_has_settings_of_its_own(home: Path) -> None:
    project = home.parent / "harbour"
    project.mkdir()
    run("project", project)
    assert (project / ".gemini" / "settings.json").exists()
    assert not (home.parent / ".gemini").exists()


def test_gemini_clis_folder_may_be_elsewhere(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEMINI_CLI_HOME", str(home.parent / "elsewhere"))
    run()
    assert (home.parent / "elsewhere" / ".gemini" / "settings.json").exists()


def test_somebody_elses_server_of_our_name_is_left_alone(file: Path) -> None:
    file.write_text('{"mcpServers": {"agent-memory": {"command": "x"}}}', encoding="utf-8")
    with pytest.raises(AgentMemoryError, match="not ours"):
        run()


def test_settings_that_cannot_be_read_are_left_alone(file: Path) -> None:
    file.write_text('{"mcpServers": []}', encoding="utf-8")
    with pytest.raises(AgentMemoryError, match="Nothing was changed"):
        run()


def test_the_hook_records_and_says_nothing(home: Path, file: Path) -> None:
    run()
    command = json.loads(file.read_text(encoding="utf-8"))["hooks"]["AfterTool"][0]["hooks"][0]["command"]
    done = subprocess.run(
        ["bash", "-c", command], input=b'{"hook_event_name": "x"}', capture_output=True, check=True
    )
    assert (done.stdout, done.stderr) == (b"", b"")
    (written,) = (home / "spool" / "new").iterdir()
    assert written.suffix == ".gemini"
