"""What is found out about a base and its rows before anything is trained; and the rows in tokens."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent_memory.finetune.gates import Gate
from agent_memory.finetune.pipeline import Progress, Tell
from agent_memory.finetune.run import Run
from agent_memory.finetune.training import base, source, tags
from agent_memory.finetune.training.encode import Counts, Encoder, faults, fitted

LOOKED_AT = 20
"""So many rows are looked at closely."""


@dataclass(slots=True, kw_only=True)
class Ready:
    """All that a training needs, before it begins."""

    model: Any
    tokenizer: Any
    encoder: Encoder
    tags: tags.Tags
    dtype: Any
    device: str
    gates: list[Gate] = field(default_factory=list)


def look(run: Run, tell: Tell) -> Ready:
    """The base in memory, and what is found out about it and the rows without training."""
    import torch
    import transformers

    training = run.config.training
    device = base.device(training)
    if device == "cuda" and torch.cuda.device_count() > 1 and alone():
        os.environ["CUDA_VISIBLE_DEVICES"] = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
        tell(Progress(text="Of several GPUs this uses one. docs/fine_tune/training.md says how to use all."))
    folder = base.folder(run)
    dtype = base.dtype(training, device)
    tell(Progress(text=f"Base {folder}, on {device}, in {str(dtype).removeprefix('torch.')}"))
    transformers.set_seed(training.seed)
    tokenizer = base.tokenizer(run, folder)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    model = base.load(folder, base.config(run, folder), dtype, device)
    encoder = Encoder(tokenizer, base.stops(model, tokenizer))
    looked_at = list(source.some(run.data, LOOKED_AT))
    found = [(row["id"], fault) for row in looked_at for fault in faults(encoder, row)]
    spans = [span for row in looked_at for span in encoder.encode(row).spans()]
    ready = Ready(
        model=model,
        tokenizer=tokenizer,
        encoder=encoder,
        tags=tags.look(model, tokenizer, spans),
        dtype=dtype,
        device=device,
    )
    ready.gates = [
        Gate(
            name="what is trained",
            wants="each of the agent's messages, whole, with its end, and nothing else",
            found="; ".join(sorted({fault for _, fault in found})) or f"so in {len(looked_at)} rows",
            passed=not found,
            rows=[id_ for id_, _ in found],
            remedy="Set base.template to one that fits the base, such as qwen2_5.",
        ),
        _tags_gate(run, ready.tags),
    ]
    return ready


def _tags_gate(run: Run, found: tags.Tags) -> Gate:
    wanted = run.config.lora.train_tags
    told = f"{', '.join(found.tokens) or 'no tokens of their own'}"
    if found.untrained:
        told = f"the base never learned {', '.join(found.untrained)}"
    trains = wanted is True or (wanted == "auto" and found.untrained)
    return Gate(
        name="tool-call tokens",
        wants="learned by the base, or trained now (lora.train_tags: auto)",
        found=told + ("; they are trained" if trains else ""),
        passed=not found.untrained or bool(trains),
        remedy="Set lora.train_tags to auto, or take another base.",
    )


def tokens(
    data: Path, part: str, encoder: Encoder, context: int, wanted: int | None, counts: Counts, cache: Path
) -> Any:
    """The rows as a data set of tokens and labels, in a file: memory does not grow with it."""
    import datasets

    datasets.disable_progress_bars()

    def all_() -> Iterator[dict[str, list[int]]]:
        for row in source.rows(data, part) if wanted is None else source.some(data, wanted, part):
            if encoded := fitted(encoder.encode(row), context, counts):
                yield {"input_ids": encoded.input_ids, "labels": encoded.labels}

    features = datasets.Features(
        {name: datasets.List(datasets.Value("int32")) for name in ("input_ids", "labels")}
    )
    return datasets.Dataset.from_generator(
        all_, features=features, cache_dir=str(cache), fingerprint=f"{part}-{os.getpid()}"
    )


def fits_gate(counts: Counts, context: int) -> Gate:
    total = counts.rows + counts.left_out
    return Gate(
        name="rows that fit",
        wants=f"at least half, within {context:,} tokens",
        found=f"{counts.rows:,} of {total:,}, {counts.cut:,} of them cut after the last answer that fits",
        passed=counts.rows * 2 >= total and counts.rows > 0,
        remedy="Raise training.context, or make the data set with fewer tokens a row.",
        warning=f"{counts.left_out:,} rows are left out and {counts.cut:,} cut: raise training.context"
        if counts.left_out or counts.cut
        else None,
    )


def alone() -> bool:
    """Whether this is the only process of a training."""
    return os.environ.get("WORLD_SIZE", "1") == "1"
