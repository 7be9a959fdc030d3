"""How many tokens a conversation has: as a chat template renders it, with its tools, counted by a tokenizer or by an
estimate that says that it is one."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from agent_memory.errors import AgentMemoryError
from agent_memory.finetune import extra, formats
from agent_memory.finetune.formats import Format

CHARS_PER_TOKEN = 3.5
"""Code and English with tokenizers of 50,000 to 150,000 words, on the careful side."""
SEAM = 1
"""Tokens by which the parts of a text may have fewer than the whole, a part."""

Message = Mapping[str, Any]
Tool = Mapping[str, Any]
Count = Callable[[str], int]
"""How many tokens a text has."""
Render = Callable[[Sequence[Message], Sequence[Tool]], str]
"""Messages and tools as the model reads them."""

_CALL = {"id": "call_0", "type": "function", "function": {"name": "n", "arguments": {"a": "v"}}}
_SYSTEM = {"role": "system", "content": "."}
_ASKED = {"role": "user", "content": "?"}
_SAID = {"role": "assistant", "content": "!"}
_BEFORE: dict[str, list[Message]] = {
    "user": [_SYSTEM, _ASKED, _SAID],
    "assistant": [_SYSTEM, _ASKED],
    "tool": [_SYSTEM, _ASKED, {"role": "assistant", "content": "", "tool_calls": [_CALL]}],
}
"""What a message of a role may follow in any template."""


class Measure:
    """A chat template and a tokenizer, asked how long something is."""

    def __init__(self, render: Render, count: Count, told: str) -> None:
        """`told`: what the manifest says of it."""
        self.told = told
        self._render, self._count = render, count
        self._before = {role: self.whole(messages) for role, messages in _BEFORE.items()}

    def whole(self, messages: Sequence[Message], tools: Sequence[Tool] = ()) -> int:
        return self._count(self._render(messages, tools))

    def size(self, message: Message) -> int:
        """What a message adds to a conversation, with what the template puts around it; rather too much than too
        little."""
        role = message["role"]
        return self.whole([*_BEFORE[role], message]) - self._before[role] + SEAM

    def head(self, system: str, tools: Sequence[Tool]) -> int:
        """What stands before the first question: the system's words and the tools."""
        asked = self.whole([*_BEFORE["user"], _ASKED]) - self._before["user"]
        return self.whole([{"role": "system", "content": system}, _ASKED], tools) - asked + SEAM


def estimated(form: Format) -> Measure:
    return Measure(
        _form(form),
        estimate,
        f"an estimate: {CHARS_PER_TOKEN} characters a token, in {_qwen(form)}'s chat template",
    )


def by_file(tokenizer: Path, form: Format) -> Measure:
    """By a tokenizer's own file, or the folder that it lies in; with the chat template beside it, where there is one
    that shows calls and their results and the form leaves rendering to the trainer. Raises AgentMemoryError: no such
    file, no tokenizer, or the extra's packages are missing."""
    try:
        import tokenizers
    except ImportError as error:
        raise AgentMemoryError(
            f"Counting by a tokenizer needs packages that are not installed: {error.name}.", extra.install()
        ) from error
    file = tokenizer / "tokenizer.json" if tokenizer.is_dir() else tokenizer
    try:
        made = tokenizers.Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises bare Exception
        raise AgentMemoryError(
            f"{file} is no tokenizer: {error}", "Name the tokenizer.json of the model that you want to train."
        ) from error
    made.no_truncation()
    named = f"{file.name} of {file.parent.name}"
    if not form.startswith("qwen") and _has_template(file.parent):
        theirs = _loaded(file.parent)
        if _shows_tools(theirs):
            return by_template(theirs, f"{named}, in its chat template")
        named += ", whose chat template has no place for tools,"
    return Measure(
        _form(form),
        lambda text: len(made.encode(text, add_special_tokens=False).ids),
        f"{named} in {_qwen(form)}'s chat template",
    )


def by_template(tokenizer: Any, told: str, template: str | None = None) -> Measure:
    """By a tokenizer of transformers. `template`: another one than its own."""

    def render(messages: Sequence[Message], tools: Sequence[Tool]) -> str:
        text: str = tokenizer.apply_chat_template(
            list(messages), tools=list(tools) or None, chat_template=template, tokenize=False
        )
        return text

    def count(text: str) -> int:
        return len(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])

    return Measure(render, count, told)


def estimate(text: str) -> int:
    return -int(-len(text) // CHARS_PER_TOKEN)


def _form(form: Format) -> Render:
    thinks = form == "qwen"
    return lambda messages, tools: formats.qwen(messages, tools, thinks=thinks)


def _qwen(form: Format) -> str:
    return "Qwen 3" if form == "qwen" else "Qwen 2.5"


def _has_template(folder: Path) -> bool:
    try:
        told = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return (folder / "chat_template.jinja").is_file() or bool(told.get("chat_template"))


def _shows_tools(tokenizer: Any) -> bool:
    called = [*_BEFORE["tool"], {"role": "tool", "tool_call_id": "call_0", "name": "n", "content": "found"}]
    tool = {"name": "listed", "description": "The tool.", "parameters": {"type": "object", "properties": {}}}
    try:
        text = tokenizer.apply_chat_template(
            called, tools=[{"type": "function", "function": tool}], tokenize=False
        )
    except Exception:  # a template raises what it likes at what it has no place for
        return False
    return "listed" in text and "found" in text


def _loaded(folder: Path) -> Any:
    import transformers

    return transformers.AutoTokenizer.from_pretrained(folder)
