"""The command line as a whole: what each command offers, how it speaks, what it ends with."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command
from typer.testing import CliRunner

from agent_memory import settings
from agent_memory.cli import completing, main, service, tables, terminal
from agent_memory.cli.help import SECTIONS
from agent_memory.errors import AgentMemoryError

WITHOUT_JSON = {
    "finetune config": "it writes YAML, to be changed",
    "export": "it writes lines of JSON, always",
    "lesson review": "it is a dialogue",
    "locate": "the plugin calls it; it prints nothing",
    "mcp": "it speaks the protocol",
    "wizard": "it is a dialogue; finetune runs tells what came of it",
    "welcome": "a first look, for eyes",
}


def commands(group: TyperGroup | None = None, path: str = "") -> Iterator[tuple[str, TyperCommand]]:
    """Every command with its words, without `agent-memory`."""
    top = group or get_command(main.app)
    assert isinstance(top, TyperGroup)
    for name, command in top.commands.items():
        words = f"{path} {name}".strip()
        if isinstance(command, TyperGroup):
            yield from commands(command, words)
        else:
            assert isinstance(command, TyperCommand)
            yield words, command


def run(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(main.app, arguments, prog_name="agent-memory")
    return done.exit_code, done.output


def test_every_command_that_tells_something_tells_it_as_json() -> None:
    without = {
        words for words, command in commands() if not any("--json" in param.opts for param in command.params)
    }
    assert without == set(WITHOUT_JSON)


def test_every_command_argument_and_option_is_explained() -> None:
    for words, command in commands():
        assert command.help, words
        assert command.help.strip().endswith("."), f"{words}: {command.help}"
        for param in command.params:
            said = getattr(param, "help", None)
            assert getattr(param, "hidden", False) or said, f"{words}: {param.name} has no help"


def test_a_commands_first_sentence_fits_into_the_list_of_commands() -> None:
    groups = {words.rpartition(" ")[0] for words, _ in commands()}
    for group in groups:
        code, said = run(*group.split(), "--help")
        assert code == 0
        cut = [line for line in said.splitlines()[1:] if line.endswith("...")]
        assert not cut, f"shorten the first sentence of these docstrings: {cut}"


def test_what_a_command_takes_is_named_in_capitals() -> None:
    for words, _ in commands():
        usage = run(*words.split(), "--help")[1].splitlines()[0]
        named = re.findall(r"[{[](\w+)", usage.replace("[OPTIONS]", ""))
        assert all(name.isupper() for name in named), f"give a metavar in capitals: {usage}"


def test_ctrl_c_while_the_command_is_still_being_loaded_is_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "typer.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    done = subprocess.run(
        [sys.executable, "-m", "agent_memory", "status"],
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")


def test_the_command_line_alone_loads_no_database_and_no_network() -> None:
    said = subprocess.run(
        [sys.executable, "-c", "import sys, agent_memory.cli.main; print(*sys.modules)"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert not {"psycopg", "httpx", "fastapi", "onnxruntime", "mcp"} & set(said.stdout.split())


def test_every_section_of_the_help_names_commands_once() -> None:
    named = [name for names in SECTIONS.values() for name in names]
    assert len(named) == len(set(named))
    said = run("--help")[1]
    for name in {words.split()[0] for words, command in commands() if not command.hidden}:
        assert len(re.findall(rf"^  {name} +[A-Z]", said, re.MULTILINE)) == 1, name


def test_a_wrong_word_is_met_with_the_near_one_and_2() -> None:
    for arguments, near in (
        (("recal",), "recall"),
        (("lesson", "lst"), "list"),
        (("recall", "x", "--jsn"), "--json"),
        (("backup", "verfy"), "verify"),
    ):
        code, said = run(*arguments)
        assert (code, near in said) == (2, True), said


@pytest.mark.parametrize(
    ("raised", "code", "said"),
    [
        (AgentMemoryError("It broke.", "Mend it."), 1, "error: It broke.\n  what to do: Mend it.\n"),
        (KeyboardInterrupt(), 130, ""),
        (PermissionError(13, "Permission denied", "/there"), 1, "error: /there cannot be used"),
    ],
)
def test_how_a_command_ends(
    raised: BaseException,
    code: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fails(**_: object) -> None:
        raise raised

    monkeypatch.setattr(main, "app", fails)
    with pytest.raises(SystemExit) as ended:
        main.main()
    assert ended.value.code == code
    assert capsys.readouterr().err.startswith(said)


def test_a_bug_is_seen_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(**_: object) -> None:
        raise KeyError("a bug of ours")

    monkeypatch.setattr(main, "app", fails)
    with pytest.raises(KeyError):
        main.main()


def test_a_setting_that_cannot_be_is_named_with_where_it_stands(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AGENT_MEMORY_PORT", "soon")
    monkeypatch.setattr("sys.argv", ["agent-memory", "status"])
    with pytest.raises(SystemExit) as ended:
        main.main()
    assert ended.value.code == 1
    said = capsys.readouterr().err
    assert "AGENT_MEMORY_PORT" in said
    assert "config.toml" in said
    assert "soon" not in said  # it may be a secret


def test_status_stands_on_one_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.StringIO()
    screen = Console(file=file, width=80, highlight=False)
    for module in (tables, terminal, service):
        monkeypatch.setattr(module, "console", lambda: screen)
    wrong = {
        "level": "problem",
        "problem": "The last nightly backup is 3 days old.",
        "remedy": "agent-memory backup now",
    }
    project = {"id": 1, "path": "/home/dev/shop", "identity": "dir:/home/dev/shop", "sessions": 1200}
    service._print(
        {
            "status": "degraded",
            "uptime_s": 90_000.0,
            "pid": 4711,
            "address": "http://127.0.0.1:3377/",
            "home": "/home/dev/.agent-memory",
            "database": "embedded Postgres, running",
            "agents": {"claude": None, "codex": None},
            "stored": dict.fromkeys(
                ("sessions", "prompts", "tool_calls", "assistant_messages", "chunks"), 10**6
            ),
            "spool": {"pending": 3, "bad": 0},
            "queue": {"pending": 12, "unembedded": 400},
            "backup": {"newest": None, "each_night": True},
            "lessons": {"candidate": 4, "active": 12},
            "retention": {"policies": 1, "last_run": None},
            "projects": [project | {"last_event_at": f"2026-03-0{day}"} for day in range(1, 10)],
            "problems": [wrong["problem"]] * 2,
            "findings": [wrong] * 2,
        }
    )
    lines = file.getvalue().splitlines()
    assert len(lines) <= 23, "\n".join(lines)
    assert all(len(line) <= 80 for line in lines)
    assert "7 more" in file.getvalue()


def test_a_slip_of_the_pen_in_the_settings_is_noticed(home: Path) -> None:
    home.mkdir(mode=0o700)
    (home / "config.toml").write_text(
        "agent_memory_prot = 3400\nagent_memory_context = false\n", encoding="utf-8"
    )
    (home / ".env").write_text("REQUIRE_AUHT=false\nREQUIRE_AUTH=true\n", encoding="utf-8")
    assert settings.unknown() == ["agent_memory_prot", "require_auht"]
    (home / "config.toml").write_text("agent_memory_port = [", encoding="utf-8")
    with pytest.raises(AgentMemoryError, match="cannot be read"):
        settings.load()


def test_without_a_service_the_tab_key_offers_nothing_and_starts_nothing(home: Path) -> None:
    assert completing.project("") == completing.lesson("") == completing.backup("") == []
    assert [name for name, _ in completing.agent("cl")] == ["claude", "cline"]
    assert not home.exists()


ROWS = [("1", "turn", "Why does the ferry sink? " * 9), ("22", "note", "船が沈む。" * 30)]


def shown(width: int, monkeypatch: pytest.MonkeyPatch, **options: bool) -> list[str]:
    file = io.StringIO()
    monkeypatch.setattr(tables, "console", lambda: Console(file=file, width=width, highlight=False))
    tables.print_table(("id", "kind", "title"), ROWS, wide="title", right=("id",), **options)
    return file.getvalue().splitlines()


def test_a_table_fits_the_terminal_and_cuts_what_gives_way(monkeypatch: pytest.MonkeyPatch) -> None:
    from rich.cells import cell_len

    for width in (40, 60, 80, 200):
        head, *lines = shown(width, monkeypatch)
        assert head.split() == ["id", "kind", "title"]
        assert len(lines) == 2
        assert all(cell_len(line) <= width and line.endswith("…") for line in lines)
        assert lines[0].startswith(" 1  turn  Why")


def test_a_very_narrow_terminal_gets_a_row_as_a_paragraph(monkeypatch: pytest.MonkeyPatch) -> None:
    from rich.cells import cell_len

    lines = shown(28, monkeypatch)
    assert lines[0] == "id 1  kind turn"
    assert all(cell_len(line) <= 28 for line in lines)
    assert "".join(line.strip() for line in lines[lines.index("id 22  kind note") + 1 :]) == ROWS[1][2]


def test_in_a_pipe_nothing_is_cut_wrapped_or_coloured(capsys: pytest.CaptureFixture[str]) -> None:
    tables.print_table(("id", "kind", "title"), ROWS, wide="title")
    tables.print_facts([("home", "[red]" + "x" * 300 + "[/]")])
    head, *lines, fact = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[-1].strip() for line in lines] == [row[2].strip() for row in ROWS]
    assert fact == "home  " + "x" * 300
    assert head == head.rstrip()


def test_a_stored_text_moves_no_cursor_and_turns_no_line(capsys: pytest.CaptureFixture[str]) -> None:
    evil = "\x1b[2J\x1b]0;title\x07 red\x9b31m \u202egnp.exe\r over\ttab\nline"
    said = terminal.readable(evil)
    assert said == "␛[2J␛]0;title␇ red\ufffd31m \ufffdgnp.exe␍ over\ttab\nline"
    tables.print_table(("id", "title"), [("1", evil)], wide="title")
    terminal.print_error(evil, evil)
    out, err = capsys.readouterr()
    assert not set("\x1b\x07\x9b\u202e\r") & set(out + err)


def test_json_is_one_value_with_nothing_around_it(capsys: pytest.CaptureFixture[str]) -> None:
    main.version(as_json=True)
    assert json.loads(capsys.readouterr().out).keys() == {"version"}
