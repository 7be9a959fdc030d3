"""What sessions are told unasked, on a real database: from the journal to the hook's answer, and the record of it."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from starlette.testclient import TestClient
from tests.integration.conftest import remember
from typer.testing import CliRunner

from agent_memory.access import tokens
from agent_memory.cli.main import app as command_line
from agent_memory.database import Connection, server
from agent_memory.journal import fence, projects
from agent_memory.journal.event import AssistantMessage, Event, Prompt, SessionStart, ToolCall, TurnEnd
from agent_memory.journal.ingest import ingest
from agent_memory.lessons import store as lessons
from agent_memory.lessons.lesson import Draft, Status
from agent_memory.lessons.trigger import Trigger
from agent_memory.recall import context, context_store
from agent_memory.service import context as answers
from agent_memory.service.state import State

AT = datetime(2026, 11, 20, 9, 30, tzinfo=UTC)
LOGIN = "Why are members logged out after a minute?"
ANSWER = "LOGIN_TIMEOUT was 60 seconds where 30 minutes were meant; login.py is mended."
UPLOADS = "Move the uploads to the new bucket"


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is told is tested here, and not how soon: on a busy machine it would be late, which is silence."""
    monkeypatch.setattr(answers, "AT_START_MS", 20_000)
    monkeypatch.setattr(answers, "AT_PROMPT_MS", 20_000)


@pytest.fixture
def asked_too(state: State, api: TestClient) -> TestClient:
    """The API of a service that is to speak at prompts as well."""
    state.settings = state.settings.model_copy(update={"agent_memory_prompt_context": True})
    return api


def session(
    state: State,
    session_id: str,
    *turns: tuple[str, str | None],
    project: str = "/shop",
    at: datetime = AT,
    error: str | None = None,
    calls: tuple[ToolCall, ...] = (),
) -> None:
    """Record a session with these (prompt, answer) and make memories of it; `error` ends the last turn."""
    events = []

    def tell(body: Any, seconds: float, prompt_id: str | None = None) -> None:
        moment = at + timedelta(seconds=seconds)
        events.append(
            Event(
                agent="claude",
                session_id=session_id,
                occurred_at=moment,
                body=body,
                cwd=project,
                prompt_id=prompt_id,
            )
        )

    tell(SessionStart(source="startup"), 0)
    for number, (asked, said) in enumerate(turns, start=1):
        prompt_id = f"{session_id}-p{number}"
        tell(Prompt(text=asked), 60 * number, prompt_id)
        for call in calls:
            tell(call, 60 * number + 5, prompt_id)
        if said is not None:
            tell(AssistantMessage(text=said), 60 * number + 10, prompt_id)
        tell(TurnEnd(error=error if number == len(turns) else None), 60 * number + 11, prompt_id)
    with state.pool.connection() as conn, conn.transaction():
        ingest(conn, events, state.settings)
    remember(state)


def start(
    caller: TestClient, session_id: str = "new", *, project: str = "/shop", source: str = "startup"
) -> str:
    """What a session is told at its start."""
    payload = {"hook_event_name": "SessionStart", "session_id": session_id, "cwd": project, "source": source}
    return context_of(caller, payload)


def submit(
    caller: TestClient, prompt: str, session_id: str = "new", *, project: str = "/shop", **more: Any
) -> str:
    payload = {
        "hook_event_name": "UserPromptSubmit",
        "session_id": session_id,
        "cwd": project,
        "prompt": prompt,
    }
    return context_of(caller, payload | more)


def context_of(api: TestClient, payload: dict[str, Any]) -> str:
    answer = api.post("/api/hook", json=payload)
    assert answer.status_code == 200
    if not answer.content:
        return ""
    told = answer.json()["hookSpecificOutput"]
    assert told["hookEventName"] == payload["hook_event_name"]
    return str(told["additionalContext"])


def injections(api: TestClient, session_id: str = "new") -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = api.get("/api/injections", params={"session_id": session_id}).json()[
        "items"
    ]
    return items


def test_the_next_session_is_told_and_another_projects_is_not(state: State, api: TestClient) -> None:
    session(state, "a", (LOGIN, ANSWER))
    told = start(api)
    assert told.startswith("<agent-memory note=")
    assert LOGIN in told
    assert "LOGIN_TIMEOUT was 60 seconds" in told
    assert len(told) <= 2_000
    assert start(api, "other", project="/bakery") == ""
    session(state, "b", ("Bake rye bread for the shop", "The bread is in the oven."), project="/bakery")
    assert "LOGIN" not in start(api, "other", project="/bakery")
    assert "bread" not in start(api)


