"""Windsurf (Cascade): its hook payloads as Events, and our entries in its settings. Written after Windsurf's
documentation of 2026; not run here.

A trajectory is a conversation, an execution what follows one prompt. No payload tells an id of a call, and most tell no
folder: the line that we install puts the hook's working folder around them.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from agent_memory.agents import entries, fields
from agent_memory.agents.entries import Scope
from agent_memory.agents.settings_file import Change
from agent_memory.agents.tool_calls import shell_call, tool_call
from agent_memory.journal import fence
from agent_memory.journal.event import AssistantMessage, Body, Event, Prompt, TurnEnd

AGENT = "windsurf"

EVENTS = (
    "pre_user_prompt",
    "post_read_code",
    "post_write_code",
    "post_run_command",
    "post_mcp_tool_use",
    "post_cascade_response",
)

# The folder as a JSON text: its `\` and `"` are escaped. Line ends and the like do not occur in a project's path.
_WRAPPED = """{ printf '{"cwd":"%s","payload":' "$(pwd | sed 's/[\\\\"]/\\\\&/g')"; cat; printf '}'; } 2>/dev/null | """


def events(payload: dict[str, Any], at: datetime) -> list[Event]:
    """What `payload`, written at `at`, tells. Empty for an event that is not recorded, and for one that is not known.

    Raises ValueError, in words for a person, where something is missing without which there is nothing to record.
    """
    cwd = None
    if isinstance(payload.get("payload"), dict):
        cwd, payload = fields.optional(payload, "cwd"), payload["payload"]
    name, session_id = fields.text(payload, "agent_action_name"), fields.text(payload, "trajectory_id")
    info = fields.mapping(payload.get("tool_info"))
    id_ = f"made-up-{fields.key(payload, at.timestamp())}"
    return [
        Event(
            agent=AGENT,
            session_id=session_id,
            occurred_at=fields.moment(payload.get("timestamp"), at),
            body=body,
            cwd=cwd or fields.optional(info, "cwd"),
            prompt_id=fields.optional(payload, "execution_id"),
            model=fields.optional(payload, "model_name"),
        )
        for body in _bodies(name, info, id_)
    ]


def _bodies(name: str, info: dict[str, Any], id_: str) -> list[Body]:
    if name == "pre_user_prompt":
        return [Prompt(text=fence.strip(fields.text(info, "user_prompt")))]
    if name == "post_cascade_response":
        text = fence.strip(fields.optional(info, "response") or "").strip()
        return [*([AssistantMessage(text=text)] if text else []), TurnEnd()]
    if name == "post_run_command":
        given = {"command": fields.text(info, "command_line"), "cwd": info.get("cwd")}
        code, printed = info.get("exit_code"), fields.optional(info, "output", "stdout")
        if isinstance(code, int):
            return [shell_call(id_, "run_command", given, exit_code=code, output=printed)]
        return [
            tool_call(id_, "run_command", given, output=printed)
        ]  # it ended, but Windsurf does not say how
    if name in ("post_read_code", "post_write_code"):
        return [tool_call(id_, name.removeprefix("post_"), info, success=True)]
    if name == "post_mcp_tool_use":
        tool = f"mcp__{fields.text(info, 'mcp_server_name')}__{fields.text(info, 'mcp_tool_name')}"
        result = fields.optional(info, "mcp_result")
        return [tool_call(id_, tool, info.get("mcp_tool_arguments"), success=True, output=result)]
    return []


def changes(scope: Scope, project: Path, *, remove: bool = False) -> list[Change]:  # noqa: ARG001
    """What connecting, or disconnecting (`remove`), would change; empty where nothing is to do.

    AgentMemoryError where a file cannot be read or understood.
    """
    entries.only_for_user(scope, "Windsurf")
    folder = Path.home() / ".codeium" / "windsurf"
    handler = {"command": hook_command(), "show_output": False}
    return [
        *entries.listed_hooks(folder / "hooks.json", dict.fromkeys(EVENTS, handler), remove=remove),
        *entries.mcp_server(folder / "mcp_config.json", "mcpServers", entries.server(), remove=remove),
    ]


def hook_command() -> str:
    return _WRAPPED + entries.hook_command(AGENT)
