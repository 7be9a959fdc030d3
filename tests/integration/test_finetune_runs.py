"""What is known of training runs: their list and comparison, their report, taking them back, and what was forgotten
since."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from tests import tiny_model
from tests.recorded_work import six_projects
from typer.testing import CliRunner

from agent_memory import machine, paths, settings
from agent_memory.cli.main import app
from agent_memory.database import Connection
from agent_memory.errors import AgentMemoryError
from agent_memory.finetune import data_step, dataset, pipeline, register, report, retraction, store
from agent_memory.finetune import run as runs
from agent_memory.finetune.config import Base, Data, Lora, TrainConfig, Training
from agent_memory.finetune.files import sha256
from agent_memory.finetune.gates import PARTS, Gate
from agent_memory.finetune.index import VALIDATION
from agent_memory.finetune.run import Run, StepRecord
from agent_memory.finetune.training import base, source
from agent_memory.finetune.training.encode import Counts, Encoder, fitted
from agent_memory.forgetting import forget as forgetting
from agent_memory.health import rules
from agent_memory.health.facts import Facts
from agent_memory.health.look import at_database, at_home

NASTY = '<script>alert("x")</script> & </pre>'


@pytest.fixture(autouse=True)
def reached(monkeypatch: pytest.MonkeyPatch, database_url: str, home: Path) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)
    paths.make_private(home)


@pytest.fixture
def recorded(conn: Connection) -> Connection:
    return six_projects(conn)


def published(conn: Connection, out: Path, **more: Any) -> Path:
    dataset.make(conn, dataset.Wanted(**more), out, settings.load())
    return out


def a_run(name: str = "shop", **config: Any) -> Run:
    return runs.begin(TrainConfig(name=name, base=Base(model="/no/base"), **config))


def passed(gates: list[Gate] | None = None, **numbers: Any) -> StepRecord:
    told = [gate.as_dict() for gate in gates or []]
    state = "passed" if all(gate["passed"] for gate in told) else "failed"
    return StepRecord(state, "2026-11-25T10:00:00+00:00", 61.0, 812.0, told, numbers)  # type: ignore[arg-type]


def rate(hits: int, of: int) -> dict[str, Any]:
    return {
        "hits": hits,
        "of": of,
        "rate": hits / of,
        "low": max(0.0, hits / of - 0.1),
        "high": min(1, hits / of + 0.1),
    }


def write(file: Path, *lines: Any) -> None:
    paths.make_private(file.parent)
    file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def trained(conn: Connection, name: str = "shop") -> Run:
    """A run with its own data set, an adapter, a model and answers."""
    run = a_run(name)
    published(conn, run.data)
    write(run.metrics, *({"step": n, "loss": 3 / n} for n in range(1, 9)))
    for folder in (run.adapter, run.models):
        paths.make_private(folder)
        (folder / "weights").write_bytes(b"w" * 64)
    for who, said in (("base", "It rains."), ("tuned", NASTY)):
        write(
            run.evaluation / f"chat.{who}.jsonl",
            {
                "id": "weather",
                "messages": [{"role": "user", "content": "?"}, {"role": "assistant", "content": said}],
            },
        )
    write(
        run.evaluation / "questions.jsonl",
        {"id": "q#1", "messages": [{"role": "user", "content": "a held-out one"}]},
    )
    for who in ("base", "tuned"):
        write(
            run.evaluation / f"{who}.jsonl",
            {"id": "q#1", "answer": {"content": f"{who} says"}, "verdict": {}},
        )
    bad = Gate(name="parse", wants="85%", found="12%", passed=False, rows=[NASTY], remedy="Train longer.")
    run.steps["dataset"] = passed([Gate(name="rows", wants="more than 0", found="20")])
    run.steps["check"] = passed([bad], tuned={"parse": rate(12, 100)}, base={"parse": rate(2, 100)})
    runs.save(run)
    assert register.record(run) is None
    return run


def first_session(run: Run) -> str:
    return str(json.loads((run.data / "train.jsonl").read_text().splitlines()[0])["id"]).split("/")[0]


def forget(conn: Connection, session: str) -> forgetting.Receipt:
    receipt = forgetting.forget(conn, forgetting.Wanted(session=session), by="test")
    conn.commit()
    return receipt


def invoke(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["finetune", *arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


class _Page(HTMLParser):
    """What a page asks for from elsewhere, its scripts, and its texts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.asks: list[str] = []
        self.tags: set[str] = set()
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.asks += [value or "" for name, value in attrs if name in ("src", "href", "action", "data")]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_report_of_a_run_that_failed_shows_all_of_it_and_runs_nothing(recorded: Connection) -> None:
    run = trained(recorded)
    report.write(run)
    page = _Page(run.report.read_text(encoding="utf-8"))
    assert not page.asks
    assert "script" not in page.tags
    assert page.text.count(NASTY) == 2  # what the model said, and the row's id
    for told in (
        "Evaluation: a gate failed",
        "Train longer.",
        "It rains.",
        "12.0% (2% to 22%), N = 100",
        "tokenizer",
        "a held-out one",
        "tuned says",
    ):
        assert told in page.text, told
    assert "svg" in page.tags
    told = json.loads(run.report.with_suffix(".json").read_text(encoding="utf-8"))
    assert told["files"]["adapter/weights"]["bytes"] == 64
    assert told["data_set"]["rows"]["train"] > 0
    assert [one["differs"] for one in told["scenarios"]] == [True]


