"""One record (a line) of a Gemini CLI chat file after the other as Events.

A file is a log of changes to a conversation: a message is written again with more in it, and all of them are written
again when a session is resumed or its history is compressed. What was told once is not told again.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeAlias

from agent_memory.agents import fields
from agent_memory.agents.gemini.payload import AGENT, ended, mcp_tool, typed, words
from agent_memory.agents.json_lines import EMPTY, MALFORMED, Record, Told
from agent_memory.journal import fence
from agent_memory.journal.event import AssistantMessage, Body, Event, Prompt, SessionStart, TurnEnd

Part: TypeAlias = Event | str
"""What a record tells, or the reason for which it is not recorded."""

HEADER = "the client's own bookkeeping"
CONTEXT = "context that the client added"
HOOK_CONTEXT = "what a hook said"
RESULTS = "results as the model was sent them: they are told with their calls"
COPY = "written again: what was told before"
NOTICE = "a notice of the client's"
WITHOUT_TEXT = "a message of nothing but calls and thoughts"
REWIND = "the user went back: what happened stays"
NO_SESSION = "a line before the one that names the session"
UNKNOWN = "a kind of line that is not known here"
INTERRUPTED = "interrupted by the user"

_WORKSPACE = re.compile(r"\*\*Workspace Directories:\*\*\n\s*- (\S[^\n]*)")
_SESSION, _LOADED = "<session_context>", "<loaded_context>"
_MCP = re.compile(r"(.+) \((.+) MCP Server\)")
_ACKNOWLEDGED = "Got it. Thanks for the additional context!"
"""What the client has the model say to the summary of what it forgot."""


@dataclass(slots=True)
class Chat:
    """What is remembered of the records read so far. One per file, which is a session's or a subagent's."""

    transcript_path: str
    parent: str | None = None
    """The session of a subagent's file."""
    cwd: str | None = None
    _session_id: str = ""
    _subagent_id: str | None = None
    _started: datetime | None = None
    """When the session began, until that has been told: only when the folder is known."""
    _told: set[str] = field(default_factory=set)
    """The ids of messages and of calls."""

    def read(self, record: Record) -> Told:
        try:
            parts = list(self._read(record))
        except (AttributeError, KeyError, TypeError, ValueError):
            return [], [MALFORMED]
        return [part for part in parts if not isinstance(part, str)], [
            part for part in parts if isinstance(part, str)
        ]

    def _read(self, record: Record) -> Iterator[Part]:
        if "$rewindTo" in record:
            yield REWIND
        elif "$set" in record:
            yield HEADER
            yield from self._rewritten(record["$set"].get("messages") or [])
        elif "sessionId" in record:
            yield HEADER
            self._header(record)
            for message in record.get("messages") or []:  # of a whole chat in one record
                yield from self._message(message)
        elif "id" in record:
            yield from self._message(record)
        else:
            yield UNKNOWN

    def _header(self, record: Record) -> None:
        if self._session_id:
            return  # resumed
        self._session_id = record["sessionId"]
        if record.get("kind") == "subagent" and self.parent:
            self._session_id, self._subagent_id = self.parent, self._session_id
        else:
            self._started = datetime.fromisoformat(record["startTime"])
        directories = record.get("directories")
        self.cwd = self.cwd or (directories[0] if directories else None)

    def _rewritten(self, messages: list[Record]) -> Iterator[Part]:
        """The conversation as it goes on, when it is resumed or was compressed. Nothing of it is new but a summary;
        the messages behind that may have new ids."""
        for message, following in itertools.pairwise([*messages, {}]):
            acknowledged = words(following.get("content") or "") == _ACKNOWLEDGED
            if acknowledged and message["id"] not in self._told:
                at, text = (
                    datetime.fromisoformat(message["timestamp"]),
                    fence.strip(words(message["content"])),
                )
                body = AssistantMessage(text=text.strip(), kind="compact_summary", uuid=message["id"])
                yield self._event(at, body)
            elif words(message.get("content") or "").lstrip().startswith(_SESSION):
                yield from self._message(message)
            else:
                yield COPY
            self._told.add(message["id"])

    def _message(self, message: Record) -> Iterator[Part]:
        if not self._session_id:
            yield NO_SESSION
            return
        at, kind = datetime.fromisoformat(message["timestamp"]), message["type"]
        calls = [call for call in message.get("toolCalls") or [] if call["id"] not in self._told]
        parts: list[Part] = []
        if message["id"] in self._told:
            parts = [] if calls else [COPY]
        elif kind == "user":
            parts = list(self._user(message, at))
        elif kind == "gemini":
            parts = list(self._gemini(message, at))
        elif kind in ("info", "warning", "error"):
            parts = list(self._notice(message, at))
        else:
            parts = [UNKNOWN]
        self._told.add(message["id"])
        if self._started and (self.cwd or parts != [CONTEXT]):
            yield self._event(self._started, SessionStart())
            self._started = None
        yield from parts
        for call in calls:
            self._told.add(call["id"])
            yield self._call(call, message)

    def _user(self, message: Record, at: datetime) -> Iterator[Part]:
        content = message.get("content") or []
        parts = content if isinstance(content, list) else [content]
        text = words([part for part in parts if not words(part).lstrip().startswith(_LOADED)])
        if text.lstrip().startswith(_SESSION):
            found = _WORKSPACE.search(text)
            self.cwd = self.cwd or (found[1].strip() if found else None)
            yield CONTEXT
        elif any(isinstance(part, dict) and "functionResponse" in part for part in parts):
            yield RESULTS
        elif asked := typed(text):
            body = Prompt(text=asked, kind="subagent" if self._subagent_id else "user")
            yield self._event(at, body, prompt_id=message["id"])
        else:
            yield HOOK_CONTEXT if text.strip() else CONTEXT if parts else EMPTY

    def _gemini(self, message: Record, at: datetime) -> Iterator[Part]:
        text = fence.strip(words(_spoken(message.get("content") or ""))).strip()
        if not text:
            yield WITHOUT_TEXT
        else:
            body = AssistantMessage(text=text, uuid=message["id"], usage=message.get("tokens"))
            yield self._event(at, body, model=fields.optional(message, "model"))

    def _notice(self, message: Record, at: datetime) -> Iterator[Part]:
        text = words(message.get("content") or "").strip()
        if text == "Request cancelled.":
            yield self._event(at, TurnEnd(error=INTERRUPTED))
        elif message["type"] == "error" and text.startswith("[API Error"):
            yield self._event(at, TurnEnd(error=text.strip("[]")))
        else:
            yield NOTICE

    def _call(self, call: Record, message: Record) -> Event:
        served = _MCP.fullmatch(call.get("displayName") or "") if call["name"].startswith("mcp_") else None
        name = mcp_tool(served[2], served[1]) if served else call["name"]
        said, error = _result(call)
        body = ended(call["id"], name, call.get("args"), said, error=error)
        at = datetime.fromisoformat(call.get("timestamp") or message["timestamp"])
        return self._event(at, body, model=fields.optional(message, "model"))

    def _event(
        self, at: datetime, body: Body, *, prompt_id: str | None = None, model: str | None = None
    ) -> Event:
        return Event(
            agent=AGENT,
            session_id=self._session_id,
            occurred_at=at,
            body=body,
            cwd=self.cwd,
            prompt_id=prompt_id,
            subagent_id=self._subagent_id,
            model=model,
            transcript_path=self.transcript_path,
        )


def _spoken(content: Any) -> Any:
    """The parts that the model said, not those that it thought."""
    if not isinstance(content, list):
        return content
    return [part for part in content if not (isinstance(part, dict) and part.get("thought"))]


def _result(call: Record) -> tuple[str, str | None]:
    """What a tool answered, and its error where it failed."""
    responses = [
        part["functionResponse"].get("response") or {}
        for part in call.get("result") or []
        if isinstance(part, dict) and "functionResponse" in part
    ]
    said = "\n".join(words(response["output"]) for response in responses if "output" in response)
    if call.get("status") == "success":
        return said, None
    errors = [str(response["error"]) for response in responses if response.get("error")]
    return said, "\n".join(errors) or said or str(call.get("status") or "failed")
