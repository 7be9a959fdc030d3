"""GitHub Copilot CLI's session file, `~/.copilot/session-state/<session>/events.jsonl`, read as Events. Lines as in
version 1.0.102.

    for line in read(path, offset):
        …ingest line.events…, and keep line.end as the offset to go on from

Where hooks ran, the file holds what they were given. That is how a call and a prompt get the same id from here as
from the hook (see `payload`); where none ran, they have the client's own.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from agent_memory.agents import fields, json_lines
from agent_memory.agents.copilot import payload
from agent_memory.agents.copilot.payload import AGENT
from agent_memory.agents.json_lines import MALFORMED, Line, Record, Told
from agent_memory.agents.tool_calls import tool_call
from agent_memory.journal import fence
from agent_memory.journal.event import (
    AssistantMessage,
    Body,
    Event,
    Prompt,
    SessionEnd,
    SessionStart,
    TurnEnd,
)

INTERRUPTED = "interrupted by the user"

BEGUN = "a call's beginning: it is told with its end"
HOOK = "what a hook was given: it is told by what happened"
NOTICE = "a notice of the client's"
CONTEXT = "context that the client added in the user's name"
WITHOUT_TEXT = "a message of nothing but calls"
STEP = "the mark of a step's beginning or end"
USAGE = "counted tokens: they are told with their message"
SUBAGENT = "the mark of a subagent's beginning or end"
ORPHAN = "the end of a call whose beginning is not in this file"
NO_SUMMARY = "a compaction that failed, or without a summary"
UNKNOWN = "a kind of line that is not known here"

_SKIPPED = {
    "assistant.turn_start": STEP,
    "assistant.turn_end": STEP,
    "hook.end": HOOK,
    "session.compaction_start": STEP,
    "session.info": NOTICE,
    "session.model_change": NOTICE,
    "session.mode_changed": NOTICE,
    "session.plan_changed": NOTICE,
    "session.title_changed": NOTICE,
    "session.truncation": NOTICE,
    "session.warning": NOTICE,
    "skill.invoked": CONTEXT,
    "subagent.completed": SUBAGENT,
    "subagent.configured": SUBAGENT,
    "subagent.deselected": SUBAGENT,
    "subagent.failed": SUBAGENT,
    "subagent.selected": SUBAGENT,
    "system.message": CONTEXT,
    "system.notification": NOTICE,
}


def default_folder() -> Path:
    """Where Copilot keeps its sessions, a folder each."""
    home = os.environ.get("COPILOT_HOME")
    return (Path(home) if home else Path.home() / ".copilot") / "session-state"


def read(path: Path, offset: int = 0) -> Iterator[Line]:
    """The lines of the session file at `path` that end behind the byte `offset`."""
    session = _Session(path.parent.name if path.stem == "events" else path.name.split(".")[0], str(path))
    return json_lines.read(path, offset, session.tell)


@dataclass(frozen=True, slots=True)
class _Begun:
    """A call that has not ended yet."""

    at: datetime
    name: str
    given: Any
    subagent: str | None


@dataclass(slots=True)
class _Session:
    """What is remembered of the lines read so far. One a file."""

    id: str
    path: str
    cwd: str | None = None
    branch: str | None = None
    version: str | None = None
    model: str | None = None
    prompt: str | None = None
    """The prompt that drives the main agent."""
    types: dict[str, str] = field(default_factory=dict)
    """A subagent → its type."""
    calls: dict[str, _Begun] = field(default_factory=dict)
    hooked_calls: list[dict[str, Any]] = field(default_factory=list)
    """What hooks were told of ended calls, until the call's own line comes."""
    hooked_prompts: list[dict[str, Any]] = field(default_factory=list)
    usage: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Tokens by the id of the model's response, until its message comes."""

    def tell(self, record: Record) -> Told:
        kind, data = record.get("type"), record.get("data")
        if not isinstance(kind, str) or not isinstance(data, dict):
            return [], [MALFORMED]
        reader = _READERS.get(kind)
        if reader is None:
            return [], [_SKIPPED.get(kind, UNKNOWN)]
        try:
            at = datetime.fromisoformat(record["timestamp"])
            subagent = fields.optional(record, "agentId")
            told = list(reader(self, data, at, subagent, str(record.get("id"))))
        except (AttributeError, KeyError, TypeError, ValueError):
            return [], [MALFORMED]
        return [event for event in told if not isinstance(event, str)], [
            why for why in told if isinstance(why, str)
        ]

    def event(
        self,
        at: datetime,
        body: Body,
        subagent: str | None,
        *,
        prompt_id: str | None = None,
        model: str | None = None,
    ) -> Event:
        return Event(
            agent=AGENT,
            session_id=self.id,
            occurred_at=at,
            body=body,
            cwd=self.cwd,
            prompt_id=prompt_id or self.prompt,
            subagent_id=subagent,
            subagent_type=self.types.get(subagent) if subagent else None,
            model=model or self.model,
            agent_version=self.version,
            git_branch=self.branch,
            transcript_path=self.path,
        )

    def started(self, data: dict[str, Any], at: datetime, subagent: str | None, uuid: str) -> _Items:  # noqa: ARG002
        self.id = fields.optional(data, "sessionId") or self.id
        self.version = fields.optional(data, "copilotVersion") or self.version
        self.model = fields.optional(data, "selectedModel") or self.model
        self.moved(fields.mapping(data.get("context")))
        yield from self.unfinished()
        yield self.event(at, SessionStart(), None)

    def moved(self, context: dict[str, Any]) -> None:
        self.cwd = fields.optional(context, "cwd") or self.cwd
        self.branch = fields.optional(context, "branch") or self.branch

    def context_changed(self, data: dict[str, Any], at: datetime, subagent: str | None, uuid: str) -> _Items:  # noqa: ARG002
        self.moved(data)
        yield NOTICE

    def shut_down(self, data: dict[str, Any], at: datetime, subagent: str | None, uuid: str) -> _Items:  # noqa: ARG002
        yield from self.unfinished()
        yield self.event(at, SessionEnd(reason=fields.optional(data, "shutdownType")), None)

    def unfinished(self) -> _Items:
        """The calls of which no end will come: the session was ended, or broken off."""
        for id_, call in self.calls.items():
            body = tool_call(id_, payload.TOOLS.get(call.name, call.name), call.given)
            yield self.event(call.at, body, call.subagent)
        self.calls.clear()
        self.hooked_calls.clear()

    def hook(self, data: dict[str, Any], at: datetime, subagent: str | None, uuid: str) -> _Items:  # noqa: ARG002
        given = data["input"]
        if data.get("hookType") in ("postToolUse", "postToolUseFailure"):
            self.hooked_calls.append(given | {"agentId": subagent})
        elif data.get("hookType") == "userPromptSubmitted":
            self.hooked_prompts.append(given | {"agentId": subagent})
        yield HOOK

    def subagent_started(self, data: dict[str, Any], at: datetime, subagent: str | None, uuid: str) -> _Items:  # noqa: ARG002
        if subagent:
            self.types[subagent] = data["agentName"]
        yield SUBAGENT

    def user_message(self, data: dict[str, Any], at: datetime, subagent: str | None, uuid: str) -> _Items:
        text: str = data["content"]
        source = fields.optional(data, "source") or "user"
        id_ = fields.optional(data, "messageId") or uuid
        for hooked in self.hooked_prompts:
            if hooked.get("prompt") == text and _subagent(hooked) == subagent:
                self.hooked_prompts.remove(hooked)
                at = fields.moment(hooked.get("timestamp"), at)
                id_ = payload.prompt_id(hooked["sessionId"], at, text)
                break
        kind: Literal["user", "subagent", "task_notification"] = "user"
        if subagent:
            kind = "subagent"
        elif data.get("isAutopilotContinuation"):
            kind = "task_notification"
        elif source != "user":
            yield CONTEXT
            return
        if not subagent:
            self.prompt = id_
        yield self.event(at, Prompt(text=fence.strip(text), kind=kind), subagent, prompt_id=id_)

    def counted(self, data: dict[str, Any], at: datetime, subagent: str | None, uuid: str) -> _Items:  # noqa: ARG002
        usage = data["usage"]
        counted = {
            "input_tokens": usage.get("inputTokens"),
            "output_tokens": usage.get("outputTokens"),
            "reasoning_tokens": usage.get("reasoningTokens"),
            "cache_read_input_tokens": usage.get("cacheReadTokens"),
            "cache_creation_input_tokens": usage.get("cacheWriteTokens"),
        }
        self.usage[usage["apiCallId"]] = {name: n for name, n in counted.items() if isinstance(n, int)}
        yield USAGE

    def message(self, data: dict[str, Any], at: datetime, subagent: str | None, uuid: str) -> _Items:
        usage = self.usage.pop(fields.optional(data, "apiCallId") or "", None)
        text = fence.strip(fields.optional(data, "content") or "").strip()
        if text:
            body = AssistantMessage(text=text, uuid=fields.optional(data, "messageId") or uuid, usage=usage)
            yield self.event(at, body, subagent, model=fields.optional(data, "model"))
        else:
            yield WITHOUT_TEXT
        if not data.get("toolRequests") and not subagent:
            yield self.event(at, TurnEnd(), None)

    def call_begun(self, data: dict[str, Any], at: datetime, subagent: str | None, uuid: str) -> _Items:  # noqa: ARG002
        self.calls[data["toolCallId"]] = _Begun(at, data["toolName"], data.get("arguments"), subagent)
        yield BEGUN

    def call_ended(self, data: dict[str, Any], at: datetime, subagent: str | None, uuid: str) -> _Items:  # noqa: ARG002
        call = self.calls.pop(data["toolCallId"], None)
        if call is None:
            yield ORPHAN
            return
        failed = data["success"] is not True
        text = fields.optional(
            fields.mapping(data["error" if failed else "result"]), "message" if failed else "content"
        )
        hooked = self.hooked(call, text)
        id_, ended_at = data["toolCallId"], at
        if hooked:
            ended_at = fields.moment(hooked.get("timestamp"), at)
            id_ = payload.tool_use_id(hooked["sessionId"], ended_at, hooked.get("toolArgs"))
        took = max(0, round((ended_at - call.at).total_seconds() * 1000))
        body = payload.ended(id_, call.name, call.given, text, failed=failed, duration_ms=took)
        yield self.event(call.at, body, subagent, model=fields.optional(data, "model"))

    def hooked(self, call: _Begun, text: str | None) -> dict[str, Any] | None:
        """What a hook was told of the end of this call. Of two equal calls at once, the one with the same result."""
        same = [
            hooked
            for hooked in self.hooked_calls
            if hooked.get("toolName") == call.name
            and hooked.get("toolArgs") == call.given
            and _subagent(hooked) == call.subagent
        ]
        if not same:
            return None
        found = next((hooked for hooked in same if _result(hooked) == text), same[0])
        self.hooked_calls = [hooked for hooked in self.hooked_calls if hooked is not found]
        return found

    def compacted(self, data: dict[str, Any], at: datetime, subagent: str | None, uuid: str) -> _Items:
        summary = fence.strip(fields.optional(data, "summaryContent") or "").strip()
        if not data.get("success") or not summary:
            yield NO_SUMMARY
            return
        yield self.event(at, AssistantMessage(text=summary, kind="compact_summary", uuid=uuid), subagent)

    def aborted(self, data: dict[str, Any], at: datetime, subagent: str | None, uuid: str) -> _Items:  # noqa: ARG002
        yield from self.unfinished()
        yield SUBAGENT if subagent else self.event(at, TurnEnd(error=INTERRUPTED), None)

    def failed(self, data: dict[str, Any], at: datetime, subagent: str | None, uuid: str) -> _Items:  # noqa: ARG002
        kind, said = fields.optional(data, "errorType"), fields.optional(data, "message") or "unknown error"
        yield (
            SUBAGENT if subagent else self.event(at, TurnEnd(error=f"{kind}: {said}" if kind else said), None)
        )


_Items = Iterator[Event | str]
_Reader = Callable[[_Session, dict[str, Any], datetime, str | None, str], _Items]

_READERS: dict[str, _Reader] = {
    "abort": _Session.aborted,
    "assistant.message": _Session.message,
    "hook.start": _Session.hook,
    "session.compaction_complete": _Session.compacted,
    "session.context_changed": _Session.context_changed,
    "session.error": _Session.failed,
    "session.resume": _Session.started,
    "session.shutdown": _Session.shut_down,
    "session.start": _Session.started,
    "session.usage_record": _Session.counted,
    "subagent.started": _Session.subagent_started,
    "tool.execution_complete": _Session.call_ended,
    "tool.execution_start": _Session.call_begun,
    "user.message": _Session.user_message,
}


def _subagent(hooked: dict[str, Any]) -> str | None:
    return fields.optional(hooked, "agentId")


def _result(hooked: dict[str, Any]) -> str | None:
    error = hooked.get("error")
    return (
        error
        if isinstance(error, str)
        else fields.optional(fields.mapping(hooked.get("toolResult")), "textResultForLlm")
    )
