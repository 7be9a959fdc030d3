"""What a model said, as a message: its words, and its calls where they can be read."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from agent_memory.errors import AgentMemoryError
from agent_memory.finetune.training.score import Message

_CALL = re.compile(r"<tool_call>\s*(.*?)\s*</tool_call>", re.S)
_THOUGHT = re.compile(r"\A\s*<think>.*?</think>\s*", re.S)


class Dialect:
    """How calls are written in a chat template's language: as JSON between `<tool_call>` tags, or as TRL knows it."""

    def __init__(self, tokenizer: Any) -> None:
        """Raises AgentMemoryError: nobody knows how to read what this template writes."""
        from trl.chat_template_utils import add_response_schema

        self.tokenizer = tokenizer
        self.tagged = _writes_json_between_tags(tokenizer)
        if not self.tagged:
            try:
                add_response_schema(tokenizer)
            except ValueError as error:
                raise AgentMemoryError(
                    "Calls in the language of the base's chat template cannot be read here.",
                    "Set base.template to one whose calls can be read, such as qwen2_5.",
                ) from error

    def read(
        self, ids: Sequence[int], prompt: Sequence[int], tools: Sequence[Mapping[str, Any]], *, ended: bool
    ) -> Message:
        """The model's message. `ids`: what it said, without the token that ends it; `ended`: whether that came."""
        raw = self.tokenizer.decode(ids, skip_special_tokens=False)
        if self.tagged:
            message = read_tags(raw)
        else:
            from trl.chat_template_utils import parse_response

            message = parse_response(self.tokenizer, list(ids), prefix=list(prompt), tools=list(tools))
        return {**message, "raw": raw, "finish": "stop" if ended else "length"}


def read_tags(raw: str) -> Message:
    """A message from words and `<tool_call>{"name": …, "arguments": {…}}</tool_call>`. Where one call cannot be read
    the message has none, and the words as they came."""
    text = _THOUGHT.sub("", raw)
    calls: list[dict[str, Any]] = []
    for told in _CALL.findall(text):
        try:
            call = json.loads(told)
        except ValueError:
            return {"role": "assistant", "content": text}
        if not isinstance(call, dict) or not isinstance(call.get("arguments"), dict):
            return {"role": "assistant", "content": text}
        function = {"name": call.get("name"), "arguments": call["arguments"]}
        calls.append({"id": f"call_{len(calls)}", "type": "function", "function": function})
    message: Message = {"role": "assistant", "content": _CALL.sub("", text).strip()}
    if calls:
        message["tool_calls"] = calls
    return message


def _writes_json_between_tags(tokenizer: Any) -> bool:
    call = {"type": "function", "function": {"name": "n", "arguments": {"a": "v"}}}
    told = [{"role": "user", "content": "?"}, {"role": "assistant", "content": "", "tool_calls": [call]}]
    written = tokenizer.apply_chat_template(told, tokenize=False)
    return any(
        function["function"] == {"name": "n", "arguments": {"a": "v"}}
        for function in read_tags(written).get("tool_calls", ())
    )
