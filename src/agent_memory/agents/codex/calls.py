"""Calls of tools as Codex's model asks for them, and the results that it gets, in a rollout's `response_item`s."""

from __future__ import annotations

import re
import shlex
from typing import Any

import orjson

from agent_memory.agents.codex.payload import PATCH_HEAD, tool_name
from agent_memory.agents.json_lines import Record
from agent_memory.agents.tool_calls import tool_call
from agent_memory.journal.event import ToolCall

_HEAD = re.compile(
    r"(?:Chunk ID: .*\n)?Wall time: .* seconds\n"
    r"(?:Process (?:exited with code (?P<code>-?\d+)|(?P<running>running) with session ID \d+)\n)?"
    r"(?:Original token count: \d+\n)?(?:Output:\n)?"
)
"""What Codex writes above a result that it gives to the model."""
_SCRIPT_HEAD = re.compile(r"Script (completed|failed|running)[^\n]*\nWall time [^\n]*\n(?:Output:\n)?")
_PLAIN_ON_FAILURE = frozenset(("Bash", "apply_patch", "view_image", "write_stdin"))
"""Tools whose result has a head where they worked. Without one it says why they did not."""


def begun(payload: Record) -> ToolCall:
    """A call as the model asked for it, under the name and with the input that hooks give it."""
    name, given = payload.get("name") or "local_shell", _input(payload)
    namespace = payload.get("namespace") or ""
    if namespace.startswith("mcp__"):
        name = tool_name(f"{namespace}__{name}")
    elif name in ("exec_command", "shell", "shell_command", "local_shell", "container.exec"):
        name = "Bash"
        # Without what only steers the client, such as how long to wait for output: hooks tell the command alone.
        given = {"command": typed(given.get("cmd", given.get("command", "")))} | (
            {"workdir": given["workdir"]} if given.get("workdir") else {}
        )
    elif name == "apply_patch" and "input" in given:
        given = {"command": given["input"]}
    return tool_call(payload["call_id"], name, given)


def _input(payload: Record) -> dict[str, Any]:
    if payload["type"] == "local_shell_call":
        return {key: value for key, value in payload["action"].items() if key != "type"}
    if payload["type"] == "custom_tool_call":
        return {"input": payload["input"]}
    try:
        given = orjson.loads(payload["arguments"])
    except orjson.JSONDecodeError:
        given = payload["arguments"]
    return given if isinstance(given, dict) else {"input": given}


def typed(command: Any) -> str:
    """A command as hooks tell it: without the shell that Codex runs it in."""
    if not isinstance(command, list):
        return str(command)
    words = [str(word) for word in command]
    return words[-1] if len(words) == 3 and words[1] in ("-c", "-lc") else shlex.join(words)


def judged(name: str, result: Any) -> tuple[bool | None, str | None]:
    """Whether a call worked and what it said, from the result that the model got. Neither: it still runs."""
    if isinstance(result, str) and result.startswith('{"output":'):  # shell, before 0.7x
        try:
            told = orjson.loads(result)
            return told["metadata"]["exit_code"] == 0, str(told["output"])
        except (orjson.JSONDecodeError, KeyError, TypeError):
            pass
    if not isinstance(result, str):
        texts = [part.get("text", "") for part in result if isinstance(part, dict)] if result else []
        if texts and (script := _SCRIPT_HEAD.match(texts[0])):
            if script[1] == "running":
                return None, None
            return script[1] == "completed", texts[0][script.end() :] + "\n".join(texts[1:])
        result = "\n".join(filter(None, texts))
    if patch := PATCH_HEAD.match(result):
        return patch[1] == "0", result[patch.end() :]
    if result.startswith("unsupported call: "):
        return False, result
    head = _HEAD.match(result)
    if head is None:
        return (False if name in _PLAIN_ON_FAILURE else None), result
    if head["running"]:
        return None, None
    said = result[head.end() :]
    if patch := PATCH_HEAD.match(said):
        return patch[1] == "0", said[patch.end() :]
    if head["code"] is not None:
        failed = head["code"] != "0"
        return not failed, f"Exit code {head['code']}\n{said}".strip() if failed else said
    return (False if said.strip() == "aborted by user" else None), said


def milliseconds(took: Any) -> int | None:
    return round(int(took["secs"]) * 1000 + int(took["nanos"]) / 1e6) if isinstance(took, dict) else None
