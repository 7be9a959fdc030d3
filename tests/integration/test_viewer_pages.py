"""The viewer's pages on the real application: what is shown, what a form does, and who may."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import pytest
from starlette.testclient import TestClient
from tests import shown
from tests.integration.conftest import remember
from tests.shown import Scene

from agent_memory import paths
from agent_memory.access import audit, tokens
from agent_memory.capture import spool
from agent_memory.service import auth, web
from agent_memory.service.state import State
from agent_memory.service.web import page

OURS, THEIRS = "/home/dev/shop", "/home/dev/other"
CANARY = "The heron nests behind the weir."
HOSTILE = (
    "<script>alert(1)</script> \"><img src=x onerror=alert(1)> '-alert(1)-' </textarea><script>x</script>"
    " javascript:alert(1) \x1b[31mred \u202egnp.exe {{ 7 * 7 }}"
)


@pytest.fixture
def scene(api: TestClient, state: State) -> Scene:
    return made(api, state, OURS, "ours-1")


def made(api: TestClient, state: State, folder: str, session: str, words: str = "") -> Scene:
    def post(path: str, body: dict[str, Any]) -> Any:
        answer = api.post(path, json=body)
        assert answer.is_success, answer.text
        return answer.json()

    shown.record(post, folder, session, words)
    remember(state)
    with state.pool.connection() as conn:
        return shown.furnish(post, conn, folder, session, words)


class Tags(HTMLParser):
    """The elements of a page, with their attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def pages(scene: Scene, session: str) -> list[str]:
    return [
        *("/observations", f"/observations?project={scene.project}&kind=note", f"/observations/{scene.note}"),
        *("/lessons", "/lessons?decided=true", f"/lessons/{scene.lesson}", f"/lessons/{scene.candidate}"),
        *("/lessons/ledger", "/told", f"/told?session={session}"),
        *("/training", f"/training/{scene.run}", "/projects", "/health", "/admin/audit"),
    ]


def turn_of(state: State, session: str) -> int:
    """The observation of the session's turn."""
    with state.pool.connection() as conn:
        row = conn.execute(
            "select id from mem_observations where session_id = %s and kind = 'turn'", (session,)
        ).fetchone()
    assert row is not None
    return int(row["id"])


def log_in(api: TestClient, state: State) -> str:
    """Hold a browser's cookie from now on, and the viewer's own Origin; the value that its forms carry."""
    with state.pool.connection() as conn:
        api.cookies.set(auth.COOKIE, tokens.create(conn, f"{auth.VIEWER}test", scope="admin"))
    del api.headers["authorization"]
    api.headers["origin"] = "http://127.0.0.1:3377"
    found = re.search(r'name="csrf" value="(\w+)"', api.get("/observations").text)
    assert found
    return found[1]


def test_every_page_shows_what_there_is(api: TestClient, scene: Scene, state: State) -> None:
    expected = {
        "/observations": "Staging",
        f"/observations/{scene.note}": "a note: its own source",
        f"/observations/{turn_of(state, 'ours-1')}": "make migrate",
        "/lessons": "1 candidate for your word",
        f"/lessons/{scene.candidate}": "what worked",
        f"/lessons/{scene.lesson}": "it spoke here",
        "/lessons/ledger": "Never push to main",
        "/told": "certain enough",
        "/told?session=ours-1": "Lessons that spoke in it",
        "/training": "my-model",
        f"/training/{scene.run}": "<polyline",
        "/projects": OURS,
        "/health": "mem_tool_calls",
    }
    for path, text in expected.items():
        answer = api.get(path)
        assert (path, answer.status_code) == (path, 200)
        assert text in answer.text, path
        assert "'unsafe" not in answer.headers["content-security-policy"]
        assert "style=" not in answer.text, path


def test_an_empty_memory_has_pages_too(api: TestClient) -> None:
    for path in (
        "/observations",
        "/lessons",
        "/lessons/ledger",
        "/told",
        "/training",
        "/projects",
        "/health",
    ):
        assert api.get(path).status_code == 200, path
    for path in ("/observations/1", "/lessons/1", "/training/1", "/told?session=nobody"):
        answer = api.get(path)
        assert (answer.status_code, "text/html" in answer.headers["content-type"]) == (404, True), path


