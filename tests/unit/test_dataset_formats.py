"""Each form of a row, against an example written out."""

from __future__ import annotations

import json
from typing import Any

from agent_memory.finetune import formats

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "Bash",
            "description": "The tool Bash.",
            "parameters": {"type": "object", "properties": {"command": {"type": "string"}}},
        },
    }
]
SIGNATURE = (
    '{"type": "function", "function": {"name": "Bash", "description": "The tool Bash.", "parameters":'
    ' {"type": "object", "properties": {"command": {"type": "string"}}}}}'
)


def call(number: int, command: str) -> dict[str, Any]:
    told = {"name": "Bash", "arguments": {"command": command}}
    return {"id": f"call_{number}", "type": "function", "function": told}


ROW = {
    "id": "s/main/0",
    "session": "s",
    "tokens": 9,
    "failed": ["call_0"],
    "messages": [
        {"role": "system", "content": "You are an agent."},
        {"role": "user", "content": "Größe?"},
        {"role": "assistant", "content": "I look.", "tool_calls": [call(0, "ls"), call(1, "du é")]},
        {"role": "tool", "tool_call_id": "call_0", "name": "Bash", "content": "a"},
        {"role": "tool", "tool_call_id": "call_1", "name": "Bash", "content": "4"},
        {"role": "assistant", "content": "", "tool_calls": [call(2, "wc a")]},
        {"role": "tool", "tool_call_id": "call_2", "name": "Bash", "content": "1"},
        {"role": "assistant", "content": "One byte."},
    ],
    "tools": json.dumps(TOOLS),
}
QWEN = f"""<|im_start|>system
You are an agent.

# Tools

You may call one or more functions to assist with the user query.

You are provided with function signatures within <tools></tools> XML tags:
<tools>
{SIGNATURE}
</tools>

For each function call, return a json object with function name and arguments within <tool_call></tool_call> XML tags:
<tool_call>
{{"name": <function-name>, "arguments": <args-json-object>}}
</tool_call><|im_end|>
<|im_start|>user
Größe?<|im_end|>
<|im_start|>assistant
I look.
<tool_call>
{{"name": "Bash", "arguments": {{"command": "ls"}}}}
</tool_call>
<tool_call>
{{"name": "Bash", "arguments": {{"command": "du é"}}}}
</tool_call><|im_end|>
<|im_start|>user
<tool_response>
a
</tool_response>
<tool_response>
4
</tool_response><|im_end|>
<|im_start|>assistant
<tool_call>
{{"name": "Bash", "arguments": {{"command": "wc a"}}}}
</tool_call><|im_end|>
<|im_start|>user
<tool_response>
1
</tool_response><|im_end|>
<|im_start|>assistant
One byte.<|im_end|>
"""


def test_trl_has_messages_and_tools_as_a_json_text() -> None:
    assert formats.render(ROW, "trl") == {
        "id": "s/main/0",
        "messages": ROW["messages"],
        "tools": ROW["tools"],
        "failed": ["call_0"],
    }


def test_qwen_25_is_the_text_of_its_chat_template() -> None:
    assert formats.render(ROW, "qwen2.5") == {"id": "s/main/0", "text": QWEN}


def test_qwen_3_has_the_place_of_a_thought_before_its_last_answer() -> None:
    wanted = QWEN.replace("One byte.", "<think>\n\n</think>\n\nOne byte.")
    assert formats.render(ROW, "qwen") == {"id": "s/main/0", "text": wanted}
    ends_in_a_call = {**ROW, "messages": ROW["messages"][:6]}  # type: ignore[index]
    told = formats.render(ends_in_a_call, "qwen")["text"]
    assert told.endswith(
        'assistant\n<think>\n\n</think>\n\n<tool_call>\n{"name": "Bash", "arguments":'
        ' {"command": "wc a"}}\n</tool_call><|im_end|>\n'
    )


def test_qwen_without_tools_has_the_system_prompt_alone() -> None:
    plain = {**ROW, "tools": "[]", "messages": ROW["messages"][:2]}  # type: ignore[index]
    assert formats.render(plain, "qwen2.5")["text"] == (
        "<|im_start|>system\nYou are an agent.<|im_end|>\n<|im_start|>user\nGröße?<|im_end|>\n"
    )


def test_hermes_has_tags_around_calls_and_results() -> None:
    system, *turns = formats.render(ROW, "hermes")["conversations"]
    assert system["value"].startswith("You are an agent.\n\nYou are a function calling AI model.")
    assert f"<tools>\n[{SIGNATURE}]\n</tools>" in system["value"]
    assert [turn["from"] for turn in turns] == ["human", "gpt", "tool", "gpt", "tool", "gpt"]
    assert turns[1]["value"] == (
        'I look.\n<tool_call>\n{"name": "Bash", "arguments": {"command": "ls"}}\n</tool_call>\n'
        '<tool_call>\n{"name": "Bash", "arguments": {"command": "du é"}}\n</tool_call>'
    )
    assert turns[2]["value"] == (
        '<tool_response>\n{"name": "Bash", "content": "a"}\n</tool_response>\n'
        '<tool_response>\n{"name": "Bash", "content": "4"}\n</tool_response>'
    )


def test_sharegpt_has_calls_and_results_as_turns() -> None:
    told = formats.render(ROW, "sharegpt")
    assert told["system"] == "You are an agent."
    assert json.loads(told["tools"]) == [TOOLS[0]["function"]]
    assert [turn["from"] for turn in told["conversations"]] == [
        *("human", "gpt", "function_call", "observation", "function_call", "observation", "gpt"),
    ]
    assert json.loads(told["conversations"][2]["value"])[1] == {
        "name": "Bash",
        "arguments": {"command": "du é"},
    }
    assert told["conversations"][3]["value"] == "a\n4"
    assert json.loads(told["conversations"][4]["value"])["name"] == "Bash"
