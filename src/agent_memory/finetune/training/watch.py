"""What is seen of a training: the curve's file, the marks on whole checkpoints, and how far it is."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from agent_memory.finetune.pipeline import Progress, Tell
from agent_memory.finetune.run import Run
from agent_memory.finetune.training.checkpoints import WHOLE

_NAMES = {
    "loss": "loss",
    "eval_loss": "eval_loss",
    "grad_norm": "grad_norm",
    "learning_rate": "learning_rate",
    "mean_token_accuracy": "accuracy",
    "eval_mean_token_accuracy": "eval_accuracy",
}
"""What TRL logs → what a line of the curve calls it."""


def watch(place: Run, tell: Tell, *, resumed_at: int) -> Any:
    """Writes the curve, marks checkpoints that are whole, and tells how far it is."""
    from transformers import TrainerCallback

    class Watch(TrainerCallback):  # type: ignore[misc]
        began, told_at, first = 0.0, 0.0, resumed_at

        def on_train_begin(self, _args: Any, state: Any, _control: Any, **_: Any) -> None:
            self.began = time.monotonic()
            if state.is_world_process_zero:
                kept = [line for line in read(place.metrics) if line["step"] <= resumed_at]
                place.metrics.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")

        def on_step_end(self, _args: Any, state: Any, _control: Any, **_: Any) -> None:
            now = time.monotonic()
            if state.is_world_process_zero and now - self.told_at > 1:
                self.told_at = now
                pace = (now - self.began) / max(1, state.global_step - self.first)
                tell(
                    Progress(
                        done=state.global_step / state.max_steps,
                        seconds_left=round(pace * (state.max_steps - state.global_step), 1),
                    )
                )

        def on_log(self, _args: Any, state: Any, _control: Any, logs: Any = None, **_: Any) -> None:
            if not state.is_world_process_zero or not logs or not {"loss", "eval_loss"} & logs.keys():
                return
            line = {"step": state.global_step, "epoch": round(state.epoch or 0.0, 4)}
            line |= {ours: float(logs[its]) for its, ours in _NAMES.items() if its in logs}
            with place.metrics.open("a", encoding="utf-8") as out:
                out.write(json.dumps(line) + "\n")
            which = "loss" if "loss" in line else "eval_loss"
            words = "loss" if which == "loss" else "held-out loss"
            tell(
                Progress(
                    text=f"step {state.global_step} of {state.max_steps}: {words} {line[which]:.4f}",
                    numbers=line,
                )
            )

        def on_save(self, args: Any, state: Any, _control: Any, **_: Any) -> None:
            if state.is_world_process_zero:
                (Path(args.output_dir) / f"checkpoint-{state.global_step}" / WHOLE).touch()

    return Watch()


def read(metrics: Path) -> list[dict[str, Any]]:
    if not metrics.exists():
        return []
    with metrics.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines if line.endswith("\n")]
