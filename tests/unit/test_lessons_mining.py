"""Mining over calls that were made up here; each history's calls are given in order, and each list is a session."""

from __future__ import annotations

from collections.abc import Sequence

from agent_memory.lessons import moment
from agent_memory.lessons.history import Said, Session, Step, episodes
from agent_memory.lessons.lesson import LONGEST_RULE
from agent_memory.lessons.mining import Candidate, mine
from agent_memory.lessons.trigger import matches
from agent_memory.observations.calls import Call

Made = tuple[str, str | None] | str
"""A command with how it failed, or None where it worked; or what the user said."""

VENV = [("pytest -q", "ModuleNotFoundError: No module named 'yaml'"), (".venv/bin/python -m pytest -q", None)]


def session(number: int, made: Sequence[Made]) -> Session:
    steps, said, turn = [], [], 0
    for place, one in enumerate(made):
        if isinstance(one, str):
            turn += 1
            said.append(Said(id=f"p{turn}", session_id=f"s{number}", turn=turn, text=one))
            continue
        given, error = one
        tool, _, path = given.partition(" ") if given.startswith(("Edit ", "Write ")) else ("Bash", "", "")
        call = Call(
            id=1000 * number + place,
            tool=tool,
            success=error is None,
            command=None if path else given,
            path=f"/srv/app/{path}" if path else None,
            error=error,
        )
        steps.append(Step(call, f"s{number}", turn))
    return Session(id=f"s{number}", project_id=1, roots=["/srv/app"], steps=steps, said=said)


def candidates(*histories: Sequence[Made]) -> list[Candidate]:
    return mine([session(number, made) for number, made in enumerate(histories, 1)]).candidates


def speaks(candidate: Candidate, command: str) -> bool:
    return matches(candidate.trigger, moment.call("before", "Bash", {"command": command}))


def test_what_failed_and_was_then_done_in_another_way_is_a_lesson() -> None:
    (found,) = candidates(VENV, VENV)
    assert found.rule == (
        "`pytest` failed 2 times here with “ModuleNotFoundError: No module named 'yaml'”;"
        " what worked: `.venv/bin/python -m pytest`."
    )
    assert speaks(found, "cd src && pytest tests -x | tail -3")
    assert not speaks(found, ".venv/bin/python -m pytest tests")
    assert not speaks(found, "git commit -m 'Let pytest run'")
    assert [step.call.id for step in found.steps] == [1000, 2000]


def test_once_is_no_lesson() -> None:
    assert candidates(VENV, [("git status", None)]) == []


def test_repetition_counts_and_not_only_sessions() -> None:
    (found,) = candidates([("gtimeout 5 make", "bash: gtimeout: command not found")] * 50, [("make", None)])
    assert (len(found.steps), found.sessions, found.episodes) == (50, 1, 1)


def test_each_session_counts_alike_so_that_a_loop_does_not_outvote_the_others() -> None:
    fails = ("make deploy", "make: *** deploy must be run from main")
    history: list[list[Made]] = [[fails] * 500, [("make deploy", None)] * 2, [("make deploy", None)] * 2]
    assert candidates(*history) == []


def test_a_test_that_fails_while_its_code_is_written_is_no_lesson() -> None:
    red = ("python -m pytest -q", "E   assert 1 == 2")
    green = ("python -m pytest -q", None)
    assert candidates([red, ("Edit a.py", None), green] * 3, [red, ("Edit b.py", None), green]) == []


def test_a_call_that_works_unchanged_later_is_no_lesson() -> None:
    flaky = [("./fetch.sh", "Error: connect ECONNREFUSED"), ("./fetch.sh", None), ("./fetch.sh", None)]
    assert candidates(flaky, flaky, flaky) == []


def test_what_was_run_first_is_the_lesson_where_the_same_call_then_works() -> None:
    fails, works = ("git commit -m x", "hook: run just fmt first"), ("git commit -m x", None)
    (found,) = candidates([fails, ("just fmt", None), works], [fails, ("just fmt", None), works])
    assert found.rule.endswith("it worked after `just fmt`.")


def test_a_folder_or_a_variable_before_the_call_is_told_from_the_call_alone() -> None:
    made = [("npm run build", 'npm ERR! Missing script: "build"'), ("cd web && npm run build", None)]
    (found,) = candidates(made, made)
    assert "`cd web && npm run build`" in found.rule
    assert speaks(found, "npm run build -- --watch")
    assert not speaks(found, "cd web && npm run build")


