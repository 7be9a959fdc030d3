"""What of GGUF needs no model: which programs are found, types and memory, what is installed and taken back."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from agent_memory import paths
from agent_memory.errors import AgentMemoryError
from agent_memory.finetune import config as configs
from agent_memory.finetune import register
from agent_memory.finetune import run as runs
from agent_memory.finetune.files import sha256
from agent_memory.finetune.gates import Gate
from agent_memory.finetune.gguf import install, llama, make, verify
from agent_memory.finetune.gguf.files import Facts
from agent_memory.finetune.gguf.quantize import choose
from agent_memory.finetune.run import Run, StepRecord


def program(folder: Path, name: str, says: str, code: int = 0) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / name
    file.write_text(f"#!/bin/sh\necho '{says}'\nexit {code}\n", encoding="utf-8")
    file.chmod(0o755)
    return file


def test_the_users_own_llama_cpp_comes_before_packages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = program(tmp_path / "build/bin", "llama-server", "version: 9999 (abc)")
    quantizer = program(tmp_path / "build/bin", "llama-quantize", "usage: llama-quantize", code=1)
    (tmp_path / "convert_hf_to_gguf.py").write_text("", encoding="utf-8")
    monkeypatch.setenv("LLAMA_CPP_DIR", str(tmp_path))

    found = llama.find()

    assert found.server == llama.Tool(command=(str(own),), version="9999 (abc)", own=True)
    assert found.quantizer
    assert found.quantizer.place == str(quantizer)
    assert found.converter
    assert found.converter.place == str(tmp_path / "convert_hf_to_gguf.py")
    assert found.as_dict()["server"] == f"{own} (9999 (abc))"


def test_a_program_that_does_not_start_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path, "llama-server", "Illegal instruction", code=132)
    monkeypatch.setenv("LLAMA_CPP_DIR", str(tmp_path))

    found = llama.find().server

    assert found is None or not found.own


def test_a_converter_that_is_missing_is_named_with_the_command_that_gets_it() -> None:
    with pytest.raises(AgentMemoryError) as told:
        llama.need(llama.find().adapter_converter, "adapter converter")

    assert "convert_lora_to_gguf.py was not found" in told.value.problem
    assert "agent-memory finetune tools --fetch" in told.value.remedy
    assert llama.lacks_converter()


def test_what_matters_most_to_a_model_keeps_more_bits() -> None:
    def of(name: str, quantization: str = "Q4_K_M", columns: int = 1024) -> str | None:
        return choose(name, quantization, columns=columns, layers=16, tied=False)

    assert of("blk.0.ffn_down.weight") == "Q6_K"
    assert of("blk.2.ffn_down.weight") == "Q4_K"
    assert of("blk.4.attn_v.weight") == "Q6_K"
    assert of("blk.15.attn_v.weight") == "Q6_K"
    assert of("blk.4.attn_q.weight") == "Q4_K"
    assert of("output.weight") == "Q6_K"
    assert of("token_embd.weight") == "Q4_K"
    assert of("blk.0.attn_norm.weight") is None
    assert of("blk.0.attn_q.bias") is None
    assert of("blk.1.attn_q.weight", "Q5_K_M") == "Q5_K"
    assert of("output.weight", "Q8_0") == "Q8_0"


def test_rows_that_a_k_quant_cannot_pack_get_a_larger_type() -> None:
    assert choose("blk.3.attn_q.weight", "Q4_K_M", columns=576, layers=30, tied=True) == "Q5_0"
    assert choose("token_embd.weight", "Q4_K_M", columns=576, layers=30, tied=True) == "Q8_0"
    assert choose("blk.3.attn_q.weight", "Q4_K_M", columns=40, layers=30, tied=True) is None


def facts(**changed: Any) -> Facts:
    told = {
        "bytes": 4_680_000_000,
        "architecture": "qwen2",
        "file_type": 15,
        "name": "m",
        "licence": "apache-2.0",
        "context": 32_768,
        "blocks": 28,
        "vocabulary": 152_064,
        "cache_bytes": 2 * 28 * 4 * 256,
        "template": "t",
        "tensors": {"Q4_K": 1},
        "narrow": 0,
    }
    return Facts(**{**told, **changed})


def test_memory_is_weights_and_cache_and_room_to_compute() -> None:
    # Qwen2.5 7B at 4,096 tokens: llama.cpp itself says 224 MiB of cache and about 300 MiB to compute.
    assert facts().memory(4_096) - facts().bytes == 4_096 * 57_344 + 512 * 152_064 * 4
    assert facts().memory(32_768) > install.MEMORY_BYTES > facts().memory(4_096)


def test_metadata_that_is_not_the_merged_models_does_not_pass() -> None:
    class Config:
        max_position_embeddings, num_hidden_layers, vocab_size = 32_768, 28, 152_064

    def gate(**changed: Any) -> Gate:
        return verify.metadata(facts(**changed), "Q4_K_M", name="m", licence="apache-2.0", config=Config)

    assert gate().passed
    for changed in (
        {"file_type": 7},
        {"licence": None},
        {"context": 2_048},
        {"name": "other"},
        {"blocks": 27},
    ):
        assert not gate(**changed).passed, changed


def test_a_perplexity_far_from_its_reference_does_not_pass() -> None:
    assert verify.near("Q4_K_M: perplexity", 5.6, 5.3, verify.QUANTIZED_RATIO).passed
    assert not verify.near("Q4_K_M: perplexity", 6.2, 5.3, verify.QUANTIZED_RATIO).passed
    assert not verify.near("Q4_K_M: perplexity", float("nan"), 5.3, verify.QUANTIZED_RATIO).passed
    with pytest.raises(AgentMemoryError):
        verify.near("F16: perplexity", 5.0, float("nan"), verify.CONVERSION_RATIO)


@pytest.fixture
def finished(home: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A run with two GGUF files whose gates have passed, and a LM Studio."""
    monkeypatch.setattr(register, "refuse_stale", lambda _: None)
    (Path.home() / ".lmstudio").mkdir()
    run = runs.begin(configs.parse("name: shop\nbase: {model: /base}", called="it"))
    paths.make_private(run.models)
    made = {}
    for quantization, memory in (("Q4_K_M", 3_000_000_000), ("Q8_0", 7_000_000_000)):
        file = run.models / make.file_name("shop", quantization)
        file.write_bytes(quantization.encode() * 100)
        made[file.name] = {
            "bytes": file.stat().st_size,
            "sha256": sha256(file),
            "quantization": quantization,
            "memory_bytes": memory,
            "memory_context": 4_096,
        }
    for name in ("gguf", "chat"):
        run.steps[name] = StepRecord("passed", runs.now(), numbers={"files": made})
    runs.save(run)
    return run


