"""Every path of the home, and nothing else: `AGENT_MEMORY_HOME`, or `~/.agent-memory`.

Paths are computed at each call, since tests and the command line move the home by the environment.
"""

from __future__ import annotations

import os
from pathlib import Path


def home() -> Path:
    """The folder that holds everything of ours (absolute; it may not exist yet)."""
    moved = os.environ.get("AGENT_MEMORY_HOME")
    return Path(moved).expanduser().absolute() if moved else Path.home() / ".agent-memory"


def make_private(folder: Path) -> Path:
    """Create `folder`, and what is missing above it, for its owner alone; return it."""
    if not folder.exists():
        make_private(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def config_file() -> Path:
    return home() / "config.toml"


def env_file() -> Path:
    return home() / ".env"


def heard() -> Path:
    """When each agent's hooks were heard last; see `capture.heard`."""
    return home() / "heard"


def installation() -> Path:
    """Where we are installed, for the Claude Code plugin."""
    return home() / "installation"


def spool() -> Path:
    return home() / "spool"


def spool_tmp() -> Path:
    """Files that a hook is still writing."""
    return spool() / "tmp"


def spool_new() -> Path:
    """Whole files that wait for the service."""
    return spool() / "new"


def spool_bad() -> Path:
    """Files that could not be read, each with its reason beside it."""
    return spool() / "bad"


def postgres() -> Path:
    return home() / "postgres"


def logs() -> Path:
    return home() / "logs"


def backups() -> Path:
    return home() / "backups"


def service_socket() -> Path:
    return home() / "service.sock"


def mcp_socket() -> Path:
    """Where the service takes the sessions of agents; see `mcp.relay`."""
    return home() / "mcp.sock"


def service_pid() -> Path:
    """The running service's process id, locked (flock) for as long as it lives."""
    return home() / "service.pid"


def machine() -> Path:
    """What this machine is called in a database that several share."""
    return home() / "machine"


def token() -> Path:
    """The owner's Bearer token for the REST API."""
    return home() / "token"


def asks() -> Path:
    """What the hook is to ask the running service about: see hook.py."""
    return home() / "asks"


def notice() -> Path:
    """What is wrong, as Claude Code's hook output, while something is: a session's start shows it."""
    return home() / "notice.json"


def training() -> Path:
    """The folders of the training runs, one each."""
    return home() / "training"


def models() -> Path:
    """The models that training runs made, a folder each, where the settings name no other place."""
    return home() / "models"


def tools() -> Path:
    """Programs of others that were fetched, a folder each."""
    return home() / "tools"


def installed_models() -> Path:
    """Which models lie where in LM Studio's folder, by training run."""
    return home() / "installed-models.json"
