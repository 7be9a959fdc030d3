"""The screen of a run: its steps, and of the chosen one its gates, its curve and its log."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Callable
from typing import ClassVar

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.screen import Screen
from textual.widgets import Footer, Label, OptionList, ProgressBar, RichLog, Static
from textual.widgets.option_list import Option

from agent_memory.errors import AgentMemoryError
from agent_memory.finetune import compared, pipeline, register
from agent_memory.finetune import run as runs
from agent_memory.finetune.pipeline import Progress, Step
from agent_memory.finetune.run import Run, StepRecord
from agent_memory.finetune.wizard.about import MARKS, about, span
from agent_memory.finetune.wizard.asking import Sure, tell_error
from agent_memory.finetune.wizard.form import Form
from agent_memory.finetune.wizard.plot import plot

KEPT_LINES = 2_000
"""Of a step's log, on the screen; all of it is in the run's folder."""
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f]")


class Told(Message):
    """What the step at work tells, from its thread."""

    def __init__(self, progress: Progress) -> None:
        super().__init__()
        self.progress = progress


class Ended(Message):
    """The step at work has ended; `error`: it did not pass."""

    def __init__(self, error: AgentMemoryError | None) -> None:
        super().__init__()
        self.error = error


class RunScreen(Screen[None]):
    """A run: its steps at the left, what is known of the chosen one at the right."""

    BINDINGS: ClassVar = [
        Binding("n", "next", "Next step"),
        Binding("a", "all", "All steps"),
        Binding("s", "stop", "Stop"),
        Binding("b", "back", "Back to this step"),
        Binding("e", "edit", "Configure"),
        Binding("q", "leave", "Leave"),
    ]

    def __init__(self, run: Run) -> None:
        super().__init__()
        self.run = run
        self._at_work: Step | None = None
        self._go_on = False
        self._stop: Callable[[], None] | None = None
        self._stopping = False
        self._losses: list[float] = []

    def compose(self) -> ComposeResult:
        yield Label(id="title", markup=False)
        with Horizontal():
            yield OptionList(id="steps")
            with Vertical(id="step"):
                yield Static(id="gates")
                with Horizontal(id="progress"):
                    yield ProgressBar(total=1.0, show_eta=False, id="bar")
                    yield Label(id="left", markup=False)
                yield Static(id="plot", markup=False)
                yield RichLog(id="log", max_lines=KEPT_LINES, wrap=True, markup=False)
        yield Footer()

    def on_mount(self) -> None:
        self._show_steps()
        following = pipeline.next_step(self.run) or pipeline.STEPS[-1]
        steps = self.query_one("#steps", OptionList)
        steps.highlighted = pipeline.STEPS.index(self._last_done() or following)
        steps.focus()

    def on_unmount(self) -> None:
        """However the wizard ends, no step goes on without it."""
        if self._at_work is not None:
            self.action_stop()

    def _last_done(self) -> Step | None:
        """The last step of which something is known."""
        return next((step for step in reversed(pipeline.STEPS) if step.name in self.run.steps), None)

    @property
    def _chosen(self) -> Step:
        return pipeline.STEPS[self.query_one("#steps", OptionList).highlighted or 0]

    def on_resize(self) -> None:
        self.call_after_refresh(self._show_plot)

    # What is shown.

    def _show_steps(self) -> None:
        self.query_one("#title", Label).update(
            f"{self.run.name} · {self.run.config.base.model} · {compared.standing(self.run)}"
        )
        steps = self.query_one("#steps", OptionList)
        chosen = steps.highlighted
        with self.prevent(OptionList.OptionHighlighted):
            steps.clear_options()
            for step in pipeline.STEPS:
                mark, style = "·", "dim"
                record = self.run.steps.get(step.name)
                if record:
                    mark, style = MARKS[record.state]
                steps.add_option(Option(Text.assemble((mark, style), f" {step.title}"), id=step.name))
            steps.highlighted = chosen

    @on(OptionList.OptionHighlighted, "#steps")
    def show_step(self) -> None:
        step = self._chosen
        record = self.run.steps.get(step.name)
        self.query_one("#gates", Static).update(about(step, record))
        at_work = step == self._at_work
        self.query_one("#progress").display = at_work
        log = self.query_one("#log", RichLog)
        log.clear()
        file = self.run.logs / f"{step.name}.log"
        if record and file.is_file():
            lines = file.read_text(encoding="utf-8", errors="replace").splitlines()[-KEPT_LINES:]
            for line in lines:
                log.write(_CONTROL.sub("", line))
        self._show_plot()

    def _show_plot(self) -> None:
        widget = self.query_one("#plot", Static)
        step = self._chosen
        losses = self._losses if step == self._at_work else []
        if step.name == "train" and not losses:
            losses = [p["loss"] for p in register.metrics(self.run) if isinstance(p.get("loss"), int | float)]
        height = 6 if self.size.height >= 34 else 4
        lines = plot(
            losses, widget.parent.size.width - 4 if isinstance(widget.parent, Vertical) else 0, height
        )
        widget.display = bool(lines)
        widget.update("\n".join(["loss", *lines]) if lines else "")

    # What is done.

    def action_next(self) -> None:
        self._go_on = False
        self._begin()

    def action_all(self) -> None:
        self._go_on = True
        self._begin()

    def _begin(self) -> None:
        if self._at_work is not None:
            self.notify(f"{self._at_work.title} is at work.", severity="warning")
            return
        step = pipeline.next_step(self.run)
        if step is None:
            self.notify("Every step has passed. To do one again, choose it and go back to it (b).")
            return
        self._at_work, self._stop, self._stopping = step, None, False
        self._losses = []
        self.run.steps[step.name] = StepRecord("running", runs.now())
        self._show_steps()
        self.query_one("#steps", OptionList).highlighted = pipeline.STEPS.index(step)
        self.show_step()
        self.query_one("#log", RichLog).clear()
        self.query_one("#bar", ProgressBar).update(total=None, progress=0)
        self.query_one("#left", Label).update("")
        self._perform(step)

    @work(thread=True)
    def _perform(self, step: Step) -> None:
        error = None
        try:
            pipeline.perform(
                self.run,
                step,
                lambda progress: _void(self.post_message(Told(progress))),
                started=self._started,
            )
        except AgentMemoryError as told:
            error = told
        self.post_message(Ended(error))

    def _started(self, stop: Callable[[], None]) -> None:
        self._stop = stop
        if self._stopping:
            threading.Thread(target=stop).start()

    @on(Told)
    def hear(self, event: Told) -> None:
        progress = event.progress
        loss = progress.numbers.get("loss")
        if isinstance(loss, int | float):
            self._losses.append(float(loss))
        if self._chosen != self._at_work:
            return
        if progress.text:
            self.query_one("#log", RichLog).write(_CONTROL.sub("", progress.text))
        if progress.done is not None:
            self.query_one("#bar", ProgressBar).update(total=1.0, progress=progress.done)
        if progress.seconds_left is not None:
            self.query_one("#left", Label).update(f"{span(progress.seconds_left)} left")
        if isinstance(loss, int | float):
            self._show_plot()

    @on(Ended)
    def end(self, event: Ended) -> None:
        step, self._at_work, self._stop = self._at_work, None, None
        assert step is not None
        try:
            self.run = runs.load(self.run.folder)
        except AgentMemoryError as error:
            tell_error(self.app, error)
        self._show_steps()
        self.show_step()
        if event.error is not None:
            record = self.run.steps.get(step.name)
            if record is None or record.state in ("passed", "running"):  # it was refused, not done
                tell_error(self.app, event.error)
            elif not self._stopping:
                self.app.bell()
                self.notify(
                    f"{compared.standing(self.run)}. Report: {self.run.report}",
                    severity="error",
                    markup=False,
                )
        elif self._go_on and pipeline.next_step(self.run):
            self._begin()
        elif pipeline.next_step(self.run) is None:
            self.notify(f"Every step has passed. The report: {self.run.report}", markup=False)

    def action_stop(self) -> None:
        if self._at_work is None:
            self.notify("Nothing is at work.")
            return
        self._go_on, self._stopping = False, True
        self.notify(f"{self._at_work.title} is being stopped …")
        if self._stop is not None:
            threading.Thread(target=self._stop).start()

    @work
    async def action_back(self) -> None:
        step = self._chosen
        later = [s.title for s in pipeline.STEPS[pipeline.STEPS.index(step) :] if s.name in self.run.steps]
        if self._at_work is not None:
            self.notify("Stop the step that is at work first (s).", severity="warning")
        elif not later:
            self.notify(f"{step.title} was not done yet.")
        elif await self.app.push_screen_wait(Sure(f"Void what these found: {', '.join(later)}?")):
            try:
                pipeline.back(self.run, step)
            except AgentMemoryError as error:
                tell_error(self.app, error)
            self._show_steps()
            self.show_step()

    @work
    async def action_edit(self) -> None:
        if self._at_work is not None:
            self.notify("Stop the step that is at work first (s).", severity="warning")
            return
        config = await self.app.push_screen_wait(
            Form(self.run.config, title=f"{self.run.name}: what you change is done again", fixed_name=True)
        )
        if config is None:
            return
        try:
            self.run = pipeline.begin(config, change=True)
        except AgentMemoryError as error:
            tell_error(self.app, error)
        self._show_steps()
        self.show_step()

    @work
    async def action_leave(self) -> None:
        if self._at_work is not None:
            question = f"{self._at_work.title} is at work. Stop it and leave? It goes on the next time."
            if not await self.app.push_screen_wait(Sure(question)):
                return
            self.action_stop()
            while self._at_work is not None:
                await asyncio.sleep(0.05)
        self.app.exit(message=f"agent-memory wizard --config {self.run.folder / 'config.yaml'} goes on.")


def _void(_: object) -> None: ...