def test_the_report_of_a_run_that_has_done_nothing_yet_can_be_written() -> None:
    run = a_run()
    report.write(run)
    assert "not begun" in run.report.read_text(encoding="utf-8")


def test_what_is_forgotten_makes_the_run_stale_with_the_list_of_rows(recorded: Connection) -> None:
    run, other = trained(recorded), trained(recorded, "other")
    session = first_session(run)
    assert advice(recorded) == []
    receipt = forget(recorded, session)
    assert receipt.stale_runs == [
        {"name": one.name, "folder": str(one.folder), "machine": machine.here()} for one in (run, other)
    ]
    by_name = {one["name"]: one for one in retraction.listed(recorded)}
    (stale,) = by_name["shop"]["stale"]
    assert stale["tombstone"] == receipt.tombstone
    assert stale["rows"] == [one for one in ids(run) if one.startswith(f"{session}/")]
    assert stale["rows"]
    assert "may know it still" in advice(recorded)[0]
    page = report.write(run)
    assert page["stale"] == [stale]
    assert "retract shop" in run.report.read_text(encoding="utf-8")
    shown = invoke("runs")
    assert f"tombstone {receipt.tombstone}" in shown
    assert stale["rows"][0] in shown


def ids(run: Run) -> list[str]:
    texts = [(run.data / f"{part}.jsonl").read_text(encoding="utf-8") for part in PARTS]
    return [json.loads(line)["id"] for text in texts for line in text.splitlines()]


def advice(conn: Connection) -> list[str]:
    facts: Facts = at_home(**at_database(conn))
    return [one.problem for one in rules.findings(facts) if one.check == "models"]


def test_nothing_more_is_done_with_a_run_whose_data_were_forgotten_changed_or_lost(
    recorded: Connection,
) -> None:
    run = trained(recorded)
    assert register.refuse_stale(run) is None
    forget(recorded, first_session(run))
    with pytest.raises(AgentMemoryError, match="was forgotten"):
        register.refuse_stale(run)
    other = trained(recorded, "other")
    with (other.data / "train.jsonl").open("a") as file:
        file.write("{}\n")
    for step in ("environment", "dataset", "smoke", "smoke-check"):
        other.steps[step] = passed()
    runs.save(other)
    with pytest.raises(AgentMemoryError, match=r"not as it was published: train\.jsonl"):
        pipeline.perform(other, pipeline.named("train"), lambda _: None)
    (other.data / "MANIFEST.json").unlink()
    with pytest.raises(AgentMemoryError, match="is gone"):
        register.refuse_stale(other)


def test_a_published_data_set_is_taken_only_as_it_passed_its_gates(
    recorded: Connection, tmp_path: Path
) -> None:
    good = published(recorded, tmp_path / "good")
    outcome = data_step.make(a_run("good", data=Data(folder=good)), lambda _: None)
    assert outcome.passed
    assert {"secrets", "as it was published"} <= {gate.name for gate in outcome.gates}
    with (good / "train.jsonl").open("a") as file:
        file.write("{}\n")
    assert failed(data_step.make(a_run("tampered", data=Data(folder=good)), lambda _: None)) == [
        "as it was published"
    ]
    unknown = published(recorded, tmp_path / "unknown")
    manifest = unknown / "MANIFEST.json"
    manifest.write_text(manifest.read_text().replace("agent-memory", "somebody"))
    assert failed(data_step.make(a_run("unknown", data=Data(folder=unknown)), lambda _: None)) == [
        "known to have passed its gates"
    ]
    stale = published(recorded, tmp_path / "stale")
    forget(recorded, str(json.loads((stale / "train.jsonl").read_text().splitlines()[0])["id"]).split("/")[0])
    assert failed(data_step.make(a_run("stale", data=Data(folder=stale)), lambda _: None)) == [
        "nothing forgotten since"
    ]
    other = published(recorded, tmp_path / "hermes", form="hermes", tokens=8_192)
    assert failed(data_step.make(a_run("hermes", data=Data(folder=other)), lambda _: None)) == [
        "format",
        "fits the context",
    ]