def test_the_same_state_gives_the_same_bytes(state: State, api: TestClient) -> None:
    for number in range(6):
        session(
            state,
            f"s{number}",
            (f"Request number {number} about the cart", ANSWER),
            at=AT + timedelta(hours=number),
        )
    assert start(api, "x") == start(api, "y") == start(api, "x", source="clear")


def test_a_session_that_goes_on_is_told_what_it_does_not_have(state: State, api: TestClient) -> None:
    session(state, "a", (LOGIN, ANSWER))
    first = start(api, "b")
    session(state, "b", (UPLOADS, "All 312 uploads are moved."), at=AT + timedelta(hours=1))
    # Resumed and forked sessions still have the text; a compaction takes it away, and sums up the session itself.
    assert start(api, "b", source="resume") == ""
    assert start(api, "c", source="fork") == ""
    assert start(api, "b", source="compact") == first
    assert UPLOADS not in first
    # What others did since is told to the resumed one, once.
    just_now = datetime.now(UTC) - timedelta(seconds=60)  # its prompt is a minute later
    session(state, "d", ("Write the release notes for March", "They are in NOTES.md."), at=just_now)
    since = start(api, "b", source="resume")
    assert "release notes" in since
    assert LOGIN not in since
    assert start(api, "b", source="resume") == ""
    assert UPLOADS in start(api, "e", source="clear")


def test_every_start_is_written_down_with_what_it_was_about(state: State, api: TestClient) -> None:
    session(state, "a", (LOGIN, ANSWER), (UPLOADS, None), error="interrupted by the user")
    told = start(api)
    (row,) = injections(api)
    assert (row["event"], row["outcome"], row["reason"], row["chars"]) == (
        "SessionStart",
        "told",
        "startup",
        len(told),
    )
    assert row["text_sha256"] == hashlib.sha256(told.encode()).hexdigest()
    assert [(item["part"], item["title"]) for item in row["items"]] == [("session", LOGIN), ("open", UPLOADS)]
    assert row["items"][0]["observation_id"]
    assert row["items"][1]["prompt_id"] == "a-p2"  # there is no memory of a turn in which nothing happened
    start(api, "f", source="fork")
    (silent,) = injections(api, "f")
    assert (silent["outcome"], silent["chars"], silent["items"]) == ("silent", 0, [])
    assert "parent" in silent["reason"]


def test_what_is_forgotten_is_forgotten_in_the_record_too(state: State, api: TestClient) -> None:
    session(state, "a", (LOGIN, ANSWER), (UPLOADS, None), error="interrupted by the user")
    start(api)
    with state.pool.connection() as conn:
        conn.execute("delete from mem_observations where session_id = 'a'")
        conn.execute("delete from mem_user_prompts where session_id = 'a'")
    (row,) = injections(api)
    assert row["items"] == []
    with state.pool.connection() as conn:
        conn.execute("delete from mem_sessions where id = 'new'")
    assert injections(api) == []


def test_a_project_and_a_user_can_have_silence(
    state: State,
    api: TestClient,
    monkeypatch: pytest.MonkeyPatch,
    database_url: str,
) -> None:
    session(state, "a", (LOGIN, ANSWER))
    monkeypatch.setenv("DATABASE_URL", database_url)
    cli = CliRunner()
    assert LOGIN in cli.invoke(command_line, ["context", "--project", "/shop"]).stdout
    assert cli.invoke(command_line, ["context", "--project", "/shop", "--off"]).exit_code == 0
    assert start(api) == ""
    assert api.get("/api/context", params={"project": "/shop"}).json()["wanted"] is False
    assert cli.invoke(command_line, ["context", "--project", "/shop", "--on"]).exit_code == 0
    assert LOGIN in start(api)
    off = state.settings.model_copy(update={"agent_memory_context": False})
    state.settings = off
    assert start(api, "z") == ""
    assert [ask.event for ask in answers.asks(off)] == ["SessionStart"]  # what is wrong is still told
    assert answers.asks_when_down(off) == ()


def test_why_prints_what_a_session_was_told(
    state: State,
    api: TestClient,
    monkeypatch: pytest.MonkeyPatch,
    database_url: str,
) -> None:
    session(state, "a", (LOGIN, ANSWER))
    told = start(api, "0d9c4f7e-2b6a")
    monkeypatch.setenv("DATABASE_URL", database_url)
    cli = CliRunner()
    printed = cli.invoke(command_line, ["why", "0d9c"]).stdout
    assert f"SessionStart: {len(told)} characters (startup; " in printed
    assert LOGIN in printed
    assert '"outcome": "told"' in cli.invoke(command_line, ["why", "0d9c4f7e-2b6a", "--json"]).stdout
    unknown = cli.invoke(command_line, ["why", "nobody"])
    assert unknown.exit_code == 1


