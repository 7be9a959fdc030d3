"""Lessons that a history suggests: a failure that came back, what it was fixed with, and a trigger that would have
spoken before it. Pure functions.

What keeps junk out is counted, not guessed: a trigger is offered only where, over sessions that it was not made from,
most of the calls that it speaks before failed in just that way. A test that fails while its code is being written
succeeds with the same call a minute later, so no trigger for it survives.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from agent_memory.lessons import examples, wording
from agent_memory.lessons.changes import Change, change
from agent_memory.lessons.corrections import Correction, corrections
from agent_memory.lessons.history import ABSENT, INVOCATION, Episode, Session, Step, episodes
from agent_memory.lessons.lesson import LONGEST_TITLE, Severity
from agent_memory.lessons.signature import Signature, telling_line
from agent_memory.lessons.trigger import Matcher, Trigger
from agent_memory.observations.calls import relative, writes
from agent_memory.observations.observation import shorten

FEWEST_FAILURES = 2
FEWEST_WITHOUT_FIX = 3
"""Where nothing ever worked, and the program is not simply missing."""
LEAST_PRECISION = 0.5
"""Of the calls before which a trigger would have spoken, so many failed in that way; each session counts alike, so that
one that ran in circles does not outvote the others."""
LEAST_COVERAGE = 0.6
MOST_LET = 2
"""Calls that the user let pass later, for each time that they spoke against them: more, and it was no rule."""
MOST_EVIDENCE = 50


@dataclass(frozen=True, slots=True)
class Estimate:
    """How a trigger fares over calls: before how many it speaks, and what became of these."""

    sessions: int = 0
    """With any call that was looked at."""
    calls: int = 0
    right: int = 0
    """It would have spoken, and the call failed in just that way."""
    wrong: int = 0
    """It would have spoken, and the call succeeded."""
    missed: int = 0
    """The call failed in just that way, and it would not have spoken."""

    def __add__(self, other: Estimate) -> Estimate:
        return Estimate(
            self.sessions + other.sessions,
            self.calls + other.calls,
            self.right + other.right,
            self.wrong + other.wrong,
            self.missed + other.missed,
        )

    @property
    def precision(self) -> float | None:
        """None: it would not have spoken at all."""
        fired = self.right + self.wrong
        return self.right / fired if fired else None

    @property
    def false_per_1000(self) -> float:
        return 1000 * self.wrong / self.calls if self.calls else 0.0


@dataclass(slots=True, kw_only=True)
class Candidate:
    project_id: int
    trigger: Trigger
    title: str
    rule: str
    rule_anywhere: str
    """The rule without what only this project's failures said."""
    severity: Severity
    kind: str
    signatures: list[Signature]
    steps: list[Step]
    """The calls that failed."""
    fixes: list[Step]
    prompts: list[str] = field(default_factory=list)
    """In which the user spoke against the calls."""
    held_out: Estimate
    """Over the sessions that the trigger was not made from, each left out in turn."""
    whole: Estimate
    """Over all sessions."""
    episodes: int = 0
    sessions: int = 0

    @property
    def origins(self) -> list[str]:
        """Mining's names for what it saw, the chief one first: digests, so that nothing forgotten stays in them."""
        return [
            f"{'said' if self.kind == 'correction' else 'failure'}/"
            + hashlib.sha256(str(signature).encode()).hexdigest()[:24]
            for signature in self.signatures
        ]


@dataclass(frozen=True, slots=True)
class Mined:
    candidates: list[Candidate]
    """The most telling first."""
    counted: Counted

    def whole(self, candidate: Candidate, trigger: Trigger) -> Estimate:
        """How another trigger, of those that were to be counted as well, fares over the same failures."""
        return self.counted.estimate(trigger, candidate.signatures, list(self.counted.calls))


