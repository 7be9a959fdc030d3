"""The service's state and a caller of its REST API, on this test's own database."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from agent_memory import settings
from agent_memory.database import server
from agent_memory.observations import worker
from agent_memory.service import app
from agent_memory.service.state import State

TOKEN = "a-token-for-this-test"


@pytest.fixture
def state(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[State]:
    monkeypatch.setenv("AGENT_MEMORY_TOKEN", TOKEN)
    with server.open_pool(database_url, size=4) as pool:
        yield State(settings.load(), pool)


@pytest.fixture
def api(state: State) -> Iterator[TestClient]:
    """A caller over TCP with the owner's token."""
    headers = {"authorization": f"Bearer {TOKEN}"}
    with TestClient(app.create(state), base_url="http://127.0.0.1:3377", headers=headers) as client:
        yield client


def remember(state: State) -> None:
    """What the worker would do."""
    embedder = state.embedder()
    assert embedder is not None
    with state.pool.connection() as conn:
        while worker.run_once(conn, embedder):
            pass
