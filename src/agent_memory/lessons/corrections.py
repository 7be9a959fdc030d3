"""What the user corrected: "no, use pnpm", "don't touch the migrations", a call refused with a reason. Pure functions.

Simple cues in a few languages, and two guards: the words must name something that the agent had just used, and must be
short enough to be an instruction rather than a task.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from agent_memory.lessons.history import Session, Step
from agent_memory.observations import commands
from agent_memory.observations.calls import relative, writes
from agent_memory.observations.commands import Run
from agent_memory.observations.failures import refusal

_LONGEST = 200
_BACK = 8  # calls before the user spoke among which what they speak of is looked for

_CUES = {
    "English": r"^(?:no|nope|stop|wait|wrong)\b|\b(?:do not|don['’]?t|never|must not|mustn['’]?t|should(?: not|n['’]?t)"
    r"|instead of|rather than|not allowed|stop (?:using|running|editing)|we use|always use|use \S+ instead)\b",
    "German": r"^(?:nein|halt|stopp|falsch)\b|\b(?:nicht|niemals|nie|kein(?:e|en)?|statt(?:dessen)?|anstatt|anstelle"
    r"|sondern|wir (?:nutzen|benutzen|verwenden|nehmen))\b",
    "French": r"^non\b|\bne (?:\S+ ){1,2}(?:pas|jamais)\b|\bn['’]\w+ (?:pas|jamais)\b|\bau lieu de\b|\bplutôt que\b",
    "Spanish": r"\b(?:en vez de|en lugar de|nunca|no (?:uses|ejecutes|edites|toques))\b",
}
_NOT = re.compile("|".join(_CUES.values()), re.I)
_ASKING = re.compile(
    r"\?\s*$|^(?:can|could|would|why|what|how|warum|wieso|kannst|pourquoi|por qué)\b|forget|vergiss|oublie|olvides",
    re.I,
)
_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")
_AGAINST = re.compile(
    r"instead of|rather than|\bnot\b|n['’]?t\b|never|stop|statt|anstelle|anstatt|nicht|niemals|\bnie\b|kein"
    r"|\b(?:pas|jamais|au lieu|plutôt que|en vez|en lugar|nunca|no (?:uses|ejecutes|edites|toques))\b",
    re.I,
)
"""What is named behind one of these is what the user does not want."""
_TAG = re.compile(r"<[^>]+>.*?</[^>]+>", re.S)
_INTERRUPTED = re.compile(r"\[Request interrupted by user[^\]]*\]")
_WORD = re.compile(r"[\w./@+-]*\w")


_About: TypeAlias = tuple[Step, tuple[str, ...], Run | None]


@dataclass(frozen=True, slots=True)
class Correction:
    """A sentence of the user's, and the call that it is about."""

    step: Step
    said: str
    named: tuple[str, ...]
    """The words of the command that it is against; of an edit the file, or its folder with a slash behind."""
    run: Run | None
    """Of a command, the program that it is against."""
    prompt_id: str | None
    """None: it was said in refusing the call."""


def corrections(session: Session) -> list[Correction]:
    found = [*_refused(session), *_spoken(session)]
    return list({(one.step.call.id, one.said): one for one in found}.values())


def _refused(session: Session) -> Iterator[Correction]:
    for step in session.steps:
        if not (reason := refusal(step.call)):
            continue
        sentence = next((one for one in _sentences(reason) if _NOT.search(one)), None)
        if sentence is None:
            continue
        about = _about([step], sentence, session.roots) or _whole(step, session.roots)
        if about:
            yield Correction(about[0], sentence, about[1], about[2], None)


def _whole(step: Step, roots: Sequence[str]) -> _About | None:
    """All of a refused call: its program and subcommand, or its file."""
    if writes(step.call):
        return step, (relative(step.call.path or "", roots),), None
    key = commands.key_of(step.call.command or "")
    run = next((run for run in commands.runs(step.call.command or "") if run.key == key and run.words), None)
    return (step, run.words[: 1 + key.count(" ")], run) if run else None


def _spoken(session: Session) -> Iterator[Correction]:
    own = [step for step in session.steps if step.call.agent_id is None]
    for said in session.said:
        before = [step for step in own if step.turn == said.turn - 1][-_BACK:]
        after = [step for step in own if step.turn == said.turn][:_BACK]
        text = _TAG.sub("", _INTERRUPTED.sub("", said.text)).strip()
        if not before or len(text) > 4 * _LONGEST:
            continue
        for sentence in _sentences(text):
            if not _NOT.search(sentence):
                continue
            about = _about(before, sentence, session.roots) or _replaced(before, after, sentence)
            if about:
                yield Correction(about[0], sentence, about[1], about[2], said.id)
                break


def _sentences(text: str) -> list[str]:
    parts = [" ".join(part.split()) for part in _SENTENCE.split(text)]
    return [part for part in parts if 8 <= len(part) <= _LONGEST and not _ASKING.search(part)]


def _about(steps: Sequence[Step], sentence: str, roots: Sequence[str]) -> _About | None:
    """The latest of the calls that a sentence speaks against, with the words of it that it names."""
    lower = {word.lower().rstrip("/") for word in _WORD.findall(sentence)}
    for step in reversed(steps):
        for run in commands.runs(step.call.command) if step.call.command else ():
            if not run.key or not run.words or commands.looks(run.text):
                continue
            program = run.words[0].rsplit("/", 1)[-1]
            options = [
                word for word in run.words[1:] if word.startswith("--") and _is_rejected(word, sentence)
            ]
            if options or _is_rejected(program, sentence):
                second = run.key.split(" ")[1:2]
                subcommand = [word for word in second if word.lower() in lower and word in run.words]
                return step, (run.words[0], *subcommand, *options), run
        if writes(step.call):
            path = relative(step.call.path or "", roots)
            folders = path.split("/")[:-1]
            named = next((folder for folder in folders if len(folder) > 2 and folder.lower() in lower), None)
            if {path.lower(), path.rsplit("/", 1)[-1].lower()} & lower:
                return step, (path,), None
            if named and _is_rejected(named, sentence):
                return step, ("/".join(folders[: folders.index(named) + 1]) + "/",), None
    return None


def _replaced(before: Sequence[Step], after: Sequence[Step], sentence: str) -> _About | None:
    """The call that a sentence such as "no, use pnpm" is against: what the agent then did with the named program is
    what it had just done with another."""
    lower = {word.lower() for word in _WORD.findall(sentence)}
    for step in after:
        for good in commands.runs(step.call.command) if step.call.command and step.ok else ():
            if not good.words or good.words[0].lower() not in lower:
                continue
            for earlier in reversed(before):
                for run in commands.runs(earlier.call.command) if earlier.call.command else ():
                    same = {word for word in run.words[1:] if not word.startswith("-")} & set(good.words[1:])
                    if run.key and same and run.words[0] != good.words[0] and not commands.looks(run.text):
                        return earlier, (run.words[0],), run
    return None


def _is_rejected(name: str, sentence: str) -> bool:
    """Whether the sentence speaks against this, and not for it."""
    place = re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", sentence, re.I)
    return place is not None and any(found.start() < place.start() for found in _AGAINST.finditer(sentence))
