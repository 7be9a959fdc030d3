"""A training run's steps: performed in their own processes, stopped, killed, gone on with; with steps of a toy."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from tests.conftest import REPOSITORY
from typer.testing import CliRunner

from agent_memory.cli import finetune_steps
from agent_memory.cli.main import app
from agent_memory.database import Connection
from agent_memory.errors import AgentMemoryError
from agent_memory.finetune import pipeline, register, store
from agent_memory.finetune import run as runs
from agent_memory.finetune.config import Base, Lora, TrainConfig
from agent_memory.finetune.pipeline import Progress, Step, StepFailedError, StepNotDoneError
from agent_memory.finetune.run import Run

CONFIG = TrainConfig(name="toy", base=Base(model="/no/base"))
WAIT_S = 30.0


def toy(name: str, function: str, code: int = 20) -> Step:
    return Step(name, name.title(), f"tests.toy_steps:{function}", code)


@pytest.fixture(autouse=True)
def toys(monkeypatch: pytest.MonkeyPatch, database_url: str) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    use(monkeypatch, toy("environment", "passes", 20), toy("dataset", "passes", 21))


def use(monkeypatch: pytest.MonkeyPatch, *steps: Step) -> None:
    monkeypatch.setattr(pipeline, "STEPS", steps)
    monkeypatch.setattr(pipeline, "NAMES", tuple(step.name for step in steps))


def silent(_: Progress) -> None: ...


def until(happened: Callable[[], bool]) -> None:
    ends = time.monotonic() + WAIT_S
    while not happened():
        assert time.monotonic() < ends, "it did not happen"
        time.sleep(0.02)


def pids(run: Run) -> list[int]:
    until(lambda: (run.folder / "pids").exists() and len((run.folder / "pids").read_text().split()) == 2)
    return [int(pid) for pid in (run.folder / "pids").read_text().split()]


def gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_a_step_passes_and_is_written_down_in_the_folder_and_in_the_database(conn: Connection) -> None:
    run = runs.begin(CONFIG)
    told: list[Progress] = []
    first, second = pipeline.STEPS
    assert pipeline.next_step(run) == first
    pipeline.perform(run, first, told.append)
    step = runs.load(run.folder).steps["environment"]
    assert (step.state, step.numbers, step.gates[0]["name"]) == ("passed", {"rows": 3}, "it works")
    assert step.peak_mb > 5
    assert pipeline.next_step(run) == second
    texts = [one.text for one in told]
    assert {"half of it", "a library prints", '{"progress": {"text": "not ours"}}'} <= set(texts)
    assert [one.numbers for one in told if one.numbers] == [{"loss": 1.5}]
    assert "a library prints" in (run.logs / "environment.log").read_text()
    (row,) = store.training_runs(conn)
    assert (row["name"], row["steps"]["environment"]["state"]) == ("toy", "passed")


def test_a_gate_that_fails_has_its_steps_exit_code_and_stops_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, toy("environment", "passes"), toy("dataset", "fails", 21), toy("smoke", "passes"))
    run = runs.begin(CONFIG)
    pipeline.perform(run, pipeline.STEPS[0], silent)
    with pytest.raises(StepFailedError) as stopped:
        pipeline.perform(run, pipeline.STEPS[1], silent)
    assert stopped.value.exit_code == 21
    assert "size: 2, wanted 3" in stopped.value.problem
    assert "Make it larger." in stopped.value.remedy
    with pytest.raises(AgentMemoryError, match="comes after Dataset"):
        pipeline.perform(run, pipeline.STEPS[2], silent)
    assert (run.folder / "report.json").exists()


def test_a_step_that_may_not_begin_prints_nothing_of_what_an_earlier_attempt_found(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    use(monkeypatch, toy("environment", "passes"), toy("check", "fails", 25), toy("train", "passes"))
    run = runs.begin(CONFIG)
    finetune_steps.perform(run, pipeline.STEPS[0])
    assert "it works" in capsys.readouterr().out
    for arguments in (["evaluate", "toy"], ["evaluate", "toy", "--json"]):
        monkeypatch.setattr(register, "refuse_stale", lambda _: None)
        with pytest.raises(StepFailedError):
            pipeline.perform(runs.load(run.folder), pipeline.STEPS[1], silent)
        monkeypatch.setattr(register, "refuse_stale", forgotten)
        refused = CliRunner().invoke(app, ["finetune", *arguments])
        assert "forgotten" in str(refused.exception)
        assert refused.stdout == ""
    with runs.locked(run):
        run.retracted = {"at": runs.now(), "because": "it knows too much"}
        runs.save(run)
    with pytest.raises(AgentMemoryError, match="it knows too much"):
        finetune_steps.perform(run, pipeline.STEPS[0])
    assert capsys.readouterr().out == ""
    refused = CliRunner().invoke(app, ["finetune", "train", "toy", "--json"])
    assert json.loads(refused.stdout) == {}


def forgotten(_: Run) -> str | None:
    raise AgentMemoryError("Something was forgotten.", "Make it again.")


def test_a_step_that_cannot_be_done_says_why_and_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, toy("environment", "cannot"))
    run = runs.begin(CONFIG)
    with pytest.raises(StepNotDoneError, match="The sky is down") as refused:
        pipeline.perform(run, pipeline.STEPS[0], silent)
    assert (refused.value.remedy, refused.value.exit_code) == ("Lift it.", 1)


def test_a_step_that_crashes_is_told_with_its_last_words(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, toy("environment", "crashes"))
    run = runs.begin(CONFIG)
    with pytest.raises(StepNotDoneError, match="ended with 1: ZeroDivisionError: by a zero"):
        pipeline.perform(run, pipeline.STEPS[0], silent)
    assert "Traceback" in (run.logs / "environment.log").read_text()


def test_a_step_that_is_stopped_ends_with_all_that_it_started_and_can_be_begun_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    use(monkeypatch, toy("environment", "sleeps_once"))
    run = runs.begin(CONFIG)
    stops: list[Callable[[], None]] = []
    thread = threading.Thread(target=lambda: (pids(run), stops[0]()))
    thread.start()
    with pytest.raises(StepNotDoneError, match="It was stopped"):
        pipeline.perform(run, pipeline.STEPS[0], silent, started=stops.append)
    thread.join()
    assert all(gone(pid) for pid in pids(run))
    assert runs.load(run.folder).steps["environment"].state == "stopped"
    pipeline.perform(run, pipeline.STEPS[0], silent)
    assert runs.load(run.folder).steps["environment"].state == "passed"


PERFORM = """
import sys
from pathlib import Path
from agent_memory.finetune import pipeline, run as runs
from agent_memory.finetune.pipeline import Step
pipeline.STEPS = (Step("environment", "Environment", "tests.toy_steps:sleeps_once", 20),)
pipeline.perform(runs.load(Path(sys.argv[1])), pipeline.STEPS[0], lambda _: None)
"""


def perform_elsewhere(run: Run) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", PERFORM, str(run.folder)], stderr=subprocess.PIPE)


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_command_that_is_killed_takes_its_step_along_and_the_run_goes_on_afterwards(
    monkeypatch: pytest.MonkeyPatch, sign: signal.Signals
) -> None:
    use(monkeypatch, toy("environment", "sleeps_once"))
    run = runs.begin(CONFIG)
    with perform_elsewhere(run) as parent:
        children = pids(run)
        assert runs.load(run.folder).steps["environment"].state == "running"
        with pytest.raises(AgentMemoryError, match="Another process is at work"):
            pipeline.perform(run, pipeline.STEPS[0], silent)
        parent.send_signal(sign)
        assert parent.wait(WAIT_S) != 0
    until(lambda: all(gone(pid) for pid in children))
    until(lambda: not runs.is_locked(run.folder))
    assert runs.load(run.folder).steps["environment"].state == "stopped"
    pipeline.perform(runs.load(run.folder), pipeline.STEPS[0], silent)
    assert runs.load(run.folder).steps["environment"].state == "passed"


def test_a_step_whose_own_process_is_killed_says_that_memory_may_have_run_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    use(monkeypatch, toy("environment", "sleeps_once"))
    run = runs.begin(CONFIG)
    thread = threading.Thread(target=lambda: os.kill(pids(run)[0], signal.SIGKILL))
    thread.start()
    with pytest.raises(StepNotDoneError, match="was killed; the system does that where memory runs out"):
        pipeline.perform(run, pipeline.STEPS[0], silent)
    thread.join()
    until(lambda: gone(pids(run)[1]))
    pipeline.perform(run, pipeline.STEPS[0], silent)
    assert runs.load(run.folder).steps["environment"].state == "passed"


def test_a_changed_configuration_voids_the_steps_that_it_touches(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, *(toy(name, "passes") for name in ("environment", "dataset", "smoke")))
    run = pipeline.begin(CONFIG)
    for step in pipeline.STEPS[:2]:
        pipeline.perform(run, step, silent)
    other = CONFIG.model_copy(update={"lora": Lora(rank=4)})
    with pytest.raises(AgentMemoryError, match=r"another configuration: lora\.rank"):
        pipeline.begin(other)
    changed = pipeline.begin(other, change=True)
    assert list(changed.steps) == ["environment", "dataset"]
    assert runs.load(run.folder).config == other
    renamed = pipeline.begin(
        other.model_copy(update={"training": other.training.model_copy(update={"context": 512})}), change=True
    )
    assert list(renamed.steps) == []


def test_a_retracted_run_does_nothing_more() -> None:
    run = runs.begin(CONFIG)
    run.retracted = {"at": runs.now(), "because": "it talks too much"}
    runs.save(run)
    with pytest.raises(AgentMemoryError, match="was retracted: it talks too much"):
        pipeline.perform(run, pipeline.STEPS[0], silent)


def test_a_run_without_a_database_goes_on_and_says_so(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    home.mkdir(mode=0o700)
    (home / "config.toml").write_text('database_url = "postgresql://nobody@127.0.0.1:1/none"\n')
    monkeypatch.delenv("DATABASE_URL")
    run = runs.begin(CONFIG)
    told: list[Progress] = []
    pipeline.perform(run, pipeline.STEPS[0], told.append)
    assert any("not in the database, only in its folder" in one.text for one in told)
    assert json.loads((run.folder / "run.json").read_text())["steps"]["environment"]["state"] == "passed"
