"""Changes to JSON with comments leave every comment where it is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from agent_memory.agents import json_comments
from agent_memory.errors import AgentMemoryError

FILE = Path("settings.json")
ENTRY = {"command": "python", "args": ["-I"]}
WHERE = ("servers", "ours")

COMMENTED = """\
// Everything below is mine.
{
  // how it looks
  "theme": "One // Dark", // not the light one
  /* two
     lines */
  "servers": {
    "theirs": {"command": "x"}, // keep this
  },
  "last": [1, 2,],
}
"""


def comments(text: str) -> list[str]:
    found = re.findall(r'"(?:[^"\\]|\\.)*"|//[^\n]*|/\*.*?\*/', text, re.S)
    return [one for one in found if not one.startswith('"')]


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "{\n}\n",
        "",
        "\n",
        "// only a comment\n",
        '{"a": 1}',
        '{"servers": {}}',
        '{"servers": {"theirs": {"command": "/* x */"}}}',
        '{ // mine\n\t"a": 1\n}',
        '\ufeff{\n  "a": 1\n}\n',
        COMMENTED,
    ],
)
def test_an_entry_that_was_put_in_is_there_and_the_rest_is_as_it_was(text: str) -> None:
    before = json_comments.parse(FILE, text)
    put = json_comments.put(text, WHERE, ENTRY)
    after = json_comments.parse(FILE, put)
    assert after["servers"].pop("ours") == ENTRY
    if "servers" not in before:
        assert after.pop("servers") == {}
    assert after == before
    assert comments(put) == comments(text)


def test_taking_it_out_again_restores_a_file_of_several_lines_byte_for_byte() -> None:
    text = COMMENTED
    put = json_comments.put(text, WHERE, ENTRY)
    assert put != text
    assert json_comments.remove(put, WHERE) == text
    alone = '{\n  // mine\n  "a": 1\n}\n'
    put = json_comments.put(alone, WHERE, ENTRY)
    assert json_comments.remove(json_comments.remove(put, WHERE), WHERE[:1]) == alone


def test_an_entry_that_is_there_is_replaced_in_its_place() -> None:
    text = json_comments.put(COMMENTED, WHERE, ENTRY)
    again = json_comments.put(text, WHERE, {"command": "other"})
    assert json_comments.parse(FILE, again)["servers"]["ours"] == {"command": "other"}
    assert json_comments.remove(again, WHERE) == COMMENTED


def test_an_entry_in_the_middle_and_the_last_one_can_be_taken_out() -> None:
    text = '{\n  "a": 1, // one\n  "b": 2,\n  // three\n  "c": 3\n}\n'
    assert json_comments.remove(text, ["b"]) == '{\n  "a": 1, // one\n  // three\n  "c": 3\n}\n'
    without_last = json_comments.remove(text, ["c"])
    assert json_comments.parse(FILE, without_last) == {"a": 1, "b": 2}
    assert "// three" in without_last


@pytest.mark.parametrize("text", ['{"a": }', "[1]", '{"a": 1', "{'a': 1}", "/* never closed {"])
def test_what_is_no_json_object_is_refused_in_words(text: str) -> None:
    with pytest.raises(AgentMemoryError, match=r"settings\.json"):
        json_comments.parse(FILE, text)
