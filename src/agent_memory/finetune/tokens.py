"""How many tokens a text has: by a tokenizer's own file, or by an estimate that says that it is one."""

from __future__ import annotations

from pathlib import Path

from agent_memory.errors import AgentMemoryError
from agent_memory.finetune.rows import Count

CHARS_PER_TOKEN = 3.5
"""Code and English with tokenizers of 50,000 to 150,000 words, on the careful side."""


def counter(tokenizer: Path | None) -> tuple[Count, str]:
    """A function that counts, and what the manifest says of it. Raises AgentMemoryError: no such file, or no
    tokenizer."""
    if tokenizer is None:
        return estimate, f"an estimate: {CHARS_PER_TOKEN} characters a token"
    import tokenizers

    file = tokenizer / "tokenizer.json" if tokenizer.is_dir() else tokenizer
    try:
        made = tokenizers.Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises bare Exception
        raise AgentMemoryError(
            f"{file} is no tokenizer: {error}", "Name the tokenizer.json of the model that you want to train."
        ) from error
    made.no_truncation()
    return lambda text: len(
        made.encode(text, add_special_tokens=False).ids
    ), f"{file.name} of {file.parent.name}"


def estimate(text: str) -> int:
    return -int(-len(text) // CHARS_PER_TOKEN)
