"""The wizard's first screens: what to train, or which run to go on with."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual import on
from textual.app import App, ComposeResult
from textual.binding import Binding
from textual.screen import Screen
from textual.widgets import Footer, Label, OptionList
from textual.widgets.option_list import Option

from agent_memory.errors import AgentMemoryError
from agent_memory.finetune import compared, pipeline
from agent_memory.finetune import run as runs
from agent_memory.finetune.config import Base, TrainConfig
from agent_memory.finetune.run import Run
from agent_memory.finetune.wizard.asking import tell_error
from agent_memory.finetune.wizard.form import Form
from agent_memory.finetune.wizard.running import RunScreen


class Wizard(App[None]):
    CSS_PATH = "wizard.tcss"
    TITLE = "agent-memory wizard"
    ENABLE_COMMAND_PALETTE = False

    def __init__(self, run: Run | None = None) -> None:
        super().__init__()
        self._run = run

    def on_mount(self) -> None:
        if self._run is not None:
            self.push_screen(RunScreen(self._run))
        elif runs.every():
            self.push_screen(Choice())
        else:
            self.configure_new()

    def configure_new(self) -> None:
        def begin(config: TrainConfig | None) -> None:
            if config is None:
                if not runs.every():
                    self.exit()
                return
            try:
                self.push_screen(RunScreen(pipeline.begin(config)))
            except AgentMemoryError as error:
                tell_error(self, error)
                self.push_screen(Form(config, title="A new run"), begin)

        free = next(
            name
            for name in ("my-model", *(f"my-model-{n}" for n in range(2, 1_000)))
            if name not in {run.name for run in runs.every()}
        )
        config = TrainConfig(name=free, base=Base(model="~/models/base"))
        self.push_screen(Form(config, title="A new run: what to train, on what, and how"), begin)


class Choice(Screen[None]):
    """A new run, or one to go on with."""

    BINDINGS: ClassVar = [Binding("q", "app.quit", "Quit")]

    def compose(self) -> ComposeResult:
        yield Label("Begin a run, or go on with one", id="title")
        yield OptionList(id="runs")
        yield Footer()

    def on_screen_resume(self) -> None:
        options = self.query_one(OptionList)
        options.clear_options()
        options.add_option(Option("A new run", id="new"))
        for run in runs.every():
            line = Text.assemble(f"{run.name:<24} ", (compared.standing(run), "dim"))
            options.add_option(Option(line, id=str(run.folder)))
        options.highlighted = 0
        options.focus()

    @on(OptionList.OptionSelected)
    def choose(self, event: OptionList.OptionSelected) -> None:
        app = self.app
        assert isinstance(app, Wizard)
        if event.option.id == "new":
            app.configure_new()
        elif event.option.id is not None:
            app.push_screen(RunScreen(runs.load(Path(event.option.id))))
