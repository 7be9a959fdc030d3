"""A scripted stand-in for an OpenAI-compatible Chat Completions API on 127.0.0.1: the model's part in a real session of
OpenCode or Copilot CLI.

Only the model is made up. The client that asks is the real one, so its hooks, its MCP client and its session files are
real too. Requests without tools are the client's own helpers, such as the one for a title, and get a short answer.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

from tests.e2e.scripted import Handler, Play, Script, playing

MODEL = "stand-in"

# What Copilot puts before a prompt, and the quotes of `opencode run`.
_ADDED = re.compile(r"<(current_datetime|system_reminder|reminder)>.*?</\1>|\A\s*\"", re.S)
_USAGE = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}


def serving(script: Script) -> AbstractContextManager[Play]:
    """Serve `script` on a free port of 127.0.0.1, under `/v1`, until the block ends."""
    return playing(Play(script, _conversation), _Handler)


def _conversation(body: dict[str, Any]) -> Iterator[str | None]:
    for message in body.get("messages", []):
        if message["role"] == "assistant":
            yield None
        elif message["role"] == "user":
            content = message.get("content") or ""
            texts = [content] if isinstance(content, str) else [part.get("text", "") for part in content]
            yield from (_ADDED.sub("", said) for said in texts)


class _Handler(Handler):
    def post(self, body: dict[str, Any]) -> None:
        if not self.path.endswith("/chat/completions"):
            self.send_json({})
            return
        blocks = self.server.play.answer(body) if body.get("tools") else [{"type": "text", "text": "ok"}]
        calls = [
            {
                "index": index,
                "id": block["id"],
                "type": "function",
                "function": {"name": block["name"], "arguments": json.dumps(block["input"])},
            }
            for index, block in enumerate(block for block in blocks if block["type"] == "tool_use")
        ]
        words = "".join(block["text"] for block in blocks if block["type"] == "text")
        message = {"role": "assistant", "content": words, **({"tool_calls": calls} if calls else {})}
        finish = "tool_calls" if calls else "stop"
        head = {"id": f"chatcmpl-{uuid.uuid4().hex[:12]}", "created": 0, "model": body.get("model", MODEL)}
        if body.get("stream"):
            head["object"] = "chat.completion.chunk"
            first = {"choices": [{"index": 0, "delta": message, "finish_reason": None}]}
            last = {"choices": [{"index": 0, "delta": {}, "finish_reason": finish}], "usage": _USAGE}
            chunks = [f"data: {json.dumps(head | chunk)}\n\n".encode() for chunk in (first, last)]
            self.send_events([*chunks, b"data: [DONE]\n\n"])
        else:
            head["object"] = "chat.completion"
            choice = {"index": 0, "message": message, "finish_reason": finish}
            self.send_json(head | {"choices": [choice], "usage": _USAGE})
