"""From a merged model to GGUF files and conversations on a real server: llama.cpp itself, and a tiny model."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests import llama_cpp, tiny_model

from agent_memory import paths
from agent_memory.errors import AgentMemoryError
from agent_memory.finetune import config as configs
from agent_memory.finetune import run as runs
from agent_memory.finetune.gguf import chat, files, llama, make, pretend, scenarios, server, verify
from agent_memory.finetune.gguf.scenarios import SCENARIOS
from agent_memory.finetune.run import Run, StepRecord
from agent_memory.finetune.training import questions

pytestmark = [
    pytest.mark.usefixtures("converters"),
    pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated"),  # in peft
]

ASKED = next(one for one in SCENARIOS if one.name == "the rye")
"""The conversation that the tiny model learns by heart: what is tested is the way, not what it learned."""
SPOKEN: list[dict[str, Any]] = [
    {"role": "system", "content": scenarios.SYSTEM},
    {"role": "user", "content": ASKED.says[0]},
    {
        "role": "assistant",
        "content": "",
        "tool_calls": [
            {
                "id": "c",
                "type": "function",
                "function": {"name": "flour_left", "arguments": {"kind": "rye"}},
            }
        ],
    },
    {"role": "tool", "tool_call_id": "c", "name": "flour_left", "content": "18"},
    {"role": "assistant", "content": "18 kg are left."},
]
OFFERED = [pretend.tool(name) for name in ASKED.tools]
WRAPPER = """
import runpy, sys
folder = {folder!r}
sys.path[:0] = [folder, folder + "/gguf-py"]
from conversion import base
for one in vars(base).values():
    if isinstance(one, type) and "get_vocab_base_pre" in vars(one):
        one.get_vocab_base_pre = lambda self, tokenizer: "qwen2"
runpy.run_path(folder + "/convert_hf_to_gguf.py", run_name="__main__")
"""
"""The converter knows tokenizers by name, and nobody told it of the tiny one's: it splits words as Qwen's does."""


@pytest.fixture
def converters(home: Path) -> None:
    llama_cpp.into(home)


@pytest.fixture
def known_tokenizer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A llama.cpp of the user's own, whose converter knows the tiny model's tokenizer."""
    own = tmp_path / "llama.cpp"
    own.mkdir()
    script = WRAPPER.format(folder=str(llama.CONVERTER.folder))
    (own / "convert_hf_to_gguf.py").write_text(script, encoding="utf-8")
    monkeypatch.setenv("LLAMA_CPP_DIR", str(own))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `base`, a random model, `merged`, the same with one conversation learned by heart, and `data`."""
    folder = tmp_path_factory.mktemp("world")
    rows = tiny_model.rows(40)
    texts = [*tiny_model.texts(rows), *[json.dumps([SPOKEN, OFFERED])] * 5]
    tiny_model.make_model(folder / "base", texts, vocabulary=700)
    (folder / "base" / "README.md").write_text("---\nlicense: apache-2.0\n---\n# Tiny\n", encoding="utf-8")
    (folder / "base" / "LICENSE").write_text("Do what you like.\n", encoding="utf-8")
    _learn(folder / "base", folder / "merged")
    tiny_model.make_set(folder / "data", rows[:30], rows[30:])
    return folder


def _learn(source: Path, target: Path) -> None:
    """Full training on the assistant's words of one conversation."""
    import torch
    import transformers

    tokenizer: Any = transformers.AutoTokenizer.from_pretrained(source)
    model: Any = transformers.AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32)
    ids, labels = [], []
    for told in (SPOKEN[:3], SPOKEN):
        before = tokenizer.apply_chat_template(
            told[:-1], tools=OFFERED, tokenize=False, add_generation_prompt=True
        )
        whole = tokenizer.apply_chat_template(told, tools=OFFERED, tokenize=False)
        first = tokenizer.encode(before, add_special_tokens=False)
        all_ = tokenizer.encode(whole, add_special_tokens=False)
        ids.append(all_)
        labels.append([-100] * len(first) + all_[len(first) :])
    torch.manual_seed(0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(60):
        loss = sum(
            model(input_ids=torch.tensor([a]), labels=torch.tensor([b])).loss
            for a, b in zip(ids, labels, strict=True)
        )
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if float(loss.detach()) < 0.02:
            break
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)


