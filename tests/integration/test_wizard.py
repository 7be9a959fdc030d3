"""The wizard, driven by its keys, on steps of a toy; what the screen shows is compared with files. After a change that
is meant: AGENT_MEMORY_TEST_UPDATE=1 writes them anew; look at the difference."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import REPOSITORY
from textual.pilot import Pilot
from textual.widgets import Input, Label, OptionList

from agent_memory import paths
from agent_memory.cli import main
from agent_memory.finetune import config as configs
from agent_memory.finetune import pipeline
from agent_memory.finetune import run as runs
from agent_memory.finetune.config import Base, TrainConfig
from agent_memory.finetune.gates import Gate
from agent_memory.finetune.pipeline import STEPS, Step
from agent_memory.finetune.run import Run, StepRecord
from agent_memory.finetune.wizard.app import Wizard
from agent_memory.finetune.wizard.running import RunScreen

SCREENS = REPOSITORY / "tests" / "fixtures" / "wizard"
UPDATE = bool(os.environ.get("AGENT_MEMORY_TEST_UPDATE"))  # read here: a test clears our variables
WAIT_S = 40.0
Drive = Callable[[Pilot[None]], Awaitable[None]]
SIZES = ((80, 24), (120, 40))


@pytest.fixture(autouse=True)
def toys(monkeypatch: pytest.MonkeyPatch, database_url: str, home: Path) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    monkeypatch.setattr("agent_memory.finetune.register.refuse_stale", lambda _: None)
    paths.make_private(home)
    use(monkeypatch)


def use(monkeypatch: pytest.MonkeyPatch, **functions: str) -> None:
    """The steps as they are, each with a toy's function."""
    steps = [
        Step(
            s.name,
            s.title,
            f"tests.toy_steps:{functions.get(s.name.replace('-', '_'), 'passes')}",
            s.exit_code,
        )
        for s in STEPS
    ]
    monkeypatch.setattr(pipeline, "STEPS", tuple(steps))


def config(name: str = "toy") -> TrainConfig:
    return TrainConfig(name=name, base=Base(model="~/models/base"))


def drive(app: Wizard, what: Drive, size: tuple[int, int] = (80, 24)) -> None:
    async def all_of_it() -> None:
        async with app.run_test(size=size, notifications=True) as pilot:
            await pilot.pause()
            await what(pilot)

    asyncio.run(all_of_it())


async def until(pilot: Pilot[None], happened: Callable[[], bool]) -> None:
    for _ in range(int(WAIT_S / 0.05)):
        if happened():
            await pilot.pause()
            return
        await pilot.pause(0.05)
    raise AssertionError(screen(pilot))


def screen(pilot: Pilot[None]) -> str:
    strips = pilot.app.screen._compositor.render_strips()
    return "\n".join(strip.text.rstrip() for strip in strips).rstrip() + "\n"


def looks_like(pilot: Pilot[None], name: str) -> None:
    shown = screen(pilot)
    width, height = pilot.app.size
    file = SCREENS / f"{name}-{width}x{height}.txt"
    if UPDATE:
        file.write_text(shown, encoding="utf-8")
    assert shown == file.read_text(encoding="utf-8"), f"not as {file.name}:\n{shown}"


def state(run: Run, step: str) -> str | None:
    known = runs.load(run.folder).steps.get(step)
    return known.state if known else None


def record(state: Any, *gates: Gate, error: str | None = None, remedy: str | None = None) -> StepRecord:
    told = [gate.as_dict() for gate in gates]
    return StepRecord(state, "2026-11-25T10:00:00+00:00", 61.0, 812.0, told, {}, error, remedy)


