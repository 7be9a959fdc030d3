"""Recall against a real Postgres: what is found, what is not, and what it costs."""

from __future__ import annotations

import functools
import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from agent_memory import settings
from agent_memory.database import Connection
from agent_memory.errors import AgentMemoryError
from agent_memory.journal import projects
from agent_memory.journal.event import Event, SessionStart
from agent_memory.journal.ingest import ingest
from agent_memory.journal.projects import Identity
from agent_memory.observations import embed, store, worker
from agent_memory.observations.embed import Embedder, LocalModel
from agent_memory.observations.observation import Observation, Section
from agent_memory.recall import render, search
from agent_memory.recall import store as recall_store
from agent_memory.recall.answer import Answer

START = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)

MONEY = "Every amount is an integer number of cents in a column named *_cents, with its currency beside it."
QUEUE = "Two workers took the same job. Replaced the advisory lock with FOR UPDATE SKIP LOCKED in queue.py."
MAIL = "Order confirmations go out through Postmark, called by the worker and never by a request."
SEARCH = "Typing errors in the shop's search are met by a trigram index on products.name."
UPLOAD = "nginx answered 413 Request Entity Too Large: client_max_body_size is 20m now."
HOUSE = (MONEY, QUEUE, MAIL, SEARCH, UPLOAD)


@pytest.fixture(scope="module")
def model() -> Embedder:
    return LocalModel()


@pytest.fixture
def project(conn: Connection) -> int:
    return projects.ensure(conn, Identity("path:/shop", "shop", "/shop"))


@pytest.fixture
def house(conn: Connection, project: int, model: Embedder) -> dict[str, int]:
    """A project with five memories, one a day, all embedded: their ids by text."""
    ids = dict(zip(HOUSE, save(conn, project, *HOUSE), strict=True))
    embed_all(conn, model)
    return ids


def save(
    conn: Connection, project: int, *texts: str, kind: str = "note", supersedes: int | None = None
) -> list[int]:
    known = conn.execute("select count(*) as n from mem_observations").fetchone()
    assert known is not None
    return store.save(
        conn,
        [
            Observation(
                project_id=project,
                kind=kind,
                title=text[:40],
                text=text,
                occurred_at=START + timedelta(days=known["n"] + number),
                external_id=f"note/{known['n'] + number}",
                supersedes=supersedes,
            )
            for number, text in enumerate(texts)
        ],
    )


def embed_all(conn: Connection, model: Embedder) -> None:
    while worker.embed_pending(conn, model):
        pass


class Broken:
    """An embedder whose endpoint is down."""

    name = "broken"
    dimensions = 3

    def embed(self, texts: Sequence[str], *, query: bool = False) -> list[list[float]]:
        del texts, query
        raise AgentMemoryError("The embedding endpoint does not answer.", "Start it.")


class Changed(Broken):
    """An embedder under a known name whose vectors have another length."""

    name = embed.LOCAL_NAME

    def embed(self, texts: Sequence[str], *, query: bool = False) -> list[list[float]]:
        del query
        return [[0.0, 0.0, 1.0] for _ in texts]


def test_a_question_in_other_words_finds_its_answer(
    conn: Connection, project: int, house: dict[str, int], model: Embedder
) -> None:
    answer = search.recall(
        conn, "in which type do we store prices and their currency?", project_id=project, embedder=model
    )
    assert answer.hits[0].id == house[MONEY]
    assert answer.hits[0].text == MONEY
    assert answer.legs == ["text", "vector"]
    assert answer.notice is None
    assert not answer.abstained


def test_every_hit_says_where_it_comes_from_and_why_it_is_there(
    conn: Connection, project: int, model: Embedder
) -> None:
    (number,) = store.save(
        conn,
        [
            Observation(
                project_id=project,
                kind="turn",
                title="Upload fails",
                text=UPLOAD,
                occurred_at=START,
                external_id="turn/s/p",
                sources={"prompts": ["p"], "tool_calls": [7, 8]},
            )
        ],
    )
    embed_all(conn, model)
    (hit,) = search.recall(conn, "413 Request Entity Too Large", project_id=project, embedder=model).hits
    assert (hit.id, hit.kind, hit.title, hit.external_id) == (number, "turn", "Upload fails", "turn/s/p")
    assert hit.sources == {"prompts": ["p"], "tool_calls": [7, 8]}
    assert hit.occurred_at == START
    assert hit.legs["text"]["rank"] == 1
    assert {"413", "request", "entiti", "larg"} <= set(hit.legs["text"]["words"])
    assert hit.legs["vector"]["rank"] == 1
    assert 0.4 < hit.legs["vector"]["score"] <= 1


