"""The quantised model at work: conversations with tools that no training row has, on a real server, beside the base;
and the held-out questions once more, now asked of the file that is shipped."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from agent_memory.errors import AgentMemoryError
from agent_memory.finetune import gates
from agent_memory.finetune.gates import Gate
from agent_memory.finetune.gguf import files, make, pretend, scenarios, server
from agent_memory.finetune.gguf import llama as programs
from agent_memory.finetune.gguf.scenarios import SCENARIOS, Scenario
from agent_memory.finetune.gguf.server import RefusedError, Server
from agent_memory.finetune.index import TRAIN
from agent_memory.finetune.pipeline import Progress, Tell
from agent_memory.finetune.run import Outcome, Run
from agent_memory.finetune.training import bar, questions
from agent_memory.finetune.training.interval import Rate, difference
from agent_memory.finetune.training.score import (
    Call,
    Message,
    Question,
    Scores,
    ask,
    calls_of,
    compare,
    score,
)

BASE, TUNED = "base", "tuned"
READABLE = 0.85
STEPS = 6
"""How often a model may speak until it answers the user without a call."""
SAME = 3
"""The same call so often is a loop."""
ROOM = 4_096
"""Tokens that a conversation may have, where the model knows so many."""


@dataclass(slots=True, kw_only=True)
class Transcript:
    scenario: str
    kind: str
    tools: list[str]
    solved: bool = False
    why: str = ""
    """Why not."""
    stopped: str | None = None
    """loop, steps, length or room: what ended it before the model did."""
    readable: int = 0
    """Messages with calls that the server could parse."""
    unreadable: int = 0
    calls: int = 0
    valid: int = 0
    """Of a tool that was offered, with arguments that fit its schema."""
    empty: int = 0
    """Without arguments, of a tool that takes some."""
    made_up: list[str] = field(default_factory=list)
    """Values of arguments that neither the user nor a tool named, where too little was said to act on."""
    seconds: float = 0.0
    messages: list[Message] = field(default_factory=list)
    """Verbatim."""


def check(run: Run, tell: Tell) -> Outcome:
    """The step. Transcripts go to `chat.base.jsonl` and `chat.tuned.jsonl`, the answers to held-out questions to
    `gguf.base.jsonl` and `gguf.tuned.jsonl` in `evaluation`."""
    made = run.steps["gguf"].numbers["files"]
    quantization = smallest(made)
    model = run.models / make.file_name(run.name, quantization)
    if not model.is_file():
        raise AgentMemoryError(f"{model} is gone.", f"Make it again: agent-memory finetune gguf {run.name}")
    asked = questions.read(run.evaluation)
    tools = make.find_tools(run)
    tell(Progress(text=f"Making the base as {quantization}, to stand beside {model.name}"))
    alone = make.base_gguf(run, tools, quantization)
    template = _template(run)
    spoken: dict[str, list[Transcript]] = {}
    scores: dict[str, Scores] = {}
    for number, (who, file) in enumerate(((TUNED, model), (BASE, alone))):

        def share(done: float, text: str, *, number: int = number) -> None:
            tell(Progress(text=text, done=(number + done) / 2))

        with server.running(
            programs.need(tools.server, "server"),
            file,
            make.log_file(run),
            context=min(max(run.config.training.context, ROOM), int(made[model.name]["context"])),
            template=template,
        ) as one:
            spoken[who] = converse(run, one, who, share)
            scores[who] = _held_out(run, one, who, asked, share)
    alone.unlink()
    outcome = Outcome(gates=judge(spoken[TUNED], spoken[BASE], seen=_seen(run)))
    for gate in bar.full(scores[TUNED], scores[BASE]):
        gate.name = f"held-out questions: {gate.name}"
        outcome.gates.append(gate)
    outcome.numbers = {
        "quantization": quantization,
        "scenarios": {who: summary(told) for who, told in spoken.items()},
        "held out": {who: found.as_dict() for who, found in scores.items()},
        "difference": {name: one.as_dict() for name, one in compare(scores[BASE], scores[TUNED]).items()},
    }
    return outcome


def converse(run: Run, one: Server, who: str, share: Callable[[float, str], None]) -> list[Transcript]:
    """All scenarios, each written down when it has ended."""
    run.evaluation.mkdir(exist_ok=True)
    told = []
    with (run.evaluation / f"chat.{who}.jsonl").open("w", encoding="utf-8") as out:
        for number, scenario in enumerate(SCENARIOS):
            transcript = play(one.answer, scenario, max_tokens=run.config.evaluation.max_new_tokens)
            told.append(transcript)
            out.write(json.dumps(asdict(transcript), ensure_ascii=False) + "\n")
            out.flush()
            mark = "solved" if transcript.solved else transcript.why
            share(number / len(SCENARIOS) / 2, f"{who}: {scenario.name}: {mark}")
    return told


def play(answer: Callable[..., Message], scenario: Scenario, *, max_tokens: int) -> Transcript:
    """One conversation. A loop, too many steps, an answer without an end, or a conversation that is too long end it."""
    told = Transcript(scenario=scenario.name, kind=scenario.kind, tools=list(scenario.tools))
    offered = [pretend.tool(name) for name in scenario.tools]
    told.messages.append({"role": "system", "content": scenarios.SYSTEM})
    calls: list[Call] = []
    began = time.monotonic()
    for says in scenario.says:
        told.messages.append({"role": "user", "content": says})
        told.stopped = _until_answered(told, calls, offered, answer, max_tokens)
        if told.stopped:
            break
    told.seconds = round(time.monotonic() - began, 2)
    told.calls = len(calls)
    if scenario.kind == "vague":
        told.made_up = scenarios.invented(calls, told.messages)
    told.solved, told.why = scenarios.solved(scenario, calls, told.messages, told.stopped)
    return told


def _until_answered(
    told: Transcript,
    calls: list[Call],
    offered: list[dict[str, Any]],
    answer: Callable[..., Message],
    max_tokens: int,
) -> str | None:
    """Let the model speak, and its calls be done, until it has answered the user. Returns what stopped it."""
    for _ in range(STEPS):
        try:
            message = answer(told.messages, offered, max_tokens=max_tokens)
        except RefusedError:
            return "room"
        told.messages.append(message)
        made = calls_of(message)
        if made is None or message.get("unparsed") or (not made and _meant_a_call(message, offered)):
            told.unreadable += 1
            return None  # whoever reads such an answer has no call to do: it is the end of the turn
        if message.get("finish") == "length":
            return "length"
        if not made:
            return None
        told.readable += 1
        for (name, arguments), call in zip(made, message["tool_calls"], strict=True):
            _count(told, name, arguments, offered)
            calls.append((name, arguments))
            if sum(one == (name, arguments) for one in calls) >= SAME:
                return "loop"
            told.messages.append(
                {
                    "role": "tool",
                    "tool_call_id": call.get("id") or f"call_{len(calls)}",
                    "name": name,
                    "content": pretend.call(name, arguments),
                }
            )
    return "steps"


def _count(told: Transcript, name: str, arguments: dict[str, Any], offered: list[dict[str, Any]]) -> None:
    schema = next((t["function"]["parameters"] for t in offered if t["function"]["name"] == name), None)
    if schema is not None:
        told.valid += bool(gates.validator(schema).is_valid(arguments))
        told.empty += not arguments


def _meant_a_call(message: Message, offered: list[dict[str, Any]]) -> bool:
    """Whether it wrote a call as text: without the tags, nobody parses it."""
    said = str(message.get("content") or "")
    names = "|".join(re.escape(tool["function"]["name"]) for tool in offered)
    return re.search(rf'"name"\s*:\s*"({names})"', said) is not None


def judge(tuned: Sequence[Transcript], base: Sequence[Transcript], *, seen: set[str]) -> list[Gate]:
    """The gates of the conversations. `seen`: names of tools that training rows had."""
    readable = sum(one.readable for one in tuned)
    made = Rate(readable, readable + sum(one.unreadable for one in tuned))
    loops = [one.scenario for one in tuned if one.stopped == "loop"]
    empty = sum(one.empty for one in tuned)
    known = sorted(seen & set(pretend.TOOLS))
    beside = difference([(b.solved, t.solved) for b, t in zip(base, tuned, strict=True)])
    after = Rate(sum(one.solved for one in tuned), len(tuned))
    before = Rate(sum(one.solved for one in base), len(base))
    return [
        Gate(
            name="tools held out",
            wants="no tool of the conversations in training",
            found=", ".join(known) or "none",
            passed=not known,
        ),
        Gate(name="calls made", wants="more than 0", found=f"{readable}", passed=readable > 0),
        Gate(
            name="calls that the server can read",
            wants=f"at least {READABLE:.0%}, where one is made",
            found=str(made),
            passed=made.value >= READABLE,
            rows=[one.scenario for one in tuned if one.unreadable],
        ),
        Gate(
            name="loops",
            wants=f"0: no call {SAME} times",
            found=f"{len(loops)} of {len(tuned)} conversations",
            passed=not loops,
            rows=loops,
        ),
        Gate(
            name="empty arguments",
            wants="0",
            found=f"{empty}",
            passed=not empty,
            rows=[one.scenario for one in tuned if one.empty],
        ),
        Gate(
            name="solved, beside the base",
            wants="not worse: the interval of the difference reaches 0",
            found=f"{after}; base {before}; {beside}",
            passed=beside.high >= 0,
            rows=[t.scenario for b, t in zip(base, tuned, strict=True) if b.solved and not t.solved],
        ),
    ]


def summary(told: Sequence[Transcript]) -> dict[str, Any]:
    """Counts over the conversations, and of those solved by kind."""
    kinds = Counter(one.kind for one in told)
    right = Counter(one.kind for one in told if one.solved)
    calls = sum(one.calls for one in told)
    return {
        "solved": Rate(sum(right.values()), len(told)).as_dict(),
        "by kind": {kind: f"{right[kind]} of {n}" for kind, n in kinds.items()},
        "calls": calls,
        "valid": Rate(sum(one.valid for one in told), calls).as_dict(),
        "unreadable": sum(one.unreadable for one in told),
        "stopped": dict(Counter(one.stopped for one in told if one.stopped)),
        "made up": sum(bool(one.made_up) for one in told),
        "seconds": round(sum(one.seconds for one in told), 1),
    }


def smallest(made: dict[str, Any]) -> str:
    """The quantisation that is tried: what the smallest file can, the larger ones can."""
    whole = [file for file in made.values() if file["quantization"] != "adapter"]
    return str(min(whole, key=lambda file: file["bytes"])["quantization"])


def _held_out(
    run: Run, one: Server, who: str, asked: Sequence[Question], share: Callable[[float, str], None]
) -> Scores:
    def told(done: int, _: Message) -> None:
        share(0.5 + done / len(asked) / 2, f"{who}: {done} of {len(asked)} held-out questions")

    def answer(messages: list[Message], tools: list[dict[str, Any]]) -> Message:
        try:
            return one.answer(messages, tools, max_tokens=run.config.evaluation.max_new_tokens)
        except RefusedError as error:
            return {"role": "assistant", "content": "", "finish": "length", "raw": error.problem}

    answers = ask(asked, answer, told)
    scores = score(asked, answers)
    questions.record(run.evaluation, f"gguf.{who}", answers, scores)
    return scores


def _seen(run: Run) -> set[str]:
    """The names of all tools in the rows for training."""
    found: set[str] = set()
    with (run.data / f"{TRAIN}.jsonl").open(encoding="utf-8") as rows:
        for line in rows:
            found |= {tool["function"]["name"] for tool in json.loads(json.loads(line)["tools"])}
    return found


def _template(run: Run) -> Path:
    """The tuned model's chat template, as a file: the base is asked in the same words."""
    file = files.read(run.models / make.file_name(run.name, smallest(run.steps["gguf"].numbers["files"])))
    template = run.folder / "chat_template.jinja"
    template.write_text(file.template or "", encoding="utf-8")
    return template
