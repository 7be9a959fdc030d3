"""The data set on a real journal, and each gate in front of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any

import duckdb
import pytest
from bench.redaction_corpus.carriers import CARRIERS, fits, plant
from bench.redaction_corpus.secrets import KINDS, make
from tests.recorded_work import BEGAN, six_projects, tell, words, work
from typer.testing import CliRunner

from agent_memory import machine, settings
from agent_memory.capture.backfill import backfill, find
from agent_memory.cli.main import app
from agent_memory.database import Connection, server
from agent_memory.errors import AgentMemoryError
from agent_memory.finetune import balance, dataset, gates, measure
from agent_memory.finetune.dataset import GateFailedError, Published, Wanted
from agent_memory.finetune.gates import Limits
from agent_memory.finetune.places import Places
from agent_memory.finetune.rows import calls_of
from agent_memory.finetune.training import questions
from agent_memory.forgetting import forget as forgetting
from agent_memory.journal import projects
from agent_memory.journal.event import AssistantMessage, Body, Prompt, ToolCall
from agent_memory.settings import Settings

LIMITS = Limits(project_share=0.3, tool_share=0.2, multi_turn=0.2, tokens=4_096)


def make_set(conn: Connection, out: Path, config: Settings | None = None, **wanted: Any) -> Published:
    return dataset.make(conn, Wanted(**wanted), out, config or settings.load())


def read(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def of(published: Published) -> list[dict[str, Any]]:
    return [row for part in gates.PARTS for row in read(published.folder / f"{part}.jsonl")]


def sessions_of(rows: Iterable[dict[str, Any]]) -> set[str]:
    return {row["id"].split("/")[0] for row in rows}


@pytest.fixture
def several(conn: Connection) -> Connection:
    return six_projects(conn)


def test_the_real_transcripts_become_a_data_set(conn: Connection, shared_data: Path, tmp_path: Path) -> None:
    backfill(conn, find([shared_data / "transcripts"]), settings.load(), lambda _: None)
    conn.commit()
    published = make_set(conn, tmp_path / "set")
    rows = of(published)
    assert len(rows) > 40
    manifest = json.loads((published.folder / "MANIFEST.json").read_text(encoding="utf-8"))
    assert sum(manifest["rows"].values()) == len(rows)
    for name, told in manifest["files"].items():
        content = (published.folder / name).read_bytes()
        assert told["sha256"] == sha256(content).hexdigest()
    train, validation = (read(published.folder / f"{part}.jsonl") for part in gates.PARTS)
    assert train
    assert validation
    assert not sessions_of(train) & sessions_of(validation)
    whole = "".join(file.read_text(encoding="utf-8") for file in published.folder.glob("*.jsonl"))
    for leak in ("/Users/pete", "/home/marco", "<system-reminder>"):
        assert leak not in whole, leak
    for row in rows:
        told_tools = {tool["function"]["name"] for tool in json.loads(row["tools"])}
        ids = []
        for message in row["messages"]:
            ids += [call["id"] for call in message.get("tool_calls", ())]
            assert {call["function"]["name"] for call in message.get("tool_calls", ())} <= told_tools
            assert message.get("tool_call_id", ids[-1] if ids else None) in [*ids, None]
        assert row["messages"][-1]["role"] == "assistant"
    assert any(row["id"].split("/")[1] != "main" for row in rows)  # subagents


def test_parquet_holds_the_same_rows_as_the_lines(several: Connection, tmp_path: Path) -> None:
    published = make_set(several, tmp_path / "it's a set")
    for part in gates.PARTS:
        with duckdb.connect() as duck:
            file = str(published.folder / f"{part}.parquet")
            told = duck.execute("select id, messages, tools from read_parquet(?)", [file]).fetchall()
        lines = read(published.folder / f"{part}.jsonl")
        assert [(id_, json.loads(messages), tools) for id_, messages, tools in told] == [
            (row["id"], row["messages"], row["tools"]) for row in lines
        ]


@pytest.mark.parametrize("form", ["qwen", "qwen2.5", "hermes", "sharegpt"])
def test_every_form_is_published(several: Connection, tmp_path: Path, form: str) -> None:
    published = make_set(several, tmp_path / "set", form=form)
    first = read(published.folder / "train.jsonl")[0]
    assert first["text" if form.startswith("qwen") else "conversations"]
    assert published.manifest["format"] == form


def test_the_same_journal_gives_the_same_files(several: Connection, tmp_path: Path) -> None:
    one, other = (make_set(several, tmp_path / name).manifest["files"] for name in ("one", "two"))
    assert {name: told["sha256"] for name, told in one.items() if name.endswith("jsonl")} == {
        name: told["sha256"] for name, told in other.items() if name.endswith("jsonl")
    }


def test_whole_projects_are_set_apart_where_there_are_enough(several: Connection, tmp_path: Path) -> None:
    published = make_set(several, tmp_path / "set")
    assert published.manifest["split_by"] == "project"
    train, validation = (
        {session.split("-")[0] for session in sessions_of(read(published.folder / f"{part}.jsonl"))}
        for part in gates.PARTS
    )
    assert validation
    assert not train & validation


def test_planted_secrets_of_every_kind_are_in_no_file(conn: Connection, tmp_path: Path) -> None:
    rng = Random("a data set's secrets")
    pieces = {}
    for number, kind in enumerate(KINDS):
        one = plant(next(c for c in CARRIERS if fits(c, kind)), kind, make(kind, rng), rng)
        lines = one.form.strip().splitlines()
        pieces[kind.name] = lines[len(lines) // 2]
        said: list[Body] = [
            Prompt(text=f"Look at this: {one.text}"),
            AssistantMessage(text=f"I see {one.text}", uuid=f"m{number}"),
            ToolCall(
                tool_use_id=f"c{number}",
                name="Write",
                input={"path": "x", "content": one.text},
                output="padding " * 200 + one.text + " padding" * 200,
                success=True,
            ),
            AssistantMessage(text="Written.", uuid=f"e{number}"),
        ]
        tell(conn, f"s{number}", [*said, *work(f"w{number}")], redact=False, folder=f"/srv/p{number % 7}")
    published = make_set(conn, tmp_path / "set")
    whole = "".join(file.read_text(encoding="utf-8") for file in published.folder.glob("*.json*"))
    assert "[REDACTED:" in whole
    assert [name for name, piece in pieces.items() if piece in whole] == []


def test_loops_alone_are_no_data_set(conn: Connection, tmp_path: Path) -> None:
    for session in range(4):
        told: list[Body] = [Prompt(text=f"Wait for {session}")]
        told += [
            ToolCall(
                tool_use_id=f"t{session}-{n}",
                name="Bash",
                input={"command": "check"},
                output="no",
                success=True,
            )
            for n in range(5)
        ]
        tell(conn, f"loop{session}", told, folder=f"/srv/p{session}")
    with pytest.raises(GateFailedError, match="nothing was published") as stopped:
        make_set(conn, tmp_path / "set")
    assert [gate.name for gate in stopped.value.failed] == ["rows", "multi-turn"]
    assert list(tmp_path.iterdir()) == []


def test_one_project_alone_is_published_with_a_loud_warning(
    conn: Connection, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(6):
        tell(conn, f"s{number}", work(f"s{number}"))
    monkeypatch.setenv("DATABASE_URL", database_url)
    done = CliRunner().invoke(app, ["finetune", "dataset", "--out", str(tmp_path / "set")])
    assert done.exit_code == 0, done.output
    assert "Warning:" in done.output
    assert "100%" in done.output
    published = json.loads((tmp_path / "set" / "MANIFEST.json").read_text(encoding="utf-8"))
    (project,) = [gate for gate in published["gates"] if gate["name"] == "project share"]
    assert project["passed"]
    assert "One project" in project["warning"]
    listed = CliRunner().invoke(app, ["finetune", "datasets"])
    assert "good" in listed.output
    logged = conn.execute("select target from mem_audit_log where action = 'finetune dataset'").fetchall()
    assert [row["target"] for row in logged] == [f"data set 1: {tmp_path / 'set'}"]


def test_too_large_a_project_is_sampled_down_where_others_are_there(
    several: Connection, tmp_path: Path
) -> None:
    for number in range(24):
        tell(several, f"big-{number}", work(f"big-{number}"), folder="/home/alicia/project0")
    published = make_set(several, tmp_path / "set")
    share = sum(row["id"].startswith(("big", "p0")) for row in of(published)) / len(of(published))
    assert 0.2 < share <= 0.3
    assert published.manifest["dropped"]["too large a share of its project"] > 10
    assert published.warnings == []


def test_too_large_a_tool_is_sampled_down_where_others_are_there(several: Connection, tmp_path: Path) -> None:
    for number in range(8):
        body = work(f"grep-{number}", tools=["Grep"])
        tell(several, f"grep-{number}", body, folder=f"/home/alicia/project{number % 6}")
    published = make_set(several, tmp_path / "set")
    (gate,) = [gate for gate in published.manifest["gates"] if gate["name"] == "tool share"]
    assert (gate["passed"], gate["warning"]) == (True, None)
    assert published.manifest["dropped"]["too large a share of its tool"]


def test_filters_bound_what_is_in_it(several: Connection, tmp_path: Path) -> None:
    only = projects.resolve(several, "/home/alicia/project3")
    assert only is not None
    several.commit()
    published = make_set(several, tmp_path / "set", project_id=only)
    assert {session.split("-")[0] for session in sessions_of(of(published))} == {"p3"}
    for nothing in ({"agent": "codex"}, {"since": BEGAN + timedelta(days=1)}):
        with pytest.raises(GateFailedError):
            make_set(several, tmp_path / "other", **nothing)


def test_a_tokenizer_counts_where_one_is_named(several: Connection, tmp_path: Path) -> None:
    import tokenizers

    file = tmp_path / "tokenizer.json"
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel({"?": 0}, unk_token="?"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    made.save(str(file))
    published = make_set(several, tmp_path / "set", measure=measure.by_file(file, "trl"))
    assert published.manifest["tokenizer"].startswith("tokenizer.json")
    (tmp_path / "bad.json").write_text("{}", encoding="utf-8")
    with pytest.raises(AgentMemoryError, match="is no tokenizer"):
        measure.by_file(tmp_path / "bad.json", "trl")


def offered(row: dict[str, Any]) -> set[str]:
    return {tool["function"]["name"] for tool in json.loads(row["tools"])}


def test_a_row_offers_what_its_session_had_and_a_question_of_it_is_a_choice(
    several: Connection, tmp_path: Path
) -> None:
    later = [Prompt(text="And now the tests"), *work("tests", steps=16, tools=["Bash", "Grep"])[1:]]
    tell(several, "long", [*work("first", steps=16, tools=["Read", "Edit"]), *later])
    rows = [row for row in of(make_set(several, tmp_path / "set", tokens=1_536)) if "long" in row["id"]]
    assert len(rows) > 2
    for row in rows:
        assert {call["name"] for call in calls_of(row["messages"])} < offered(row)
        assert offered(row) == {"Read", "Edit", "Bash", "Grep"}
    for question in questions.choose(rows, 20):
        assert len(question.tools) == 4


def test_of_many_tools_those_are_offered_that_there_is_room_for_and_all_that_are_called(
    several: Connection, tmp_path: Path
) -> None:
    many = [f"mcp__server__tool_{number:02}" for number in range(40)]
    tell(several, "many", [*work("few", steps=12, tools=["Read", "Edit"]), *work("x", steps=40, tools=many)])
    rows = [row for row in of(make_set(several, tmp_path / "set", tokens=2_048)) if "many" in row["id"]]
    assert len(rows) > 1
    for row in rows:
        assert {call["name"] for call in calls_of(row["messages"])} <= offered(row)
        assert {"Read", "Edit"} <= offered(row)  # the most called ones
        assert 2 < len(offered(row)) < len(many)
        assert measure.estimated("trl").whole(row["messages"], json.loads(row["tools"])) <= 2_048


def test_the_draft_of_a_killed_run_is_removed_by_the_next(several: Connection, tmp_path: Path) -> None:
    (tmp_path / ".set-draft-x1").mkdir()
    (tmp_path / ".set-draft-x1" / "rows.raw").write_text("not audited", encoding="utf-8")
    make_set(several, tmp_path / "set")
    assert [file.name for file in tmp_path.iterdir()] == ["set"]


def test_a_data_set_is_never_written_over(several: Connection, tmp_path: Path) -> None:
    make_set(several, tmp_path / "set")
    with pytest.raises(AgentMemoryError, match="is not empty"):
        make_set(several, tmp_path / "set")


def test_forgotten_rows_are_in_no_data_set_and_an_earlier_one_is_stale(
    several: Connection, tmp_path: Path
) -> None:
    before = make_set(several, tmp_path / "before")
    untouched = make_set(several, tmp_path / "untouched", since=BEGAN)
    session = sorted(sessions_of(of(before)))[0]
    state = dataset.state_of(several, before.folder)
    assert state is not None
    assert state["stale_since"] is None
    receipt = forgetting.forget(several, forgetting.Wanted(session=session), by="test")
    several.commit()
    assert sorted(one["folder"] for one in receipt.stale) == sorted(
        map(str, (before.folder, untouched.folder))
    )
    moved = before.folder.rename(tmp_path / "moved")
    state = dataset.state_of(several, moved)
    assert state is not None
    assert state["stale_since"] is not None
    assert state["stale_by"] == [receipt.tombstone]
    after = make_set(several, tmp_path / "after")
    assert session not in sessions_of(of(after))
    assert after.manifest["tombstones"] == {"count": 1, "last": receipt.tombstone}
    state = dataset.state_of(several, after.folder)
    assert state is not None
    assert state["stale_since"] is None


def test_forgetting_a_passage_marks_the_data_set_that_was_made_of_it(
    several: Connection, tmp_path: Path
) -> None:
    tell(several, "heron", [Prompt(text="The heron nests behind the lighthouse"), *work("heron")])
    published = make_set(several, tmp_path / "set")
    if "heron" not in sessions_of(of(published)):
        pytest.fail("the passage's session is not in the data set")
    wanted = forgetting.Wanted(text="heron nests behind the lighthouse")
    receipt = forgetting.forget(several, wanted, by="test")
    several.commit()
    assert receipt.stale == [{"folder": str(published.folder), "machine": machine.here()}]


def test_what_is_forgotten_meanwhile_stops_it(
    several: Connection, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    split = balance.split

    def forgetful(index: Any) -> Any:
        with server.connect(database_url) as other:
            forgetting.forget(other, forgetting.Wanted(session="p1-1"), by="test")
        return split(index)

    monkeypatch.setattr(balance, "split", forgetful)
    with pytest.raises(AgentMemoryError, match="forgotten while"):
        make_set(several, tmp_path / "set")
    assert list(tmp_path.iterdir()) == []


def row(session: str, number: int = 0, project: int = 1, **changes: Any) -> dict[str, Any]:
    """A row that passes every gate."""
    rng = Random(f"{session} {number}")
    calls: list[dict[str, Any]] = [
        {
            "id": f"call_{n}",
            "type": "function",
            "function": {"name": f"tool{n}", "arguments": {"target": words(rng, 5)}},
        }
        for n in range(6)
    ]
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": "You are a coding agent."},
        {"role": "user", "content": words(rng, 20)},
    ]
    for call in calls:
        messages.append({"role": "assistant", "content": words(rng, 9), "tool_calls": [call]})
        messages.append(
            {
                "role": "tool",
                "tool_call_id": call["id"],
                "name": call["function"]["name"],
                "content": words(rng, 30),
            }
        )
    messages.append({"role": "assistant", "content": words(rng, 9)})
    takes = {"type": "object", "properties": {"target": {"type": "string"}}, "required": ["target"]}
    tools = [
        {"type": "function", "function": {"name": f"tool{n}", "description": "", "parameters": takes}}
        for n in range(6)
    ]
    made: dict[str, Any] = {
        "id": f"{session}/main/{number}",
        "session": session,
        "project": project,
        "agent": "claude",
        "messages": messages,
        "tools": json.dumps(tools),
        "tokens": 500,
        "label_tokens": 200,
    }
    return made | changes


def audited(
    folder: Path, train: list[dict[str, Any]], validation: list[dict[str, Any]]
) -> dict[str, list[str]]:
    """The gates that failed, with the rows that they name."""
    files: dict[str, list[dict[str, Any]]] = {"train": train, "validation": validation}
    for name, rows in files.items():
        (folder / f"{name}.jsonl").write_text(
            "".join(json.dumps(one) + "\n" for one in rows), encoding="utf-8"
        )
        (folder / f"pairs.{name}.jsonl").write_text("", encoding="utf-8")
    found = gates.audit(folder, Places(["alicia"], hosts=["brontes"]), LIMITS, unreached={})
    return {gate.name: gate.rows for gate in gates.failed(found)}


def good() -> list[dict[str, Any]]:
    return [row(f"s{n}", project=n % 5) for n in range(20)]


def test_a_good_draft_passes_every_gate(tmp_path: Path) -> None:
    assert audited(tmp_path, good()[:17], good()[17:]) == {}


def edited(change: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    bad = row("bad", project=2)
    change(bad)
    return bad


def call_of(bad: dict[str, Any], number: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = bad["messages"][2 + 2 * number]["tool_calls"][0]["function"]
    return found


def loop(bad: dict[str, Any]) -> None:
    for number in range(1, 4):
        call_of(bad, number).update(call_of(bad))


SECRET = "ghp_" + "Q7w2kR9tLm4XzB1vHc8YpD3nFs6JgA5eUo0I"
BAD: dict[str, Callable[[dict[str, Any]], None]] = {
    "secrets": lambda bad: call_of(bad)["arguments"].update(target=f"export GITHUB_TOKEN={SECRET}"),
    "home paths and hosts": lambda bad: bad["messages"][3].update(content="in /home/alicia/shop"),
    "empty arguments": lambda bad: call_of(bad).update(arguments={}),
    "loops": loop,
    "calls against their schemas": lambda bad: call_of(bad).update(arguments={"target": 3}),
    "tokens": lambda bad: bad.update(tokens=4_097),
    "label tokens": lambda bad: bad.update(label_tokens=0),
}


@pytest.mark.parametrize("gate", BAD)
def test_one_bad_row_meets_its_gate_and_is_named(tmp_path: Path, gate: str) -> None:
    failed = audited(tmp_path, [*good()[:17], edited(BAD[gate])], good()[17:])
    assert failed[gate] == ["bad/main/0"]
    assert set(failed) <= {gate, "calls against their schemas"}  # no arguments at all fit no schema either


def test_a_call_of_a_tool_without_a_schema_meets_its_gate(tmp_path: Path) -> None:
    bad = edited(lambda bad: call_of(bad).update(name="unheard-of"))
    assert audited(tmp_path, [*good()[:17], bad], good()[17:]) == {
        "calls against their schemas": ["bad/main/0"]
    }


def test_a_session_on_both_sides_meets_its_gate(tmp_path: Path) -> None:
    failed = audited(tmp_path, good()[:17], [*good()[17:], row("s3", number=1)])
    assert list(failed) == ["the same session on both sides"]
    assert failed["the same session on both sides"][0].startswith("s3/")


def test_nearly_the_same_row_on_both_sides_meets_its_gate(tmp_path: Path) -> None:
    copy: dict[str, Any] = row("s3") | {"id": "other/main/0", "session": "other"}
    copy["messages"][-1]["content"] += " and a word more"
    assert audited(tmp_path, good()[:17], [*good()[17:], copy]) == {
        "nearly the same row on both sides": ["other/main/0"]
    }


def test_shares_and_single_turns_meet_their_gates(tmp_path: Path) -> None:
    one = [row(f"s{n}", project=1) for n in range(20)]
    assert list(audited(tmp_path, one[:17], one[17:])) == ["project share"]
    single = good()
    for told in single:
        told["messages"] = told["messages"][:3]
    assert set(audited(tmp_path, single[:17], single[17:])) == {"tool share", "multi-turn"}


def test_a_secret_in_a_pair_meets_its_gate(tmp_path: Path) -> None:
    audited(tmp_path, good()[:17], good()[17:])
    told: dict[str, Any] = row("s1")
    pair = {
        "id": "s1/main/0/pair-0",
        "prompt": told["messages"][:2],
        "chosen": [told["messages"][2]],
        "rejected": [{"role": "assistant", "content": f"export GITHUB_TOKEN={SECRET}"}],
        "tools": told["tools"],
    }
    (tmp_path / "pairs.train.jsonl").write_text(json.dumps(pair) + "\n", encoding="utf-8")
    found = gates.failed(gates.audit(tmp_path, Places([], hosts=[]), LIMITS, unreached={}))
    assert [(gate.name, gate.rows) for gate in found] == [("secrets", ["s1/main/0/pair-0"])]
