from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from agent_memory.observations.chunks import CHUNK_BYTES, MAX_CHUNKS, cut, cut_sections
from agent_memory.observations.observation import Section

AT = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)


def test_the_first_line_of_every_chunk_tells_the_date_and_the_title() -> None:
    chunks = cut("Repair the login", "One paragraph of words.\n\n" * 200, AT, "user")
    assert len(chunks) > 3
    assert {chunk.text.split("\n")[0] for chunk in chunks} == {"2026-11-22 · Repair the login"}
    assert [chunk.ordinal for chunk in chunks] == list(range(len(chunks)))


def test_the_date_is_that_of_utc() -> None:
    late = datetime(2026, 11, 22, 1, 0, tzinfo=timezone(timedelta(hours=9)))
    assert cut("t", "x", late, None)[0].text.startswith("2026-11-21")


def test_a_month_is_found_by_its_name() -> None:
    assert "november" in cut("t", "x", AT, None)[0].words.split()


def test_a_short_text_is_one_chunk() -> None:
    (chunk,) = cut("Title", "A line.\nAnother.", AT, "user")
    assert chunk.text == "2026-11-22 · Title\nA line.\nAnother."
    assert chunk.role == "user"


def test_a_text_that_begins_with_its_title_does_not_say_it_twice() -> None:
    assert cut("Fix it", "Fix it\nplease", AT, None)[0].text == "2026-11-22\nFix it\nplease"
    assert (
        cut("Fix it and…", "**Fix it and\ntest it**", AT, None)[0].text
        == "2026-11-22\n**Fix it and\ntest it**"
    )
    assert [c.text for c in cut("Fix it", "Fix it", AT, "user")] == ["2026-11-22\nFix it"]


def test_parts_that_do_not_begin_with_the_title_are_told_it() -> None:
    parts = [Section("Fix it, " + "it is slow. " * 150, "user"), Section("Done.", "assistant")]
    *asked, done = cut_sections("Fix it", parts, AT)
    assert len(asked) > 1
    assert all(chunk.text.startswith("2026-11-22\n") for chunk in asked)
    assert done.text == "2026-11-22 · Fix it\nDone."


def test_a_title_alone_is_worth_a_chunk() -> None:
    assert [(c.text, c.role) for c in cut("Fix it", "", AT, "user")] == [("2026-11-22 · Fix it", "user")]
    assert [c.text for c in cut_sections("Fix it", [], AT)] == ["2026-11-22 · Fix it"]


def test_paragraphs_stay_together_where_they_fit() -> None:
    paragraphs = [f"Paragraph {n} " + "word " * 60 for n in range(8)]
    bodies = [c.text.partition("\n")[2] for c in cut("t", "\n\n".join(paragraphs), AT, None)]
    assert all(body.startswith("Paragraph") for body in bodies)
    assert "\n\n".join(bodies).split() == " ".join(paragraphs).split()


@pytest.mark.parametrize(
    "text",
    [
        "x" * 50_000,
        "word " * 20_000,
        "One sentence follows another. " * 3_000,
        "line\n" * 20_000,
        "語" * 30_000,
        "日本語の文です。" * 4_000,
        "🚀" * 10_000,
        "\n" * 10_000,
        "\ud800 lone surrogate" * 1_000,
    ],
)
def test_no_chunk_is_over_the_limit_and_nothing_within_the_count_is_lost(text: str) -> None:
    chunks = cut("A title", text, AT, None)
    assert all(len(chunk.text.encode("utf-8", "replace")) <= CHUNK_BYTES for chunk in chunks)
    assert len(chunks) <= MAX_CHUNKS
    kept = "".join("".join(chunk.text.partition("\n")[2].split()) for chunk in chunks)
    whole = "".join(text.split())
    assert whole.startswith(kept)
    assert kept == whole or len(chunks) == MAX_CHUNKS or len(text) > CHUNK_BYTES * MAX_CHUNKS


def test_sections_of_different_roles_never_share_a_chunk() -> None:
    sections = [
        Section("what was asked", "user"),
        Section("what was done"),
        Section("the answer", "assistant"),
    ]
    chunks = cut_sections("t", sections, AT)
    assert [(c.role, c.text.partition("\n")[2]) for c in chunks] == [
        ("user", "what was asked"),
        (None, "what was done"),
        ("assistant", "the answer"),
    ]


def test_neighbours_of_one_role_share_a_chunk() -> None:
    chunks = cut_sections("t", [Section("first", "user"), Section("second", "user")], AT)
    assert [c.text for c in chunks] == ["2026-11-22 · t\nfirst\n\nsecond"]


def test_chunks_are_the_same_every_time() -> None:
    text = "Some text. " * 500
    assert cut("t", text, AT, None) == cut("t", text, AT, None)
