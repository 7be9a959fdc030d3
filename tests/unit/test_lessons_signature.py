from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_memory.lessons.signature import normalised, signature, telling_line
from agent_memory.observations.calls import Call


def failed(command: str, error: str) -> Call:
    return Call(id=1, tool="Bash", success=False, command=command, error=f"Exit code 1\n{error}")


# Each line: failures of one cause.
CAUSES = {
    "a program that is missing": [
        failed("tree src", "(eval):1: command not found: tree"),
        failed("tree -L 2 /srv", "/bin/bash: line 1: tree: command not found"),
        failed("cd web && tree", "/bin/sh: 3: tree: not found"),
    ],
    "another program that is missing": [failed("jq . a.json", "bash: jq: command not found")],
    "a module that is missing": [
        failed(
            "pytest -q",
            "Traceback (most recent call last):\n  File 'b.py', line 3\nModuleNotFoundError: No module named 'yaml'",
        ),
        failed("pytest tests/test_a.py", "E   ModuleNotFoundError: No module named 'yaml'"),
    ],
    "another module": [failed("pytest -q", "ModuleNotFoundError: No module named 'httpx'")],
    "the same module in another program": [
        failed("python app.py", "ModuleNotFoundError: No module named 'yaml'")
    ],
    "a refused connection": [
        failed(
            "psql -c 'select 1'",
            'psql: error: connection to server at "127.0.0.1", port 5432 failed: Connection refused',
        ),
        failed(
            "psql -c 'select 2'",
            'psql: error: connection to server at "10.0.0.7", port 5433 failed: Connection refused',
        ),
    ],
    "a script that package.json lacks": [
        failed(
            "npm run lint",
            'npm ERR! Missing script: "lint"\nnpm ERR! A complete log is in /home/dev/.npm/_logs/2026-01-02.log',
        ),
        failed("npm run lint -- --fix", 'npm error Missing script: "lint"'.replace("error", "ERR!")),
    ],
    "another script": [failed("npm run build", 'npm ERR! Missing script: "build"')],
    "a compiler's error": [
        failed("cargo build", "error[E0432]: unresolved import `foo::bar`\n --> src/main.rs:3:5"),
        failed("cargo build --release", "error[E0432]: unresolved import `foo::bar`\n --> src/lib.rs:90:1"),
    ],
    "another compiler's error": [failed("cargo build", "error[E0502]: cannot borrow `x` as mutable")],
    "a push that is behind": [
        failed(
            "git push",
            "To github.com:a/b.git\n ! [rejected]        main -> main (fetch first)\nerror: failed to push",
        ),
        failed("git push origin main", " ! [rejected]        main -> main (fetch first)"),
    ],
    "a missing file, whichever": [
        failed(
            "node dist/a.js",
            "Error: Cannot find module '/srv/app/dist/a.js'\n    at Function.executeUserEntryPoint",
        ),
        failed("node dist/a.js", "Error: Cannot find module '/home/me/app/dist/a.js'"),
    ],
    "a hook before the commit": [
        failed("git commit -m 'a'", "pre-commit: not formatted: 3 files at 2026-01-02T10:11:12Z"),
        failed(
            'git add -A && git commit -m "b; c"',
            "pre-commit: not formatted: 12 files at 2026-03-04T01:02:03Z",
        ),
    ],
}


@pytest.mark.parametrize("cause", CAUSES)
def test_failures_of_one_cause_have_one_signature(cause: str) -> None:
    assert len({signature(call) for call in CAUSES[cause]}) == 1


def test_different_causes_have_different_signatures() -> None:
    first = [signature(calls[0]) for calls in CAUSES.values()]
    assert None not in first
    assert len(set(first)) == len(first)


def test_the_program_that_the_error_names_is_the_one_that_failed() -> None:
    found = signature(failed("make deps && mypy src", "mypy: error: unrecognized arguments: --fast"))
    assert found is not None
    assert found.program == "mypy"


@pytest.mark.parametrize(
    ("output", "line"),
    [
        ("npm error code ERESOLVE\nnpm error errno 1", "npm error code ERESOLVE"),
        (
            'Traceback (most recent call last):\n  File "x.py", line 1\nValueError: no\n\nKeyError: 1',
            "KeyError: 1",
        ),
        ("Building…\nwarning: unused\nfatal: not a git repository", "fatal: not a git repository"),
        ('● Validation Error:\n\n  Option "a" was replaced', '● Validation Error: Option "a" was replaced'),
        ("Exit code 1", ""),
        ("", ""),
    ],
)
def test_the_telling_line_is_chosen(output: str, line: str) -> None:
    assert telling_line(output) == line


def test_a_failure_without_words_has_no_signature() -> None:
    assert signature(failed("make", "")) is None


WORDS = st.sampled_from(
    """error: fatal: ModuleNotFoundError: No module named 'yaml' "x y z" `cargo` /srv/app/a.py src/b.ts:12:4 1234 3.14
    0xdeadbeef a1b2c3d4e5f6 550e8400-e29b-41d4-a716-446655440000 2026-01-02T10:11:12Z https://a.example/b?c=d
    a@b.example 127.0.0.1:5432 E0432 TS2322 don't [REDACTED:password] it's --flag=1 <n> <path> at (line 3) {} ~/x C:\\y
    ’ “quoted text” 12% 3ms 10MB""".split()  # noqa: SIM905
)
LINES = st.lists(st.one_of(WORDS, st.text(max_size=8)), max_size=12).map(" ".join)


@settings(max_examples=500, deadline=None)
@given(LINES)
def test_taking_out_what_varies_twice_changes_nothing_more(line: str) -> None:
    once = normalised(line)
    assert normalised(once) == once


@settings(max_examples=300, deadline=None)
@given(
    st.integers(0, 10**6),
    st.integers(0, 10**6),
    st.from_regex(r"/[a-z]{1,8}(/[a-z]{1,8}){1,3}\.py", fullmatch=True),
    st.from_regex(r"/[a-z]{1,8}(/[a-z]{1,8}){1,3}\.py", fullmatch=True),
)
def test_paths_and_numbers_make_no_difference(one: int, other: int, path: str, other_path: str) -> None:
    line = "error: {path}:{n}: expected {n} items at {path}, got none"
    assert normalised(line.format(path=path, n=one)) == normalised(line.format(path=other_path, n=other))


@settings(max_examples=300, deadline=None)
@given(st.text())
def test_no_output_is_too_strange(text: str) -> None:
    found = signature(failed("pytest -q", text))
    assert found is None or len(found.error) <= 200
    assert not re.search(r"\n", telling_line(text))
