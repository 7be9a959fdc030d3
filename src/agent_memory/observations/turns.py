"""One turn of the journal as an observation, without any language model. Pure functions.

What makes a memory findable are the words that people ask with: what they asked for, names of files, commands
and settings, error messages, what was found out, and how it ended. So the text holds these and leaves out the
rest: file contents, outputs that went well, and the agent's small talk ("Let me look at …").
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from agent_memory.observations.calls import Call, Tally, is_ours, work
from agent_memory.observations.failures import failures, logged, refusal, told
from agent_memory.observations.observation import TITLE_CHARS, Observation, Section, clip, shorten, title_of

TEXT_CHARS = 6_000
"""A turn's text is not longer. It is seven chunks, and fits what a recall may put into a prompt."""
READ_CHARS = 12_000
"""How much of a prompt or a message is looked at."""
SUMMARY_CHARS = 20_000

# No more than these, the first ones first where all together are too long.
_ROOM = {
    "asked": 1_800,
    "ended": 1_500,
    "failed": 1_300,
    "done": 1_800,
    "decided": 500,
    "found": 900,
    "reported": 700,
    "notified": 500,
}

# What clients put into a prompt that nobody typed, and what this memory put there.
_INJECTED = re.compile(
    r"<(ide_opened_file|system-reminder|local-command-stdout|local-command-stderr|local-command-caveat"
    r"|command-message|agent-memory)\b[^>]*>.*?</\1>",
    re.S,
)
_COMMAND = re.compile(r"<command-name>\s*/?(.*?)\s*</command-name>", re.S)
_ARGUMENTS = re.compile(r"<command-args>(.*?)</command-args>", re.S)
_INTERRUPTED = re.compile(r"\[Request interrupted by user[^\]]*\]")
_NOTIFIED = re.compile(r"<(summary|result)>(.*?)</\1>", re.S)

