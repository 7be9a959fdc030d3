"""A question, and an error, as the wizard's screens show them."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import App, ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Button, Label

from agent_memory.errors import AgentMemoryError


class Sure(ModalScreen[bool]):
    """A question that is answered with yes or no."""

    BINDINGS: ClassVar = [Binding("y", "answer(True)", "Yes"), Binding("n,escape", "answer(False)", "No")]

    def __init__(self, question: str) -> None:
        super().__init__()
        self._question = question

    def compose(self) -> ComposeResult:
        with Vertical(id="sure"):
            yield Label(self._question, markup=False)
            with Horizontal():
                yield Button("Yes (y)", variant="warning", id="yes", compact=True)
                yield Button("No (n)", id="no", compact=True)

    @on(Button.Pressed)
    def pressed(self, event: Button.Pressed) -> None:
        self.dismiss(event.button.id == "yes")

    def action_answer(self, answer: bool) -> None:  # noqa: FBT001 - Textual calls it by position
        self.dismiss(answer)


def tell_error(app: App[None], error: AgentMemoryError) -> None:
    app.notify(f"{error.problem}\n{error.remedy}", severity="error", timeout=15, markup=False)
