"""The screen on which a run is configured."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, VerticalScroll
from textual.screen import Screen
from textual.widgets import Button, Footer, Input, Label, Select

from agent_memory.finetune.config import TrainConfig
from agent_memory.finetune.wizard.fields import Field, fields, read, shown

_TITLES = {"": "Run", "base": "Base model", "lora": "LoRA", "gguf": "GGUF"}


class Form(Screen[TrainConfig | None]):
    """Gives the configuration, or None: left as it was."""

    BINDINGS: ClassVar = [
        Binding("ctrl+s", "save", "Save"),
        Binding("escape", "leave", "Cancel"),
    ]

    def __init__(self, config: TrainConfig, *, title: str, fixed_name: bool = False) -> None:
        super().__init__()
        self._given = shown(config)
        self._title = title
        self._fixed_name = fixed_name

    def compose(self) -> ComposeResult:
        yield Label(self._title, id="title", markup=False)
        with VerticalScroll(id="form"):
            part = None
            for field in fields():
                if field.part != part:
                    part = field.part
                    yield Label(_TITLES.get(part, part.capitalize()), classes="part")
                yield from self._row(field)
        with Horizontal(id="buttons"):
            yield Button("Save", variant="primary", id="save", compact=True)
            yield Button("Cancel", id="leave", compact=True)
        yield Footer()

    def _row(self, field: Field) -> Iterator[Horizontal | Label]:
        value = self._given[field.line]
        name = field.line.rpartition(".")[2]
        entry: Select[str] | Input
        if field.choices:
            options = [(_word(one), _word(one)) for one in field.choices]
            entry = Select(options, value=value, allow_blank=False, id=_id(field.line), compact=True)
        else:
            entry = Input(value, id=_id(field.line), compact=True)
            entry.disabled = self._fixed_name and field.line == "name"
        yield Horizontal(Label(name, classes="name"), entry, classes="field")
        yield Label(field.help, classes="help", markup=False)
        yield Label("", id=f"wrong-{_id(field.line)}", classes="wrong", markup=False)

    @on(Button.Pressed, "#save")
    def action_save(self) -> None:
        config, wrong = read({field.line: self._value(field) for field in fields()})
        for field in fields():
            label = self.query_one(f"#wrong-{_id(field.line)}", Label)
            label.update(wrong.get(field.line, ""))
            label.display = field.line in wrong
        if config is not None:
            self.dismiss(config)
            return
        told = "; ".join(f"{line}: {what}" for line, what in wrong.items())
        self.notify(told, title="Not saved", severity="error", markup=False)
        first = next(iter(wrong))
        for entry in self.query(f"#{_id(first)}"):
            entry.focus()

    @on(Button.Pressed, "#leave")
    def action_leave(self) -> None:
        self.dismiss(None)

    def _value(self, field: Field) -> str:
        entry = self.query_one(f"#{_id(field.line)}")
        if isinstance(entry, Select):
            return str(entry.value)
        assert isinstance(entry, Input)
        return entry.value


def _word(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _id(line: str) -> str:
    return line.replace(".", "-")
