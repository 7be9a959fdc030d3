"""The questions: places in held-out rows, chosen the same way each time and written down, so that base, tuned model and
GGUF are asked the same."""

from __future__ import annotations

import hashlib
import heapq
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from agent_memory.errors import AgentMemoryError
from agent_memory.finetune.training.score import Message, Question, Scores

FILE = "questions.jsonl"
AFTER_FAILURE = 1 / 3
"""So many of the questions, at most, come after a failure."""
WORDS = 1 / 4
"""So many more are places where the reference speaks and calls nothing."""
Kind = Literal["failure", "call", "words"]


def choose(
    rows: Iterable[Mapping[str, Any]], wanted: int, fits: Callable[[Question], bool] = lambda _: True
) -> list[Question]:
    """`wanted` questions where the reference makes a call, those after a failure first, and some where it speaks.

    `rows`: as published (`id`, `messages`, `tools`, `failed`). From each row one before a second from any: answers in
    one session are alike. `fits`: whether the model can take it; asked of those that are chosen only."""
    limits: dict[Kind, int] = {
        "failure": int(wanted * AFTER_FAILURE),
        "call": wanted,
        "words": max(1, int(wanted * WORDS)),
    }
    best: dict[Kind, list[tuple[int, int, str, Question]]] = {kind: [] for kind in limits}
    for row in rows:
        rank: dict[Kind, int] = dict.fromkeys(limits, 0)
        for question in sorted(_places(row), key=lambda q: _hash(q.id)):
            kind = _kind(question)
            entry = (-rank[kind], -_hash(question.id), question.id, question)
            full = len(best[kind]) >= limits[kind]
            if (not full or entry[:3] > best[kind][0][:3]) and fits(question):
                (heapq.heappushpop if full else heapq.heappush)(best[kind], entry)
            rank[kind] += 1
    failures = [entry[3] for entry in sorted(best["failure"], reverse=True)]
    calls = [entry[3] for entry in sorted(best["call"], reverse=True)][: wanted - len(failures)]
    return [*failures, *calls, *(entry[3] for entry in sorted(best["words"], reverse=True))]


def _places(row: Mapping[str, Any]) -> Iterator[Question]:
    messages: list[Message] = list(row["messages"])
    failed = set(row.get("failed") or ())
    tools = json.loads(row["tools"])
    for place, message in enumerate(messages):
        before = messages[:place]
        if message["role"] != "assistant" or not before or before[-1]["role"] not in ("user", "tool"):
            continue
        results = []
        for one in reversed(before):
            if one["role"] != "tool":
                break
            results.append(one.get("tool_call_id"))
        yield Question(
            id=f"{row['id']}#{place}",
            messages=before,
            tools=tools,
            expected=message,
            after_failure=any(id_ in failed for id_ in results),
        )


def _kind(question: Question) -> Kind:
    if not question.expected.get("tool_calls"):
        return "words"
    return "failure" if question.after_failure else "call"


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8])


def write(folder: Path, questions: Iterable[Question]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / FILE).open("w", encoding="utf-8") as out:
        for question in questions:
            told = {name: getattr(question, name) for name in Question.__slots__}
            out.write(json.dumps(told, ensure_ascii=False) + "\n")


def read(folder: Path) -> list[Question]:
    """The questions of a run's `evaluation`. Raises AgentMemoryError: there are none yet."""
    try:
        with (folder / FILE).open(encoding="utf-8") as lines:
            return [Question(**json.loads(line)) for line in lines]
    except FileNotFoundError as error:
        raise AgentMemoryError(
            f"{folder} has no questions yet.", "Evaluate the run first: agent-memory finetune evaluate NAME"
        ) from error


def record(folder: Path, who: str, answers: Iterable[Message], scores: Scores) -> None:
    """Write `WHO.jsonl`: a line a question, with the answer verbatim and how it was judged. The answers come in the
    order of the questions that were scored."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{who}.jsonl").open("w", encoding="utf-8") as out:
        for answer, (id_, verdict) in zip(answers, scores.verdicts.items(), strict=True):
            out.write(
                json.dumps({"id": id_, "answer": answer, "verdict": verdict}, ensure_ascii=False) + "\n"
            )


def recorded(folder: Path, who: str) -> tuple[list[Message], dict[str, dict[str, bool]]]:
    """What `record` wrote: answers, and the verdicts by question."""
    with (folder / f"{who}.jsonl").open(encoding="utf-8") as lines:
        read_ = [json.loads(line) for line in lines]
    return [one["answer"] for one in read_], {one["id"]: one["verdict"] for one in read_}
