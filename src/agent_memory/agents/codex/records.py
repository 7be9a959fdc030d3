"""One record (a line) of a Codex rollout after the other as Events, whatever version wrote it.

Version 0.169 tells everything that happened as an `item_completed`, and once more as the `response_item`s that the
model was sent. Older ones (0.4x to 0.16x) have an `event_msg` of a type of its own instead: `user_message`,
`agent_message`, `exec_command_end`, `mcp_tool_call_end`, `patch_apply_end`. A call's beginning is a `response_item`
in all of them, but for the calls that a script of code mode makes.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, TypeAlias

import orjson

from agent_memory.agents.codex.payload import AGENT, INTERRUPTED, PATCH_HEAD, is_ours, tool_name, whole
from agent_memory.agents.json_lines import EMPTY, MALFORMED, Record, Told
from agent_memory.journal import fence
from agent_memory.journal.event import AssistantMessage, Body, Event, Prompt, SessionStart, ToolCall, TurnEnd

Part: TypeAlias = Body | str
"""What a record tells, or the reason for which it is not recorded."""

SETTINGS = "the client's own bookkeeping"
MODEL_INPUT = "a message as the model was sent it: what people and the model said has a line of its own"
REASONING = "reasoning"
USAGE = "the tokens of a response: they are with its message, where it has one"
TOLD = "a result that another line told"
RUNNING = "a command that runs on: its end has a line of its own"
NO_SESSION = "a line before the one that names the session"
ORPHAN = "a result whose call is not in this file"
HOOK_PROMPT = "what a hook had the model do"
COPY = "a copy of an older session's line (a forked session)"
UNKNOWN = "a kind of line that is not known here"

_SETTINGS = frozenset(("turn_context", "world_state", "session_state"))
_EVENTS_OF_NO_NOTE = frozenset(
    (
        *(
            "task_started",
            "thread_settings_applied",
            "token_count",
            "context_compacted",
            "thread_rolled_back",
        ),
        *("entered_review_mode", "exited_review_mode", "exec_command_begin", "mcp_tool_call_begin", "error"),
        *(
            "patch_apply_begin",
            "thread_name_updated",
            "plan_update",
            "turn_diff",
            "web_search_begin",
            "warning",
        ),
        *(
            "undo_completed",
            "view_image_tool_call",
            "collab_agent_spawn_end",
            "collab_waiting_end",
            "item_started",
        ),
    )
)
_ITEMS_OF_NO_NOTE = frozenset(
    ("ContextCompaction", "Plan", "EnteredReviewMode", "ExitedReviewMode", "ImageView", "ImageGeneration")
)
_RESPONSES_OF_NO_NOTE = frozenset(
    (
        "additional_tools",
        "tool_search_call",
        "tool_search_output",
        "web_search_call",
        "ghost_snapshot",
        "compaction",
    )
)
_PREAMBLE = re.compile(r"\AAnother language model started to solve this problem.*?analysis:\n", re.S)
_HEAD = re.compile(
    r"(?:Chunk ID: .*\n)?Wall time: .* seconds\n"
    r"(?:Process (?:exited with code (?P<code>-?\d+)|(?P<running>running) with session ID \d+)\n)?"
    r"(?:Original token count: \d+\n)?(?:Output:\n)?"
)
"""What Codex writes above a result that it gives to the model."""
_SCRIPT_HEAD = re.compile(r"Script (completed|failed|running)[^\n]*\nWall time [^\n]*\n(?:Output:\n)?")
_PLAIN_ON_FAILURE = frozenset(("Bash", "apply_patch", "view_image", "write_stdin"))
"""Tools whose result has a head where they worked. Without one it says why they did not."""


@dataclass(slots=True)
class Rollout:
    """What is remembered of the records read so far. One per file, which holds one thread: a session's own, or that
    of a subagent of it."""

    transcript_path: str | None = None
    """None for a subagent's file: the session's is another one."""
    _session_id: str = ""
    _thread_id: str = ""
    _subagent_type: str | None = None
    _cwd: str | None = None
    _version: str | None = None
    _branch: str | None = None
    _model: str | None = None
    _turn_id: str | None = None
    """Only of files that say when a turn starts: what drove an event is told by its time where they do not."""
    usage: dict[str, Any] | None = None
    """The tokens of a response, where the last record told them."""
    _calls: dict[str, ToolCall] = field(default_factory=dict)
    """As they began, by their ids."""
    _ended: set[str] = field(default_factory=set)

    def read(self, record: Record) -> Told:
        kind, payload = record.get("type"), record.get("payload")
        if not isinstance(payload, dict):
            return [], [MALFORMED]
        self.usage = None
        try:
            at = datetime.fromisoformat(record["timestamp"])
            parts = list(self._read(str(kind), payload))
        except (AttributeError, KeyError, TypeError, ValueError):
            return [], [MALFORMED]
        if not self._session_id:
            return [], [NO_SESSION]
        turn_id = self._turn_of(payload)
        if turn_id and _is_older(turn_id, self._thread_id):
            return [], [COPY]
        events = [self._event(at, part, turn_id) for part in parts if not isinstance(part, str)]
        return events, [part for part in parts if isinstance(part, str)]

    def _read(self, kind: str, payload: Record) -> Iterator[Part]:
        if kind == "session_meta":
            yield self._session_meta(payload)
        elif kind == "response_item":
            yield from self._response_item(payload)
        elif kind == "event_msg":
            yield from self._event_msg(payload)
        elif kind == "compacted":
            text = fence.strip(_PREAMBLE.sub("", payload["message"])).strip()
            yield AssistantMessage(text=text, kind="compact_summary") if text else EMPTY
        elif kind == "token_usage_record":
            self.usage = payload["usage"]
            yield USAGE
        elif kind in _SETTINGS:
            if kind == "turn_context":
                self._model = payload.get("model") or self._model
            yield SETTINGS
        else:
            yield UNKNOWN

    def _session_meta(self, payload: Record) -> Part:
        if self._session_id:  # in a fork's file of old versions, the parent's follows its own
            return SETTINGS if payload["id"] == self._thread_id else COPY
        self._thread_id = payload["id"]
        self._session_id = payload.get("session_id") or self._thread_id
        source = payload.get("source")
        if self._thread_id != self._session_id:
            spawned = source.get("subagent") if isinstance(source, dict) else None
            spawn = spawned.get("thread_spawn") if isinstance(spawned, dict) else None
            role = spawn.get("agent_role") if isinstance(spawn, dict) else spawned
            self._subagent_type = role if isinstance(role, str) else "default"
        self._cwd = payload.get("cwd")
        self._version = payload.get("cli_version")
        self._branch = (payload.get("git") or {}).get("branch")
        return SETTINGS if self._subagent_type else SessionStart()

    def _turn_of(self, payload: Record) -> str | None:
        if self._turn_id is None:
            return None
        passed = payload.get("internal_chat_message_metadata_passthrough")
        given = payload.get("turn_id") or (passed.get("turn_id") if isinstance(passed, dict) else None)
        return given if isinstance(given, str) else self._turn_id

    def _event(self, at: datetime, body: Body, turn_id: str | None) -> Event:
        subagent = self._thread_id if self._subagent_type else None
        return Event(
            agent=AGENT,
            session_id=self._session_id,
            occurred_at=at,
            body=body,
            cwd=self._cwd,
            prompt_id=None if isinstance(body, SessionStart) else turn_id,
            subagent_id=subagent,
            subagent_type=self._subagent_type,
            model=self._model,
            agent_version=self._version,
            git_branch=self._branch,
            transcript_path=None if subagent else self.transcript_path,
        )

    def _response_item(self, payload: Record) -> Iterator[Part]:
        kind = payload["type"]
        if kind == "message":
            yield MODEL_INPUT
        elif kind == "reasoning":
            yield REASONING
        elif kind in ("function_call", "custom_tool_call", "local_shell_call"):
            yield self._begin(_call(payload))
        elif kind in ("function_call_output", "custom_tool_call_output"):
            yield self._answered(payload["call_id"], payload["output"])
        else:
            yield SETTINGS if kind in _RESPONSES_OF_NO_NOTE else UNKNOWN

    def _event_msg(self, payload: Record) -> Iterator[Part]:
        kind = payload["type"]
        if kind == "item_completed":
            yield self._item(payload["item"])
        elif kind == "user_message":
            yield self._prompt(payload["message"])
        elif kind == "agent_message":
            yield _message(payload["message"], None)
        elif kind == "exec_command_end":
            yield self._command(payload["call_id"], payload)
        elif kind == "mcp_tool_call_end":
            yield self._mcp(payload["call_id"], payload["invocation"], payload)
        elif kind == "patch_apply_end":
            yield self._patch(payload["call_id"], payload)
        elif kind == "web_search_end":
            yield self._end(payload["call_id"], "web_search", {"query": payload.get("query")}, success=True)
        elif kind == "task_complete":
            error = payload.get("error")
            yield TurnEnd(error=str(error.get("message")) if isinstance(error, dict) else None)
        elif kind == "turn_aborted":
            reason = payload.get("reason")
            yield TurnEnd(error=INTERRUPTED if reason in (None, "interrupted") else str(reason))
        elif kind.startswith("agent_reasoning"):
            yield REASONING
        elif kind == "token_count":
            told = payload.get("info")
            self.usage = told.get("last_token_usage") if isinstance(told, dict) else None
            yield USAGE
        elif kind in _EVENTS_OF_NO_NOTE:
            if kind == "task_started":
                self._turn_id = payload.get("turn_id")
            yield SETTINGS
        else:
            yield UNKNOWN

    def _item(self, item: Record) -> Part:
        kind = item["type"]
        if kind == "UserMessage":
            return self._prompt("\n".join(part["text"] for part in item["content"] if part["type"] == "text"))
        if kind == "AgentMessage":
            return _message("\n".join(part["text"] for part in item["content"] if "text" in part), item["id"])
        if kind == "CommandExecution":
            if item.get("source") == "user_shell":
                return Prompt(text=f"! {_typed(item['command'])}", kind="command")
            return self._command(item["id"], item)
        if kind == "McpToolCall":
            return self._mcp(item["id"], item, item)
        if kind == "FileChange":
            return self._patch(item["id"], item)
        if kind == "CollabAgentToolCall":
            given = {"message": item["prompt"]} if item.get("prompt") else {}
            success = item["status"] == "completed"
            return self._end(
                item["id"], item["tool"], given, success=success, error=None if success else "failed"
            )
        if kind == "WebSearch":
            return self._end(item["id"], "web_search", {"query": item.get("query")}, success=True)
        if kind == "Reasoning":
            return REASONING
        if kind == "HookPrompt":
            return HOOK_PROMPT
        return SETTINGS if kind in _ITEMS_OF_NO_NOTE else UNKNOWN

    def _prompt(self, text: str) -> Part:
        text = fence.strip(text)
        return Prompt(text=text, kind="subagent" if self._subagent_type else "user")

    def _begin(self, call: ToolCall) -> Part:
        return self._calls.setdefault(call.tool_use_id, call)

    def _command(self, call_id: str, told: Record) -> Part:
        code, printed = told["exit_code"], fence.strip(told.get("aggregated_output") or "")
        declined = told.get("status") == "declined"
        error = (
            "declined by the user"
            if declined
            else "ended from outside"
            if code == -1
            else f"Exit code {code}"
        )
        return self._end(
            call_id,
            "Bash",
            {"command": _typed(told["command"])},
            success=code == 0 and not declined,
            output=printed,
            error=None if code == 0 and not declined else f"{error}\n{printed}".strip(),
            took=told.get("duration"),
        )

    def _mcp(self, call_id: str, invocation: Record, told: Record) -> Part:
        server = re.sub(r"\W", "_", invocation["server"], flags=re.A)
        given = invocation.get("arguments")
        result = told.get("result")
        if isinstance(result, dict) and ("Ok" in result or "Err" in result):  # before 0.169
            failed = "Err" in result
            result = result.get("Err") if failed else result["Ok"]
        else:
            failed = told.get("status", "completed") != "completed"
        failed = failed or bool(isinstance(result, dict) and result.get("isError"))
        said = whole(result) or str((told.get("error") or {}).get("message") or "")
        return self._end(
            call_id,
            tool_name(f"mcp__{server}__{invocation['tool']}"),
            given if isinstance(given, dict) else {} if given is None else {"input": given},
            success=not failed,
            output=None if failed else fence.strip(said),
            error=fence.strip(said or "failed") if failed else None,
            took=told.get("duration"),
        )

    def _patch(self, call_id: str, told: Record) -> Part:
        success = bool(told["success"]) if "success" in told else told["status"] == "completed"
        printed = "\n".join(filter(None, (told.get("stdout"), told.get("stderr"))))
        return self._end(
            call_id,
            "apply_patch",
            {"changes": told.get("changes") or {}},
            success=success,
            output=printed if success else None,
            error=None if success else printed or str(told.get("status") or "failed"),
        )

    def _end(
        self,
        call_id: str,
        name: str,
        given: dict[str, Any],
        *,
        success: bool,
        output: str | None = None,
        error: str | None = None,
        took: Any = None,
    ) -> Part:
        """A call's end. It began in this file but for the calls of a script, of which only the end is told."""
        call = self._calls.get(call_id) or ToolCall(tool_use_id=call_id, name=name, input=given)
        self._ended.add(call_id)
        return replace(
            call,
            success=success,
            output=None if is_ours(call.name) else output,
            error=error,
            duration_ms=_milliseconds(took),
        )

    def _answered(self, call_id: str, result: Any) -> Part:
        """The result as the model got it: only what has no better line."""
        call = self._calls.get(call_id)
        if call is None:
            return ORPHAN
        if call_id in self._ended and call.name != "spawn_agent":
            return TOLD
        success, said = _judged(call.name, result)
        if success is None and said is None:
            return RUNNING
        self._ended.add(call_id)
        said = fence.strip(said or "")
        return replace(
            call,
            success=success,
            output=None if success is False or is_ours(call.name) else said,
            error=(said or "failed") if success is False else None,
        )