def test_rows_are_as_long_as_the_training_reads_them_with_their_tools(
    recorded: Connection, tmp_path: Path
) -> None:
    model = tiny_model.make_model(tmp_path / "tiny", tiny_model.texts(tiny_model.rows(64)))
    run = runs.begin(
        TrainConfig(name="tiny", base=Base(model=str(model)), training=Training(context=1_024, device="cpu"))
    )
    outcome = data_step.make(run, lambda _: None)
    assert outcome.passed, failed(outcome)
    counts = Counts()
    encoder = Encoder(base.tokenizer(run, model), ())
    for row in source.rows(run.data):
        assert fitted(encoder.encode(row), run.config.training.context, counts) is not None
    assert (counts.cut, counts.left_out) == (0, 0)
    assert counts.longest > 800  # there are rows at the context's edge
    read = outcome.numbers["tokens"]
    for row in source.rows(run.data, VALIDATION):
        fitted(encoder.encode(row), run.config.training.context, counts)
    assert counts.tokens == read


def failed(outcome: Any) -> list[str]:
    return [gate.name for gate in outcome.gates if not gate.passed]


def test_a_retracted_run_is_listed_with_its_reason_and_leaves_nothing_where_that_is_wanted(
    recorded: Connection,
) -> None:
    run = trained(recorded)
    forget(recorded, first_session(run))
    assert "is retracted: it knows too much" in invoke(
        "retract", "shop", "--because", "it knows too much", "--delete-files", "--yes"
    )
    left = sorted(file.name for file in run.folder.rglob("*"))
    assert left == ["config.yaml", "lock", "report.html", "report.json", "run.json"]
    assert not run.models.exists()
    assert NASTY not in run.report.read_text(encoding="utf-8")
    (told,) = retraction.listed(recorded)
    assert (told["standing"], told["retracted"]["because"], told["stale"]) == (
        "retracted",
        "it knows too much",
        [],
    )
    assert advice(recorded) == []
    with pytest.raises(AgentMemoryError, match="was retracted"):
        pipeline.perform(run, pipeline.STEPS[0], lambda _: None)


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Callable[[], Any]:
    """Be another machine for a block, whose home has the same path."""

    @contextmanager
    def there() -> Iterator[None]:
        with monkeypatch.context() as patch:
            patch.setattr(machine, "here", lambda: "desk-0b17")
            yield

    return there


def test_runs_in_the_same_folder_on_two_machines_are_two_runs(
    recorded: Connection, elsewhere: Callable[[], Any]
) -> None:
    """One is listed by its folder, the other by what the database knows."""
    run = trained(recorded)
    assert "machine" not in invoke("runs")
    with elsewhere():
        other = runs.load(run.folder)
        other.created, other.steps = "2099-01-01T10:00:00+00:00", {"dataset": passed()}
        assert register.record(other) is None
    assert [(one["machine"], set(one["steps"])) for one in store.training_runs(recorded)] == [
        ("desk-0b17", {"dataset"}),
        (machine.here(), {"dataset", "check"}),
    ]
    told = {one["machine"]: one for one in retraction.listed(recorded)}
    assert told["desk-0b17"]["standing"] == "Environment is next"
    assert told[machine.here()]["standing"] == "Evaluation: a gate failed"
    listed = invoke("runs")
    assert machine.here() in listed
    assert "desk-0b17" in listed
    receipt = forget(recorded, first_session(run))
    assert [one["machine"] for one in receipt.stale_runs] == [machine.here(), "desk-0b17"]
    (stale,) = next(one for one in retraction.listed(recorded) if one["machine"] == "desk-0b17")["stale"]
    assert (stale["tombstone"], stale["rows"]) == (receipt.tombstone, [])
    assert "on desk-0b17: agent-memory finetune retract" in " ".join(invoke("runs").split())


def test_a_run_that_was_written_down_before_machines_were_told_apart_stays_one_run(
    recorded: Connection, elsewhere: Callable[[], Any]
) -> None:
    run = trained(recorded)
    recorded.execute("update mem_training_runs set machine = ''")
    recorded.commit()
    with elsewhere():
        other = runs.load(run.folder)
        other.created = "2020-01-01T10:00:00+00:00"
        assert register.record(other) is None
    assert register.record(run) is None
    assert {one["machine"] for one in store.training_runs(recorded)} == {"desk-0b17", machine.here()}
    assert register.record(run) is None
    assert len(store.training_runs(recorded)) == 2


