from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from agent_memory.database import Connection
from agent_memory.journal import store as journal
from agent_memory.journal.event import AssistantMessage, Event, Prompt, ToolCall, TurnEnd
from agent_memory.journal.ingest import ingest
from agent_memory.observations import store, turns, vectors
from agent_memory.observations.observation import Observation, Section
from agent_memory.observations.words import indexable
from agent_memory.settings import Settings

AT = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)


@pytest.fixture
def project(conn: Connection) -> int:
    return journal.insert_project(conn, "path:/shop", "shop", "/shop")


def note(
    project: int, text: str = "Words", *, key: str | None = "k", title: str = "A note", **more: Any
) -> Observation:
    return Observation(
        project_id=project, kind="note", title=title, text=text, occurred_at=AT, external_id=key, **more
    )


def chunks(conn: Connection) -> list[dict[str, Any]]:
    return conn.execute("select * from mem_observation_chunks order by observation_id, ordinal").fetchall()


def found(conn: Connection, project: int, asked: str) -> int:
    """How many chunks of a project hold every word of a query."""
    row = conn.execute(
        "select count(*) as n from mem_observation_chunks"
        " where tsv @@ plainto_tsquery('english', %s) and tsv @@ quote_literal('project/' || %s)::tsquery",
        (indexable(asked), project),
    ).fetchone()
    assert row is not None
    return int(row["n"])


def paragraphs(*names: str) -> str:
    return "\n\n".join(f"{name} " + "filler words stand here and there " * 20 for name in names)


def test_the_same_external_id_is_the_same_observation(conn: Connection, project: int) -> None:
    (first,) = store.save(conn, [note(project, "Old words")])
    (second,) = store.save(conn, [note(project, "New words")])
    assert first == second
    assert [row["text"] for row in store.get(conn, [first])] == ["New words"]
    assert len(chunks(conn)) == 1
    assert (found(conn, project, "old"), found(conn, project, "new")) == (0, 1)


def test_observations_without_an_external_id_are_new_each_time(conn: Connection, project: int) -> None:
    assert (
        len({*store.save(conn, [note(project, key=None)] * 2), *store.save(conn, [note(project, key=None)])})
        == 3
    )


def test_the_same_external_id_in_two_projects_is_two_observations(conn: Connection, project: int) -> None:
    other = journal.insert_project(conn, "path:/other", "other", "/other")
    one, two = store.save(conn, [note(project, "Apples"), note(other, "Pears")])
    assert one != two
    assert (found(conn, project, "apples"), found(conn, other, "apples")) == (1, 0)


def test_ids_come_in_the_order_given_and_the_last_of_a_key_stands(conn: Connection, project: int) -> None:
    ids = store.save(
        conn, [note(project, "Z", key="z"), note(project, "A", key="a"), note(project, "Last", key="z")]
    )
    assert ids[0] == ids[2]
    assert [row["text"] for row in store.get(conn, ids[:2])] == ["Last", "A"]
    assert found(conn, project, "last") == 1


def test_unchanged_chunks_keep_their_row_and_their_vector(conn: Connection, project: int) -> None:
    store.save(conn, [note(project, paragraphs("alpha", "beta", "gamma"))])
    before = {row["text"]: row["id"] for row in chunks(conn)}
    assert len(before) == 3
    model = vectors.model_id(conn, Fixed("m", 3))
    vectors.save_vectors(conn, model, list(before.values()), [[1.0, 0.0, 0.0]] * 3)
    store.save(conn, [note(project, paragraphs("alpha", "delta", "gamma"))])
    after = {row["text"]: row["id"] for row in chunks(conn)}
    kept = [text for text in after if text in before]
    assert len(kept) == 2
    assert all(after[text] == before[text] for text in kept)
    (new,) = set(after.values()) - set(before.values())
    assert [chunk.id for chunk in vectors.pending_chunks(conn, 10)] == [new]
    rows = conn.execute("select chunk_id from mem_chunk_vectors").fetchall()
    assert {row["chunk_id"] for row in rows} == set(after.values()) - {new}


def test_chunks_that_change_places_keep_their_rows(conn: Connection, project: int) -> None:
    store.save(conn, [note(project, paragraphs("alpha", "beta", "gamma"))])
    before = {row["text"]: row["id"] for row in chunks(conn)}
    store.save(conn, [note(project, paragraphs("gamma", "beta", "alpha"))])
    after = chunks(conn)
    assert {row["text"]: row["id"] for row in after} == before
    assert [row["ordinal"] for row in after] == [0, 1, 2]
    assert "gamma" in after[0]["text"]


