"""One record (a line) of a Claude Code transcript after the other as Events, whatever version wrote it.

What a record means depends on those before it: which prompt it belongs to, which call a result ends, whether
it is a copy. `Conversation` remembers just that.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeAlias

from agent_memory.agents.claude_code import compaction, output, reasons
from agent_memory.agents.claude_code.payload import AGENT, INTERRUPTED, failure, is_ours, prompt_kind
from agent_memory.journal import fence
from agent_memory.journal.event import AssistantMessage, Body, Event, Prompt, ToolCall, TurnEnd

Record: TypeAlias = dict[str, Any]

_NOTES = ("<ide_opened_file>", "<ide_selection>", "<ide_diagnostics>", "<system-reminder>")
_OUTPUTS = ("<local-command-stdout>", "<local-command-stderr>", "<bash-stdout>", "<bash-stderr>")
_INTERRUPTED = re.compile(r"\A\[Request interrupted by user[^\]\n]*\]\s*")
# `a<label>-<hex>`: a fork of the conversation that the client runs for itself, not a subagent that the model
# asked for.
_HELPER = re.compile(
    r"a(?:reactive-)?(?:compact|prompt_suggestion|side_question|session_memory|extract_memories|away_summary"
    r"|agent_summary|auto_dream|speculation|rename|resume_cache_warm|plugin_model_fork)-[0-9a-f]+"
)
_COMMAND = re.compile(r"<command-name>\s*(/?.*?)\s*</command-name>", re.S)
_ARGUMENTS = re.compile(r"<command-args>(.*?)</command-args>", re.S)
_SHELL = re.compile(r"<bash-input>(.*?)</bash-input>", re.S)
_ERROR = re.compile(r"\A<tool_use_error>(.*)</tool_use_error>\s*\Z", re.S)
_REFUSED = "The user doesn't want to proceed with this tool use"


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the conversation a record stands."""

    prompt_id: str | None = None
    """The prompt that drives it: in a subagent the parent's, as hooks say it, where the file tells it."""
    turn_id: str | None = None
    """The prompt that the record belongs to in its own file: in a subagent the subagent's."""
    subagent_id: str | None = None


