"""A row in the form that a trainer wants. Pure functions: `{messages, tools}` in, one JSON object out."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

Format = Literal["trl", "qwen", "qwen2.5", "hermes", "sharegpt"]
COLUMNS: dict[str, tuple[str, ...]] = {
    "trl": ("id", "messages", "tools", "failed"),
    "qwen": ("id", "text"),
    "qwen2.5": ("id", "text"),
    "hermes": ("id", "conversations"),
    "sharegpt": ("id", "conversations", "system", "tools"),
}
"""What a row of each has. In Parquet all are text; messages and conversations are JSON."""
PAIR_COLUMNS = ("id", "prompt", "chosen", "rejected", "tools")
Message = Mapping[str, Any]
Row = Mapping[str, Any]

_QWEN_TOOLS = """# Tools

You may call one or more functions to assist with the user query.

You are provided with function signatures within <tools></tools> XML tags:
<tools>
{tools}
</tools>

For each function call, return a json object with function name and arguments within <tool_call></tool_call> XML tags:
<tool_call>
{{"name": <function-name>, "arguments": <args-json-object>}}
</tool_call>"""
_HERMES_TOOLS = (
    "You are a function calling AI model. You are provided with function signatures within <tools> </tools> XML tags."
    " You may call one or more functions to assist with the user query. For each function call return a JSON object"
    ' with the function name and arguments within <tool_call> </tool_call> tags: {{"name": <function-name>,'
    ' "arguments": <args-json-object>}}\n<tools>\n{tools}\n</tools>'
)


def render(row: Row, form: Format) -> dict[str, Any]:
    """The row, its id with it. `row`: id, messages, and tools as a JSON text."""
    return _RENDERERS[form](row)


def trl(row: Row) -> dict[str, Any]:
    return {"id": row["id"], "messages": row["messages"], "tools": row["tools"], "failed": row["failed"]}


def qwen25(row: Row) -> dict[str, Any]:
    """The text that Qwen 2.5's chat template makes."""
    return {"id": row["id"], "text": qwen(row["messages"], json.loads(row["tools"]), thinks=False)}


def qwen3(row: Row) -> dict[str, Any]:
    """The text that Qwen 3's chat template makes, without thoughts: the journal has none."""
    return {"id": row["id"], "text": qwen(row["messages"], json.loads(row["tools"]), thinks=True)}


def hermes(row: Row) -> dict[str, Any]:
    """ShareGPT's list of turns with the tools in the system prompt and tags around calls and results."""
    tools = json.loads(row["tools"])
    turns: list[dict[str, str]] = []
    for message in _with_system(row["messages"]):
        content = message["content"]
        if message["role"] == "system" and tools:
            content = f"{content}\n\n{_HERMES_TOOLS.format(tools=_dumped(tools))}".strip()
        if message["role"] == "tool":
            answer = _dumped({"name": message["name"], "content": content})
            content = f"<tool_response>\n{answer}\n</tool_response>"
            if turns and turns[-1]["from"] == "tool":
                turns[-1]["value"] += f"\n{content}"
                continue
        for call in message.get("tool_calls", ()):
            content = f"{content}\n<tool_call>\n{_dumped(_call(call))}\n</tool_call>".lstrip("\n")
        turns.append({"from": _FROM[message["role"]], "value": content})
    return {"id": row["id"], "conversations": turns}


def sharegpt(row: Row) -> dict[str, Any]:
    """ShareGPT as LLaMA-Factory and others read it: calls and results are turns of their own, tools and system
    prompt columns."""
    turns: list[dict[str, str]] = []
    system = ""
    for message in row["messages"]:
        if message["role"] == "system":
            system = message["content"]
            continue
        if message["role"] == "tool":
            if turns and turns[-1]["from"] == "observation":
                turns[-1]["value"] += f"\n{message['content']}"
            else:
                turns.append({"from": "observation", "value": message["content"]})
            continue
        if message["content"]:
            turns.append({"from": _FROM[message["role"]], "value": message["content"]})
        calls = [_call(call) for call in message.get("tool_calls", ())]
        if calls:
            turns.append({"from": "function_call", "value": _dumped(calls[0] if len(calls) == 1 else calls)})
    tools = [tool["function"] for tool in json.loads(row["tools"])]
    return {"id": row["id"], "conversations": turns, "system": system, "tools": _dumped(tools)}


def qwen(messages: Sequence[Message], tools: Sequence[Mapping[str, Any]], *, thinks: bool) -> str:
    """The text that Qwen's chat template makes. `thinks`: version 3's."""
    messages = _with_system(messages)
    system = messages[0]["content"]
    if tools:
        told = _QWEN_TOOLS.format(tools="\n".join(map(_dumped, tools)))
        system = f"{system}\n\n{told}" if system else told
    parts = [f"<|im_start|>system\n{system}<|im_end|>\n"]
    for number, message in enumerate(messages[1:], start=1):
        content = message["content"]
        if message["role"] == "tool":
            before, after = messages[number - 1], messages[number + 1 : number + 2]
            begins = "" if before["role"] == "tool" else "<|im_start|>user"
            ends = "" if after and after[0]["role"] == "tool" else "<|im_end|>\n"
            parts.append(f"{begins}\n<tool_response>\n{content}\n</tool_response>{ends}")
            continue
        calls = [
            f"<tool_call>\n{_dumped(_call(call))}\n</tool_call>" for call in message.get("tool_calls", ())
        ]
        content = "\n".join([content, *calls] if content else calls)
        if thinks and message["role"] == "assistant" and number == len(messages) - 1:
            content = f"<think>\n\n</think>\n\n{content}"  # only the last answer has the place of a thought
        parts.append(f"<|im_start|>{message['role']}\n{content}<|im_end|>\n")
    return "".join(parts)


def _with_system(messages: Sequence[Message]) -> list[Message]:
    if messages and messages[0]["role"] == "system":
        return list(messages)
    return [{"role": "system", "content": ""}, *messages]


def _call(call: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": call["function"]["name"], "arguments": call["function"]["arguments"]}


def _dumped(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


_FROM = {"system": "system", "user": "human", "assistant": "gpt", "tool": "tool"}
_RENDERERS: dict[str, Callable[[Row], dict[str, Any]]] = {
    "trl": trl,
    "qwen": qwen3,
    "qwen2.5": qwen25,
    "hermes": hermes,
    "sharegpt": sharegpt,
}
