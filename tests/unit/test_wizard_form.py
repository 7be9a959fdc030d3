"""What the wizard's form asks for and how it reads it, and the curve that it draws."""

from __future__ import annotations

from agent_memory.finetune.config import Base, Data, TrainConfig
from agent_memory.finetune.wizard.fields import fields, read, shown
from agent_memory.finetune.wizard.plot import plot

CONFIG = TrainConfig(name="a-1", base=Base(model="~/models/base"), data=Data(success_only=True, project="7"))


def test_every_line_of_the_configuration_is_a_field_with_words_of_help() -> None:
    known = fields()
    assert [field.line for field in known] == list(shown(CONFIG))
    without = [field.line for field in known if not field.help]
    assert without == ["lora.rank", "lora.alpha", "lora.dropout", *without[3:]]
    assert {field.line for field in known if field.choices} >= {"training.device", "data.success_only"}


def test_what_is_shown_is_read_back_as_it_was() -> None:
    assert read(shown(CONFIG)) == (CONFIG, {})


def test_what_is_wrong_is_told_by_its_line() -> None:
    config, wrong = read(
        shown(CONFIG) | {"lora.rank": "none", "name": "a b", "gguf.quantizations": "Q4_K_M, Q1"}
    )
    assert config is None
    assert set(wrong) == {"lora.rank", "name", "gguf.quantizations"}
    assert set(read(shown(CONFIG) | {"data.since": "[1"})[1]) == {"data.since"}


def test_names_stay_names_and_lists_are_read_with_commas() -> None:
    given = shown(CONFIG) | {
        "base.model": "2024",
        "gguf.quantizations": "Q8_0,F16",
        "data.since": "2026-09-01",
    }
    config, wrong = read(given)
    assert not wrong
    assert config is not None
    assert (config.base.model, config.gguf.quantizations) == ("2024", ("Q8_0", "F16"))
    assert config.data.since is not None


def test_a_falling_curve_begins_at_the_top_and_ends_at_the_bottom() -> None:
    lines = plot([3.0, 2.0, 1.0, 0.5], width=25, height=3)
    assert [line[:4] for line in lines] == ["3.00", "    ", "0.50"]
    assert lines[0][5] != "\u2800"
    assert lines[0][-1] == "\u2800"
    assert lines[2][-1] != "\u2800"


def test_there_is_no_curve_of_one_value_or_of_none_that_is_a_number() -> None:
    assert plot([1.0], 40, 4) == []
    assert plot([float("nan"), float("inf"), 2.0], 40, 4) == []
    assert plot([1.0, 2.0], 5, 4) == []
    assert len(plot([1.0, 1.0], 40, 4)) == 4
