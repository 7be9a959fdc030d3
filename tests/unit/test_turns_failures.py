from __future__ import annotations

import itertools
from typing import Any

import pytest

from agent_memory.observations.calls import Call, result_of
from agent_memory.observations.failures import failures, logged, telling_lines, told

ROOTS = ["/home/dev/shop"]
_numbers = itertools.count(1)


def call(tool: str, *, success: bool | None = True, **more: Any) -> Call:
    return Call(id=next(_numbers), tool=tool, success=success, **more)


def bash(command: str, output: str = "", *, error: str | None = None) -> Call:
    return call("Bash", command=command, output=output, error=error, success=error is None)


def edit(path: str, **more: Any) -> Call:
    return call("Edit", path=path, before="a", after="b", **more)


def lines(*calls: Call) -> list[str]:
    return [line for failure in failures(calls) for line in told(failure, ROOTS).splitlines()]


RUST = """Exit code 101
   Compiling shop v0.1.0 (/home/dev/shop)
error[E0382]: borrow of moved value: `cart`
  --> src/main.rs:14:5
   |
14 |     print(cart);
error: could not compile `shop` due to 1 previous error"""


def test_a_failure_is_told_with_its_error_and_what_fixed_it() -> None:
    assert lines(
        bash("cargo build", error=RUST),
        bash("cat src/main.rs"),
        edit("/home/dev/shop/src/main.rs"),
        bash("cargo build"),
    ) == [
        "Failed: `cargo build`: error[E0382]: borrow of moved value: `cart` / error: could not compile `shop` due to 1"
        " previous error",
        "Fixed: edited src/main.rs.",
    ]


def test_the_command_that_worked_instead_is_named() -> None:
    assert lines(
        bash("npm install left-pad", error="npm ERR! code ERESOLVE"),
        bash("npm install left-pad --legacy-peer-deps"),
    ) == [
        "Failed: `npm install left-pad`: npm ERR! code ERESOLVE",
        "Fixed: `npm install left-pad --legacy-peer-deps` worked.",
    ]


def test_commands_on_the_way_are_named() -> None:
    assert (
        lines(
            bash("git commit -m x", error="[FORMAT] Code is not formatted."),
            bash("mix format"),
            bash("git commit -m x"),
        )[1]
        == "Fixed: ran `mix format`."
    )


def test_failures_of_one_target_in_a_row_are_one_failure() -> None:
    found = lines(
        bash("make test", error="Error: no database"),
        edit("/home/dev/shop/db.py"),
        bash("make test", error="Error: wrong password"),
        edit("/home/dev/shop/env.py"),
        bash("make test"),
    )
    assert found == [
        "Failed 2 times: `make test`: Error: no database / Error: wrong password",
        "Fixed: edited env.py.",
    ]


def test_another_target_fixes_nothing() -> None:
    assert lines(bash("npm test", error="Error: x"), bash("npm install"))[1] == "Not fixed in this turn."


def test_a_second_try_that_worked_is_said() -> None:
    assert lines(bash("curl x", error="curl: (28) timed out"), bash("curl x"))[1] == "A later try worked."


def test_a_failure_that_a_pipe_hid_is_seen() -> None:
    assert lines(
        bash("mix test | tail -5", "\n14 tests, 3 failures"),
        edit("/home/dev/shop/a.ex"),
        bash("mix test", "14 tests, 0 failures"),
    ) == ["Failed: `mix test`: 14 tests, 3 failures", "Fixed: edited a.ex."]


@pytest.mark.parametrize(
    "slip",
    [
        call(
            "Edit",
            path="/a",
            success=False,
            error="<tool_use_error>String to replace not found in file.</tool_use_error>",
        ),
        call("Edit", path="/a", success=False, error="File has not been read yet. Read it first."),
        call("Read", path="/a", success=False, error="<tool_use_error>File does not exist.</tool_use_error>"),
        call(
            "Read",
            path="/a",
            success=False,
            error="<tool_use_error>Sibling tool call errored</tool_use_error>",
        ),
        bash("grep -r nothing .", error="Exit code 1"),
        bash("ls /nowhere", error="Exit code 2\nls: cannot access '/nowhere': No such file or directory"),
        bash("false", error="Exit code 1"),
        bash("npm start", error="The user doesn't want to proceed with this tool use."),
    ],
)
def test_an_agents_slip_says_nothing_about_the_project(slip: Call) -> None:
    assert failures([slip]) == []


