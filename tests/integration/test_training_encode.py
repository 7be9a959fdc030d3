"""What of a row is trained: exactly what the agent said, whichever way the template tells where that is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import trl
from tests import tiny_model

from agent_memory.errors import AgentMemoryError
from agent_memory.finetune.training.dialect import Dialect, read_tags
from agent_memory.finetune.training.encode import Counts, Encoder, faults, fitted
from agent_memory.finetune.training.score import calls_of

ROWS = tiny_model.rows(20, seed=3)
READ = '<tool_call>\n{"name": "Read", "arguments": {"path": "a"}}\n</tool_call>'
ROW = next(row for row in ROWS if row["failed"])


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return tiny_model.make_tokenizer(tiny_model.texts(ROWS), 600)


def encoder(tokenizer: Any) -> Encoder:
    return Encoder(tokenizer, [tokenizer.eos_token_id])


def template(name: str) -> str:
    return (Path(trl.__file__).parent / "chat_templates" / f"{name}.jinja").read_text(encoding="utf-8")


def trained(made: Encoder, row: dict[str, Any]) -> list[str]:
    return [made.tokenizer.decode(span) for span in made.encode(row).spans()]


def test_exactly_the_agents_words_are_trained(tokenizer: Any) -> None:
    made = encoder(tokenizer)
    call = json.dumps(ROW["messages"][2]["tool_calls"][0]["function"]["arguments"])
    assert trained(made, ROW)[0] == (
        f'<tool_call>\n{{"name": "Bash", "arguments": {call}}}\n</tool_call><|im_end|>'
    )
    assert trained(made, ROW)[-1] == ROW["messages"][-1]["content"] + "<|im_end|>"
    assert [fault for row in ROWS for fault in faults(made, row)] == []


def test_a_template_that_trl_does_not_know_is_read_by_how_the_text_grows(tokenizer: Any) -> None:
    known = encoder(tokenizer)
    tokenizer.chat_template = "{#- changed by a byte -#}\n" + tokenizer.chat_template
    try:
        unknown = encoder(tokenizer)
        assert unknown.twin is None
        assert [unknown.encode(row) for row in ROWS] == [known.encode(row) for row in ROWS]
    finally:
        tokenizer.chat_template = template("qwen2_5")


def test_a_template_that_changes_what_was_said_is_refused_where_trl_does_not_know_it(tokenizer: Any) -> None:
    tokenizer.chat_template = "{#- changed -#}" + template("qwen3")
    try:
        with pytest.raises(AgentMemoryError, match="nobody can tell what would be trained"):
            encoder(tokenizer).encode(ROW)
    finally:
        tokenizer.chat_template = template("qwen2_5")


@pytest.mark.parametrize("name", ["qwen3", "qwen3_instruct_2507", "qwen2_5"])
def test_the_templates_of_qwen_train_what_was_said(tokenizer: Any, name: str) -> None:
    tokenizer.chat_template = template(name)
    try:
        made = encoder(tokenizer)
        assert faults(made, ROW) == []
        prompt = tokenizer.decode(made.prompt(ROW["messages"][:2], tiny_model.TOOLS))
        whole = tokenizer.decode(made.encode(ROW).input_ids)
        assert whole.startswith(prompt.rstrip())  # what is asked later is what was trained
    finally:
        tokenizer.chat_template = template("qwen2_5")


def test_a_template_whose_answers_have_no_end_is_found_out(tokenizer: Any) -> None:
    made = Encoder(tokenizer, [tokenizer.pad_token_id])
    assert "would not stop" in " ".join(faults(made, ROW))


def test_a_row_that_is_too_long_ends_with_a_whole_answer(tokenizer: Any) -> None:
    made, counts = encoder(tokenizer), Counts()
    whole = made.encode(ROW)
    spans = list(whole.spans())
    short = fitted(whole, len(whole.input_ids) - 3, counts)
    assert short is not None
    assert list(short.spans()) == spans[:-1]
    assert short.input_ids[-1] == tokenizer.eos_token_id
    assert fitted(whole, 50, counts) is None
    assert fitted(whole, len(whole.input_ids), counts) == whole
    assert (counts.rows, counts.cut, counts.left_out) == (2, 1, 1)


@pytest.mark.parametrize(
    ("raw", "calls", "content"),
    [
        (f"I look.\n{READ}", [("Read", {"path": "a"})], "I look."),
        ('<think>\n\n</think>\n\n<tool_call>{"name": "R", "arguments": {}}</tool_call>', [("R", {})], ""),
        (READ + READ, [("Read", {"path": "a"})] * 2, ""),
        ("Just words.", [], "Just words."),
        ('<tool_call>{"name": "R", "arguments": {"a": 1}', None, None),
        ('<tool_call>{"name": "R", "arguments": "x"}</tool_call>', None, None),
        ('<tool_call>{"name": "R"}</tool_call>', None, None),
        ('<tool_call>["R"]</tool_call>', None, None),
        ("<tool_call>not JSON</tool_call>", None, None),
    ],
)  # fmt: skip
def test_words_are_read_as_a_message(raw: str, calls: list[Any] | None, content: str | None) -> None:
    message = read_tags(raw)
    assert calls_of(message) == calls
    if content is not None:
        assert message["content"] == content


def test_what_was_trained_is_read_as_the_calls_that_were_made(tokenizer: Any) -> None:
    made, dialect = encoder(tokenizer), Dialect(tokenizer)
    said = [message for message in ROW["messages"] if message["role"] == "assistant"]
    for span, message in zip(made.encode(ROW).spans(), said, strict=True):
        read = dialect.read(span[:-1], [], tiny_model.TOOLS, ended=True)
        assert calls_of(read) == calls_of(message)
        assert read["content"] == message["content"]
