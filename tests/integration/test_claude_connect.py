"""Our entries in Claude Code's settings files, written, brought up to date, and taken out again."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import agent_memory
from agent_memory.agents import settings_file
from agent_memory.agents.claude_code import connect
from agent_memory.agents.settings_file import Change
from agent_memory.errors import AgentMemoryError

HOOK = Path(agent_memory.__file__).with_name("hook.py")

THEIRS = """\
{
    "model": "opus",
    "hooks": {
        "Stop": [{"hooks": [{"type": "command", "command": "say fertig ü"}]}],
        "PostToolUse": [
            {
                "matcher": "Edit|Write",
                "hooks": [
                    {"type": "command", "command": "ruff format", "timeout": 9}
                ]
            }
        ],
        "PreToolUse": []
    },
    "permissions": {"allow": ["Bash(ls:*)", "Read"]}
}"""


@pytest.fixture
def user(home: Path) -> Path:
    """The user's home folder. Ours is in its usual place in it."""
    return home.parent


@pytest.fixture
def project(user: Path) -> Path:
    folder = user / "tidepool"
    folder.mkdir()
    return folder


def run(scope: connect.Scope, project: Path, *, remove: bool = False) -> list[Change]:
    planned = connect.changes(scope, project, remove=remove)
    settings_file.write(planned)
    return planned


