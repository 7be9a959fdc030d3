"""Why something in a transcript is not recorded, in words for a report."""

from __future__ import annotations

from typing import Any

PROGRESS = "progress of a tool or a subagent: told again by its result or in its own file"
METADATA = "the client's own bookkeeping"
UNKNOWN = "a kind of line that is not known here"
ATTACHMENT = "context that the client added"
HOOK_OUTPUT = "what a hook said, our own among them"
SYSTEM = "a notice of the client's"
OLD_SUMMARY = "a title for the list of sessions"
META = "written by the client in the user's name"
COMMAND_OUTPUT = "a local command's output, which the model did not ask for"
EDITOR_NOTE = "what the editor has open"
THINKING = "thinking"
IMAGE = "an image"
BLOCK = "a block of another kind"
EMPTY = "empty"
CLIENTS_TEXT = "the client's text in the model's place"
HELPER = "a helper of the client's own, such as the one that writes a compaction's summary"
COPY = "a copy of an earlier line (a resumed or branched session)"
ORPHAN = "a result whose call is not in this file"
BESIDE_RESULT = "text beside a tool's result"
MALFORMED = "not a whole record"

_METADATA = frozenset(
    (
        *("agent-color", "agent-name", "agent-setting", "ai-title", "api-request", "api-request-blob"),
        *("api-request-shape", "atis-latch", "attribution-snapshot", "bridge-session", "content-replacement"),
        *("continued-in", "cost-state", "custom-title", "data-flow-incomplete", "data-flow-records"),
        *("derived-from", "dev-mods", "ended-by-model", "file-history-delta", "file-history-snapshot"),
        *("fork-context-ref", "frame-link", "history-suppression", "isolation-latch", "last-prompt"),
        *("memory-mode", "mode", "observer-ref", "permission-mode", "pr-link", "queue-operation"),
        *("relocated", "resume-head-vouch", "session-owner", "tag", "tools-used", "worktree-state"),
    )
)


def of_bookkeeping(kind: Any) -> str:
    """The reason for a record that is no part of the conversation."""
    if kind == "progress":
        return PROGRESS
    if kind == "summary":
        return OLD_SUMMARY
    return METADATA if kind in _METADATA else UNKNOWN
