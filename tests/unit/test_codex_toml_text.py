"""Changes to TOML settings that leave the rest of them as it is."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from agent_memory.agents import toml_text
from agent_memory.errors import AgentMemoryError

OURS = ("mcp_servers", "agent-memory")
SERVER = {"command": "/opt/py thon/python", "args": ["-I", "-m", "agent_memory.mcp"]}

THEIRS = """\
# my settings
model = "gpt-5.5"   # the plain one
notes = '''
[mcp_servers.agent-memory]
is no table here
'''
matrix = [
  ["a"],
  ["b"],
]

[mcp_servers.tides]
command = "tides"   # mine

# about projects
[projects."/home/dev/harbour"]
trust_level = "trusted"
"""


@pytest.mark.parametrize("before", ["", "{}\n", 'model = "x"', 'model = "x"\n', THEIRS, "\ufeffa = 1\n"])
def test_a_new_table_comes_last_and_goes_without_a_trace(before: str) -> None:
    after = toml_text.put(before, OURS, SERVER)
    assert tomllib.loads(after.removeprefix("\ufeff"))["mcp_servers"]["agent-memory"] == SERVER
    assert after.startswith("" if before == "{}\n" else before)
    assert toml_text.put(after, OURS, SERVER) == after
    gone = toml_text.remove(after, OURS)
    assert gone.rstrip("\n") == before.replace("{}\n", "").rstrip("\n")


def test_what_the_user_added_to_our_table_stays() -> None:
    before = toml_text.put(THEIRS, OURS, {"command": "old", "args": []})
    theirs = (
        before
        + 'startup_timeout_sec = 9\n\n[mcp_servers.agent-memory.tools.recall]\napproval_mode = "approve"\n'
    )
    after = toml_text.put(theirs, OURS, SERVER)
    tools = {"recall": {"approval_mode": "approve"}}
    there = tomllib.loads(after)["mcp_servers"]["agent-memory"]
    assert there == {**SERVER, "startup_timeout_sec": 9, "tools": tools}
    assert after.startswith(THEIRS)


def test_removing_takes_the_tables_in_it_along_and_nothing_else() -> None:
    ours = toml_text.put(THEIRS, OURS, SERVER) + "\n[mcp_servers.agent-memory.tools.recall]\nenabled = true\n"
    more = "\n[tui]\ntheme = 1\n"
    assert toml_text.remove(ours + more, OURS) == THEIRS + more


def test_comments_in_front_of_the_next_table_stay() -> None:
    text = toml_text.put("", OURS, SERVER) + "\n# about tides\n[mcp_servers.tides]\ncommand = 1\n"
    assert toml_text.remove(text, OURS) == "\n# about tides\n[mcp_servers.tides]\ncommand = 1\n"


def test_names_and_values_are_quoted_where_they_must_be() -> None:
    value = {"command": 'a "b" \\ \x7f ü', "env": {"A B": "1"}, "on": True, "n": 3}
    after = toml_text.put("", ("mcp servers", "ü.1"), value)
    assert tomllib.loads(after) == {"mcp servers": {"ü.1": value}}
    assert toml_text.remove(after, ("mcp servers", "ü.1")) == ""


def test_a_header_is_found_however_it_is_written() -> None:
    for header in ('[ mcp_servers . "agent-memory" ]  # ours', "[mcp_servers.'agent-memory']"):
        text = f"{header}\ncommand = 1\n"
        assert tomllib.loads(toml_text.put(text, OURS, SERVER)) == {"mcp_servers": {"agent-memory": SERVER}}
        assert toml_text.remove(text, OURS) == ""


def test_what_cannot_be_changed_so_is_left_alone_and_said() -> None:
    with pytest.raises(AgentMemoryError, match="by hand"):
        toml_text.put('mcp_servers = { tides = { command = "tides" } }\n', OURS, SERVER)
    with pytest.raises(AgentMemoryError, match="by hand"):
        toml_text.remove("mcp_servers.agent-memory.command = 1\n", OURS)


def test_a_file_that_is_no_toml_is_named() -> None:
    with pytest.raises(AgentMemoryError, match=r"config\.toml is not valid TOML"):
        toml_text.parse(Path("config.toml"), "= 1")
