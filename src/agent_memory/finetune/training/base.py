"""The base model: from a folder, a name on the Hugging Face hub or a .gguf file to a folder in Hugging Face's format,
and from there into memory."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch
import transformers

from agent_memory.errors import AgentMemoryError
from agent_memory.finetune import cores, extra
from agent_memory.finetune.config import Training
from agent_memory.finetune.run import Run

_FILES = ("*.json", "*.safetensors", "*.jinja", "*.txt", "tokenizer.model")
_MADE_FROM = "made_from.json"

transformers.logging.disable_progress_bar()


def folder(run: Run) -> Path:
    """The folder of the run's base, fetched or converted where that is needed. Nothing asks the network where the base
    lies on this machine. Raises AgentMemoryError: it is not there, cannot be reached, or is no model."""
    path = run.config.base.path
    if path is None:
        return _from_hub(run.config.base.model)
    if path.suffix == ".gguf" and path.is_file():
        return _from_gguf(path, run.base)
    if not (path / "config.json").is_file():
        raise AgentMemoryError(
            f"{path} is no model: {'it has no config.json' if path.is_dir() else 'there is no such folder'}.",
            "Name a folder in Hugging Face's format, a .gguf file, or a name on the hub, as base.model.",
        )
    if not any(path.glob("*.safetensors")):
        raise AgentMemoryError(
            f"{path} has no weights in .safetensors files.",
            "Convert them, or take another copy of the model.",
        )
    return path


def tokenizer(run: Run, base: Path) -> Any:
    """The base's tokenizer, with the chat template that the configuration wants. Raises AgentMemoryError: the template
    does not show calls of tools."""
    from trl.chat_template_utils import supports_tool_calling

    made = transformers.AutoTokenizer.from_pretrained(base)
    if run.config.base.template != "keep":
        made.chat_template = _template(run.config.base.template)
    if made.chat_template is None or not supports_tool_calling(made):
        raise AgentMemoryError(
            "The base's chat template has no place for calls of tools and their results.",
            "Set base.template to one that has, such as qwen2_5; it fits every base with <|im_start|> and <|im_end|>.",
        )
    return made


def stops(model: Any, tokenizer: Any) -> set[int]:
    """The tokens at which the model ends an answer."""
    told = model.generation_config.eos_token_id
    return {tokenizer.eos_token_id, *(told if isinstance(told, list) else [told])} - {None}


def config(run: Run, base: Path) -> Any:
    """The base's configuration, stretched by YaRN where that is wanted. Raises AgentMemoryError: the context does not
    fit."""
    made = transformers.AutoConfig.from_pretrained(base)
    text = made.get_text_config()
    reach = getattr(text, "max_position_embeddings", None)
    wanted, factor = run.config.training.context, run.config.training.yarn
    if factor and reach:
        rope = {key: value for key, value in (text.rope_parameters or {}).items() if key != "rope_type"}
        text.rope_parameters = {
            **rope,
            "rope_type": "yarn",
            "factor": float(factor),
            "original_max_position_embeddings": reach,
        }
        text.max_position_embeddings = reach = int(reach * factor)
    if reach and wanted > reach:
        raise AgentMemoryError(
            f"The base reads {reach:,} tokens, and the configuration wants a context of {wanted:,}.",
            f"Set training.context to {reach}, or stretch the base: training.yarn: {wanted / reach:.1f}",
        )
    return made


def use_idle_cores() -> None:
    """Work on as many cores as are idle. OMP_NUM_THREADS says otherwise."""
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(min(torch.get_num_threads(), cores.idle()))


def device(training: Training) -> str:
    """cpu, mps or cuda. Raises AgentMemoryError: the one that is wanted is not there."""
    there = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if training.device == "auto":
        return next(name for name, is_there in there.items() if is_there)
    if not there[training.device]:
        raise AgentMemoryError(
            f"This machine's torch has no {training.device}.",
            "Set training.device to auto, or install its build.",
        )
    return training.device


def dtype(training: Training, on: str) -> torch.dtype:
    if training.dtype != "auto":
        return getattr(torch, training.dtype)  # type: ignore[no-any-return]
    if on == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    if on == "mps":
        return torch.bfloat16 if torch.backends.mps.is_macos_or_newer(14, 0) else torch.float32
    return torch.bfloat16 if torch.ops.mkldnn._is_mkldnn_bf16_supported() else torch.float32


def load(base: Path, config: Any, of: torch.dtype, on: str) -> Any:
    """The model, on its device. Raises AgentMemoryError: it cannot be loaded, or does not fit."""
    if on == "cpu":
        use_idle_cores()
    try:
        model = transformers.AutoModelForCausalLM.from_pretrained(base, config=config, dtype=of)
        return model.to(on)
    except (OSError, ValueError, KeyError) as error:
        raise AgentMemoryError(
            f"{base} cannot be loaded: {error}", "Name another base.model, or get this one again."
        ) from error


def _template(name: str) -> str:
    import trl

    templates = Path(trl.__file__).parent / "chat_templates"
    known = sorted(file.stem for file in templates.glob("*.jinja") if not file.stem.endswith("_training"))
    if name not in known:
        raise AgentMemoryError(
            f"There is no chat template {name!r}.", f"base.template is keep, or one of: {', '.join(known)}"
        )
    return (templates / f"{name}.jinja").read_text(encoding="utf-8")


def _from_hub(name: str) -> Path:
    import httpx
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(huggingface_hub.snapshot_download(name, allow_patterns=list(_FILES)))
    except HFValidationError as error:
        raise AgentMemoryError(
            f"{name} is neither a file or folder here nor a name on the Hugging Face hub.",
            "Name a folder by its whole path, or a model as OWNER/NAME.",
        ) from error
    except LocalEntryNotFoundError as error:
        raise AgentMemoryError(
            f"{name} is not on this machine, and the Hugging Face hub cannot be reached.",
            "Get online once, or name the folder of a model that you have as base.model.",
        ) from error
    except (HfHubHTTPError, httpx.HTTPError, OSError) as error:
        raise AgentMemoryError(
            f"The Hugging Face hub does not give {name}: {error}",
            "Look whether the name is right, and whether you have to agree to its licence there first (hf auth login).",
        ) from error


def _from_gguf(file: Path, out: Path) -> Path:
    """A .gguf file's weights, full again, as a folder. Its small numbers stay what quantising made of them."""
    made_from = {"file": str(file.resolve()), "bytes": file.stat().st_size, "at": file.stat().st_mtime_ns}
    try:
        if json.loads((out / _MADE_FROM).read_text(encoding="utf-8")) == made_from:
            return out
    except (OSError, ValueError):
        pass
    draft = Path(tempfile.mkdtemp(prefix=".base-", dir=out.parent))
    try:
        made = transformers.AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
        model: Any = transformers.AutoModelForCausalLM.from_pretrained(
            file.parent, gguf_file=file.name, dtype=torch.float32
        )
        # transformers takes it for quantised still and would refuse to save it
        model.hf_quantizer, model.is_quantized = None, False
        if hasattr(model.config, "quantization_config"):
            del model.config.quantization_config
        model.to(torch.bfloat16).save_pretrained(draft)
        made.save_pretrained(draft)
        (draft / _MADE_FROM).write_text(json.dumps(made_from), encoding="utf-8")
        shutil.rmtree(out, ignore_errors=True)
        draft.rename(out)
    except ImportError as error:
        raise AgentMemoryError(
            f"Reading a .gguf file needs packages that are not installed: {error}",
            extra.install(),
        ) from error
    except (ValueError, KeyError, RuntimeError, NotImplementedError) as error:
        raise AgentMemoryError(
            f"{file} cannot be made trainable: {error}",
            "Name the model in Hugging Face's format instead; a GGUF is for running it.",
        ) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return out