def mine(sessions: Sequence[Session], count_also: Iterable[Trigger] = ()) -> Mined:
    """The candidates of one project."""
    groups = _grouped(sessions)
    proposals = [proposal for group in groups for proposal in _proposals(group, sessions[0].roots)]
    said = _said(sessions)
    counted = Counted(sessions, [*(proposal.trigger for proposal in proposals), *said, *count_also])
    by_group: dict[Signature, list[_Proposal]] = defaultdict(list)
    for proposal in proposals:
        by_group[proposal.group.signature].append(proposal)
    merged: dict[Trigger, list[_Group]] = defaultdict(list)
    for same in by_group.values():
        if best := _choose(same, counted):
            merged[best].append(same[0].group)
    found = [_candidate(trigger, all_of, by_group, counted, sessions) for trigger, all_of in merged.items()]
    found += [_corrected(trigger, all_of, counted, sessions) for trigger, all_of in said.items()]
    return Mined(
        sorted(filter(None, found), key=lambda one: (-one.sessions, -len(one.steps), one.origins)), counted
    )


@dataclass(slots=True)
class _Group:
    """All episodes of a project with one signature."""

    signature: Signature
    episodes: list[Episode]
    change: Change

    @property
    def steps(self) -> list[Step]:
        return [step for episode in self.episodes for step in episode.failures]


@dataclass(slots=True)
class _Proposal:
    group: _Group
    trigger: Trigger
    made_from: frozenset[str]
    """The sessions with a failure that it speaks before."""


class Counted:
    """What each of many triggers would have done in each session."""

    def __init__(self, sessions: Sequence[Session], triggers: Iterable[Trigger]) -> None:
        self.calls: Counter[str] = Counter()
        self.failed: dict[str, Counter[Signature]] = defaultdict(Counter)
        self.spoke: dict[Trigger, dict[str, Counter[Signature | None]]] = defaultdict(
            lambda: defaultdict(Counter)
        )
        """By trigger and session: before how many calls that failed with a signature, and (None) that succeeded."""
        self._failed_in: dict[Signature, dict[str, None]] = defaultdict(dict)
        self._sums: dict[tuple[Trigger, Signature], tuple[int, int, float, int]] = {}
        self._matcher = Matcher((trigger, trigger) for trigger in dict.fromkeys(triggers))
        seen: dict[tuple[str, str], list[Trigger]] = {}
        for session in sessions:
            for step in session.steps:
                self._add(step, seen)

    def _add(self, step: Step, seen: dict[tuple[str, str], list[Trigger]]) -> None:
        call = step.call
        if not (call.command or call.path or call.input):
            return
        self.calls[step.session_id] += 1
        if step.failure:
            self.failed[step.session_id][step.failure] += 1
            self._failed_in[step.failure][step.session_id] = None
        elif not step.ok:
            return
        said = (call.tool, call.command or call.path or call.input or "")
        if said not in seen:
            seen[said] = self._matcher.match(step.moment)
        for trigger in seen[said]:
            self.spoke[trigger][step.session_id][step.failure] += 1

    def estimate(
        self, trigger: Trigger, signatures: Iterable[Signature], sessions: Iterable[str]
    ) -> Estimate:
        wanted = set(signatures)
        spoke = self.spoke.get(trigger, {})
        total = Estimate()
        for session in sessions:
            counts = spoke.get(session, Counter())
            right = sum(counts[signature] for signature in wanted)
            failed = sum(self.failed[session][signature] for signature in wanted)
            total += Estimate(1, self.calls[session], right, counts[None], failed - right)
        return total

    def sums(self, trigger: Trigger, signature: Signature) -> tuple[int, int, float, int]:
        """Over all sessions: right, missed, and of those in which it would have spoken the sum of their precisions and
        their number."""
        if (trigger, signature) not in self._sums:
            where = dict.fromkeys([*self.spoke.get(trigger, ()), *self._failed_in[signature]])
            each = [self.estimate(trigger, [signature], [session]) for session in where]
            known = [one.precision for one in each if one.precision is not None]
            right, missed = sum(one.right for one in each), sum(one.missed for one in each)
            self._sums[trigger, signature] = (right, missed, sum(known), len(known))
        return self._sums[trigger, signature]

    def fairness(
        self, trigger: Trigger, signatures: Iterable[Signature], sessions: Iterable[str]
    ) -> float | None:
        """Mean precision over the sessions in which it would have spoken; None: in none."""
        each = [self.estimate(trigger, signatures, [session]).precision for session in sessions]
        known = [precision for precision in each if precision is not None]
        return sum(known) / len(known) if known else None


