"""What holds whatever comes in: payloads of any agent, project names, fusion. Found by hypothesis, not by example."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.unit.test_fusion import text, vector

from agent_memory.agents import NORMALISERS
from agent_memory.capture.drain import read_payload
from agent_memory.journal.projects import identify, normalise_remote
from agent_memory.recall import fusion

AT = datetime(2026, 1, 1, tzinfo=UTC)
FIXTURES = Path(__file__).parent.parent / "fixtures"
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)
REAL: list[tuple[str, dict[str, Any]]] = [
    (file.parent.name.replace("claude_code", "claude"), json.loads(line))
    for file in sorted([*FIXTURES.glob("*/hook_payloads.jsonl"), *FIXTURES.glob("claude_code/hooks.jsonl")])
    for line in file.read_text(encoding="utf-8").splitlines()
]
NAMES = st.from_regex(r"[a-z0-9][a-z0-9-]{0,10}", fullmatch=True)


def test_the_real_payloads_are_there_to_be_broken() -> None:
    assert {agent for agent, _ in REAL} >= {"claude", "codex", "gemini", "copilot", "cursor"}


@settings(max_examples=60)
@given(st.sampled_from(REAL), st.data())
def test_a_payload_with_any_field_changed_is_read_or_refused_and_never_breaks(
    real: tuple[str, dict[str, Any]], data: st.DataObject
) -> None:
    agent, payload = real
    payload = payload.get("payload", payload) if isinstance(payload.get("payload"), dict) else payload
    fields = st.sampled_from(sorted(payload)) | st.text(max_size=12)
    changed = payload | data.draw(st.dictionaries(fields, ANYTHING, max_size=3))
    for name in data.draw(st.sets(st.sampled_from(sorted(payload)), max_size=2)):
        changed.pop(name, None)
    check(agent, changed)


@settings(max_examples=60)
@given(st.sampled_from(sorted(NORMALISERS)), st.dictionaries(st.text(max_size=12), ANYTHING, max_size=6))
def test_any_object_is_read_or_refused_and_never_breaks(agent: str, payload: dict[str, Any]) -> None:
    check(agent, payload)


def check(agent: str, payload: dict[str, Any]) -> None:
    try:
        events = NORMALISERS[agent](payload, AT)
    except ValueError:
        return
    assert all(event.session_id for event in events)


@given(st.binary(max_size=200) | ANYTHING.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_a_payload_or_refused_in_words(raw: bytes) -> None:
    try:
        payload = read_payload(raw)
    except ValueError as error:
        said = str(error)
    else:
        assert isinstance(payload, dict)
        return
    assert said.endswith(".")


@given(NAMES, NAMES, NAMES)
def test_a_remote_is_one_project_however_it_is_written(host: str, owner: str, name: str) -> None:
    written = [
        f"git@{host}.example:{owner}/{name}.git",
        f"https://{host}.example/{owner}/{name}",
        f"https://someone:something@{host}.example/{owner}/{name}.git/",
        f"ssh://git@{host}.example/{owner}/{name}.git",
        f"https://{host.upper()}.EXAMPLE/{owner}/{name}",
    ]
    assert {normalise_remote(url) for url in written} == {f"{host}.example/{owner}/{name}"}


@given(st.text(max_size=60))
@example("https://[bad/x")
@example("ssh://host]/x")
def test_any_text_may_stand_where_git_keeps_a_remote(url: str) -> None:
    known = normalise_remote(url)
    assert known is None or (known == known.lower() and "@" not in known.partition("/")[0])


@given(st.text(max_size=40) | st.none() | st.text(max_size=40).map("/".__add__))
@example("/a\0b")
@example("/" + "x" * 5_000)
def test_any_folder_name_belongs_to_some_project(cwd: str | None) -> None:
    assert identify(cwd).key


SCORED = st.lists(
    st.tuples(st.integers(1, 30), st.floats(0.01, 20, allow_nan=False)),
    unique_by=lambda one: one[0],
    max_size=20,
)


@given(SCORED, SCORED)
def test_fusion_keeps_every_observation_once_in_order_and_prefers_what_both_legs_put_first(
    words: list[tuple[int, float]], near: list[tuple[int, float]]
) -> None:
    by_words = [text(number, score) for number, score in sorted(words, key=lambda one: -one[1])]
    by_vector = [
        vector(number, min(score / 20, 1.0)) for number, score in sorted(near, key=lambda one: -one[1])
    ]
    ranked = fusion.fuse(by_words, by_vector)
    found = [one.observation_id for one in ranked]
    assert sorted(found) == sorted({number for number, _ in (*words, *near)})
    assert [one.score for one in ranked] == sorted((one.score for one in ranked), reverse=True)
    assert fusion.fuse(by_words, by_vector) == ranked
    if by_words and by_vector and by_words[0]["observation_id"] == by_vector[0]["observation_id"]:
        assert ranked[0].score == max(one.score for one in ranked)
        assert by_words[0]["observation_id"] in [
            o.observation_id for o in ranked if o.score == ranked[0].score
        ]