@pytest.fixture
def run(world: Path) -> Run:
    return begin(world, "Q4_K_M, Q8_0")


def begin(world: Path, quantizations: str, *, adapter: bool = False) -> Run:
    told = f"""
    name: tiny
    base: {{model: {world / "base"}}}
    data: {{folder: {world / "data"}}}
    training: {{context: 1024, device: cpu}}
    evaluation: {{max_new_tokens: 48}}
    gguf: {{quantizations: [{quantizations}], adapter: {str(adapter).lower()}}}
    """
    run = runs.begin(configs.parse(told, called="the test"))
    shutil.copytree(world / "merged", run.merged)
    return run


def transcripts(run: Run, who: str) -> dict[str, Any]:
    lines = (run.evaluation / f"chat.{who}.jsonl").read_text(encoding="utf-8").splitlines()
    return {told["scenario"]: told for told in map(json.loads, lines)}


def failed(outcome: runs.Outcome) -> list[str]:
    return [f"{gate.name}: {gate.found}" for gate in outcome.gates if not gate.passed]


@pytest.mark.usefixtures("known_tokenizer")
def test_a_merged_model_becomes_files_that_are_verified_and_talk(run: Run) -> None:
    paths.make_private(run.models)
    (run.models / ".draft-tiny-Q4_K_M.gguf").write_bytes(b"cut off")
    (run.models / "tiny-Q6_K.gguf").write_bytes(b"of an earlier configuration")

    made = make.make(run, lambda _: None)

    assert failed(made) == []
    assert sorted(f.name for f in run.models.iterdir()) == ["LICENSE", "tiny-Q4_K_M.gguf", "tiny-Q8_0.gguf"]
    told = made.numbers["files"]["tiny-Q4_K_M.gguf"]
    assert told["licence"] == "apache-2.0"
    assert told["tensors"]["Q5_0"] > told["tensors"]["Q4_K"]  # rows of 64: no k-quant can pack them
    assert told["memory_bytes"] > told["bytes"]

    run.steps["gguf"] = StepRecord("passed", runs.now(), numbers=made.numbers)
    rows = [json.loads(line) for line in (run.data / "validation.jsonl").read_text().splitlines()]
    questions.write(run.evaluation, questions.choose(rows, 5))
    lines: list[str] = []
    chatted = chat.check(run, lambda progress: lines.append(progress.text))

    gates = {gate.name: gate for gate in chatted.gates}
    assert gates["tools held out"].passed
    assert gates["calls made"].passed
    assert gates["solved, beside the base"].passed
    # It learned one conversation by heart, and nothing else.
    assert not gates["held-out questions: calls that can be read"].passed
    assert f"tuned: {ASKED.name}: solved" in lines
    tuned, base = (transcripts(run, who) for who in ("tuned", "base"))
    assert len(tuned) == len(base) == len(SCENARIOS)
    assert [m["role"] for m in tuned[ASKED.name]["messages"]] == [m["role"] for m in SPOKEN]
    assert tuned[ASKED.name]["messages"][-1]["content"] == "18 kg are left."
    assert not base[ASKED.name]["solved"]
    answers, verdicts = questions.recorded(run.evaluation, "gguf.tuned")
    assert len(answers) == len(verdicts) == len(questions.read(run.evaluation))
    assert not any((run.folder / "base-gguf").iterdir())

    tool = llama.need(llama.find().server, "server")
    with (
        server.running(tool, run.models / "tiny-Q8_0.gguf", make.log_file(run), context=1_024) as one,
        pytest.raises(server.RefusedError, match="exceeds the available context"),
    ):
        one.answer([{"role": "user", "content": "word " * 2_000}], OFFERED, max_tokens=8)