def test_stored_markup_is_shown_as_text_on_every_page(api: TestClient, state: State) -> None:
    scene = made(api, state, "/home/dev/<script>alert(1)</script>", "hostile-1", HOSTILE)
    spool.set_aside(_bad_file("no json <script>alert(1)</script>"), f"Not readable. {HOSTILE}")
    for path in [*pages(scene, "hostile-1"), f"/observations/{turn_of(state, 'hostile-1')}"]:
        text = api.get(path).text
        tags = Tags()
        tags.feed(text)
        assert [given for tag, given in tags.found if tag == "script"] == [
            {"src": "/static/viewer.js", "defer": None}
        ], path
        for tag, given in tags.found:
            assert tag not in ("img", "iframe", "object", "style"), path
            assert not [name for name in given if name.startswith("on") or name == "style"], (path, tag)
            for name in ("href", "src", "action"):
                assert (given.get(name) or "/").startswith(("/", "#", "?")), (path, tag, given)
        assert "\x1b" not in text, path
        assert "\u202e" not in text, path
    plan = api.post(f"/observations/{scene.note}/forget")
    assert "<script>alert" not in plan.text
    assert "&lt;script&gt;alert" in plan.text


def test_a_correction_supersedes_and_both_are_shown_in_turn(api: TestClient, scene: Scene) -> None:
    form = {"title": "Staging", "text": "Staging runs Postgres 17.\r\nSince Monday."}
    answer = api.post(f"/observations/{scene.note}/correct", data=form)
    number = int(answer.url.path.rsplit("/", 1)[1])
    assert "stands in the place of what was said before" in answer.text
    known = api.get(f"/api/observations/{number}").json()
    assert (known["supersedes"], known["text"]) == (scene.note, "Staging runs Postgres 17.\nSince Monday.")
    assert f'href="/observations/{scene.note}"' in answer.text
    before = api.get(f"/observations/{scene.note}").text
    assert f'<a href="/observations/{number}">memory {number}</a> stands in its place' in before
    assert "/correct" not in before
    again = api.post(f"/observations/{scene.note}/correct", data=form | {"text": "x y z"})
    assert again.status_code == 409


def test_a_title_alone_can_be_corrected_and_back_again(api: TestClient, scene: Scene) -> None:
    text = api.get(f"/api/observations/{scene.note}").json()["text"]
    seen = [scene.note]
    for title in ("The staging database", "Staging"):
        answer = api.post(f"/observations/{seen[-1]}/correct", data={"title": title, "text": text})
        assert answer.status_code == 200
        seen.append(int(answer.url.path.rsplit("/", 1)[1]))
    assert len(set(seen)) == 3
    known = api.get(f"/api/observations/{seen[-1]}").json()
    assert (known["title"], known["text"], known["superseded_by"]) == ("Staging", text, None)
    same = api.post(f"/observations/{seen[-1]}/correct", data={"title": "Staging", "text": text})
    assert (same.status_code, "says exactly this" in same.text) == (422, True)


def test_what_a_turn_tells_is_corrected_by_a_note(api: TestClient, scene: Scene, state: State) -> None:
    turn = turn_of(state, "ours-1")
    answer = api.post(f"/observations/{turn}/correct", data={"title": "Tests", "text": "Migrate first."})
    known = api.get(f"/api/observations/{answer.url.path.rsplit('/', 1)[1]}").json()
    assert (known["kind"], known["supersedes"]) == ("note", turn)


def test_one_memory_can_be_named_as_standing_for_another_and_not_in_a_circle(
    api: TestClient, scene: Scene
) -> None:
    (other,) = api.post("/api/observations", json={"project": OURS, "text": "It is Postgres 18."}).json()[
        "ids"
    ]
    assert api.post(f"/observations/{scene.note}/supersede", data={"later": other}).status_code == 200
    assert api.get(f"/api/observations/{scene.note}").json()["superseded_by"] == other
    assert api.post(f"/observations/{other}/supersede", data={"later": scene.note}).status_code == 422
    assert api.get(f"/api/observations/{other}").json()["superseded_by"] is None
    assert api.post(f"/observations/{scene.note}/supersede", data={"later": scene.note}).status_code == 422


def test_a_retraction_has_a_reason_and_can_be_taken_back(api: TestClient, scene: Scene) -> None:
    there = f"/observations/{scene.note}"
    assert "It moved." in api.post(f"{there}/retract", data={"because": "It moved."}).text
    assert api.get(f"/api{there}").json()["held"]["until"]
    assert "It holds again" in api.post(f"{there}/hold").text
    assert api.get(f"/api{there}").json()["held"]["until"] is None


