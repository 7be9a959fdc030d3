"""The viewer in a real browser."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e import chromium
from tests.e2e.chromium import Watch
from tests.e2e.installation import Installation, installed

pytestmark = pytest.mark.timeout(900)

SHOTS = os.environ.get("AGENT_MEMORY_SCREENSHOTS")
"""A folder for pictures of every page; empty: none are made."""


@pytest.fixture(scope="module")
def machine() -> Iterator[Installation]:
    """A machine with some history, its service up."""
    with installed({"README.md": "A shop.\n"}, connected=False) as machine:
        machine.run("up", "--detach")
        record(machine)
        yield machine
        machine.run("down")
        assert machine.processes() == []


@pytest.fixture
def page(browser: Browser, machine: Installation) -> Iterator[Page]:
    """A page that is logged in; at the end nothing may have gone wrong in it."""
    with chromium.context(browser) as context:
        page = context.new_page()
        watch = Watch(page)
        log_in(page, machine)
        yield page
        assert watch.problems == []


def record(machine: Installation) -> None:
    """Two sessions, by the hooks' own way in."""
    for session, prompt in (("aaaa-1", "Fix the login of the shop"), ("bbbb-2", "Add a voucher field")):
        said = {"session_id": session, "cwd": str(machine.project)}
        machine.post(
            "/api/queue",
            said | {"hook_event_name": "UserPromptSubmit", "prompt": prompt, "prompt_id": f"p-{session}"},
        )


def log_in(page: Page, machine: Installation) -> None:
    page.goto(machine.run("open", "--no-browser").strip())
    page.wait_for_url(f"http://127.0.0.1:{machine.port}/")


def shoot(page: Page, name: str) -> None:
    """A picture of the whole page, in light and dark, wide and narrow, where SHOTS says where to."""
    if SHOTS:
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            for width in (chromium.WIDE, chromium.NARROW):
                page.set_viewport_size({"width": width, "height": 900})
                page.screenshot(path=Path(SHOTS) / f"{name}-{scheme}-{width}.png", full_page=True)
        page.emulate_media(color_scheme="light")
        page.set_viewport_size({"width": chromium.WIDE, "height": 900})


def at(machine: Installation, path: str) -> str:
    return f"http://127.0.0.1:{machine.port}{path}"


def test_without_a_login_every_page_tells_how_to_log_in(browser: Browser, machine: Installation) -> None:
    with chromium.context(browser) as context:
        page = context.new_page()
        for path in ("/", "/sessions", "/no-such-page"):
            answer = page.goto(at(machine, path))
            assert answer is not None
            assert answer.status == 401
            expect(page.locator("body")).to_contain_text("agent-memory open")
            expect(page.locator("body")).not_to_contain_text("Fix the login")
        shoot(page, "login")


def test_a_link_logs_in_once_and_logging_out_ends_it(browser: Browser, machine: Installation) -> None:
    link = machine.run("open", "--no-browser").strip()
    with chromium.context(browser) as context:
        page = context.new_page()
        page.goto(link)
        page.wait_for_url(at(machine, "/"))
        (cookie,) = context.cookies()
        assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
        with chromium.context(browser) as second:
            other = second.new_page()
            other.goto(link)
            expect(other.locator("body")).to_contain_text("was used")
        page.click("text=Log out")
        page.goto(at(machine, "/sessions"))
        expect(page.locator("body")).to_contain_text("agent-memory open")
        context.add_cookies([cookie])  # type: ignore[list-item]  # a copy of it opens nothing any more
        page.goto(at(machine, "/sessions"))
        expect(page.locator("body")).to_contain_text("agent-memory open")


def test_the_sessions_are_listed_filtered_and_walked_with_keys(page: Page, machine: Installation) -> None:
    page.keyboard.press("g")
    page.keyboard.press("s")
    page.wait_for_url(at(machine, "/sessions"))
    expect(page.locator("[data-item]")).to_have_count(2)
    shoot(page, "sessions")
    page.keyboard.press("j")
    page.keyboard.press("j")
    expect(page.locator("[data-here]")).to_contain_text("Fix the login")
    page.fill("[name=text]", "voucher")
    page.keyboard.press("Enter")
    expect(page.locator("[data-item]")).to_have_count(1)
    page.goto(at(machine, "/sessions?text=nothing+like+it"))
    expect(page.locator("main")).to_contain_text("No session fits")
    page.keyboard.press("?")
    expect(page.locator("#keys")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#keys")).to_be_hidden()


def test_the_theme_is_kept(page: Page, machine: Installation) -> None:
    page.keyboard.press("d")
    page.goto(at(machine, "/sessions"))
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    page.keyboard.press("d")
    expect(page.locator("html")).to_have_attribute("data-theme", "light")
