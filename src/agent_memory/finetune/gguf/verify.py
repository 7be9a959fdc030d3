"""Whether a GGUF file is the model that it was made of: each question a gate, asked of the file on a real server."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent_memory.errors import AgentMemoryError
from agent_memory.finetune.gates import Gate
from agent_memory.finetune.gguf.files import Facts
from agent_memory.finetune.gguf.quantize import FILE_TYPES
from agent_memory.finetune.gguf.server import Server
from agent_memory.finetune.run import Run

CONVERSION_RATIO = 1.05
"""A converted file's perplexity may be so much that of the merged model: both have all bits, so only rounding and other
kernels part them, by one in a hundred. A wrong conversion (a tensor turned, a norm left out) multiplies it."""
QUANTIZED_RATIO = 1.15
"""A quantised file's perplexity may be so much the unquantised one's. Q4_K_M costs one to three in a hundred on models
of billions of weights, five to ten on those of a hundred million; what is beyond broke more than it rounded."""
LISTED = 200
"""Perplexity knows the likeliest tokens by the server's list of so many; one beyond it counts as the list's last."""
PASSAGES, PASSAGE_TOKENS, BEFORE_TOKENS = 8, 32, 384
"""Perplexity is of so many passages, each of so many tokens, after so many that the model may look back at. Two files
are compared on the same tokens, so that a few hundred tell them apart to one in a hundred."""
CONVERSATION: list[dict[str, Any]] = [
    {"role": "system", "content": "You keep the harbour's books."},
    {"role": "user", "content": "Is berth 7 free? Ask for “Łódź” & <Ümit>."},
    {
        "role": "assistant",
        "content": "I look.",
        "tool_calls": [
            {
                "id": "call_0",
                "type": "function",
                "function": {"name": "berth_state", "arguments": {"berth": 7, "for": "Łódź & <Ümit>"}},
            }
        ],
    },
    {"role": "tool", "tool_call_id": "call_0", "name": "berth_state", "content": '{"free": true}'},
]
"""A template must make the same of it in the server as it did in training."""
TOOLS: list[dict[str, Any]] = [
    {
        "type": "function",
        "function": {
            "name": "berth_state",
            "description": "Whether a berth is free.",
            "parameters": {
                "type": "object",
                "properties": {"berth": {"type": "integer"}, "for": {"type": "string"}},
                "required": ["berth"],
            },
        },
    }
]
ODD_TEXTS = (
    "Hello, world!",
    "def f(x):\n\treturn {k: v for k, v in x.items() if v}  # tabs\n\n\n    four",
    'rm -rf ./build && git commit -m "it\'s done" | tee -a log.txt; echo $?',
    "naïve café Łódź Straße İstanbul €5 §3",
    "日本語のテキスト、中文文本，한국어 텍스트",
    "العربية עברית हिन्दी ไทย",
    "🚀 👩‍👩‍👧‍👦 🏳️‍🌈 ☃️",
    "1234567890 3.14159 -0x7F 1e-9 10,000",
    "a     b\t\tc \r\n d\u00a0e\u200bf",
    '<tool_call>\n{"name": "x", "arguments": {"y": 1}}\n</tool_call>',
    "<tool_response>\nok\n</tool_response><tools></tools>",
    "<|im_start|>user\nhi<|im_end|>\n<|endoftext|><|unknown_tag|></s>",
    "I'll you're he'S DON'T we'Ve",
    "CamelCase snake_case kebab-case SCREAMING_SNAKE path/to/file.py:12:3",
    "------======++++++ ''''``` \"\"\" ((())) [[]] {{}}",
    " leading and trailing ",
)
RARE_TEXTS = ("½ ⅓ ² ③ Ⅳ", "™ № ℃ ﬁ", "e\u0301 a\u0308", "\ufeffbom \u202eleft")
"""llama.cpp and Hugging Face's tokenizers know different characters as numbers and letters; where they part here, the
gate says so and lets it through."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    before: list[int]
    tokens: list[int]


def whole(merged: Path) -> Gate:
    """The merged folder has all that its index names, and no number that is none."""
    gate = Gate(name="merged model", wants="whole, every weight finite")
    gaps = [name for name in ("config.json", "tokenizer_config.json") if not (merged / name).is_file()]
    shards = sorted(merged.glob("*.safetensors"))
    index = merged / "model.safetensors.index.json"
    if index.is_file():
        named = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        gaps += sorted(named - {shard.name for shard in shards})
    if gaps or not shards:
        gate.found, gate.passed = f"without {', '.join(gaps) or 'weights'}", False
        return gate
    n, sick = 0, []
    for name, finite in _finite(shards):
        n += 1
        if not finite:
            sick.append(name)
    gate.found, gate.passed = f"{n:,} tensors, {len(sick)} with a number that is none", not sick
    gate.rows = sick[:20]
    return gate


