"""Our hooks and our MCP server in Codex's settings, and out of them again.

Codex runs a hook only after its user has trusted it, in Codex itself (`/hooks`), and runs no other one, without a
word. That is the user's to do: whatever may write the settings could else make itself trusted. So we write the hooks,
say what is left to do, and can tell (`untrusted`) whether it was done.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from functools import partial
from pathlib import Path
from typing import Any

from agent_memory.agents import entries, hook_groups, settings_file, toml_text
from agent_memory.agents.codex.payload import AGENT
from agent_memory.agents.entries import JSON, Dialect, Scope
from agent_memory.agents.settings_file import Change

TIMEOUTS = {
    "SessionStart": 10,
    "UserPromptSubmit": 5,
    "PreToolUse": 5,
    "PostToolUse": 5,
    "SubagentStop": 5,
    "Stop": 5,
    "Interrupt": 3,
    "SessionEnd": 3,
}
"""Seconds after which Codex gives a hook up; it allows no more than 3 for the last two. A hook takes about 0.01.

They and the command are part of what the user trusts: a change here makes every user do it again."""

TOML = Dialect(toml_text.parse, toml_text.put, toml_text.remove)


def changes(scope: Scope, project: Path, *, remove: bool = False) -> list[Change]:  # noqa: ARG001
    """What connecting, or disconnecting (`remove`), would change; empty where nothing is to do.

    AgentMemoryError where a file cannot be read or understood, and for the scope `project`: a folder's settings are
    read only after the user has told Codex to trust it.
    """
    entries.only_for_user(scope, "Codex")
    server = entries.server()
    return [
        *_hooks(home() / "hooks.json", remove=remove),
        *entries.mcp_server(home() / "config.toml", "mcp_servers", server, remove=remove, dialect=TOML),
    ]


def note() -> str | None:
    """What the user has to do now, if anything, after connecting."""
    if not untrusted():
        return None
    return "Codex runs hooks only once you have trusted them: start codex, type /hooks, and trust agent-memory's."


def untrusted() -> list[str]:
    """The events of which Codex will not run our hook, since its user has not trusted it as it is now. Empty also where
    there is no hook of ours."""
    file = home() / "hooks.json"
    text, config = settings_file.read(file), settings_file.read(home() / "config.toml")
    groups_of = JSON.parse(file, text or "{}").get("hooks", {})
    hooks = TOML.parse(home() / "config.toml", config or "").get("hooks", {})
    trusted = hooks.get("state", {}) if isinstance(hooks, dict) else {}
    found = []
    for event, groups in groups_of.items():
        for group, index in hook_groups.ours(groups):
            name = re.sub(r"(?<!^)(?=[A-Z])", "_", event).lower()
            told = [trusted.get(f"{path}:{name}:{group}:{index}") for path in {file, file.resolve()}]
            digest = trusted_hash(event, groups[group], groups[group]["hooks"][index])
            if not any(isinstance(one, dict) and one.get("trusted_hash") == digest for one in told):
                found.append(event)
    return found


def trusted_hash(event: str, group: dict[str, Any], handler: dict[str, Any]) -> str:
    """What Codex writes down when its user trusts a hook (0.169.0). Here only to be compared."""
    short = event in ("Interrupt", "SessionEnd")
    timeout = handler.get("timeout", 1 if short else 600)
    hook = {
        "async": handler.get("async", False),
        "command": handler["command"],
        "timeout": min(timeout, 3) if short else timeout,
        "type": "command",
    }
    if "statusMessage" in handler:
        hook["statusMessage"] = handler["statusMessage"]
    name = re.sub(r"(?<!^)(?=[A-Z])", "_", event).lower()
    identity: dict[str, Any] = {"event_name": name, "hooks": [hook]}
    if group.get("matcher") is not None and event not in ("Interrupt", "Stop", "UserPromptSubmit"):
        identity["matcher"] = group["matcher"]
    text = json.dumps(identity, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def home() -> Path:
    """Where Codex keeps its settings and its sessions."""
    moved = os.environ.get("CODEX_HOME")
    return Path(moved).expanduser().absolute() if moved else Path.home() / ".codex"


def _hooks(file: Path, *, remove: bool) -> list[Change]:
    add, take_out = partial(_hooked, file), partial(_unhooked, file)
    if remove:
        return settings_file.removal(file, add, take_out)
    return settings_file.addition(file, add, take_out, mode=0o600)


def _hooked(file: Path, text: str) -> str:
    command = entries.hook_command(AGENT)
    handlers = {
        event: {"type": "command", "command": command, "timeout": timeout}
        for event, timeout in TIMEOUTS.items()
    }
    return hook_groups.hooked(file, text, handlers, JSON)


def _unhooked(file: Path, text: str, original: dict[str, Any] | None = None) -> str:
    return hook_groups.unhooked(file, text, original or {}, JSON)
