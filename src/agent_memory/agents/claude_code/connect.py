"""Our hooks and our MCP server in Claude Code's settings, and out of them again.

Only entries of our own are touched: handlers that call a `…/agent_memory/hook.py`, and the server
`agent-memory` that runs `agent_memory.mcp`. Why they look as they do: docs/decisions/0006-claude-code.md.
"""

from __future__ import annotations

import os
import shlex
import sys
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeVar

import agent_memory
from agent_memory import paths
from agent_memory.agents import entries, json_text, settings_file
from agent_memory.agents.claude_code.payload import AGENT
from agent_memory.agents.settings_file import Change
from agent_memory.errors import AgentMemoryError

Scope: TypeAlias = Literal["user", "project"]
T = TypeVar("T")

SERVER = "agent-memory"

TIMEOUTS = {
    "SessionStart": 10,
    "UserPromptSubmit": 5,
    "PreToolUse": 5,
    "PostToolUse": 5,
    "PostToolUseFailure": 5,
    "SubagentStart": 5,
    "SubagentStop": 5,
    "Stop": 5,
    "StopFailure": 5,
    "PreCompact": 5,
    "PostCompact": 5,
    "SessionEnd": 10,
}
"""Seconds after which Claude Code gives a hook up. It takes about 0.01; at a session's end 1.5 would be the
default."""

RUN = """\
import sys
del sys.argv[0]
from _frozen_importlib_external import SourceFileLoader
try:
    exec(SourceFileLoader('__main__', sys.argv[0]).get_code('__main__'))
except OSError:
    pass"""
"""Runs the file that is named first, or does nothing where it is gone. `python FILE` would exit with 2 then,
which Claude Code takes as “block this call”: whoever deletes our folder could not work any more. And it is
quicker: it takes the compiled file from `__pycache__`, which `python FILE` does not."""

ASKING = """\
home=${4:-${AGENT_MEMORY_HOME:-$HOME/.agent-memory}} asked=
while read -r event _; do [ "$event" = PreToolUse ] && [ -x "$0" ] && asked=1; done 2>/dev/null <"$home/asks"
if [ "$asked" ]; then "$0" -I -S -c "$1" "$2" "$3" ${4:+"$4"}; else cat >/dev/null; fi
exit 0"""
"""What runs before a call: the hook where a lesson may speak, else nothing. A shell starts in a tenth of Python's
time, and nearly every call has no lesson (docs/decisions/0015). It takes what it is given, since Claude Code reports a
hook that leaves it unread, and ends with 0 even where Python is broken: 2 would block the call. Arguments: the
interpreter, RUN, hook.py, the agent and, if not the default, the home."""

BEFORE = r"^(Bash|Edit|Write|NotebookEdit|mcp__(?!agent-memory__|plugin_agent-memory_).+)$"
"""The tools before whose calls a lesson may speak: those that change something, and whatever other servers bring."""

_HOOK = "agent_memory/hook.py"
_MODULE = "agent_memory.mcp"


def changes(scope: Scope, project: Path, *, remove: bool = False) -> list[Change]:
    """What connecting, or disconnecting (`remove`), would change; empty where nothing is to do.

    Scope `user` is for all of the user's projects, `project` for the one in the folder `project`. Nothing is
    written: see `settings_file.diff` and `settings_file.write`. AgentMemoryError where a file cannot be read
    or understood.
    """
    settings, servers = _files(scope, project)
    hook = partial(_hooked, settings, in_project=scope == "project")
    serve = partial(_served, servers)
    if remove:
        return [
            *settings_file.removal(settings, hook, partial(_unhooked, settings)),
            *settings_file.removal(servers, serve, partial(_unserved, servers)),
        ]
    mode = 0o600 if scope == "user" else 0o644
    return [
        *settings_file.addition(settings, hook, partial(_unhooked, settings), mode=mode),
        *settings_file.addition(servers, serve, partial(_unserved, servers), mode=mode),
    ]


def _files(scope: Scope, project: Path) -> tuple[Path, Path]:
    """The file that holds hooks, and the one that holds MCP servers."""
    if scope == "project":
        return project / ".claude" / "settings.json", project / ".mcp.json"
    moved = os.environ.get("CLAUDE_CONFIG_DIR")
    if moved:
        folder = Path(moved).expanduser().absolute()
        return folder / "settings.json", folder / ".claude.json"
    return Path.home() / ".claude" / "settings.json", Path.home() / ".claude.json"


def _handler(event: str, *, in_project: bool) -> dict[str, Any]:
    """One shell line in a project's settings: Copilot CLI runs the hooks there too, but drops `args`, and a bare Python
    with the payload as its program fails, upon which Copilot refuses the call."""
    hook = Path(agent_memory.__file__).with_name("hook.py")
    home = [] if _at_default_home() else [str(paths.home())]
    ours = [RUN, str(hook), AGENT, *home]
    if event == "PreToolUse":
        command, args = "/bin/sh", ["-c", ASKING, sys.executable, *ours]
        line = f"{shlex.join([command, *args])} 2>/dev/null; true"
    else:
        command, args = sys.executable, ["-I", "-S", "-c", *ours]
        line = entries.hook_command(AGENT)
    run = {"command": line} if in_project else {"command": command, "args": args}
    return {"type": "command", **run, "timeout": TIMEOUTS[event]}


