"""LoRA on the agent's own words: rows into tokens, the checks that cost no training, TRL's trainer, and a merged model.

`smoke` and `train` are steps of a run. On hosts without the database the same training runs alone, by
`torchrun … -m agent_memory.finetune.training.train FOLDER`; the step then finds it done.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from agent_memory.errors import AgentMemoryError
from agent_memory.finetune import curve, dataset
from agent_memory.finetune import run as runs
from agent_memory.finetune.files import sha256
from agent_memory.finetune.gates import Gate
from agent_memory.finetune.index import TRAIN, VALIDATION
from agent_memory.finetune.pipeline import Progress, Tell
from agent_memory.finetune.run import Outcome, Run
from agent_memory.finetune.training import checkpoints, source, tags, watch
from agent_memory.finetune.training.encode import Counts
from agent_memory.finetune.training.ready import Ready, alone, fits_gate, look, tokens
from agent_memory.finetune.training.trouble import plainly

HELD_OUT = 40
"""So many held-out rows tell at each epoch's end whether what is learned holds for others."""
LOGGED = 300
"""About so many points has a curve."""
_TRAINED, _MADE_FROM, _ROWS = "trained.json", "made_from.json", ".rows-"


def smoke(run: Run, tell: Tell) -> Outcome:
    """A short training, to find what would spoil the long one."""
    return fit(run, run.smoke, rows=run.config.smoke.rows, epochs=run.config.smoke.epochs, tell=tell)


def train(run: Run, tell: Tell) -> Outcome:
    """The training itself, from its last checkpoint where there is one; then the base and what was learned in one."""
    outcome = fit(run, run.folder, rows=None, epochs=run.config.training.epochs, tell=tell)
    if outcome.passed:
        from agent_memory.finetune.training.merge import merge

        tell(Progress(text="Merging what was learned into the base …"))
        merge(run)
    return outcome


def fit(run: Run, into: Path, *, rows: int | None, epochs: float, tell: Tell) -> Outcome:
    """Train on `rows` of the data set, or on all, into the folder `into`: checkpoints, metrics, curve, adapter."""
    place = replace(run, folder=into)
    _clear(place, _made_from(run, rows, epochs))
    if (into / _TRAINED).exists():  # on other hosts, or by a step that was stopped right after
        told = json.loads((into / _TRAINED).read_text(encoding="utf-8"))
        tell(Progress(text="It is trained already.", done=1.0))
        return Outcome(gates=[Gate(**gate) for gate in told["gates"]], numbers=told["numbers"])
    try:
        ready = look(run, tell)
        if not all(gate.passed for gate in ready.gates):
            return Outcome(gates=ready.gates)
        if alone():
            for left in into.glob(f"{_ROWS}*"):  # of a training that was killed
                shutil.rmtree(left)
        with tempfile.TemporaryDirectory(prefix=_ROWS, dir=into) as cache:
            return _trained(run, place, ready, Path(cache), rows=rows, epochs=epochs, tell=tell)
    except (OSError, RuntimeError, MemoryError) as error:
        if plain := plainly(error, into):
            raise plain from error
        raise


def _made_from(run: Run, rows: int | None, epochs: float) -> dict[str, Any]:
    """What decides what is learned; the folder's earlier content is of use only where it is the same."""
    told = source.manifest(run.data)
    if not told["rows"][TRAIN]:
        raise AgentMemoryError(f"{run.data} has no rows for training.", "Record more, or ask for more.")
    config = run.config.model_dump(mode="json")
    how = {key: one for key, one in config["training"].items() if key not in ("device", "save_every")}
    return {
        "data": sha256(run.data / dataset.MANIFEST),
        "template": run.config.base.template,
        "lora": config["lora"],
        "training": how,
        "rows": rows,
        "epochs": epochs,
    }


def _clear(place: Run, made_from: dict[str, Any]) -> None:
    """Make the folder, and empty it of what was learned from something else. The first process does."""
    file = place.folder / _MADE_FROM
    place.folder.mkdir(mode=0o700, exist_ok=True)
    if not _first():
        return
    if file.exists() and json.loads(file.read_text(encoding="utf-8")) == made_from:
        return
    for folder in (place.checkpoints, place.adapter, place.merged):
        shutil.rmtree(folder, ignore_errors=True)
    for old in (place.metrics, place.folder / _TRAINED):
        old.unlink(missing_ok=True)
    file.write_text(json.dumps(made_from), encoding="utf-8")