@pytest.mark.usefixtures("known_tokenizer")
def test_a_file_that_is_not_the_model_that_it_should_be_meets_its_gates(run: Run, world: Path) -> None:
    import transformers

    tools = make.find_tools(run)
    paths.make_private(run.models)
    file = run.models / "tiny-F16.gguf"
    make.convert(run, tools, world / "base", file, name="tiny")
    reference: Any = transformers.AutoTokenizer.from_pretrained(run.merged)
    held_out = verify.passages(run.data / "validation.jsonl", reference)
    learned = [
        verify.Passage(
            before=reference.encode(before, add_special_tokens=False),
            tokens=reference.encode("18 kg are left.", add_special_tokens=False),
        )
        for before in [
            reference.apply_chat_template(
                SPOKEN[:-1], tools=OFFERED, tokenize=False, add_generation_prompt=True
            )
        ]
    ]
    other = tiny_model.make_tokenizer(["another vocabulary of other words"] * 50, 400)
    facts = files.read(file)
    tool = llama.need(tools.server, "server")
    with server.running(tool, file, make.log_file(run), context=1_024) as one:
        assert verify.tokenizer(one, "F16", reference, held_out).passed
        assert not verify.tokenizer(one, "F16", other, []).passed
        assert verify.template(one, facts, "F16", reference).passed
        other.chat_template = str(reference.chat_template).replace("tool_call", "toolcall")
        assert not verify.template(one, facts, "F16", other).passed
        found = verify.perplexity(one, learned)
    merged = verify.reference_perplexity(run, learned)
    assert not verify.near("F16: perplexity", found, merged, verify.CONVERSION_RATIO).passed

    (run.merged / "tokenizer_config.json").unlink()
    assert not verify.whole(run.merged).passed


@pytest.mark.usefixtures("known_tokenizer")
def test_the_adapter_alone_does_on_the_base_what_the_merged_model_does(world: Path) -> None:
    import peft
    import torch
    import transformers

    run = begin(world, "F16", adapter=True)
    base: Any = transformers.AutoModelForCausalLM.from_pretrained(world / "base", dtype=torch.float32)
    torch.manual_seed(1)
    adapted: Any = peft.get_peft_model(base, peft.LoraConfig(r=4, target_modules="all-linear"))
    for name, weight in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.05)
    adapted.save_pretrained(run.adapter)
    adapted.merge_and_unload().save_pretrained(run.merged)

    made = make.make(run, lambda _: None)

    assert failed(made) == []
    assert (run.models / "tiny-adapter-F16.gguf").is_file()

    told = json.loads((run.adapter / "adapter_config.json").read_text(encoding="utf-8"))
    told["trainable_token_indices"] = {"embed_tokens": [5]}
    (run.adapter / "adapter_config.json").write_text(json.dumps(told), encoding="utf-8")
    with pytest.raises(AgentMemoryError, match="which a GGUF adapter cannot hold"):
        make.convert_adapter(run, make.find_tools(run), run.models / "again.gguf")


def test_a_tokenizer_that_the_converter_does_not_know_is_said_plainly(run: Run) -> None:
    with pytest.raises(AgentMemoryError, match="does not know this model's tokenizer") as told:
        make.make(run, lambda _: None)
    assert "LLAMA_CPP_DIR" in told.value.remedy
    assert not list(run.models.glob("*.gguf"))


@pytest.mark.usefixtures("known_tokenizer")
def test_a_server_ends_with_the_process_that_started_it_and_lets_nobody_else_in(
    run: Run, world: Path
) -> None:
    file = run.folder / "base.gguf"
    make.convert(run, make.find_tools(run), world / "base", file, name="tiny")
    program = f"""
import sys, time
from pathlib import Path
from agent_memory.finetune.gguf import llama, server
tool = llama.need(llama.find().server, "server")
with server.running(tool, Path({str(file)!r}), Path({str(run.folder / "server.log")!r}), context=512) as one:
    import httpx
    sys.stdout.write(f"{{httpx.post(one.client.base_url.join('/completion'), json={{'prompt': 'a'}}).status_code}}\\n")
    sys.stdout.flush()
    time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "401\n"  # without the key
        started = psutil.Process(process.pid).children(recursive=True)
        assert any("serve.py" in " ".join(one.cmdline()) for one in started)
        os.kill(process.pid, signal.SIGKILL)
    _, alive = psutil.wait_procs(started, timeout=30)
    assert alive == []


def test_a_file_that_is_no_model_is_said_with_what_the_server_said(run: Run) -> None:
    (run.folder / "broken.gguf").write_bytes(b"GGUF, or not")
    tool = llama.need(llama.find().server, "server")
    began = time.monotonic()
    with (
        pytest.raises(AgentMemoryError, match=r"does not start with broken\.gguf"),
        server.running(tool, run.folder / "broken.gguf", run.folder / "log", context=512),
    ):
        pass
    assert time.monotonic() - began < server.LOAD_SECONDS / 2