def test_sessions_without_a_folder_are_told_nothing(state: State, api: TestClient) -> None:
    session(state, "a", (LOGIN, ANSWER), project="")
    assert start(api, project="") == ""
    assert start(api, "a", project="") == ""
    for payload in (
        {"hook_event_name": "SessionStart"},
        {"hook_event_name": "SessionStart", "session_id": 7},
    ):
        assert context_of(api, payload) == ""


def test_a_token_of_one_project_gets_nothing_of_another(state: State, api: TestClient) -> None:
    session(state, "a", (LOGIN, ANSWER))
    session(state, "b", ("Bake rye bread for the shop", "The bread is in the oven."), project="/bakery")
    start(api)
    with state.pool.connection() as conn:
        bakery = projects.resolve(conn, "/bakery")
        shown = tokens.create(conn, "baker", scope="write", project_id=bakery)
    theirs = {"authorization": f"Bearer {shown}"}
    assert api.get("/api/context", params={"project": "/bakery"}, headers=theirs).status_code == 200
    assert api.get("/api/context", params={"project": "/shop"}, headers=theirs).status_code == 403
    assert api.get("/api/injections", params={"session_id": "new"}, headers=theirs).status_code == 403
    begun = {"hook_event_name": "SessionStart", "session_id": "x", "cwd": "/shop"}
    assert api.post("/api/hook", json=begun, headers=theirs).status_code == 403


def test_an_unfinished_list_of_things_to_do_is_an_open_end(state: State, api: TestClient) -> None:
    todos = [
        {"content": "Copy", "status": "completed"},
        {"content": "Delete the old bucket", "status": "pending"},
    ]
    call = ToolCall(tool_use_id="t1", name="TodoWrite", input={"todos": todos}, success=True)
    session(state, "a", (UPLOADS, "All 312 uploads are moved."), calls=(call,))
    assert "- 2026-11-20 to do: Delete the old bucket\n" in start(api)


def test_notes_are_told_and_those_that_no_longer_hold_are_not(state: State, api: TestClient) -> None:
    def save(text: str, supersedes: int | None = None) -> int:
        note = {"project": "/shop", "text": text, "supersedes": supersedes}
        return int(api.post("/api/observations", json=note).json()["ids"][0])

    first = save("Amounts are floats.")
    assert "Amounts are floats." in start(api)
    save("Amounts are integers, in cents.", first)
    told = start(api)
    assert "Amounts are integers" in told
    assert "floats" not in told


def test_what_was_taken_back_is_not_told_as_if_it_held(state: State, api: TestClient) -> None:
    session(state, "a", (LOGIN, ANSWER), (UPLOADS, "All 312 uploads are moved."))
    start(api)
    (row,) = injections(api)
    number = next(item["observation_id"] for item in row["items"] if item["title"] == LOGIN)
    assert (
        api.patch(f"/api/observations/{number}", json={"valid_until": "2026-11-21T00:00:00Z"}).status_code
        == 200
    )
    told = start(api)
    assert UPLOADS in told
    assert "LOGIN_TIMEOUT" not in told


def test_what_was_forgotten_is_not_told(state: State, api: TestClient) -> None:
    session(state, "a", (LOGIN, ANSWER))
    start(api)
    ((item,),) = (row["items"] for row in injections(api))
    assert api.delete(f"/api/observations/{item['observation_id']}").is_success
    assert start(api) == ""
    assert all(row["items"] == [] for row in injections(api))


def test_active_lessons_are_told_here_and_everywhere_where_they_are_global(
    state: State,
    api: TestClient,
) -> None:
    def lesson(rule: str, project: str | None, status: Status = "active") -> None:
        with state.pool.connection() as conn, conn.transaction():
            project_id = projects.resolve(conn, project) if project else None
            draft = Draft(
                rule=rule, trigger=Trigger(pattern=rule), project_id=project_id, title=rule, made_by="user"
            )
            lessons.insert(conn, draft, status)

    session(state, "a", (LOGIN, ANSWER))
    session(state, "b", ("Bake rye bread for the shop", "The bread is in the oven."), project="/bakery")
    lesson("Run the tests with -n 2, never with -n auto.", "/shop")
    lesson("Never push to main.", None)
    lesson("Candidates are not told.", "/shop", "candidate")
    told = start(api)
    assert told.endswith(
        "Lessons learnt here:\n- Run the tests with -n 2, never with -n auto.\n- Never push to main.\n"
        "More: recall answers questions from all of it, get_observations gives one #number whole.\n</agent-memory>"
    )
    assert "-n auto" not in start(api, "baker", project="/bakery")
    (row,) = injections(api)
    assert [item["lesson_id"] for item in row["items"] if item["part"] == "lesson"] == [1, 2]


