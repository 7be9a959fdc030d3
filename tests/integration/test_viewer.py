"""The viewer's pages through the real application: who gets in, that a form is our own, what is shown and how."""

from __future__ import annotations

import platform
import re
import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import pytest
from starlette.testclient import TestClient
from tests import scene
from tests.integration.conftest import remember

from agent_memory.access import tokens
from agent_memory.journal.event import Event, Prompt, ToolCall
from agent_memory.journal.ingest import ingest
from agent_memory.replay import store
from agent_memory.service import app, auth, sockets, web
from agent_memory.service.state import State
from agent_memory.service.web import login
from agent_memory.service.web.page import HEADERS

HERE = "http://127.0.0.1:3377"
SHOP = "/home/dev/shop"
PAGES = ("/", "/sessions", f"/sessions/{scene.MAIN}", "/recall?q=voucher", "/timeline", "/calls/1")


@pytest.fixture
def told(api: TestClient, state: State) -> None:
    """The scene."""
    scene.record(lambda path, body: api.post(path, json=body).raise_for_status(), SHOP)
    remember(state)


@pytest.fixture
def browser(state: State) -> Iterator[TestClient]:
    """A browser that is not logged in."""
    with TestClient(app.create(state), base_url=HERE, follow_redirects=False) as client:
        yield client


def link(browser: TestClient, monkeypatch: pytest.MonkeyPatch) -> str:
    """What `agent-memory open` gets, over the socket."""
    with monkeypatch.context() as patch:
        patch.setattr(auth, "over_unix_socket", lambda _: True)
        url: str = browser.post("/api/admin/viewer/links").json()["url"]
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}"


