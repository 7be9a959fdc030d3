"""A scripted stand-in for the OpenAI Responses API on 127.0.0.1: the model's part in a real session of Codex.

Only the model is made up. The client that asks is the real one, so its hooks, its MCP client and its rollouts are
real too. Calls of MCP tools are scripted by their full name, `tool("mcp__tides__high_water", harbour="Dover")`.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

from tests.e2e.messages_api import Block
from tests.e2e.scripted import Handler, Play, Script, playing

_MODELS = frozenset(("function_call", "custom_tool_call", "reasoning"))
_USAGE = {
    "input_tokens": 100,
    "input_tokens_details": {"cached_tokens": 0},
    "output_tokens": 20,
    "output_tokens_details": {"reasoning_tokens": 0},
    "total_tokens": 120,
}


def serving(script: Script) -> AbstractContextManager[Play]:
    """Serve `script` on a free port of 127.0.0.1 until the block ends."""
    return playing(Play(script, _conversation), _Handler)


def freeform(name: str, words: str) -> Block:
    """A call of a tool that takes a plain text."""
    return {"type": "tool_use", "name": name, "input": words}


def _conversation(body: dict[str, Any]) -> Iterator[str | None]:
    models = False  # one turn of the model's is several items
    for item in body.get("input", []):
        mine = item.get("type") in _MODELS or item.get("role") == "assistant"
        if mine and not models:
            yield None
        models = mine
        if item.get("role") == "user":
            yield "".join(part.get("text", "") for part in item["content"])


class _Handler(Handler):
    def post(self, body: dict[str, Any]) -> None:
        if not self.path.rstrip("/").endswith("/responses"):
            self.send_json({})
            return
        items = [_item(block) for block in self.server.play.answer(body)]
        response = {"id": f"resp_{uuid.uuid4().hex}", "object": "response", "model": body.get("model")}
        events = [_event("response.created", response=response | {"status": "in_progress", "output": []})]
        for index, item in enumerate(items):
            events.append(_event("response.output_item.added", output_index=index, item=item))
            events.append(_event("response.output_item.done", output_index=index, item=item))
        done = response | {"status": "completed", "output": items, "usage": _USAGE}
        self.send_events([*events, _event("response.completed", response=done)])


def _item(block: Block) -> dict[str, Any]:
    if block["type"] == "text":
        content = [{"type": "output_text", "text": block["text"], "annotations": []}]
        id_ = f"msg_{uuid.uuid4().hex}"
        return {"type": "message", "id": id_, "role": "assistant", "status": "completed", "content": content}
    server, _, name = block["name"].rpartition("__")
    call = {"call_id": block["id"], "name": name, "status": "completed"} | (
        {"namespace": server} if server else {}
    )
    if isinstance(block["input"], str):
        return {"type": "custom_tool_call", "id": f"ctc_{uuid.uuid4().hex}", "input": block["input"], **call}
    arguments = json.dumps(block["input"])
    return {"type": "function_call", "id": f"fc_{uuid.uuid4().hex}", "arguments": arguments, **call}


def _event(name: str, **data: Any) -> bytes:
    return f"event: {name}\ndata: {json.dumps({'type': name, **data})}\n\n".encode()
