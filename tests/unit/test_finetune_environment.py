"""What training needs on this machine, and how it gets there."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import shlex
import sys
from typing import Any

import pytest

from agent_memory.finetune import environment, extra


class Installed:
    """A distribution that came from somewhere."""

    def __init__(self, origin: dict[str, Any] | None) -> None:
        self.origin = origin

    def read_text(self, name: str) -> str | None:
        assert name == "direct_url.json"
        return json.dumps(self.origin) if self.origin else None


@pytest.mark.parametrize(
    ("origin", "arguments"),
    [
        (None, ["agent-memory[finetune]"]),
        (
            {"url": "file:///home/dev/my%20clone", "dir_info": {"editable": True}},
            ["--editable", "/home/dev/my clone[finetune]"],
        ),
        ({"url": "file:///home/dev/clone", "dir_info": {}}, ["/home/dev/clone[finetune]"]),
    ],
)
def test_what_is_missing_is_installed_from_where_agent_memory_came_and_into_its_python(
    monkeypatch: pytest.MonkeyPatch, origin: dict[str, Any] | None, arguments: list[str]
) -> None:
    monkeypatch.setattr(importlib.metadata, "distribution", lambda _: Installed(origin))
    assert shlex.split(extra.install()) == [sys.executable, "-m", "pip", "install", *arguments]


@pytest.mark.parametrize(("machine", "wanted"), [("x86_64", ["xllamacpp"]), ("aarch64", [])])
def test_a_package_without_a_build_for_this_machine_is_not_asked_for(
    monkeypatch: pytest.MonkeyPatch, machine: str, wanted: list[str]
) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(platform, "machine", lambda: machine)
    names = [one.name for one in environment._packages()]
    assert [name for name in names if name == "xllamacpp"] == wanted
    assert "torch" in names
