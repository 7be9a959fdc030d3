"""Training on a tiny model: what it makes, what stops it, and how it goes on after it was killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from tests import tiny_model
from typer.testing import CliRunner

from agent_memory import machine
from agent_memory.cli.main import app
from agent_memory.database import Connection
from agent_memory.errors import AgentMemoryError
from agent_memory.finetune import pipeline, store
from agent_memory.finetune import run as runs
from agent_memory.finetune.config import TrainConfig
from agent_memory.finetune.gates import Gate
from agent_memory.finetune.pipeline import Progress
from agent_memory.finetune.run import Outcome, Run, StepRecord
from agent_memory.finetune.training import checkpoints, evaluate, questions, source, train, trouble, watch
from agent_memory.finetune.training.answers import Asked

Begin = Callable[..., Run]
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated")  # in peft
ONE_THREAD = {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}


@pytest.fixture(scope="module")
def told() -> tuple[list[tiny_model.Row], list[tiny_model.Row]]:
    return tiny_model.rows(64, seed=1), tiny_model.rows(16, seed=2)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, told: Any) -> Path:
    return tiny_model.make_model(tmp_path_factory.mktemp("model") / "tiny", tiny_model.texts(told[0]))


@pytest.fixture
def data(tmp_path: Path, told: Any) -> Path:
    return tiny_model.make_set(tmp_path / "set", *told)


@pytest.fixture
def begin(model: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> Begin:
    """Begins a run on the tiny model and set; what is given goes over its configuration, part by part."""
    for name, value in ONE_THREAD.items():
        monkeypatch.setenv(name, value)

    def make(**parts: Any) -> Run:
        given: dict[str, Any] = {
            "name": "tiny",
            "base": {"model": str(model)},
            "data": {"folder": str(data)},
            "lora": {"rank": 8, "alpha": 16},
            "training": {
                "epochs": 1,
                "context": 1_024,
                "batch": 8,
                "accumulate": 1,
                "learning_rate": 0.005,
                "dtype": "float32",
                "save_every": 2,
                "device": "cpu",
            },
        }
        for part, values in parts.items():
            given[part] = {**given.get(part, {}), **values} if isinstance(values, dict) else values
        return runs.begin(TrainConfig.model_validate(given))

    return make


def fit(run: Run, *, rows: int | None = None, tell: Callable[[Progress], None] = lambda _: None) -> Outcome:
    return train.fit(run, run.folder, rows=rows, epochs=run.config.training.epochs, tell=tell)


def gate(outcome: Outcome, name: str) -> Gate:
    return next(gate for gate in outcome.gates if gate.name == name)


def passed_before(run: Run) -> None:
    for name in ("environment", "dataset", "smoke", "smoke-check"):
        run.steps[name] = StepRecord("passed", runs.now())
    runs.save(run)


def test_a_training_leaves_an_adapter_a_curve_and_its_numbers(begin: Begin) -> None:
    run = begin()
    said: list[Progress] = []
    outcome = fit(run, tell=said.append)
    assert outcome.passed, [g for g in outcome.gates if not g.passed]
    assert outcome.numbers["steps"] == 8
    assert outcome.numbers["rows"]["rows"] == 64
    assert 0 < outcome.numbers["rows"]["label_tokens"] < outcome.numbers["rows"]["tokens"]
    lines = watch.read(run.metrics)
    assert [line["step"] for line in lines if "loss" in line] == list(range(1, 9))
    assert [line["step"] for line in lines if "eval_loss" in line] == [0, 8]
    assert (run.adapter / "adapter_model.safetensors").exists()
    assert "<polyline" in (run.folder / "loss.svg").read_text(encoding="utf-8")
    assert any(progress.numbers.get("step") == 8 for progress in said)
    assert any(progress.seconds_left is not None for progress in said)
    again = fit(run)  # a step that was stopped right after its training
    assert again.numbers["steps"] == 8
    assert [g.name for g in again.gates] == [g.name for g in outcome.gates]


def test_another_data_set_under_the_same_name_begins_anew(begin: Begin, data: Path) -> None:
    run = begin()
    fit(run, rows=8)
    adapter = (run.adapter / "adapter_model.safetensors").read_bytes()
    fit(run, rows=16)
    assert (run.adapter / "adapter_model.safetensors").read_bytes() != adapter
    assert [line["step"] for line in watch.read(run.metrics) if "loss" in line] == [1, 2]


@pytest.mark.slow
def test_a_training_that_was_killed_goes_on_and_ends_as_if_it_had_not_been(begin: Begin) -> None:
    whole, killed = begin(name="whole"), begin(name="killed")
    outcome = fit(whole)
    passed_before(killed)
    command = [sys.executable, "-m", "agent_memory.finetune.training.train", str(killed.folder)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 240
    while not any(line["step"] >= 5 for line in watch.read(killed.metrics)):
        assert process.poll() is None, "it ended by itself"
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not killed.adapter.exists()
    last = checkpoints.last_whole(killed.checkpoints)
    assert last is not None
    half = killed.checkpoints / "checkpoint-7"  # as if it had been killed while it wrote one
    half.mkdir()
    said: list[str] = []
    again = fit(killed, tell=lambda progress: said.append(progress.text))
    assert f"Going on from step {checkpoints.step_of(last)}" in said
    assert not half.exists()
    assert again.numbers["steps"] == outcome.numbers["steps"] == 8
    mine, other = ([line for line in watch.read(run.metrics) if "loss" in line] for run in (killed, whole))
    assert [line["step"] for line in mine] == [line["step"] for line in other]
    assert mine[-1]["loss"] == pytest.approx(other[-1]["loss"], rel=1e-3)


@pytest.mark.slow
def test_two_processes_train_together_and_one_writes(begin: Begin) -> None:
    run = begin()
    passed_before(run)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    done = subprocess.run(
        [*command, "-m", "agent_memory.finetune.training.train", str(run.folder)],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    assert done.stdout.count("passed  held-out loss fell") == 1
    lines = watch.read(run.metrics)
    assert [line["step"] for line in lines if "loss" in line] == [1, 2, 3, 4]
    outcome = fit(run)  # at home: it is trained already
    assert (outcome.numbers["steps"], outcome.numbers["processes"]) == (4, 2)


def test_on_other_hosts_nothing_is_trained_before_the_smoke_has_passed(
    begin: Begin, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train.main([str(begin().folder)]) == 1
    assert "has not passed dataset, smoke, smoke-check" in capsys.readouterr().err


@pytest.mark.parametrize("tied", [True, False])
def test_tags_that_the_base_never_learned_meet_their_gate_and_are_trained(
    begin: Begin, told: Any, tmp_path: Path, tied: bool
) -> None:
    import torch
    import transformers

    from agent_memory.finetune.training.merge import merge

    base = tiny_model.make_model(
        tmp_path / "untrained", tiny_model.texts(told[0]), tied=tied, untrained_tags=True
    )
    stopped = fit(begin(name="off", base={"model": str(base)}, lora={"train_tags": False}))
    assert not gate(stopped, "tool-call tokens").passed
    assert "never learned <tool_call>, </tool_call>" in gate(stopped, "tool-call tokens").found
    assert "steps" not in stopped.numbers  # before anything was trained
    run = begin(name="auto", base={"model": str(base)})
    outcome = fit(run)
    assert gate(outcome, "tool-call tokens").passed
    assert outcome.numbers["tokens trained on their own"] == ["</tool_call>", "<tool_call>"]
    merge(run)
    tokenizer = transformers.AutoTokenizer.from_pretrained(run.merged)
    merged = transformers.AutoModelForCausalLM.from_pretrained(run.merged)
    ids = tokenizer.convert_tokens_to_ids(list(tiny_model.TAGS))
    for module in (merged.get_input_embeddings(), merged.get_output_embeddings()):
        first, second, unused = module.weight[[*ids, -1]]
        assert not torch.allclose(first, unused, atol=1e-3)
        assert not torch.allclose(first, second, atol=1e-3)
    assert merged.config.tie_word_embeddings is tied


def test_the_merged_model_is_the_adapted_one_with_the_bases_template(begin: Begin, model: Path) -> None:
    import torch
    import transformers

    from agent_memory.finetune.training import base
    from agent_memory.finetune.training.merge import adapted, merge

    run = begin()
    fit(run)
    merge(run)
    apart = adapted(model, base.config(run, model), run.adapter, of=torch.float32, on="cpu").eval()
    merged = transformers.AutoModelForCausalLM.from_pretrained(run.merged).eval()
    ids = torch.arange(3, 40)[None]
    with torch.inference_mode():
        assert torch.allclose(apart(ids).logits, merged(ids).logits, atol=1e-3)
    ours, theirs = (transformers.AutoTokenizer.from_pretrained(folder) for folder in (run.merged, model))
    assert ours.chat_template == theirs.chat_template
    assert merged.generation_config.eos_token_id == ours.eos_token_id


def test_rows_that_do_not_fit_are_cut_at_the_end_of_an_answer_or_counted(begin: Begin) -> None:
    outcome = fit(begin(training={"context": 300}), rows=24)
    fits = gate(outcome, "rows that fit")
    assert outcome.numbers["rows"]["cut"] > 0
    assert fits.warning
    assert "raise training.context" in fits.warning
    assert outcome.numbers["rows"]["longest"] <= 300


def test_yarn_stretches_what_the_base_reads(begin: Begin, model: Path) -> None:
    from agent_memory.finetune.training import base

    with pytest.raises(AgentMemoryError, match="reads 2,048 tokens") as refused:
        base.config(begin(training={"context": 4_096}), model)
    assert "training.yarn: 2.0" in refused.value.remedy
    stretched = base.config(begin(name="yarn", training={"context": 4_096, "yarn": 2.0}), model)
    assert stretched.max_position_embeddings == 4_096
    assert stretched.rope_parameters["rope_type"] == "yarn"
    outcome = fit(begin(name="yarned", training={"context": 4_096, "yarn": 2.0}), rows=8)
    assert outcome.numbers["steps"] == 1


def test_a_data_set_that_failed_a_gate_is_never_trained_on(
    begin: Begin, data: Path, conn: Connection, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)
    run = begin()
    passed_before(run)

    def refused(step: str) -> str:
        run.steps.setdefault("smoke", StepRecord("passed", runs.now()))
        run.steps.setdefault("smoke-check", StepRecord("passed", runs.now()))
        with pytest.raises(AgentMemoryError) as error:
            pipeline.perform(run, pipeline.named(step), lambda _: None)
        return error.value.problem

    assert "is not in the register" in refused("smoke")
    number = register(conn, data)
    conn.execute("update mem_data_sets set stale_since = now() where id = %s", (number,))
    conn.commit()
    assert "was forgotten" in refused("train")
    assert not run.adapter.exists()


def register(conn: Connection, data: Path) -> int:
    """Enter a set into the register, as making it does."""
    number = store.register(
        conn,
        path=str(data),
        machine=machine.here(),
        manifest_sha256=sha256((data / "MANIFEST.json").read_bytes()).hexdigest(),
        rows=80,
        tombstone_id=0,
        sessions=[],
    )
    conn.commit()
    return number


def test_a_data_set_that_was_changed_is_refused(begin: Begin, data: Path) -> None:
    with (data / "train.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(tiny_model.rows(1, seed=9)[0]) + "\n")
    with pytest.raises(AgentMemoryError, match="changed after the gates"):
        fit(begin())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": "hermes"}, "which other trainers read"),
        ({"gates": [{"passed": False}]}, "did not pass its gates"),
    ],
)
def test_a_data_set_that_is_not_for_training_is_refused(
    data: Path, change: dict[str, Any], said: str
) -> None:
    manifest = json.loads((data / "MANIFEST.json").read_text(encoding="utf-8"))
    (data / "MANIFEST.json").write_text(json.dumps({**manifest, **change}), encoding="utf-8")
    with pytest.raises(AgentMemoryError, match=said):
        source.manifest(data)
    (data / "MANIFEST.json").unlink()
    with pytest.raises(AgentMemoryError, match="is no data set"):
        source.manifest(data)


def test_a_base_that_cannot_be_had_is_said_plainly(
    begin: Begin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from agent_memory.finetune.training import base

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for number, (name, said) in enumerate(
        [
            (str(tmp_path / "nothing"), "there is no such folder"),
            (str(tmp_path), "it has no config.json"),
            ("not a name at all", "nor a name on the Hugging Face hub"),
        ]
    ):
        with pytest.raises(AgentMemoryError, match=said):
            base.folder(begin(name=f"n{number}", base={"model": name}))


@pytest.mark.slow
def test_a_hub_that_cannot_be_reached_is_said_plainly(begin: Begin) -> None:
    run = begin(base={"model": "nobody/such-a-model"})
    passed_before(run)
    done = subprocess.run(
        [sys.executable, "-m", "agent_memory.finetune.training.train", str(run.folder)],
        env={**os.environ, "HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_ETAG_TIMEOUT": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "the Hugging Face hub cannot be reached" in done.stderr
    assert "what to do: Get online once" in done.stderr


def test_a_template_without_a_place_for_calls_is_refused(begin: Begin, model: Path) -> None:
    from agent_memory.finetune.training import base

    with pytest.raises(AgentMemoryError, match="no place for calls") as refused:
        base.tokenizer(begin(base={"template": "phi3"}), model)
    assert "qwen2_5" in refused.value.remedy
    with pytest.raises(AgentMemoryError, match="no chat template 'none'"):
        base.tokenizer(begin(name="other", base={"template": "none"}), model)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(28, "No space left on device"), "is full"),
        (RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 128 vs 64"), "is full"),
        (RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"), "The memory is not enough"),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to"),
            "The memory is not enough",
        ),
        (MemoryError(), "The memory is not enough"),
    ],
)
def test_a_full_disk_and_a_full_memory_are_said_plainly(tmp_path: Path, error: Exception, said: str) -> None:
    plain = trouble.plainly(error, tmp_path)
    assert plain is not None
    assert said in plain.problem
    assert trouble.plainly(RuntimeError("shapes do not match"), tmp_path) is None


def test_the_smoke_is_a_short_training_of_its_own_folder(begin: Begin) -> None:
    run = begin(smoke={"rows": 16, "epochs": 1})
    outcome = train.smoke(run, lambda _: None)
    assert outcome.numbers["rows"]["rows"] == 16
    assert (replace(run, folder=run.smoke).adapter / "adapter_config.json").exists()
    assert not run.adapter.exists()


def test_a_model_answers_alone_as_it_does_among_others(begin: Begin, model: Path, told: Any) -> None:
    asked = Asked(begin(evaluation={"max_new_tokens": 16}), model)
    chosen = questions.choose(told[1], 9, asked.fits)
    seen: list[int] = []
    together = asked.answers(chosen, seen.append)
    assert seen == [8, 11]
    alone = [asked.answers([question], lambda _: None)[0] for question in chosen]
    assert [one["raw"] for one in alone] == [one["raw"] for one in together]
    assert {one["finish"] for one in alone} <= {"length", "stop"}
    assert not questions.choose(told[1], 9, Asked(begin(name="small", training={"context": 256}), model).fits)


@pytest.mark.slow
def test_a_tiny_model_learns_to_make_calls_and_passes_every_gate(
    begin: Begin,
    tmp_path: Path,
    conn: Connection,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)
    secret = "the launch code is violet-4711-otter"
    learned, held_out = tiny_model.rows(160, seed=5), tiny_model.rows(60, seed=6)
    data = tiny_model.make_set(tmp_path / "many", learned, held_out)
    register(conn, data)
    model = tiny_model.make_model(tmp_path / "base", tiny_model.texts(learned))
    run = begin(
        base={"model": str(model)},
        data={"folder": str(data)},
        lora={"rank": 32, "alpha": 64},
        training={"epochs": 4},
        smoke={"rows": 160, "epochs": 3},
        evaluation={"questions": 100, "max_new_tokens": 48},
    )
    run.steps["environment"] = run.steps["dataset"] = StepRecord("passed", runs.now())
    runs.save(run)
    (run.folder / "canaries.txt").write_text(f"{secret}\n", encoding="utf-8")
    trained = CliRunner().invoke(app, ["finetune", "train", "tiny"])
    assert trained.exit_code == 0, trained.output
    evaluated = CliRunner().invoke(app, ["finetune", "evaluate", "tiny"])
    run = runs.find("tiny")
    check = run.steps["check"]
    assert check.state == "passed", check.gates
    assert evaluated.exit_code == 0
    assert "parse" in evaluated.output
    tuned, base = check.numbers["tuned"], check.numbers["base"]
    assert tuned["parse"]["rate"] >= 0.85
    assert base["parse"]["rate"] == 0.0
    assert check.numbers["difference"]["parse"]["low"] > 0.5
    assert next(gate for gate in check.gates if gate["name"] == "canaries")["found"] == "0 of 1"
    answers, verdicts = questions.recorded(run.evaluation, "tuned")
    assert len(answers) == len(verdicts) == 125
    assert all("raw" in answer for answer in answers)


@pytest.mark.slow
def test_a_text_that_was_planted_and_learned_comes_out_and_meets_its_gate(
    begin: Begin, tmp_path: Path
) -> None:
    secret = "violet-4711-otter"
    learned, held_out = tiny_model.rows(96, seed=5), tiny_model.rows(8, seed=6)
    for row in learned:
        row["messages"][-1]["content"] = f"The code is {secret}."
    data = tiny_model.make_set(tmp_path / "planted", learned, held_out)
    model = tiny_model.make_model(tmp_path / "base", tiny_model.texts(learned))
    run = begin(
        base={"model": str(model)},
        data={"folder": str(data)},
        lora={"rank": 32, "alpha": 64},
        training={"epochs": 4},
        evaluation={"questions": 4, "max_new_tokens": 48},
    )
    (run.folder / "canaries.txt").write_text(f"{secret}\n", encoding="utf-8")
    train.train(run, lambda _: None)
    found = gate(evaluate.check(run, lambda _: None), "canaries")
    assert (found.passed, found.found) == (False, "1 of 1")