def test_our_own_words_are_no_memory(state: State, api: TestClient) -> None:
    session(state, "a", (LOGIN, ANSWER))
    told = start(api)
    session(state, "b", (f"{told}\n\nok", f"I was told: {told}"), at=AT + timedelta(hours=1))
    assert start(api, "c") == told


def test_a_prompt_is_shown_what_certainly_belongs_to_it(state: State, asked_too: TestClient) -> None:
    session(state, "a", (LOGIN, ANSWER))
    question = "Why were the members logged out after a minute? Was it LOGIN_TIMEOUT?"
    told = submit(asked_too, question, prompt_id="p9")
    assert "login.py is mended" in told
    assert told == fence.fence(told.partition("\n")[2].rpartition("\n")[0])
    assert len(told) <= context.PROMPT_CHARS
    (row,) = injections(asked_too)
    assert (row["event"], row["outcome"], row["prompt_id"]) == ("UserPromptSubmit", "told", "p9")
    (item,) = row["items"]
    assert item["score"] >= context.ENOUGH
    assert item["why"]["legs"].keys() == {"text", "vector"}
    # Never the same twice in a session, never the session's own, never another project's.
    assert submit(asked_too, question) == ""
    assert submit(asked_too, question, "a") == ""
    assert submit(asked_too, question, "elsewhere", project="/bakery") == ""
    assert submit(asked_too, question, "another")


@pytest.mark.parametrize(
    "prompt",
    [
        "yes, go on",
        "/login timeout members minute",
        "! grep LOGIN_TIMEOUT login.py members minute",
        "# members are logged out after a minute: LOGIN_TIMEOUT",
        "<task-notification>Why are members logged out after a minute?</task-notification>",
        "What will the weather be on Sunday in Lisbon?",
        "",
    ],
)
def test_a_prompt_that_asks_nothing_or_something_else_is_met_with_silence(
    state: State,
    asked_too: TestClient,
    prompt: str,
) -> None:
    session(state, "a", (LOGIN, ANSWER))
    assert submit(asked_too, prompt) == ""
    assert submit(asked_too, LOGIN, agent_id="sub") == ""


def test_prompts_are_left_alone_unless_the_user_wants_it(state: State, api: TestClient) -> None:
    session(state, "a", (LOGIN, ANSWER))
    assert submit(api, LOGIN) == ""
    assert injections(api) == []
    assert [ask.event for ask in answers.asks(state.settings)] == ["SessionStart"]


def test_an_answer_that_is_not_found_in_time_is_silence_and_is_written_down(
    state: State,
    asked_too: TestClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def slow(conn: Connection, *_: Any, **__: Any) -> None:
        conn.execute("select pg_sleep(5)")

    session(state, "a", (LOGIN, ANSWER))
    monkeypatch.setattr(answers, "AT_PROMPT_MS", 120)
    monkeypatch.setattr(context, "at_prompt", slow)
    assert submit(asked_too, LOGIN) == ""
    (row,) = injections(asked_too)
    assert (row["outcome"], row["chars"]) == ("late", 0)
    assert "not found within" in row["reason"]


def test_without_vectors_a_prompt_is_met_with_silence(
    state: State,
    asked_too: TestClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    session(state, "a", (LOGIN, ANSWER))
    monkeypatch.setattr(State, "embedder", lambda _: None)
    assert submit(asked_too, LOGIN) == ""
    (row,) = injections(asked_too)
    assert row["outcome"] == "silent"
    assert "words alone" in row["reason"]


def test_a_row_that_was_forgotten_meanwhile_is_not_written_down(database_url: str) -> None:
    with server.connect(database_url) as conn, conn.transaction():
        conn.execute("insert into mem_projects (identity, name) values ('path:/shop', 'shop')")
        conn.execute(
            "insert into mem_sessions (id, project_id, agent, started_at, last_event_at)"
            " select 's', id, 'claude', now(), now() from mem_projects"
        )
        shown = [
            context_store.Shown(part="session", observation_id=99),
            context_store.Shown(part="open", session_id="s", prompt_id="p"),
            context_store.Shown(part="lesson", lesson_id=1),
        ]
        context_store.record(
            conn, session_id="s", event="SessionStart", outcome="told", reason="startup", shown=shown
        )
        (row,) = context_store.injections(conn, session_id="s")
    assert row["items"] == []