def test_saving_the_same_again_writes_no_chunk(conn: Connection, project: int) -> None:
    observation = note(project, paragraphs("alpha", "beta"))
    store.save(conn, [observation])
    conn.execute("delete from mem_embedding_queue")
    before = conn.execute("select id, xmin::text from mem_observation_chunks order by id").fetchall()
    store.save(conn, [observation])
    assert conn.execute("select id, xmin::text from mem_observation_chunks order by id").fetchall() == before
    assert vectors.unembedded(conn) == 0


def test_each_section_keeps_its_role(conn: Connection, project: int) -> None:
    sections = [Section("asked", "user"), Section("done"), Section("answered", "assistant")]
    store.save(conn, [note(project, "asked\n\ndone\n\nanswered", sections=sections)])
    assert [row["role"] for row in chunks(conn)] == ["user", None, "assistant"]


def test_a_chunk_is_found_by_its_words_within_its_project(conn: Connection, project: int) -> None:
    other = journal.insert_project(conn, "path:/other", "other", "/other")
    store.save(conn, [note(project, "We renamed getUserName in src/auth/session_store.py because of E0382")])
    for asked in (
        "user name",
        "get_user_name",
        "session store",
        "sessionStore",
        "E0382",
        "auth",
        "renaming",
        "2026",
    ):
        assert found(conn, project, asked) == 1, asked
        assert found(conn, other, asked) == 0, asked
    assert found(conn, project, "November") == 1
    assert found(conn, project, "zebra") == 0


@pytest.mark.parametrize(
    "text",
    [
        "getUserName a/b.py foo.bar -5 1e9 https://x.y/z a@b.c",
        "naïve Straße हिन्दी 東京タワー 한국어 ΣΊΣΥΦΟΣ",
    ],
)
def test_postgres_takes_each_indexed_word_as_one_word(conn: Connection, text: str) -> None:
    words = indexable(text)
    row = conn.execute(
        "select array_agg(token) as t from ts_parse('default', %s) where token <> ' '", (words,)
    ).fetchone()
    assert row is not None
    assert row["t"] == words.split()


def test_a_uuid_and_a_hash_are_found(conn: Connection, project: int) -> None:
    """Postgres reads `550e8400e29b` as a number and a word; it does so in texts and in queries alike."""
    store.save(conn, [note(project, "Run 550e8400-e29b-41d4-a716-446655440000 built 9f86d081884c")])
    assert found(conn, project, "550e8400-e29b-41d4-a716-446655440000") == 1
    assert found(conn, project, "9f86d081884c") == 1
    assert found(conn, project, "550e8400-e29b-41d4-a716-446655440001") == 0


def test_the_length_of_a_chunk_is_that_of_its_words(conn: Connection, project: int) -> None:
    store.save(conn, [note(project, "getUserName failed")])
    (row,) = chunks(conn)
    assert row["words"] == len(indexable(row["text"]).split()) + 1  # the month's name


def test_an_unknown_session_is_left_out(conn: Connection, project: int) -> None:
    (number,) = store.save(conn, [note(project, session_id="nobody's")])
    assert store.get(conn, [number])[0]["session_id"] is None


def test_a_deleted_observation_leaves_nothing(conn: Connection, project: int) -> None:
    ids = store.save(conn, [note(project, "Apples")])
    model = vectors.model_id(conn, Fixed("m", 3))
    vectors.save_vectors(conn, model, [row["id"] for row in chunks(conn)], [[1.0, 0.0, 0.0]])
    assert store.delete(conn, ids) == 1
    for table in ("mem_observations", "mem_observation_chunks", "mem_chunk_vectors", "mem_embedding_queue"):
        assert conn.execute(f"select from {table}".encode()).rowcount == 0, table
    assert store.delete(conn, ids) == 0


def test_a_thousand_observations_are_saved_in_seconds(conn: Connection, project: int) -> None:
    many = [
        note(project, f"Note {n} says that the shop sells {n} apples " * 20, key=str(n)) for n in range(1_000)
    ]
    began = time.monotonic()
    ids = store.save(conn, many)
    took = time.monotonic() - began
    print(f"1,000 observations in {took:.2f} s")
    assert len(set(ids)) == 1_000
    assert took < 20


class Fixed:
    """A stand-in for an embedder: only its name and its dimensions are asked for."""

    def __init__(self, name: str, dimensions: int) -> None:
        self.name, self.dimensions = name, dimensions

    def embed(self, texts: Any, *, query: bool = False) -> list[list[float]]:
        raise NotImplementedError


def events(*bodies: Any, prompt_id: str | None = "p1", session_id: str = "s") -> list[Event]:
    return [
        Event(
            agent="claude",
            session_id=session_id,
            occurred_at=AT + timedelta(seconds=n),
            body=body,
            cwd="/shop",
            prompt_id=prompt_id,
        )
        for n, body in enumerate(bodies)
    ]


