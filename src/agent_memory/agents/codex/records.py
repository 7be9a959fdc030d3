"""One record (a line) of a Codex rollout after the other as Events, whatever version wrote it.

Version 0.169 tells everything that happened as an `item_completed`, and once more as the `response_item`s that the
model was sent. Older ones (0.4x to 0.16x) have an `event_msg` of a type of its own instead: `user_message`,
`agent_message`, `exec_command_end`, `mcp_tool_call_end`, `patch_apply_end`. A call's beginning is a `response_item`
in all of them, but for the calls that a script of code mode makes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeAlias

from agent_memory.agents import fields
from agent_memory.agents.codex.calls import begun, judged, milliseconds, typed
from agent_memory.agents.codex.payload import AGENT, INTERRUPTED, result, tool_name
from agent_memory.agents.json_lines import EMPTY, MALFORMED, Record, Told
from agent_memory.agents.tool_calls import tool_call
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

# Of no note, by the name of the line, of the event, of the item, and of the response's item.
_LINES = frozenset(("session_state", "turn_context", "world_state"))
_EVENTS = frozenset(
    (
        "collab_agent_spawn_end",
        "collab_waiting_end",
        "context_compacted",
        "entered_review_mode",
        "error",
        "exec_command_begin",
        "exited_review_mode",
        "item_started",
        "mcp_tool_call_begin",
        "patch_apply_begin",
        "plan_update",
        "task_started",
        "thread_name_updated",
        "thread_rolled_back",
        "thread_settings_applied",
        "turn_diff",
        "undo_completed",
        "view_image_tool_call",
        "warning",
        "web_search_begin",
    )
)
_ITEMS = frozenset(
    (
        "ContextCompaction",
        "EnteredReviewMode",
        "ExitedReviewMode",
        "ImageGeneration",
        "ImageView",
        "Plan",
    )
)
_RESPONSES = frozenset(
    (
        "additional_tools",
        "compaction",
        "ghost_snapshot",
        "tool_search_call",
        "tool_search_output",
        "web_search_call",
    )
)
_PREAMBLE = re.compile(r"\AAnother language model started to solve this problem.*?analysis:\n", re.S)


@dataclass(slots=True)
class Rollout:
    """What is remembered of the records read so far. One per file, which holds one thread: a session's own, or that
    of a subagent of it."""

    transcript_path: str
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
        elif kind in _LINES:
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
            transcript_path=self.transcript_path,
        )

    def _response_item(self, payload: Record) -> Iterator[Part]:
        kind = payload["type"]
        if kind == "message":
            yield MODEL_INPUT
        elif kind == "reasoning":
            yield REASONING
        elif kind in ("function_call", "custom_tool_call", "local_shell_call"):
            yield self._begin(begun(payload))
        elif kind in ("function_call_output", "custom_tool_call_output"):
            yield self._answered(payload["call_id"], payload["output"])
        else:
            yield SETTINGS if kind in _RESPONSES else UNKNOWN

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
            yield self._end(payload["call_id"], "web_search", {"query": payload.get("query")}, None, None)
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
        elif kind in _EVENTS:
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
                return Prompt(text=f"! {typed(item['command'])}", kind="command")
            return self._command(item["id"], item)
        if kind == "McpToolCall":
            return self._mcp(item["id"], item, item)
        if kind == "FileChange":
            return self._patch(item["id"], item)
        if kind == "CollabAgentToolCall":
            given = {"message": item["prompt"]} if item.get("prompt") else {}
            error = None if item["status"] == "completed" else str(item["status"])
            return self._end(item["id"], item["tool"], given, None, error)
        if kind == "WebSearch":
            return self._end(item["id"], "web_search", {"query": item.get("query")}, None, None)
        if kind == "Reasoning":
            return REASONING
        if kind == "HookPrompt":
            return HOOK_PROMPT
        return SETTINGS if kind in _ITEMS else UNKNOWN

    def _prompt(self, text: str) -> Part:
        text = fence.strip(text)
        return Prompt(text=text, kind="subagent" if self._subagent_type else "user")

    def _begin(self, call: ToolCall) -> Part:
        return self._calls.setdefault(call.tool_use_id, call)

    def _command(self, call_id: str, told: Record) -> Part:
        code, printed = told["exit_code"], told.get("aggregated_output") or ""
        error = None
        if told.get("status") == "declined":
            error = "declined by the user"
        elif code:
            error = f"{'Ended from outside' if code == -1 else f'Exit code {code}'}\n{printed}".strip()
        given = {"command": typed(told["command"])}
        return self._end(call_id, "Bash", given, printed, error, took=told.get("duration"))

    def _mcp(self, call_id: str, invocation: Record, told: Record) -> Part:
        said = told.get("result")
        if isinstance(said, dict) and ("Ok" in said or "Err" in said):  # before 0.169
            failed, said = "Err" in said, said.get("Ok", said.get("Err"))
        else:
            failed = told.get("status", "completed") != "completed"
        failed = failed or bool(isinstance(said, dict) and said.get("isError"))
        text = result(said) or fields.mapping(told.get("error")).get("message")
        error = str(text or "failed") if failed else None
        name = tool_name(f"mcp__{re.sub(r'[^A-Za-z0-9_]', '_', invocation['server'])}__{invocation['tool']}")
        return self._end(call_id, name, invocation.get("arguments"), text, error, took=told.get("duration"))

    def _patch(self, call_id: str, told: Record) -> Part:
        worked = told["success"] if "success" in told else told["status"] == "completed"
        said = "\n".join(filter(None, (told.get("stdout"), told.get("stderr"))))
        error = None if worked else said or str(told.get("status") or "failed")
        return self._end(call_id, "apply_patch", {"changes": told.get("changes") or {}}, said, error)

    def _end(
        self, call_id: str, name: str, given: Any, said: str | None, error: str | None, *, took: Any = None
    ) -> Part:
        """A call's end, and its name and input as this line tells them: a script's calls have no other line."""
        there = self._calls.get(call_id)
        self._ended.add(call_id)
        return tool_call(
            call_id,
            there.name if there else name,
            there.input if there else given,
            success=error is None,
            output=said if error is None else None,
            error=error,
            duration_ms=milliseconds(took),
        )

    def _answered(self, call_id: str, answer: Any) -> Part:
        """The result as the model got it: only what has no better line."""
        call = self._calls.get(call_id)
        if call is None:
            return ORPHAN
        if call_id in self._ended and call.name != "spawn_agent":
            return TOLD
        success, said = judged(call.name, answer)
        if success is None and said is None:
            return RUNNING
        self._ended.add(call_id)
        return tool_call(
            call_id,
            call.name,
            call.input,
            success=success,
            output=None if success is False else said,
            error=(said or "failed").strip() if success is False else None,
        )


def _message(text: str, uuid: str | None) -> Part:
    text = fence.strip(text).strip()
    return AssistantMessage(text=text, uuid=uuid) if text else EMPTY


def _is_older(turn_id: str, thread_id: str) -> bool:
    """Whether a turn began before its thread did: both ids are UUIDs of version 7, which begin with their time."""
    if turn_id[14:15] != "7" or thread_id[14:15] != "7":
        return False
    return turn_id[:13] < thread_id[:13]
