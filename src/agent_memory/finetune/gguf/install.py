"""Put a run's GGUF files where LM Studio finds them, and take exactly those back.

A receipt in the home says what lies where, so that neither a file of somebody else's is overwritten nor one removed.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from agent_memory import paths
from agent_memory.errors import AgentMemoryError
from agent_memory.finetune import register
from agent_memory.finetune.files import sha256
from agent_memory.finetune.gates import Gate
from agent_memory.finetune.gguf.files import megabytes
from agent_memory.finetune.pipeline import Progress, Tell
from agent_memory.finetune.run import Outcome, Run

MEMORY_BYTES = 6_000_000_000
"""A model that needs more leaves a laptop of eight gigabytes no room for the editor and the agent beside it."""


def install(run: Run, tell: Tell) -> Outcome:
    """The step. Files that need too much memory are left out, with a warning; if all do, the gate fails. Raises
    AgentMemoryError: the run may not be installed, or a file of somebody else's is in the way."""
    made = _verified(run)
    folder = lm_studio() / run.config.install.publisher / run.name
    fits = {name: file for name, file in made.items() if file["memory_bytes"] <= MEMORY_BYTES}
    outcome = Outcome(gates=[_as_verified(run, made), _memory(made, fits)])
    outcome.numbers = {"folder": str(folder), "files": {}}
    if not outcome.passed:
        return outcome
    receipt = _receipt()
    ours = receipt.get(run.name, {})
    for name in fits:
        target = folder / name
        if _there(target) and str(target) not in ours and sha256(target) != sha256(run.models / name):
            raise AgentMemoryError(
                f"{target} is there already, and it is not ours.",
                "Move it away, or choose another install.publisher or name.",
            )
    _check_room(run, folder, fits)
    paths.make_private(folder)
    for name, file in fits.items():
        target = folder / name
        how = _put(run.models / name, target)
        # Written down at once: what a broken-off installation leaves can be taken back, too.
        ours = {**ours, str(target): {"sha256": sha256(target), "bytes": file["bytes"]}}
        _write({**_receipt(), run.name: ours})
        outcome.numbers["files"][str(target)] = {**file, "how": how}
        tell(
            Progress(
                text=f"{target} ({how}): {megabytes(file['bytes'])}, and {megabytes(file['memory_bytes'])} of memory"
                f" at a context of {file['memory_context']:,} tokens"
            )
        )
    for old in [place for place in ours if Path(place) not in {folder / name for name in fits}]:
        _take_back(Path(old), ours.pop(old))  # of an earlier configuration
    _write({**_receipt(), run.name: ours})
    for line in elsewhere(folder / min(fits, key=lambda name: int(fits[name]["bytes"])), fits):
        tell(Progress(text=line))
    return outcome


def remove(run: Run) -> list[Path]:
    """Take back what was installed of this run: only files that are still what was put there. What is gone."""
    return remove_named(run.name)


def remove_named(name: str) -> list[Path]:
    """As `remove`, for a run that may not be there any more."""
    receipt = _receipt()
    gone = [Path(place) for place, told in receipt.pop(name, {}).items() if _take_back(Path(place), told)]
    _write(receipt)
    return gone


def lm_studio() -> Path:
    """LM Studio's folder of models, whether it is there or not: as its settings name it, else in its home."""
    home = Path.home()
    homes = [home / ".lmstudio", home / ".cache" / "lm-studio"]
    with contextlib.suppress(OSError):
        homes.insert(0, Path((home / ".lmstudio-home-pointer").read_text(encoding="utf-8").strip()))
    for one in homes:
        with contextlib.suppress(OSError, ValueError, AttributeError):
            named = json.loads((one / "settings.json").read_text(encoding="utf-8")).get("downloadsFolder")
            if isinstance(named, str) and named:
                return Path(named).expanduser()
    return next((one for one in homes if one.is_dir()), homes[0]) / "models"


def elsewhere(file: Path, made: dict[str, Any]) -> list[str]:
    """How the same file is run without LM Studio, line by line."""
    context = made[file.name]["memory_context"]
    return [
        f"Or: llama-server --model '{file}' --jinja --ctx-size {context}",
        f"Or Ollama: a Modelfile with the lines FROM {file} and PARAMETER num_ctx {context}, then ollama create",
    ]


