"""The wizard: the steps of a training run on the screen. It performs them as the command line does."""

from __future__ import annotations

from pathlib import Path


def start(file: Path | None, *, change: bool) -> None:
    """Show the run of this configuration, or let one be chosen; return when the user leaves. Raises AgentMemoryError:
    the file is no configuration, or there is a run of this name that is configured otherwise."""
    from agent_memory.finetune import config, pipeline
    from agent_memory.finetune.wizard.app import Wizard

    Wizard(pipeline.begin(config.load(file), change=change) if file else None).run()