def stopped_by_a_gate() -> Run:
    run = runs.begin(config())
    share = Gate(
        name="project share", wants="at most 30%", found="62.0%", warning="One project has 62% of the rows."
    )
    run.steps["environment"] = record(
        "passed", Gate(name="memory", wants="about 3.1 GB", found="17.2 GB free")
    )
    run.steps["dataset"] = record("passed", Gate(name="secrets", wants="0", found="0 rows at fault"), share)
    run.steps["smoke"] = record("passed")
    run.steps["smoke-check"] = record("passed")
    run.steps["train"] = record("passed")
    run.steps["check"] = record(
        "failed",
        Gate(
            name="calls that can be read",
            wants="at least 85% where the reference makes a call",
            found="41.0% (32% to 51%, N = 100)",
            passed=False,
            remedy="Record more, or train longer.",
        ),
        Gate(name="canaries", wants="0 of the planted texts come out", found="0 of 5"),
    )
    runs.save(run)
    paths.make_private(run.logs)
    (run.logs / "check.log").write_text("asked 50 of 100\n\x1b[31masked 100 of 100\x1b[0m\n")
    run.metrics.write_text("".join(f'{{"step": {n}, "loss": {3 / (1 + n / 8):.3f}}}\n' for n in range(60)))
    return run


@pytest.mark.parametrize("size", SIZES)
def test_a_run_that_a_gate_stopped_shows_the_gate_its_remedy_and_the_log(size: tuple[int, int]) -> None:
    run = stopped_by_a_gate()

    async def look(pilot: Pilot[None]) -> None:
        looks_like(pilot, "gate-failed")
        await pilot.press("up")
        await pilot.pause()
        looks_like(pilot, "training")
        await pilot.press("up", "up", "up")
        await pilot.pause()
        looks_like(pilot, "let-through")
        await pilot.press("b")
        await pilot.pause()
        looks_like(pilot, "sure")

    drive(Wizard(run), look, size)


@pytest.mark.parametrize("size", SIZES)
def test_a_new_run_is_asked_for_in_a_form_that_says_what_is_wrong(size: tuple[int, int]) -> None:
    async def fill(pilot: Pilot[None]) -> None:
        looks_like(pilot, "form")
        pilot.app.screen.query_one("#lora-rank", Input).value = "none"
        await pilot.press("ctrl+s")
        await pilot.pause()
        wrong = pilot.app.screen.query_one("#wrong-lora-rank", Label)
        assert wrong.display
        assert "valid integer" in str(wrong.render())
        pilot.app.screen.query_one("#lora-rank", Input).value = "4"
        pilot.app.screen.query_one("#name", Input).value = "named"
        await pilot.press("ctrl+s")
        await until(pilot, lambda: isinstance(pilot.app.screen, RunScreen))
        pilot.app.clear_notifications()  # of what was wrong, which stays for some seconds
        await until(pilot, lambda: "Not saved" not in screen(pilot))
        looks_like(pilot, "new-run")

    drive(Wizard(), fill, size)
    (run,) = runs.every()
    assert (run.name, run.config.lora.rank) == ("named", 4)


def test_all_steps_are_done_one_after_the_other_until_a_gate_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, smoke="fails")
    run = runs.begin(config())

    async def work(pilot: Pilot[None]) -> None:
        await pilot.press("a")
        await until(pilot, lambda: state(run, "smoke") == "failed")
        await until(pilot, lambda: "Make it larger." in screen(pilot))
        assert "✗ Smoke training" in screen(pilot)
        assert "· Smoke check" in screen(pilot)

    drive(Wizard(run), work)
    assert [state(run, step) for step in ("environment", "dataset", "smoke-check")] == [
        "passed",
        "passed",
        None,
    ]


def test_one_step_at_a_time_is_done_and_its_log_is_shown() -> None:
    run = runs.begin(config())

    async def work(pilot: Pilot[None]) -> None:
        await pilot.press("n")
        await until(pilot, lambda: "a library prints" in screen(pilot) and "1: passed" not in screen(pilot))
        await until(pilot, lambda: state(run, "environment") == "passed")

    drive(Wizard(run), work)
    assert state(run, "dataset") is None


def test_a_step_is_stopped_and_gone_on_with(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, environment="sleeps_once")
    run = runs.begin(config())

    async def work(pilot: Pilot[None]) -> None:
        await pilot.press("a")
        await until(pilot, lambda: "asleep" in screen(pilot))
        await pilot.press("n")
        await until(pilot, lambda: "Environment is at work." in screen(pilot))
        await pilot.press("s")
        await until(pilot, lambda: state(run, "environment") == "stopped")
        await until(pilot, lambda: "■ Environment" in screen(pilot))
        await pilot.press("n")
        await until(pilot, lambda: state(run, "environment") == "passed")

    drive(Wizard(run), work)


