"""Our plugin for OpenCode on a real JavaScript engine: what it writes, and that nothing of it ever reaches OpenCode."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from agent_memory import paths
from agent_memory.agents import entries
from agent_memory.agents.opencode import connect
from agent_memory.agents.opencode.payload import events
from agent_memory.capture import spool
from agent_memory.capture.drain import read_payload
from agent_memory.journal.event import AssistantMessage, Prompt, SessionEnd, SessionStart, ToolCall, TurnEnd

NODE = shutil.which("node")

pytestmark = pytest.mark.skipif(NODE is None, reason="NOT TESTED: node is not installed")

DRIVER = """
import { AgentMemory } from "./plugin.mjs"
const steps = JSON.parse(process.argv[2])
const hooks = await AgentMemory({ directory: "/home/dev/harbour" })
if (process.argv[3]) Object.defineProperty(JSON, "stringify", { value: () => { throw new Error(process.argv[3]) } })
for (const [name, ...given] of steps) await hooks[name]?.(...given)
console.log(Object.keys(hooks).sort().join(" "))
"""
"""Loads the plugin and calls hooks as OpenCode does: with objects, one after the other."""

SESSION = {"id": "ses_1", "version": "1.18.33", "directory": "/home/dev/harbour"}


def happened(kind: str, **properties: Any) -> list[Any]:
    return ["event", {"event": {"type": kind, "properties": properties}}]


def updated(part: dict[str, Any], session: str = "ses_1") -> list[Any]:
    return happened("message.part.updated", part={"sessionID": session, "messageID": "msg_2", **part})


def tool(status: str, call: str = "call_1", **state: Any) -> dict[str, Any]:
    started = {"input": {"command": "make"}, "time": {"start": 1795406286091}}
    return {"type": "tool", "tool": "bash", "callID": call, "state": {"status": status, **started, **state}}


def typed(text: str, id_: str = "msg_1", session: str = "ses_1") -> list[Any]:
    message = {"id": id_, "role": "user", "model": {"modelID": "stand-in"}}
    return [
        "chat.message",
        {"sessionID": session},
        {"message": message, "parts": [{"type": "text", "text": text}]},
    ]


def complete(id_: str = "msg_2", session: str = "ses_1", **more: Any) -> list[Any]:
    info = {"id": id_, "role": "assistant", "sessionID": session, "modelID": "stand-in"}
    return happened("message.updated", info={**info, "time": {"completed": 1795406286999}, **more})


DONE: dict[str, Any] = {"output": "ok", "metadata": {"exit": 0}}
SAID = {"type": "text", "id": "prt_1", "text": "All done.", "time": {"start": 1, "end": 2}}


def drive(tmp_path: Path, steps: list[list[Any]], *, failing: str = "") -> subprocess.CompletedProcess[str]:
    (tmp_path / "plugin.mjs").write_text(connect.plugin(), encoding="utf-8")
    (tmp_path / "driver.mjs").write_text(DRIVER, encoding="utf-8")
    assert NODE is not None
    return subprocess.run(
        [NODE, tmp_path / "driver.mjs", json.dumps(steps), *([failing] if failing else [])],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={"PATH": os.environ["PATH"], "HOME": str(Path.home())},
    )


def recorded() -> list[Any]:
    return [
        event
        for file in spool.waiting()
        for event in events(read_payload(file.path.read_bytes()), file.written_at)
    ]


def recorded_with_start() -> list[Any]:
    """Everything, the session's start first: the plugin does not wait for the hook that records it."""
    deadline = time.monotonic() + 30
    while not (starts := [event for event in recorded() if isinstance(event.body, SessionStart)]):
        assert time.monotonic() < deadline, "no session start within 30 s"
        time.sleep(0.02)
    return [*starts, *(event for event in recorded() if event not in starts)]


