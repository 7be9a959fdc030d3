"""The report of a run, also of one that failed: `report.html` to read, `report.json` for programs.

It shows what models answered, word by word, since that catches what a number hides. So it holds texts of the journal,
and stays in the run's folder; the database has the numbers.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psycopg

from agent_memory import __version__
from agent_memory.errors import AgentMemoryError
from agent_memory.finetune import compared, files, page, pipeline, register
from agent_memory.finetune import run as runs
from agent_memory.finetune.run import Run

MOST_ANSWERS = 40
"""Held-out questions that are shown: those at which base and tuned model differ, before others."""


def write(run: Run) -> dict[str, Any]:
    """Write the report of the run as it is now, and return what `report.json` holds."""
    told = gather(run)
    _replace(run.report.with_suffix(".json"), json.dumps(told, indent=2, ensure_ascii=False) + "\n")
    _replace(run.report, page.render(told))
    return told


def gather(run: Run) -> dict[str, Any]:
    return {
        "made_by": f"agent-memory {__version__}",
        "made_at": runs.now(),
        "name": run.name,
        "folder": str(run.folder),
        "models": str(run.models),
        "created": run.created,
        "standing": compared.standing(run),
        "retracted": run.retracted,
        "stale": _stale(run),
        "left": [str(place) for place in files.left(run)],
        "config": run.config.model_dump(mode="json"),
        "data_set": register.manifest(run),
        "steps": [
            {"name": step.name, "title": step.title, **asdict(run.steps[step.name])}
            for step in pipeline.STEPS
            if step.name in run.steps
        ],
        "metrics": register.metrics(run),
        "scenarios": list(
            _beside(_lines(run.evaluation / "chat.base.jsonl"), _lines(run.evaluation / "chat.tuned.jsonl"))
        ),
        "answers": sorted(_answers(run), key=lambda one: not one["differs"])[:MOST_ANSWERS],
        "files": files.made(run),
        "texts": run.evaluation.exists(),
    }


def _stale(run: Run) -> list[dict[str, Any]]:
    try:
        with register.database() as conn:
            return [asdict(one) for one in register.forgotten(conn, run)]
    except (AgentMemoryError, psycopg.Error):
        return []


def _answers(run: Run) -> Iterator[dict[str, Any]]:
    """Held-out questions with both models' answers, as conversations: what was asked last, and what came."""
    asked = _lines(run.evaluation / "questions.jsonl")
    both = [_lines(run.evaluation / f"{who}.jsonl") for who in ("base", "tuned")]
    for answers in both:
        for id_, one in answers.items():
            question = asked.get(id_) or {}
            one["messages"] = [
                *(question.get("messages") or [])[-2:],
                {**(one.pop("answer", None) or {}), "role": "assistant"},
                {**(question.get("expected") or {}), "role": "the agent, then"},
            ]
    yield from _beside(*both)


def _beside(base: dict[str, Any], tuned: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """What base and tuned model answered to the same: `id`, `base`, `tuned` (None: it was not asked), `differs`."""
    for id_ in dict.fromkeys([*base, *tuned]):
        one, other = base.get(id_), tuned.get(id_)
        yield {"id": id_, "base": one, "tuned": other, "differs": one != other}


def _lines(file: Path) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    with contextlib.suppress(OSError), file.open(encoding="utf-8") as lines:
        for line in lines:
            with contextlib.suppress(ValueError):
                told = json.loads(line)
                found[str(told.get("id") or told.get("scenario") or len(found))] = told
    return found


def _replace(file: Path, text: str) -> None:
    draft = file.with_suffix(".new")
    draft.touch(mode=0o600)
    draft.write_text(text, encoding="utf-8")
    draft.replace(file)