def test_a_file_name_is_found_by_its_parts(conn: Connection, project: int) -> None:
    save(conn, project, "Moved getUserName into src/shop/user_names.py.", MAIL)
    for query in ("get user name", "getUserName", "user_names", "src/shop/user_names.py"):
        hits = search.recall(conn, query, project_id=project).hits
        assert [hit.text[:5] for hit in hits] == ["Moved"], query


def test_one_word_of_many_is_enough(conn: Connection, project: int, house: dict[str, int]) -> None:
    """AND would find nothing: no memory holds all of the words."""
    answer = search.recall(conn, "Which products does the trigram thing find?", project_id=project)
    assert [hit.id for hit in answer.hits] == [house[SEARCH]]


def test_a_rare_word_counts_more_than_a_common_one(conn: Connection, project: int) -> None:
    common = [f"The deploy of release {number} went well." for number in range(20)]
    rare = save(conn, project, *common, "The cache uses zstandard.")[-1]
    hits = search.recall(conn, "zstandard in the deploy of the release", project_id=project).hits
    assert hits[0].id == rare


def test_another_projects_memory_is_never_found(
    conn: Connection, project: int, house: dict[str, int], model: Embedder
) -> None:
    other = projects.ensure(conn, Identity("path:/other", "other", "/other"))
    (theirs,) = save(conn, other, f"Theirs. {MONEY}")
    embed_all(conn, model)
    for asked, owner in ((project, house[MONEY]), (other, theirs)):
        answer = search.recall(conn, "amounts in cents", project_id=asked, embedder=model, k=50)
        assert owner in {hit.id for hit in answer.hits}
        index = search.search(conn, "amounts in cents", project_id=asked, embedder=model)
        strangers = {theirs} if asked == project else set(house.values())
        assert not strangers & {hit.id for hit in answer.hits}
        assert not strangers & {entry.id for entry in index.entries}
        assert not strangers & {entry.id for entry in search.timeline(conn, project_id=asked, before=50)}
    assert search.get(conn, project_id=other, ids=list(house.values())) == []
    assert search.timeline(conn, project_id=other, around=house[MONEY]) == []


def test_nothing_relevant_gives_nothing(
    conn: Connection, project: int, house: dict[str, int], model: Embedder
) -> None:
    for query in ("Which Kafka topic receives the invoices?", "Who designed the logo?"):
        answer = search.recall(conn, query, project_id=project, embedder=model)
        assert answer.abstained, query
        assert not answer.hits
        assert search.search(conn, query, project_id=project, embedder=model).abstained


def test_an_empty_project_answers_nothing(conn: Connection, project: int, model: Embedder) -> None:
    assert search.recall(conn, "anything at all", project_id=project, embedder=model).abstained
    assert search.timeline(conn, project_id=project) == []


def test_without_an_embedder_the_words_answer_and_say_so(
    conn: Connection, project: int, house: dict[str, int]
) -> None:
    for embedder in (None, Broken()):
        answer = search.recall(conn, "skip locked", project_id=project, embedder=embedder)
        assert [hit.id for hit in answer.hits] == [house[QUEUE]]
        assert answer.legs == ["text"]
        assert answer.notice is not None
        assert answer.notice.startswith("Searched by words alone")
        assert answer.notice in render.answer(answer)


def test_before_anything_is_embedded_the_words_answer(
    conn: Connection, project: int, model: Embedder
) -> None:
    (number,) = save(conn, project, QUEUE)
    answer = search.recall(conn, "skip locked", project_id=project, embedder=model)
    assert [hit.id for hit in answer.hits] == [number]
    assert answer.notice == "Searched by words alone: nothing has been embedded yet."


def test_what_was_saved_a_moment_ago_is_found_among_embedded_memories(
    conn: Connection, project: int, house: dict[str, int], model: Embedder
) -> None:
    (fresh,) = save(conn, project, "The staging database is restored every Sunday.")
    answer = search.recall(conn, "when is staging restored", project_id=project, embedder=model)
    assert answer.hits[0].id == fresh


