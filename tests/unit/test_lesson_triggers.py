from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_memory.errors import AgentMemoryError
from agent_memory.lessons import moment
from agent_memory.lessons.lesson import Kind
from agent_memory.lessons.trigger import Matcher, Trigger, checked, matches

COMMANDS = ("git push --force origin main", "cd web && git push --force", "pytest -q", "")


def bash(command: str, cwd: str | None = "/home/dev/shop") -> moment.Moment:
    return moment.call("before", "Bash", {"command": command, "description": "Force it"}, cwd=cwd)


def on_bash(pattern: str, kind: Kind = "literal") -> Trigger:
    return checked(Trigger(tools=("Bash",), pattern=pattern, kind=kind))


@given(st.text(min_size=1, max_size=20), st.text(max_size=40), st.text(max_size=40))
def test_a_literal_is_found_wherever_it_stands(pattern: str, before: str, after: str) -> None:
    pattern, before, after = (text.encode("utf-8", "replace").decode() for text in (pattern, before, after))
    assert matches(Trigger(pattern=pattern), bash(before + pattern + after))


@given(st.text(alphabet="ab*?.[\n", min_size=1, max_size=8), st.text(alphabet="ab*?.[\n", max_size=12))
def test_a_literal_means_its_characters(pattern: str, text: str) -> None:
    assert matches(Trigger(pattern=pattern), bash(text)) == (pattern in text)


@given(st.text(alphabet="ab -*?.", min_size=1, max_size=8), st.text(alphabet="ab -.\n", max_size=14))
def test_a_glob_is_found_within_a_line_from_word_to_word(pattern: str, text: str) -> None:
    source = "".join({"*": "[^\n]*", "?": "[^\n]"}.get(char) or re.escape(char) for char in pattern)
    start = r"\b" if pattern[0] in "ab" else ""
    end = r"\b" if pattern[-1] in "ab" else ""
    assert matches(Trigger(pattern=pattern, kind="glob"), bash(text)) == bool(
        re.search(start + source + end, text, re.ASCII)
    )


@given(st.text(alphabet="ab|*+?()^$.[]x", min_size=1, max_size=8), st.text(alphabet="abx \n", max_size=14))
def test_a_regular_expression_means_what_it_means_elsewhere(pattern: str, text: str) -> None:
    try:
        trigger = on_bash(pattern, "regex")
    except AgentMemoryError:
        return
    if re.search(r"[*+?]\+|\(\?|\[.*(?:\[|\|\|)", pattern):
        return  # Python reads these otherwise than RE2, with a warning or not at all
    try:
        expected = bool(re.search(pattern, text, re.M))
    except re.error:
        return  # RE2 lets an anchor be repeated, Python does not
    assert matches(trigger, bash(text)) == expected


@pytest.mark.parametrize(
    ("pattern", "kind", "expected"),
    [
        ("git push --force", "literal", [True, True, False, False]),
        ("git push*origin", "glob", [True, False, False, False]),
        ("push", "glob", [True, True, False, False]),
        ("pus", "glob", [False, False, False, False]),
        (r"^git push", "regex", [True, False, False, False]),
        (r"\bgit\s+push\b.*(--force|-f)\b", "regex", [True, True, False, False]),
        (r"(?i)PYTEST", "regex", [False, False, True, False]),
    ],
)
def test_patterns_over_a_command(pattern: str, kind: Kind, expected: list[bool]) -> None:
    assert [matches(on_bash(pattern, kind), bash(command)) for command in COMMANDS] == expected


def test_the_description_that_the_agent_gives_its_command_is_not_looked_at() -> None:
    assert not matches(Trigger(pattern="Force it"), bash("git push"))


def test_other_tools_inputs_are_lines_of_field_and_value() -> None:
    given = {"table": "users", "force": True, "options": {"ids": [7, 8]}, "none": None}
    seen = moment.call("before", "mcp__db__drop", given)
    assert seen.text == "table: users\nforce: true\noptions.ids.0: 7\noptions.ids.1: 8"
    assert matches(Trigger(tools=("mcp__db__*",), pattern=r"^force: true$", kind="regex"), seen)


def test_after_a_failure_the_error_is_looked_at_too() -> None:
    failed = moment.call(
        "after_failure", "Bash", {"command": "pytest"}, error="Exit code 4\nno tests ran in tests/e2e"
    )
    assert matches(Trigger(phase="after_failure", tools=("Bash",), pattern="no tests ran"), failed)
    assert not matches(Trigger(tools=("Bash",), pattern="no tests ran"), failed), "another phase"


@pytest.mark.parametrize(
    ("tools", "tool", "expected"),
    [
        (("Bash",), "Bash", True),
        (("Bash",), "BashOutput", False),
        (("bash",), "Bash", False),
        (("Edit", "Write"), "Write", True),
        (("mcp__*",), "mcp__github__merge", True),
        (("mcp__github__*",), "mcp__gitlab__merge", False),
        (("*",), "NotebookEdit", True),
    ],
)
def test_tools_are_names_or_globs(tools: tuple[str, ...], tool: str, *, expected: bool) -> None:
    assert matches(Trigger(tools=tools, pattern="x"), moment.call("before", tool, {"a": "x"})) is expected


