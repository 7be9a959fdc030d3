"""A computation takes the cores that nobody uses."""

from __future__ import annotations

import os

import psutil
import pytest

from agent_memory.finetune import cores


@pytest.mark.parametrize(("used", "idle"), [((3.0, 8.0), 2), ((99.0, 4.0), 1), ((100.0, 100.0), 1)])
def test_cores_are_idle_by_what_they_do_now_and_not_by_the_load_of_the_step_before(
    monkeypatch: pytest.MonkeyPatch, used: tuple[float, ...], idle: int
) -> None:
    monkeypatch.setattr(psutil, "cpu_count", lambda **_: 2)
    monkeypatch.setattr(psutil, "cpu_percent", lambda **_: list(used))
    monkeypatch.setattr(os, "getloadavg", lambda: (2.0, 2.0, 2.0))
    assert cores.idle() == idle
