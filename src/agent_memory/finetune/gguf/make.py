"""The merged model as GGUF: converted once with all bits, then quantised as configured, and each file verified."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent_memory import paths
from agent_memory.errors import AgentMemoryError
from agent_memory.finetune.files import sha256
from agent_memory.finetune.gguf import child, files, llama, server, verify
from agent_memory.finetune.gguf.llama import Tools
from agent_memory.finetune.gguf.server import Server
from agent_memory.finetune.index import VALIDATION
from agent_memory.finetune.pipeline import Progress, Tell
from agent_memory.finetune.run import Outcome, Run

DRAFT = ".draft-"
BITS = {"F16": 16.0, "Q8_0": 8.5, "Q6_K": 7.5, "Q5_K_M": 7.0, "Q4_K_M": 6.5}
"""A weight's, at most: small models keep many weights in a larger type than the file is named by."""
VERIFY_CONTEXT = 1_024
"""Tokens: a passage with what is before it, and more."""


def make(run: Run, tell: Tell) -> Outcome:
    """The step. Its numbers: `files`, name → what the file says of itself; `tools`; `perplexity`."""
    tools = find_tools(run)
    outcome = Outcome(numbers={"tools": tools.as_dict(), "files": {}, "perplexity": {}})
    outcome.gates.append(verify.whole(run.merged))
    if not outcome.passed:
        return outcome
    check_room(run)
    paths.make_private(run.models)
    for leftover in run.models.glob(f"{DRAFT}*"):
        leftover.unlink()

    from transformers import AutoConfig, AutoTokenizer

    reference = AutoTokenizer.from_pretrained(run.merged)
    config = AutoConfig.from_pretrained(run.merged)
    held_out = verify.passages(run.data / f"{VALIDATION}.jsonl", reference)
    if not held_out:
        raise AgentMemoryError(
            f"No row for validation in {run.data} is long enough to measure perplexity on.",
            "Make the data set of more sessions.",
        )
    licence = licence_of(run)
    check = _Check(run, tools, outcome, reference, config, held_out, licence)

    tell(Progress(text=f"Converting {run.merged}", done=0.0))
    unquantized = run.models / file_name(run.name, "F16")
    if licence and not (run.merged / "README.md").exists():
        # A model's card, where the converter looks for it.
        (run.merged / "README.md").write_text(f"---\nlicense: {licence}\n---\n", encoding="utf-8")
    convert(run, tools, run.merged, unquantized, name=run.name)
    steps = [q for q in run.config.gguf.quantizations if q != "F16"]
    parts = 2 + len(steps) + run.config.gguf.adapter
    tell(Progress(text="Measuring the merged model's perplexity", done=0.5 / parts))
    merged = verify.reference_perplexity(run, held_out)
    outcome.numbers["perplexity"]["merged"] = merged
    tell(Progress(text=f"Verifying {unquantized.name}", done=1 / parts))
    full = check.file(unquantized, "F16", merged, verify.CONVERSION_RATIO)
    for number, quantization in enumerate(steps, 2):
        target = run.models / file_name(run.name, quantization)
        tell(Progress(text=f"Quantising {target.name}", done=number / parts))
        quantize(run, tools, unquantized, target, quantization)
        tell(Progress(text=f"Verifying {target.name}"))
        check.file(target, quantization, full, verify.QUANTIZED_RATIO)
        tell(Progress(text=fallbacks(outcome.numbers["files"][target.name], quantization)))
    if run.config.gguf.adapter:
        tell(Progress(text="Converting the adapter", done=1 - 1 / parts))
        check.adapter(merged)
    if "F16" not in run.config.gguf.quantizations:
        unquantized.unlink()
        del outcome.numbers["files"][unquantized.name]
    for old in run.models.glob("*.gguf"):
        if old.name not in outcome.numbers["files"]:  # of an earlier configuration of this run
            old.unlink()
    keep_licence(run)
    tell(Progress(text=f"In {run.models}", done=1.0))
    return outcome