def test_forgetting_first_tells_what_would_go(api: TestClient, scene: Scene, state: State) -> None:
    turn = turn_of(state, "ours-1")
    plan = api.post(f"/observations/{turn}/forget")
    assert "mem_tool_calls" in plan.text
    assert "Nothing has been changed yet" in plan.text
    assert api.get(f"/api/observations/{turn}").status_code == 200
    receipt = api.post(f"/observations/{turn}/forget", data={"sure": "true"})
    assert "Tombstone" in receipt.text
    # the data set that holds something of it is named, and what learned from it, with the machine where they lie
    assert "/data/set  on laptop-3f9a" in receipt.text
    assert "/training/my-model  on laptop-3f9a" in receipt.text
    assert api.get(f"/observations/{turn}").status_code == 404
    assert "stale since" in api.get("/training").text


def test_training_names_the_machines_where_there_are_several(
    api: TestClient, scene: Scene, state: State
) -> None:
    assert "laptop-3f9a" not in api.get("/training").text
    assert "on laptop-3f9a" in api.get(f"/training/{scene.run}").text
    with state.pool.connection() as conn:
        conn.execute(
            "insert into mem_training_runs (name, folder, machine, created_at, config)"
            " select name, folder, 'desk-0b17', created_at, config from mem_training_runs"
        )
    both = api.get("/training").text
    assert both.count("desk-0b17") == 1
    assert both.count("laptop-3f9a") == 2  # of a run, and of its data set


def test_a_candidate_is_approved_edited_and_retired(api: TestClient, scene: Scene) -> None:
    there = f"/lessons/{scene.candidate}"
    assert "speaks from now on" in api.post(f"{there}/status", data={"status": "active"}).text
    form = {
        "title": "Migrate first",
        "rule": "Run make migrate before make test.",
        "severity": "critical",
        "action": "ask",
        "phase": "before",
        "kind": "literal",
        "pattern": "make test\r\n--all",
        "tools": "Bash, mcp__make__*",
        "files": "Makefile\r\nshop/**/*.py",
    }
    assert "Saved." in api.post(f"{there}/edit", data=form).text
    known = api.get(f"/api{there}").json()
    assert (known["rule"], known["severity"], known["action"]) == (form["rule"], "critical", "ask")
    assert known["trigger_pattern"] == "make test\n--all"
    assert known["trigger_tool"] == ["Bash", "mcp__make__*"]
    assert known["trigger_files"] == ["Makefile", "shop/**/*.py"]
    refused = api.post(f"{there}/edit", data=form | {"action": "deny"})
    assert (refused.status_code, "only if the user has said so" in refused.text) == (403, True)
    assert api.post(f"{there}/edit", data=form | {"action": "deny", "may_deny": "true"}).status_code == 200
    answer = api.post(f"{there}/status", data={"status": "retired", "back": "true"})
    assert answer.url.path == "/lessons"
    assert "Migrate first" in api.get("/lessons?decided=true").text


def test_what_is_done_on_a_page_is_in_the_audit_log(api: TestClient, scene: Scene, state: State) -> None:
    api.post(f"/observations/{scene.note}/retract", data={"because": CANARY})
    api.post(f"/lessons/{scene.candidate}/status", data={"status": "rejected"})
    api.post(f"/observations/{scene.note}/forget")
    with state.pool.connection() as conn:
        rows = audit.read(conn, limit=3)[::-1]
    assert [(row["who"], row["action"], row["target"]) for row in rows] == [
        ("owner", f"POST /observations/{scene.note}/retract", f"observation {scene.note}"),
        ("owner", f"POST /lessons/{scene.candidate}/status", f"lesson {scene.candidate}: rejected"),
        ("owner", f"POST /observations/{scene.note}/forget", f"observation {scene.note} (dry run)"),
    ]
    assert CANARY not in str(rows)
    assert f"/observations/{scene.note}/retract" in api.get("/admin/audit").text


FORMS: dict[str, dict[str, str]] = {
    "/observations": {"project": OURS, "text": "x"},
    "/observations/{number}/correct": {"title": "x", "text": "x"},
    "/observations/{number}/supersede": {"later": "{number}"},
    "/observations/{number}/retract": {},
    "/observations/{number}/hold": {},
    "/observations/{number}/forget": {"sure": "true"},
    "/lessons/{number}/status": {"status": "retired"},
    "/lessons/{number}/edit": {
        "title": "x",
        "rule": "x",
        "severity": "info",
        "action": "warn",
        "phase": "before",
        "kind": "regex",
    },
    "/admin/backups": {},
    "/admin/backups/{name}/verify": {},
}
"""What each form sends. A new one has to be added here: the tests below send them all."""


def state_of(state: State) -> Any:
    with state.pool.connection() as conn:
        return [
            conn.execute(
                "select id, title, text, supersedes, valid_until from mem_observations order by id"
            ).fetchall(),
            conn.execute("select id, title, rule, status, action from mem_lessons order by id").fetchall(),
        ]