def _trained(
    run: Run, place: Run, ready: Ready, cache: Path, *, rows: int | None, epochs: float, tell: Tell
) -> Outcome:
    import torch
    from transformers import PrinterCallback
    from trl import SFTTrainer

    context, counts = run.config.training.context, Counts()
    tell(Progress(text="Turning rows into tokens …"))
    learned = tokens(run.data, TRAIN, ready.encoder, context, rows, counts, cache)
    held_out = tokens(run.data, VALIDATION, ready.encoder, context, HELD_OUT, Counts(), cache)
    fits = fits_gate(counts, context)
    tell(
        Progress(
            text=f"{counts.rows:,} rows, {counts.tokens:,} tokens, {counts.label_tokens:,} of them trained"
        )
    )
    if not fits.passed:
        return Outcome(gates=[*ready.gates, fits], numbers={"rows": asdict(counts)})
    if counts.rows < 1:
        raise AgentMemoryError("No row fits.", "Raise training.context.")
    checkpoint = checkpoints.last_whole(place.checkpoints)
    watcher = watch.watch(place, tell, resumed_at=checkpoints.step_of(checkpoint))
    trainer = SFTTrainer(
        model=_adapted(run, ready),
        args=_arguments(run, place, ready, counts.rows, epochs, evaluates=len(held_out) > 0),
        train_dataset=learned,
        eval_dataset=held_out if len(held_out) else None,
        processing_class=ready.tokenizer,
        callbacks=[watcher],
    )
    trainer.remove_callback(PrinterCallback)
    if checkpoint:
        tell(Progress(text=f"Going on from step {checkpoints.step_of(checkpoint)}"))
    began = time.monotonic()
    result = trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    points = watch.read(place.metrics) if trainer.is_world_process_zero() else []
    outcome = Outcome(
        gates=[*ready.gates, fits, *_loss_gates(points)],
        numbers={
            "rows": asdict(counts),
            "steps": result.global_step,
            "processes": trainer.args.world_size,
            "loss": round(float(result.training_loss), 4),
            "seconds": round(time.monotonic() - began, 1),
            "device": ready.device,
            "dtype": str(ready.dtype).removeprefix("torch."),
            "trained parameters": sum(p.numel() for p in trainer.model.parameters() if p.requires_grad),
            "tokens trained on their own": sorted(ready.tags.untrained),
        },
    )
    if ready.device == "cuda":
        outcome.numbers["gpu_peak_mb"] = round(torch.cuda.max_memory_allocated() / 2**20)
    if trainer.is_world_process_zero():
        trainer.model.save_pretrained(place.adapter, save_embedding_layers=False)
        (place.folder / "loss.svg").write_text(curve.draw(points, style=curve.STYLE), encoding="utf-8")
        told = {"gates": [gate.as_dict() for gate in outcome.gates], "numbers": outcome.numbers}
        (place.folder / _TRAINED).write_text(json.dumps(told, indent=2), encoding="utf-8")
    return outcome


def _adapted(run: Run, ready: Ready) -> Any:
    """The base with what is to be trained: LoRA beside each layer, and the tags' own rows where they need it."""
    import peft

    wanted = run.config.lora.train_tags
    trains = bool(ready.tags.tokens) and (wanted is True or (wanted == "auto" and bool(ready.tags.untrained)))
    config = peft.LoraConfig(
        r=run.config.lora.rank,
        lora_alpha=run.config.lora.alpha,
        lora_dropout=run.config.lora.dropout,
        target_modules="all-linear",
        trainable_token_indices=tags.trainable(ready.model, ready.tags) if trains else None,
        task_type="CAUSAL_LM",
    )
    model = peft.get_peft_model(ready.model, config)
    head = model.get_output_embeddings()
    if not hasattr(head, "bias"):  # PEFT's wrapper around trained rows has none, and TRL's loss asks for it
        head.bias = getattr(head.original_module, "bias", None)
    return model


