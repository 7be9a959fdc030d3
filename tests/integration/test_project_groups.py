"""Projects merged and split: everything of theirs moves, later arrivals follow, and nothing leaks across."""

from __future__ import annotations

import itertools
import shutil
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.integration.test_projects import git, repository
from tests.integration.test_worker import CountingLetters

from agent_memory import regroup
from agent_memory.access import tokens
from agent_memory.database import Connection, server
from agent_memory.errors import AgentMemoryError
from agent_memory.forgetting import forget
from agent_memory.journal import projects
from agent_memory.journal.event import AssistantMessage, Body, Event, Prompt, ToolCall
from agent_memory.journal.ingest import ingest
from agent_memory.lessons import gate
from agent_memory.lessons.lesson import Draft
from agent_memory.lessons.trigger import Trigger
from agent_memory.observations import notes, turns, worker
from agent_memory.recall import search
from agent_memory.settings import Settings

AT = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
SHOP, API, OTHER = "/home/dev/shop", "/home/dev/api", "/home/dev/other"
WORDS = {SHOP: "heron", API: "kestrel", OTHER: "ptarmigan", f"{SHOP}/till": "curlew"}
"""What is said in each folder's session, and nowhere else."""


def told(folder: str) -> list[Event]:
    """The session of a folder, as its transcript tells it."""
    name, word = folder.replace("/", "-"), WORDS[folder]
    bodies: list[Body] = [
        Prompt(text=f"Why does the {word} fail in the nightly build? Please mend it."),
        ToolCall(
            tool_use_id=f"call{name}",
            name="Bash",
            input={"command": f"make {word}"},
            output="ok",
            success=True,
        ),
        AssistantMessage(text=f"The {word} had no water; now it has.", uuid=f"said{name}"),
    ]
    return [
        Event(
            agent="claude",
            session_id=f"session{name}",
            occurred_at=AT,
            body=body,
            cwd=folder,
            prompt_id=f"p{name}",
        )
        for body in bodies
    ]


def happen(conn: Connection, *folders: str) -> None:
    for folder in folders:
        ingest(conn, told(folder), Settings())
    conn.commit()
    remember(conn)


def remember(conn: Connection) -> None:
    while worker.run_once(conn, CountingLetters()):
        pass


def found(conn: Connection, project: str, *, embedder: Any = None) -> set[str]:
    """The words that recall finds in a project."""
    number = projects.resolve(conn, project)
    assert number is not None
    hits = {
        word: search.recall(conn, f"{word} nightly build", project_id=number, embedder=embedder, k=20).hits
        for word in WORDS.values()
    }
    conn.commit()
    return {word for word, answer in hits.items() if any(word in hit.text for hit in answer)}


def row_count(conn: Connection, table: str) -> int:
    row = conn.execute(f"select count(*) as n from {table}".encode()).fetchone()
    assert row is not None
    return int(row["n"])


def test_a_merged_projects_memory_is_the_others_and_nobody_elses(conn: Connection) -> None:
    happen(conn, SHOP, API, OTHER)
    vectors = row_count(conn, "mem_chunk_vectors")
    before = found(conn, SHOP)
    moved = regroup.merge(conn, API, SHOP)
    conn.commit()
    assert before == {"heron"}
    assert (moved.sessions, moved.prompts, moved.tool_calls, moved.assistant_messages) == (1, 1, 1, 1)
    assert (moved.observations, moved.vectors) == (1, moved.chunks)
    assert row_count(conn, "mem_chunk_vectors") == vectors
    assert row_count(conn, "mem_embedding_queue") == 0
    assert found(conn, SHOP) == found(conn, API) == {"heron", "kestrel"}
    assert found(conn, OTHER) == {"ptarmigan"}


def test_a_rehearsal_says_the_same_counts_and_changes_nothing(conn: Connection) -> None:
    happen(conn, SHOP, API)
    with conn.transaction(force_rollback=True):
        rehearsed = regroup.merge(conn, API, SHOP)
    assert (found(conn, SHOP), found(conn, API)) == ({"heron"}, {"kestrel"})
    assert regroup.merge(conn, API, SHOP) == rehearsed


def test_merging_again_changes_nothing(conn: Connection) -> None:
    happen(conn, SHOP, API)
    regroup.merge(conn, API, SHOP)
    assert regroup.merge(conn, API, SHOP).counts() == {}
    for one, two in ((SHOP, API), (SHOP, SHOP)):
        with pytest.raises(AgentMemoryError, match="one project already"):
            regroup.merge(conn, one, two)
    assert found(conn, SHOP) == {"heron", "kestrel"}


