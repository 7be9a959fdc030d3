"""Small changes to JSON texts that leave every other byte as it is."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_memory.agents import json_text

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text('aé"\\{}[],: \u2028', max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("ab é", max_size=3), inner, max_size=3)
    ),
    max_leaves=12,
)
OBJECTS = st.dictionaries(st.text("abc é", max_size=4), VALUES, max_size=4)
INDENTS = st.sampled_from([None, 0, 1, 2, 4, "\t"])
STYLES = st.builds(
    lambda value, indent, separators, crlf, tail: (
        json.dumps(value, indent=indent, ensure_ascii=False, separators=separators).replace(
            "\n", "\r\n" if crlf else "\n"
        )
        + tail
    ),
    OBJECTS,
    INDENTS,
    st.sampled_from([None, (",", ":"), (", ", ": ")]),
    st.booleans(),
    st.sampled_from(["", "\n", " \n\n"]),
)


@given(STYLES, VALUES)
def test_a_new_key_changes_nothing_else_and_goes_without_a_trace(text: str, value: Any) -> None:
    added = json_text.put(text, ("new",), value)
    assert json.loads(added) == {**json.loads(text), "new": value}
    if json.loads(text):
        assert json_text.remove(added, ("new",)) == text


@given(STYLES, VALUES)
def test_a_path_is_made_where_it_is_missing(text: str, value: Any) -> None:
    added = json_text.append(text, ("new", "deep"), value)
    assert json.loads(added) == {**json.loads(text), "new": {"deep": [value]}}
    twice = json_text.append(added, ("new", "deep"), 7)
    assert json.loads(twice)["new"] == {"deep": [value, 7]}
    assert json_text.remove(twice, ("new", "deep", 1)) == added


@given(STYLES, st.data())
def test_any_member_can_be_replaced_and_removed(text: str, data: st.DataObject) -> None:
    value = json.loads(text)
    if not value:
        return
    key = data.draw(st.sampled_from(sorted(value)))
    assert json.loads(json_text.put(text, (key,), {"x": [1]})) == {**value, key: {"x": [1]}}
    removed = json.loads(json_text.remove(text, (key,)))
    assert removed == {k: v for k, v in value.items() if k != key}


@pytest.mark.parametrize("indent", ["  ", "    ", "\t"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_additions_are_written_like_their_neighbours(indent: str, newline: str) -> None:
    text = newline.join(["{", f'{indent}"a": [', f"{indent * 2}1", f"{indent}]", "}"])
    added = json_text.append(text, ("a",), {"k": "ü"})
    two, three = indent * 2, indent * 3
    lines = [
        "{",
        f'{indent}"a": [',
        f"{two}1,",
        f"{two}{{",
        f'{three}"k": "ü"',
        f"{two}}}",
        f"{indent}]",
        "}",
    ]
    assert added == newline.join(lines)


def test_a_list_in_one_line_stays_in_one_line() -> None:
    text = '{\n  "a": [1, 2],\n  "b": {}\n}\n'
    assert json_text.append(text, ("a",), {"k": 1}) == '{\n  "a": [1, 2, {"k": 1}],\n  "b": {}\n}\n'
    assert json_text.put(text, ("b", "c"), 1) == '{\n  "a": [1, 2],\n  "b": {\n    "c": 1\n  }\n}\n'


def test_a_text_without_white_space_gets_none() -> None:
    assert json_text.put('{"a":1}', ("b",), {"c": [1, 2]}) == '{"a":1,"b":{"c":[1,2]}}'
    assert json_text.put('{"a": 1}', ("b",), {"c": [1, 2]}) == '{"a": 1, "b": {"c": [1, 2]}}'


def test_of_a_key_that_is_there_twice_the_last_counts() -> None:
    text = '{"a": {"x": 1}, "a": {"y": 2}}'
    assert json_text.put(text, ("a", "z"), 3) == '{"a": {"x": 1}, "a": {"y": 2, "z": 3}}'


def test_a_byte_order_mark_stays() -> None:
    assert json_text.put('\ufeff{"a": 1}', ("b",), 2) == '\ufeff{"a": 1, "b": 2}'
