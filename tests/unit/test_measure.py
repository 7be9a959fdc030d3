"""How long a row is, by its parts and as a whole, in chat templates of real models."""

from __future__ import annotations

import functools
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from tests import tiny_model

from agent_memory.errors import AgentMemoryError
from agent_memory.finetune import measure
from agent_memory.finetune.measure import Measure

ROWS = tiny_model.rows(8)
TEMPLATES = ("qwen2_5", "qwen3", "qwen3_training", "llama3_1", "gptoss", "glm4moe", "nemotron_3_nano")


@functools.cache
def tokenizer() -> Any:
    return tiny_model.make_tokenizer(tiny_model.texts(ROWS), 600)


def template(name: str) -> str:
    import trl

    file = Path(trl.__file__).parent / "chat_templates" / f"{name}.jinja"
    return file.read_text(encoding="utf-8")


def parts(made: Measure, row: dict[str, Any]) -> int:
    system, *messages = row["messages"]
    return made.head(system["content"], json.loads(row["tools"])) + sum(map(made.size, messages))


def assert_parts_hold(made: Measure) -> None:
    for row in ROWS:
        whole = made.whole(row["messages"], json.loads(row["tools"]))
        assert whole <= parts(made, row) <= whole * 1.2 + 8 * len(row["messages"])
        assert made.whole(row["messages"]) < whole  # tools take room


@pytest.mark.parametrize("name", TEMPLATES)
def test_the_parts_of_a_row_are_never_shorter_than_the_whole(name: str) -> None:
    assert_parts_hold(measure.by_template(tokenizer(), name, template(name)))


@pytest.mark.parametrize("form", ["trl", "qwen"])
def test_nor_where_they_are_estimated(form: Any) -> None:
    assert_parts_hold(measure.estimated(form))


def test_a_tokenizer_counts_in_the_chat_template_beside_it(tmp_path: Path) -> None:
    made = tokenizer()
    made.save_pretrained(tmp_path)
    row = ROWS[0]
    tools = json.loads(row["tools"])
    counted = measure.by_file(tmp_path, "trl")
    assert "in its chat template" in counted.told
    assert counted.whole(row["messages"], tools) == len(
        made.apply_chat_template(row["messages"], tools=tools, return_dict=True)["input_ids"]
    )
    # as it counts where the text is ours, which is the same template's
    ours = measure.by_file(tmp_path / "tokenizer.json", "qwen2.5")
    assert "Qwen 2.5's chat template" in ours.told
    assert ours.whole(row["messages"], tools) == counted.whole(row["messages"], tools)


def test_a_template_without_a_place_for_tools_is_not_counted_by(tmp_path: Path) -> None:
    made = tiny_model.make_tokenizer(tiny_model.texts(ROWS), 600)
    made.chat_template = (
        "{% for m in messages %}{% if m.role == 'tool' %}{{ raise_exception('no tools') }}{% endif %}"
        "{{ m.content }}{% endfor %}"
    )
    made.save_pretrained(tmp_path)
    assert "has no place for tools" in measure.by_file(tmp_path, "trl").told


def test_without_the_extra_it_is_said_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(AgentMemoryError, match="not installed: tokenizers") as refused:
        measure.by_file(tmp_path, "trl")
    assert "pip install" in refused.value.remedy
