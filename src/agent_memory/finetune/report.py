"""The report of a run: `report.json`, for programs."""

from __future__ import annotations

import json

from agent_memory.finetune import register
from agent_memory.finetune.run import Run

PAGE = "report.html"


def write(run: Run) -> None:
    """Write the report of the run as it is now, failed or not."""
    told = {
        "name": run.name,
        "created": run.created,
        "config": run.config.model_dump(mode="json"),
        "data_set": register.manifest(run),
        "steps": run.steps_told(),
        "metrics": register.metrics(run),
        "retracted": run.retracted,
    }
    text = json.dumps(told, indent=2, ensure_ascii=False)
    (run.folder / "report.json").write_text(text + "\n", encoding="utf-8")
