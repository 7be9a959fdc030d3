"""A scripted stand-in for the Anthropic Messages API on 127.0.0.1: the model's part in a real session.

Only the model is made up. The client that asks is the real one, so what it does with the answers (its hooks,
its MCP client, its transcripts) is real too. A script gives each prompt the turns that answer it:

    script = {
        "Fix the login": [
            [text("I look first."), tool("Read", file_path="login.py"), tool("Bash", command="pytest")],
            [text("Fixed.")],
        ],
        "Read the changelog": [...],   # a subagent's prompt: its turns are its own
    }

A turn that depends on what came before is a function of the `Request`. What is asked and stands in no script
is a failure that `Api.unscripted` names; a request without tools is one of the client's own helpers (titles,
summaries) and gets a short text.
"""

from __future__ import annotations

import json
import re
import sys
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Block = dict[str, Any]
Turn = Sequence[Block] | Callable[["Request"], Sequence[Block]]
Script = Mapping[str, Sequence[Turn]]

_REMINDER = re.compile(r"<system-reminder>.*?</system-reminder>|<agent-memory\b.*?</agent-memory>", re.DOTALL)
_USAGE = {
    "input_tokens": 10,
    "output_tokens": 20,
    "cache_creation_input_tokens": 0,
    "cache_read_input_tokens": 0,
}


def text(words: str) -> Block:
    return {"type": "text", "text": words}


def tool(name: str, /, **arguments: Any) -> Block:
    """A tool call. Its id is made when it is sent, unique in the world as a real one is."""
    return {"type": "tool_use", "name": name, "input": arguments}


@dataclass(frozen=True)
class ToolUse:
    """A call that the model asked for."""

    id: str
    name: str
    input: dict[str, Any]
    prompt: str
    """The prompt, as scripted, that it belongs to."""


@dataclass(frozen=True)
class Request:
    """One `POST /v1/messages`."""

    body: dict[str, Any]
    prompt: str | None
    """The scripted prompt that it answers; None: a helper request, or one that no script knows."""
    turn: int
    """Which of the prompt's turns it asks for, from 0."""

    @property
    def tools(self) -> list[str]:
        """The names of the tools that the model was offered."""
        return [offered["name"] for offered in self.body.get("tools") or []]

    @property
    def shown(self) -> str:
        """Everything that the model was shown in system prompt and messages, as one text."""
        return "\n".join([*_texts(self.body.get("system")), *_texts(self.body.get("messages"))])

    @property
    def results(self) -> dict[str, str]:
        """Tool use id → the result as the model saw it."""
        return {
            block["tool_use_id"]: "\n".join(_texts(block.get("content")))
            for message in self.body.get("messages", [])
            for block in _blocks(message)
            if block.get("type") == "tool_result"
        }


@dataclass
class Api:
    """What a running stand-in was asked and what it answered."""

    script: Script
    url: str = ""
    requests: list[Request] = field(default_factory=list)
    """In the order of arrival."""
    calls: list[ToolUse] = field(default_factory=list)
    """Every tool call that it asked for, in order."""
    unscripted: list[str] = field(default_factory=list)
    """What was asked that no script answers, and turns that could not be made."""
    _answers: dict[tuple[str, int, int], list[Block]] = field(default_factory=dict)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def answer(self, body: dict[str, Any]) -> list[Block]:
        with self._lock:
            prompt, turn = self._place(body)
            request = Request(body, prompt, turn)
            self.requests.append(request)
            if not request.tools:
                return [text("ok")]
            if prompt is None:
                self.unscripted.append("\n".join(_texts(body.get("messages", [])[-1:])))
                return [text("I have no script for this.")]
            # A request that the client repeats gets the same answer, with the same ids.
            key = (prompt, turn, len(body["messages"]))
            if key not in self._answers:
                self._answers[key] = self._make(request, prompt)
            return self._answers[key]

    def _make(self, request: Request, prompt: str) -> list[Block]:
        turns = self.script[prompt]
        if request.turn >= len(turns):
            return [text("Done.")]  # such as the turn that a background task's end brings about
        planned = turns[request.turn]
        if callable(planned):
            try:
                planned = planned(request)
            except Exception as error:
                self.unscripted.append(f"turn {request.turn} of {prompt!r}: {error!r}")
                return [text("My script is broken.")]
        blocks = []
        for block in planned:
            if block["type"] == "tool_use":
                block = {**block, "id": f"toolu_{uuid.uuid4().hex[:24]}"}
                self.calls.append(ToolUse(block["id"], block["name"], block["input"], prompt))
            blocks.append(block)
        return blocks

    def _place(self, body: dict[str, Any]) -> tuple[str | None, int]:
        """The scripted prompt that came last in the conversation, and the model's turns since.

        Results of tools are not looked at, nor is what hooks added: they may quote an older prompt.
        """
        prompt, turn = None, 0
        for message in body.get("messages", []):
            if message["role"] == "assistant":
                turn += 1
                continue
            for block in _blocks(message):
                if message["role"] == "user" and block.get("type") == "text":
                    words = _REMINDER.sub("", block["text"]).strip()
                    asked = [known for known in self.script if words.startswith(known)]
                    if asked:
                        prompt, turn = max(asked, key=len), 0
        return prompt, turn


