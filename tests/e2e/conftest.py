"""The real client, or a loud line where it cannot be had."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.e2e import claude, npm


@pytest.fixture(scope="session")
def client(pytestconfig: pytest.Config) -> Path:
    """The client's binary."""
    try:
        return claude.executable()
    except npm.NotAvailableError as reason:
        line = f"REAL CLAUDE CODE NOT AVAILABLE: {reason}"
        print(f"\n{line}", file=sys.__stderr__)
        pytest.skip(line)