def test_a_missing_program_is_worth_knowing() -> None:
    assert lines(bash("tree .", error="Exit code 127\nbash: tree: command not found"))[0].endswith(
        "tree: command not found"
    )


@pytest.mark.parametrize(
    ("error", "told_lines"),
    [
        (
            'Traceback (most recent call last):\n  File "a.py", line 3, in <module>\n    run()\n'
            "KeyError: 'DATABASE_URL'",
            "KeyError: 'DATABASE_URL'",
        ),
        (
            "\x1b[31mError:\x1b[0m connect ECONNREFUSED 127.0.0.1:5432",
            "Error: connect ECONNREFUSED 127.0.0.1:5432",
        ),
        ("first line\nmiddle\nlast line", "first line / last line"),
        ("Validation failed:\\n\\n[LINT] line too long\\n", "Validation failed: / [LINT] line too long"),
        ("Exit code 3\noops", "oops"),
    ],
)
def test_the_lines_that_name_an_error_are_chosen(error: str, told_lines: str) -> None:
    assert telling_lines(bash("run", error=error)) == told_lines


def test_a_failed_mcp_call_shows_the_arguments_that_worked() -> None:
    found = lines(
        call(
            "mcp__db__query", input='{"sql": "selec 1"}', success=False, error="syntax error at or near selec"
        ),
        call("mcp__db__query", input='{"sql": "select 1"}'),
    )
    assert found == [
        'Failed: db query {"sql": "selec 1"}: syntax error at or near selec',
        'Fixed: db query {"sql": "select 1"} worked.',
    ]


@pytest.mark.parametrize(
    ("output", "result"),
    [
        ("....\n===== 14 passed, 2 skipped in 0.31s =====", "14 passed, 2 skipped in 0.31s"),
        ("test result: ok. 5 passed; 0 failed; 0 ignored", "test result: ok. 5 passed; 0 failed; 0 ignored"),
        ("Success: no issues found in 13 source files", "Success: no issues found in 13 source files"),
        ("nothing to see", None),
    ],
)
def test_the_result_of_a_check_is_read(output: str, result: str | None) -> None:
    assert result_of(bash("make check", output)) == result


def test_the_rules_that_pytest_draws_are_no_error() -> None:
    error = "======= FAILURES =======\n_______ test_pay _______\nE   assert 1 == 2\nFAILED test_pay"
    assert telling_lines(bash("pytest", error=error)) == "FAILED test_pay"


def test_an_error_that_a_log_showed_is_kept_in_its_own_words() -> None:
    seen = "starting\npanic: listen tcp :80: bind: permission denied\ngoroutine 1 [running]:"
    assert logged([bash("kubectl -n shop logs api-7d9 --previous", seen)], ROOTS) == [
        "Saw: `kubectl -n shop logs api-7d9 --previous`: panic: listen tcp :80: bind: permission denied"
    ]


def test_the_same_error_seen_twice_is_told_once() -> None:
    calls = [
        bash("tail -5 app.log", "ERROR: deadlock detected"),
        bash("tail -50 app.log", "ERROR: deadlock detected"),
    ]
    assert logged(calls, ROOTS) == ["Saw: `tail -5 app.log`: ERROR: deadlock detected"]


@pytest.mark.parametrize(
    ("command", "output"),
    [
        ("cat src/errors.py", "class NotFound(Exception): pass"),
        ("rg -n refused", "client.py:12: raise Refused('connection refused')"),
        ("git diff", "-    raise ValueError"),
        ("npm run build", "compiled with 0 errors"),
        ("journalctl -u shop -n 2", "connected, no errors"),
    ],
)
def test_code_and_clean_output_show_no_error(command: str, output: str) -> None:
    assert logged([bash(command, output)], ROOTS) == []


def test_what_failed_is_not_told_again_as_seen() -> None:
    assert logged([bash("cargo build", error=RUST)], ROOTS) == []
