"""A change of mind: what holds now is given, what held before is marked, and nothing supersedes itself."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from agent_memory.database import Connection
from agent_memory.errors import AgentMemoryError
from agent_memory.journal import projects
from agent_memory.journal.projects import Identity
from agent_memory.observations import notes, store
from agent_memory.recall import render, search
from agent_memory.recall.answer import Answer
from agent_memory.settings import Settings

DAY = timedelta(days=1)
START = datetime(2026, 3, 1, 9, tzinfo=UTC)
POSTMARK = "Order confirmations go out through Postmark."
SES = "Order confirmations go out through Amazon SES."
OWN = "Order confirmations go out through a server of our own."
QUESTION = "order confirmations"


@pytest.fixture
def project(conn: Connection) -> int:
    return projects.ensure(conn, Identity("path:/shop", "shop", "/shop"))


def save(conn: Connection, project: int, text: str, day: int = 0, **more: Any) -> int:
    note = notes.note(text, Settings(), project_id=project, occurred_at=START + day * DAY, **more)
    return notes.save(conn, [note])[0]


def retract(conn: Connection, number: int, day: int | None = None, because: str | None = None) -> None:
    at = None if day is None else START + day * DAY
    notes.retract(conn, number, at=at, because=because, settings=Settings())


def ask(conn: Connection, project: int, day: int | None = None) -> Answer:
    until = None if day is None else START + day * DAY
    return search.recall(conn, QUESTION, project_id=project, until=until)


def given(answer: Answer) -> list[str]:
    return [hit.text for hit in answer.hits]


def test_what_was_retracted_is_not_recalled_and_recall_says_so(conn: Connection, project: int) -> None:
    number = save(conn, project, POSTMARK)
    assert given(ask(conn, project)) == [POSTMARK]
    retract(conn, number, because="the shop was sold")
    answer = ask(conn, project)
    assert (answer.hits, answer.abstained) == ((), True)
    assert f"no longer holds (#{number})" in (answer.notice or "")
    notes.hold_again(conn, number)
    assert given(ask(conn, project)) == [POSTMARK]


def test_what_was_retracted_stays_in_search_timeline_and_get_with_its_mark(
    conn: Connection, project: int
) -> None:
    number = save(conn, project, POSTMARK)
    retract(conn, number, day=5, because="the shop was sold")
    mark = "held until 2026-03-06 09:00"
    assert mark in render.index(search.search(conn, QUESTION, project_id=project))
    assert mark in render.timeline(search.timeline(conn, project_id=project))
    assert f"{mark}: the shop was sold" in render.full(search.get(conn, project_id=project, ids=[number]))


def test_a_question_about_a_past_date_gets_what_held_then_with_a_mark(conn: Connection, project: int) -> None:
    first = save(conn, project, POSTMARK, day=0)
    second = save(conn, project, SES, day=10, supersedes=first)
    save(conn, project, OWN, day=20, supersedes=second)
    assert given(ask(conn, project)) == [OWN]
    assert given(ask(conn, project, day=5)) == [POSTMARK]
    assert given(ask(conn, project, day=15)) == [SES]
    shown = render.answer(ask(conn, project, day=5))
    assert f"held until 2026-03-11 09:00: superseded by #{second}" in shown
    retract(conn, first, day=3)
    assert given(ask(conn, project, day=5)) == []
    assert given(ask(conn, project, day=2)) == [POSTMARK]


def test_both_branches_of_what_was_superseded_twice_hold(conn: Connection, project: int) -> None:
    first = save(conn, project, POSTMARK)
    left = save(conn, project, SES, day=1, supersedes=first)
    save(conn, project, OWN, day=2, supersedes=first)
    assert set(given(ask(conn, project))) == {SES, OWN}
    retract(conn, left)
    assert given(ask(conn, project)) == [OWN]


def test_retracting_the_later_one_does_not_bring_back_the_earlier(conn: Connection, project: int) -> None:
    first = save(conn, project, POSTMARK)
    second = save(conn, project, SES, day=1, supersedes=first)
    retract(conn, second)
    assert given(ask(conn, project)) == []


def test_a_validity_in_the_future_and_one_that_ended(conn: Connection, project: int) -> None:
    first = save(conn, project, POSTMARK)
    save(conn, project, SES, day=1, supersedes=first, valid_from=datetime.now(UTC) + DAY)
    save(conn, project, OWN, day=2, valid_until=START + 3 * DAY)
    assert given(ask(conn, project)) == [POSTMARK]


def test_a_circle_is_refused(conn: Connection, project: int) -> None:
    first = save(conn, project, POSTMARK, external_id="a")
    save(conn, project, SES, external_id="b", supersedes=first)
    save(conn, project, OWN, external_id="c", supersedes="b")
    for earlier in (first, "b", "c"):
        with pytest.raises(AgentMemoryError, match="supersedes"), conn.transaction():
            save(conn, project, POSTMARK, external_id="a", supersedes=earlier)
    assert given(ask(conn, project)) == [OWN]


def test_notes_of_one_import_supersede_each_other_by_external_id_and_again(
    conn: Connection, project: int
) -> None:
    def batch() -> Sequence[int]:
        texts = {"b": (SES, "a"), "a": (POSTMARK, None), "c": (OWN, "b")}
        return notes.save(
            conn,
            [
                notes.note(
                    text,
                    Settings(),
                    project_id=project,
                    external_id=key,
                    supersedes=earlier,
                    occurred_at=START,
                )
                for key, (text, earlier) in texts.items()
            ],
        )

    first = batch()
    assert given(ask(conn, project)) == [OWN]
    retract(conn, first[2])
    assert batch() == first
    assert given(ask(conn, project)) == [], "an import brings nothing back that was retracted"
    save(conn, project, SES, external_id="b")
    assert store.earlier_of(conn, first[0]) == [first[1]], "an import without it does not undo it"


def test_to_change_ones_mind_back_and_forth_is_possible(conn: Connection, project: int) -> None:
    first = save(conn, project, POSTMARK, day=0)
    second = save(conn, project, SES, day=1, supersedes=first)
    third = save(conn, project, POSTMARK, day=2, supersedes=second)
    assert third != first
    assert save(conn, project, POSTMARK, day=3) == third
    assert [hit.id for hit in ask(conn, project).hits] == [third]
    retract(conn, third, day=4)
    fourth = save(conn, project, POSTMARK, day=5)
    assert [hit.id for hit in ask(conn, project).hits] == [fourth]
    assert save(conn, project, POSTMARK, day=0) == first, "the text from before is the note that was there"
    assert [hit.id for hit in ask(conn, project).hits] == [fourth]


def test_what_does_not_exist_cannot_be_retracted(conn: Connection, project: int) -> None:
    for number in (99, 0, -1, 2**70):
        with pytest.raises(AgentMemoryError, match=f"no observation {number}"):
            retract(conn, number)


def test_a_reason_holds_no_secret(conn: Connection, project: int) -> None:
    number = save(conn, project, POSTMARK)
    secret = "ghp_" + "a1B2" * 9
    retract(conn, number, because=f"it leaked: token={secret}")
    (row,) = store.get(conn, [number])
    assert "leaked" in row["retracted_because"]
    assert secret not in row["retracted_because"]
