"""The whole pipeline on a real model: from session files in a fresh database, by the command line, through every gate
as it is, to a call of a tool by the quantised model on a real server. Base and tuned are asked the same, the last time
with tools that no row has."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from agent_memory import settings
from agent_memory.capture.backfill import backfill, find
from agent_memory.cli import main
from agent_memory.database import Connection
from agent_memory.finetune import pipeline
from agent_memory.finetune import run as runs
from agent_memory.finetune.gguf import chat, install, make
from agent_memory.finetune.pipeline import Progress
from agent_memory.finetune.run import Outcome, Run, StepRecord
from tests import llama_cpp, transcripts
from tests.e2e import wheels
from tests.e2e.npm import NotAvailableError

pytestmark = [pytest.mark.slow, pytest.mark.timeout(5_400)]
CONFIG: dict[str, Any] = {
    "name": "small",
    "base": {"template": "qwen2_5"},
    "lora": {"rank": 16, "alpha": 32},
    "training": {"epochs": 1, "context": 1_024, "batch": 2, "accumulate": 1, "learning_rate": 1e-3},
    "smoke": {"rows": 24, "epochs": 1},
    "evaluation": {"questions": 16, "max_new_tokens": 96},
}


def test_recorded_sessions_become_a_model_that_calls_tools_it_never_saw(
    conn: Connection,
    database_url: str,
    home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)
    llama_cpp.into(home)
    try:
        base = wheels.smollm2()
    except NotAvailableError as error:
        pytest.skip(f"NOT TESTED: {error}")
    folder = transcripts.write(tmp_path / "projects", projects=10, sessions=14)
    backfill(conn, find([folder]), settings.load(), lambda _: None)
    conn.commit()
    config = tmp_path / "train_config.yaml"
    config.write_text(yaml.safe_dump({**CONFIG, "base": {**CONFIG["base"], "model": str(base)}}))
    monkeypatch.setattr(sys, "argv", ["agent-memory", "wizard", "--config", str(config), "--no-tui"])
    try:
        main.main()
        code = 0
    except SystemExit as ended:
        code = int(ended.code or 0)
    said = capfd.readouterr()
    print(said.out, said.err)
    run = runs.find("small")
    stopped = pipeline.next_step(run)
    assert code == (stopped.exit_code if stopped else 0), said.err
    for step in ("environment", "dataset", "smoke", "smoke-check", "train"):
        assert run.steps[step].state == "passed", step
    beside = run.steps["check"].numbers
    assert beside["tuned"]["parse"]["rate"] > beside["base"]["parse"]["rate"]
    if stopped is not None:
        # So small a model may not pass every gate: the run has ended above, with that gate's code. What comes after
        # is done here by hand, for the test alone: nothing of it is written into the run, or installed.
        by_hand(run, stopped.name)
    spoken = [json.loads(line) for line in (run.evaluation / "chat.tuned.jsonl").read_text().splitlines()]
    assert sum(one["calls"] for one in spoken) > 0
    assert (run.evaluation / "chat.base.jsonl").is_file()
    shipped = list((install.lm_studio() / "agent-memory" / "small").glob("*.gguf"))
    if stopped is not None:
        assert not shipped
        failed = [gate for gate in run.steps[stopped.name].gates if not gate["passed"]]
        told = "; ".join(f"{gate['name']}: {gate['found']}" for gate in failed)
        pytest.xfail(f"NO MODEL WAS SHIPPED: {stopped.title} stopped the run. {told}")
    assert [file.name for file in shipped] == ["small-Q4_K_M.gguf"]


def by_hand(run: Run, stopped: str) -> None:
    def tell(progress: Progress) -> None:
        print(progress.text)

    if pipeline.NAMES.index(stopped) <= pipeline.NAMES.index("gguf"):
        run.steps["gguf"] = record(make.make(run, tell))
    if pipeline.NAMES.index(stopped) < pipeline.NAMES.index("chat"):
        told = chat.check(run, tell)
        print([(gate.name, gate.found, gate.passed) for gate in told.gates])


def record(outcome: Outcome) -> StepRecord:
    return StepRecord(
        "passed", runs.now(), gates=[g.as_dict() for g in outcome.gates], numbers=outcome.numbers
    )
