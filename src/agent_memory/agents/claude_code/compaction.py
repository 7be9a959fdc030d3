"""A compaction's summary is told twice: by the hook as the model wrote it, by the transcript as the client
put it into the new context. Both give the same text here, so that they are one row."""

from __future__ import annotations

import re

_TAGGED = re.compile(r"<summary>(.*?)(?:</summary>|\Z)", re.S)
_THOUGHTS = re.compile(r"<analysis>.*?</analysis>", re.S)
_PREAMBLE = re.compile(
    r"\A\s*This session is being continued from a previous conversation[^\n]*\n+"
    r"(?:<system-reminder>.*?</system-reminder>\s*)?",
    re.S,
)
_LABELLED_THOUGHTS = re.compile(r"\AAnalysis:\n.*?\n(?=Summary:\n)", re.S)
_CLOSING = re.compile(
    r"\n+(?:If you need specific details from before compaction"
    r"|(?:Please c|C)ontinue the conversation from where).*",
    re.S,
)


def summary(text: str) -> str:
    """The summary alone: without the model's thoughts before it and the client's words around it."""
    if tagged := _TAGGED.search(text):
        return tagged[1].strip()
    text, told_by_client = _PREAMBLE.subn("", text)
    if told_by_client:
        text = _CLOSING.sub("", _LABELLED_THOUGHTS.sub("", text)).removeprefix("Summary:\n")
    return _THOUGHTS.sub("", text).strip()
