"""Steps of a training run that take no time, for tests of what performs them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from agent_memory.errors import AgentMemoryError
from agent_memory.finetune.gates import Gate
from agent_memory.finetune.pipeline import Progress, Tell
from agent_memory.finetune.run import Outcome, Run


def passes(run: Run, tell: Tell) -> Outcome:
    tell(Progress(text="half of it", done=0.5, seconds_left=1.0, numbers={"loss": 1.5}))
    print("a library prints", flush=True)
    print('{"progress": {"text": "not ours"}}', flush=True)
    return Outcome(gates=[Gate(name="it works", wants="yes", found="yes")], numbers={"rows": 3})


def fails(run: Run, tell: Tell) -> Outcome:
    return Outcome(
        gates=[
            Gate(name="good", wants="yes", found="yes"),
            Gate(name="size", wants="3", found="2", passed=False, remedy="Make it larger."),
        ]
    )


def cannot(run: Run, tell: Tell) -> Outcome:
    raise AgentMemoryError("The sky is down.", "Lift it.")


def crashes(run: Run, tell: Tell) -> Outcome:
    raise ZeroDivisionError("by a zero")


def sleeps(run: Run, tell: Tell) -> Outcome:
    """Sleeps with a process of its own beside it, and says both of their ids."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as child:
        (run.folder / "pids").write_text(f"{os.getpid()} {child.pid}")
        tell(Progress(text="asleep"))
        time.sleep(600)
    return Outcome()


def sleeps_once(run: Run, tell: Tell) -> Outcome:
    """As a training that goes on where it was left."""
    mark = Path(run.folder / "pids")
    return passes(run, tell) if mark.exists() else sleeps(run, tell)