def test_what_comes_after_a_merge_follows(conn: Connection) -> None:
    happen(conn, SHOP)
    projects.ensure(conn, projects.identify(API))
    regroup.merge(conn, API, SHOP)
    happen(conn, API)
    assert found(conn, SHOP) == {"heron", "kestrel"}


def test_a_chain_of_merges_ends_in_one_project(conn: Connection) -> None:
    happen(conn, SHOP, API, OTHER)
    regroup.merge(conn, API, SHOP)
    regroup.merge(conn, SHOP, OTHER)
    conn.commit()
    for folder in (SHOP, API, OTHER):
        assert found(conn, folder) == {"heron", "kestrel", "ptarmigan"}


def test_a_merge_is_undone_by_a_split(conn: Connection) -> None:
    happen(conn, SHOP, API)
    regroup.merge(conn, API, SHOP)
    moved = regroup.split(conn, SHOP, remote=f"path:{API}")
    conn.commit()
    assert moved.sessions == 1
    assert (found(conn, SHOP), found(conn, API)) == ({"heron"}, {"kestrel"})
    assert regroup.split(conn, SHOP, remote=f"path:{API}").counts() == {}
    happen(conn, API)
    assert (found(conn, SHOP), found(conn, API)) == ({"heron"}, {"kestrel"})


def test_a_folder_is_split_off_with_what_is_below_it_and_what_comes_later(
    conn: Connection, tmp_path: Path
) -> None:
    shop = repository(tmp_path / "shop", "git@github.com:acme/shop.git")
    till = shop / "till"
    (till / "deep").mkdir(parents=True)
    (tmp_path / "link").symlink_to(till)
    for number, (folder, word) in enumerate({shop: "heron", till / "deep": "kestrel"}.items()):
        say(conn, f"s{number}", folder, word)
    assert found(conn, str(shop)) == {"heron", "kestrel"}
    moved = regroup.split(conn, str(shop), path=str(tmp_path / "link"))
    conn.commit()
    assert moved.sessions == 1
    say(conn, "later", till, "curlew")
    say(conn, "beside", shop / "tillage", "ptarmigan")
    assert found(conn, str(till)) == found(conn, str(till / "deep")) == {"kestrel", "curlew"}
    assert found(conn, str(shop)) == found(conn, "git@github.com:acme/shop.git") == {"heron", "ptarmigan"}
    deep = projects.identify(str(till / "deep"))
    assert projects.known(conn, deep) == projects.resolve(conn, str(till)) == projects.ensure(conn, deep)
    assert projects.known(conn, projects.identify(str(tmp_path / "nowhere"))) is None
    assert projects.groups(conn).of(str(till / "deep")) == f"path:{till.resolve()}"
    assert projects.groups(conn).of(str(shop)) == "git:github.com/acme/shop"


def say(conn: Connection, session: str, folder: Path, word: str) -> None:
    bodies: list[Body] = [
        Prompt(text=f"Why does the {word} fail in the nightly build? Please mend it."),
        AssistantMessage(text=f"The {word} had no water; now it has.", uuid=session),
    ]
    cwd = str(folder)
    events = [
        Event(agent="claude", session_id=session, occurred_at=AT, body=body, cwd=cwd, prompt_id=session)
        for body in bodies
    ]
    ingest(conn, events, Settings())
    conn.commit()
    remember(conn)


def test_in_whatever_order_it_is_said_and_read_the_same_sessions_are_together(conn: Connection) -> None:
    """Merging, splitting, reindexing and reading the transcripts again, in every order."""
    till = f"{SHOP}/till"

    def read() -> None:
        happen(conn, SHOP, API, till, OTHER)

    def read_anew() -> None:
        conn.execute("truncate mem_sessions cascade")
        read()

    def merge() -> None:
        for folder in (API, SHOP):
            projects.ensure(conn, projects.identify(folder))
        regroup.merge(conn, API, SHOP)

    def split() -> None:
        projects.ensure(conn, projects.identify(SHOP))
        regroup.split(conn, SHOP, path=till)

    def reindex() -> None:
        conn.commit()
        worker.reindex(conn, CountingLetters(), lambda *_: None)

    steps: list[Callable[[], None]] = [merge, split, reindex, read_anew]
    for order in itertools.permutations(steps):
        conn.execute("truncate mem_projects, mem_transcripts cascade")
        read()
        for step in order:
            step()
            conn.commit()
        names = [step.__name__ for step in order]
        assert found(conn, SHOP) == found(conn, API) == {"heron", "kestrel"}, names
        assert found(conn, till) == {"curlew"}, names
        assert found(conn, OTHER) == {"ptarmigan"}, names