@pytest.fixture(autouse=True)
def no_service(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A session's start runs the real hook, which would start a service: here it runs a copy that does not."""
    hook = tmp_path / "agent_memory" / "hook.py"
    hook.parent.mkdir()
    source = entries.HOOK.read_text(encoding="utf-8")
    assert source.count("os.posix_spawn(\n") == 1
    hook.write_text(re.sub(r"os\.posix_spawn\(\n(?s:.*?)\n    \)\n", "0\n", source), encoding="utf-8")
    monkeypatch.setattr(entries, "HOOK", hook)


def test_a_session_becomes_one_file_an_event(tmp_path: Path) -> None:
    done = drive(
        tmp_path,
        [
            happened("session.created", info=SESSION),
            typed('"Look after it"'),
            updated({"type": "step-start", "id": "prt_0"}),
            updated(tool("pending")),
            updated(tool("running")),
            updated(tool("running", metadata={"output": "so far"})),
            updated(tool("completed", **DONE)),
            updated({"type": "text", "id": "prt_1", "text": ""}),
            updated(SAID),
            complete(),
            complete(),
            happened("session.idle", sessionID="ses_1"),
            ["dispose"],
        ],
    )
    assert (done.returncode, done.stderr) == (0, "")
    told = recorded_with_start()
    assert [type(event.body) for event in told] == [
        SessionStart,
        Prompt,
        ToolCall,
        ToolCall,
        AssistantMessage,
        TurnEnd,
        SessionEnd,
    ]
    assert {event.session_id for event in told} == {"ses_1"}
    assert {event.prompt_id for event in told[2:]} == {"msg_1"}
    assert [call.body.success for call in told[2:4]] == [None, True]
    assert told[1].body.text == "Look after it"
    assert told[0].agent_version == "1.18.33"


def test_files_are_whole_private_and_named_as_the_hook_names_them(tmp_path: Path) -> None:
    drive(tmp_path, [typed("one"), typed("two", "msg_5")])
    told = recorded_with_start()
    names = sorted(os.listdir(paths.spool_new()))
    for name in names:
        assert re.fullmatch(r"\d{20}-\d+-[0-9a-f]{8}\.opencode", name)
        assert os.stat(paths.spool_new() / name).st_mode & 0o777 == 0o600
    for folder in (paths.home(), paths.spool(), paths.spool_tmp(), paths.spool_new()):
        assert os.stat(folder).st_mode & 0o777 == 0o700
    assert os.listdir(paths.spool_tmp()) == []
    assert [event.body.text for event in told if isinstance(event.body, Prompt)] == ["one", "two"]


def test_a_subagents_session_is_told_with_the_one_above_it(tmp_path: Path) -> None:
    child = {**SESSION, "id": "ses_2", "parentID": "ses_1"}
    drive(
        tmp_path,
        [
            happened("session.created", info=SESSION),
            typed("Main task"),
            happened("session.created", info=child),
            happened("session.updated", info={**child, "agent": "general"}),
            typed("Inspect", "msg_7", "ses_2"),
            updated({**tool("running", "call_9")}, "ses_2"),
        ],
    )
    told = [event for event in recorded() if event.subagent_id]
    assert [(e.session_id, e.subagent_id, e.subagent_type) for e in told] == [
        ("ses_1", "ses_2", "general")
    ] * 2
    prompt, call = sorted(told, key=lambda event: isinstance(event.body, ToolCall))
    assert (prompt.body.kind, prompt.prompt_id) == ("subagent", "msg_7")
    assert call.prompt_id == "msg_1"
    assert sum(isinstance(event.body, SessionStart) for event in recorded_with_start()) == 1


def test_a_session_that_was_there_before_is_resumed_and_a_command_is_told_as_one(tmp_path: Path) -> None:
    drive(
        tmp_path,
        [["command.execute.before", {"sessionID": "ses_1", "command": "boats"}], typed("Count"), typed("On")],
    )
    told = recorded_with_start()
    assert [e.body.source for e in told if isinstance(e.body, SessionStart)] == ["resume"]
    assert [e.body.kind for e in told if isinstance(e.body, Prompt)] == ["command", "user"]


def test_images_are_left_out(tmp_path: Path) -> None:
    ended = tool("completed", **DONE, attachments=[{"url": "data:image/png;base64," + "A" * 100_000}])
    drive(tmp_path, [updated(ended)])
    (file,) = spool.waiting()
    assert file.path.stat().st_size < 2_000


STEPS: list[list[Any]] = [
    happened("session.created", info=SESSION),
    typed("Look"),
    updated(tool("running")),
    updated(tool("completed", **DONE)),
    updated(SAID),
    complete(),
    happened("session.idle", sessionID="ses_1"),
    ["dispose"],
]


def test_nothing_is_thrown_whatever_opencode_sends(tmp_path: Path) -> None:
    odd: list[list[Any]] = [
        ["event", {}],
        ["event", {"event": None}],
        happened("session.created"),
        happened("message.part.updated", part={"type": "tool"}),
        happened("message.updated", info={"role": "assistant"}),
        happened("session.error"),
        happened("brand.new", what=1),
        ["chat.message", {}, {}],
        ["chat.message", None, None],
        ["command.execute.before", None],
    ]
    done = drive(tmp_path, odd)
    assert (done.returncode, done.stderr) == (0, "")


def test_nothing_is_thrown_where_recording_fails(tmp_path: Path) -> None:
    done = drive(tmp_path, STEPS, failing="broken on purpose")
    assert (done.returncode, done.stderr) == (0, "")
    assert "event" in done.stdout


@pytest.mark.parametrize("broken", ["spool", "home"])
def test_nothing_is_thrown_where_the_spool_cannot_be_written(tmp_path: Path, broken: str) -> None:
    in_the_way = paths.spool() if broken == "spool" else paths.home()
    in_the_way.parent.mkdir(exist_ok=True)
    in_the_way.write_text("in the way", encoding="utf-8")
    done = drive(tmp_path, STEPS)
    assert (done.returncode, done.stderr) == (0, "")


def test_without_python_the_start_is_recorded_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    done = drive(tmp_path, STEPS)
    assert (done.returncode, done.stderr) == (0, "")
    assert sum(isinstance(event.body, SessionStart) for event in recorded_with_start()) == 1


def test_when_agent_memory_is_gone_it_does_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entries, "HOOK", Path("/nowhere/agent_memory/hook.py"))
    done = drive(tmp_path, STEPS)
    assert (done.returncode, done.stdout.strip()) == (0, "")
    assert not paths.home().exists()