def put(path: Path, text: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(text.encode())
    return path


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def ours(settings_path: Path) -> dict[str, dict[str, Any]]:
    return {
        event: handler
        for event, groups in read(settings_path)["hooks"].items()
        for group in groups
        for handler in group["hooks"]
        if str(HOOK) in handler.get("args", [])
    }


def test_connecting_adds_a_handler_for_each_event_and_the_server(user: Path) -> None:
    run("user", user)
    handlers = ours(user / ".claude" / "settings.json")
    assert list(handlers) == [
        *(
            "SessionStart",
            "UserPromptSubmit",
            "PreToolUse",
            "PostToolUse",
            "PostToolUseFailure",
            "SubagentStart",
        ),
        *("SubagentStop", "Stop", "StopFailure", "PreCompact", "PostCompact", "SessionEnd"),
    ]
    stop = handlers.pop("Stop")
    assert stop == {
        "type": "command",
        "command": sys.executable,
        "args": ["-I", "-S", "-c", connect.RUN, str(HOOK), "claude"],
        "timeout": 5,
    }
    assert handlers["PreToolUse"] == {
        "type": "command",
        "command": "/bin/sh",
        "args": ["-c", connect.ASKING, sys.executable, connect.RUN, str(HOOK), "claude"],
        "timeout": 5,
    }
    assert handlers["SessionStart"] == handlers["SessionEnd"] == {**stop, "timeout": 10}
    assert read(user / ".claude.json") == {
        "mcpServers": {
            "agent-memory": {
                "type": "stdio",
                "command": sys.executable,
                "args": ["-I", "-m", "agent_memory.mcp"],
                "alwaysLoad": True,
            }
        }
    }


def test_before_a_call_only_tools_that_a_lesson_may_stop_run_the_hook(user: Path) -> None:
    path = user / ".claude" / "settings.json"
    run("user", user)
    (group,) = read(path)["hooks"]["PreToolUse"]
    assert group["matcher"] == connect.BEFORE
    wanted = {"Bash", "Edit", "Write", "NotebookEdit", "mcp__github__merge"}
    others = {"Read", "Grep", "BashOutput", "TodoWrite", "mcp__agent-memory__recall"}
    others |= {"mcp__plugin_agent-memory_agent-memory__recall"}
    assert {tool for tool in wanted | others if re.search(connect.BEFORE, tool)} == wanted


def test_a_handler_of_an_earlier_version_is_brought_up_to_date_with_its_matcher(user: Path) -> None:
    path = user / ".claude" / "settings.json"
    run("user", user)
    now = read(path)
    once = read(path)
    once["hooks"]["PreToolUse"] = [
        {"hooks": [{**once["hooks"]["PostToolUse"][0]["hooks"][0], "async": True}]}
    ]
    put(path, json.dumps(once))
    run("user", user)
    assert read(path) == now
    theirs = {"matcher": "Bash", "hooks": [once["hooks"]["PreToolUse"][0]["hooks"][0]]}
    once["hooks"]["PreToolUse"] = [theirs]
    put(path, json.dumps(once))
    run("user", user)
    assert read(path)["hooks"]["PreToolUse"][0]["matcher"] == "Bash", "what the user arranged stays"


def test_a_project_has_its_own_files(user: Path, project: Path) -> None:
    planned = run("project", project)
    assert [change.path for change in planned] == [project / ".claude/settings.json", project / ".mcp.json"]
    assert sorted(files(user)) == ["tidepool/.claude/settings.json", "tidepool/.mcp.json"]


def test_claude_config_dir_moves_both_of_the_users_files(user: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", "~/elsewhere")
    run("user", user)
    assert sorted(files(user)) == ["elsewhere/.claude.json", "elsewhere/settings.json"]


def test_a_home_of_ours_in_another_place_is_passed_on(user: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENT_MEMORY_HOME", str(user / "memory"))
    run("user", user)
    assert ours(user / ".claude/settings.json")["Stop"]["args"][-2:] == ["claude", str(user / "memory")]
    server = read(user / ".claude.json")["mcpServers"]["agent-memory"]
    assert server["env"] == {"AGENT_MEMORY_HOME": str(user / "memory")}


def test_the_users_own_settings_stay_byte_for_byte(user: Path) -> None:
    path = put(user / ".claude/settings.json", THEIRS)
    run("user", user)
    lines = path.read_text(encoding="utf-8").splitlines()
    kept = [line for line in THEIRS.splitlines() if "Stop" not in line and "PreToolUse" not in line]
    positions = [lines.index(line) for line in kept]
    assert len(set(positions)) > 10
    assert lines[0:2] == ["{", '    "model": "opus",']
    assert '"Stop": [{"hooks": [{"type": "command", "command": "say fertig ü"}]}, {"hooks":' in "\n".join(
        lines
    )
    assert lines[-2:] == THEIRS.splitlines()[-2:]
    assert not path.read_bytes().endswith(b"\n")
    after = read(path)
    assert after["hooks"]["PostToolUse"][0] == json.loads(THEIRS)["hooks"]["PostToolUse"][0]
    assert list(after["hooks"])[:3] == ["Stop", "PostToolUse", "PreToolUse"]


def test_connecting_again_changes_nothing(user: Path) -> None:
    put(user / ".claude/settings.json", THEIRS)
    run("user", user)
    before = files(user)
    assert run("user", user) == []
    assert files(user) == before


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        " \n",
        "{}",
        "{}\n",
        '{"model":"opus"}',
        '{"hooks": {}, "mcpServers": {}}\n',
        '{\n\t"hooks": {\n\t},\n\t"mcpServers": {\n\t}\n}\n',
        THEIRS,
        THEIRS.replace("\n", "\r\n") + "\r\n",
        "\ufeff" + THEIRS,
    ],
)
def test_disconnecting_leaves_the_files_as_they_were(user: Path, text: str | None) -> None:
    if text is not None:
        put(user / ".claude/settings.json", text)
        put(user / ".claude.json", text)
    before = files(user)
    run("user", user)
    assert files(user) != before
    run("user", user, remove=True)
    assert files(user) == before
    assert run("user", user, remove=True) == []


def test_disconnecting_where_the_user_has_edited_takes_only_our_entries_out(user: Path) -> None:
    path = put(user / ".claude/settings.json", THEIRS)
    put(user / ".claude.json", '{"mcpServers": {}}')
    run("user", user)
    edited = path.read_text(encoding="utf-8").replace('"opus"', '"haiku"')
    path.write_text(edited, encoding="utf-8")
    client = read(user / ".claude.json") | {"numStartups": 3}
    put(user / ".claude.json", json.dumps(client, indent=2))
    run("user", user, remove=True)
    assert path.read_text(encoding="utf-8") == THEIRS.replace('"opus"', '"haiku"')
    assert read(user / ".claude.json") == {"mcpServers": {}, "numStartups": 3}
    assert not list(user.rglob("*.before-agent-memory"))


def test_a_file_that_we_made_and_the_client_filled_keeps_what_the_client_wrote(user: Path) -> None:
    run("user", user)
    put(user / ".claude.json", json.dumps({**read(user / ".claude.json"), "userID": "u"}, indent=2) + "\n")
    run("user", user, remove=True)
    assert files(user) == {".claude.json": b'{\n  "userID": "u"\n}\n'}


def test_the_file_as_it_was_is_kept_beside_it(user: Path) -> None:
    path = put(user / ".claude/settings.json", THEIRS)
    backup = path.with_name("settings.json.before-agent-memory")
    path.chmod(0o640)
    run("user", user)
    assert backup.read_text(encoding="utf-8") == THEIRS
    assert backup.stat().st_mode & 0o777 == path.stat().st_mode & 0o777 == 0o640


def test_the_backup_is_always_the_last_text_without_us(user: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put(user / ".claude/settings.json", THEIRS)
    backup = path.with_name("settings.json.before-agent-memory")
    run("user", user)
    monkeypatch.setattr(sys, "executable", "/moved/bin/python")
    run("user", user)  # what is there has our entries: it is no state from before us
    assert backup.read_text(encoding="utf-8") == THEIRS
    put(path, '{"model": "later"}')  # our entries were taken out by hand
    run("user", user)
    assert read(backup) == {"model": "later"}


def test_an_environment_that_moved_is_brought_up_to_date_in_its_place(
    user: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = put(user / ".claude/settings.json", THEIRS)
    monkeypatch.setattr(sys, "executable", "/old/venv/bin/python")
    run("user", user)
    arranged = read(path)
    arranged["hooks"]["PostToolUse"][1]["matcher"] = "Bash"  # the user has narrowed ours
    arranged["hooks"]["Stop"] += [
        {"hooks": [{"type": "command", "command": f'"{HOOK}"'}]}
    ]  # and has it twice
    arranged["hooks"]["Setup"] = [{"hooks": [{"type": "command", "command": "x", "args": [str(HOOK)]}]}]
    put(path, json.dumps(arranged, indent=4, ensure_ascii=False))
    monkeypatch.undo()
    run("user", user)
    after = read(path)
    assert all(sys.executable in [h["command"], *h["args"]] for h in ours(path).values())
    assert "/old/venv" not in path.read_text(encoding="utf-8")
    assert "/old/venv" not in path.read_text(encoding="utf-8")
    assert "/old/venv" not in (user / ".claude.json").read_text(encoding="utf-8")
    assert after["hooks"]["PostToolUse"][1]["matcher"] == "Bash"
    assert [len(groups) for groups in (after["hooks"]["Stop"], after["hooks"]["PostToolUse"])] == [2, 2]
    assert "Setup" not in after["hooks"]
    assert run("user", user) == []


def test_a_foreign_server_of_our_name_is_not_touched(user: Path) -> None:
    text = '{"mcpServers": {"agent-memory": {"command": "npx", "args": ["other-memory"]}}}'
    put(user / ".claude.json", text)
    with pytest.raises(AgentMemoryError, match=r"not ours.*Rename or remove"):
        run("user", user)
    assert run("user", user, remove=True) == []
    assert files(user) == {".claude.json": text.encode()}


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("settings.json", '{"a": 1,}', r"settings\.json is not valid JSON: .*line 1"),
        ("settings.json", '{\n  // mine\n  "a": 1\n}', r"settings\.json is not valid JSON: .*line 2"),
        ("settings.json", "[]", r"settings\.json holds no JSON object"),
        ("settings.json", '{"hooks": []}', "`hooks` is no JSON object"),
        ("settings.json", '{"hooks": {"Stop": {}}}', r"`hooks\.Stop` is no JSON list"),
        ("settings.json", "\udcff", "cannot be read"),
        ("../.claude.json", '{"mcpServers": 7}', "`mcpServers` is no JSON object"),
        ("../.claude.json", "nonsense", "not valid JSON"),
    ],
)
def test_a_file_that_cannot_be_understood_is_refused_and_everything_left_alone(
    user: Path, name: str, text: str, problem: str
) -> None:
    (user / ".claude").mkdir()
    (user / ".claude" / name).write_bytes(text.encode("utf-8", "surrogateescape"))
    before = files(user)
    for remove in (False, True):
        with pytest.raises(AgentMemoryError, match=problem):
            run("user", user, remove=remove)
    assert files(user) == before


def test_a_linked_file_is_written_through_its_link(user: Path) -> None:
    target = put(user / "dotfiles" / "claude.json", THEIRS)
    link = user / ".claude" / "settings.json"
    link.parent.mkdir()
    link.symlink_to(target)
    run("user", user)
    assert link.is_symlink()
    assert str(HOOK) in target.read_text(encoding="utf-8")
    run("user", user, remove=True)
    assert link.is_symlink()
    assert target.read_text(encoding="utf-8") == THEIRS


def test_new_files_of_the_user_are_the_users_alone(user: Path, project: Path) -> None:
    run("user", user)
    run("project", project)
    assert (user / ".claude.json").stat().st_mode & 0o777 == 0o600
    assert (project / ".mcp.json").stat().st_mode & 0o777 == 0o644


def test_a_file_that_changes_between_plan_and_writing_is_not_overwritten(user: Path) -> None:
    planned = connect.changes("user", user)
    put(user / ".claude.json", '{"numStartups": 1}')
    with pytest.raises(AgentMemoryError, match="changed by another program"):
        settings_file.write(planned)
    assert files(user) == {".claude.json": b'{"numStartups": 1}'}


def test_a_folder_that_cannot_be_written_is_an_error_in_words(user: Path) -> None:
    (user / ".claude").write_text("a file, no folder", encoding="utf-8")
    with pytest.raises(AgentMemoryError, match=r"\.claude/settings\.json cannot be read"):
        run("user", user)


def test_the_plan_is_shown_as_a_diff_without_the_backups(user: Path) -> None:
    path = put(user / ".claude/settings.json", THEIRS)
    before = files(user)
    shown = settings_file.diff(connect.changes("user", user))
    assert files(user) == before
    assert shown.startswith(f"--- {path}\n+++ {path}\n@@ ")
    assert f"--- /dev/null\n+++ {user / '.claude.json'}\n" in shown
    assert "before-agent-memory" not in shown
    added = [line for line in shown.splitlines() if line.startswith("+") and not line.startswith("+++")]
    assert sum(str(HOOK) in line for line in added) == len(connect.TIMEOUTS)
    settings_file.write(connect.changes("user", user))
    undone = settings_file.diff(connect.changes("user", user, remove=True))
    assert f"--- {user / '.claude.json'}\n+++ /dev/null\n" in undone


KEYS = st.sampled_from(["hooks", "mcpServers", "model", "Stop", "é"])
GROUPS = st.lists(
    st.fixed_dictionaries(
        {
            "hooks": st.lists(
                st.fixed_dictionaries({"type": st.just("command"), "command": st.text(max_size=3)}),
                max_size=2,
            )
        }
    ),
    max_size=2,
)
SETTINGS = st.fixed_dictionaries(
    {},
    optional={
        "model": st.text(max_size=3),
        "hooks": st.dictionaries(st.sampled_from(["Stop", "PreToolUse", "Setup"]), GROUPS, max_size=3),
        "mcpServers": st.dictionaries(st.sampled_from(["other", "é"]), st.just({"command": "x"}), max_size=2),
        "permissions": st.just({"allow": ["a", {}], "deny": []}),
    },
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=SETTINGS, indent=st.sampled_from([None, 0, 2, 4, "\t"]))
def test_any_settings_come_back_even_where_the_backup_is_lost(
    user: Path, value: dict[str, Any], indent: int | str | None
) -> None:
    for name in (".claude/settings.json", ".claude.json"):
        put(user / name, json.dumps(value, indent=indent, ensure_ascii=False))
    before = files(user)
    run("user", user)
    for backup in user.rglob("*.before-agent-memory"):
        backup.unlink()
    run("user", user, remove=True)
    for name, content in before.items():
        left = read(user / name) if (user / name).exists() else {}
        assert without_empty(left) == without_empty(json.loads(content))
    for path in (user / ".claude/settings.json", user / ".claude.json"):
        path.unlink(missing_ok=True)


def without_empty(value: dict[str, Any]) -> dict[str, Any]:
    """Without a backup nobody knows whether the user had an empty `hooks` before."""
    hooks = {event: groups for event, groups in value.get("hooks", {}).items() if groups}
    kept = {**value, "hooks": hooks}
    return {key: item for key, item in kept.items() if item or key not in ("hooks", "mcpServers")}


# The handler itself, run as Claude Code runs it: no shell, the payload on stdin


def handler(path: Path, event: str, hook: Path | None = None) -> list[str]:
    found = ours(path)[event]
    return [found["command"], *(str(hook) if hook and arg == str(HOOK) else arg for arg in found["args"])]


def fire(command: Sequence[str], payload: bytes) -> subprocess.CompletedProcess[bytes]:
    environment = {name: os.environ[name] for name in ("PATH", "HOME")}
    return subprocess.run(
        command, input=payload, capture_output=True, env=environment, timeout=30, check=False
    )


def test_the_handler_records_the_payload(user: Path, home: Path) -> None:
    run("user", user)
    payload = b'{"hook_event_name":"PostToolUse","session_id":"s"}'
    result = fire(handler(user / ".claude/settings.json", "PostToolUse"), payload)
    assert (result.returncode, result.stdout, result.stderr) == (0, b"", b"")
    (spooled,) = (home / "spool" / "new").iterdir()
    assert spooled.suffix == ".claude"
    assert spooled.read_bytes() == payload


def test_the_handler_records_into_the_home_that_it_was_connected_for(
    user: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENT_MEMORY_HOME", str(user / "memory"))
    run("user", user)
    assert fire(handler(user / ".claude/settings.json", "Stop"), b"{}").returncode == 0
    assert len(list((user / "memory" / "spool" / "new").iterdir())) == 1
    assert not home.exists()


def test_the_handler_of_a_deleted_installation_does_not_block_the_agent(user: Path, tmp_path: Path) -> None:
    run("user", user)
    gone = tmp_path / "agent_memory" / "hook.py"
    for hook in (gone, gone.parent / "no" / "folder" / "hook.py"):
        result = fire(handler(user / ".claude/settings.json", "PreToolUse", hook), b"{}")
        assert (result.returncode, result.stdout, result.stderr) == (0, b"", b"")
    # What would block every call, and why the handler is no plain `python hook.py`:
    assert fire([sys.executable, "-I", "-S", str(gone), "claude"], b"{}").returncode == 2


@pytest.mark.parametrize("shell", ["/bin/sh", "/bin/bash"])
def test_before_a_call_the_hook_runs_where_a_lesson_may_speak_and_only_there(
    user: Path, home: Path, tmp_path: Path, shell: str
) -> None:
    run("user", user)
    hook = tmp_path / "agent_memory" / "hook.py"
    hook.parent.mkdir()
    hook.write_text("import sys; print(len(sys.stdin.read()), sys.argv[1:])", encoding="utf-8")
    command = [shell, *handler(user / ".claude/settings.json", "PreToolUse", hook)[1:]]
    big = b"x" * 1_000_000  # more than a pipe holds: whoever writes it must not find the other end closed
    asks = home / "asks"
    home.mkdir(exist_ok=True)
    for text, said in (
        (None, b""),
        ("", b""),
        ("SessionStart 500\nStop 100\n", b""),
        ("SessionStart 500\nPreToolUse 100 Bash\n", b"1000000 ['claude']\n"),
    ):
        asks.unlink(missing_ok=True)
        if text is not None:
            asks.write_text(text, encoding="ascii")
        result = fire(command, big)
        assert (result.returncode, result.stdout, result.stderr) == (0, said, b"")
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\nexit 2\n", encoding="utf-8")  # 2 would block the call
    broken.chmod(0o700)
    for python in ("/no/python", str(broken)):
        silent = fire([*command[:3], python, *command[4:]], b"{}")
        assert (silent.returncode, silent.stdout, silent.stderr) == (0, b"", b"")


def test_the_handler_takes_the_compiled_hook_and_notices_a_new_one(user: Path, tmp_path: Path) -> None:
    run("user", user)
    hook = tmp_path / "agent_memory" / "hook.py"
    hook.parent.mkdir()
    shutil.copy(HOOK, hook)
    command = handler(user / ".claude/settings.json", "Stop", hook)
    assert fire(command, b"{}").returncode == 0
    assert list((hook.parent / "__pycache__").glob("hook.*.pyc"))
    hook.write_text("import sys; print(__name__, sys.argv[1:])\n", encoding="utf-8")
    assert fire(command, b"{}").stdout == b"__main__ ['claude']\n"


def test_a_projects_hooks_are_one_shell_line_since_copilot_runs_them_too_and_drops_args(
    user: Path, project: Path
) -> None:
    run("project", project)
    settings = json.loads((project / ".claude/settings.json").read_text(encoding="utf-8"))
    handlers = [h for groups in settings["hooks"].values() for group in groups for h in group["hooks"]]
    assert len(handlers) == len(connect.TIMEOUTS)
    for handler in handlers:
        assert "args" not in handler
        said = subprocess.run(
            ["sh", "-c", handler["command"]], input=b'{"a": true}', capture_output=True, check=False
        )
        assert (said.returncode, said.stdout, said.stderr) == (0, b"", b"")
    assert run("project", project) == []
