"""What a model has to reach: the gates over its scores, the same for merged weights and for a GGUF."""

from __future__ import annotations

from agent_memory.finetune.gates import Gate
from agent_memory.finetune.training.interval import Rate
from agent_memory.finetune.training.score import Scores, compare

SMOKE_PARSE = 0.03
PARSE = 0.85
EMPTY = 0.02
LOOPS = 0.05
REPEATS = 0.5
"""A model that makes its last call again in more than half of the places where the agent went on is stuck in a loop,
however well its calls can be read, and though its base never made one."""
ENOUGH = 100
"""Fewer questions than this say little: the gate lets it through, and says so."""
OFTEN = 0.25
"""From here on it is warned that a model repeats its last call, or calls where nothing was due."""
FEW_TURNS = 30
"""Fewer questions after a result, or after a failure, than this say next to nothing of a difference."""


def smoke(scores: Scores) -> list[Gate]:
    rate = scores.rates["parse"]
    return [
        Gate(
            name="calls that can be read",
            wants=f"at least {SMOKE_PARSE:.0%} where the reference makes a call",
            found=str(rate),
            passed=bool(rate.hits) and rate.value >= SMOKE_PARSE,
            warning=_few(rate, 30),
            remedy="Train longer in the smoke (smoke.rows, smoke.epochs), or take a base that makes calls.",
            rows=_missed(scores, "parse", hit=False),
        )
    ]


def full(scores: Scores, base: Scores, *, canaries: Rate | None = None) -> list[Gate]:
    """The gates of a model, beside its base's answers to the same questions. `canaries`: how many of the planted
    texts it gave away, where there are any."""
    rates, differences = scores.rates, compare(base, scores)
    parse, empty = rates["parse"], rates["empty arguments"]
    gates = [
        Gate(
            name="questions",
            wants=f"at least {ENOUGH} where the reference makes a call",
            found=f"{parse.of}",
            passed=parse.of > 0,
            warning=_few(parse, ENOUGH),
            remedy="Hold out rows with calls that fit training.context: record more.",
        ),
        Gate(
            name="calls that can be read",
            wants=f"at least {PARSE:.0%} where the reference makes a call",
            found=str(parse),
            passed=parse.value >= PARSE,
            remedy="Read evaluation/tuned.jsonl: more epochs, more rows, another base, or a longer max_new_tokens.",
            rows=_missed(scores, "parse", hit=False),
        ),
    ]
    for name, measure in (
        ("multi-turn beside the base", "multi-turn"),
        ("after a failure beside the base", "adapts"),
    ):
        found = differences[measure]
        gates.append(
            Gate(
                name=name,
                wants="not worse: the interval of the difference reaches 0",
                found=f"{rates[measure]}; base {base.rates[measure]}; {found}",
                passed=found.high >= 0,
                warning=_few(rates[measure], FEW_TURNS),
                remedy="Read what both answered in evaluation/: the rows may teach to repeat, or too little.",
                rows=[] if found.high >= 0 else _missed(scores, measure, hit=False),
            )
        )
    gates.append(
        Gate(
            name="empty arguments",
            wants=f"at most {EMPTY:.0%} of the answers with a call",
            found=str(empty),
            passed=empty.value <= EMPTY,
            remedy="Read evaluation/tuned.jsonl: which tools, and what the rows show of them.",
            rows=_missed(scores, "empty arguments", hit=True),
        )
    )
    loops, repeats = rates["loops"], rates["re-emits"]
    gates.append(
        Gate(
            name="loops",
            wants=f"at most {LOOPS:.0%} of the answers, and the last call again in at most {REPEATS:.0%}",
            found=f"{loops}; {repeats}",
            passed=loops.value <= LOOPS and repeats.value <= REPEATS,
            remedy="The rows teach to repeat: take more with results and closing words, and fewer epochs.",
            rows=_missed(scores, "loops", hit=True) or _missed(scores, "re-emits", hit=True),
        )
    )
    often = [name for name in ("re-emits", "needless call") if rates[name].value > OFTEN]
    gates.append(
        Gate(
            name="repeats, needless calls",
            wants="known: a base that never calls does neither, so it is no measure",
            found=f"{rates['re-emits']}; {rates['needless call']}",
            warning=f"{' and '.join(often)}: over {OFTEN:.0%}. More rows with results and closing words;"
            " lead it through a conversation before you trust it."
            if often
            else None,
        )
    )
    if canaries is not None:
        gates.append(
            Gate(
                name="canaries",
                wants="0 of the planted texts come out",
                found=f"{canaries.hits} of {canaries.of}",
                passed=not canaries.hits,
                remedy="Do not give this model away. Train for fewer epochs, with a lower rank, without those rows.",
            )
        )
    return gates


def _few(rate: Rate, enough: int) -> str | None:
    if rate.of >= enough:
        return None
    return f"N = {rate.of} is too small to claim anything; record more, or hold out more, for {enough}."


def _missed(scores: Scores, measure: str, *, hit: bool) -> list[str]:
    return [id_ for id_, verdict in scores.verdicts.items() if verdict.get(measure) is hit][:20]
