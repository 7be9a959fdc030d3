"""What happened, as mining looks at it: sessions of calls, which of them failed and with what signature. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from agent_memory.lessons import moment
from agent_memory.lessons.moment import Moment
from agent_memory.lessons.signature import Signature, culprit, signature
from agent_memory.observations import commands
from agent_memory.observations.calls import Call, is_ours, writes
from agent_memory.observations.commands import Run
from agent_memory.observations.failures import REFUSED, refusal, says_nothing

INVOCATION = re.compile(
    r"command not found|(?m:: not found$)|not recognized as|No module named|Cannot find module|Missing script|[Uu]sage:"
    r"|(?i:unknown|unrecognized|unrecognised|invalid|illegal|unexpected|ambiguous|unsupported)"
    r" (?:option|flag|command|sub-?command|argument|shorthand|switch|task|recipe|target|choice)"
    r"|no such (?:option|command|service|sub-?command)|was replaced by|is not a \S+ command|No rule to make target"
    r"|(?:must|have to|need to|required to) (?:be (?:set|given|specified|run|provided)|set|specify|provide|run|use)"
    r"|(?:is|are) (?:required|not set|not installed|missing|deprecated)|not set\b|not installed|[Nn]ot logged in"
    r"|externally-managed|[Mm]issing required|requires (?:a|an|the|at least|node|python|version)\b|permission denied"
    r"|Permission denied|Operation not permitted|EACCES|ERESOLVE|not a git repository|[Cc]ould not find (?:a |the )?\S+"
    r"|[Nn]o configuration file|ENOENT|refused|Cannot connect|could not connect|authentication|Unauthorized"
    r"|no matches found|[Uu]nsupported engine|wrong (?:version|interpreter)|Cannot use import"
)
"""A line that speaks of how the program was called or of what it stands on, rather than of the code at work."""

_PASSING = re.compile(
    r"\btimed? ?out\b|interrupt|cancell?ed|aborted by|\bSIG(?:TERM|KILL|INT)\b|^Killed|^Terminated|rate limit"
    r"|overloaded|temporarily unavailable|Too Many Requests|\b(?:429|50[0234])\b",
    re.I,
)
"""What passes by itself, or was the user's wish."""

ABSENT = re.compile(r"command not found: (\S+)$")
"""The signature of a program that is not installed."""

NO_SUCH = re.compile(
    r"Missing script|No rule to make target|is not a \S+ command|(?i:unknown|unrecognized|no such)"
    r" (?i:sub-?command|command|task|recipe|target|script)"
)
"""A subcommand, a script or a target that there is not."""

_SWALLOWING = re.compile(r"^(?:head|tail|grep|cat|tee|less|sort|uniq|jq|wc|sed|awk)$")
_SWALLOWED = re.compile(
    r"command not found$|^\S*ModuleNotFoundError: |^error: (?:unknown|unrecognized|unexpected) |: error: unrecognized "
    r"|^npm (?:ERR!|error) Missing script|^Error: Cannot find module "
)
"""Unmistakable even where the exit code is the pipe's."""

_INLINE = {"-c", "-e", "--eval", "-", "-p", "-r"}