def test_whoever_leaves_stops_the_step_and_is_asked_first(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, environment="sleeps")
    run = runs.begin(config())

    async def work(pilot: Pilot[None]) -> None:
        await pilot.press("n")
        await until(pilot, lambda: "asleep" in screen(pilot))
        await pilot.press("q")
        await until(pilot, lambda: "Stop it and leave?" in screen(pilot))
        await pilot.press("n")
        await pilot.pause()
        assert state(run, "environment") == "running"
        await pilot.press("q")
        await until(pilot, lambda: "Stop it and leave?" in screen(pilot))
        await pilot.press("y")
        await until(pilot, lambda: state(run, "environment") == "stopped")

    app = Wizard(run)
    drive(app, work)
    assert not runs.is_locked(run.folder)


def test_a_wizard_that_is_quit_at_once_stops_its_step(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, environment="sleeps")
    run = runs.begin(config())

    async def work(pilot: Pilot[None]) -> None:
        await pilot.press("n")
        await until(pilot, lambda: "asleep" in screen(pilot))
        await pilot.press("ctrl+q")

    drive(Wizard(run), work)
    assert state(run, "environment") == "stopped"


def test_going_back_voids_what_later_steps_found() -> None:
    run = stopped_by_a_gate()

    async def work(pilot: Pilot[None]) -> None:
        pilot.app.screen.query_one("#steps", OptionList).highlighted = 2
        await pilot.press("b")
        await until(pilot, lambda: "Void what these found" in screen(pilot))
        await pilot.press("y")
        await until(pilot, lambda: list(runs.load(run.folder).steps) == ["environment", "dataset"])
        await until(pilot, lambda: "· Training" in screen(pilot))

    drive(Wizard(run), work)


def test_a_changed_configuration_is_kept_and_what_it_touches_is_done_again() -> None:
    run = stopped_by_a_gate()

    async def work(pilot: Pilot[None]) -> None:
        await pilot.press("e")
        await until(pilot, lambda: "what you change is done again" in screen(pilot))
        assert pilot.app.screen.query_one("#name", Input).disabled
        pilot.app.screen.query_one("#training-epochs", Input).value = "5"
        await pilot.press("ctrl+s")
        await until(pilot, lambda: list(runs.load(run.folder).steps) == ["environment", "dataset"])

    drive(Wizard(run), work)
    assert runs.load(run.folder).config.training.epochs == 5


def test_without_a_run_named_one_is_chosen() -> None:
    stopped_by_a_gate()

    async def choose(pilot: Pilot[None]) -> None:
        looks_like(pilot, "choice")
        await pilot.press("down", "enter")
        await until(pilot, lambda: "· Chat loop" in screen(pilot))

    drive(Wizard(), choose)


def command(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """The command's exit code."""
    monkeypatch.setattr(sys, "argv", ["agent-memory", *arguments])
    with pytest.raises(SystemExit) as ended:
        main.main()
    return int(ended.value.code or 0)


def test_without_screens_all_steps_are_done_with_an_exit_code_for_each_gate(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "train_config.yaml"
    file.write_text(configs.dump(config()))
    use(monkeypatch, smoke_check="fails")
    wizard = ("wizard", "--config", str(file), "--no-tui")
    assert command(monkeypatch, *wizard) == 23
    told = capsys.readouterr()
    assert re.search(r"✗ +size +3 +2", told.out)
    assert "Make it larger." in told.err
    use(monkeypatch, train="cannot")
    assert command(monkeypatch, *wizard) == 1
    use(monkeypatch)
    assert command(monkeypatch, *wizard) == 0
    told = capsys.readouterr()
    assert "has passed every step" in told.out
    assert "Environment" not in told.err  # it went on where it stood
    assert command(monkeypatch, *wizard, "--from", "install") == 0
    assert "Install" in capsys.readouterr().err
    assert [step.exit_code for step in STEPS] == list(range(20, 29))


def test_without_a_terminal_the_wizard_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(monkeypatch, "wizard") == 1
    assert "--no-tui" in capsys.readouterr().err
    assert command(monkeypatch, "wizard", "--no-tui") == 1
    assert "finetune config" in capsys.readouterr().err