def _call(payload: Record) -> ToolCall:
    """A call as the model asked for it, under the name and with the input that hooks give it."""
    name, given = payload.get("name") or "local_shell", _input(payload)
    namespace = payload.get("namespace") or ""
    if namespace.startswith("mcp__"):
        name = tool_name(f"{namespace}__{name}")
    elif name in ("exec_command", "shell", "shell_command", "local_shell", "container.exec"):
        name = "Bash"
        command = given.pop("cmd", None) or given.pop("command", "")
        given = {"command": _typed(command), **given}
    elif name == "apply_patch" and "input" in given:
        given = {"command": given["input"]}
    return ToolCall(tool_use_id=payload["call_id"], name=name, input=given)


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


def _typed(command: Any) -> str:
    """A command as hooks tell it: without the shell that Codex runs it in."""
    if not isinstance(command, list):
        return str(command)
    words = [str(word) for word in command]
    return words[-1] if len(words) == 3 and words[1] in ("-c", "-lc") else shlex.join(words)


def _judged(name: str, result: Any) -> tuple[bool | None, str | None]:
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
            said = texts[0][script.end() :] + "\n".join(texts[1:])
            return {"completed": True, "failed": False}.get(script[1]), None if script[
                1
            ] == "running" else said
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


def _message(text: str, uuid: str | None) -> Part:
    text = fence.strip(text).strip()
    return AssistantMessage(text=text, uuid=uuid) if text else EMPTY


def _is_older(turn_id: str, thread_id: str) -> bool:
    """Whether a turn began before its thread did: both ids are UUIDs of version 7, which begin with their time."""
    if turn_id[14:15] != "7" or thread_id[14:15] != "7":
        return False
    return turn_id[:13] < thread_id[:13]


def _milliseconds(took: Any) -> int | None:
    return round(int(took["secs"]) * 1000 + int(took["nanos"]) / 1e6) if isinstance(took, dict) else None