def test_notes_and_lessons_move_and_the_same_note_is_one(conn: Connection) -> None:
    shop, birds = (projects.ensure(conn, projects.identify(folder)) for folder in (SHOP, API))
    for project, text in (
        (shop, "Herons fish at night."),
        (birds, "Herons fish at night."),
        (birds, "Kestrels hover."),
    ):
        notes.save(conn, [notes.note(text, Settings(), project_id=project)])
    for project, text in ((shop, "The old text."), (birds, "The later text.")):
        at = AT.replace(day=22 if project == shop else 23)
        notes.save(
            conn, [notes.note(text, Settings(), project_id=project, external_id="mine", occurred_at=at)]
        )
    rule = Draft(
        rule="Never feed the heron.",
        trigger=Trigger(phase="before", tools=("Bash",), pattern="feed", kind="literal"),
        project_id=birds,
        made_by="user",
    )
    gate.create(conn, rule, Settings())
    moved = regroup.merge(conn, API, SHOP)
    assert (moved.observations, moved.same, moved.lessons) == (2, 1, 1)
    kept = conn.execute("select text, external_id, project_id from mem_observations order by text").fetchall()
    assert [row["text"] for row in kept] == [
        "Herons fish at night.", "Kestrels hover.", "The later text.", "The old text.",
    ]  # fmt: skip
    assert {row["project_id"] for row in kept} == {shop}
    assert [row["text"] for row in kept if row["external_id"] == "mine"] == ["The later text."]


def test_a_token_of_a_merged_project_does_not_open_the_other(conn: Connection) -> None:
    shop, birds = (projects.ensure(conn, projects.identify(folder)) for folder in (SHOP, API))
    of_api = tokens.create(conn, "a", project_id=birds)
    of_shop = tokens.create(conn, "b", project_id=shop)
    assert regroup.merge(conn, API, SHOP).tokens_revoked == 1
    assert tokens.find(conn, of_api) is None
    assert tokens.find(conn, of_shop) is not None


