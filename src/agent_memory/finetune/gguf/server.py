"""A real llama-server on a free port of the loopback, with one model, for as long as a block lasts."""

from __future__ import annotations

import json
import secrets
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from agent_memory.errors import AgentMemoryError
from agent_memory.finetune import cores
from agent_memory.finetune.gguf import child
from agent_memory.finetune.gguf.llama import Tool

LOAD_SECONDS = 600.0
"""For a large model from a slow disk."""
ANSWER_SECONDS = 1_800.0
"""For one answer of a large model on a slow machine."""


@dataclass(frozen=True, slots=True)
class Server:
    client: httpx.Client

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Raises AgentMemoryError: the server ended or refused."""
        try:
            answer = self.client.post(path, json=body)
            answer.raise_for_status()
        except httpx.HTTPStatusError as error:
            raise RefusedError(_said(error.response), error.response.status_code) from error
        except httpx.HTTPError as error:
            raise AgentMemoryError(
                f"llama-server broke off: {error}", "Its log is in the run's folder."
            ) from error
        told: dict[str, Any] = answer.json()
        return told

    def tokenize(self, text: str) -> list[int]:
        """As a template's text is read: special tokens as such, none added."""
        told = self.post("/tokenize", {"content": text, "add_special": False, "parse_special": True})
        return list(told["tokens"])

    def render(self, messages: Sequence[dict[str, Any]], tools: Sequence[dict[str, Any]]) -> str:
        """What the model's template makes of a conversation that waits for its answer."""
        body = {"messages": [_sent(m) for m in messages], "tools": list(tools)}
        return str(self.post("/apply-template", body)["prompt"])

    def answer(
        self, messages: Sequence[dict[str, Any]], tools: Sequence[dict[str, Any]], *, max_tokens: int
    ) -> dict[str, Any]:
        """The model's next message, the likeliest: `content`, `tool_calls` as the server parsed them, `finish`, and
        `raw` where the server could not parse what the model said. Raises RefusedError: it is too long."""
        body = {
            "messages": [_sent(m) for m in messages],
            "temperature": 0,
            "seed": 0,
            "max_tokens": max_tokens,
            **({"tools": list(tools)} if tools else {}),
        }
        try:
            told = self.post("/v1/chat/completions", body)
        except RefusedError as error:
            if error.code < httpx.codes.INTERNAL_SERVER_ERROR:
                raise
            # What the model said is not told then: have it said again, as text.
            return self._unparsed(messages, tools, max_tokens)
        choice = told["choices"][0]
        message = choice["message"]
        return {
            "role": "assistant",
            "content": message.get("content") or "",
            "finish": choice["finish_reason"],
            **({"tool_calls": calls} if (calls := message.get("tool_calls")) else {}),
        }

    def _unparsed(
        self, messages: Sequence[dict[str, Any]], tools: Sequence[dict[str, Any]], max_tokens: int
    ) -> dict[str, Any]:
        prompt = self.render(messages, tools)
        told = self.post(
            "/completion", {"prompt": prompt, "n_predict": max_tokens, "temperature": 0, "seed": 0}
        )
        said = str(told["content"])
        finish = "length" if told.get("stop_type") == "limit" else "stop"
        return {"role": "assistant", "content": said, "raw": said, "finish": finish, "unparsed": True}


class RefusedError(AgentMemoryError):
    """The server answered with an error, such as 400 where a conversation is longer than the context."""

    def __init__(self, said: str, code: int) -> None:
        super().__init__(f"llama-server refused: {said}", "Its log is in the run's folder.")
        self.code = code


@contextmanager
def running(
    tool: Tool,
    model: Path,
    log: Path,
    *,
    context: int,
    template: Path | None = None,
    adapter: Path | None = None,
) -> Iterator[Server]:
    """`template`: a chat template instead of the model's own. `adapter`: a GGUF adapter on top. Raises
    AgentMemoryError: it does not start, or does not load the model."""
    key, port = secrets.token_urlsafe(16), _free_port()
    arguments = [
        "--model",
        str(model),
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--ctx-size",
        str(context),
    ]
    arguments += ["--parallel", "1", "--jinja", "--no-webui", "--offline", "--threads", str(cores.idle())]
    if template:
        arguments += ["--chat-template-file", str(template)]
    if adapter:
        arguments += ["--lora", str(adapter)]
    with (
        # In the environment: a command line can be read by every user of the machine.
        child.started(tool, arguments, log, environment={"LLAMA_API_KEY": key}) as process,
        httpx.Client(
            base_url=f"http://127.0.0.1:{port}",
            headers={"Authorization": f"Bearer {key}"},
            timeout=httpx.Timeout(ANSWER_SECONDS, connect=5.0),
            trust_env=False,
        ) as client,
    ):
        until = time.monotonic() + LOAD_SECONDS
        while not _healthy(client):
            if process.poll() is not None:
                raise AgentMemoryError(
                    f"llama-server does not start with {model.name}: {child.tail(log)}",
                    f"All that it said: {log}",
                )
            if time.monotonic() > until:
                raise AgentMemoryError(
                    f"llama-server did not load {model.name} within {LOAD_SECONDS:.0f} s.",
                    f"Free some memory, or take a smaller quantisation. Its log: {log}",
                )
            time.sleep(0.1)
        yield Server(client)


def _healthy(client: httpx.Client) -> bool:
    try:
        return client.get("/health", timeout=5.0).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _said(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return answer.text[:300]


def _sent(message: dict[str, Any]) -> dict[str, Any]:
    """A message as the API takes it: arguments as JSON text, and nothing of ours."""
    kept = {
        k: v for k, v in message.items() if k in ("role", "content", "tool_calls", "tool_call_id", "name")
    }
    if calls := kept.get("tool_calls"):
        kept["tool_calls"] = [{**call, "function": _as_text(call["function"])} for call in calls]
    return kept


def _as_text(function: dict[str, Any]) -> dict[str, Any]:
    given = function["arguments"]
    return {
        **function,
        "arguments": given if isinstance(given, str) else json.dumps(given, ensure_ascii=False),
    }
