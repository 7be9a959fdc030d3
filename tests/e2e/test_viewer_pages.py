"""What is looked at and changed one by one, in a real browser: memories, lessons, what was told, training, health."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect
from psycopg.rows import dict_row

from tests import shown
from tests.e2e import chromium
from tests.e2e.chromium import Watch
from tests.e2e.installation import Installation, installed, until
from tests.e2e.test_viewer import at, log_in, shoot
from tests.shown import Scene

pytestmark = pytest.mark.timeout(900)

HOSTILE = (
    "</textarea><script>document.title='owned'</script> \"><img src=x onerror=\"document.title='owned'\">"
)


@pytest.fixture(scope="module")
def machine() -> Iterator[Installation]:
    with installed({"README.md": "A shop.\n"}, connected=False) as machine:
        machine.run("up", "--detach")
        yield machine
        machine.run("down")
        until("nothing of it runs any more", lambda: machine.processes() == [])


def made(machine: Installation, session: str, words: str) -> Scene:
    """A session and all that is about it, when it is remembered."""

    def post(path: str, body: dict[str, Any]) -> Any:
        return machine.post(path, body)

    shown.record(post, str(machine.project), session, words)
    turns = "select from mem_observations where session_id = %s and kind = 'turn'"
    until("the turn is remembered", lambda: len(machine.rows(turns, session)) == 1)
    with psycopg.connect(machine.conninfo(), row_factory=dict_row) as conn:
        return shown.furnish(post, conn, str(machine.project), session, words)


@pytest.fixture(scope="module")
def scenes(machine: Installation) -> tuple[Scene, Scene]:
    """A tame one, and one whose every text is hostile."""
    tame = made(machine, "ours-1", "of the shop")
    hostile = made(machine, "hostile-1", HOSTILE)
    bad = machine.memory / "spool" / "bad"
    bad.mkdir(parents=True, exist_ok=True)
    (bad / f"{'1' * 20}-1-abc.claude").write_text("{", encoding="utf-8")
    (bad / f"{'1' * 20}-1-abc.claude.reason").write_text("It is no JSON object.\n", encoding="utf-8")
    return tame, hostile


@pytest.fixture(scope="module")
def logged_in(
    browser: Browser, machine: Installation, scenes: tuple[Scene, Scene]
) -> Iterator[BrowserContext]:
    """A window that is logged in."""
    assert scenes
    with chromium.context(browser) as context:
        log_in(context.new_page(), machine)
        yield context


@pytest.fixture
def page(logged_in: BrowserContext, machine: Installation) -> Iterator[Page]:
    """A page of it, at the first page; at the end nothing may have gone wrong in it."""
    page = logged_in.new_page()
    watch = Watch(page)
    page.goto(at(machine, "/"))
    yield page
    page.close()
    assert watch.problems == []


def test_every_page_is_shown_and_runs_nothing_that_was_stored(
    page: Page, machine: Installation, scenes: tuple[Scene, Scene]
) -> None:
    tame, hostile = scenes
    for scene, session in ((tame, "ours-1"), (hostile, "hostile-1")):
        for name, path, text in (
            ("memories", "/observations?kind=note", "Staging"),
            ("memory", f"/observations/{scene.note}", "its own source"),
            ("lessons", "/lessons", "candidates for your word"),
            ("candidate", f"/lessons/{scene.candidate}", "What it rests on"),
            ("lesson", f"/lessons/{scene.lesson}", "it spoke here"),
            ("ledger", "/lessons/ledger", "what happened next"),
            ("told", "/told", "certain enough"),
            ("told-session", f"/told?session={session}", "Lessons that spoke in it"),
            ("training", "/training", "my-model"),
            ("run", f"/training/{scene.run}", "How it learned"),
            ("projects", "/projects", str(machine.project)),
            ("health", "/health", "It is no JSON object."),
            ("audit", "/admin/audit", "Audit log"),
        ):
            page.goto(at(machine, path))
            expect(page.locator("main")).to_contain_text(text)
            assert page.locator("main img, main script").count() == 0, path
            assert page.title() != "owned", path
            for width in (chromium.WIDE, chromium.NARROW):
                page.set_viewport_size({"width": width, "height": 900})
                wider = page.evaluate("document.documentElement.scrollWidth - innerWidth")
                assert wider <= 0, (path, width, wider)
            page.set_viewport_size({"width": chromium.WIDE, "height": 900})
            if scene is tame:
                shoot(page, name)


def test_a_memory_is_corrected_retracted_and_forgotten(
    page: Page, machine: Installation, scenes: tuple[Scene, Scene]
) -> None:
    page.goto(at(machine, f"/observations/{scenes[0].note}"))
    page.click("#correct > summary")
    page.fill("#correct [name=text]", "Staging runs Postgres 17.\nSince Monday.")
    page.click("#correct button")
    expect(page.locator("main")).to_contain_text("stands in the place of what was said before")
    expect(page.locator("pre.text")).to_have_text("Staging runs Postgres 17.\nSince Monday.")
    shoot(page, "memory-corrected")
    page.click(f"a[href='/observations/{scenes[0].note}']")
    expect(page.locator("main")).to_contain_text("It no longer holds")
    page.go_back()
    page.click("#retract > summary")
    page.fill("[name=because]", "Staging was switched off.")
    page.click("#retract button")
    expect(page.locator("main")).to_contain_text("Staging was switched off.")
    here = page.url.partition("?")[0]
    page.click("text=Forget …")
    expect(page.locator("main")).to_contain_text("Nothing has been changed yet")
    shoot(page, "forget")
    page.click("text=Forget it for good")
    expect(page.locator("main")).to_contain_text("Tombstone")
    shoot(page, "forgotten")
    assert machine.rows("select from mem_observations where id = %s", int(here.rsplit("/", 1)[1])) == []


def test_a_candidate_is_approved_with_the_keys_and_edited(
    page: Page, machine: Installation, scenes: tuple[Scene, Scene]
) -> None:
    candidate = scenes[0].candidate
    page.keyboard.press("g")
    page.keyboard.press("e")
    page.wait_for_url(at(machine, "/lessons"))
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url(at(machine, f"/lessons/{candidate}"))
    page.click("text=Approve")
    expect(page.locator("main")).to_contain_text("speaks from now on")
    page.click("#edit > summary")
    page.fill("[name=rule]", "Run make migrate before make test.")
    page.select_option("[name=action]", "ask")
    shoot(page, "lesson-edit")
    page.click("#edit button")
    expect(page.locator("main")).to_contain_text("asks you before the call")
    assert machine.get(f"/api/lessons/{candidate}")["rule"] == "Run make migrate before make test."


def test_a_backup_is_made_and_proven_from_the_page(page: Page, machine: Installation) -> None:
    page.set_default_timeout(120_000)
    page.goto(at(machine, "/health"))
    page.click("text=Back up now")
    expect(page.locator("main")).to_contain_text("The backup is whole", timeout=120_000)
    page.click("button:text-is('Prove')")
    expect(page.locator("table", has_text="proven")).to_contain_text("whole", timeout=120_000)
    shoot(page, "health")
