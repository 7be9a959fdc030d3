"""The real client and a real browser, or a loud line where they cannot be had."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.e2e import chromium, claude, npm


@pytest.fixture(scope="session")
def client(pytestconfig: pytest.Config) -> Path:
    """The client's binary."""
    try:
        return claude.executable()
    except npm.NotAvailableError as reason:
        line = f"REAL CLAUDE CODE NOT AVAILABLE: {reason}"
        print(f"\n{line}", file=sys.__stderr__)
        pytest.skip(line)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A real Chromium. A module's own: while it is driven, this thread has a loop that runs, and no test could have one
    of its own."""
    try:
        program = chromium.executable()
    except chromium.NotAvailableError as reason:
        line = f"NOT TESTED IN A BROWSER: {reason}"
        print(f"\n{line}", file=sys.__stderr__)
        pytest.skip(line)
    with chromium.running(program) as browser:
        yield browser