def _arguments(run: Run, place: Run, ready: Ready, rows: int, epochs: float, *, evaluates: bool) -> Any:
    from trl import SFTConfig

    training = run.config.training
    world = int(os.environ.get("WORLD_SIZE", "1"))
    steps = math.ceil(rows / (training.batch * training.accumulate * world)) * epochs
    return SFTConfig(
        output_dir=str(place.checkpoints),
        num_train_epochs=epochs,
        per_device_train_batch_size=training.batch,
        per_device_eval_batch_size=training.batch,
        gradient_accumulation_steps=training.accumulate,
        learning_rate=training.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=min(20, int(steps // 10)),
        max_grad_norm=1.0,
        logging_steps=max(1, int(steps // LOGGED)),
        eval_strategy="epoch" if evaluates else "no",
        eval_on_start=evaluates,
        prediction_loss_only=True,
        save_strategy="steps",
        save_steps=training.save_every,
        save_total_limit=2,
        max_length=None,  # rows were cut to the context, at the end of an answer
        dataset_kwargs={"skip_prepare_dataset": True},
        use_cpu=ready.device == "cpu",
        ddp_backend="gloo" if ready.device == "cpu" and world > 1 else None,
        ddp_find_unused_parameters=False if world > 1 else None,
        bf16=False,  # the base's numbers are in the wanted type themselves, the adapter's are whole
        fp16=str(ready.dtype) == "torch.float16",
        activation_checkpointing=ready.device != "cpu",
        dataloader_pin_memory=ready.device == "cuda",
        report_to=[],
        disable_tqdm=True,
        log_level="error",
        seed=training.seed,
        data_seed=training.seed,
    )


def _loss_gates(lines: Sequence[dict[str, Any]]) -> list[Gate]:
    if not lines:  # not the process that writes
        return []
    losses = [line["loss"] for line in lines if "loss" in line]
    held_out = [line["eval_loss"] for line in lines if "eval_loss" in line]
    few = max(1, len(losses) // 5)
    if len(held_out) > 1:
        what, before, after = "held-out loss", held_out[0], held_out[-1]
    else:
        what, before, after = "loss", sum(losses[:few]) / few, sum(losses[-few:]) / few
    finite = all(map(math.isfinite, [*losses, *held_out]))
    return [
        Gate(
            name="loss",
            wants="a number at each step",
            found="so" if finite else "not at all",
            passed=finite,
            remedy="Lower training.learning_rate, or set training.dtype to float32.",
        ),
        Gate(
            name=f"{what} fell",
            wants="lower at the end",
            found=f"{before:.4f}, then {after:.4f}",
            passed=after < before,
            remedy="Lower training.learning_rate, train on more rows, or for more epochs.",
        ),
    ]


def main(argv: Sequence[str]) -> int:
    """The training of a run's folder, alone: for hosts without the database, and for several processes at once."""
    import torch

    (folder,) = argv
    run = runs.load(Path(folder))
    first = _first()
    passed = [name for name, step in run.steps.items() if step.state == "passed"]
    try:
        if missing := [name for name in ("dataset", "smoke", "smoke-check") if name not in passed]:
            raise AgentMemoryError(
                f"{run.name} has not passed {', '.join(missing)}, and nothing is trained before.",
                "Do that first, where the journal is: agent-memory finetune train --until smoke-check",
            )
        outcome = fit(
            run, run.folder, rows=None, epochs=run.config.training.epochs, tell=_print if first else _quiet
        )
    except AgentMemoryError as error:
        print(f"error: {error.problem}\n  what to do: {error.remedy}", file=sys.stderr)  # noqa: T201
        return 1
    finally:
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
    if first:
        for gate in outcome.gates:
            print(f"{'passed' if gate.passed else 'FAILED'}  {gate.name}: {gate.found}")  # noqa: T201
    return 0 if outcome.passed else 24


def _first() -> bool:
    """Whether this process is the one that writes."""
    return os.environ.get("RANK", "0") == "0"


def _print(progress: Progress) -> None:
    if progress.text:
        print(progress.text, flush=True)  # noqa: T201


def _quiet(progress: Progress) -> None:
    pass


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
