from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest

from agent_memory.database import Connection, server
from agent_memory.errors import AgentMemoryError
from agent_memory.journal import projects
from agent_memory.lessons import gate, store
from agent_memory.lessons.lesson import Draft, Lesson, Maker
from agent_memory.lessons.trigger import Trigger
from agent_memory.settings import Settings

SETTINGS = Settings()
FORCE = Trigger(tools=("Bash",), pattern="git push --force")


@pytest.fixture
def project(conn: Connection) -> int:
    return projects.ensure(conn, projects.identify("/home/dev/shop"))


def draft(project_id: int | None, made_by: Maker = "user", **more: Any) -> Draft:
    given: dict[str, Any] = {"rule": "Push with --force-with-lease: others push to main.", "trigger": FORCE}
    return Draft(project_id=project_id, made_by=made_by, **given | more)


def create(conn: Connection, wanted: Draft, **how: bool) -> Lesson:
    return gate.create(conn, wanted, SETTINGS, **how).lesson


def test_a_lesson_comes_back_as_it_was_given(conn: Connection, project: int) -> None:
    trigger = Trigger(
        tools=("Bash", "mcp__git__*"), pattern=r"push\s+-f", kind="regex", files=("*.py", "/etc/**")
    )
    made = create(conn, draft(project, title="No force", severity="critical", trigger=trigger), active=True)
    assert made == gate.find(conn, made.id)
    assert (made.title, made.severity, made.status, made.action) == ("No force", "critical", "active", "warn")
    assert made.trigger == trigger
    assert made.project == "path:/home/dev/shop"
    assert made.decided_at is not None


def test_a_lesson_without_a_title_is_called_by_its_rules_beginning(conn: Connection, project: int) -> None:
    assert create(conn, draft(project)).title == "Push with --force-with-lease: others push to main."


def test_a_rule_of_280_characters_is_taken_and_of_281_is_refused_with_the_count(
    conn: Connection, project: int
) -> None:
    assert len(create(conn, draft(project, rule="é" * 280)).rule) == 280
    with pytest.raises(AgentMemoryError, match=r"281 characters; at most 280") as refused:
        create(conn, draft(project, rule="x" * 281))
    assert refused.value.status == 422


@pytest.mark.parametrize("made_by", ["model", "mining"])
def test_only_the_user_makes_a_lesson_active_or_more_than_a_warning(
    conn: Connection, project: int, made_by: Maker
) -> None:
    assert create(conn, draft(project, made_by)).status == "candidate"
    with pytest.raises(AgentMemoryError, match="Only the user"):
        create(conn, draft(project, made_by), active=True)
    for action in ("ask", "deny"):
        with pytest.raises(AgentMemoryError, match="Only the user"):
            create(conn, draft(project, made_by, action=action), may_deny=True)


def test_a_lesson_denies_only_by_an_explicit_word(conn: Connection, project: int) -> None:
    with pytest.raises(AgentMemoryError, match="only if the user has said so") as refused:
        create(conn, draft(project, action="deny"), active=True)
    assert refused.value.status == 403
    made = create(conn, draft(project, action="ask"), active=True)
    with pytest.raises(AgentMemoryError, match="only if the user has said so"):
        gate.change(conn, made.id, SETTINGS, action="deny")
    assert gate.change(conn, made.id, SETTINGS, action="deny", may_deny=True).action == "deny"
    assert gate.change(conn, made.id, SETTINGS, title="Other").action == "deny", "it was said once"


def test_only_before_a_call_can_it_be_stopped(conn: Connection, project: int) -> None:
    later = dataclasses.replace(FORCE, phase="after_failure")
    with pytest.raises(AgentMemoryError, match="no call to stop"):
        create(conn, draft(project, trigger=later, action="ask"))
    made = create(conn, draft(project, action="ask"))
    with pytest.raises(AgentMemoryError, match="no call to stop"):
        gate.change(conn, made.id, SETTINGS, trigger=later)


def test_the_same_lesson_is_made_once(conn: Connection, project: int) -> None:
    first = gate.create(conn, draft(project), SETTINGS)
    again = gate.create(
        conn, draft(project, rule="  push with --force-with-lease:  others push to main."), SETTINGS
    )
    assert (first.new, again.new) == (True, False)
    assert again.lesson == first.lesson
    other_rule = gate.create(conn, draft(project, rule="Never."), SETTINGS)
    assert other_rule.new
    elsewhere = gate.create(conn, draft(None), SETTINGS)
    assert elsewhere.new, "global is another scope"


@pytest.mark.parametrize("made_by", ["model", "mining"])
def test_what_the_user_rejected_is_not_proposed_again(conn: Connection, project: int, made_by: Maker) -> None:
    made = create(conn, draft(project, "mining", origin="bash/git-push/rejected"))
    gate.change(conn, made.id, SETTINGS, status="rejected")
    again = gate.create(conn, draft(project, made_by, rule="Worded otherwise."), SETTINGS)
    assert (again.new, again.lesson.status) == (False, "rejected")
    moved = draft(project, "mining", origin="bash/git-push/rejected", trigger=Trigger(pattern="another"))
    assert not gate.create(conn, moved, SETTINGS).new


