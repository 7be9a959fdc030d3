"""Who is the service: the lock that says so."""

from __future__ import annotations

import fcntl
import os

import pytest

from agent_memory import paths, running
from agent_memory.errors import AgentMemoryError


def test_who_holds_the_lock_is_the_service() -> None:
    paths.make_private(paths.home())
    assert running.process_id() is None
    with running.the_one_service():
        assert running.process_id() == os.getpid()
        with pytest.raises(AgentMemoryError, match=f"runs already \\(process {os.getpid()}\\)"):
            running.the_one_service().__enter__()
    assert running.process_id() is None


def test_two_who_look_at_once_do_not_take_each_other_for_the_service() -> None:
    paths.make_private(paths.home())
    with running.the_one_service():
        pass  # one that is gone, and left its number
    with paths.service_pid().open("rb") as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)
        assert running.process_id() is None
