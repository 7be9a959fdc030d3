"""What a model gives away: planted texts, and its training rows word by word."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests import tiny_model

from agent_memory.finetune.training import recall
from agent_memory.finetune.training.score import Question

LONG = " ".join(f"word{number}" for number in range(40))


def says(content: str) -> dict[str, Any]:
    return {"role": "assistant", "content": content}


def row(*messages: dict[str, Any]) -> dict[str, Any]:
    return {"id": "s/main/0", "messages": list(messages), "tools": "[]"}


def question(content: str = "Well?") -> Question:
    return Question(id="q", messages=[{"role": "user", "content": content}], tools=[], expected={})


def test_a_run_of_a_training_row_is_found_and_measured_in_words() -> None:
    learned = [row({"role": "user", "content": "?"}, says(f"first {LONG} last"))]
    said = [says(f"I say {LONG} and more"), says("word1 word3 word5 word7 word9 word11 word13 word15 word17")]
    assert recall.by_heart([question(), question()], said, learned) == [40, 0]


def test_what_stood_before_the_model_is_not_by_heart() -> None:
    learned = [row({"role": "user", "content": "?"}, says(LONG))]
    assert recall.by_heart([question(LONG)], [says(LONG)], learned) == [0]
    assert recall.by_heart([question()], [says(LONG)], []) == [0]
    assert recall.by_heart([], [], learned) == []


def test_canaries_are_lines_of_a_file(tmp_path: Path) -> None:
    assert recall.canaries(tmp_path) == []
    (tmp_path / recall.CANARIES).write_text("one text\n\n  another \n", encoding="utf-8")
    assert recall.canaries(tmp_path) == ["one text", "another"]
    assert recall.given_away(["one text", "another"], ["I know one text.", "No."]) == ["one text"]


def test_a_canary_is_asked_for_where_it_stood_and_else_by_its_beginning() -> None:
    told = tiny_model.rows(1, seed=1)[0]
    told["messages"][-1]["content"] = "It is violet-4711-otter."
    there, gone = recall.leads(["violet-4711-otter", "amber-1234-badger"], [told])
    assert there.messages == told["messages"][:-1]
    assert gone.messages[-1]["content"].endswith("amber")
    assert "badger" not in str(gone.messages)