def test_what_holds_everywhere_is_not_proposed_for_a_project(conn: Connection, project: int) -> None:
    everywhere = create(conn, draft(None), active=True)
    assert gate.create(conn, draft(project, "mining"), SETTINGS).lesson == everywhere
    assert gate.create(conn, draft(project), SETTINGS).new, "the user may say it for one project too"


def test_the_user_may_say_again_what_was_rejected(conn: Connection, project: int) -> None:
    made = create(conn, draft(project, "model"))
    gate.change(conn, made.id, SETTINGS, status="rejected")
    assert create(conn, draft(project), active=True).status == "active"


def test_decisions_go_one_way(conn: Connection, project: int) -> None:
    made = create(conn, draft(project, "model"))
    with pytest.raises(AgentMemoryError, match="Reject it"):
        gate.change(conn, made.id, SETTINGS, status="retired")
    assert gate.change(conn, made.id, SETTINGS, status="active").status == "active"
    with pytest.raises(AgentMemoryError, match="Retire it"):
        gate.change(conn, made.id, SETTINGS, status="rejected")
    with pytest.raises(AgentMemoryError, match="no candidate again"):
        gate.change(conn, made.id, SETTINGS, status="candidate")
    assert gate.change(conn, made.id, SETTINGS, status="retired").status == "retired"
    assert gate.change(conn, made.id, SETTINGS, status="active").status == "active"


def test_secrets_are_taken_out_and_a_trigger_that_needs_one_is_refused(
    conn: Connection, project: int
) -> None:
    secret = "ghp_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8"
    made = create(conn, draft(project, "mining", rule=f"Use {secret}", evidence={"error": f"bad {secret}"}))
    assert secret not in str(made)
    with pytest.raises(AgentMemoryError, match="holds a secret"):
        create(conn, draft(project, trigger=Trigger(pattern=f"token {secret}")))


def test_a_new_trigger_starts_a_new_record(conn: Connection, project: int) -> None:
    made = create(conn, draft(project))
    conn.commit()
    same = gate.change(conn, made.id, SETTINGS, rule="Shorter.")
    assert same.trigger_since == made.trigger_since
    assert (
        gate.change(conn, made.id, SETTINGS, trigger=Trigger(pattern="x y")).trigger_since
        > made.trigger_since
    )


def test_unknown_words_and_lessons_are_refused(conn: Connection, project: int) -> None:
    wrongs: list[dict[str, Any]] = [{"severity": "bad"}, {"action": "no"}, {"rule": " "}, {"title": "x" * 81}]
    for wrong in wrongs:
        with pytest.raises(AgentMemoryError):
            create(conn, draft(project, **wrong))
    with pytest.raises(AgentMemoryError, match="no lesson 99"):
        gate.change(conn, 99, SETTINGS, status="active")


def test_the_active_lessons_are_read_the_weightiest_first(conn: Connection, project: int) -> None:
    for severity in ("info", "critical", "warning"):
        create(conn, draft(project, rule=severity, severity=severity), active=True)
    create(conn, draft(project, rule="proposed"))
    assert [one.severity for one in store.active(conn)] == ["critical", "warning", "info"]


def test_mining_again_changes_nothing(conn: Connection, project: int) -> None:
    made = create(conn, draft(project, "mining", evidence={"tool_calls": [1]}, estimate={"right": 2}))
    before = conn.execute("select xmin::text from mem_lessons").fetchall()
    conn.commit()
    store.set_estimate(conn, made.id, evidence={"tool_calls": [1]}, estimate={"right": 2})
    conn.commit()
    assert conn.execute("select xmin::text from mem_lessons").fetchall() == before
    store.set_estimate(conn, made.id, evidence={"tool_calls": [1, 2]}, estimate={"right": 3})
    assert gate.find(conn, made.id).estimate == {"right": 3}


@pytest.fixture
def listener(database_url: str) -> Iterator[Connection]:
    with server.connect(database_url) as connection:
        connection.autocommit = True
        connection.execute("listen mem_lessons")
        yield connection


def test_every_change_is_told(conn: Connection, project: int, listener: Connection) -> None:
    made = create(conn, draft(project))
    conn.commit()
    assert list(listener.notifies(timeout=5, stop_after=1))
    gate.change(conn, made.id, SETTINGS, status="active")
    conn.commit()
    assert list(listener.notifies(timeout=5, stop_after=1))
    conn.execute("delete from mem_projects where id = %s", (project,))
    conn.commit()
    assert list(listener.notifies(timeout=5, stop_after=1)), (
        "a forgotten project's lessons are silent at once"
    )
