"""What a call was about and what an edit changed, for each agent's words; texts made visible."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_memory.replay.diff import MOST_LINES, diffs
from agent_memory.replay.subject import LONGEST, subject
from agent_memory.service.web.show import clean, span, when, within


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"command": "make test", "description": "Run it"}, "make test"),
        ({"command": ["bash", "-lc", "ls"]}, "bash -lc ls"),
        ({"filePath": "/a/b.py"}, "/a/b.py"),
        ({"command": "", "path": "/a"}, "/a"),
        ({"x": 1}, '{"x": 1}'),
        ({}, ""),
        (None, ""),
        ({"command": "a\n\tb"}, "a b"),
    ],
)
def test_a_call_is_told_in_a_line(given: dict[str, Any] | None, told: str) -> None:
    assert subject(given) == told


@given(st.dictionaries(st.text(max_size=20), st.text(max_size=2_000), max_size=4))
def test_a_line_is_short_and_one_line_whatever_is_given(given: dict[str, str]) -> None:
    told = subject(given)
    assert len(told) <= LONGEST
    assert "\n" not in told


EDIT = {"old_string": "a\nb\nc\nd\ne\nf\n", "new_string": "a\nb\nc\nd\nE\nf\n"}


@pytest.mark.parametrize(
    ("tool", "given"),
    [
        ("Edit", {"file_path": "x.py", **EDIT}),
        ("edit", {"filePath": "x.py", "oldString": EDIT["old_string"], "newString": EDIT["new_string"]}),
        (
            "str_replace_editor",
            {"path": "x.py", "old_str": EDIT["old_string"], "new_str": EDIT["new_string"]},
        ),
        ("MultiEdit", {"file_path": "x.py", "edits": [EDIT]}),
    ],
)
def test_an_edit_shows_what_changed_and_a_little_around(tool: str, given: dict[str, Any]) -> None:
    (one,) = diffs(tool, given)
    assert (one.path, one.added, one.removed) == ("x.py", 1, 1)
    assert list(one.lines) == [(" ", "c"), (" ", "d"), ("-", "e"), ("+", "E"), (" ", "f")]


def test_a_new_file_is_added_lines_and_a_read_none() -> None:
    (one,) = diffs("Write", {"file_path": "x.py", "content": "a\nb"})
    assert list(one.lines) == [("+", "a"), ("+", "b")]
    assert diffs("Read", {"file_path": "x.py"}) == []
    assert diffs("TodoWrite", {"content": "a"}) == []
    assert diffs("Bash", None) == []


def test_a_patch_shows_each_of_its_files() -> None:
    patch = (
        "*** Begin Patch\n*** Update File: a.py\n@@ def f():\n-    old\n+    new\n@@\n same\n"
        "*** Add File: b.py\n+first\n*** End Patch\n"
    )
    for said in ({"input": patch}, {"command": ["apply_patch", patch]}):
        one, other = diffs("apply_patch", said)
        assert (one.path, one.added, one.removed, list(other.lines)) == ("a.py", 1, 1, [("+", "first")])


def test_a_huge_edit_is_not_compared_line_by_line() -> None:
    before = "\n".join(str(n) for n in range(MOST_LINES))
    (one,) = diffs("Edit", {"file_path": "x", "old_string": before, "new_string": before})
    assert (one.added, one.removed) == (MOST_LINES, MOST_LINES)


@given(st.text(alphabet=st.characters(), max_size=300))
def test_no_text_reaches_a_page_with_what_cannot_be_seen(text: str) -> None:
    seen = clean(text)
    assert not any(char in seen for char in "\x00\x07\x1b\x7f\x9b\u200b\u200e\u202a\u202e\u2066\u2069\ufeff")
    assert clean(seen) == seen


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x1b]8;;http://evil.example\x07link\x1b]8;;\x07", "link"),
        ("\x1b]0;title\x1b\\rest", "rest"),
        ("a\x1b", "a⟨U+001B⟩"),
        ("user\u202egnp", "user⟨U+202E⟩gnp"),
        ("10 %\r100 %\r\nend", "10 %\n100 %\nend"),
        ("日本 שלום 👩‍👩‍👧 naïve", "日本 שלום 👩‍👩‍👧 naïve"),
    ],
)
def test_terminal_sequences_go_and_hidden_characters_are_seen(text: str, seen: str) -> None:
    assert clean(text) == seen


def test_spans_and_paths_are_short() -> None:
    assert [span(s) for s in (0.24, 3.26, 90, 7_200, 200_000, None)] == [
        "240 ms",
        "3.3 s",
        "2 min",
        "2 h",
        "2 d",
        "",
    ]
    assert within("/home/dev/shop/a.py", "/home/dev/shop/") == "a.py"
    assert within("/home/dev/shopping/a.py", "/home/dev/shop") == "/home/dev/shopping/a.py"


def test_a_time_has_its_day_where_that_is_not_plain() -> None:
    now = datetime.now().astimezone()
    earlier = (now - timedelta(days=400)).astimezone()
    assert f">{now:%H:%M:%S}</time>" in when(now, form="lately")
    assert f">{earlier:%-d %b %Y}</time>" in when(earlier, form="lately")
    assert f">{now:%-d %b %H:%M}</time>" in when(now)
    assert f'title="{now:%Y-%m-%d %H:%M:%S %Z}"' in when(now, form="clock")
    assert when(None) == ""
