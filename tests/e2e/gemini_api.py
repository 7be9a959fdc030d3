"""A scripted stand-in for the Gemini API on 127.0.0.1: the model's part in a real session of Gemini CLI.

Only the model is made up. The client that asks is the real one, so its hooks, its MCP client and its chat files are
real too. Requests without tools, and those for JSON, are the client's own helpers and get a short answer.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

from tests.e2e.scripted import Handler, Play, Script, playing

_ADDED = re.compile(r"<(session_context|hook_context)>.*?</\1>", re.S)
_USAGE = {"promptTokenCount": 100, "candidatesTokenCount": 20, "totalTokenCount": 120}


def serving(script: Script) -> AbstractContextManager[Play]:
    """Serve `script` on a free port of 127.0.0.1 until the block ends."""
    return playing(Play(script, _conversation), _Handler)


def _conversation(body: dict[str, Any]) -> Iterator[str | None]:
    for content in body.get("contents", []):
        if content.get("role") == "model":
            yield None
        else:
            yield from (_ADDED.sub("", part["text"]) for part in content["parts"] if "text" in part)


class _Handler(Handler):
    def post(self, body: dict[str, Any]) -> None:
        if "countTokens" in self.path:
            self.send_json({"totalTokens": 100})
            return
        if "enerateContent" not in self.path:
            self.send_json({})
            return
        as_json = body.get("generationConfig", {}).get("responseMimeType") == "application/json"
        if as_json or not body.get("tools"):
            parts: list[dict[str, Any]] = [{"text": "{}" if as_json else "ok"}]
        else:
            parts = [
                {"text": block["text"]}
                if block["type"] == "text"
                else {"functionCall": {"id": block["id"], "name": block["name"], "args": block["input"]}}
                for block in self.server.play.answer(body)
            ]
        candidate = {"index": 0, "content": {"role": "model", "parts": parts}, "finishReason": "STOP"}
        answer = {
            "candidates": [candidate],
            "usageMetadata": _USAGE,
            "modelVersion": "stand-in",
            "responseId": uuid.uuid4().hex,
        }
        if "streamGenerateContent" in self.path:
            self.send_events([b"data: " + json.dumps(answer).encode() + b"\r\n\r\n"])
        else:
            self.send_json(answer)