def place(run: Run, quantization: str = "Q4_K_M") -> Path:
    return Path.home() / ".lmstudio/models/agent-memory/shop" / make.file_name(run.name, quantization)


def test_a_model_is_linked_to_where_lm_studio_looks_and_can_be_taken_back(finished: Run) -> None:
    told: list[str] = []
    for _ in range(2):  # and once more changes nothing
        outcome = install.install(finished, lambda progress: told.append(progress.text))
        assert outcome.passed
        assert place(finished).samefile(finished.models / place(finished).name)

    assert "3.0 GB of memory at a context of 4,096 tokens" in told[0]
    assert any("llama-server --model" in line for line in told)
    assert place(finished).exists()
    assert install.remove(finished) == [place(finished)]
    assert not place(finished).parent.parent.exists()
    assert (finished.models / place(finished).name).exists()
    assert install.remove(finished) == []


def test_what_needs_more_than_six_gigabytes_is_left_out_and_said(finished: Run) -> None:
    outcome = install.install(finished, lambda _: None)

    assert not place(finished, "Q8_0").exists()
    (gate,) = [gate for gate in outcome.gates if gate.name == "memory"]
    assert gate.warning == "too large to install: shop-Q8_0.gguf"

    finished.steps["gguf"].numbers["files"]["shop-Q4_K_M.gguf"]["memory_bytes"] = 6_500_000_000
    outcome = install.install(finished, lambda _: None)
    assert not outcome.passed
    assert "smaller quantisation" in str(outcome.gates[-1].remedy)


def test_a_file_of_somebody_elses_is_neither_overwritten_nor_removed(finished: Run) -> None:
    place(finished).parent.mkdir(parents=True)
    place(finished).write_text("mine", encoding="utf-8")
    with pytest.raises(AgentMemoryError, match="it is not ours"):
        install.install(finished, lambda _: None)
    assert place(finished).read_text(encoding="utf-8") == "mine"

    place(finished).unlink()
    install.install(finished, lambda _: None)
    place(finished).unlink()
    place(finished).write_text("mine again", encoding="utf-8")
    assert install.remove(finished) == []
    assert place(finished).read_text(encoding="utf-8") == "mine again"


def test_a_file_that_changed_since_its_gates_is_not_installed(finished: Run) -> None:
    (finished.models / "shop-Q4_K_M.gguf").write_text("another", encoding="utf-8")

    outcome = install.install(finished, lambda _: None)

    assert not outcome.passed
    assert not place(finished).exists()


def test_a_model_made_again_takes_the_place_of_the_one_before(finished: Run) -> None:
    install.install(finished, lambda _: None)
    file = finished.models / "shop-Q4_K_M.gguf"
    file.unlink()
    file.write_text("trained longer", encoding="utf-8")
    told = finished.steps["gguf"].numbers["files"][file.name]
    told["bytes"], told["sha256"] = file.stat().st_size, sha256(file)

    assert install.install(finished, lambda _: None).passed
    assert place(finished).read_text(encoding="utf-8") == "trained longer"


def test_another_disk_gets_a_copy(finished: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def another_disk(source: Path, target: Path) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", another_disk)
    install.install(finished, lambda _: None)

    assert place(finished).read_bytes() == (finished.models / place(finished).name).read_bytes()
    assert not place(finished).samefile(finished.models / place(finished).name)
    assert install.remove(finished) == [place(finished)]


def test_lm_studio_is_looked_for_where_it_says_that_it_is(tmp_path: Path) -> None:
    home = Path.home()
    assert install.lm_studio() == home / ".lmstudio/models"
    (home / ".cache/lm-studio").mkdir(parents=True)
    assert install.lm_studio() == home / ".cache/lm-studio/models"
    (home / ".lmstudio-home-pointer").write_text(f"{tmp_path}\n", encoding="utf-8")
    assert install.lm_studio() == tmp_path / "models"
    (tmp_path / "settings.json").write_text(json.dumps({"downloadsFolder": "/disk/models"}), encoding="utf-8")
    assert install.lm_studio() == Path("/disk/models")


def test_a_models_folder_that_leads_nowhere_or_is_too_small_is_said_before_anything_is_made(
    finished: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished.merged.mkdir()
    (finished.merged / "model.safetensors").write_bytes(b"0" * 1_000)
    make.check_room(finished)

    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1))
    with pytest.raises(AgentMemoryError, match="are needed"):
        make.check_room(finished)

    (tmp_path / "cold").symlink_to(tmp_path / "not attached")
    monkeypatch.setenv("AGENT_MEMORY_MODELS_DIR", str(tmp_path / "cold"))
    with pytest.raises(AgentMemoryError, match="which is not there"):
        make.check_room(finished)