def _finite(shards: Sequence[Path]) -> Any:
    from safetensors import safe_open

    for shard in shards:
        with safe_open(shard, framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118 - it is no dictionary
                yield name, bool(tensors.get_tensor(name).isfinite().all())


def metadata(facts: Facts, quantization: str, *, name: str, licence: str | None, config: Any) -> Gate:
    """`config`: the merged model's, as transformers reads it."""
    wanted = {
        "file type": (facts.file_type, FILE_TYPES[quantization]),
        "name": (facts.name, name),
        "licence": (facts.licence, licence),
        "context": (facts.context, config.max_position_embeddings),
        "layers": (facts.blocks, config.num_hidden_layers),
        "vocabulary": (facts.vocabulary, config.vocab_size),
    }
    wrong = [f"{key} {found!r}, not {want!r}" for key, (found, want) in wanted.items() if found != want]
    return Gate(
        name=f"{quantization}: metadata",
        wants="type, name, licence, context, layers, vocabulary of the merged model",
        found="; ".join(wrong) or f"{facts.architecture}, context {facts.context:,}",
        passed=not wrong,
    )


def tokenizer(server: Server, quantization: str, reference: Any, texts: Sequence[Passage]) -> Gate:
    """The same ids as in training, text by text. `reference`: the merged model's tokenizer; `texts`: held-out rows."""

    def differs(text: str) -> bool:
        return server.tokenize(text) != list(reference.encode(text, add_special_tokens=False))

    held_out = [reference.decode(one.before + one.tokens) for one in texts]
    all_ = [*ODD_TEXTS, "\n".join(ODD_TEXTS), *held_out]
    odd = [text for text in all_ if differs(text)]
    rare = [text for text in RARE_TEXTS if differs(text)]
    return Gate(
        name=f"{quantization}: tokenizer",
        wants="the same tokens for code, scripts, emoji, tags, special tokens and held-out rows",
        found=f"{len(odd)} of {len(all_)} texts differ" + (f", such as {odd[0][:60]!r}" if odd else ""),
        passed=not odd,
        warning=f"rare characters are read otherwise: {', '.join(map(repr, rare))}" if rare else None,
    )


def template(server: Server, facts: Facts, quantization: str, reference: Any) -> Gate:
    """The same template, and the same made of it: a server has its own idea of Jinja."""
    rendered = reference.apply_chat_template(
        CONVERSATION, tools=TOOLS, tokenize=False, add_generation_prompt=True
    )
    same, alike = facts.template == reference.chat_template, False
    if same:
        alike = server.render(CONVERSATION, TOOLS) == rendered
    return Gate(
        name=f"{quantization}: chat template",
        wants="the merged model's, and the same text made of it",
        found="the same" if alike else ("the server renders it otherwise" if same else "another one"),
        passed=alike,
    )


def answers(server: Server, quantization: str) -> Gate:
    told = server.post(
        "/v1/chat/completions",
        {
            "messages": [{"role": "user", "content": "Say hello."}],
            "temperature": 0,
            "max_tokens": 16,
            "ignore_eos": True,
        },
    )
    n = int(told["usage"]["completion_tokens"])
    return Gate(
        name=f"{quantization}: loads and answers",
        wants="at least a token",
        found=f"{n} tokens",
        passed=n > 0,
    )


def passages(file: Path, reference: Any) -> list[Passage]:
    """Of held-out rows (JSON lines as TRL has them): of each the end, where the agent speaks."""
    found: list[Passage] = []
    with file.open(encoding="utf-8") as rows:
        for line in rows:
            row = json.loads(line)
            text = reference.apply_chat_template(
                row["messages"], tools=json.loads(row["tools"]), tokenize=False
            )
            ids = list(reference.encode(text, add_special_tokens=False))[-(BEFORE_TOKENS + PASSAGE_TOKENS) :]
            if len(ids) > PASSAGE_TOKENS:
                found.append(Passage(before=ids[:-PASSAGE_TOKENS], tokens=ids[-PASSAGE_TOKENS:]))
            if len(found) == PASSAGES:
                break
    return found


def perplexity(server: Server, texts: Sequence[Passage]) -> float:
    """Over all tokens of the passages, as the server gives their probabilities. No llama.cpp program but the server is
    everywhere, so this is asked of it, a token a request: it keeps what it has read."""
    lost, n = 0.0, 0
    (letter, *_) = server.tokenize("a")
    for passage in texts:
        for place, token in enumerate(passage.tokens):
            told = server.post(
                "/completion",
                {
                    "prompt": passage.before + passage.tokens[:place],
                    "n_predict": 1,
                    "n_probs": LISTED,
                    "temperature": 0,
                    "cache_prompt": True,
                    # What is told is what the model thinks, whatever is then said: always the same letter, since of a
                    # token that ends the answer, or that is half a character, nothing is told.
                    "logit_bias": [[letter, 1_000.0]],
                },
            )
            likely = {
                one["id"]: one["logprob"] for one in told["completion_probabilities"][0]["top_logprobs"]
            }
            lost -= likely.get(token, min(likely.values()))
            n += 1
    return math.exp(lost / n)


def reference_perplexity(run: Run, texts: Sequence[Passage]) -> float:
    """The merged model's own, by transformers."""
    import torch
    from transformers import AutoConfig

    from agent_memory.finetune.training import base

    device = base.device(run.config.training)
    config = AutoConfig.from_pretrained(run.merged)
    model = base.load(run.merged, config, base.dtype(run.config.training, device), device).eval()
    lost, n = 0.0, 0
    with torch.inference_mode():
        for passage in texts:
            ids = torch.tensor([passage.before + passage.tokens], device=device)
            first = len(passage.before)
            logits = model(ids).logits[0, first - 1 : -1].float().log_softmax(-1)
            likely = logits.topk(min(LISTED, logits.shape[-1])).values[:, -1]  # as the server's list ends
            given = logits.gather(-1, ids[0, first:, None])[:, 0]
            lost -= float(torch.maximum(given, likely).sum())
            n += len(passage.tokens)
    return math.exp(lost / n)


def near(name: str, found: float, reference: float, ratio: float) -> Gate:
    """A perplexity against the one that it should be near."""
    if not math.isfinite(reference) or reference <= 0:
        raise AgentMemoryError(
            "The merged model has no perplexity: it makes numbers that are none.", "Train it again."
        )
    return Gate(
        name=name,
        wants=f"at most {ratio:.2f} times {reference:,.2f}",
        found=f"{found:,.2f}: {found / reference:.3f} times",
        passed=found <= reference * ratio,
    )