def test_an_option_that_is_at_fault_is_what_the_trigger_looks_for() -> None:
    works = ("npx jest", None)
    made = [
        ("npx jest --watchAll a", "error: unknown option '--watchAll'"),
        ("npx jest a", None),
        works,
        works,
    ]
    (found,) = candidates(made, made)
    assert speaks(found, "npx jest --watchAll b")
    assert not speaks(found, "npx jest b")


def test_refusals_slips_searches_without_a_hit_and_what_passes_by_itself_are_no_lessons() -> None:
    made = [
        ("rm -rf x", "The user doesn't want to proceed with this tool use."),
        ("Edit a.py", "String to replace not found in file."),
        ("grep -rn foo src", "Exit code 1"),
        ("cat nothing.txt", "cat: nothing.txt: No such file or directory"),
        ("npm install", "npm ERR! network timed out"),
        ("curl example.org", "curl: (28) Operation timed out"),
    ]
    assert candidates(made * 3, made * 3) == []


def test_one_trigger_is_one_lesson_whatever_the_failures() -> None:
    def made(error: str) -> list[Made]:
        return [("python x.py", error), ("uv run python x.py", None)]

    history = [
        made("ModuleNotFoundError: No module named 'yaml'"),
        made("ModuleNotFoundError: No module named 'httpx'"),
    ]
    (found,) = candidates(*history, *history)
    assert len(found.signatures) == len(found.origins) == 2
    assert len(found.steps) == 4


def test_an_estimate_is_of_sessions_that_the_lesson_was_not_made_from() -> None:
    unrelated: list[Made] = [("make", None)] * 3
    (found,) = candidates(VENV, VENV, unrelated)
    assert (found.held_out.sessions, found.held_out.calls) == (3, 7)
    assert (found.held_out.right, found.held_out.wrong, found.held_out.missed) == (2, 0, 0)
    (alone,) = candidates(VENV * 2, unrelated)
    assert (alone.held_out.sessions, alone.held_out.right) == (1, 0)


def test_what_the_user_corrects_is_a_lesson_in_their_words() -> None:
    for said in (
        "no, use pnpm instead of npm",
        "Bitte kein npm, nimm pnpm",
        "Nein, pnpm statt npm!",
        "utilise pnpm au lieu de npm",
        "usa pnpm en vez de npm",
    ):
        (found,) = candidates(["add zod", ("npm install zod", None), said, ("pnpm add zod", None)])
        assert found.kind == "correction"
        assert said in found.rule
        assert speaks(found, "npm install x")
        assert not speaks(found, "pnpm add x")


def test_a_correction_names_what_was_replaced_where_the_user_only_named_what_they_want() -> None:
    (found,) = candidates(["add zod", ("npm add zod", None), "No, use pnpm.", ("pnpm add zod", None)])
    assert speaks(found, "npm add x")


def test_a_refusal_with_a_reason_is_a_lesson_about_that_call() -> None:
    reason = "The user doesn't want to proceed with this tool use. the user said:\nNever deploy to production from here"
    (found,) = candidates(["go", ("./deploy.sh production", reason)])
    assert speaks(found, "./deploy.sh production")
    assert "Never deploy to production from here" in found.rule


def test_talk_about_the_work_is_no_correction() -> None:
    for said in (
        "no, I meant the other page",
        "don't forget to run npm test",
        "can you not use npm?",
        "nein, das Bild ist zu groß",
        "not bad",
        "why did you not use pnpm instead of npm?",
    ):
        assert candidates(["go", ("npm test", None), ("npm test", None), said, ("npm test", None)]) == [], (
            said
        )


def test_what_the_user_let_pass_later_is_no_rule() -> None:
    made: list[Made] = ["go", ("npm install zod", None), "not with npm this time"]
    assert candidates(made, [("npm install", None)] * 10) == []


def test_a_rule_fits_its_length_however_long_the_error_is() -> None:
    path = "/".join(["very-long-folder"] * 20)
    made = [
        (f"tool --{'o' * 90} {path}", "tool: error: unknown option " + "x" * 500),
        (f"tool --right {path}", None),
    ]
    (found,) = candidates(made, made)
    assert len(found.rule) <= LONGEST_RULE


def test_an_episode_ends_with_the_call_that_works_on_the_same_target() -> None:
    (episode,) = episodes(session(1, [*VENV[:1] * 2, ("ls", None), *VENV[1:], ("pytest --version", None)]))
    assert len(episode.failures) == 2
    assert episode.fix is not None
    assert episode.fix.call.command == ".venv/bin/python -m pytest -q"
    assert [step.call.command for step in episode.between] == ["ls"]
