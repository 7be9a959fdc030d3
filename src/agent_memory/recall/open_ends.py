"""What a session left open, told by rules: what its last words say is still to do, what its list of things to do
holds, and what failed and was not fixed. Pure, without any language model.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from agent_memory.observations import commands
from agent_memory.observations.observation import shorten

_MOST = 6  # things of one list that are looked at
_ITEM_CHARS = 90

_HEADING = re.compile(
    r"^[\s#>*_-]*(?:(?:what(?:'s| is) |(?:still )?)(?:left|remaining|missing|open|pending|outstanding|to do|todo)\b"
    r"|(?:the )?(?:remaining|pending|open|outstanding|unfinished|follow[- ]?up|next|missing|deferred|not (?:yet )?done)"
    r"[- ](?:steps?|tasks?|items?|work|issues?|questions?|ends?|points?|todos?|is|are)?\b"
    r"|next steps?\b|to-?do(?:s| list)?\b|follow-?ups?\b|not (?:yet )?(?:done|implemented|tested|verified|fixed)\b"
    r"|known (?:issues|gaps|limitations)\b|still (?:to do|open|missing|broken|failing)\b)"
    r"(?P<rest>[^\n]{0,80})$",
    re.I,
)
_ITEM = re.compile(r"^\s*(?:[-*•+]|\d+[.)]|\[ \])\s+(?:\[ \]\s*)?(?P<text>.+)$")
_DONE_ITEM = re.compile(r"^\s*(?:[-*•+]\s*)?(?:\[[xX]\]|✅|✓|✔|~~)|\b(?:is|are|already) done\b")
_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")
_STILL = re.compile(
    r"\bstill (?:need|needs|have|has|missing|fail|fails|failing|broken|open|unclear|todo|to be)\b"
    r"|\b(?:remains?|left) to (?:be )?\w+|\b(?:is|are) (?:still )?left\b(?! (?:unchanged|alone|as|untouched))"
    r"|\bnot (?:yet|been) (?:\w+ )?(?:done|implemented|tested|verified|fixed|run|committed|pushed|merged|wired"
    r"|deployed)"
    r"|\b(?:did|have|has|could|was|were)(?:n't| not) (?:yet )?(?:get to|finish|test|verif|implement|run|fix|commit|push"
    r"|merge|deploy)\w*"
    r"|\bTODO\b|\bfollow-?up\b|\bthe next step (?:is|would be)\b|\bout of scope for now\b",
    re.I,
)
_COURTESY = re.compile(
    r"\b(?:anything else|let me know|feel free|happy to|any (?:other )?questions|if you(?:'d| would)? (?:like|want"
    r"|need)|how (?:can|may) i help|what would you like (?:me )?to (?:do|work on)|ready (?:to|for)"
    r"|shall (?:i|we) (?:continue|proceed)"
    r"|(?:should|want me to|like me to|do you want me to) (?:i )?(?:continue|proceed|go ahead)\b.{0,15}\?)",
    re.I,
)
_FAILED = re.compile(
    r"^Failed(?: \d+ times)?: `(?P<command>[^`]+)`: (?P<error>.+)\nNot fixed in this turn\.$", re.M
)
_MARKUP = re.compile(r"\*\*|__|`{3,}|^\s*>+\s?|\[( |x)\]\s*", re.I)
_NOTHING = re.compile(r"^(?:none|nothing|n/?a|no\b.{0,20}|-)\W*$", re.I)


def said_left(message: str) -> str:
    """What a session's last message says is still to do, in a line; empty where it says nothing of it.

    The items below a heading such as “Next steps”, else the sentences that say that something is still missing.
    """
    lines = message.split("\n")
    for position in reversed(range(len(lines))):
        heading = _HEADING.match(lines[position])
        if heading is None:
            continue
        if _ITEM.match(lines[position]) and not heading["rest"].rstrip("* ").endswith(":"):
            continue  # an item that begins like a heading
        items = _items(lines[position + 1 :])
        if not items and (rest := heading["rest"].partition(":")[2].strip(" *_")):
            items = [rest]
        items = [item for item in map(_plain, items) if item and not _NOTHING.match(item)]
        if items:
            return "; ".join(shorten(item, _ITEM_CHARS) for item in items[:_MOST])
    sentences = [_plain(sentence) for sentence in _SENTENCE.split(message[-3_000:])]
    still = [s for s in sentences if 20 <= len(s) <= 400 and _STILL.search(s) and not _COURTESY.search(s)]
    return " ".join(shorten(sentence, 2 * _ITEM_CHARS) for sentence in still[-2:])


def unanswered(message: str) -> str:
    """The question that a session's last message ends with; empty where it ends otherwise, or only politely."""
    sentences = [s for s in _SENTENCE.split(message.strip()[-1_500:]) if s.strip()]
    last = _plain(sentences[-1]) if sentences else ""
    return last if last.endswith("?") and 20 <= len(last) <= 300 and not _COURTESY.search(last) else ""


def todo_left(todo: Any) -> str:
    """What of an agent's list of things to do is not done, in a line: `todo` is the list as its tool was called."""
    if not isinstance(todo, Sequence) or isinstance(todo, str):
        return ""
    left = [
        str(item.get("content") or item.get("step") or item.get("description") or "").strip()
        for item in todo
        if isinstance(item, Mapping)
        and str(item.get("status", "")).lower() in ("pending", "in_progress", "in-progress")
    ]
    return "; ".join(shorten(item, _ITEM_CHARS) for item in left[:_MOST] if item)


def still_failing(observation: str) -> str:
    """The last check (a test run, a build) that failed in a turn and was not fixed in it, from its observation's text:
    `` `pytest`: 3 failed ``. Empty where there is none."""
    checks = [found for found in _FAILED.finditer(observation) if commands.checks(found["command"])]
    if not checks:
        return ""
    last = checks[-1]
    return f"`{shorten(last['command'], 80)}`: {shorten(last['error'], 110)}"


def _items(lines: Sequence[str]) -> list[str]:
    """The list that follows a heading, until other text begins."""
    items: list[str] = []
    for line in lines:
        item = _ITEM.match(line)
        if item and not _DONE_ITEM.search(line):
            if line.startswith(("    ", "\t")) and items:
                continue  # a detail of the item above
            items.append(item["text"])
        elif line.strip() and not item and not line.startswith("  ") and not _introduces(line, items):
            break
    return items


def _introduces(line: str, items: Sequence[str]) -> bool:
    return not items and line.rstrip("* ").endswith(":")


def _plain(text: str) -> str:
    return " ".join(_MARKUP.sub("", text).split()).strip(" -*#")
