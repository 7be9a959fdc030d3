"""What `agent-memory --help` says first: its commands by what they are for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from typer.core import TyperGroup

SECTIONS = {
    "Ask and note": ("recall", "search", "timeline", "show", "save", "retract", "context", "why"),
    "Learn": ("lesson", "finetune", "wizard"),
    "Watch": ("status", "doctor", "tail", "open", "audit"),
    "Agents": ("connect", "disconnect", "backfill", "welcome", "mcp"),
    "Keep and forget": ("backup", "export", "forget", "tombstones", "retention", "redact"),
    "Run": ("up", "down", "project", "token", "reindex", "migrate", "version"),
}
"""A command that stands nowhere here is listed last."""


class Sections(TyperGroup):
    """The top of the command line."""

    def sections(self) -> Iterator[tuple[str, list[str]]]:
        """Each heading with the names of the commands below it, none of them hidden."""
        named = {name for names in SECTIONS.values() for name in names}
        rest = tuple(name for name in self.commands if name not in named)
        for title, names in {**SECTIONS, "More": rest}.items():
            known = [name for name in names if name in self.commands and not self.commands[name].hidden]
            if known:
                yield title, known

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002
        width = max(map(len, self.commands))
        limit = formatter.width - 6 - width
        for title, names in self.sections():
            with formatter.section(title):
                formatter.write_dl(
                    [(name.ljust(width), self.commands[name].get_short_help_str(limit)) for name in names]
                )
