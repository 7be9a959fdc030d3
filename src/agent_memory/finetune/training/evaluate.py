"""What the tuned model is worth beside its base: both are asked the same, and all that they say is kept."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from agent_memory.errors import AgentMemoryError
from agent_memory.finetune.gates import Gate
from agent_memory.finetune.index import VALIDATION
from agent_memory.finetune.pipeline import Progress, Tell
from agent_memory.finetune.run import Outcome, Run
from agent_memory.finetune.training import bar, base, questions, recall, source
from agent_memory.finetune.training.answers import Asked
from agent_memory.finetune.training.interval import Rate
from agent_memory.finetune.training.score import Message, Question, Scores, compare, score

SMOKE_QUESTIONS = 40
PROBES = 30
"""Places in training rows, at which it is asked what was learned by heart."""
BASE, TUNED = "base", "tuned"
SCORES = "scores.json"


def smoke_check(run: Run, tell: Tell) -> Outcome:
    """Whether a short training taught the model to make calls at all."""
    source.manifest(run.data)
    asked = Asked(run, base.folder(run), run.smoke / run.adapter.name)
    wanted = min(SMOKE_QUESTIONS, run.config.evaluation.questions)
    chosen = questions.choose(source.rows(run.data, VALIDATION), wanted, asked.fits)
    chosen = [question for question in chosen if question.expected.get("tool_calls")]
    answers = _told(asked, chosen, "after the smoke training", tell)
    scores = score(chosen, answers)
    folder = run.smoke / run.evaluation.name
    questions.write(folder, chosen)
    questions.record(folder, TUNED, answers, scores)
    return Outcome(gates=bar.smoke(scores), numbers={"tuned": scores.as_dict()})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    scores: Scores
    by_heart: Rate
    """Of the places in training rows."""
    longest: int
    """The longest run of words of a training row in any answer."""
    leaked: list[str]
    seconds: float


def check(run: Run, tell: Tell) -> Outcome:
    """The merged model and its base, asked the same held-out questions; what the model gives away of its rows."""
    source.manifest(run.data)
    if not (run.merged / "config.json").exists():
        raise AgentMemoryError(
            f"The trained model {run.merged} is gone.", "Train it again, under another name."
        )
    planted = recall.canaries(run.folder)
    tuned = Asked(run, run.merged)
    chosen = questions.choose(source.rows(run.data, VALIDATION), run.config.evaluation.questions, tuned.fits)
    probes = [q for q in questions.choose(source.rows(run.data), PROBES, tuned.fits) if _is_long(q)]
    leads = recall.leads(planted, source.rows(run.data)) if planted else []
    questions.write(run.evaluation, chosen)
    after = _examine(run, tuned, TUNED, chosen, probes, leads, planted, tell)
    del tuned
    before = _examine(run, Asked(run, base.folder(run)), BASE, chosen, probes, leads, planted, tell)
    canaries = Rate(len(after.leaked), len(planted)) if planted else None
    gates = [*bar.full(after.scores, before.scores, canaries=canaries), _by_heart_gate(after, before)]
    numbers = {
        "questions": len(chosen),
        BASE: before.scores.as_dict(),
        TUNED: after.scores.as_dict(),
        "difference": {name: one.as_dict() for name, one in compare(before.scores, after.scores).items()},
        "by heart": {BASE: before.by_heart.as_dict(), TUNED: after.by_heart.as_dict()},
        "longest by heart": {BASE: before.longest, TUNED: after.longest},
        "seconds an answer": {BASE: before.seconds, TUNED: after.seconds},
    }
    (run.evaluation / SCORES).write_text(json.dumps(numbers, indent=2, ensure_ascii=False), encoding="utf-8")
    return Outcome(gates=gates, numbers=numbers)


def _examine(
    run: Run,
    asked: Asked,
    who: str,
    chosen: Sequence[Question],
    probes: Sequence[Question],
    leads: Sequence[Question],
    planted: Sequence[str],
    tell: Tell,
) -> _Found:
    began = time.monotonic()
    answers = _told(asked, chosen, who, tell)
    seconds = (time.monotonic() - began) / max(1, len(chosen))
    scores = score(chosen, answers)
    questions.record(run.evaluation, who, answers, scores)
    probed = _told(asked, [*probes, *leads], f"{who}, on what it was trained on", tell)
    questions.record(run.evaluation, f"{who}.probes", probed, score([*probes, *leads], probed))
    runs_ = recall.by_heart([*probes, *chosen], [*probed[: len(probes)], *answers], source.rows(run.data))
    of_probes = runs_[: len(probes)]
    said = [str(answer.get("raw") or "") for answer in [*answers, *probed]]
    return _Found(
        scores=scores,
        by_heart=Rate(sum(run_ >= recall.WORDS for run_ in of_probes), len(probes)),
        longest=max(runs_, default=0),
        leaked=recall.given_away(planted, said),
        seconds=round(seconds, 2),
    )


def _told(asked: Asked, chosen: Sequence[Question], who: str, tell: Tell) -> list[Message]:
    began = time.monotonic()

    def count(done: int) -> None:
        pace = (time.monotonic() - began) / done
        tell(
            Progress(
                text=f"{who}: {done} of {len(chosen)} answers",
                done=done / len(chosen),
                seconds_left=round(pace * (len(chosen) - done), 1),
            )
        )

    return asked.answers(chosen, count) if chosen else []


def _is_long(question: Question) -> bool:
    said: dict[str, Any] = question.expected
    words = recall.WORDS
    return len(json.dumps([said.get("content"), said.get("tool_calls")], ensure_ascii=False).split()) >= words


def _by_heart_gate(after: _Found, before: _Found) -> Gate:
    """It says, and stops nothing: what a model has to know by heart, such as a project's own commands, is long too."""
    more = after.by_heart.interval[0] > before.by_heart.value
    return Gate(
        name="by heart",
        wants=f"known: how often {recall.WORDS} words of a training row come out in its place",
        found=f"{after.by_heart}; base {before.by_heart}; the longest {after.longest} words",
        warning="the model says training rows word by word: look at evaluation/tuned.probes.jsonl"
        if more
        else None,
    )