def test_a_database_of_this_machine_alone_has_no_runs_elsewhere(
    recorded: Connection, elsewhere: Callable[[], Any]
) -> None:
    """As after a backup was restored on a new machine."""
    with elsewhere():
        trained(recorded)
    store.own_runs(recorded, machine.here())
    recorded.commit()
    assert [one["machine"] for one in store.training_runs(recorded)] == [machine.here()]
    assert [one["machine"] for one in store.data_sets(recorded)] == [machine.here()]


def finished(conn: Connection) -> tuple[Run, Path]:
    """A run that has passed all steps but the last, and where LM Studio will find its model."""
    run = trained(conn)
    file = run.models / "shop-Q4_K_M.gguf"
    file.write_bytes(b"Q4" * 100)
    told = {
        "bytes": file.stat().st_size,
        "sha256": sha256(file),
        "quantization": "Q4_K_M",
        "memory_bytes": 3_000_000_000,
        "memory_context": 4_096,
    }
    for step in pipeline.STEPS[:-1]:
        run.steps[step.name] = passed(files={file.name: told})
    runs.save(run)
    return run, Path.home() / ".lmstudio/models/agent-memory/shop" / file.name


def test_a_model_is_installed_and_taken_back(recorded: Connection) -> None:
    run, place = finished(recorded)
    assert json.loads(invoke("install", run.name, "--json"))["state"] == "passed"
    assert place.read_bytes() == b"Q4" * 100
    assert invoke("install", run.name, "--remove") == f"Removed {place}\n"
    assert not place.exists()
    assert "Nothing of shop is installed" in invoke("install", run.name, "--remove")
    logged = recorded.execute("select action, target from mem_audit_log order by id").fetchall()
    assert [(row["action"], row["target"]) for row in logged] == [
        ("finetune install", "shop"),
        *[("finetune install --remove", "shop")] * 2,
    ]


def test_a_model_that_learned_from_what_was_forgotten_is_not_installed_and_the_rows_are_named(
    recorded: Connection,
) -> None:
    run, place = finished(recorded)
    invoke("install", run.name)
    receipt = forget(recorded, first_session(run))
    refused = CliRunner().invoke(app, ["finetune", "install", run.name])
    assert isinstance(refused.exception, AgentMemoryError)
    assert f"tombstone {receipt.tombstone}, rows {first_session(run)}/main/0" in refused.exception.problem
    assert refused.stdout == ""
    # what was installed before can be taken back all the same
    assert invoke("install", run.name, "--remove") == f"Removed {place}\n"
    assert not place.exists()


def test_a_retracted_model_is_taken_back_and_not_installed_again(recorded: Connection) -> None:
    run, place = finished(recorded)
    invoke("install", run.name)
    assert place.exists()
    assert f"taken back from LM Studio: {place}" in invoke("retract", run.name, "--because", "it is rude")
    assert not place.exists()
    refused = CliRunner().invoke(app, ["finetune", "install", run.name])
    assert isinstance(refused.exception, AgentMemoryError)
    assert refused.exception.problem == "The run shop was retracted: it is rude"
    assert not place.exists()


def test_a_model_is_not_installed_where_nobody_can_say_whether_it_may_be(
    recorded: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, place = finished(recorded)
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/nothing")
    refused = CliRunner().invoke(app, ["finetune", "install", run.name])
    assert "what was forgotten must not come back" in str(refused.exception)
    assert not place.exists()


def test_two_runs_are_compared_line_by_line(recorded: Connection) -> None:
    one, other = trained(recorded), a_run("other", lora=Lora(rank=4))
    other.steps["check"] = passed(
        [Gate(name="parse", wants="85%", found="91%")], tuned={"parse": rate(91, 100)}
    )
    runs.save(other)
    told = json.loads(invoke("runs", one.name, other.name, "--json"))
    assert told["config"] == {"lora.rank": [16, 4]}
    (gate,) = [gate for gate in told["gates"] if gate["name"] == "parse"]
    assert [found["passed"] for found in gate["found"]] == [False, True]
    (tuned,) = [one for one in told["rates"] if one["name"] == "tuned parse"]
    assert [found["hits"] for found in tuned["found"]] == [12, 91]
    assert "lora.rank" in invoke("runs", one.name, other.name)


def test_the_printed_configuration_is_one(tmp_path: Path) -> None:
    from agent_memory.finetune import config

    (tmp_path / "c.yaml").write_text(invoke("config"))
    assert config.load(tmp_path / "c.yaml") == TrainConfig(base=Base(model="~/models/base"))