def _grouped(sessions: Sequence[Session]) -> list[_Group]:
    by_signature: dict[Signature, list[Episode]] = defaultdict(list)
    for session in sessions:
        for episode in episodes(session):
            by_signature[episode.signature].append(episode)
    groups = []
    for signature, found in sorted(by_signature.items()):
        told = _agreed([change(episode) for episode in found])
        if told is not None:
            groups.append(_Group(signature, found, told))
    return groups


def _agreed(changes: Sequence[Change | None]) -> Change | None:
    """The way in which most of the episodes were fixed. None: most fixes tell nothing of the call."""
    telling = [one for one in changes if one is not None]
    fixed = [one for one in telling if one.kind != "never"]
    if 2 * len(telling) < len(changes):
        return None
    if not fixed:
        return telling[-1] if telling else None
    kinds = Counter(one.kind for one in fixed)
    kind = "instead" if 2 * kinds["instead"] >= len(fixed) else "first"
    alike = [one for one in fixed if one.kind == kind]
    if kind == "first":
        counts = Counter(command for one in alike for command in one.worked)
        common = tuple(command for command, n in counts.most_common(3) if 2 * n >= len(alike))
        return Change("first", alike[-1].failed, common) if common else None
    (same, times), *_ = Counter((one.gone, one.put) for one in alike).most_common(1)
    found = [one for one in alike if (one.gone, one.put) == same]
    return found[-1] if times > 1 or any(one.sure for one in found) else None


def _proposals(group: _Group, roots: Sequence[str]) -> list[_Proposal]:
    """Triggers for a failure, each with the sessions that it is made from."""
    found: dict[Trigger, set[str]] = {}
    by_session: dict[str, list[Step]] = defaultdict(list)
    for step in group.steps:
        by_session[step.session_id].append(step)
    for some in [*by_session.values(), group.steps]:
        for trigger in examples.triggers(some, group.change, roots):
            spoken = found.setdefault(trigger, set())
            spoken.update({step.session_id for step in some} if some is not group.steps else ())
    for made_from in found.values():
        if not made_from:  # of all together only
            made_from.update(by_session)
    return [_Proposal(group, trigger, frozenset(sessions)) for trigger, sessions in found.items()]


def _choose(
    proposals: Sequence[_Proposal], counted: Counted, *, without: str | None = None
) -> Trigger | None:
    """The one with the best balance of precision and coverage over all sessions, or over all but one; of equals the
    one that was proposed first."""
    best: tuple[float, _Proposal] | None = None
    for proposal in proposals:
        signature = proposal.group.signature
        right, missed, precision, sessions = counted.sums(proposal.trigger, signature)
        if without is not None:
            one = counted.estimate(proposal.trigger, [signature], [without])
            right, missed = right - one.right, missed - one.missed
            if one.precision is not None:
                precision, sessions = precision - one.precision, sessions - 1
        if not sessions or not right:
            continue
        fair, coverage = precision / sessions, right / (right + missed)
        if coverage < LEAST_COVERAGE:
            continue
        score = 1.25 * fair * coverage / (0.25 * fair + coverage)
        if best is None or score > best[0] + 1e-9:
            best = (score, proposal)
    return best[1].trigger if best else None