def _server() -> dict[str, Any]:
    # -I: the server starts in the project's folder, and must not import a module of the project's.
    server: dict[str, Any] = {"type": "stdio", "command": sys.executable, "args": ["-I", "-m", _MODULE]}
    if not _at_default_home():
        server["env"] = {"AGENT_MEMORY_HOME": str(paths.home())}
    return {**server, "alwaysLoad": True}


def _at_default_home() -> bool:
    return paths.home() == Path.home() / ".agent-memory"


def _hooked(path: Path, text: str, *, in_project: bool) -> str:
    """The settings with our handlers, one for each event. One of ours that is there already is brought up to
    date in its place, so that what the user has arranged around it stays."""
    for place in reversed(_handlers(path, text)):
        if place[1] not in TIMEOUTS:  # an event that we have listened to once
            text = _without_handler(path, text, place)
    for event in TIMEOUTS:
        handler = _handler(event, in_project=in_project)
        group: dict[str, Any] = {"matcher": BEFORE} if event == "PreToolUse" else {}
        ours = [place for place in _handlers(path, text) if place[1] == event]
        for place in reversed(ours[1:]):
            text = _without_handler(path, text, place)
        if not ours:
            text = json_text.append(text, ("hooks", event), {**group, "hooks": [handler]})
            continue
        settings = settings_file.parse(path, text)
        if group and _at(settings, ours[0][:3]) == {"hooks": [_at(settings, ours[0])]}:  # as we wrote it once
            text = json_text.put(text, ours[0][:3], {**group, "hooks": [handler]})
        elif _at(settings, ours[0]) != handler:
            text = json_text.put(text, ours[0], handler)
    return text


def _unhooked(path: Path, text: str, original: dict[str, Any] | None = None) -> str:
    """The settings without our handlers. What is empty without them goes too, where `original` does not have
    it."""
    for place in reversed(_handlers(path, text)):
        text = _without_handler(path, text, place, original or {})
    return text


def _without_handler(
    path: Path, text: str, place: json_text.Path, original: dict[str, Any] | None = None
) -> str:
    text = json_text.remove(text, place)
    if not _at(settings_file.parse(path, text), place[:4]):
        text = json_text.remove(text, place[:3])  # the group, with its matcher
    for container in (place[:2], place[:1]):
        if not _at(settings_file.parse(path, text), container) and _at(original or {}, container) is None:
            text = json_text.remove(text, container)
    return text


def _handlers(path: Path, text: str) -> list[json_text.Path]:
    """Where our handlers are: ("hooks", event, group, "hooks", handler), in order."""
    hooks = _expected(path, settings_file.parse(path, text).get("hooks", {}), dict, "`hooks`")
    return [
        ("hooks", event, number, "hooks", index)
        for event, groups in hooks.items()
        for number, group in enumerate(_expected(path, groups, list, f"`hooks.{event}`"))
        for index, handler in enumerate(group.get("hooks", []) if isinstance(group, dict) else [])
        if isinstance(handler, dict) and _is_ours(handler)
    ]


def _is_ours(handler: dict[str, Any]) -> bool:
    words = [*str(handler.get("command", "")).split(), *map(str, handler.get("args") or [])]
    return any(word.strip("'\"").replace("\\", "/").endswith(_HOOK) for word in words)


def _served(path: Path, text: str) -> str:
    servers = _servers(path, text)
    there = servers.get(SERVER)
    if there is not None and not _runs_ours(there):
        raise AgentMemoryError(
            f"{path} has an MCP server named “{SERVER}” that is not ours.",
            "Rename or remove it, then try again.",
        )
    return text if there == _server() else json_text.put(text, ("mcpServers", SERVER), _server())


def _unserved(path: Path, text: str, original: dict[str, Any] | None = None) -> str:
    if not _runs_ours(_servers(path, text).get(SERVER)):
        return text
    text = json_text.remove(text, ("mcpServers", SERVER))
    if not _servers(path, text) and "mcpServers" not in (original or {}):
        text = json_text.remove(text, ("mcpServers",))
    return text


def _servers(path: Path, text: str) -> dict[str, Any]:
    return _expected(path, settings_file.parse(path, text).get("mcpServers", {}), dict, "`mcpServers`")


def _runs_ours(server: Any) -> bool:
    return isinstance(server, dict) and _MODULE in (server.get("args") or [])


def _at(value: Any, path: json_text.Path) -> Any:
    """What is at `path`, or None."""
    for step in path:
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            return None
    return value


def _expected(path: Path, value: Any, kind: type[T], name: str) -> T:
    if not isinstance(value, kind):
        raise AgentMemoryError(
            f"In {path}, {name} is no JSON {'list' if kind is list else 'object'}.",
            "Nothing was changed. Mend the file, then try again.",
        )
    return value