_ANSWERED = re.compile(
    r"User has answered your questions: |You can now continue with the user's answers in mind\."
)
_SENTENCE = re.compile(r"(?<=[.!?:])\s+|\n+")
_SMALL_TALK = re.compile(
    r"^(?:(?:now|ok(?:ay)?|first|next|then|so|also|and|good|great|perfect|excellent|alright|done)\b[\s,!.:-]*)*"
    r"(?:let me|let's|let us|i'll|i will|i'm going to|i am going to|i need to|i should|i can (?:now )?see"
    r"|time to|i'm now|checking|looking|running|starting)\b"
    r"|^(?:perfect|great|good|excellent|done|ok)\b.{0,25}$",
    re.I,
)
_FINDING = re.compile(
    r"\b(?:because|issue|problem|turns? out|root cause|actually|instead|decid|found|bug|fix|means|works?"
    r"|require|must|only|never|wrong|cause|reason|should|correct|default|version|unsupported|deprecat)\w*",
    re.I,
)
_COMPACTED = re.compile(r"^This session is being continued from a previous conversation.*?\n\n", re.S)
_ANALYSIS = re.compile(r"<analysis>.*?</analysis>|^Analysis:.*?(?=^Summary:)", re.S | re.M)
_REQUEST = re.compile(r"Primary Request and Intent:?\**\s*\n(.+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    id: str
    kind: str
    text: str
    occurred_at: datetime
    agent_id: str | None = None
    end_error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    id: int
    kind: str
    text: str
    occurred_at: datetime
    agent_id: str | None = None
    agent_type: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """The journal's rows that one prompt drove, each list in order of time."""

    project_id: int
    session_id: str
    prompt_id: str
    """Empty: what happened before the session's first prompt."""
    roots: Sequence[str]
    """The project's folders: paths are shown as seen from them. The longest first."""
    began_at: datetime
    ended_at: datetime
    """When the last of it happened."""
    prompts: Sequence[Prompt]
    messages: Sequence[Message]
    calls: Sequence[Call]
    """Not all, where there are very many; `tallies` counts all."""
    tallies: Sequence[Tally]


def external_id(session_id: str, prompt_id: str) -> str:
    return f"turn/{session_id}/{prompt_id}"


def build(turn: Turn) -> Observation | None:
    """The memory of a turn. None where nothing in it is worth one: no call and no answer, as after `/clear`,
    or a background task's end that the agent only nodded to."""
    calls = [call for call in turn.calls if not is_ours(call)]
    asked = [text for text in map(asked_by, turn.prompts) if text]
    said = [m for m in turn.messages if m.kind == "message" and m.agent_id is None and _says(m.text)]
    ending = without_injected(said[-1].text) if said else ""
    if not calls and len(ending) < (1 if asked else 40):
        return None
    notified = _notified(turn.prompts, ending) if not asked else ""
    parts = {
        "asked": "\n\n".join(asked),
        "decided": _decided(calls),
        "notified": notified,
        "done": _done(turn, calls),
        "failed": "\n".join(
            [*(told(failure, turn.roots) for failure in failures(calls)[:8]), *logged(calls, turn.roots)]
        ),
        "reported": _reported(turn.messages),
        "found": _found(said[:-1]),
        "ended": _ended(ending, turn.prompts),
    }
    _fit(parts)
    sections = [
        Section("\n".join(filter(None, (parts["asked"], parts["decided"]))), "user"),
        Section("\n".join(filter(None, (parts["notified"], parts["done"], parts["failed"])))),
        Section("\n".join(filter(None, (parts["reported"], parts["found"], parts["ended"]))), "assistant"),
    ]
    sections = [section for section in sections if section.text]
    return Observation(
        project_id=turn.project_id,
        session_id=turn.session_id,
        kind="turn",
        title=_title(asked, ending, notified, parts["done"].partition("\n")[2], parts["done"]),
        text="\n\n".join(section.text for section in sections),
        occurred_at=turn.began_at,
        external_id=external_id(turn.session_id, turn.prompt_id),
        sources={
            "prompts": [prompt.id for prompt in turn.prompts],
            "tool_calls": [call.id for call in calls],
            "assistant_messages": [m.id for m in turn.messages if m.kind == "message"],
        },
        sections=sections,
    )


def summaries(turn: Turn) -> list[Observation]:
    """The summaries that the agent wrote of its session when its context was compacted."""
    found = []
    for message in turn.messages:
        if message.kind != "compact_summary" or message.agent_id is not None:
            continue
        text = _ANALYSIS.sub("", _COMPACTED.sub("", message.text)).replace("<summary>", "")
        text = clip(text.replace("</summary>", "").strip(), SUMMARY_CHARS)
        request = _REQUEST.search(text)
        title = title_of(request[1] if request else text.removeprefix("Summary:"))
        if not title:
            continue
        found.append(
            Observation(
                project_id=turn.project_id,
                session_id=turn.session_id,
                kind="summary",
                role="assistant",
                title=shorten(f"Summary: {title}", TITLE_CHARS),
                text=text,
                occurred_at=message.occurred_at,
                external_id=f"summary/{turn.session_id}/{message.id}",
                sources={"assistant_messages": [message.id]},
            )
        )
    return found


def asked_by(prompt: Prompt) -> str:
    """What a person typed. A slash command counts with its arguments."""
    if prompt.kind not in ("user", "command") or prompt.agent_id is not None:
        return ""
    text = prompt.text
    if command := _COMMAND.search(text):
        arguments = _ARGUMENTS.search(text)
        return f"/{command[1]} {arguments[1].strip() if arguments else ''}".strip()
    return _INTERRUPTED.sub("", without_injected(text)).strip()


def is_small_talk(sentence: str) -> bool:
    """Whether an agent only says that it goes on: “Let me look at …”, “Perfect!”."""
    return bool(_SMALL_TALK.match(sentence))


def _says(text: str) -> bool:
    return bool(text.strip()) and text.strip() != "No response requested."


def interrupted(text: str) -> bool:
    """Whether a prompt is what a client writes when its user stops it."""
    return bool(_INTERRUPTED.search(text))


def without_injected(text: str) -> str:
    """`text` without what a client, or this memory, put into it."""
    return _INJECTED.sub("", text).strip()


def _notified(prompts: Sequence[Prompt], ending: str) -> str:
    """What set the agent to work where no person did: the end of a background task, without its XML and without the
    result that the agent passes on, or the task of a subagent that older clients number as a prompt of its own."""
    lines = []
    for prompt in prompts:
        if prompt.kind == "task_notification":
            told = dict(_NOTIFIED.findall(prompt.text))
            lines += [told.get("summary", ""), "" if ending else told.get("result", "")]
        elif prompt.kind == "subagent":
            lines.append(f"Task of a subagent: {without_injected(prompt.text)}")
    return "\n".join(line.strip()[:400] for line in lines if line.strip())


def _decided(calls: Sequence[Call]) -> str:
    """What a person answered to the agent's questions and why they refused a call: their words, too."""
    lines = []
    for call in calls:
        reason = refusal(call)
        if reason is not None:
            what = shorten(call.command or call.path or call.subject or call.tool, 100)
            lines.append(f"Refused: {what}" + (f": {shorten(reason, 200)}" if reason else ""))
        elif call.tool == "AskUserQuestion" and call.success and call.output:
            lines.append(f"Answered: {shorten(_ANSWERED.sub('', call.output), 300)}")
    return "\n".join(lines)


def _done(turn: Turn, calls: Sequence[Call]) -> str:
    if not calls:
        return ""
    ours = {call.tool: 0 for call in turn.calls if is_ours(call)}
    for call in turn.calls:
        if call.tool in ours and is_ours(call):
            ours[call.tool] += 1
    tallies = [Tally(t.tool, t.calls - ours.get(t.tool, 0), t.failed) for t in turn.tallies]
    took = (turn.ended_at - turn.began_at).total_seconds()
    return work(calls, [tally for tally in tallies if tally.calls > 0], turn.roots, took)


def _reported(messages: Sequence[Message]) -> str:
    """The last words of each subagent."""
    last = {
        m.agent_id: m for m in messages if m.agent_id is not None and m.kind == "message" and m.text.strip()
    }
    shown = list(last.values())[-4:]
    return "\n".join(
        f"{message.agent_type or 'A'} subagent reported: {message.text.strip()[: 600 // len(shown)].strip()}"
        for message in shown
    )


def _found(messages: Sequence[Message]) -> str:
    """What the agent found out on its way: the sentences that are not small talk. Where there is no room for
    all, those with a reason in them come before the others, and later ones before earlier ones."""
    sentences: dict[str, bool] = {}
    for message in messages[-100:]:
        for sentence in _SENTENCE.split(without_injected(message.text[:1_500])):
            sentence = sentence.strip(" -*#")
            finding = bool(_FINDING.search(sentence))
            if (
                len(sentence) < 30
                or _SMALL_TALK.match(sentence)
                or (sentence.startswith("Now ") and not finding)
            ):
                continue
            sentences[shorten(sentence.rstrip(":"), 260)] = finding
    room = _ROOM["found"]
    chosen = set()
    for finding in (True, False):
        for sentence, is_finding in reversed(sentences.items()):
            if is_finding is finding and len(sentence) < room:
                chosen.add(sentence)
                room -= len(sentence) + 1
    return "\n".join(sentence for sentence in sentences if sentence in chosen)


def _ended(ending: str, prompts: Sequence[Prompt]) -> str:
    lines = [clip(ending, _ROOM["ended"])] if ending else []
    lines += [f"Ended with an error: {shorten(p.end_error, 300)}" for p in prompts if p.end_error]
    if any(interrupted(prompt.text) for prompt in prompts):
        lines.append("Interrupted by the user.")
    return "\n".join(lines)


def _title(asked: Sequence[str], ending: str, *otherwise: str) -> str:
    """The first line of what was asked. Where that says little ("continue"), what came of it follows."""
    title = next(filter(None, map(title_of, asked)), "")
    if len(title) >= 25:
        return title
    came = _outcome(ending) or next(filter(None, map(title_of, otherwise)), "")
    return shorten(f"{title} → {came}" if title and came else title or came or "Untitled turn", TITLE_CHARS)


def _outcome(ending: str) -> str:
    """The first sentence that says how it ended."""
    for sentence in _SENTENCE.split(ending[:2_000]):
        if len(sentence) >= 12 and not _SMALL_TALK.match(sentence) and (title := title_of(sentence)):
            return title
    return title_of(ending)


def _fit(parts: dict[str, str]) -> None:
    """Shorten the parts so that together they are no longer than `TEXT_CHARS`."""
    left = TEXT_CHARS - 2 * len(parts)  # what joins them
    for name, room in _ROOM.items():
        room = min(room, left)
        if name in ("done", "failed"):  # lists, the most telling lines first
            while len(parts[name]) > room:
                parts[name] = parts[name].rpartition("\n")[0]
        elif len(parts[name]) > room:
            parts[name] = clip(parts[name], room) if room > 100 else ""
        left -= len(parts[name])