def test_every_form_is_refused_without_its_token_or_from_another_page(
    api: TestClient, scene: Scene, state: State
) -> None:
    sent = {path for path, methods in web.routes() if "POST" in methods} - {"/logout"}
    assert sent == set(FORMS), "add the form to FORMS"
    csrf = log_in(api, state)
    before = state_of(state)
    for path, form in FORMS.items():
        filled = path.format(number=scene.note, name="x")
        for data, headers in (
            (form, {}),
            (form | {"csrf": "0" * 64}, {}),
            (form | {"csrf": csrf}, {"origin": "http://127.0.0.1:8000"}),
            (form | {"csrf": csrf}, {"origin": "null"}),
        ):
            assert api.post(filled, data=data, headers=headers).status_code == 403, path
    assert state_of(state) == before
    good = api.post(f"/observations/{scene.note}/retract", data={"csrf": csrf, "because": "moved"})
    assert good.status_code == 200
    assert state_of(state) != before


def test_a_token_of_one_project_sees_and_does_nothing_of_another_on_any_page(
    api: TestClient, scene: Scene, state: State
) -> None:
    theirs = made(api, state, THEIRS, "theirs-1", CANARY)
    assert theirs.note != scene.note
    with state.pool.connection() as conn:
        bound = tokens.create(conn, "bound", scope="write", project_id=scene.project)
        reader = tokens.create(conn, "reader", scope="read")
    headers = {"authorization": f"Bearer {bound}"}
    before = state_of(state)
    asked = 0
    for path, methods in web.routes():
        if "GET" not in methods or path in ("/live", "/login"):
            continue
        for number in (theirs.note, theirs.lesson, theirs.candidate, theirs.run):
            filled = re.sub(r"{session_id(:path)?}", "theirs-1", path)
            filled = re.sub(r"{(\w+)(:path)?}", str(number), filled)
            for query in ({}, {"project": THEIRS}, {"project": str(theirs.project)}, {"session": "theirs-1"}):
                said = api.get(filled, params=query, headers=headers)
                assert CANARY not in said.text, (filled, query)
                assert "theirs-1" not in said.text.replace("&#39;theirs-1&#39;", ""), (filled, query)
                assert said.status_code < 500, (filled, query)
                asked += 1
    assert asked > 100
    for path in ("/health", "/training", "/admin/audit"):
        assert api.get(path, headers=headers).status_code == 403, path
    for who in (headers, {"authorization": f"Bearer {reader}"}):
        for path, form in FORMS.items():
            for number in {theirs.note, theirs.lesson, theirs.candidate}:
                filled = path.format(number=number, name="x")
                data = {key: value.format(number=scene.note) for key, value in form.items()}
                data |= {"project": THEIRS} if "project" in form else {}
                assert api.post(filled, data=data, headers=who).status_code in (403, 404), filled
    assert state_of(state) == before
    # Nor does a reader see a button that it may not press.
    assert "<button" in api.get(f"/observations/{scene.note}").text
    assert (
        "/forget"
        not in api.get(f"/observations/{scene.note}", headers={"authorization": f"Bearer {reader}"}).text
    )


def test_a_lesson_for_every_project_shows_only_what_it_did_in_ones_own(
    api: TestClient, scene: Scene, state: State
) -> None:
    made(api, state, THEIRS, "theirs-1", CANARY)
    with state.pool.connection() as conn:
        conn.execute("update mem_lessons set project_id = null where id = %s", (scene.lesson,))
        conn.execute("update mem_lesson_events set lesson_id = %s", (scene.lesson,))
        bound = tokens.create(conn, "bound", scope="read", project_id=scene.project)
    text = api.get(f"/lessons/{scene.lesson}", headers={"authorization": f"Bearer {bound}"}).text
    assert "ours-1" in text
    assert "theirs-1" not in text
    assert "theirs-1" in api.get(f"/lessons/{scene.lesson}").text


def test_health_tells_files_that_could_not_be_read_with_their_reason(api: TestClient) -> None:
    file = _bad_file("{no json")
    spool.set_aside(file, "It is no JSON object.")
    text = api.get("/health").text
    assert file.name in text
    assert "It is no JSON object." in text
    assert "could not be read" in text


def _bad_file(content: str) -> Any:
    file = paths.make_private(paths.spool_new()) / f"{'1' * 20}-1-abc.claude"
    file.write_text(content, encoding="utf-8")
    return file


def test_the_keys_of_the_pages_are_all_different() -> None:
    assert len({tab.key for tab in page.TABS}) == len(page.TABS)
