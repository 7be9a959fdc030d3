"""A small made-up session, for a newcomer who has none of their own: a bug hunted, fixed and decided upon.

It is a transcript in Claude Code's format. Everything in it is invented, the project `lending-desk` too.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

QUESTION = "How did we fix the login timeout?"
"""What the sample session answers."""


def session() -> Path:
    """The transcript's file."""
    return Path(str(files(__package__) / "session.jsonl"))
