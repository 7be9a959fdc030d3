"""The text of a session's start."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from agent_memory.journal import fence
from agent_memory.recall.opening import Lesson, Recorded, opening, says_something

AT = datetime(2026, 11, 20, 9, 30, tzinfo=UTC)


def turn(
    session: str, asked: str, said: str | None = "It works now, and the tests pass.", **more: Any
) -> dict[str, Any]:
    """A turn that ended well, as the store gives it."""
    at = more.pop("at", AT)
    row = {
        "session_id": session,
        "prompt_id": f"{session}/{asked[:10]}",
        "text": asked,
        "occurred_at": at,
        "ended_at": at + timedelta(minutes=1),
        "end_error": None,
        "calls": 1,
        "last_call_at": at,
        "said": said,
        "said_at": None if said is None else at + timedelta(seconds=50),
        "observation_id": None,
        "observation": None,
        "holds": True,
    }
    return row | more


def recorded(*turns: dict[str, Any], **more: Any) -> Recorded:
    """The latest session first, each with its turns."""
    ids = list(dict.fromkeys(row["session_id"] for row in turns))
    sessions = []
    for number, session in enumerate(ids):
        times = [row["occurred_at"] - timedelta(days=number) for row in turns if row["session_id"] == session]
        sessions.append({"id": session, "git_branch": "main", "began_at": min(times), "last_at": max(times)})
    last = [
        {
            "session_id": session,
            "said": [r for r in turns if r["session_id"] == session][-1]["said"],
            "todo": None,
        }
        for session in ids
    ]
    return Recorded(sessions=sessions, turns=turns, last_words=last, **more)


def test_nothing_recorded_gives_nothing() -> None:
    assert opening(Recorded(), budget=2_000).text == ""


def test_it_tells_what_was_asked_and_what_came_of_it() -> None:
    told = opening(
        recorded(
            turn(
                "b",
                "Why are members logged out?",
                "LOGIN_TIMEOUT was 60 seconds where 30 minutes were meant.",
                observation_id=7,
            ),
            turn("a", "Move the uploads to the new bucket", "All 312 uploads are in the new bucket."),
        ),
        budget=2_000,
    )
    assert told.text == fence.fence(
        "What agent-memory recorded in this project before now (times in UTC).\n"
        "Session of 2026-11-20 09:30:\n"
        "- #7 Why are members logged out? → LOGIN_TIMEOUT was 60 seconds where 30 minutes were meant.\n"
        "Earlier:\n"
        "- 2026-11-19 Move the uploads to the new bucket → All 312 uploads are in the new bucket.\n"
        "More: recall answers questions from all of it, get_observations gives one #number whole."
    )
    assert [(one.part, one.observation_id, one.prompt_id) for one in told.shown] == [
        ("session", 7, None),
        ("earlier", None, "a/Move the u"),
    ]


@pytest.mark.parametrize(
    "junk",
    [
        "ok",
        "yes, go on",
        "continue",
        "commit!",
        "/compact",
        "/mcp",
        "! ls",
        "[image, 24 kB]",
        "<ide_opened_file>The user opened the file /a/b in the IDE.</ide_opened_file>",
        "<system-reminder>Remember the milk and the honey.</system-reminder>",
        fence.fence("Recalled yesterday: the queue was stuck."),
    ],
)
def test_what_says_nothing_is_not_told(junk: str) -> None:
    assert opening(recorded(turn("a", junk, "Ok.")), budget=2_000).text == ""
    cut = turn("a", junk, None, ended_at=None, said_at=None, end_error="interrupted by the user")
    assert opening(recorded(cut), budget=2_000).text == ""


def test_a_short_request_is_told_with_what_came_of_it() -> None:
    told = opening(
        recorded(turn("a", "continue", "The tracing epic is complete in all of its six parts.")), budget=2_000
    )
    assert "continue → The tracing epic is complete" in told.text


def test_a_request_that_did_not_come_to_its_end_is_an_open_end() -> None:
    ends: dict[str, dict[str, Any]] = {
        "interrupted by the user": {"end_error": "interrupted by the user"},
        "ended with an error: rate_limit: try later": {"end_error": "rate_limit: try later"},
        "its end was not recorded": {"ended_at": None, "said_at": None},
    }
    for words, end in ends.items():
        told = opening(recorded(turn("a", "Move the uploads to the new bucket", **end)), budget=2_000)
        assert f"Left open:\n- 2026-11-20 {words}: Move the uploads to the new bucket\n" in told.text
        assert "Session of" not in told.text  # told once


def test_what_was_asked_again_since_is_no_open_end() -> None:
    cut = turn("a", "Move the uploads to the new bucket", end_error="interrupted by the user")
    again = turn("b", "Please move all uploads to the new bucket", "They are moved, all 312 of them.")
    assert "Left open" not in opening(recorded(again, cut), budget=2_000).text
    other = turn("b", "Why are members logged out?")
    assert "Left open" in opening(recorded(other, cut), budget=2_000).text


def test_going_on_that_was_cut_off_leaves_open_what_it_went_on_with() -> None:
    told = opening(
        recorded(
            turn("a", "Move the uploads to the new bucket", "Half of them are moved."),
            turn("a", "continue", None, at=AT + timedelta(hours=1), ended_at=None, said_at=None),
        ),
        budget=2_000,
    )
    assert "Left open:\n- 2026-11-20 its end was not recorded: Move the uploads" in told.text


def test_an_answer_without_a_recorded_end_is_an_end() -> None:
    told = opening(recorded(turn("a", "Move the uploads to the new bucket", ended_at=None)), budget=2_000)
    assert "Left open" not in told.text


def test_the_same_request_in_session_after_session_is_told_once() -> None:
    turns = [turn(session, "Write the release notes of this week") for session in "edcba"]
    assert opening(recorded(*turns), budget=2_000).text.count("release notes") == 1


def test_what_the_last_words_leave_is_told() -> None:
    said = "The uploads are moved.\n\nNext steps:\n- Delete the old bucket\n- Tell the customers"
    told = opening(recorded(turn("a", "Move the uploads to the new bucket", said)), budget=2_000)
    assert "- 2026-11-20 said to be left: Delete the old bucket; Tell the customers\n" in told.text


@pytest.mark.parametrize("budget", [400, 700, 1_000, 2_000, 9_000])
def test_it_stays_within_its_budget_and_is_the_same_every_time(budget: int) -> None:
    turns = [
        turn(
            f"s{number}",
            f"Request number {number}: {'words ' * 60}",
            f"Answer {number}: {'more words ' * 60}",
        )
        for number in range(8)
    ]
    notes = [{"id": n, "title": "t", "text": f"Note {n} {'x' * 900}", "occurred_at": AT} for n in range(6)]
    lessons = [Lesson(n, f"Rule {n}: " + "never do that " * 18) for n in range(9)]
    state = recorded(*turns, notes=notes, lessons=lessons)
    told = opening(state, budget=budget)
    assert len(told.text) <= budget
    assert told == opening(state, budget=budget)
    if budget >= 1_500:
        for heading in ("Session of", "Earlier:", "Notes:", "Lessons learnt here:"):
            assert heading in told.text  # no part crowds out another


def test_a_stored_text_cannot_end_the_fence() -> None:
    told = opening(recorded(turn("a", "Explain </agent-memory> to the new people, please")), budget=2_000)
    assert told.text.count("</agent-memory>") == 1


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("yes, go on", False),
        ("ok", False),
        ("do it again please", False),
        ("", False),
        ("…", False),
        ("fix the login timeout", True),
        ("データベースの接続が切れる", True),
        ("почему падает сборка проекта", True),
    ],
)
def test_a_text_of_a_few_words_says_nothing(text: str, says: bool) -> None:
    assert says_something(text) is says
