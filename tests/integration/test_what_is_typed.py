"""What a person types without care, and what the command line makes of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import typer
from tests.integration.test_drain import payload
from typer.testing import CliRunner

from agent_memory import settings
from agent_memory.capture.drain import events_of
from agent_memory.cli import tail, terminal
from agent_memory.cli.main import app
from agent_memory.database import Connection
from agent_memory.errors import AgentMemoryError
from agent_memory.journal.ingest import ingest
from agent_memory.observations import worker

QUESTION = "Why does the till round wrongly?"


def record(conn: Connection, session: str, folder: str, text: str = QUESTION) -> None:
    call = {"tool_name": "Bash", "tool_use_id": "t1", "tool_input": {"command": "make test"}}
    for one in (payload("UserPromptSubmit", prompt=text), payload("PostToolUse", **call, tool_response={})):
        said = one | {"session_id": session, "cwd": folder}
        ingest(conn, events_of("claude", said, datetime.now(UTC)), settings.load())
    worker.build_turn(conn, session, "p1")
    conn.commit()


@pytest.fixture
def recorded(conn: Connection, database_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Two sessions of a project with a name of two words, in whose folder we stand."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    folder = tmp_path / "the till"
    folder.mkdir()
    for session in ("5cb9c93e-bb59", "5cb9d000-aaaa"):
        record(conn, session, str(folder))
    monkeypatch.chdir(folder)
    return folder


def typed(*arguments: str, answer: str = "") -> tuple[int, str]:
    """How it ended, and what was said; an error is told by its two sentences."""
    done = CliRunner().invoke(app, arguments, input=answer)
    if isinstance(done.exception, AgentMemoryError):
        return 1, f"{done.output}{done.exception.problem} {done.exception.remedy}"
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output


@pytest.mark.parametrize("command", [("timeline",), ("recall", "x"), ("search", "x"), ("why",)])
def test_where_nothing_was_recorded_the_projects_are_named(
    recorded: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    monkeypatch.chdir(recorded.parent)
    code, said = typed(*command)
    assert (code, "--project: 'the till'" in said) == (1, True), said
    if command != ("why",):
        code, said = typed(*command, "--project", "the tilt")
        assert (code, "'the tilt'" in said, "'the till'" in said) == (1, True, True), said


def test_with_nothing_recorded_at_all_it_is_told_how_to_begin(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)
    code, said = typed("timeline")
    assert (code, "agent-memory connect claude" in said) == (1, True), said


def test_of_two_projects_of_one_name_the_ids_are_named(conn: Connection, recorded: Path) -> None:
    record(conn, "s", "/elsewhere/the till")
    code, said = typed("timeline", "--project", "no such")
    assert code == 1
    assert "'the till'" not in said
    assert "--project: " in said


def test_why_without_a_session_tells_of_the_last_one_here(recorded: Path) -> None:
    assert "session 5cb9d000-aaaa" in typed("why")[1]
    code, said = typed("why", "5cb9")
    assert (code, "Several sessions" in said, "5cb9c93e-bb59" in said) == (1, True, True), said


def test_why_in_a_project_of_notes_alone_says_that_it_has_no_session(
    recorded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(recorded.parent)
    assert typed("save", "The till is open on Sundays.")[0] == 0
    assert typed("why") == (0, "This project has no session yet.\n")


def test_a_session_is_forgotten_by_the_beginning_of_its_id(conn: Connection, recorded: Path) -> None:
    assert typed("forget", "--session", "5cb9", "--yes")[0] == 1
    code, said = typed("forget", "--session", "5cb9c", "--yes")
    assert code == 0, said
    left = conn.execute("select id from mem_sessions order by id").fetchall()
    assert [row["id"] for row in left] == ["5cb9d000-aaaa"]


def test_where_nobody_can_agree_it_is_said_how(conn: Connection, recorded: Path) -> None:
    code, said = typed("forget", "--session", "5cb9c")
    assert (code, "--yes" in said, "Aborted" in said) == (1, True, False), said
    assert "1 user prompt." in said
    assert "1 tool call," in said
    assert conn.execute("select count(*) as n from mem_sessions").fetchone() == {"n": 2}
    code, said = typed("forget", "--session", "5cb9c", answer="n\n")
    assert (code, said.splitlines()[-1]) == (1, "Nothing was forgotten.")
    assert typed("forget", "--session", "5cb9c", answer="y\n")[0] == 0


@pytest.mark.parametrize(("at_a_terminal", "ends"), [(True, KeyboardInterrupt), (False, AgentMemoryError)])
def test_ctrl_c_at_a_question_ends_as_it_does_elsewhere(
    monkeypatch: pytest.MonkeyPatch, at_a_terminal: bool, ends: type[BaseException]
) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: at_a_terminal)
    with pytest.raises(ends), terminal.answered("Nobody is here.", "Add --yes."):
        raise typer.Abort


def test_times_are_spans_dates_and_what_else_is_told_so(recorded: Path) -> None:
    for since, goes in (
        ("2h", True),
        ("2001-02-03", True),
        ("2001-02-03 14:30", True),
        ("2099-01-01", False),
    ):
        code, said = typed("forget", "--since", since, "--dry-run")
        assert (code, QUESTION in said) == (0, goes), f"{since}: {said}"
    for wrong in ("gestern", "30.11.2026", "2026-13-45", "6m", ""):
        code, said = typed("forget", "--since", wrong, "--dry-run")
        assert code == 1, wrong
        assert "12h" in said or wrong == "", said
    ahead = terminal.moment("90d", ahead=True) - datetime.now(UTC)
    assert timedelta(days=89) < ahead <= timedelta(days=90)


def test_a_memory_that_begins_with_its_title_is_shown_with_it_once(recorded: Path) -> None:
    said = typed("show", "1")[1]
    assert said.count(QUESTION) == 1
    assert "sources: prompts p1 · tool calls 1" in said


def test_an_answer_says_what_is_wrong_with_the_question(recorded: Path) -> None:
    for command in ("recall", "search"):
        assert "The query has no words to look for." in typed(command, "  ")[1]
    code, said = typed("recall", QUESTION, "--budget", "200")
    assert (code, "too small" in said, "Nothing relevant" in said) == (0, True, False), said
    code, said = typed("timeline", "--around", "99999")
    assert (code, "no observation 99999" in said) == (1, True), said
    code, said = typed("finetune", "report", "nope")
    assert (code, "no training run 'nope'" in said, "Errno" in said) == (1, True, False), said


def test_what_was_set_is_said(recorded: Path) -> None:
    code, said = typed("retention", "set", "--days", "90", "--project", "the till")
    assert (code, said.splitlines()) == (0, ["the till (#1): keeps 90 days", "Nothing would go."])
    code, said = typed("project", "split", "the till", "--path", "/nowhere")
    assert (code, "goes into #2" in said) == (0, True), said


def test_tail_tells_the_day_where_it_is_another(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def event(at: str) -> dict[str, str | None]:
        said = {"kind": "prompt", "project": "till", "text": "Round it.", "agent_id": None}
        return said | {"at": f"{at}T12:00:00+00:00"}

    today = f"{datetime.now(UTC):%Y-%m-%d}"
    days = ("2026-10-05", "2026-10-05", "2026-10-06", today)
    monkeypatch.setattr(tail, "_followed", lambda _: iter([event(day) for day in days]))
    tail.tail()
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if "Round" not in line] == [
        "Monday, 2026-10-05",
        "Tuesday, 2026-10-06",
        f"{datetime.now(UTC):%A, %Y-%m-%d}",
    ]