@contextmanager
def serving(script: Script) -> Iterator[Api]:
    """Serve `script` on a free port of 127.0.0.1 until the block ends."""
    api = Api(script)
    server = _Server(("127.0.0.1", 0), _Handler)
    server.api = api
    api.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield api
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Server(ThreadingHTTPServer):
    api: Api
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):  # a client that is killed hangs up
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass

    def do_HEAD(self) -> None:
        self._send_json({})

    def do_GET(self) -> None:
        self._send_json({"data": [], "has_more": False})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("content-length") or 0)) or b"{}")
        path = self.path.split("?")[0]
        if path.endswith("/count_tokens"):
            self._send_json({"input_tokens": 100})
        elif path == "/v1/messages":
            self._send_message(body, self.server.api.answer(body))
        else:
            self._send_json({})

    def _send_message(self, body: dict[str, Any], content: list[Block]) -> None:
        stop = "tool_use" if any(block["type"] == "tool_use" for block in content) else "end_turn"
        message = {
            "id": f"msg_{uuid.uuid4().hex[:24]}",
            "type": "message",
            "role": "assistant",
            "model": body.get("model", "claude"),
            "content": content,
            "stop_reason": stop,
            "stop_sequence": None,
            "usage": _USAGE,
        }
        if not body.get("stream"):
            self._send_json(message)
            return
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        for name, data in _stream(message):
            self.wfile.write(f"event: {name}\ndata: {json.dumps({'type': name, **data})}\n\n".encode())
        self.close_connection = True

    def _send_json(self, value: Any) -> None:
        data = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


def _stream(message: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The server-sent events of one message, as the Messages API names them."""
    yield "message_start", {"message": {**message, "content": [], "stop_reason": None}}
    for index, block in enumerate(message["content"]):
        if block["type"] == "text":
            start: Block = {"type": "text", "text": ""}
            delta: Block = {"type": "text_delta", "text": block["text"]}
        else:
            start = {**block, "input": {}}
            delta = {"type": "input_json_delta", "partial_json": json.dumps(block["input"])}
        yield "content_block_start", {"index": index, "content_block": start}
        yield "content_block_delta", {"index": index, "delta": delta}
        yield "content_block_stop", {"index": index}
    stop = {"stop_reason": message["stop_reason"], "stop_sequence": None}
    yield "message_delta", {"delta": stop, "usage": {"output_tokens": _USAGE["output_tokens"]}}
    yield "message_stop", {}


def _blocks(message: dict[str, Any]) -> list[Block]:
    content = message.get("content")
    return [text(content)] if isinstance(content, str) else [b for b in content or [] if isinstance(b, dict)]


def _texts(value: Any) -> Iterator[str]:
    """Every text under `value`, which is content blocks, messages, or a plain text."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, dict):
        if isinstance(value.get("text"), str):
            yield value["text"]
        yield from _texts(value.get("content"))
