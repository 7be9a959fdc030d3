"""A session of the journal as what a model would have lived through: turns of steps, the agent's own and each of its
subagents'. Pure functions.

What this memory put in is not there: fenced texts, reminders, and the calls to this memory itself.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from agent_memory.journal import fence
from agent_memory.observations import commands
from agent_memory.observations.turns import Message, Prompt, asked_by, interrupted, without_injected

_OURS = re.compile(r"mcp__(?:agent-memory__|plugin_agent-memory_)")
_NOTIFIED = re.compile(r"<(summary|result)>(.*?)</\1>", re.S)
_CANCELLED = "Sibling tool call errored"
LOOP = 3
"""The same call so often in a row is a loop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Called:
    """A tool call of the journal, whole."""

    id: int
    tool: str
    input: dict[str, Any]
    occurred_at: datetime
    success: bool | None
    """None: begun, and no end was seen."""
    output: str | None = None
    output_chars: int | None = None
    """Its true size; the journal keeps the beginning."""
    error: str | None = None
    duration_ms: int | None = None
    agent_id: str | None = None
    agent_type: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """The journal's rows of a session, each list in order of time."""

    id: str
    project_id: int
    agent: str
    cwd: str | None
    prompts: Sequence[Prompt]
    messages: Sequence[Message]
    calls: Sequence[Called]


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    tool: str
    arguments: dict[str, Any]
    result: str
    failed: bool
    left_out: int = 0
    """Characters that the journal did not keep of its result."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What a model says at once: words, calls, or both; the calls with what came back."""

    text: str = ""
    calls: tuple[Call, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    asked: str
    steps: tuple[Step, ...]
    ended_well: bool = True
    """False: it ended with an error, was interrupted, or its last call failed."""
    afresh: bool = False
    """The conversation was compacted: what came before is known by its summary only, which is what is asked here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trajectory:
    session_id: str
    project_id: int
    agent: str
    subagent: str | None
    """The subagent's id; None: the agent itself."""
    system: str
    turns: tuple[Turn, ...]

    def calls(self) -> Iterator[Call]:
        return (call for turn in self.turns for step in turn.steps for call in step.calls)


@dataclass(slots=True)
class _Open:
    """A turn that is being read."""

    asked: str
    afresh: bool = False
    ended_well: bool = True
    steps: list[Step] = field(default_factory=list)
    busy_until: datetime | None = None
    """When the calls of the last step had all ended."""


def trajectories(session: Session, dropped: Counter[str]) -> Iterator[Trajectory]:
    """The session's own trajectory, then its subagents'. What is left out is counted in `dropped`, by reason."""
    rows: list[Prompt | Message | Called] = [*session.prompts, *session.messages, *session.calls]
    by_agent: dict[str | None, list[Prompt | Message | Called]] = {None: []}
    for row in sorted(rows, key=lambda row: row.occurred_at):  # stable: a prompt before what came of it
        by_agent.setdefault(row.agent_id, []).append(row)
    for agent_id, mine in by_agent.items():
        kind = next((row.agent_type for row in mine if not isinstance(row, Prompt) and row.agent_type), None)
        turns = tuple(_turns(mine, dropped, is_subagent=agent_id is not None))
        if turns:
            yield Trajectory(
                session_id=session.id,
                project_id=session.project_id,
                agent=session.agent,
                subagent=agent_id,
                system=_system(session, kind, is_subagent=agent_id is not None),
                turns=turns,
            )


def had(trajectory: Trajectory, session: Sequence[Trajectory]) -> list[str]:
    """The tools that the agent, or one of its subagents, could call: those that were called in the session, the most
    called first. Of subagents, what one of them called: they have fewer."""
    called = Counter(
        call.tool
        for other in session
        if trajectory.subagent is None or other.subagent is not None
        for call in other.calls()
    )
    return sorted(called, key=lambda tool: (-called[tool], tool))


def read(told: Mapping[str, Any]) -> Trajectory:
    """A trajectory that was written down as JSON."""
    turns = [
        Turn(
            **{
                **turn,
                "steps": tuple(
                    Step(text=step["text"], calls=tuple(Call(**call) for call in step["calls"]))
                    for step in turn["steps"]
                ),
            }
        )
        for turn in told["turns"]
    ]
    return Trajectory(**{**told, "turns": tuple(turns)})


def changed(
    trajectory: Trajectory,
    *,
    text: Callable[[str], str],
    arguments: Callable[[dict[str, Any]], dict[str, Any]],
    result: Callable[[Call], str],
) -> Trajectory:
    """The same with every text, every call's arguments and every result changed."""

    def call(one: Call) -> Call:
        return replace(one, arguments=arguments(one.arguments), result=result(one))

    def turn(one: Turn) -> Turn:
        steps = [Step(text=text(step.text), calls=tuple(map(call, step.calls))) for step in one.steps]
        return replace(one, asked=text(one.asked), steps=tuple(steps))

    return replace(trajectory, system=text(trajectory.system), turns=tuple(map(turn, trajectory.turns)))


def _system(session: Session, kind: str | None, *, is_subagent: bool) -> str:
    """The agent's own system prompt is not in the journal: this says what is known of the place."""
    who = f"a coding agent's helper{f' ({kind})' if kind else ''}" if is_subagent else "a coding agent"
    where = f" Your working folder is {session.cwd}." if session.cwd else ""
    return f"You are {who}. Use the tools to do what you are asked.{where}"


def _turns(
    rows: Sequence[Prompt | Message | Called], dropped: Counter[str], *, is_subagent: bool
) -> Iterator[Turn]:
    turn: _Open | None = None
    for row in rows:
        if isinstance(row, Prompt):
            asked = _asked(row, is_subagent=is_subagent)
            if interrupted(row.text) and turn is not None:
                turn.ended_well = False
            if asked:
                yield from _closed(turn, dropped)
                turn = _Open(asked, ended_well=row.end_error is None)
        elif isinstance(row, Message) and row.kind == "compact_summary":
            yield from _closed(turn, dropped)
            turn = _Open(without_injected(fence.strip(row.text)), afresh=True)
        elif turn is None:
            dropped["before the first prompt"] += 1
        elif isinstance(row, Message):
            text = without_injected(fence.strip(row.text))
            if text and text != "No response requested.":
                turn.steps.append(Step(text=text))
                turn.busy_until = None
        else:
            _add(turn, row, dropped)
    yield from _closed(turn, dropped)


def _asked(prompt: Prompt, *, is_subagent: bool) -> str:
    text = fence.strip(prompt.text)
    if prompt.kind == "task_notification":
        told = [part.strip() for _, part in _NOTIFIED.findall(text) if part.strip()]
        return "A background task ended.\n" + "\n".join(told) if told else ""
    if is_subagent or prompt.kind == "subagent":
        return without_injected(text)
    return asked_by(replace(prompt, text=text))


def _add(turn: _Open, row: Called, dropped: Counter[str]) -> None:
    command = row.input.get("command")
    if _OURS.match(row.tool) or (isinstance(command, str) and commands.is_ours(command)):
        dropped["call to this memory"] += 1
        return
    if row.success is None:
        dropped["call without an end"] += 1
        return
    if row.error and _CANCELLED in row.error[:80]:
        dropped["call that was cancelled with its sibling"] += 1
        return
    if not row.input:
        dropped["call without arguments"] += 1
        return
    told = row.output if row.success else row.error or row.output
    kept = 0 if row.output is None or not row.success else len(row.output)
    call = Call(
        tool=row.tool,
        arguments=row.input,
        result=without_injected(fence.strip(told or "")) or "(no output)",
        failed=not row.success,
        left_out=max((row.output_chars or 0) - kept, 0) if row.success else 0,
    )
    ends = row.occurred_at + timedelta(milliseconds=row.duration_ms or 0)
    at_once = turn.busy_until is not None and row.occurred_at < turn.busy_until
    if turn.steps and (not turn.steps[-1].calls or at_once):
        last = turn.steps[-1]
        turn.steps[-1] = replace(last, calls=(*last.calls, call))
        turn.busy_until = max(turn.busy_until or ends, ends)
    else:
        turn.steps.append(Step(calls=(call,)))
        turn.busy_until = ends


def _closed(turn: _Open | None, dropped: Counter[str]) -> Iterator[Turn]:
    """The turn, if a model did anything in it, without its loops."""
    if turn is None:
        return
    if not turn.steps:
        dropped["turn without an answer"] += 1
        return
    steps = _without_loops(turn.steps, dropped)
    if not steps:
        dropped["turn that was a loop"] += 1
        return
    last = next((step.calls[-1] for step in reversed(steps) if step.calls), None)
    yield Turn(
        asked=turn.asked,
        steps=tuple(steps),
        ended_well=turn.ended_well and bool(steps[-1].text) and not (last and last.failed),
        afresh=turn.afresh,
    )


def _without_loops(steps: Sequence[Step], dropped: Counter[str]) -> list[Step]:
    """Of the same call three times in a row and more only the last one stays; nothing, where the turn was no more."""
    runs: list[list[tuple[int, Call]]] = []
    for number, step in enumerate(steps):
        for call in step.calls:
            if runs and _same(runs[-1][-1][1], call):
                runs[-1].append((number, call))
            else:
                runs.append([(number, call)])
    if len(runs) == 1 and len(runs[0]) >= LOOP:
        return []
    again = {id(call) for run in runs if len(run) >= LOOP for _, call in run[:-1]}
    if not again:
        return list(steps)
    dropped["call in a loop"] += len(again)
    kept = [replace(step, calls=tuple(c for c in step.calls if id(c) not in again)) for step in steps]
    return [step for step in kept if step.text or step.calls]


def _same(one: Call, other: Call) -> bool:
    return one.tool == other.tool and one.arguments == other.arguments
