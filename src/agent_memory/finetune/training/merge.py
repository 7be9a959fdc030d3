"""The base and what was learned in one model: what is evaluated, and what becomes a GGUF."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import psutil
import torch

from agent_memory.finetune.run import Run
from agent_memory.finetune.training import base


def merge(run: Run) -> None:
    """Write `merged`: weights in the type that the base has them in, the tokenizer with its chat template, how to
    generate. In one step, over what was there."""
    folder = base.folder(run)
    config = base.config(run, folder)
    stored = config.dtype or torch.float32
    model = adapted(folder, config, run.adapter, of=_precise(folder, stored), on="cpu")
    merged = model.merge_and_unload(safe_merge=True).to(stored)
    draft = Path(tempfile.mkdtemp(prefix=".merged-", dir=run.folder))
    try:
        merged.save_pretrained(draft)
        base.tokenizer(run, folder).save_pretrained(draft)
        shutil.rmtree(run.merged, ignore_errors=True)
        draft.rename(run.merged)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def adapted(folder: Path, config: Any, adapter: Path, *, of: torch.dtype, on: str) -> Any:
    """The base with the adapter beside it."""
    import peft

    return peft.PeftModel.from_pretrained(base.load(folder, config, of, on), adapter)


def _precise(folder: Path, stored: torch.dtype) -> torch.dtype:
    """Adding is done in 32 bits where the memory is there: sums in 16 bits lose what a gentle training learned."""
    weights = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    whole = weights * 4 // stored.itemsize
    return torch.float32 if whole * 3 // 2 < psutil.virtual_memory().available else stored
