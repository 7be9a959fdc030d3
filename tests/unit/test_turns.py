from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from agent_memory.observations import turns
from agent_memory.observations.calls import Call, Tally
from agent_memory.observations.observation import TITLE_CHARS, Observation
from agent_memory.observations.turns import TEXT_CHARS, Message, Prompt, Turn, build, summaries

AT = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
_numbers = itertools.count(1)


def prompt(text: str, kind: str = "user", **more: Any) -> Prompt:
    return Prompt(id=f"p{next(_numbers)}", kind=kind, text=text, occurred_at=AT, **more)


def message(text: str, kind: str = "message", **more: Any) -> Message:
    return Message(id=next(_numbers), kind=kind, text=text, occurred_at=AT, **more)


def call(tool: str, *, success: bool | None = True, **more: Any) -> Call:
    return Call(id=next(_numbers), tool=tool, success=success, **more)


def bash(command: str, output: str = "", *, error: str | None = None, **more: Any) -> Call:
    return call("Bash", command=command, output=output, error=error, success=error is None, **more)


def edit(path: str, before: str = "a", after: str = "b") -> Call:
    return call("Edit", path=path, before=before, after=after)


def turn(
    asked: str | Sequence[Prompt] = "Please repair the login of the web shop",
    calls: Sequence[Call] = (),
    messages: Sequence[str | Message] = (),
    took: timedelta = timedelta(seconds=5),
) -> Turn:
    tools = Counter(c.tool for c in calls)
    failed = Counter(c.tool for c in calls if c.success is False)
    return Turn(
        project_id=7,
        session_id="s",
        prompt_id="p",
        roots=["/home/dev/shop"],
        began_at=AT,
        ended_at=AT + took,
        prompts=[prompt(asked)] if isinstance(asked, str) else list(asked),
        messages=[message(m) if isinstance(m, str) else m for m in messages],
        calls=list(calls),
        tallies=[Tally(tool, n, failed[tool]) for tool, n in tools.items()],
    )


def made(*args: Any, **more: Any) -> Observation:
    observation = build(turn(*args, **more))
    assert observation is not None
    return observation


def test_a_turn_tells_what_was_asked_done_and_how_it_ended() -> None:
    observation = made(
        calls=[edit("/home/dev/shop/login.py"), bash("pytest -q", "....\n14 passed in 0.3s")],
        messages=["Let me look.", "The session cookie had expired too early; it lives a day now."],
        took=timedelta(minutes=3),
    )
    assert observation.kind == "turn"
    assert observation.external_id == "turn/s/p"
    assert observation.occurred_at == AT
    assert observation.title == "Please repair the login of the web shop"
    assert observation.text == (
        "Please repair the login of the web shop\n\n"
        "Done: 2 tool calls (Edit 1, Bash 1), 3 min.\n"
        "Changed: login.py\n"
        "Ran: `pytest -q` → 14 passed in 0.3s\n\n"
        "The session cookie had expired too early; it lives a day now."
    )
    assert [s.role for s in observation.sections] == ["user", None, "assistant"]


def test_sources_name_the_rows_that_it_was_made_from() -> None:
    one = turn(calls=[bash("make")], messages=["Done with it all."])
    observation = build(one)
    assert observation is not None
    assert observation.sources == {
        "prompts": [one.prompts[0].id],
        "tool_calls": [one.calls[0].id],
        "assistant_messages": [one.messages[0].id],
    }


@pytest.mark.parametrize(
    "nothing",
    [
        turn("/clear"),
        turn([prompt("<command-name>/compact</command-name>", "command")]),
        turn("<local-command-stdout>Reconnected.</local-command-stdout>"),
        turn(
            [
                prompt(
                    "<task-notification><summary>Agent done</summary></task-notification>",
                    "task_notification",
                )
            ],
            [],
            ["Noted."],
        ),
        turn("Do it", [call("mcp__agent-memory__recall")]),
        turn("Do it", [], ["  \n"]),
        turn("", [], ["No response requested."]),
    ],
)
def test_a_turn_in_which_nothing_happened_is_no_memory(nothing: Turn) -> None:
    assert build(nothing) is None


def test_a_short_prompt_is_titled_by_what_came_of_it_too() -> None:
    observation = made(
        "continue", [edit("a.py")], ["Perfect! The **importer** now reads CSV files. All is well."]
    )
    assert observation.title == "continue → The importer now reads CSV files."


def test_a_title_is_the_first_line_that_says_something() -> None:
    observation = made("```\n---\n\n## Make the *search* faster, please do\nIt takes 3 s.", [], ["Did it."])
    assert observation.title == "Make the *search* faster, please do"
    assert len(made("word " * 100, [], ["Did it."]).title) <= TITLE_CHARS


