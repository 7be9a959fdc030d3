"""Our handlers among those of others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agent_memory.agents import hook_groups
from agent_memory.agents.entries import JSON, JSON_WITH_COMMENTS
from agent_memory.errors import AgentMemoryError

FILE = Path("hooks.json")
OLD = {"type": "command", "command": "python /old/agent_memory/hook.py codex"}
NEW = {"type": "command", "command": "python /new/agent_memory/hook.py codex", "timeout": 5}
THEIRS = {"type": "command", "command": "say done"}


def test_ours_comes_last_in_a_group_of_its_own() -> None:
    group = {"matcher": "Bash", "hooks": [THEIRS]}
    assert hook_groups.with_ours([group], NEW) == [group, {"hooks": [NEW]}]


def test_ours_is_brought_up_to_date_where_the_user_put_it() -> None:
    group = {"matcher": "Bash", "hooks": [THEIRS, OLD]}
    assert hook_groups.with_ours([group], NEW) == [{"matcher": "Bash", "hooks": [THEIRS, NEW]}]


def test_ours_is_there_once() -> None:
    groups = [{"hooks": [OLD, THEIRS, OLD]}, {"hooks": [OLD]}, {"hooks": [THEIRS]}]
    after = hook_groups.with_ours(groups, NEW)
    assert list(hook_groups.ours(after)) == [(0, 0)]
    assert hook_groups.with_ours(after, NEW) == after


def test_without_ours_there_is_what_others_put_there() -> None:
    groups: list[Any] = [{"hooks": [OLD, THEIRS]}, {"hooks": [NEW]}, {"matcher": "x", "hooks": []}, "odd"]
    assert hook_groups.without(groups) == [{"hooks": [THEIRS]}, {"matcher": "x", "hooks": []}, "odd"]


@pytest.mark.parametrize("dialect", [JSON, JSON_WITH_COMMENTS])
def test_connecting_and_disconnecting_gives_the_same_settings(dialect: Any) -> None:
    before = {"model": "x", "hooks": {"Stop": [{"hooks": [THEIRS]}], "Old": [{"hooks": [OLD]}]}}
    text = json.dumps(before, indent=2)
    after = hook_groups.hooked(FILE, text, {"Stop": NEW, "SessionStart": NEW}, dialect)
    assert set(dialect.parse(FILE, after)["hooks"]) == {"Stop", "SessionStart"}
    assert hook_groups.hooked(FILE, after, {"Stop": NEW, "SessionStart": NEW}, dialect) == after
    gone = dialect.parse(FILE, hook_groups.unhooked(FILE, after, {}, dialect))
    assert gone == {"model": "x", "hooks": {"Stop": [{"hooks": [THEIRS]}]}}


def test_an_event_that_the_user_left_empty_stays() -> None:
    after = hook_groups.hooked(FILE, '{"hooks": {"Stop": []}}', {"Stop": NEW}, JSON)
    assert json.loads(hook_groups.unhooked(FILE, after, {"hooks": {"Stop": []}}, JSON)) == {
        "hooks": {"Stop": []}
    }
    assert json.loads(hook_groups.unhooked(FILE, after, {}, JSON)) == {}


@pytest.mark.parametrize("text", ['{"hooks": []}', '{"hooks": {"Stop": {}}}'])
def test_settings_of_another_shape_are_left_alone(text: str) -> None:
    with pytest.raises(AgentMemoryError, match="Nothing was changed"):
        hook_groups.hooked(FILE, text, {"Stop": NEW}, JSON)