def _verified(run: Run) -> dict[str, Any]:
    """The files that passed the gates, by name; an adapter alone is no model. Raises AgentMemoryError: what the run
    learned from may not be used any more, or nobody can say: other steps go on then, this one does not."""
    if told := register.refuse_stale(run):
        raise AgentMemoryError(
            f"{told} Nothing is installed: what was forgotten must not come back.",
            "Start the database (agent-memory up), and install again.",
        )
    files: dict[str, Any] = run.steps["gguf"].numbers["files"]
    return {name: file for name, file in files.items() if file["quantization"] != "adapter"}


def _as_verified(run: Run, made: dict[str, Any]) -> Gate:
    wrong = [
        name
        for name, file in made.items()
        if not (run.models / name).is_file() or sha256(run.models / name) != file["sha256"]
    ]
    return Gate(
        name="files as verified",
        wants="each file is the one that passed",
        found=f"{len(wrong)} of {len(made)} changed or gone",
        passed=not wrong,
        rows=wrong,
    )


def _memory(made: dict[str, Any], fits: dict[str, Any]) -> Gate:
    told = ", ".join(f"{file['quantization']} {megabytes(file['memory_bytes'])}" for file in made.values())
    left = [name for name in made if name not in fits]
    warning = None
    if left:
        warning = f"too large to install: {', '.join(left)}"
    return Gate(
        name="memory",
        wants=f"at most {megabytes(MEMORY_BYTES)} with its context",
        found=told,
        passed=bool(fits),
        warning=warning,
        remedy="Add a smaller quantisation to gguf.quantizations (Q4_K_M is the smallest), or train with a smaller"
        " context or base.",
        rows=left,
    )


def _check_room(run: Run, folder: Path, fits: dict[str, Any]) -> None:
    place = folder
    while not place.exists():
        place = place.parent
    if place.stat().st_dev == run.models.stat().st_dev:
        return  # a hard link takes none
    needed = sum(int(file["bytes"]) for file in fits.values())
    if shutil.disk_usage(place).free < needed * 1.02:
        raise AgentMemoryError(
            f"{place} has {megabytes(shutil.disk_usage(place).free)} free, and {megabytes(needed)} are copied there.",
            "Make room, or move LM Studio's models to a larger disk.",
        )


def _put(source: Path, target: Path) -> str:
    """Link or copy a file into place, whole or not at all. How it was done."""
    if _there(target) and os.path.samefile(source, target):
        return "the same file"
    draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=target.parent)) / target.name
    try:
        try:
            os.link(source.resolve(), draft)
            how = "linked"
        except OSError:  # another disk, or one that knows no links
            shutil.copyfile(source, draft)
            how = "copied"
        draft.replace(target)
    finally:
        shutil.rmtree(draft.parent, ignore_errors=True)
    return how


def _take_back(place: Path, told: dict[str, Any]) -> bool:
    """Remove a file of ours, and the folders that are empty then. Not one that is not what we put there."""
    if not _there(place) or place.stat().st_size != told["bytes"] or sha256(place) != told["sha256"]:
        return False
    place.unlink()
    for folder in place.parents[:2]:
        with contextlib.suppress(OSError):
            folder.rmdir()
    return True


def _there(place: Path) -> bool:
    return place.is_symlink() or place.exists()


def _receipt() -> dict[str, dict[str, Any]]:
    """Run → file → `sha256`, `bytes`."""
    try:
        told = json.loads(paths.installed_models().read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise AgentMemoryError(
            f"{paths.installed_models()} cannot be read: {error}",
            "It says which models were installed. Mend it, or remove it and the models by hand.",
        ) from error
    return told if isinstance(told, dict) else {}


def _write(receipt: dict[str, dict[str, Any]]) -> None:
    file = paths.installed_models()
    paths.make_private(file.parent)
    with tempfile.NamedTemporaryFile("w", dir=file.parent, delete=False, encoding="utf-8") as draft:
        json.dump({name: files for name, files in receipt.items() if files}, draft, indent=2)
    Path(draft.name).replace(file)
