from __future__ import annotations

from typing import Any

import pytest

from agent_memory.lessons.lesson import Action
from agent_memory.lessons.outcome import Outcome, Ran, outcome
from agent_memory.lessons.trigger import Trigger

FORCE = Trigger(tools=("Bash",), pattern=r"git push.* (--force|-f)\b(?:[^-]|$)", kind="regex")
FORCED, LEASED = "git push --force origin main", "git push --force-with-lease origin main"


def calls(*ran: tuple[Any, ...]) -> list[Ran]:
    """(command or (tool, input), success[, error[, prompt]]), numbered from 1."""
    made = []
    for number, (what, success, *more) in enumerate(ran, 1):
        tool, given = ("Bash", {"command": what}) if isinstance(what, str) else what
        error = more[0] if more else None
        prompt = more[1] if len(more) > 1 else "p1"
        made.append(
            Ran(
                id=number,
                tool_use_id=f"t{number}",
                tool=tool,
                input=given,
                success=success,
                error=error,
                prompt_id=prompt,
            )
        )
    return made


def told(trigger: Trigger, action: Action, ran: list[Ran]) -> tuple[Outcome, list[int]]:
    return outcome(trigger, action, ran[0], ran[1:], cwd="/home/dev/shop")


@pytest.mark.parametrize(
    ("ran", "expected"),
    [
        # It failed …
        ([(FORCED, False)], ("unknown", [1])),
        ([(FORCED, False), ("ls", True), (LEASED, True)], ("prevented", [1, 3])),
        ([(FORCED, False), (LEASED, False)], ("heeded", [1, 2])),
        ([(FORCED, False), (LEASED, None)], ("heeded", [1, 2])),
        ([(FORCED, False), (LEASED, True), (FORCED, False)], ("heeded", [1, 2])),
        ([(FORCED, False), (FORCED, False)], ("ignored", [1, 2])),
        ([(FORCED, False), (FORCED, True)], ("false", [1, 2])),
        ([(FORCED, None), ("ls", True)], ("unknown", [1])),
        # … or went well.
        ([(FORCED, True)], ("false", [1])),
        ([(FORCED, True), ("pytest", True)], ("false", [1])),
        ([(FORCED, True), (LEASED, True)], ("heeded", [1, 2])),
        ([(FORCED, True), (LEASED, True, None, "p2")], ("false", [1, 2])),
        ([(FORCED, True), *[("ls", True)] * 6, (LEASED, True)], ("false", [1, 8])),
    ],
)
def test_a_warning_before_a_call(ran: list[tuple[Any, ...]], expected: tuple[Outcome, list[int]]) -> None:
    assert told(FORCE, "warn", calls(*ran)) == expected


@pytest.mark.parametrize(
    ("ran", "expected"),
    [
        ([(FORCED, False), ("ls", True)], ("denied", [1])),
        ([(FORCED, False), (LEASED, True)], ("prevented", [1, 2])),
        ([(FORCED, False), (LEASED, False)], ("heeded", [1, 2])),
        ([(FORCED, False), (FORCED, False)], ("ignored", [1, 2])),
    ],
)
def test_a_refused_call(ran: list[tuple[Any, ...]], expected: tuple[Outcome, list[int]]) -> None:
    assert told(FORCE, "deny", calls(*ran)) == expected


def test_a_call_that_the_user_was_asked_about() -> None:
    declined = "The user doesn't want to proceed with this tool use."
    assert told(FORCE, "ask", calls((FORCED, False, declined), (LEASED, True))) == ("prevented", [1, 2])
    assert told(FORCE, "ask", calls((FORCED, False, declined))) == ("denied", [1])
    asked = "agent-memory asks, by lesson 4: Use --force-with-lease."
    assert told(FORCE, "ask", calls((FORCED, False, asked))) == ("denied", [1]), "nobody was there to answer"
    assert told(FORCE, "ask", calls((FORCED, True))) == ("false", [1]), "allowed, and it went well"
    assert told(FORCE, "ask", calls((FORCED, False, "rejected"))) == ("unknown", [1])


def test_after_a_failure_the_same_call_again_is_unchanged() -> None:
    trigger = Trigger(phase="after_failure", tools=("Bash",), pattern="no tests ran")
    error = "no tests ran"
    assert told(trigger, "warn", calls(("pytest", False, error), ("pytest", False))) == ("ignored", [1, 2])
    assert told(trigger, "warn", calls(("pytest", False, error), ("pytest  ", True))) == ("false", [1, 2])
    better = calls(("pytest", False, error), ("pytest tests", True))
    assert told(trigger, "warn", better) == ("prevented", [1, 2])


def test_another_program_with_the_same_arguments_is_the_same_target() -> None:
    trigger = Trigger(tools=("Bash",), pattern=r"^pip install", kind="regex")
    ran = calls(("pip install requests flask", False), ("ls", True), ("uv pip install requests flask", True))
    assert told(trigger, "warn", ran) == ("prevented", [1, 3])
    other = calls(("pip install requests", False), ("cat requests", True), ("make build", True))
    assert told(trigger, "warn", other) == ("unknown", [1])


def test_an_edit_that_went_well_says_nothing() -> None:
    trigger = Trigger(tools=("Edit", "Write"), files=("*.generated.py",))
    generated = ("Edit", {"file_path": "/home/dev/shop/a.generated.py", "new_string": "x"})
    written = ("Write", {"file_path": "/home/dev/shop/a.generated.py", "content": "x"})
    source = ("Edit", {"file_path": "/home/dev/shop/a.template", "new_string": "x"})
    assert told(trigger, "warn", calls((generated, True), (source, True))) == ("unknown", [1])
    assert told(trigger, "warn", calls((generated, True), (written, True))) == ("ignored", [1, 2])


def test_an_edit_of_the_same_file_that_no_longer_fits_heeds() -> None:
    trigger = Trigger(tools=("Edit",), pattern="console.log")
    first = ("Edit", {"file_path": "/a.js", "new_string": "console.log(1)"})
    second = ("Edit", {"file_path": "/a.js", "new_string": "logger.info(1)"})
    assert told(trigger, "warn", calls((first, True), (second, True))) == ("heeded", [1, 2])


def test_a_tool_of_another_server_is_its_own_target() -> None:
    trigger = Trigger(tools=("mcp__db__query",), pattern="drop table")
    ran = calls(
        (("mcp__db__query", {"sql": "drop table a"}), False),
        (("mcp__db__list", {}), True),
        (("mcp__db__query", {"sql": "alter table a"}), True),
    )
    assert told(trigger, "warn", ran) == ("prevented", [1, 3])