@dataclass(frozen=True, slots=True)
class _Check:
    """What verifying one file after the other needs."""

    run: Run
    tools: Tools
    outcome: Outcome
    reference: Any
    config: Any
    held_out: Sequence[verify.Passage]
    licence: str | None

    def file(self, file: Path, quantization: str, reference: float, ratio: float) -> float:
        """Its perplexity."""
        facts = files.read(file)
        gates = self.outcome.gates
        gates.append(
            verify.metadata(facts, quantization, name=self.run.name, licence=self.licence, config=self.config)
        )
        with self._serve(file) as one:
            gates.append(verify.tokenizer(one, quantization, self.reference, self.held_out))
            gates.append(verify.template(one, facts, quantization, self.reference))
            gates.append(verify.answers(one, quantization))
            found = verify.perplexity(one, self.held_out)
        gates.append(verify.near(f"{quantization}: perplexity", found, reference, ratio))
        self.outcome.numbers["perplexity"][quantization] = found
        self.outcome.numbers["files"][file.name] = {
            "bytes": facts.bytes,
            "sha256": sha256(file),
            "quantization": quantization,
            "memory_bytes": facts.memory(context(self.run, facts)),
            "memory_context": context(self.run, facts),
            "context": facts.context,
            "tensors": facts.tensors,
            "narrow": facts.narrow,
            "licence": facts.licence,
        }
        return found

    def adapter(self, reference: float) -> None:
        """The adapter alone, tried on the base, which must do as the merged model does."""
        target = self.run.models / f"{self.run.name}-adapter-F16.gguf"
        convert_adapter(self.run, self.tools, target)
        alone = base_gguf(self.run, self.tools, "F16")
        with self._serve(alone, target) as one:
            self.outcome.gates.append(verify.answers(one, "adapter"))
            found = verify.perplexity(one, self.held_out)
        alone.unlink()
        self.outcome.gates.append(
            verify.near("adapter: perplexity", found, reference, verify.CONVERSION_RATIO)
        )
        self.outcome.numbers["perplexity"]["adapter"] = found
        self.outcome.numbers["files"][target.name] = {
            "bytes": target.stat().st_size,
            "sha256": sha256(target),
            "quantization": "adapter",
        }

    def _serve(self, file: Path, adapter: Path | None = None) -> AbstractContextManager[Server]:
        tool = llama.need(self.tools.server, "server")
        return server.running(tool, file, log_file(self.run), context=VERIFY_CONTEXT, adapter=adapter)


def find_tools(run: Run) -> Tools:
    """The programs that a run of this configuration needs. Raises AgentMemoryError: one is missing."""
    found = llama.find()
    llama.need(found.server, "server")
    llama.need(found.converter, "converter")
    if set(run.config.gguf.quantizations) != {"F16"}:
        llama.need(found.quantizer, "quantizer")
    if run.config.gguf.adapter:
        llama.need(found.adapter_converter, "adapter converter")
    return found


def convert(run: Run, tools: Tools, source: Path, target: Path, *, name: str) -> None:
    """A model's folder as a GGUF file of 16 bits a weight. Raises AgentMemoryError: the converter knows no such model,
    or its tokenizer."""
    draft = target.with_name(DRAFT + target.name)
    metadata = run.folder / "gguf.metadata.json"
    metadata.write_text(json.dumps({"general.name": name}), encoding="utf-8")
    tool = llama.need(tools.converter, "converter")
    failed = child.run(
        tool,
        [str(source), "--outfile", str(draft), "--outtype", "f16", "--metadata", str(metadata)],
        log_file(run),
    )
    if failed or not draft.is_file():
        raise _not_converted(run, failed or "it wrote no file")
    draft.replace(target)


def _not_converted(run: Run, failed: str) -> AgentMemoryError:
    if "pre-tokenizer was not recognized" in failed or "get_vocab_base_pre" in failed:
        return AgentMemoryError(
            "llama.cpp's converter does not know this model's tokenizer.",
            "Take a base whose tokenizer llama.cpp knows, or a newer llama.cpp (LLAMA_CPP_DIR).",
        )
    if "is not supported" in failed:
        return AgentMemoryError(
            "llama.cpp's converter does not know this kind of model.",
            "Take a base that llama.cpp runs, or a newer llama.cpp (LLAMA_CPP_DIR).",
        )
    return AgentMemoryError(
        f"llama.cpp's converter could not do it: {failed}", f"All that it said: {log_file(run)}"
    )


