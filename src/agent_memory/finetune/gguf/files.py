"""What a GGUF file says of itself, and the memory that it needs."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BATCH_TOKENS = 512
"""llama.cpp reads a prompt in batches of so many tokens, with the logits of each in memory."""
K_BLOCK = 256
"""A k-quant packs so many weights of a row together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    bytes: int
    architecture: str
    file_type: int
    name: str
    licence: str | None
    context: int
    """The longest that the model knows, in tokens."""
    blocks: int
    vocabulary: int
    cache_bytes: int
    """A token's share of the key-value cache, at 16 bits."""
    template: str | None
    tensors: dict[str, int]
    """Type → how many."""
    narrow: int
    """How many weights have rows that no k-quant can pack, so that they are kept in a larger type."""

    def memory(self, context: int) -> int:
        """Bytes: the weights, the cache of `context` tokens, and the room to compute."""
        return self.bytes + context * self.cache_bytes + BATCH_TOKENS * self.vocabulary * 4


def read(file: Path) -> Facts:
    from gguf import GGUFReader

    reader = GGUFReader(file)

    def value(key: str, default: Any = None) -> Any:
        found = reader.get_field(key)
        return default if found is None else found.contents()

    arch = value("general.architecture")
    heads = value(f"{arch}.attention.head_count")
    blocks = int(value(f"{arch}.block_count"))
    default = int(value(f"{arch}.embedding_length")) // (
        max(heads) if isinstance(heads, list) else int(heads)
    )
    wide = int(value(f"{arch}.attention.key_length", default)) + int(
        value(f"{arch}.attention.value_length", default)
    )
    kept = value(f"{arch}.attention.head_count_kv", heads)
    tokens = reader.get_field("tokenizer.ggml.tokens")
    return Facts(
        bytes=file.stat().st_size,
        architecture=str(arch),
        file_type=int(value("general.file_type", -1)),
        name=str(value("general.name", "")),
        licence=value("general.license"),
        context=int(value(f"{arch}.context_length")),
        blocks=blocks,
        vocabulary=len(tokens.data) if tokens else 0,
        cache_bytes=2 * wide * (sum(kept) if isinstance(kept, list) else blocks * int(kept)),
        template=value("tokenizer.chat_template"),
        tensors=dict(Counter(t.tensor_type.name for t in reader.tensors).most_common()),
        narrow=sum(1 for t in reader.tensors if len(t.shape) == 2 and int(t.shape[0]) % K_BLOCK),
    )


def megabytes(size: float) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
