"""What a lesson is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

if TYPE_CHECKING:
    from agent_memory.lessons.trigger import Trigger

Severity: TypeAlias = Literal["info", "warning", "critical"]
Status: TypeAlias = Literal["candidate", "active", "retired", "rejected"]
"""candidate → active or rejected; active → retired. Only the user makes one active, also a retired or rejected one."""
Action: TypeAlias = Literal["warn", "ask", "deny"]
"""warn: the call runs, and the model is told · ask: the user is asked first · deny: the call is refused"""
Maker: TypeAlias = Literal["user", "model", "mining"]
Kind: TypeAlias = Literal["regex", "glob", "literal"]
"""How a trigger's pattern is read."""

SEVERITIES: tuple[Severity, ...] = get_args(Severity)
STATUSES: tuple[Status, ...] = get_args(Status)
ACTIONS: tuple[Action, ...] = get_args(Action)
KINDS: tuple[Kind, ...] = get_args(Kind)

LONGEST_RULE = 280
LONGEST_TITLE = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A lesson that somebody wants; `gate.create` decides what becomes of it."""

    rule: str
    """What to do instead, in at most 280 characters, said to the agent."""
    trigger: Trigger
    project_id: int | None
    """None: the lesson holds in every project."""
    title: str = ""
    """Empty: the rule's beginning."""
    severity: Severity = "warning"
    action: Action = "warn"
    made_by: Maker
    session_id: str | None = None
    """The session in which it was made, where a model made it."""
    origin: str | None = None
    """Mining's own name for what it saw, the same in every run: in one project there is one lesson of an origin, and
    one that the user rejected or retired is not made again."""
    evidence: Mapping[str, Any] = field(default_factory=dict)
    """Why it was made: ids of journal rows, such as {"tool_calls": […], "prompts": […]}, and what `review` shows."""
    estimate: Mapping[str, Any] = field(default_factory=dict)
    """How it would have fared over the history, such as {"calls": …, "right": …, "wrong": …}."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    id: int
    project_id: int | None
    project: str | None
    """The project's identity, as `projects.identify` gives it for a folder."""
    project_name: str | None
    title: str
    rule: str
    severity: Severity
    status: Status
    action: Action
    trigger: Trigger
    made_by: Maker
    session_id: str | None
    origin: str | None
    evidence: Mapping[str, Any]
    estimate: Mapping[str, Any]
    created_at: datetime
    decided_at: datetime | None
    """When the user approved, rejected or retired it."""
    trigger_since: datetime
    """Since when it has this trigger: firings before do not count for it."""
