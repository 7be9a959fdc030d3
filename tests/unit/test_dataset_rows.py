"""A session as rows for training: what is in them, what is not, and where they are cut."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

from agent_memory.finetune import measure
from agent_memory.finetune.index import label
from agent_memory.finetune.pairs import pairs
from agent_memory.finetune.places import Places
from agent_memory.finetune.rows import Row, has_loop, rows, shortened, without
from agent_memory.finetune.schemas import Tools
from agent_memory.finetune.trajectory import Called, Session, had, read, trajectories
from agent_memory.journal import fence
from agent_memory.observations.turns import Message, Prompt

MEASURE = measure.estimated("trl")
BEGAN = datetime(2026, 11, 20, 10, tzinfo=UTC)


class Told:
    """A session as it is told, an event a second."""

    def __init__(self) -> None:
        self.now = BEGAN
        self.prompts: list[Prompt] = []
        self.messages: list[Message] = []
        self.calls: list[Called] = []

    def _at(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now

    def asked(
        self, text: str, kind: str = "user", agent: str | None = None, error: str | None = None
    ) -> Told:
        number = f"p{len(self.prompts)}"
        self.prompts.append(
            Prompt(id=number, kind=kind, text=text, occurred_at=self._at(), agent_id=agent, end_error=error)
        )
        return self

    def said(self, text: str, kind: str = "message", agent: str | None = None) -> Told:
        self.messages.append(
            Message(id=len(self.messages), kind=kind, text=text, occurred_at=self._at(), agent_id=agent)
        )
        return self

    def ran(
        self,
        command: str,
        output: str | None = "done",
        *,
        tool: str = "Bash",
        error: str | None = None,
        agent: str | None = None,
        took_ms: int | None = None,
        **more: Any,
    ) -> Told:
        given = {"command": command} if tool == "Bash" else {"file_path": command}
        self.calls.append(
            Called(
                id=len(self.calls),
                tool=tool,
                input=given | more,
                occurred_at=self._at(),
                success=None if output is None and error is None else error is None,
                output=output if error is None else None,
                output_chars=None if output is None else len(output),
                error=error,
                duration_ms=took_ms,
                agent_id=agent,
            )
        )
        return self

    def session(self) -> Session:
        return Session(
            id="s",
            project_id=1,
            agent="claude",
            cwd="/srv/shop",
            prompts=self.prompts,
            messages=self.messages,
            calls=self.calls,
        )

    def rows(self, budget: int = 4_096, *, success_only: bool = False) -> list[Row]:
        self.dropped: Counter[str] = Counter()
        return [
            row
            for trajectory in trajectories(self.session(), self.dropped)
            for row in rows(
                trajectory,
                budget=budget,
                size=MEASURE.size,
                head=lambda _: MEASURE.head("You are a coding agent.", []),
                dropped=self.dropped,
                success_only=success_only,
            )
        ]


def roles(row: Row) -> list[str]:
    return [message["role"] for message in row.messages]


def test_a_turn_becomes_messages_calls_and_results_in_order() -> None:
    told = (
        Told().asked("Why does it fail?").said("I look.").ran("make test", "1 failed").said("It is the port.")
    )
    (row,) = told.rows()
    assert row.id == "s/main/0"
    assert roles(row) == ["system", "user", "assistant", "tool", "assistant"]
    assert "/srv/shop" in row.messages[0]["content"]
    call = {"name": "Bash", "arguments": {"command": "make test"}}
    assert row.messages[2] == {
        "role": "assistant",
        "content": "I look.",
        "tool_calls": [{"id": "call_0", "type": "function", "function": call}],
    }
    assert row.messages[3] == {
        "role": "tool",
        "tool_call_id": "call_0",
        "name": "Bash",
        "content": "1 failed",
    }
    assert 0 < row.label_tokens < row.tokens


def test_calls_that_ran_at_once_are_one_message() -> None:
    told = Told().asked("Look").ran("ls", took_ms=5_000).ran("cat a", took_ms=10).ran("pwd").said("Seen.")
    (row,) = told.rows()
    # the first two and the third, which began before the first had ended
    assert [len(m.get("tool_calls", ())) for m in row.messages] == [0, 0, 3, 0, 0, 0, 0]


def test_an_error_and_its_fix_stay_in_the_row() -> None:
    told = Told().asked("Test it").ran("npm tst", error="Exit code 1\nunknown command").ran("npm test", "ok")
    (row,) = told.said("It works.").rows()
    assert row.messages[3]["content"] == "Exit code 1\nunknown command"
    assert row.failed == ["call_0"]


def test_what_was_injected_is_not_in_a_row() -> None:
    asked = f"Fix it<system-reminder>secret reminder</system-reminder>{fence.fence('a recalled note')}"
    told = Told().asked(asked).ran("make", "built\n<system-reminder>be kind</system-reminder>")
    told.ran("agent-memory recall port", "a remembered port").ran("x", "y", tool="mcp__agent-memory__recall")
    (row,) = told.said("Done.").rows()
    whole = str(row.messages)
    assert all(word not in whole for word in ("reminder", "recalled note", "remembered port", "mcp__agent"))
    assert told.dropped["call to this memory"] == 2


def test_slash_commands_and_notifications_are_told_without_their_tags() -> None:
    told = Told().asked(
        "<command-name>/review</command-name><command-args>the diff</command-args>", "command"
    )
    told.said("Reviewed.")
    told.asked(
        "<task-notification><summary>Build finished</summary></task-notification>", "task_notification"
    )
    (row,) = told.said("Good.").rows()
    assert [m["content"] for m in row.messages if m["role"] == "user"] == [
        "/review the diff",
        "A background task ended.\nBuild finished",
    ]


def test_a_subagent_is_a_trajectory_of_its_own() -> None:
    told = Told().asked("Do it").said("I send a helper.")
    told.asked("Find the port", "subagent", agent="a1").ran("grep port", "3377", agent="a1").said(
        "3377", agent="a1"
    )
    main, helper = told.said("It is 3377.").rows()
    assert roles(main) == ["system", "user", "assistant", "assistant"]
    assert (helper.id, roles(helper)) == ("s/a1/0", ["system", "user", "assistant", "tool", "assistant"])


def test_an_agent_has_all_tools_of_its_session_and_a_subagent_those_of_subagents() -> None:
    told = Told().asked("Do it").ran("a", tool="Edit").ran("b", tool="Edit").ran("c", tool="Task")
    for agent, tools in (("h1", ("Grep", "Read")), ("h2", ("Read",))):
        told.asked("Find it", "subagent", agent=agent)
        for tool in tools:
            told.ran(f"{agent}.py", tool=tool, agent=agent)
    mine = list(trajectories(told.session(), Counter()))
    assert {one.subagent: had(one, mine) for one in mine} == {
        None: ["Edit", "Read", "Grep", "Task"],
        "h1": ["Read", "Grep"],
        "h2": ["Read", "Grep"],
    }
    assert [read(json.loads(json.dumps(asdict(one)))) for one in mine] == mine


def test_a_compaction_begins_a_row_with_its_summary() -> None:
    told = Told().asked("One").said("Two").said("Summary: we did one.", "compact_summary").said("I go on.")
    first, second = told.rows()
    assert "Summary" not in str(first.messages)
    assert second.messages[1] == {"role": "user", "content": "Summary: we did one."}


def test_long_sessions_are_cut_between_turns() -> None:
    told = Told()
    for number in range(6):
        told.asked(f"Question {number} " + "word " * 60).ran("ls", "x " * 100).said("Answer")
    found = told.rows(budget=450)
    assert len(found) > 1
    assert all(row.tokens <= 450 and roles(row)[:2] == ["system", "user"] for row in found)
    asked = [m["content"].split()[1] for row in found for m in row.messages if m["role"] == "user"]
    assert asked == ["0", "1", "2", "3", "4", "5"]


def test_a_turn_longer_than_the_budget_is_cut_between_steps_and_says_so() -> None:
    told = Told().asked("Go on")
    for number in range(12):
        told.said(f"Step {number}").ran(f"make part{number}", "y " * 80)
    found = told.said("All done.").rows(budget=400)
    assert len(found) > 2
    assert all(row.tokens <= 400 for row in found)
    assert "earlier steps of this turn are not shown]" in found[1].messages[1]["content"]
    calls = [call for row in found for m in row.messages for call in m.get("tool_calls", ())]
    assert [call["function"]["arguments"]["command"] for call in calls] == [
        f"make part{n}" for n in range(12)
    ]
    # every result answers a call of its own row
    for row in found:
        ids = [call["id"] for m in row.messages for call in m.get("tool_calls", ())]
        answered = [m["tool_call_id"] for m in row.messages if m["role"] == "tool"]
        assert answered == ids[: len(answered)]


def test_long_results_are_shortened_with_a_mark() -> None:
    assert shortened("short", 10) == "short"
    cut = shortened("a" * 500 + "b" * 500, 90, more=7)
    assert cut.startswith("a" * 60 + "\n[… 917 characters left out …]\n")
    assert cut.endswith("b" * 30)


def test_a_turn_that_was_a_loop_is_left_out_and_a_loop_within_one_is_shortened() -> None:
    looping = Told().asked("Wait")
    for _ in range(5):
        looping.ran("sleep 1; check")
    assert looping.rows() == []
    assert looping.dropped["turn that was a loop"] == 1
    told = Told().asked("Deploy").ran("deploy")
    for _ in range(4):
        told.ran("status", "waiting")
    (row,) = told.said("It is up.").rows()
    assert not has_loop(row.messages)
    assert told.dropped["call in a loop"] == 3


def test_unfinished_and_empty_calls_are_left_out() -> None:
    told = Told().asked("Try").ran("make", None).said("Hm.")
    told.calls.append(
        Called(id=9, tool="TaskList", input={}, occurred_at=told.now, success=True, output="none")
    )
    (row,) = told.rows()
    assert not any("tool_calls" in message for message in row.messages)
    assert told.dropped == Counter({"call without an end": 1, "call without arguments": 1})


def test_success_only_leaves_out_turns_that_ended_ill() -> None:
    told = Told().asked("One").ran("a").said("Fine.").asked("Two", error="overloaded").ran("b").said("Hm")
    told.asked("Three").ran("c", error="Exit code 1").said("It fails.").asked("Four").ran("d").said("Good.")
    asked = [
        m["content"] for row in told.rows(success_only=True) for m in row.messages if m["role"] == "user"
    ]
    assert asked == ["One", "Four"]
    assert len(told.rows()) == 1


def test_a_failed_call_and_its_fix_make_a_pair_in_the_same_place() -> None:
    told = Told().asked("Test it").said("I run it.").ran("npm test --al", error="Exit code 1\nunknown option")
    (row,) = told.said("Ah.").ran("npm test --all", "ok").said("Good.").rows()
    (pair,) = pairs(row.messages, set(row.failed), set())
    assert [m["role"] for m in pair["prompt"]] == ["system", "user"]
    assert pair["rejected"][0]["tool_calls"][0]["function"]["arguments"] == {"command": "npm test --al"}
    assert pair["chosen"][0]["tool_calls"][0]["function"]["arguments"] == {"command": "npm test --all"}


def test_another_command_is_no_fix_and_a_refused_call_no_failure() -> None:
    other = Told().asked("Go").ran("npm test", error="Exit code 1").ran("git status", "clean").said("Hm.")
    refused = (
        Told().asked("Go").ran("git push -f", error="The user doesn't want to proceed with this tool use.")
    )
    refused.ran("git push", "ok").said("Pushed.")
    for told in (other, refused):
        (row,) = told.rows()
        assert list(pairs(row.messages, set(row.failed), set())) == []


def test_of_edits_the_same_file_is_the_same_thing_and_of_patches_nothing() -> None:
    edits = Told().asked("Go").ran("a.py", tool="Edit", old="x", error="String to replace not found in file.")
    edits.ran("b.py", tool="Edit", old="x").ran("a.py", tool="Edit", old="z").said("Done.")
    (row,) = edits.rows()
    (pair,) = pairs(row.messages, set(row.failed), set())
    assert pair["chosen"][0]["tool_calls"][0]["function"]["arguments"] == {"file_path": "a.py", "old": "z"}
    assert label("apply_patch", {"command": "*** Begin Patch"}) == "apply_patch"
    assert (
        label("run_shell_command", {"command": "cd x && git commit -m y"}) == "run_shell_command: git commit"
    )


def test_a_call_is_taken_out_with_its_result() -> None:
    (row,) = Told().asked("Go").ran("a").said("Then").ran("b").said("End").rows()
    left = without(row.messages, {"call_0"})
    assert [m["role"] for m in left] == ["system", "user", "assistant", "tool", "assistant"]
    assert len(without(row.messages, {"call_0", "call_1"})) == 4


def test_schemas_are_inferred_from_what_tools_took() -> None:
    tools = Tools()
    tools.see("claude", "Edit", {"file_path": "a", "old": "b", "all": True, "lines": [1, 2]})
    tools.see("claude", "Edit", {"file_path": "a", "old": "b"})
    tools.see("claude", "Edit", {"path": "a"}, refused="InputValidationError: file_path is missing")
    made = tools.of("claude", "Edit")["function"]
    assert made["name"] == "Edit"
    assert made["parameters"] == {
        "type": "object",
        "properties": {
            "all": {"type": "boolean"},
            "file_path": {"type": "string"},
            "lines": {"type": "array", "items": {"type": "integer"}},
            "old": {"type": "string"},
        },
        "required": ["file_path", "old"],
    }
    assert tools.seen() == {"claude": {"Edit": 2}}


def test_home_folders_their_owners_and_hosts_get_placeholders() -> None:
    places = Places(["alicia"], hosts=["brontes"])
    for given, wanted in (
        ("cd /home/alicia/shop.", "cd /home/user/shop."),
        ("open /Users/bob.smith", "open /Users/user"),
        (r"C:\Users\Alice\x and C:\\Users\\Alice\\x", r"C:\Users\user\x and C:\\Users\\user\\x"),
        ("~/.claude/projects/-home-alicia-shop/x", "~/.claude/projects/-home-user-shop/x"),
        ("drwxr-xr-x 2 alicia staff", "drwxr-xr-x 2 user staff"),
        ("alicia@brontes:~$ ssh alicia@db.prod", "user@host-1:~$ ssh user@host-2"),
        ("git://build.corp/x and root@nas.local", "git://host-3/x and root@host-4"),
        ("Alices-MacBook-Pro.local up", "host-5 up"),
        ("brontes again", "host-1 again"),
    ):
        assert places.text(given) == wanted
        assert not places.left(wanted)
    for harmless in (
        "https://example.com/home/page",
        "process.env.local",
        ".claude/settings.local.json",
        "malicia is a word; self.internal too",
        "http://host.docker.internal:80",
        "git@github.com:x/y.git",
    ):
        assert places.text(harmless) == harmless
    assert places.value({"/home/carol": ["/home/carol/x", 1]}) == {"/home/user": ["/home/user/x", 1]}