@dataclass(slots=True)
class Conversation:
    """What is remembered of the records read so far. One per file."""

    session_id: str
    """The fallback for a record that does not say it."""
    subagent_type: str | None = None
    transcript_path: str | None = None
    """None for a subagent's file: the session's transcript is another one."""
    _places: dict[str, Place] = field(default_factory=dict)
    """By the uuid of the record; of every record that has one, since the next names it as its parent."""
    _last: Place = Place()
    """The main conversation's last place: where a record's parent is not known."""
    _calls: dict[str, ToolCall | None] = field(default_factory=dict)
    """By tool_use_id; None once the result is seen."""
    _metered: set[str] = field(default_factory=set)
    """The API responses whose usage has been told."""
    _texts: dict[tuple[str, str], Place] = field(default_factory=dict)
    """Prompts and messages by time and text. A resumed session may begin with a copy of an older part of the
    same file under new uuids: only the times and the texts are the same."""

    def read(self, record: Record) -> tuple[list[Event], list[str]]:
        """The record's events, and the reasons for what in it is not recorded. Never both empty."""
        uuid, kind = record.get("uuid"), record.get("type")
        if not isinstance(uuid, str):
            return [], [reasons.MALFORMED if kind in _READERS else reasons.of_bookkeeping(kind)]
        if uuid in self._places:  # `/branch` of some versions writes a record twice
            return [], [reasons.COPY]
        try:
            place = self._places[uuid] = self._place(record)
            if kind not in _READERS:
                return [], [reasons.of_bookkeeping(kind)]
            if place.subagent_id and _HELPER.fullmatch(place.subagent_id):
                return [], [reasons.HELPER]
            at = datetime.fromisoformat(record["timestamp"])
            told = list(_READERS[kind](self, record))
        except (AttributeError, KeyError, TypeError, ValueError):
            return [], [reasons.MALFORMED]
        place = self._places[uuid]
        if not place.subagent_id:
            self._last = place
        events = [self._event(record, at, body, place) for body in told if not isinstance(body, str)]
        return events, [reason for reason in told if isinstance(reason, str)]

    def _place(self, record: Record) -> Place:
        """Where the record stands if it begins nothing: where its parent does, or where its prompt id
        says."""
        place = self._places.get(record.get("parentUuid") or record.get("logicalParentUuid") or "")
        aside = bool(record.get("agentId") or record.get("isSidechain"))
        if place is None or aside is not bool(place.subagent_id):
            place = self._last
            if aside:  # versions 1.0 wrote subagents into the session's file, and did not name them
                subagent_id = record.get("agentId") or record["uuid"]
                place = Place(self._last.prompt_id, subagent_id, subagent_id)
        prompt_id = record.get("promptId")
        if isinstance(prompt_id, str) and prompt_id != place.prompt_id:
            place = Place(prompt_id, place.turn_id if place.subagent_id else prompt_id, place.subagent_id)
        return place

    def _event(self, record: Record, at: datetime, body: Body, place: Place) -> Event:
        session_id = record.get("sessionId") or self.session_id
        transcript_path = self.transcript_path
        # A branched session begins with its parent's records, with their uuids. They are the parent's.
        origin = record.get("forkedFrom")
        if isinstance(origin, dict) and isinstance(origin.get("sessionId"), str):
            session_id, transcript_path = origin["sessionId"], None
        model = record["message"].get("model") if record.get("type") == "assistant" else None
        if place.subagent_id and self.subagent_type is None:
            self.subagent_type = record.get("attributionAgent")
        return Event(
            agent=AGENT,
            session_id=session_id,
            occurred_at=at,
            body=body,
            cwd=record.get("cwd"),
            prompt_id=place.turn_id if isinstance(body, Prompt | TurnEnd) else place.prompt_id,
            subagent_id=place.subagent_id,
            subagent_type=self.subagent_type if place.subagent_id else None,
            model=model if model != "<synthetic>" else None,
            agent_version=record.get("version"),
            git_branch=record.get("gitBranch") or None,
            transcript_path=transcript_path,
        )

    def _user(self, record: Record) -> Iterator[Body | str]:
        content = record["message"]["content"]
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        if record.get("isCompactSummary"):
            text = fence.strip(compaction.summary(output.of_blocks(blocks)))
            yield (
                AssistantMessage(text=text, kind="compact_summary", uuid=record["uuid"])
                if text
                else reasons.EMPTY
            )
            return
        if record.get("isMeta") or record.get("isVisibleInTranscriptOnly") or record.get("isVirtual"):
            yield reasons.META
            return
        texts, pictures = [], []
        results = False
        for block in blocks:
            kind = block["type"]
            if kind == "tool_result":
                results = True
                yield self._result(record, block)
            elif kind == "image":
                pictures.append(output.of_blocks([block]))
                yield reasons.IMAGE
            elif kind != "text":
                yield reasons.BLOCK
            elif len(blocks) > 1 and block["text"].lstrip().startswith(_NOTES):
                yield reasons.EDITOR_NOTE
            else:
                texts.append(block["text"])
        said = "\n".join(texts)
        text = _INTERRUPTED.sub("", said)
        if said and not text:
            yield TurnEnd(error=INTERRUPTED) if self._is_new(record, said) else reasons.COPY
        elif results:
            if text:
                yield reasons.BESIDE_RESULT
        elif text or pictures:
            yield self._prompt(record, text or "\n".join(pictures))
        else:
            yield reasons.EMPTY

    def _prompt(self, record: Record, text: str) -> Body | str:
        if text.startswith(_OUTPUTS):
            return reasons.COMMAND_OUTPUT
        text = fence.strip(text)
        uuid = record["uuid"]
        key = (record["timestamp"], text)
        if key in self._texts:
            self._places[uuid] = self._texts[key]
            return reasons.COPY
        subagent_id = self._places[uuid].subagent_id
        if subagent_id:
            prompt_id = record.get("promptId") or self._last.prompt_id or uuid
            self._texts[key] = self._places[uuid] = Place(prompt_id, uuid, subagent_id)
            return Prompt(text=text, kind="subagent")
        prompt_id = record.get("promptId") or uuid
        self._texts[key] = self._places[uuid] = Place(prompt_id, prompt_id)
        if command := _COMMAND.search(text) if text.lstrip().startswith("<command-") else None:
            arguments = _ARGUMENTS.search(text)
            typed = f"{command[1]} {arguments[1].strip() if arguments else ''}".strip()
            # The client writes the name first where it ran the command itself, and the message first where
            # the command's text went to the model: then it is a prompt, which a hook tells as it was typed.
            local = text.lstrip().startswith("<command-name>")
            return Prompt(text=typed, kind="command" if local else "user")
        if shell := _SHELL.match(text):
            return Prompt(text=f"! {shell[1].strip()}", kind="command")
        return Prompt(text=text, kind=prompt_kind(text))

    def _result(self, record: Record, block: dict[str, Any]) -> Body | str:
        call_id = block["tool_use_id"]
        if call_id not in self._calls:
            return reasons.ORPHAN
        call = self._calls[call_id]
        if call is None:
            return reasons.COPY
        self._calls[call_id] = None
        structured = record.get("toolUseResult")
        content = block.get("content")
        text = content if isinstance(content, str) else output.of_blocks(content or [])
        structured = structured if isinstance(structured, dict) else {}
        took = structured.get("durationMs", structured.get("totalDurationMs"))
        failed = bool(block.get("is_error"))
        said: str | None = None
        if not failed and not is_ours(call.name):
            # The same text as a hook's, where the transcript keeps the structured result.
            known = output.of_known_shape(structured)
            said = fence.strip(text if known is None else known)
        return ToolCall(
            tool_use_id=call_id,
            name=call.name,
            input=call.input,
            output=said,
            success=not failed,
            error=_error(text) if failed else None,
            duration_ms=round(took) if isinstance(took, int | float) else None,
        )

    def _assistant(self, record: Record) -> Iterator[Body | str]:
        message = record["message"]
        content = message["content"]
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        texts = [block["text"] for block in blocks if block["type"] == "text"]
        if texts or not blocks:
            yield from self._message(record, fence.strip("\n\n".join(texts)).strip())
        for block in blocks:
            kind = block["type"]
            if kind == "text":
                continue
            if kind == "tool_use":
                yield self._call(block)
            else:
                yield reasons.THINKING if kind in ("thinking", "redacted_thinking") else reasons.BLOCK

    def _message(self, record: Record, text: str) -> Iterator[Body | str]:
        message = record["message"]
        if record.get("isApiErrorMessage"):
            yield TurnEnd(error=failure(record.get("error"), text))
        elif message.get("model") == "<synthetic>":
            yield reasons.CLIENTS_TEXT
        elif not text:
            yield reasons.EMPTY
        elif not self._is_new(record, text):
            yield reasons.COPY
        else:
            response = message.get("id") or record["uuid"]
            usage = None if response in self._metered else message.get("usage")
            self._metered.add(response)
            yield AssistantMessage(text=text, uuid=record["uuid"], usage=usage)
            if message.get("stop_reason") == "end_turn":
                yield TurnEnd()

    def _call(self, block: dict[str, Any]) -> Body | str:
        if block["id"] in self._calls:
            return reasons.COPY
        given = block.get("input")
        call = ToolCall(
            tool_use_id=block["id"],
            name=block["name"],
            input=given if isinstance(given, dict) else {} if given is None else {"input": given},
        )
        self._calls[call.tool_use_id] = call
        return call

    def _attachment(self, record: Record) -> Iterator[Body | str]:
        attachment = record["attachment"]
        if attachment["type"] != "queued_command":
            yield reasons.HOOK_OUTPUT if attachment["type"].startswith("hook_") else reasons.ATTACHMENT
        elif attachment.get("isMeta"):
            yield reasons.META
        else:  # typed while the agent was at work: it joins the turn, and has its prompt id
            given = attachment["prompt"]
            text = fence.strip(given if isinstance(given, str) else output.of_blocks(given))
            subagent = self._places[record["uuid"]].subagent_id
            kind = "subagent" if subagent else prompt_kind(text)
            yield Prompt(text=text, kind=kind) if self._is_new(record, text) else reasons.COPY

    def _is_new(self, record: Record, text: str) -> bool:
        key = (record["timestamp"], text)
        if key in self._texts:
            return False
        self._texts[key] = self._places[record["uuid"]]
        return True

    def _system(self, record: Record) -> Iterator[Body | str]:
        yield TurnEnd() if record.get("subtype") == "turn_duration" else reasons.SYSTEM


_READERS = {
    "user": Conversation._user,
    "assistant": Conversation._assistant,
    "attachment": Conversation._attachment,
    "system": Conversation._system,
}


def _error(text: str) -> str:
    """Why a call failed; a refusal in a few words, with what the person said."""
    text = fence.strip(text)
    if text.startswith(_REFUSED):
        if "was stopped while running" in text:
            return "Request interrupted by user: the call was stopped while it ran"
        _, said, reason = text.partition("the user said:")
        return "rejected by the user" + (f"; the user said: {reason.strip()}" if said else "")
    if wrapped := _ERROR.match(text):
        return wrapped[1].strip()
    return text