def test_a_slow_embedder_does_not_hold_recall_up(
    conn: Connection, project: int, house: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    released = threading.Event()

    class Slow(Changed):
        def embed(self, texts: Sequence[str], *, query: bool = False) -> list[list[float]]:
            released.wait(60)
            return super().embed(texts, query=query)

    monkeypatch.setattr(search, "EMBEDDING_SECONDS", 0.05)
    answer = search.recall(conn, "skip locked", project_id=project, embedder=Slow())
    released.set()
    assert [hit.id for hit in answer.hits] == [house[QUEUE]]
    assert "did not answer within" in (answer.notice or "")


def test_a_model_that_changed_its_dimension_is_not_compared(
    conn: Connection, project: int, house: dict[str, int]
) -> None:
    answer = search.recall(conn, "skip locked", project_id=project, embedder=Changed())
    assert [hit.id for hit in answer.hits] == [house[QUEUE]]
    assert "3 dimensions" in (answer.notice or "")


def test_what_was_superseded_is_not_shown_and_its_successor_takes_its_place(
    conn: Connection, project: int, house: dict[str, int], model: Embedder
) -> None:
    (second,) = save(conn, project, "We left for Amazon SES.", supersedes=house[MAIL])
    (third,) = save(conn, project, "Back to a server of our own, since April.", supersedes=second)
    embed_all(conn, model)
    answer = search.recall(
        conn, "Do order confirmations go out through Postmark?", project_id=project, embedder=model
    )
    assert house[MAIL] not in {hit.id for hit in answer.hits}
    assert second not in {hit.id for hit in answer.hits}
    assert answer.hits[0].id == third
    assert answer.hits[0].instead_of == house[MAIL]
    assert answer.hits[0].text == "Back to a server of our own, since April."
    old = search.get(conn, project_id=project, ids=[house[MAIL]])[0]
    assert old.superseded_by == second


def test_two_memories_that_supersede_each_other_do_no_harm(conn: Connection, project: int) -> None:
    first, second = save(conn, project, MAIL, QUEUE)
    conn.execute("update mem_observations set supersedes = %s where id = %s", (second, first))
    conn.execute("update mem_observations set supersedes = %s where id = %s", (first, second))
    assert search.recall(conn, "Postmark worker", project_id=project).hits


QUERIES = [
    "",
    "   \n\t",
    "the of and is",
    "?!… — (){}[]",
    "\0",
    "null\0byte",
    "🙂🔥",
    "\ud800 lone surrogate",
    "it's \"quoted\" 'twice' \\ and $1 %s %(x)s {0} ; drop table mem_projects; --",
    "a & b | !c <-> d:*",
    "project/1",
    "x" * 10_000,
    "error " * 2_000,
    " ".join(f"word{number}" for number in range(2_000)),
    "数据库 連線 データベース 데이터베이스",
    "قاعدة البيانات",
]


def test_any_text_is_a_query(conn: Connection, project: int, house: dict[str, int], model: Embedder) -> None:
    for query in QUERIES:
        for embedder in (None, model):
            answer = search.recall(conn, query, project_id=project, embedder=embedder)
            assert answer.abstained == (not answer.hits), query
            render.answer(answer)
            search.search(conn, query, project_id=project, embedder=embedder)
    assert conn.execute("select count(*) as n from mem_projects").fetchone() == {"n": 1}


def test_chinese_and_japanese_find_their_words(conn: Connection, project: int) -> None:
    chinese, japanese = save(conn, project, "数据库连接池已经用完了。", "検索結果が空になるバグを直した。")
    assert [h.id for h in search.recall(conn, "连接池", project_id=project).hits] == [chinese]
    assert [h.id for h in search.recall(conn, "検索のバグ", project_id=project).hits] == [japanese]


def test_filters_leave_out_other_times_and_kinds(conn: Connection, project: int, model: Embedder) -> None:
    march, april, may = save(conn, project, "Deploy failed.", "Deploy failed again.", "Deploy failed now.")
    (turn,) = save(conn, project, "Deploy failed in a turn.", kind="turn")
    embed_all(conn, model)
    day = timedelta(days=1)
    for embedder in (None, model):
        ask = functools.partial(search.recall, conn, "deploy failed", project_id=project, embedder=embedder)

        def ids(answer: Answer) -> set[int]:
            return {hit.id for hit in answer.hits}

        assert ids(ask()) == {march, april, may, turn}
        assert ids(ask(since=START + day)) == {april, may, turn}
        assert ids(ask(until=START + day)) == {march}
        some = ask(since=START + day, until=START + 3 * day, kinds=["note", "turn"])
        assert ids(some) == {april, may}
        assert ids(ask(kinds=["turn"])) == {turn}
        assert ids(ask(kinds=[])) == set()


def test_an_answer_stays_within_its_budget(conn: Connection, project: int, model: Embedder) -> None:
    long = "\n".join(
        f"Step {number} of the migration moved table {number} to the cluster." for number in range(150)
    )
    save(conn, project, *(f"Migration number {number}.\n{long}" for number in range(6)))
    embed_all(conn, model)
    shown = []
    for chars in (300, 700, 1_500, 6_000, 50_000):
        answer = search.recall(
            conn,
            "migration of table 77 to the cluster",
            project_id=project,
            embedder=model,
            budget_chars=chars,
        )
        assert len(render.answer(answer)) <= chars
        assert answer.hits
        for hit in answer.hits:
            assert "Step 77 " in hit.text or hit.text.endswith("…")
            assert len(hit.text) > 80
        shown.append(len(answer.hits))
    assert shown == sorted(shown)
    assert shown[0] == 1
    assert shown[-1] == 5
    assert all("…" not in hit.text for hit in answer.hits)


def test_a_hit_that_was_found_by_its_title_shows_its_beginning(conn: Connection, project: int) -> None:
    done = "\n".join(f"Looked into file number {number}." for number in range(200))
    asked = "Why does the zookeeper not elect a leader?"
    sections = [Section(asked, "user"), Section(done, "assistant")]
    store.save(
        conn,
        [
            Observation(
                project_id=project,
                kind="turn",
                title=asked,
                text=f"{asked}\n\n{done}",
                occurred_at=START,
                sections=sections,
            )
        ],
    )
    (hit,) = search.recall(conn, "zookeeper leader", project_id=project, budget_chars=700).hits
    assert hit.text.startswith(f"{asked}\n\nLooked into file number 0.")
    assert hit.text.endswith("…")


def test_k_is_a_limit(conn: Connection, project: int) -> None:
    save(conn, project, *(f"Deploy number {number} failed." for number in range(8)))
    for k in (1, 3, 8):
        assert len(search.recall(conn, "deploy failed", project_id=project, k=k).hits) == k


def test_the_same_question_gets_the_same_answer(conn: Connection, project: int, model: Embedder) -> None:
    save(conn, project, *["Deploy failed."] * 12)
    embed_all(conn, model)
    answers = [
        search.recall(conn, "deploy failed", project_id=project, embedder=model, k=12) for _ in range(3)
    ]
    assert answers[0] == answers[1] == answers[2]
    by_words = search.recall(conn, "deploy failed", project_id=project, k=12)
    times = [hit.occurred_at for hit in by_words.hits]
    assert len(times) == 12
    assert times == sorted(times, reverse=True), "of equal ones the newest first"


def test_search_gives_an_index_of_short_lines(conn: Connection, project: int, model: Embedder) -> None:
    long = "word and more words " * 60 + "here the needle lies " + "more and more " * 60
    (number,) = save(conn, project, f"A very long title {'that goes on ' * 20}\n{long}")
    embed_all(conn, model)
    index = search.search(conn, "needle", project_id=project)
    assert [entry.id for entry in index.entries] == [number]
    assert "needle" in index.entries[0].snippet
    line = render.line(index.entries[0])
    assert "\n" not in line
    assert len(model._tokenizer.encode(line).ids) <= 80  # type: ignore[attr-defined]


def test_a_timeline_is_in_order_and_around_what_was_asked_for(
    conn: Connection, project: int, house: dict[str, int]
) -> None:
    ids = list(house.values())

    def told(**where: object) -> list[int]:
        return [entry.id for entry in search.timeline(conn, project_id=project, **where)]  # type: ignore[arg-type]

    assert told() == ids
    assert told(before=2) == ids[-2:]
    assert told(around=ids[2], before=1, after=1) == ids[1:4]
    assert told(around=ids[2], before=0, after=0) == [ids[2]]
    assert told(around=START + timedelta(days=2), before=1, after=1) == ids[1:3]
    assert told(around=0) == []
    assert told(kinds=["turn"]) == []


def test_get_gives_whole_observations_in_order_of_time(
    conn: Connection, project: int, house: dict[str, int]
) -> None:
    found = search.get(conn, project_id=project, ids=[house[UPLOAD], house[MONEY], 999_999, -1, 2**70])
    assert [one.id for one in found] == [house[MONEY], house[UPLOAD]]
    assert found[0].text == MONEY


def test_the_large_index_is_used_as_it_was_made(
    conn: Connection, project: int, house: dict[str, int], model: Embedder
) -> None:
    """The vector leg's expression must be the index's: otherwise a large project would be read whole."""
    known = recall_store.model(conn, model.name)
    assert known is not None
    vector = model.embed(["skip locked"])[0]
    conn.execute("drop index mem_chunk_vectors_project")
    for setting in ("enable_seqscan", "enable_sort", "enable_bitmapscan"):
        conn.execute(f"set local {setting} = off")
    before = index_scans(conn)
    rows = recall_store.vector_leg(conn, vector, known, project_id=project, limit=3)
    assert rows[0]["observation_id"] == house[QUEUE]
    assert len(rows) == 3
    assert index_scans(conn) > before


def index_scans(conn: Connection) -> int:
    conn.execute("select pg_stat_force_next_flush()")
    row = conn.execute(
        "select sum(coalesce(pg_stat_get_xact_numscans(indexrelid), 0))::int as n from pg_index"
        " where indexrelid::regclass::text like 'mem_chunk_vectors_hnsw%'"
    ).fetchone()
    assert row is not None
    return int(row["n"])


def test_what_stands_next_to_hits_in_a_session_comes_before_the_same_elsewhere(
    conn: Connection, project: int
) -> None:
    begun = [
        Event(agent="claude", session_id=name, occurred_at=START, body=SessionStart())
        for name in ("harbour", "album")
    ]
    ingest(conn, begun, settings.load())
    said = [
        ("harbour", "Where do we keep the tide tables?"),
        ("harbour", "In a bucket, together with the charts."),
        ("album", "Where do we keep the photos?"),
        ("album", "In a bucket, together with the covers."),
    ]
    tables, charts, _, covers = store.save(
        conn,
        [
            Observation(
                project_id=project,
                kind="note",
                title="",
                text=text,
                occurred_at=START + timedelta(minutes=number),
                external_id=f"said/{number}",
                session_id=session,
            )
            for number, (session, text) in enumerate(said)
        ],
    )
    found = [
        hit.id for hit in search.recall(conn, "which bucket has the tide tables", project_id=project).hits
    ]
    assert found == [tables, charts, covers]


def test_what_nothing_speaks_for_is_not_shown_beside_what_answers(
    conn: Connection, project: int, model: Embedder
) -> None:
    """In a small project everything is among the nearest."""
    answer, also, _ = save(
        conn, project, MONEY, "Prices are kept in euro cents, never as floating point numbers.", MAIL
    )
    embed_all(conn, model)
    for asked in ("How is an amount of money stored?", "monetary values"):
        hits = search.recall(conn, asked, project_id=project, embedder=model, k=12).hits
        assert [hit.id for hit in hits] == [answer, also], asked
        assert all(float(f"{hit.score:.2f}") > 0 for hit in hits)
        listed = search.search(conn, asked, project_id=project, embedder=model).entries
        assert [entry.id for entry in listed] == [answer, also]


def test_the_words_of_a_query_count_for_more_where_they_stand_together(
    conn: Connection, project: int
) -> None:
    together, apart = save(
        conn,
        project,
        "Somebody complained in the forum last week that the rate limit of uploads is too low, 20 a minute only.",
        "The limit of uploads is 20 MB; an exchange rate is wrong.",
    )
    hits = search.recall(conn, "rate limit", project_id=project).hits
    assert [hit.id for hit in hits] == [together, apart]