def record(conn: Connection, *bodies: Any, **more: Any) -> None:
    ingest(conn, events(*bodies, **more), Settings())


def bash(number: int, command: str, output: str = "", *, success: bool = True) -> ToolCall:
    said = {"output": output} if success else {"error": output}
    return ToolCall(
        tool_use_id=f"t{number}",
        name="Bash",
        input={"command": command},
        success=success,
        **said,  # type: ignore[arg-type]
    )


def test_a_turn_of_the_journal_becomes_an_observation(conn: Connection) -> None:
    record(
        conn,
        Prompt(text="Make the tests of the shop pass again"),
        bash(1, "pytest -q", "E   ModuleNotFoundError: No module named 'yaml'", success=False),
        ToolCall(
            tool_use_id="t2",
            name="Edit",
            input={
                "file_path": "/shop/pyproject.toml",
                "old_string": "deps = []",
                "new_string": 'deps = ["pyyaml"]',
            },
            success=True,
            output="x" * 50_000,
        ),
        bash(3, "pytest -q", "14 passed in 0.1s"),
        AssistantMessage(text="PyYAML was missing from the dependencies.", uuid="u1"),
        TurnEnd(),
    )
    turn = store.load_turn(conn, "s", "p1")
    assert turn is not None
    observation = turns.build(turn)
    assert observation is not None
    assert observation.text == (
        "Make the tests of the shop pass again\n\n"
        "Done: 3 tool calls (Bash 2, Edit 1), 1 failed.\n"
        "Changed: pyproject.toml\n"
        'In pyproject.toml: `deps = []` → `deps = ["pyyaml"]`\n'
        "Ran: `pytest -q` → 14 passed in 0.1s\n"
        "Failed: `pytest -q`: E ModuleNotFoundError: No module named 'yaml'\n"
        "Fixed: edited pyproject.toml.\n\n"
        "PyYAML was missing from the dependencies."
    )
    assert observation.sources["prompts"] == ["p1"]
    assert len(observation.sources["tool_calls"]) == 3
    assert observation.occurred_at == AT


def test_a_text_typed_during_the_work_belongs_to_its_turn(conn: Connection) -> None:
    record(
        conn,
        Prompt(text="Repair the login of the shop"),
        Prompt(text="and the logout"),
        bash(1, "make deploy"),
    )
    turn = store.load_turn(conn, "s", "p1")
    assert turn is not None
    assert [prompt.text for prompt in turn.prompts] == ["Repair the login of the shop", "and the logout"]
    assert store.turns(conn) == [("s", "p1")]


def test_what_happened_before_the_first_prompt_is_a_turn_too(conn: Connection) -> None:
    record(conn, bash(1, "make deploy"), prompt_id=None)
    assert store.turns(conn) == [("s", "")]
    turn = store.load_turn(conn, "s", "")
    assert turn is not None
    assert [call.command for call in turn.calls] == ["make deploy"]


def test_prompts_with_wildcards_in_their_ids_are_not_mixed_up(conn: Connection) -> None:
    record(conn, Prompt(text="the one with the wildcard"), prompt_id="p%")
    record(conn, Prompt(text="another one altogether"), prompt_id="pa/1")
    turn = store.load_turn(conn, "s", "p%")
    assert turn is not None
    assert [prompt.id for prompt in turn.prompts] == ["p%"]


def test_a_turn_that_is_not_there_is_none(conn: Connection) -> None:
    assert store.load_turn(conn, "s", "p1") is None
    record(conn, Prompt(text="x"))
    assert store.load_turn(conn, "s", "other") is None


def test_a_turn_of_thousands_of_calls_is_read_in_part_and_counted_in_full(conn: Connection) -> None:
    calls = [
        ToolCall(
            tool_use_id=f"w{n}",
            name="Write",
            input={"file_path": f"/shop/f{n}.py", "content": "x" * 5_000},
            success=True,
        )
        for n in range(3_000)
    ]
    calls[1_500] = bash(0, "cargo build", "error[E0382]: borrow of moved value", success=False)
    record(
        conn,
        Prompt(text="Write very many files, please"),
        *calls,
        AssistantMessage(text="Written.", uuid="u"),
    )
    began = time.monotonic()
    turn = store.load_turn(conn, "s", "p1")
    took = time.monotonic() - began
    assert turn is not None
    print(f"a turn of 3,000 calls is loaded in {took * 1000:.0f} ms")
    assert len(turn.calls) <= 600
    observation = turns.build(turn)
    assert observation is not None
    assert "Done: 3000 tool calls (Write 2999, Bash 1), 1 failed, 50 min." in observation.text
    assert "E0382" in observation.text
    assert len(observation.text) <= turns.TEXT_CHARS
    assert took < 5
