"""The gates in front of a data set: what its files hold is read afresh and measured. One that fails publishes nothing.

Secrets, places, leaks and validity are no settings. Shares are; where a journal cannot keep them, making the data set
has said so, and the gate lets it through with a loud warning.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from agent_memory.finetune import index as rows
from agent_memory.finetune.index import TRAIN, VALIDATION
from agent_memory.finetune.places import Places
from agent_memory.finetune.rows import calls_of, has_loop, row_of
from agent_memory.journal.redaction import redact_value

PARTS = (TRAIN, VALIDATION)
NAMED = 20
"""A gate names so many rows at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    project_share: float
    tool_share: float
    multi_turn: float
    tokens: int
    """A row's budget."""


@dataclass(slots=True, kw_only=True)
class Gate:
    name: str
    wants: str
    found: str = ""
    passed: bool = True
    warning: str | None = None
    """Why it let through what it would else have stopped."""
    rows: list[str] = field(default_factory=list)
    """The ids of rows at fault, not all where they are many."""
    remedy: str | None = None
    """What to do where it failed, if there is one thing to do."""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


Check = Callable[[Mapping[str, Any]], bool]
"""Whether a row is at fault."""


def audit(folder: Path, places: Places, limits: Limits, *, unreached: Mapping[str, str]) -> list[Gate]:
    """Measure a draft: `train.jsonl`, `validation.jsonl` and the pairs of both. `unreached`: gates of shares that the
    journal does not allow to keep, with the reason."""
    checks: list[tuple[str, str, Check]] = [
        ("secrets", "0", lambda row: redact_value(row) != row),
        ("home paths and hosts", "0", places.left),
        ("empty arguments", "0", lambda row: any(not call["arguments"] for call in _calls(row))),
        ("loops", "0", lambda row: has_loop(_messages(row))),
        ("calls against their schemas", "0 invalid", _Invalid()),
        ("tokens", f"1 to {limits.tokens:,} a row", lambda row: not _fits(row, limits.tokens)),
        ("label tokens", "more than 0 a row", lambda row: "label_tokens" in row and row["label_tokens"] <= 0),
    ]
    gates = [Gate(name=name, wants=wants) for name, wants, _ in checks]
    at_fault = [0] * len(checks)
    file = folder / "audit.sqlite"
    with rows.open_index(file) as index:
        for row in _all(folder):
            for number, (_, _, check) in enumerate(checks):
                if check(row):
                    at_fault[number] += 1
                    gates[number].rows += [row["id"]] * (len(gates[number].rows) < NAMED)
            if "messages" in row:
                rows.add(index, row_of(row), row["part"])
        for gate, n in zip(gates, at_fault, strict=True):
            gate.found, gate.passed = f"{n:,} rows at fault", n == 0
        gates = [
            _some(index),
            *gates,
            *_leaks(index),
            *_shares(index, limits, unreached),
            _multi(index, limits),
        ]
    file.unlink()
    return gates


def _some(index: sqlite3.Connection) -> Gate:
    train = rows.counted(index, "part").get(TRAIN, 0)
    return Gate(name="rows", wants="more than 0 for training", found=f"{train:,}", passed=train > 0)


def _leaks(index: sqlite3.Connection) -> Iterator[Gate]:
    for by in ("session", "text"):
        shared = [
            one
            for (one,) in index.execute(
                f"select max(id) from rows group by {by} having count(distinct part) > 1 limit {NAMED}"
            )
        ]
        yield Gate(
            name=f"the same {by} on both sides",
            wants="0",
            found=f"{len(shared)}",
            passed=not shared,
            rows=shared,
        )
    names = [
        index.execute("select id from rows where n = ?", (n,)).fetchone()[0]
        for n, _ in rows.near_across(index)
    ]
    yield Gate(
        name="nearly the same row on both sides",
        wants="0",
        found=f"{len(names)}",
        passed=not names,
        rows=names[:NAMED],
    )


def _shares(index: sqlite3.Connection, limits: Limits, unreached: Mapping[str, str]) -> Iterator[Gate]:
    of_projects = rows.counted(index, "project")
    for name, counts, share in (
        ("project share", of_projects, limits.project_share),
        ("tool share", rows.tools(index), limits.tool_share),
    ):
        most, n = next(iter(counts.items()), ("", 0))
        found = n / sum(counts.values()) if counts else 0.0
        over = found > share
        column = "project = ?" if name == "project share" else "n in (select row from calls where tool = ?)"
        yield Gate(
            name=name,
            wants=f"at most {share:.0%}",
            found=f"{found:.1%} (project {most})" if name == "project share" else f"{found:.1%} ({most})",
            passed=not over or name in unreached,
            warning=unreached.get(name) if over else None,
            rows=[
                id_
                for (id_,) in index.execute(f"select id from rows where {column} limit {NAMED}", (most,))
                if over
            ],
        )


def _multi(index: sqlite3.Connection, limits: Limits) -> Gate:
    all_, several = index.execute("select count(*), coalesce(sum(turns > 1), 0) from rows").fetchone()
    share = several / all_ if all_ else 0.0
    single = index.execute(f"select id from rows where turns <= 1 limit {NAMED}").fetchall()
    passed = share >= limits.multi_turn
    return Gate(
        name="multi-turn",
        wants=f"at least {limits.multi_turn:.0%} of the rows",
        found=f"{share:.1%}",
        passed=passed,
        rows=[] if passed else [id_ for (id_,) in single],
    )


class _Invalid:
    """Whether a row has a call that does not fit its tool's schema, or a tool without one."""

    def __init__(self) -> None:
        self._validators: dict[str, Any] = {}

    def __call__(self, row: Mapping[str, Any]) -> bool:
        tools = {
            tool["function"]["name"]: tool["function"]["parameters"] for tool in json.loads(row["tools"])
        }
        return any(
            call["name"] not in tools or not self._fits(tools[call["name"]], call["arguments"])
            for call in _calls(row)
        )

    def _fits(self, schema: Mapping[str, Any], arguments: Any) -> bool:
        key = json.dumps(schema, sort_keys=True)
        if key not in self._validators:
            self._validators[key] = validator(schema)
        return bool(self._validators[key].is_valid(arguments))


def validator(schema: Mapping[str, Any]) -> Any:
    import jsonschema

    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def _messages(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    return list(row.get("messages") or [*row["prompt"], *row["chosen"]])


def _calls(row: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The calls that are learned: of a pair not the rejected one."""
    return calls_of(_messages(row))


def _fits(row: Mapping[str, Any], budget: int) -> bool:
    return "tokens" not in row or 0 < row["tokens"] <= budget


def _all(folder: Path) -> Iterator[dict[str, Any]]:
    for name in PARTS:
        for file in (folder / f"{name}.jsonl", folder / f"pairs.{name}.jsonl"):
            with file.open(encoding="utf-8") as lines:
                for line in lines:
                    yield {**json.loads(line), "part": name}


def failed(gates: Sequence[Gate]) -> list[Gate]:
    return [gate for gate in gates if not gate.passed]