def _candidate(
    trigger: Trigger,
    groups: Sequence[_Group],
    proposals: Mapping[Signature, Sequence[_Proposal]],
    counted: Counted,
    sessions: Sequence[Session],
) -> Candidate | None:
    """One lesson of all failures with one trigger. None: not worth the user's time."""
    groups = sorted(groups, key=lambda one: -len(one.steps))
    main = groups[0]
    signatures = [group.signature for group in groups]
    found = [episode for group in groups for episode in group.episodes]
    steps = [step for episode in found for step in episode.failures]
    everywhere = list(counted.calls)
    whole = counted.estimate(trigger, signatures, everywhere)
    in_sessions = {step.session_id for step in steps}
    if not _is_worth(main, steps, len(found), whole):
        return None
    if (counted.fairness(trigger, signatures, everywhere) or 0.0) < LEAST_PRECISION:
        return None
    held_out, fair = _held_out(trigger, proposals[main.signature], signatures, in_sessions, counted)
    if fair is not None and fair < LEAST_PRECISION:
        return None
    roots = sessions[0].roots
    changed = main.change
    if changed.kind == "first":
        first = dict.fromkeys(
            command for group in groups if group.change.kind == "first" for command in group.change.worked
        )
        changed = Change("first", changed.failed, tuple(first))
    about = _about(steps[0], roots)
    error = telling_line(main.steps[-1].call.error or main.steps[-1].call.output or "")
    return Candidate(
        project_id=sessions[0].project_id,
        trigger=trigger,
        title=wording.title(changed, about, roots),
        rule=wording.rule(changed, about, error, len(steps), roots),
        rule_anywhere=wording.rule(changed, about, main.signature.error, len(steps), roots),
        severity="info" if changed.kind == "never" else "warning",
        kind=changed.kind,
        signatures=signatures,
        steps=steps,
        fixes=[episode.fix for episode in found if episode.fix],
        held_out=held_out,
        whole=whole,
        episodes=len(found),
        sessions=len(in_sessions),
    )


def _said(sessions: Sequence[Session]) -> dict[Trigger, list[Correction]]:
    found: dict[Trigger, list[Correction]] = defaultdict(list)
    for session in sessions:
        for correction in corrections(session):
            found[examples.trigger_of(correction)].append(correction)
    return found


def _corrected(
    trigger: Trigger, said: Sequence[Correction], counted: Counted, sessions: Sequence[Session]
) -> Candidate | None:
    """A lesson of what the user said. None: calls of that kind went on later, and the user let them."""
    last = said[-1]
    call = last.step.call
    signature = Signature(call.tool, last.run.key if last.run else "", f"corrected: {' '.join(last.named)}")
    in_sessions = {one.step.session_id for one in said}
    order = list(counted.calls)
    since = max((order.index(session) for session in in_sessions if session in counted.calls), default=-1)
    later = counted.estimate(trigger, [], order[since + 1 :])
    if later.wrong > MOST_LET * len(said):
        return None
    about = f"`{' '.join(last.named)}`"
    return Candidate(
        project_id=sessions[0].project_id,
        trigger=trigger,
        title=shorten(f"{about}: {last.said}", LONGEST_TITLE),
        rule=wording.correction_rule(last.said, about),
        rule_anywhere="",
        severity="warning",
        kind="correction",
        signatures=[signature],
        steps=[one.step for one in said],
        fixes=[],
        prompts=[one.prompt_id for one in said if one.prompt_id],
        held_out=counted.estimate(trigger, [], [session for session in order if session not in in_sessions]),
        whole=counted.estimate(trigger, [], order),
        episodes=len(said),
        sessions=len(in_sessions),
    )


def _held_out(
    trigger: Trigger,
    proposals: Sequence[_Proposal],
    signatures: Sequence[Signature],
    failed_in: set[str],
    counted: Counted,
) -> tuple[Estimate, float | None]:
    """How the lesson would have fared in each session had it been made from the others only, and the mean precision
    over those sessions in which it would have spoken."""
    total = Estimate()
    precisions = []
    for session in counted.calls:
        made = trigger
        if session in failed_in:
            without = [proposal for proposal in proposals if proposal.made_from - {session}]
            chosen = _choose(without, counted, without=session)
            if chosen is None:
                continue  # without this session there would be no such lesson
            made = chosen
        one = counted.estimate(made, signatures, [session])
        total += one
        if one.precision is not None:
            precisions.append(one.precision)
    return total, (sum(precisions) / len(precisions) if precisions else None)


def _is_worth(main: _Group, steps: Sequence[Step], times: int, whole: Estimate) -> bool:
    error = main.signature.error
    absent = bool(ABSENT.match(error))
    if len(steps) < FEWEST_FAILURES:
        return False
    if main.change.kind == "never":
        return whole.wrong == 0 and (absent or len(steps) >= FEWEST_WITHOUT_FIX)
    return times > 1 or bool(INVOCATION.search(error))


def _about(step: Step, roots: Sequence[str]) -> str:
    call = step.call
    if writes(call):
        return f"{call.tool} of `{relative(call.path or '', roots)}`"
    return call.tool.removeprefix("mcp__").replace("__", " ")
