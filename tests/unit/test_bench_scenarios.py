"""The benchmark's own sessions: that they are read as their form says, and labelled without gaps."""

from __future__ import annotations

from pathlib import Path

import pytest
from bench import scenarios

from agent_memory.journal.event import AssistantMessage, Prompt, ToolCall

FILES = sorted((scenarios.HERE / "coding").glob("*.txt")) + sorted(
    (scenarios.HERE / "languages").glob("*.txt")
)
TEXT = """\
# s1 dev 2026-01-12T08:30
> Why is it slow?
  It was fast.
$ pytest -q
  1 passed
! make
  error: no rule
~ a.py :: x = 1 => x = 2
< Because.
? why slow
+ Rule << s1.1 :: Never on Fridays.
? when not [s1.1]
# nowhere test
? what is the moon made of
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "shop.txt").write_text(TEXT, "utf-8")
    return tmp_path / "shop.txt"


def test_a_session_becomes_events(file: Path) -> None:
    ((session,), _) = scenarios.read(file)
    bodies = [event.body for event in scenarios.events(session, Path("/shop"))]
    assert bodies[1] == Prompt(text="Why is it slow?\nIt was fast.")
    calls = [body for body in bodies if isinstance(body, ToolCall)]
    assert [(call.name, call.success, call.output or call.error) for call in calls] == [
        ("Bash", True, "1 passed"),
        ("Bash", False, "Exit code 1\nerror: no rule"),
        ("Edit", True, "The file /shop/a.py has been updated."),
    ]
    assert calls[2].input == {"file_path": "/shop/a.py", "old_string": "x = 1", "new_string": "x = 2"}
    assert AssistantMessage(text="Because.") in bodies
    assert not any("Fridays" in str(body) for body in bodies), "notes go another way"


def test_questions_name_their_evidence(file: Path) -> None:
    _, asked = scenarios.read(file)
    assert [(one.text, sorted(one.evidence), one.split) for one in asked] == [
        ("why slow", ["s1.1"], "dev"),
        ("when not", ["s1.1", "s1.2"], "dev"),
        ("what is the moon made of", [], "test"),
    ]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_evidence_of_every_question_is_there(file: Path) -> None:
    sessions, asked = scenarios.read(file)
    labels = {entry.label for session in sessions for entry in session.entries}
    assert all(one.evidence <= labels for one in asked)
    assert len({one.text for one in asked}) == len(asked)
    for session in sessions:
        assert scenarios.events(session, Path("/shop"))