@pytest.fixture
def logged_in(browser: TestClient, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    assert browser.get(link(browser, monkeypatch)).status_code == 200
    return browser


def test_without_a_login_no_page_tells_anything(browser: TestClient, told: None) -> None:
    for path in (*PAGES, "/live", "/no-such-page", "/admin/anything"):
        refused = browser.get(path)
        assert refused.status_code == 401, path
        assert "agent-memory open" in refused.text
        assert "voucher page" not in refused.text
    assert browser.post("/logout").status_code == 401


def test_every_page_answers_and_carries_the_policy(logged_in: TestClient, told: None) -> None:
    for path in PAGES:
        page = logged_in.get(path)
        assert page.status_code == 200, path
        assert page.headers["content-type"].startswith("text/html")
        assert {name: page.headers[name] for name in HEADERS} == HEADERS
        assert page.headers["cache-control"] == "no-store"
        assert not re.search(r"<script>|<style|\sstyle=|\son[a-z]+=|javascript:", page.text.split("<main")[0])
    assert "'unsafe" not in HEADERS["Content-Security-Policy"]
    for path in ("/static/viewer.css", "/static/viewer.js", "/login"):
        assert logged_in.get(path).headers["x-content-type-options"] == "nosniff"


def test_a_link_is_good_once_and_for_two_minutes(
    browser: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = link(browser, monkeypatch)
    assert browser.get(first).status_code == 200
    browser.cookies.clear()
    assert browser.get(first).status_code == 401
    assert auth.COOKIE not in browser.cookies
    monkeypatch.setattr(login, "LINK_S", 0.0)
    assert browser.get(link(browser, monkeypatch)).status_code == 401
    assert browser.get("/login?key=").status_code == 401


def test_the_viewer_has_a_name_that_is_this_homes_alone(
    state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = sockets.own_name(state.settings)
    assert re.fullmatch(r"agent-memory-[0-9a-f]{24}\.localhost", name)
    here = f"http://{name}:3377"
    with TestClient(app.create(state), base_url=here, follow_redirects=False) as client:
        with monkeypatch.context() as patch:
            patch.setattr(auth, "over_unix_socket", lambda _: True)
            url = client.post("/api/admin/viewer/links").json()["url"]
        assert url.startswith(f"{here}/login?key=")
        assert client.get(url).status_code == 200
        form = {"csrf": token_in(client.get("/sessions").text)}
        other = {"origin": "http://agent-memory-0123.localhost:3377"}
        assert client.post("/logout", data=form, headers=other).status_code == 403
        assert (
            client.get("/sessions", headers={"host": "agent-memory-0123.localhost:3377"}).status_code == 403
        )
        assert client.post("/logout", data=form, headers={"origin": here}).status_code == 303


def test_where_a_browser_would_not_find_that_name_the_address_is_shown(
    state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = state.settings
    assert sockets.own_name(config) in sockets.viewer(config)
    elsewhere = config.model_copy(update={"agent_memory_host": "127.0.0.2"})
    assert sockets.viewer(elsewhere) == "http://127.0.0.2:3377/"
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    for known, shown in (
        ([("127.0.0.1", 0)], sockets.own_name(config)),
        ([("203.0.113.1", 0)], "127.0.0.1:3377"),
    ):
        found = [(0, 0, 0, "", at) for at in known]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, found=found: found)
        assert shown in sockets.viewer(config)


def test_a_link_is_made_over_the_socket_alone(api: TestClient, browser: TestClient) -> None:
    assert api.post("/api/admin/viewer/links").status_code == 403
    assert browser.post("/api/admin/viewer/links").status_code == 401


def test_the_cookie_is_the_browsers_alone(logged_in: TestClient, state: State, told: None) -> None:
    (cookie,) = (one for one in logged_in.cookies.jar if one.name == auth.COOKIE)
    assert cookie.has_nonstandard_attr("HttpOnly")
    assert cookie.get_nonstandard_attr("SameSite") == "strict"
    assert cookie.value
    for path in ("/api/sessions/x", "/api/prompts", "/api/stream", "/api/admin/tokens", "/openapi.json"):
        assert logged_in.get(path).status_code == 401, path
    with state.pool.connection() as conn:
        other = tokens.create(conn, "codex", scope="admin")
        kept = [row["name"] for row in tokens.listed(conn)]
        assert cookie.value not in str(conn.execute("select * from mem_api_tokens").fetchall())
    assert [name.startswith(auth.VIEWER) for name in kept] == [False, True]
    logged_in.cookies.clear()
    logged_in.cookies.set(auth.COOKIE, other)  # a program's token is no browser's
    assert logged_in.get("/sessions").status_code == 401


def test_logging_out_ends_the_login_and_so_does_its_time(logged_in: TestClient, state: State) -> None:
    cookie = logged_in.cookies[auth.COOKIE]
    assert logged_in.get("/sessions").status_code == 200
    with state.pool.connection() as conn:
        conn.execute("update mem_api_tokens set expires_at = now() - interval '1 second'")
    assert logged_in.get("/sessions").status_code == 401
    with state.pool.connection() as conn:
        conn.execute("update mem_api_tokens set expires_at = %s", (datetime.now(UTC) + timedelta(days=1),))
    form = {"csrf": token_in(logged_in.get("/sessions").text)}
    gone = logged_in.post("/logout", data=form, headers={"origin": HERE})
    assert (gone.status_code, gone.headers["location"]) == (303, "/login")
    logged_in.cookies.clear()
    logged_in.cookies.set(auth.COOKIE, cookie)
    assert logged_in.get("/sessions").status_code == 401


def token_in(html: str) -> str:
    found = re.search(r'name="csrf" value="([0-9a-f]{64})"', html)
    assert found
    return found[1]


def test_a_form_that_is_not_our_own_changes_nothing(
    logged_in: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = token_in(logged_in.get("/sessions").text)
    for form, headers in (
        ({"csrf": good}, {}),  # no browser of today sends a form without its origin
        ({"csrf": good}, {"origin": "http://127.0.0.1:8080"}),  # another port of this machine
        ({"csrf": good}, {"origin": "http://localhost:3377"}),
        ({"csrf": good}, {"origin": "https://evil.example"}),
        ({"csrf": good}, {"origin": "null"}),
        ({"csrf": good}, {"origin": HERE, "sec-fetch-site": "same-site"}),
        ({"csrf": "0" * 64}, {"origin": HERE}),
        ({}, {"origin": HERE}),
    ):
        refused = logged_in.post("/logout", data=form, headers=headers)
        assert refused.status_code == 403, (form, headers)
        assert logged_in.get("/sessions").status_code == 200
    others = TestClient(logged_in.app, base_url=HERE)
    others.get(link(logged_in, monkeypatch))
    foreign = token_in(others.get("/sessions").text)  # another login's
    assert logged_in.post("/logout", data={"csrf": foreign}, headers={"origin": HERE}).status_code == 403
    assert logged_in.post("/logout", data={"csrf": good}, headers={"origin": HERE}).status_code == 303


def test_a_page_of_another_port_reads_nothing_with_the_cookie(logged_in: TestClient) -> None:
    for site in ("same-site", "cross-site"):
        for mode in ("cors", "no-cors", "same-origin"):
            asked = {"sec-fetch-site": site, "sec-fetch-mode": mode}
            assert logged_in.get("/sessions", headers=asked).status_code == 403
        went = {"sec-fetch-site": site, "sec-fetch-mode": "navigate"}
        assert logged_in.get("/sessions", headers=went).status_code == 200
    answer = logged_in.get("/sessions", headers={"origin": "http://localhost:5173"})
    assert "access-control-allow-credentials" not in answer.headers
    assert logged_in.get("/sessions", headers={"host": "evil.example"}).status_code == 403


def test_a_token_that_reads_may_look_and_change_nothing(
    browser: TestClient, state: State, told: None
) -> None:
    with state.pool.connection() as conn:
        reader = {"authorization": f"Bearer {tokens.create(conn, 'reader', scope='read')}"}
    assert browser.get("/sessions", headers=reader).status_code == 200
    for path, methods in web.routes():
        for method in set(methods) - {"GET"}:
            filled = re.sub(r"{[^}]*}", "1", path)
            assert browser.request(method, filled, headers=reader).status_code == 403, path
    assert browser.get("/admin/anything", headers=reader).status_code == 403


def test_a_session_goes_page_by_page_and_leads_to_a_step(api: TestClient, state: State, told: None) -> None:
    began = datetime(2026, 11, 25, 12, tzinfo=UTC)
    told_events = [
        Event(
            agent="claude",
            session_id="long",
            occurred_at=began + timedelta(seconds=number),
            cwd=SHOP,
            body=ToolCall(tool_use_id=f"t{number}", name="Bash", input={"command": f"echo {number}"}),
        )
        for number in range(450)
    ]
    with state.pool.connection() as conn:
        ingest(conn, told_events, state.settings)
        row = conn.execute("select id from mem_tool_calls where tool_use_id = 't420'").fetchone()
    assert row
    shown = [api.get("/sessions/long", params={"page": number}).text for number in range(1, 7)]
    numbers = [re.findall(r"<bdi>echo (\d+)</bdi>", page) for page in shown]
    assert [n for page in numbers for n in page] == [str(n) for n in range(450)]
    assert [len(page) for page in numbers] == [100, 100, 100, 100, 50, 0]
    led = api.get("/sessions/long", params={"call": row["id"]}, follow_redirects=False)
    assert led.headers["location"] == "/sessions/long?page=5#s421"
    assert 'id="s421"' in shown[4]
    assert api.get("/sessions/long?page=0").status_code == 422
    assert api.get("/sessions/no-such").status_code == 404


def test_turns_are_counted_also_where_two_prompts_came_at_the_same_moment(state: State) -> None:
    began = datetime(2026, 11, 25, 12, tzinfo=UTC)

    def event(seconds: int, body: Prompt | ToolCall, prompt_id: str) -> Event:
        at = began + timedelta(seconds=seconds)
        return Event(agent="claude", session_id="s", occurred_at=at, cwd=SHOP, prompt_id=prompt_id, body=body)

    def call(number: int, success: bool | None = True) -> ToolCall:
        return ToolCall(tool_use_id=f"t{number}", name="Bash", input={}, success=success)

    events = [
        event(0, call(1), "p0"),
        *(event(10, Prompt(text=f"Do {name}."), name) for name in ("p1", "p2")),
        event(10, call(2), "p1"),
        event(11, call(3, success=False), "p2"),
        event(20, Prompt(text="Do p3."), "p3"),
    ]
    with state.pool.connection() as conn:
        assert store.turns(conn, "s", agent_id=None) == []
        ingest(conn, events, state.settings)
        turns = store.turns(conn, "s", agent_id=None)
    assert [(t["place"], t["text"], t["steps"], t["calls"], t["failed"]) for t in turns] == [
        (1, None, 1, 1, 0),
        (2, "Do p1.", 1, 0, 0),
        (3, "Do p2.", 3, 2, 1),
        (6, "Do p3.", 1, 0, 0),
    ]


def test_odd_questions_get_a_page_that_says_so(logged_in: TestClient, told: None) -> None:
    for path, status in (
        ("/timeline?day=yesterday", 422),
        ("/timeline?day=0001-01-01", 422),
        ("/timeline?day=2001-02-03", 200),
        ("/sessions?cursor=nonsense", 422),
        ("/sessions?project=no-such", 404),
        ("/recall?q=%00&project=1", 200),
        ("/calls/999999", 404),
        ("/calls/99999999999999999999", 422),
        ("/nothing", 404),
    ):
        page = logged_in.get(path)
        assert page.status_code == status, path
        assert page.headers["content-type"].startswith("text/html"), path
