"""Our Claude Code plugin (the repository's folder `plugin`), which is installed apart from us and has to find us."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from agent_memory import paths
from agent_memory.agents import entries

NAME = "agent-memory"


def note_installation() -> None:
    """Write into the home where this installation is: the Python in the first line, the recorder in the second. The
    plugin's `run.sh` reads it at every hook."""
    draft = paths.make_private(paths.home()) / f"installation.{os.getpid()}"
    draft.write_text(f"{sys.executable}\n{entries.HOOK}\n", encoding="utf-8")
    draft.replace(paths.installation())


def note() -> str | None:
    """What to tell whoever connects Claude Code in its settings while the plugin is installed too."""
    if not installed():
        return None
    return (
        "The plugin agent-memory is installed too. Its hooks leave the recording to these, but its MCP server offers"
        " the same tools again. Keep one: agent-memory disconnect claude, or claude plugin uninstall agent-memory."
    )


def installed() -> bool:
    """Whether the plugin is installed and enabled."""
    folder = Path(os.environ.get("CLAUDE_CONFIG_DIR") or Path.home() / ".claude").expanduser()
    try:
        enabled = json.loads((folder / "settings.json").read_bytes()).get("enabledPlugins", {})
    except (OSError, ValueError, AttributeError):
        return False
    return isinstance(enabled, dict) and any(
        name.partition("@")[0] == NAME and on for name, on in enabled.items()
    )