@pytest.mark.parametrize("folder", ["/", "~", "/home", "/home/dev/../.."])
def test_a_folder_that_holds_everything_cannot_be_split_off(
    conn: Connection, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/dev")
    happen(conn, SHOP)
    with pytest.raises(AgentMemoryError, match="swallow"):
        regroup.split(conn, SHOP, path=folder)


def test_what_came_from_no_folder_cannot_be_merged_away(conn: Connection) -> None:
    happen(conn, SHOP)
    projects.ensure(conn, projects.UNKNOWN)
    with pytest.raises(AgentMemoryError, match="no known folder"):
        regroup.merge(conn, "unknown", SHOP)


@pytest.mark.parametrize("named", ["/nowhere", "12345", "99999999999999999999", "nobody"])
def test_an_unknown_project_is_neither_merged_nor_split(conn: Connection, named: str) -> None:
    happen(conn, SHOP)
    attempts: list[Callable[[], object]] = [
        lambda: regroup.merge(conn, named, SHOP),
        lambda: regroup.merge(conn, SHOP, named),
        lambda: regroup.split(conn, named, path="/home/dev/shop/till"),
        lambda: regroup.split(conn, SHOP, remote=named),
    ]
    for attempt in attempts:
        with pytest.raises(AgentMemoryError, match="is known here"):
            attempt()


def test_a_project_that_was_never_part_of_it_cannot_be_split_off(conn: Connection) -> None:
    happen(conn, SHOP, API, OTHER)
    regroup.merge(conn, API, SHOP)
    with pytest.raises(AgentMemoryError, match="merged into this project"):
        regroup.split(conn, OTHER, remote=f"path:{API}")


def test_a_session_that_arrives_during_a_merge_is_moved_with_it(conn: Connection, database_url: str) -> None:
    happen(conn, SHOP)
    projects.ensure(conn, projects.identify(API))
    conn.commit()
    regroup.merge(conn, API, SHOP)  # and not committed yet

    def arrive() -> None:
        with server.connect(database_url) as late:
            ingest(late, told(API), Settings())

    arriving = threading.Thread(target=arrive)
    arriving.start()
    arriving.join(0.5)
    assert arriving.is_alive(), "it must wait for the merge"
    conn.commit()
    arriving.join(30)
    remember(conn)
    assert found(conn, SHOP) == {"heron", "kestrel"}


def test_a_turn_that_is_built_during_a_merge_ends_in_the_other_project(
    conn: Connection, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    happen(conn, SHOP)
    ingest(conn, told(API), Settings())
    conn.commit()
    build = turns.build

    def build_while_merging(turn: Any) -> Any:
        monkeypatch.undo()
        with server.connect(database_url) as other:
            regroup.merge(other, API, SHOP)
        return build(turn)

    monkeypatch.setattr(turns, "build", build_while_merging)
    remember(conn)
    assert found(conn, SHOP) == {"heron", "kestrel"}
    assert row_count(conn, "(select distinct project_id from mem_observations) p") == 1


def test_what_was_forgotten_in_a_project_stays_away_after_a_merge(conn: Connection) -> None:
    happen(conn, SHOP, API)
    api_id = projects.resolve(conn, API)
    forget.forget(conn, forget.Wanted(text="kestrel", project_id=api_id), by="cli")
    conn.commit()
    regroup.merge(conn, API, SHOP)
    conn.execute("truncate mem_sessions cascade")
    happen(conn, SHOP, API)
    assert found(conn, SHOP) == {"heron"}


def test_a_forgotten_project_takes_what_was_merged_into_it_with_it(conn: Connection) -> None:
    happen(conn, SHOP, API, OTHER)
    regroup.merge(conn, API, SHOP)
    wanted = forget.Wanted(project_id=projects.resolve(conn, SHOP))
    forget.forget(conn, wanted, by="cli")
    conn.commit()
    happen(conn, SHOP, API)
    assert row_count(conn, "mem_sessions") == 1
    assert found(conn, OTHER) == {"ptarmigan"}


def test_every_table_that_names_a_project_is_known_to_regrouping(conn: Connection) -> None:
    """Where this fails, a new table holds something of a project: teach `regroup` to move it, then add it here."""
    rows = conn.execute(
        "select table_name from information_schema.columns where column_name = 'project_id'"
        " and table_schema = 'public' order by table_name"
    )
    assert {row["table_name"] for row in rows} == {
        "mem_sessions", "mem_tool_calls", "mem_observations", "mem_observation_chunks", "mem_chunk_vectors",
        "mem_lessons", "mem_lesson_events", "mem_api_tokens", "mem_project_folders",
        "mem_word_segments", "mem_word_queue", "mem_word_gone",  # follow the chunks, which are new ones
        "mem_tombstone_keys",
        "mem_retention",  # how long the other project's rows are kept is that project's
        "mem_audit_log",  # tells what was done to the project that it was then
    }  # fmt: skip


def test_a_repository_without_a_remote_that_is_moved_is_one_project(conn: Connection, tmp_path: Path) -> None:
    old = repository(tmp_path / "old")
    say(conn, "before", old, "heron")
    (tmp_path / "elsewhere").mkdir()
    for number, to in enumerate((tmp_path / "new", tmp_path / "elsewhere" / "newer")):
        old = old.rename(to)
        say(conn, f"after{number}", to, "kestrel")
        assert found(conn, str(to)) == {"heron", "kestrel"}
    assert row_count(conn, "(select distinct project_id from mem_sessions) p") == 1


def test_a_copy_of_a_repository_and_a_new_one_in_its_place_are_two(conn: Connection, tmp_path: Path) -> None:
    old = repository(tmp_path / "old")
    say(conn, "first", old, "heron")
    git(tmp_path, "clone", str(old), str(tmp_path / "clone"))
    git(tmp_path / "clone", "remote", "remove", "origin")
    copy = tmp_path / "copy"
    shutil.copytree(old, copy)
    say(conn, "second", copy, "kestrel")
    say(conn, "third", tmp_path / "clone", "curlew")
    assert found(conn, str(copy)) == {"kestrel"}
    assert found(conn, str(tmp_path / "clone")) == {"curlew"}
    shutil.rmtree(old)
    repository(tmp_path / "else")
    say(conn, "fourth", tmp_path / "else", "ptarmigan")
    assert found(conn, str(tmp_path / "else")) == {"ptarmigan"}


def test_merging_and_splitting_over_rest(conn: Connection, api: Any) -> None:
    happen(conn, SHOP, API)
    asked = {"from": API, "into": SHOP, "dry_run": True}
    assert api.post("/api/admin/projects/merge", json=asked).json()["sessions"] == 1
    assert found(conn, SHOP) == {"heron"}
    assert api.post("/api/admin/projects/merge", json={**asked, "dry_run": False}).json()["sessions"] == 1
    assert found(conn, SHOP) == {"heron", "kestrel"}
    shown = api.get(f"/api/admin/projects/{projects.resolve(conn, SHOP)}").json()
    conn.commit()
    assert shown["merged"] == [f"path:{API}"]
    assert api.post("/api/admin/projects/split", json={"project": SHOP}).status_code == 422
    asked = {"project": SHOP, "path": API}
    assert api.post("/api/admin/projects/split", json=asked).json()["sessions"] == 1
    assert (found(conn, SHOP), found(conn, API)) == ({"heron"}, {"kestrel"})
