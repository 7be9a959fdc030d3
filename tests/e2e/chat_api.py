"""A scripted stand-in for an OpenAI-compatible Chat Completions API on 127.0.0.1: the model's part in a real session.

As in `messages_api`, only the model is made up; the client that asks is the real one. A script gives each prompt the
turns that answer it, and `tool("bash", command="ls")` is a call that the model asks for. Clients wrap prompts in
quotes, dates and reminders, so a prompt is found anywhere in a user's message; no prompt of a script may be part of
another one.
"""

from __future__ import annotations

import json
import sys
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.e2e.messages_api import Block, ToolUse, text

Script = Mapping[str, Sequence[Sequence[Block]]]

MODEL = "stand-in"


@dataclass
class ChatApi:
    """What a running stand-in was asked and what it answered."""

    script: Script
    url: str = ""
    """Up to and with `/v1`."""
    requests: list[dict[str, Any]] = field(default_factory=list)
    """The bodies of `POST …/chat/completions`, in the order of arrival."""
    calls: list[ToolUse] = field(default_factory=list)
    """Every tool call that it asked for, in order."""
    unscripted: list[str] = field(default_factory=list)
    """What was asked, with tools to choose from, that no script answers."""
    _answers: dict[tuple[str, int, int], list[Block]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, body: dict[str, Any]) -> list[Block]:
        with self._lock:
            self.requests.append(body)
            if not body.get("tools"):
                return [text("ok")]  # a helper request of the client's own, such as one for a title
            prompt, turn = self._place(body["messages"])
            if prompt is None:
                self.unscripted.append(_words(body["messages"][-1]))
                return [text("I have no script for this.")]
            # A request that the client repeats gets the same answer, with the same ids.
            key = (prompt, turn, len(body["messages"]))
            if key not in self._answers:
                self._answers[key] = self._make(prompt, turn)
            return self._answers[key]

    def _make(self, prompt: str, turn: int) -> list[Block]:
        turns = self.script[prompt]
        blocks = []
        for block in turns[turn] if turn < len(turns) else [text("Done.")]:
            if block["type"] == "tool_use":
                block = {**block, "id": f"call_{uuid.uuid4().hex[:20]}"}
                self.calls.append(ToolUse(block["id"], block["name"], block["input"], prompt))
            blocks.append(block)
        return blocks

    def _place(self, messages: Sequence[dict[str, Any]]) -> tuple[str | None, int]:
        """The scripted prompt that came last in the conversation, and the model's turns since."""
        prompt, turn = None, 0
        for message in messages:
            if message["role"] == "assistant":
                turn += 1
            elif message["role"] == "user":
                for known in self.script:
                    if known in _words(message):
                        prompt, turn = known, 0
        return prompt, turn


@contextmanager
def serving(script: Script) -> Iterator[ChatApi]:
    """Serve `script` on a free port of 127.0.0.1 until the block ends."""
    api = ChatApi(script)
    server = _Server(("127.0.0.1", 0), _Handler)
    server.api = api
    api.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield api
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Server(ThreadingHTTPServer):
    api: ChatApi
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):  # a client that is killed hangs up
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass

    def do_GET(self) -> None:
        self._send_json({"object": "list", "data": []})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("content-length") or 0)) or b"{}")
        if not self.path.endswith("/chat/completions"):
            self._send_json({})
            return
        blocks = self.server.api.answer(body)
        words = "".join(block["text"] for block in blocks if block["type"] == "text")
        calls = [
            {
                "index": index,
                "id": block["id"],
                "type": "function",
                "function": {"name": block["name"], "arguments": json.dumps(block["input"])},
            }
            for index, block in enumerate(b for b in blocks if b["type"] == "tool_use")
        ]
        message: dict[str, Any] = {"role": "assistant", "content": words} | (
            {"tool_calls": calls} if calls else {}
        )
        finish = "tool_calls" if calls else "stop"
        head = {"id": f"chatcmpl-{uuid.uuid4().hex[:12]}", "created": 0, "model": body.get("model", MODEL)}
        usage = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}
        if not body.get("stream"):
            choice = {"index": 0, "message": message, "finish_reason": finish}
            self._send_json(head | {"object": "chat.completion", "usage": usage, "choices": [choice]})
            return
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        head |= {"object": "chat.completion.chunk"}
        for chunk in (
            head | {"choices": [{"index": 0, "delta": message, "finish_reason": None}]},
            head | {"choices": [{"index": 0, "delta": {}, "finish_reason": finish}], "usage": usage},
        ):
            self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())
        self.wfile.write(b"data: [DONE]\n\n")
        self.close_connection = True

    def _send_json(self, value: Any) -> None:
        data = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def _words(message: dict[str, Any]) -> str:
    content = message.get("content") or ""
    return content if isinstance(content, str) else "\n".join(part.get("text", "") for part in content)