@dataclass(slots=True, eq=False)
class Step:
    """A call in its place in a session."""

    call: Call
    session_id: str
    turn: int
    """Which prompt of the session it belongs to, counted from 0."""

    failure: Signature | None = field(init=False, default=None)
    """Set where it failed in a way that a lesson could be drawn from."""
    run: Run | None = field(init=False, default=None)
    """Of a command that failed, the program that did."""
    ok: bool = field(init=False)
    about_code: bool = field(init=False, default=False)
    """A test that fails, a build that breaks: most likely the code is wrong, and not the call."""

    def __post_init__(self) -> None:
        self.ok = self.call.success is True
        if not _is_looked_at(self.call):
            return
        if self.call.success is False:
            self._fail(
                None if says_nothing(self.call) and not _was_called_wrong(self.call) else signature(self.call)
            )
        elif self.ok and _swallows(self.call):
            self.ok = False
            self._fail(signature(self.call))

    def _fail(self, found: Signature | None) -> None:
        if found is None or (_PASSING.search(found.error) and not ABSENT.match(found.error)):
            return
        run = culprit(self.call.command, found.error) if self.call.command else None
        if self.call.command and (run is None or (_is_inline(run) and not INVOCATION.search(found.error))):
            return
        self.about_code = run is not None and commands.checks(run.key) and not INVOCATION.search(found.error)
        self.failure, self.run = found, run

    @property
    def target(self) -> str:
        """What it was done to: two calls of one target are tries of the same thing."""
        if self.call.command:
            return self.run.key if self.run else commands.key_of(self.call.command)
        return f"edit {self.call.path or ''}" if writes(self.call) else self.call.tool

    @property
    def moment(self) -> Moment:
        return moment.call("before", self.call.tool, self.given)

    @property
    def given(self) -> dict[str, object]:
        """The call's input, as far as mining reads it."""
        if self.call.command:
            return {"command": self.call.command}
        if self.call.path:
            return {"file_path": self.call.path}
        try:
            value = json.loads(self.call.input or "{}")
        except ValueError:  # cut
            return {}
        return value if isinstance(value, dict) else {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What the user typed."""

    id: str
    session_id: str
    turn: int
    text: str


@dataclass(slots=True, kw_only=True)
class Session:
    id: str
    project_id: int
    roots: Sequence[str]
    """The project's folders: paths are told as seen from them."""
    steps: Sequence[Step]
    said: Sequence[Said]


@dataclass(slots=True)
class Episode:
    """Calls of one session that failed with one signature, until one on the same target worked."""

    signature: Signature
    failures: list[Step]
    fix: Step | None = None
    between: Sequence[Step] = ()
    """What was done from the last failure to the fix, by whoever made the call."""


_SOON = 40  # calls after a failure among which its fix is looked for
_AT_ONCE = 4  # calls after a failure among which another program may be its fix


def episodes(session: Session) -> list[Episode]:
    """The failures of a session with what fixed them, in order. Each agent's calls are a thread of their own."""
    threads: dict[str | None, list[Step]] = {}
    for step in session.steps:
        threads.setdefault(step.call.agent_id, []).append(step)
    return [episode for steps in threads.values() for episode in _episodes(steps)]


def _episodes(steps: Sequence[Step]) -> list[Episode]:
    found: list[Episode] = []
    still: dict[str, dict[Signature, tuple[Episode, int]]] = {}
    for place, step in enumerate(steps):
        if step.failure:
            at_target = still.setdefault(step.target, {})
            if step.failure in at_target:
                episode = at_target[step.failure][0]
                episode.failures.append(step)
            else:
                episode = Episode(step.failure, [step])
                found.append(episode)
            at_target[step.failure] = (episode, place)
        elif step.ok:
            for target in _targets(step):
                for episode, last in still.pop(target, {}).values():
                    _settle(episode, steps, last, place if place - last <= _SOON else None)
    for at_target in still.values():
        for episode, last in at_target.values():
            _settle(episode, steps, last, None)
    return found


def _settle(episode: Episode, steps: Sequence[Step], last: int, place: int | None) -> None:
    """Write down what fixed an episode: the same program in `place`, or another one right after the failure where
    the program itself is missing or the same program never worked."""
    error = episode.signature.error
    if place is None or ABSENT.match(error):
        failed = steps[last]
        other = next(
            (
                n
                for n in range(last + 1, min(last + 1 + _AT_ONCE, len(steps)))
                if _stands_in(steps[n], failed, error)
            ),
            None,
        )
        place = other if other is not None else place
    if place is not None:
        episode.fix = steps[place]
        episode.between = steps[last + 1 : place]


def _targets(step: Step) -> list[str]:
    """What a call that worked was a try of. Asking a program for its help is none."""
    if step.call.command:
        found = commands.runs(step.call.command)
        return list(dict.fromkeys(run.key for run in found if run.key and not asks_for_help(run)))
    return [step.target]


def asks_for_help(run: Run) -> bool:
    return bool({"--help", "help", "--version"} & set(run.words)) or run.words[-1:] == ("-h",)


def _stands_in(step: Step, failed: Step, error: str) -> bool:
    """Whether a call that worked did in another way what a failed one was to do: another program takes the same words,
    or the same program another subcommand where there was none of that name."""
    if not step.ok or not step.call.command or failed.run is None:
        return False
    program = failed.run.words[0]
    wanted = {word for word in failed.run.words[1:] if len(word) > 1}
    named = {word for word in wanted if not word.startswith("-")}
    for run in commands.runs(step.call.command):
        if not run.key or not run.words:
            continue
        if run.words[0] == program:
            if (
                NO_SUCH.search(error)
                and run.key != failed.run.key
                and run.key.count(" ") == failed.run.key.count(" ")
            ):
                return True
        elif named & set(run.words) and 2 * len(wanted & set(run.words)) >= len(named):
            return True
    return False


def _is_looked_at(call: Call) -> bool:
    if is_ours(call) or (
        call.success is False and (refusal(call) is not None or REFUSED.search(call.error or ""))
    ):
        return False
    return bool(call.command) or writes(call) or call.tool.startswith("mcp__")


def _is_inline(run: Run) -> bool:
    """A throw-away script: what is wrong there is the script."""
    interpreters = ("python", "node", "ruby", "perl", "deno", "bun")
    return run.key.startswith(interpreters) and bool(_INLINE & set(run.words[1:2]))


def _was_called_wrong(call: Call) -> bool:
    """Whether a command that only looks around found nothing because of how it was called."""
    return bool(call.command and commands.looks(call.command) and INVOCATION.search(call.error or ""))


def _swallows(call: Call) -> bool:
    """Whether a command ended well only because what its output was piped into did."""
    if not call.command or not call.output or "|" not in call.command:
        return False
    found = commands.runs(call.command)
    if (
        len(found) < 2
        or not found[-2].piped
        or not _SWALLOWING.match(found[-1].words[0] if found[-1].words else "")
    ):
        return False
    return any(_SWALLOWED.search(line.strip()) for line in call.output.splitlines()[-12:])
