"""The whole pipeline through the command line, from session files on, with a tiny model of random weights: it meets its
gates, and the one that a model which cannot make a call must meet."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import yaml

from agent_memory import settings
from agent_memory.capture.backfill import backfill, find
from agent_memory.cli import main
from agent_memory.database import Connection
from agent_memory.finetune import run as runs
from agent_memory.finetune import store
from tests import llama_cpp, tiny_model, transcripts


@pytest.mark.timeout(600)
def test_a_model_that_cannot_make_a_call_is_stopped_before_the_long_training(
    conn: Connection,
    database_url: str,
    home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    llama_cpp.into(home)
    folder = transcripts.write(tmp_path / "projects", projects=6, sessions=5)
    backfill(conn, find([folder]), settings.load(), lambda _: None)
    conn.commit()
    base = tiny_model.make_model(tmp_path / "base", tiny_model.texts(tiny_model.rows(40)))
    config = tmp_path / "train_config.yaml"
    config.write_text(
        yaml.safe_dump(
            {
                "name": "tiny",
                "base": {"model": str(base)},
                "lora": {"rank": 4, "alpha": 8},
                "training": {
                    "context": 2_048,
                    "batch": 2,
                    "accumulate": 1,
                    "dtype": "float32",
                    "device": "cpu",
                },
                "smoke": {"rows": 8},
                "evaluation": {"questions": 8, "max_new_tokens": 16},
            }
        )
    )
    monkeypatch.setattr(sys, "argv", ["agent-memory", "wizard", "--config", str(config), "--no-tui"])
    with pytest.raises(SystemExit) as ended:
        main.main()
    said = capfd.readouterr()
    assert ended.value.code == 23, said.err
    run = runs.find("tiny")
    assert {name: step.state for name, step in run.steps.items()} == {
        "environment": "passed",
        "dataset": "passed",
        "smoke": "passed",
        "smoke-check": "failed",
    }
    audited = {gate["name"] for gate in run.steps["dataset"].gates}
    assert {"secrets", "the same session on both sides", "loops"} <= audited
    assert not run.merged.exists()
    (row,) = store.training_runs(conn)
    assert row["data_set_id"] is not None
    assert row["steps"]["smoke-check"]["state"] == "failed"
    told = json.loads(run.report.with_suffix(".json").read_text(encoding="utf-8"))
    assert told["standing"] == "Smoke check: a gate failed"
    assert told["data_set"]["rows"]["train"] > 10
    assert "calls that can be read" in run.report.read_text(encoding="utf-8")