def convert_adapter(run: Run, tools: Tools, target: Path) -> None:
    """Raises AgentMemoryError: the adapter has more than a GGUF adapter can hold."""
    adapter = json.loads((run.adapter / "adapter_config.json").read_text(encoding="utf-8"))
    if adapter.get("trainable_token_indices") or adapter.get("modules_to_save"):
        raise AgentMemoryError(
            "This adapter also trained the tokens of a call's tags, which a GGUF adapter cannot hold.",
            "Set gguf.adapter to false: the merged model has them.",
        )
    draft = target.with_name(DRAFT + target.name)
    tool = llama.need(tools.adapter_converter, "adapter converter")
    failed = child.run(
        tool,
        ["--base", str(base_folder(run)), "--outfile", str(draft), "--outtype", "f16", str(run.adapter)],
        log_file(run),
    )
    if failed or not draft.is_file():
        raise _not_converted(run, failed or "it wrote no file")
    draft.replace(target)


def quantize(run: Run, tools: Tools, source: Path, target: Path, quantization: str) -> None:
    """Raises AgentMemoryError: the disk is full, or the program could not."""
    draft = target.with_name(DRAFT + target.name)
    tool = llama.need(tools.quantizer, "quantizer")
    failed = child.run(tool, [str(source), str(draft), quantization], log_file(run))
    if failed or not draft.is_file():
        raise AgentMemoryError(
            f"{quantization} could not be made: {failed or 'no file was written'}",
            f"All that was said: {log_file(run)}",
        )
    draft.replace(target)


def base_gguf(run: Run, tools: Tools, quantization: str) -> Path:
    """The base in the same form as the tuned model, to stand beside it. Whoever asks removes it."""
    folder = paths.make_private(run.folder / "base-gguf")
    target = folder / file_name("base", quantization)
    if not target.exists():
        full = folder / file_name("base", "F16")
        convert(run, tools, base_folder(run), full, name="base")
        if quantization != "F16":
            quantize(run, tools, full, target, quantization)
            full.unlink()
    return target


def base_folder(run: Run) -> Path:
    """The base in Hugging Face's format."""
    from agent_memory.finetune.training import base  # torch comes with it

    return base.folder(run)


def check_room(run: Run) -> None:
    """Raises AgentMemoryError: the disk of the models has too little room for what is to be made."""
    weights = sum(shard.stat().st_size for shard in run.merged.glob("*.safetensors"))
    parts = weights / 2  # of 16 bits
    wanted = {*run.config.gguf.quantizations, "F16"}
    needed = sum(parts * BITS[quantization] / 8 for quantization in wanted)
    place = run.models
    while not place.exists():
        if place.is_symlink():
            raise AgentMemoryError(
                f"{place} points at {place.readlink()}, which is not there.",
                "Attach that disk, or set AGENT_MEMORY_MODELS_DIR to another folder.",
            )
        place = place.parent
    free = shutil.disk_usage(place).free
    if free < needed * 1.05:
        raise AgentMemoryError(
            f"{place} has {files.megabytes(free)} free, and {files.megabytes(needed * 1.05)} are needed.",
            "Make room, ask for fewer quantisations, or set AGENT_MEMORY_MODELS_DIR to a folder on a larger disk.",
        )


def fallbacks(facts: dict[str, Any], quantization: str) -> str:
    """What a file's name does not tell: which types its weights have."""
    told = ", ".join(f"{n} {kind}" for kind, n in facts["tensors"].items())
    if quantization.endswith(("_K_M", "_K")) and facts["narrow"]:
        return (
            f"{quantization} has {told}: {facts['narrow']} of its weights have rows that it cannot pack, and are"
            " kept in a larger type."
        )
    return f"{quantization} has {told}."


def context(run: Run, facts: files.Facts) -> int:
    """Tokens that the model was trained to use."""
    return min(run.config.training.context, facts.context)


def licence_of(run: Run) -> str | None:
    """As the base's card names it."""
    import yaml

    card = base_folder(run) / "README.md"
    if not card.is_file():
        return None
    text = card.read_text(encoding="utf-8", errors="replace")
    if not text.startswith("---"):
        return None
    try:
        told = yaml.safe_load(text.split("---", 2)[1])
    except yaml.YAMLError:
        return None
    named = told.get("license") if isinstance(told, dict) else None
    return named if isinstance(named, str) else None


def keep_licence(run: Run) -> None:
    """Put the base's licence, where it came with one, beside the files."""
    for file in base_folder(run).glob("LICEN[CS]E*"):
        shutil.copyfile(file, run.models / file.name)


def file_name(name: str, quantization: str) -> str:
    return f"{name}-{quantization}.gguf"


def log_file(run: Run) -> Path:
    """All that llama.cpp's programs said."""
    return run.folder / "gguf.log"
