"""The viewer in a real browser."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Error, Page, expect
from pydantic import SecretStr

from agent_memory.service import sockets
from agent_memory.settings import Settings
from tests import scene
from tests.e2e import chromium
from tests.e2e.chromium import Watch
from tests.e2e.installation import Installation, installed, until

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
        until("nothing of it runs any more", lambda: machine.processes() == [])


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
    """The scene, and what the memory made of it."""
    scene.record(machine.post_any, str(machine.project))
    until("all is remembered", lambda: not machine.get("/api/health")["queue"]["pending"])


def log_in(page: Page, machine: Installation) -> None:
    page.goto(machine.run("open", "--no-browser").strip())
    page.wait_for_url(at(machine, "/"))


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
    token = (machine.memory / "token").read_text(encoding="utf-8").strip()
    return f"http://{sockets.own_name(Settings(agent_memory_token=SecretStr(token)))}:{machine.port}{path}"


def test_without_a_login_every_page_tells_how_to_log_in(browser: Browser, machine: Installation) -> None:
    with chromium.context(browser) as context:
        page = context.new_page()
        for path in ("/", "/sessions", "/no-such-page"):
            answer = page.goto(at(machine, path))
            assert answer is not None
            assert answer.status == 401
            expect(page.locator("body")).to_contain_text("agent-memory open")
            expect(page.locator("body")).not_to_contain_text("voucher page")
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


def test_no_other_program_of_this_machine_gets_the_cookie(page: Page, machine: Installation) -> None:
    """A browser sends a cookie to every port of its host."""
    heard: list[tuple[str, str | None]] = []

    class Other(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            heard.append((self.headers["Host"].partition(":")[0], self.headers["Cookie"]))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Other) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with page.context.new_page() as other:
            for host in ("127.0.0.1", "localhost", "other.localhost"):
                with contextlib.suppress(Error):  # a page without content is none
                    other.goto(f"http://{host}:{server.server_port}/")
        server.shutdown()
    assert heard == [("127.0.0.1", None), ("localhost", None), ("other.localhost", None)]
    with (
        socket.socket(socket.AF_INET6) as sister,
        pytest.raises(OSError, match=r"in use|[Nn]ot available|assign"),
    ):
        sister.bind(("::1", machine.port))  # where Chromium looks first


def test_the_sessions_are_listed_filtered_and_walked_with_keys(page: Page, machine: Installation) -> None:
    page.keyboard.press("g")
    page.keyboard.press("s")
    page.wait_for_url(at(machine, "/sessions"))
    expect(page.locator("[data-item]")).to_have_count(3)
    shoot(page, "sessions")
    page.keyboard.press("j")
    page.keyboard.press("j")
    expect(page.locator("[data-here]")).to_contain_text("The voucher page shows")
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


def test_a_session_is_read_as_it_went(page: Page, machine: Installation) -> None:
    page.goto(at(machine, f"/sessions/{scene.MAIN}"))
    shoot(page, "session")
    steps = page.locator(".steps > li")
    expect(steps.filter(has_text="wrong total")).to_have_count(1)
    expect(page.locator(".diff .add").first).to_contain_text("max(price - cart.voucher, 0)")
    expect(page.locator(".diff .del").first).to_contain_text("return price - cart.voucher")
    expect(page.locator("[data-failed]")).to_have_count(1)
    expect(page.locator("[data-failed]")).to_contain_text("failed")
    expect(page.locator(".step.spoke")).to_contain_text("Migrate before testing")
    expect(page.locator(".step.told")).to_contain_text("told the session")
    page.keyboard.press("n")
    expect(page.locator("[data-here]")).to_contain_text("make test")
    page.keyboard.press("Enter")
    expect(page.get_by_text('relation "vouchers" does not exist')).to_be_visible()
    fonts = [
        page.locator(where).first.evaluate("shown => getComputedStyle(shown).fontFamily")
        for where in (".step.call pre.text", ".asked")
    ]
    assert ["monospace" in font for font in fonts] == [True, False], "what a machine wrote stands in columns"
    page.click(".step.subagent a")
    page.wait_for_url("**?agent=*")
    expect(page.locator(".step.call")).to_have_count(3)
    shoot(page, "subagent")


def test_recall_tells_why_and_leads_to_the_turn(page: Page, machine: Installation) -> None:
    page.keyboard.press("/")
    page.keyboard.type("Which Postgres does staging run?")
    page.keyboard.press("Enter")
    page.wait_for_url("**/recall?**")
    hit = page.locator(".hit").first
    expect(hit).to_contain_text("pgbouncer")
    expect(hit).to_contain_text("rank 1")
    shoot(page, "recall")
    hit.get_by_text("its turn in the session").click()
    page.wait_for_url(f"**/sessions/{scene.EARLIER}?page=1#s1")
    expect(page.locator(":target")).to_contain_text("Which Postgres")
    page.goto(at(machine, "/recall?q=zebra+quantum+knitting"))
    expect(page.locator("main")).to_contain_text("Nothing relevant")
    shoot(page, "recall-nothing")


def test_the_timeline_tells_of_a_day(page: Page, machine: Installation) -> None:
    page.keyboard.press("g")
    page.keyboard.press("t")
    page.wait_for_url("**/timeline")
    expect(page.locator(".moments")).not_to_have_count(0)
    expect(page.locator("main")).to_contain_text("wrong total")
    shoot(page, "timeline")


def test_what_is_recorded_shows_up_by_itself(page: Page, machine: Installation) -> None:
    expect(page.locator("[data-stream]")).to_have_text("live")
    shoot(page, "live")
    said = {"session_id": "live-1", "cwd": str(machine.project), "prompt_id": "p1"}
    machine.post_any(
        "/api/queue", said | {"hook_event_name": "UserPromptSubmit", "prompt": f"Seen live {scene.SCRIPT}"}
    )
    expect(page.locator("[data-happenings] li").first).to_contain_text(f"Seen live {scene.SCRIPT}")
    called = said | {"tool_name": "Bash", "tool_use_id": "t1", "tool_input": {"command": "sleep 1"}}
    machine.post_any("/api/queue", called | {"hook_event_name": "PreToolUse"})
    first = page.locator("[data-happenings] li").first
    expect(first).to_contain_text("sleep 1")
    machine.post_any("/api/queue", called | {"hook_event_name": "PostToolUseFailure", "error": "Exit code 7"})
    expect(first).to_contain_text("Exit code 7")
    expect(page.locator("[data-happenings] li", has_text="sleep 1")).to_have_count(1)


def test_hostile_texts_are_texts(page: Page, machine: Installation) -> None:
    for path in (
        *("/", "/sessions", "/sessions?text=script", f"/sessions/{scene.HOSTILE}", "/timeline"),
        "/recall?q=heron",
        f"/recall?q={scene.IMAGE}",
        f"/sessions?text={scene.IMAGE}&agent={scene.IMAGE}",
    ):
        page.goto(at(machine, path))
        assert "owned" not in page.title().removeprefix(scene.SCRIPT)[:5]
        assert page.locator("main img, main script").count() == 0
        hrefs = page.evaluate(
            "[...document.querySelectorAll('[href],[src],[action]')].map(e => e.href || e.src || e.action)"
        )
        assert all(href.startswith(at(machine, "/")) for href in hrefs)
        text = page.locator("body").inner_text()
        assert not set("\x1b\u202e\u2066\u2069") & set(text), path
    page.goto(at(machine, f"/sessions/{scene.HOSTILE}"))
    expect(page.locator("main")).to_contain_text(scene.SCRIPT)
    expect(page.locator("main")).to_contain_text("⟨U+202E⟩")
    expect(page.locator("main")).to_contain_text("{{ 7 * 7 }}")
    shoot(page, "hostile")


def test_no_page_is_wider_than_a_phone(page: Page, machine: Installation) -> None:
    page.set_viewport_size({"width": chromium.NARROW, "height": 900})
    for path in (
        *("/", "/sessions", f"/sessions/{scene.MAIN}", f"/sessions/{scene.HOSTILE}", "/timeline", "/calls/1"),
        "/recall?q=heron",
    ):
        page.goto(at(machine, path))
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= chromium.NARROW, (path, wide)


def test_an_open_stream_holds_nobody_up(browser: Browser) -> None:
    with installed({"README.md": "A shop.\n"}, connected=False) as machine:
        machine.run("up", "--detach")
        with chromium.context(browser) as context:
            page = context.new_page()
            log_in(page, machine)
            expect(page.locator("[data-stream]")).to_have_text("live")
            machine.run("down")
            expect(page.locator("[data-stream]")).to_have_text("not connected")
            log = (machine.memory / "logs" / "service.log").read_text(encoding="utf-8")
            assert "Cancel" not in log
            machine.run("up", "--detach")
            expect(page.locator("[data-stream]")).to_have_text("live", timeout=30_000)