def test_a_slash_command_is_told_with_its_arguments() -> None:
    asked = (
        "<command-message>deploy</command-message>\n<command-name>/deploy</command-name>\n"
        "<command-args>to staging, now</command-args>"
    )
    assert made([prompt(asked, "command")], [bash("make deploy")]).text.startswith("/deploy to staging, now")


def test_what_clients_and_we_put_into_a_prompt_is_not_the_users() -> None:
    asked = (
        "<ide_opened_file>The user opened x.py</ide_opened_file>Repair the parser of dates"
        "<agent-memory note='data'>an old memory</agent-memory><system-reminder>be good</system-reminder>"
    )
    observation = made(asked, [], ["I did."])
    assert observation.sections[0].text == "Repair the parser of dates"
    assert "old memory" not in observation.text


def test_our_own_calls_do_not_enter_a_memory() -> None:
    calls = [
        call("mcp__agent-memory__recall", input='{"query": "zebra"}'),
        call("mcp__plugin_agent-memory_memory__search", input='{"query": "zebra"}'),
        bash("agent-memory recall zebra", "zebra"),
        bash("make deploy"),
    ]
    observation = made(calls=calls, messages=["Deployed."])
    assert "zebra" not in observation.text
    assert "agent-memory" not in observation.text
    assert "Done: 1 tool call (Bash 1)." in observation.text
    assert observation.sources["tool_calls"] == [calls[-1].id]


def test_a_task_notification_is_titled_by_what_it_ended_with() -> None:
    told = (
        "<task-notification>\n<task-id>x1</task-id>\n<status>completed</status>\n"
        '<summary>Agent "Find the leak" completed</summary>\n</task-notification>'
    )
    observation = made(
        [prompt(told, "task_notification")], [], ["The leak is in pool.py: a cursor is never closed."]
    )
    assert observation.title == "The leak is in pool.py"
    assert observation.text.startswith('Agent "Find the leak" completed\n')
    assert "task-id" not in observation.text
    assert [s.role for s in observation.sections] == [None, "assistant"]


def test_what_subagents_did_is_folded_in_and_said() -> None:
    observation = made(
        calls=[
            call("Agent", subject="Count the files"),
            bash("make stats", agent_id="a1"),
        ],
        messages=[
            message("Looking around.", agent_id="a1", agent_type="Explore"),
            message("There are 41 files.", agent_id="a1", agent_type="Explore"),
            "Forty-one files in all.",
        ],
    )
    assert "1 by subagents" in observation.text
    assert "Delegated: Count the files" in observation.text
    assert "Explore subagent reported: There are 41 files." in observation.text
    assert observation.text.endswith("Forty-one files in all.")


def test_the_prompt_of_a_subagent_is_not_the_users() -> None:
    asked = [prompt("Count all the files here"), prompt("You are to count", "subagent", agent_id="a1")]
    assert made(asked, [], ["41."]).sections[0].text == "Count all the files here"


def test_a_subagents_work_without_a_persons_prompt_is_titled_by_its_task() -> None:
    asked = [prompt("Search for every place\nthat opens a socket", "subagent", agent_id="a1")]
    said = [message("There are two: net.py and mail.py.", agent_id="a1")]
    observation = made(asked, [call("Read", path="/home/dev/shop/net.py", agent_id="a1")], said)
    assert observation.title == "Task of a subagent: Search for every place"
    assert "A subagent reported: There are two: net.py and mail.py." in observation.text


def test_answers_and_refusals_are_the_users_words() -> None:
    refused = (
        "The user doesn't want to proceed with this tool use. To tell you how to proceed, the user said:\n"
        "use pnpm here"
    )
    answered = (
        'User has answered your questions: "Which port?"="8080".'
        " You can now continue with the user's answers in mind."
    )
    observation = made(
        calls=[
            call(
                "AskUserQuestion",
                output=answered,
            ),
            bash("npm install", error=refused),
            bash("pnpm install"),
        ]
    )
    asked = observation.sections[0]
    assert asked.role == "user"
    assert 'Answered: "Which port?"="8080".' in asked.text
    assert "Refused: npm install: use pnpm here" in asked.text
    assert "Failed" not in observation.text


def test_findings_are_kept_and_small_talk_is_not() -> None:
    observation = made(
        calls=[edit("a.py")],
        messages=[
            "Let me look at the configuration first.",
            "Great! Now let me run the tests.",
            "The timeout is wrong because the proxy cuts at 30 s. Let me fix it.",
            "Now register it in the application",
            "It is repaired.",
        ],
    )
    assert observation.sections[-1].text == (
        "The timeout is wrong because the proxy cuts at 30 s.\nIt is repaired."
    )


def test_a_changed_setting_is_told_word_for_word() -> None:
    observation = made(
        calls=[edit("/home/dev/shop/config.toml", "[net]\ntimeout = 10\n", "[net]\ntimeout = 30\n")]
    )
    assert "In config.toml: `timeout = 10` → `timeout = 30`" in observation.text