@pytest.mark.parametrize(
    ("glob", "path", "expected"),
    [
        ("*.sql", "/home/dev/shop/db/1.sql", True),
        ("*.sql", "db/1.sql", True),
        ("*.sql", "/home/dev/shop/db/1.sql.bak", False),
        ("db/*.sql", "/home/dev/shop/db/1.sql", True),
        ("db/*.sql", "/home/dev/shop/db/old/1.sql", False),
        ("db/**/*.sql", "/home/dev/shop/db/1.sql", True),
        ("db/**/*.sql", "/home/dev/shop/db/a/b/1.sql", True),
        ("b/*.sql", "/home/dev/shop/db/1.sql", False),
        ("db/**", "db/a/b.txt", True),
        ("/etc/**", "/etc/hosts", True),
        ("/etc/**", "/home/etc/hosts", False),
        (".env", "/home/dev/shop/.env", True),
        ("package.json", "../other/package.json", True),
    ],
)
def test_files_are_globs_on_paths(glob: str, path: str, *, expected: bool) -> None:
    trigger = checked(Trigger(tools=("Edit",), files=(glob,)))
    seen = moment.call("before", "Edit", {"file_path": path, "old_string": "a"}, cwd="/home/dev/shop")
    assert matches(trigger, seen) is expected


def test_files_are_found_among_the_words_of_a_command() -> None:
    trigger = checked(Trigger(tools=("Bash",), files=("migrations/*.sql", ".env")))
    assert matches(trigger, bash("sed -i 's/a/b/' db/migrations/0001.sql"))
    assert matches(trigger, bash("cat .env | wc"))
    assert not matches(trigger, bash("curl https://example.org/migrations/1.sql"))
    assert not matches(trigger, bash("git status"))


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        (r"(?<=git )push", "looks ahead or behind"),
        (r"push(?! origin)", "looks ahead or behind"),
        (r"(a)\1", "refers back"),
        (r"a++b", "possessive"),
        ("(unclosed", "cannot be read"),
        ("a)|(b", "cannot be read"),
        ("(a{1000}){1000}", "cannot be read"),
    ],
)
def test_a_pattern_that_cannot_be_run_is_refused_with_the_reason(pattern: str, said: str) -> None:
    with pytest.raises(AgentMemoryError, match=said) as refused:
        on_bash(pattern, "regex")
    assert refused.value.remedy
    assert refused.value.status == 422


@pytest.mark.parametrize(
    "trigger",
    [
        Trigger(),
        Trigger(tools=("Bash*",)),
        Trigger(pattern=".*", kind="regex", tools=("Bash",)),
        Trigger(pattern="*", kind="glob", tools=("Bash",)),
        Trigger(pattern=r"\w", kind="regex"),
        Trigger(phase="prompt"),
    ],
)
def test_a_trigger_that_would_speak_at_everything_is_refused(trigger: Trigger) -> None:
    with pytest.raises(AgentMemoryError, match=r"everything|every"):
        checked(trigger)


@pytest.mark.parametrize(
    "trigger",
    [
        Trigger(tools=("mcp__prod__drop_table",)),
        Trigger(files=("*.lock",)),
        Trigger(phase="end"),
        Trigger(phase="prompt", pattern="deploy"),
    ],
)
def test_a_trigger_may_leave_out_what_the_rest_says(trigger: Trigger) -> None:
    assert checked(trigger) == trigger


def test_a_prompt_has_no_files() -> None:
    with pytest.raises(AgentMemoryError, match="no files"):
        checked(Trigger(phase="prompt", pattern="deploy", files=("*.py",)))


def test_nothing_that_a_tool_is_given_is_an_error() -> None:
    odd = {"command": "a\udc80\x00b", "\ud800": [{"deep": {"x": [[[[[[["y"]]]]]]]}}]}
    for tool, wanted in (("Bash", odd), ("Edit", {"file_path": "\udc80/\x00", "n": 1.5})):
        seen = moment.call("before", tool, wanted, cwd="/home/dev")
        matches(Trigger(pattern="x", files=("*.py",)), seen)
        matches(Trigger(tools=("*",), pattern="x", kind="glob"), seen)


def test_a_regular_expression_that_backtracks_elsewhere_takes_no_time() -> None:
    """Backtracking engines take 2^5,000 steps for these. The test's own time limit is what would fail."""
    for pattern in (r"(a+)+$x", r"(a|a)*b", r"(.*a){20}c", r"(?:a?){40}a{40}b"):
        assert not matches(on_bash(pattern, "regex"), bash("a" * 5_000 + "!"))


def test_a_long_text_is_looked_at_at_both_ends() -> None:
    text = "first " + "x" * 1_000_000 + " last"
    seen = moment.call("before", "Write", {"file_path": "/tmp/a", "content": text})
    assert len(seen.text) <= moment.MOST_CHARS + 1
    assert matches(Trigger(pattern="first"), seen)
    assert matches(Trigger(pattern="last"), seen)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["git", "push", "a.b", "x*y", "--force", ""]),
            st.sampled_from(["literal", "glob"]),
            st.sampled_from([("Bash",), ("*",), ("Edit", "mcp__*")]),
            st.sampled_from([(), ("*.py",)]),
        ),
        max_size=12,
    ),
    st.sampled_from([*COMMANDS, "x y a.b test.py"]),
)
def test_many_at_once_are_as_each_alone(
    given_triggers: list[tuple[str, Kind, tuple[str, ...], tuple[str, ...]]], command: str
) -> None:
    triggers = [Trigger(pattern=p, kind=k, tools=t, files=f) for p, k, t, f in given_triggers]
    together = Matcher(enumerate(triggers)).match(bash(command))
    assert together == [n for n, one in enumerate(triggers) if matches(one, bash(command))]
