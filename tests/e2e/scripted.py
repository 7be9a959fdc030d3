"""What the scripted stand-ins for model servers share: a script's turns, and a server on 127.0.0.1 that plays them.

A script gives each prompt the turns that answer it, as in `messages_api`. What is asked and stands in no script is a
failure that `unscripted` names.
"""

from __future__ import annotations

import json
import sys
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.e2e.messages_api import Block, ToolUse, text

Script = Mapping[str, Sequence[Sequence[Block]]]


@dataclass
class Play:
    """A script, and what was asked and answered so far."""

    script: Script
    place: Callable[[dict[str, Any]], Iterator[str | None]]
    """A request's body → what it holds of the conversation, in order: the text of each thing that the user said, and
    None for each turn of the model's."""
    url: str = ""
    requests: list[dict[str, Any]] = field(default_factory=list)
    """The bodies, in the order of arrival."""
    calls: list[ToolUse] = field(default_factory=list)
    """Every tool call that the model asked for, in order."""
    unscripted: list[str] = field(default_factory=list)
    _answers: dict[tuple[str, int], list[Block]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, body: dict[str, Any]) -> list[Block]:
        """The turn that this request asks for. Asked again, the same one, with the same ids."""
        with self._lock:
            self.requests.append(body)
            prompt, turn = None, 0
            for said in self.place(body):
                if said is None:
                    turn += 1
                elif found := [known for known in self.script if said.strip().startswith(known)]:
                    prompt, turn = max(found, key=len), 0
            if prompt is None:
                self.unscripted.append(json.dumps(body)[-2000:])
                return [text("I have no script for this.")]
            if (prompt, turn) not in self._answers:
                self._answers[prompt, turn] = self._make(prompt, turn)
            return self._answers[prompt, turn]

    def _make(self, prompt: str, turn: int) -> list[Block]:
        turns = self.script[prompt]
        blocks = []
        for block in turns[turn] if turn < len(turns) else [text("Done.")]:
            if block["type"] == "tool_use":
                block = {**block, "id": f"call_{uuid.uuid4().hex[:24]}"}
                given = block["input"] if isinstance(block["input"], dict) else {"input": block["input"]}
                self.calls.append(ToolUse(block["id"], block["name"], given, prompt))
            blocks.append(block)
        return blocks


class Handler(BaseHTTPRequestHandler):
    """Answers in JSON or as a stream of server-sent events. An API says what, in `post`."""

    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        self.send_json({"data": [], "models": []})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("content-length") or 0)) or b"{}")
        self.post(body)

    def post(self, body: dict[str, Any]) -> None:
        raise NotImplementedError

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass

    def send_json(self, value: Any) -> None:
        self._send("application/json", json.dumps(value).encode())

    def send_events(self, events: Sequence[bytes]) -> None:
        self._send("text/event-stream", b"".join(events))

    def _send(self, kind: str, data: bytes) -> None:
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, play: Play, handler: type[Handler]) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self.play = play

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):  # a client that is killed hangs up
            super().handle_error(request, client_address)


@contextmanager
def playing(play: Play, handler: type[Handler]) -> Iterator[Play]:
    """Serve `play` on a free port of 127.0.0.1 until the block ends."""
    server = Server(play, handler)
    play.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield play
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