def test_paths_are_shown_as_seen_from_the_project() -> None:
    observation = made(
        calls=[
            edit("/home/dev/shop/src/a.py"),
            edit("/home/dev/shop/src/a.py"),
            call("Write", path="/home/dev/notes/x.md"),
            call("Read", path="/etc/hosts"),
            bash("cd /home/dev/shop && make deploy"),
        ]
    )
    assert "Changed: src/a.py (2×), ~/notes/x.md" in observation.text
    assert "Read: /etc/hosts" in observation.text
    assert "Ran: `make deploy`" in observation.text


def test_an_interrupted_and_a_failed_turn_say_so() -> None:
    interrupted = [
        prompt("Start the web server, please"),
        prompt("[Request interrupted by user for tool use]"),
    ]
    observation = made(interrupted, [bash("make serve")])
    assert observation.text.endswith("Interrupted by the user.")
    assert observation.sections[0].text == "Start the web server, please"
    broken = made(
        [prompt("Start the web server, please", end_error="API Error: 529 overloaded")], [bash("make serve")]
    )
    assert broken.text.endswith("Ended with an error: API Error: 529 overloaded")


def test_a_turn_without_its_prompt_is_still_a_memory() -> None:
    observation = made([], [edit("/home/dev/shop/a.py")])
    assert observation.title == "Changed: a.py"


def test_a_text_stays_within_its_limit_and_keeps_every_part() -> None:
    calls = [edit(f"/home/dev/shop/a_rather_long_folder_name/file_{n}.py") for n in range(300)]
    calls += [bash(f"make target-{n} --with a-long-option-{n}") for n in range(300)]
    calls += [
        bash(f"tool{n} x", error=f"Exit code 1\nerror: thing {n} is broken " + "z" * 500) for n in range(300)
    ]
    messages = [
        f"The cause of trouble number {n} is the cache, because it is never emptied." for n in range(300)
    ]
    observation = made("Long " * 5_000, calls, [*messages, "The end. " * 1_000])
    assert len(observation.text) <= TEXT_CHARS
    for part in ("Long Long", "Changed: ", "Failed: ", "The end."):
        assert part in observation.text


def test_building_is_quick_however_much_happened() -> None:
    calls = [
        bash(f"cargo test case_{n} 2>&1 | tail -30", "x" * 500 + f"\n{n} passed; 0 failed")
        for n in range(500)
    ]
    calls += [edit(f"/home/dev/shop/f{n}.py", "a = 1" * 20, "a = 2" * 20) for n in range(500)]
    large = turn("Do everything\n" * 1_000, calls, ["The reason is known, because we looked. " * 20] * 500)
    build(large)
    began = time.process_time()
    build(large)
    assert time.process_time() - began < 0.25


@pytest.mark.parametrize(
    "nasty", ["<system-reminder>" * 700, "<" * 12_000, "a:" * 6_000, " \n" * 6_000, "`" * 12_000]
)
def test_no_text_makes_building_slow(nasty: str) -> None:
    began = time.process_time()
    build(turn(nasty, [bash(nasty[:1_500], nasty[:600], error=nasty[:5_000])], [nasty, nasty]))
    assert time.process_time() - began < 0.5


def test_the_same_turn_gives_the_same_memory() -> None:
    one = turn(calls=[edit("a.py"), bash("make")], messages=["Because of it, all was changed.", "Done now."])
    assert build(one) == build(replace(one))


def test_a_compaction_summary_is_a_memory_of_its_own() -> None:
    text = (
        "This session is being continued from a previous conversation that ran out of context. The summary below"
        " covers it.\n\nAnalysis:\nLet me think of it chronologically.\n\nSummary:\n1. Primary Request and Intent:\n"
        "   - Move the shop to Postgres 18\n\n2. Key Technical Concepts:\n   - logical replication\n"
    )
    (summary,) = summaries(turn([], [], [message(text, "compact_summary")]))
    assert summary.kind == "summary"
    assert summary.role == "assistant"
    assert summary.title == "Summary: Move the shop to Postgres 18"
    assert summary.text.startswith("Summary:\n1. Primary Request")
    assert "chronologically" not in summary.text
    number = summary.sources["assistant_messages"][0]
    assert summary.external_id == f"summary/s/{number}"
    assert build(turn([], [], [message(text, "compact_summary")])) is None


def test_a_summary_in_another_form_is_kept_whole() -> None:
    (summary,) = summaries(
        turn([], [], [message("<analysis>hm</analysis>\n<summary>All moved.</summary>", "compact_summary")])
    )
    assert (summary.title, summary.text) == ("Summary: All moved.", "All moved.")
    assert turns.summaries(turn([], [], [message("", "compact_summary")])) == []
