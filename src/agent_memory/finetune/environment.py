"""The step "environment": is there what the run will need. Every gate says what to do where it fails."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from agent_memory import paths
from agent_memory.errors import AgentMemoryError
from agent_memory.finetune import extra
from agent_memory.finetune.gates import Gate
from agent_memory.finetune.pipeline import Progress, Tell
from agent_memory.finetune.run import Outcome, Run

_ONLY_ON = re.compile(r"(sys_platform|platform_machine)\s*==\s*['\"](\w+)['\"]")
"""In a requirement: where alone it is one."""
_GB = 1 << 30
_BYTES_A_WEIGHT = {"Q4_K_M": 0.65, "Q5_K_M": 0.75, "Q6_K": 0.85, "Q8_0": 1.1, "F16": 2.0}
"""On the disk, on the careful side: small models keep more of their weights whole."""
_OTHERS = 1.0 * _GB
"""What Python, torch and the rest hold."""


def check(run: Run, tell: Tell) -> Outcome:
    packages = list(_packages())
    gates = [_python(), _all_there(packages)]
    numbers: dict[str, Any] = {"packages": {one.name: one.version for one in packages}}
    if not all(gate.passed for gate in gates):
        return Outcome(gates=gates, numbers=numbers)  # the rest asks those packages
    tell(Progress(text="Looking at the base model …"))
    gates += _base_and_room(run, numbers)
    gates.append(_llama(numbers))
    return Outcome(gates=gates, numbers=numbers)


@dataclass(frozen=True, slots=True)
class _Package:
    name: str
    version: str | None
    """None: it is not installed, or too old."""
    wants: str


def _packages() -> Iterator[_Package]:
    """What the extra `[finetune]` of this installation wants on this machine, and what is there."""
    here = {"sys_platform": sys.platform, "platform_machine": platform.machine()}
    for line in importlib.metadata.requires("agent-memory") or ():
        if any(here[name] != value for name, value in _ONLY_ON.findall(line)):
            continue
        told = re.match(r"([A-Za-z0-9._-]+)\s*>=\s*([0-9.]+)\s*;.*extra\s*==\s*['\"]finetune['\"]", line)
        if told:
            name, least = told.groups()
            try:
                there = importlib.metadata.version(name)
            except importlib.metadata.PackageNotFoundError:
                there = None
            enough = there is not None and _numbers(there) >= _numbers(least)
            yield _Package(name, there if enough else None, f"{name} {least}")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version.partition("+")[0])[:3])


def _python() -> Gate:
    found = f"{sys.version_info.major}.{sys.version_info.minor}, {os.cpu_count()} processors"
    return Gate(name="machine", wants="Python 3.11 or newer", found=f"Python {found}")


def _all_there(packages: list[_Package]) -> Gate:
    missing = [one.wants for one in packages if one.version is None]
    torch = next((one.version for one in packages if one.name == "torch"), None)
    return Gate(
        name="packages",
        wants="the extra [finetune]",
        found=f"missing or too old: {', '.join(missing)}" if missing else f"all there, torch {torch}",
        passed=not missing,
        remedy=extra.install(),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """Of a base model, as its own files tell."""

    weights: int
    layers: int
    hidden: int
    vocabulary: int


def _base_and_room(run: Run, numbers: dict[str, Any]) -> Iterator[Gate]:
    """The base model, and whether it has room; without it there is nothing to reckon with."""
    from agent_memory.finetune.training import base

    try:
        device = base.device(run.config.training)
        dtype = base.dtype(run.config.training, device)
    except AgentMemoryError as error:
        yield Gate(
            name="device",
            wants=run.config.training.device,
            found=error.problem,
            passed=False,
            remedy=error.remedy,
        )
        return
    numbers |= {"device": device, "dtype": str(dtype).removeprefix("torch.")}
    yield Gate(name="device", wants=run.config.training.device, found=f"{device} with {numbers['dtype']}")
    try:
        folder = base.folder(run)
        config = base.config(run, folder)
        base.tokenizer(run, folder)
        size = size_of(folder, config)
    except (AgentMemoryError, OSError, ValueError) as error:
        problem, remedy = (
            (error.problem, error.remedy)
            if isinstance(error, AgentMemoryError)
            else (str(error), "Name another base.model, or get this one again.")
        )
        yield Gate(
            name="base model",
            wants="there, and its chat template shows calls of tools",
            found=problem,
            passed=False,
            remedy=remedy,
        )
        return
    numbers["base"] = {"folder": str(folder), "weights": size.weights, "kind": config.model_type}
    yield Gate(
        name="base model",
        wants="there, and its chat template shows calls of tools",
        found=f"{config.model_type}, {size.weights / 1e6:,.0f} million weights",
    )
    yield _memory(run, size, device, dtype.itemsize, numbers)
    yield from _disk(run, size, numbers)


def size_of(folder: Path, config: Any) -> Size:
    """From the headers of its files: nothing is loaded."""
    from safetensors import safe_open

    weights = 0
    for file in folder.glob("*.safetensors"):
        with safe_open(file, framework="numpy") as tensors:
            for name in tensors.keys():  # noqa: SIM118 - it is no mapping
                count = 1
                for length in tensors.get_slice(name).get_shape():
                    count *= length
                weights += count
    text = config.get_text_config()
    return Size(
        weights=weights,
        layers=int(text.num_hidden_layers),
        hidden=int(text.hidden_size),
        vocabulary=int(text.vocab_size),
    )


def memory_needed(run: Run, size: Size, itemsize: int) -> int:
    """Bytes for training, reckoned from the base's size, on the careful side.

    The weights as they are; the adapter, a few hundredths of them, with its gradients and Adam's two moments in
    32 bits; of each token of a batch what a layer keeps for the way back (about sixteen vectors of the hidden size),
    and its scores over the vocabulary three times in 32 bits.
    """
    training = run.config.training
    rank = run.config.lora.rank
    adapter = size.layers * 14 * size.hidden * rank * 2
    tokens = training.batch * training.context
    kept = tokens * size.layers * size.hidden * 16 * itemsize
    scores = tokens * size.vocabulary * 4 * 3
    return int(size.weights * itemsize * 1.1 + adapter * 16 + kept + scores + _OTHERS)


def disk_needed(run: Run, size: Size) -> tuple[int, int]:
    """Bytes in the run's folder and in the models': the merged model in 16 bits, three checkpoints of the adapter with
    Adam's moments; the unquantised GGUF, which is in the way while quantising, and each that is asked for."""
    adapter = size.layers * 14 * size.hidden * run.config.lora.rank * 2
    of_run = size.weights * 2 + 3 * adapter * 12
    of_models = size.weights * 2 + sum(
        size.weights * _BYTES_A_WEIGHT[one] for one in run.config.gguf.quantizations
    )
    return int(of_run), int(of_models)


