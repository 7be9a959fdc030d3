"""A model of a few hundred thousand random weights with a vocabulary of its own, and a small world of tool calls that
it can learn in seconds: what the pipeline's tests train."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

from agent_memory.finetune import formats

Row = dict[str, Any]
TAGS = ("<tool_call>", "</tool_call>")
UNUSED = 16
"""Rows of the vocabulary that stand for nothing, as real models have them."""
_FILES = ("main", "app", "shop", "cart", "till", "order", "price", "stock", "mail", "page")
_CHECKS = ("test", "lint", "build", "types")


def tool(name: str, *arguments: str) -> dict[str, Any]:
    parameters = {
        "type": "object",
        "properties": {one: {"type": "string"} for one in arguments},
        "required": list(arguments),
    }
    told = {"name": name, "description": f"The tool {name}.", "parameters": parameters}
    return {"type": "function", "function": told}


TOOLS = [tool("Bash", "command"), tool("Read", "path")]


def rows(count: int, seed: int = 0) -> list[Row]:
    """Sessions in which a check fails, a file is read, and the check goes well; as a published data set has them."""
    rng = Random(seed)
    return [_row(f"session-{seed}-{n}", rng) for n in range(count)]


def _row(session: str, rng: Random) -> Row:
    file, check = rng.choice(_FILES), rng.choice(_CHECKS)
    wrong, right = f"make {check}s", f"make {check}"
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": "You are a coding agent."},
        {"role": "user", "content": f"Please {check} {file}.py"},
    ]
    failed = []
    for name, arguments, result, fails in (
        ("Bash", {"command": wrong}, f"No rule for {check}s. Say {check}.", True),
        ("Bash", {"command": right}, f"{file}.py is odd", False),
        ("Read", {"path": f"{file}.py"}, f"{file} = {rng.randrange(10)}", False),
    ):
        if fails and rng.random() < 0.5:
            continue
        id_ = f"call_{sum('tool_calls' in m for m in messages)}"
        call = {"id": id_, "type": "function", "function": {"name": name, "arguments": arguments}}
        messages.append({"role": "assistant", "content": "", "tool_calls": [call]})
        messages.append({"role": "tool", "tool_call_id": id_, "name": name, "content": result})
        failed += [id_] * fails
    messages.append({"role": "assistant", "content": f"I looked at {file}.py."})
    return {"id": f"{session}/main/0", "messages": messages, "tools": json.dumps(TOOLS), "failed": failed}


def make_set(folder: Path, train: Sequence[Row], validation: Sequence[Row]) -> Path:
    """A published data set's folder, as far as training reads it."""
    folder.mkdir(parents=True)
    files = {}
    for name, told in (("train.jsonl", train), ("validation.jsonl", validation)):
        content = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in told).encode()
        (folder / name).write_bytes(content)
        files[name] = {
            "bytes": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
            "rows": len(told),
        }
    manifest = {
        "format": "trl",
        "rows": {"train": len(train), "validation": len(validation)},
        "gates": [],
        "warnings": [],
        "files": files,
    }
    (folder / "MANIFEST.json").write_text(json.dumps(manifest, indent=2), encoding="utf-8")
    return folder


def make_model(
    folder: Path,
    texts: Iterable[str],
    *,
    vocabulary: int = 600,
    hidden: int = 64,
    layers: int = 2,
    tied: bool = True,
    untrained_tags: bool = False,
) -> Path:
    """The model's folder in Hugging Face's format. `untrained_tags`: the rows of a call's tags are what unused ones
    are, as in some real models."""
    import torch
    import transformers

    tokenizer = make_tokenizer(texts, vocabulary)
    torch.manual_seed(0)
    config = transformers.Qwen2Config(
        vocab_size=len(tokenizer) + UNUSED,
        hidden_size=hidden,
        intermediate_size=4 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=2_048,
        tie_word_embeddings=tied,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
        initializer_range=0.12,  # random features that are worth something: LoRA can learn from them
    )
    model = transformers.Qwen2ForCausalLM(config)
    with torch.no_grad():
        for module in (model.get_input_embeddings(), *([] if tied else [model.lm_head])):
            module.weight.normal_(0.0, 0.3)  # else a random model cannot be sure of anything
            unused = module.weight[-1].clone()
            module.weight[-UNUSED:] = unused
            if untrained_tags:
                module.weight[tokenizer.convert_tokens_to_ids(list(TAGS))] = unused
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def make_tokenizer(texts: Iterable[str], vocabulary: int) -> Any:
    """A byte-level BPE of its own with ChatML's tokens, a call's tags, and Qwen 2.5's chat template."""
    import tokenizers
    import transformers
    import trl

    made = tokenizers.Tokenizer(tokenizers.models.BPE())
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = tokenizers.decoders.ByteLevel()
    specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=specials,
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator(texts, trainer)
    made.add_tokens([tokenizers.AddedToken(tag, special=False, normalized=False) for tag in TAGS])
    tokenizer: Any = transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, eos_token="<|im_end|>", pad_token="<|endoftext|>"
    )
    templates = Path(trl.__file__).parent / "chat_templates"
    tokenizer.chat_template = (templates / "qwen2_5.jinja").read_text(encoding="utf-8")
    return tokenizer


def texts(told: Iterable[Mapping[str, Any]]) -> list[str]:
    """What the model reads of rows, for a vocabulary."""
    return [formats.render(row, "qwen2.5")["text"] for row in told]