def _memory(run: Run, size: Size, device: str, itemsize: int, numbers: dict[str, Any]) -> Gate:
    needed = memory_needed(run, size, itemsize)
    where = "memory"
    if device == "cuda":
        import torch

        free, where = torch.cuda.mem_get_info()[0], "memory of the card"
    else:
        free = psutil.virtual_memory().available
    numbers["memory"] = {"needed": needed, "free": free}
    return Gate(
        name=where,
        wants=f"about {needed / _GB:.1f} GB",
        found=f"{free / _GB:.1f} GB free",
        passed=free >= needed,
        remedy=f"Close what needs memory, or lower training.context (now {run.config.training.context:,}) or"
        f" training.batch (now {run.config.training.batch}), or take a smaller base.",
    )


def _disk(run: Run, size: Size, numbers: dict[str, Any]) -> Iterator[Gate]:
    of_run, of_models = disk_needed(run, size)
    models = _existing(run.models)
    same = models.stat().st_dev == run.folder.stat().st_dev
    numbers["disk"] = {"run": of_run, "models": of_models}
    places = (
        [("disk", run.folder, of_run + of_models)]
        if same
        else [("disk of the runs", run.folder, of_run), ("disk of the models", models, of_models)]
    )
    for name, folder, needed in places:
        free = shutil.disk_usage(folder).free
        yield Gate(
            name=name,
            wants=f"about {needed / _GB:.1f} GB",
            found=f"{free / _GB:.1f} GB free",
            passed=free >= needed,
            remedy=f"Make room below {folder}, ask for fewer quantizations, or move the models:"
            f" agent_memory_models_dir in {paths.config_file()}.",
        )


def _existing(folder: Path) -> Path:
    return folder if folder.exists() else _existing(folder.parent)


def _llama(numbers: dict[str, Any]) -> Gate:
    """llama.cpp is wanted only at the end, but nobody wants to hear of it then."""
    from agent_memory.finetune.gguf import llama

    tools = llama.find()
    numbers["llama.cpp"] = tools.as_dict()
    missing, remedy = [], ""
    wanted: tuple[llama.Kind, ...] = ("converter", "quantizer", "server")
    for kind in wanted:
        try:
            llama.need(getattr(tools, kind), kind)
        except AgentMemoryError as error:
            missing.append(kind)
            remedy = error.remedy
    own = any(tool.own for tool in (tools.converter, tools.quantizer, tools.server) if tool)
    return Gate(
        name="llama.cpp",
        wants="converter, quantizer, server",
        found=f"missing: {', '.join(missing)}" if missing else "your own" if own else "from packages",
        passed=not missing,
        remedy=remedy or None,
    )
