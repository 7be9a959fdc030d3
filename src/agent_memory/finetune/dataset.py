"""The data set: sessions to trajectories, these to rows, rows to a draft, the draft through the gates, and only then to
its place.

Each pass reads a file from its beginning to its end and writes the next one, so memory does not grow with the journal:
a session, a row, and what is known of the tools is all that is held at once. Rows are cut when all tools are known,
since their schemas take room in a row.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import tempfile
import time
from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from agent_memory import __version__, machine, paths
from agent_memory.database import Connection
from agent_memory.errors import AgentMemoryError
from agent_memory.finetune import balance, extra, formats, gates, measure, places, store
from agent_memory.finetune import index as known
from agent_memory.finetune.files import sha256
from agent_memory.finetune.formats import Format
from agent_memory.finetune.gates import PARTS, Gate, Limits
from agent_memory.finetune.measure import Measure
from agent_memory.finetune.pairs import pairs
from agent_memory.finetune.places import Places
from agent_memory.finetune.rows import (
    RESULT_CHARS,
    Row,
    has_loop,
    names_of,
    row_of,
    rows,
    shortened,
    without,
)
from agent_memory.finetune.schemas import Tools
from agent_memory.finetune.trajectory import Call, Trajectory, changed, had, read, trajectories
from agent_memory.journal import tombstones
from agent_memory.journal.redaction import redact, redact_value
from agent_memory.settings import Settings

MANIFEST = "MANIFEST.json"
_TOKENS = (256, 512, 1_024, 2_048, 4_096, 8_192, 16_384, 32_768)
_ANSWERS = (1, 2, 4, 8, 16, 32, 64)
OFFERED_SHARE = 0.25
"""Of a row's budget, for tools that are offered. One that a row calls is in it whatever it takes."""
_SETS = 4_096
"""Of so many sets of tools it is remembered how long they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    project_id: int | None = None
    agent: str | None = None
    since: datetime | None = None
    success_only: bool = False
    """Only turns that ended well: see `trajectory.Turn`."""
    form: Format = "trl"
    tokens: int = 4_096
    measure: Measure | None = None
    """What counts them; None: an estimate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    id: int
    folder: Path
    manifest: Mapping[str, Any]
    warnings: list[str]
    seconds: float


@dataclass(slots=True)
class _Draft:
    folder: Path
    measure: Measure
    budget: int
    places: Places
    tools: Tools = field(default_factory=Tools)
    dropped: Counter[str] = field(default_factory=Counter)
    source: Counter[str] = field(default_factory=Counter)
    """How many sessions, prompts, messages and calls were read."""
    ranges: dict[str, tuple[int, int]] = field(default_factory=dict)
    """The lowest and the highest id that was read of each table."""
    validators: dict[tuple[str, str], Any] = field(default_factory=dict)
    sets: OrderedDict[tuple[str, frozenset[str]], int] = field(default_factory=OrderedDict)
    """Agent and tools → how many tokens they take where they are offered."""


class GateFailedError(AgentMemoryError):
    """Nothing was published."""

    def __init__(self, found: list[Gate]) -> None:
        self.gates = found
        """All that were measured."""
        self.failed = failed = gates.failed(found)
        told = "\n".join(
            f"  {gate.name}: {gate.found}, wanted {gate.wants}"
            + (f"; rows {', '.join(gate.rows[:5])}{' …' * (len(gate.rows) > 5)}" if gate.rows else "")
            for gate in failed
        )
        super().__init__(
            f"The data set did not pass its gates, and nothing was published.\n{told}",
            "See docs/fine_tune/data.md for what each gate wants. Record more, ask for more (fewer filters), or change"
            " a share in the settings.",
        )


def make(conn: Connection, wanted: Wanted, out: Path, settings: Settings) -> Published:
    """Make a data set in the new folder `out`, and enter it into the register. Commits, as it goes, only that entry.

    Raises AgentMemoryError: the folder is there already, a gate failed (GateFailedError), something was forgotten
    meanwhile, or the extra's packages are missing.
    """
    _needed()
    out = out.expanduser().absolute()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise AgentMemoryError(f"{out} is not empty.", "Name a new folder: a data set is never written over.")
    measured_by = wanted.measure or measure.estimated(wanted.form)
    began = time.monotonic()
    try:
        paths.make_private(out.parent)
        for left in out.parent.iterdir():
            if left.name.startswith(f".{out.name}-draft-"):  # of a run that was killed: nobody has audited it
                shutil.rmtree(left)
        folder = Path(tempfile.mkdtemp(prefix=f".{out.name}-draft-", dir=out.parent))
    except OSError as error:
        raise AgentMemoryError(
            f"{out} cannot be made: {error.strerror}.", "Name a folder in a place of yours, with space left."
        ) from None
    try:
        store.snapshot(conn)
        honoured = store.tombstones(conn)
        names = {name for path in store.folders(conn) if (name := places.owner(path))} | {places.own_name()}
        draft = _Draft(folder, measured_by, wanted.tokens, Places(names))
        _read(conn, wanted, draft)
        conn.commit()
        manifest, warnings, sessions = _audited(draft, wanted, settings)
        manifest |= {
            "tokenizer": measured_by.told,
            "wanted": _told(wanted),
            "source": {**draft.source, "ids": {table: list(ids) for table, ids in draft.ranges.items()}},
            "tombstones": honoured,
        }
        return _publish(conn, draft, out, manifest, warnings, sessions, honoured["last"], began)
    finally:
        conn.rollback()
        shutil.rmtree(folder, ignore_errors=True)


def _needed() -> None:
    try:
        import duckdb  # noqa: F401
        import jsonschema  # noqa: F401
        import rensa  # noqa: F401
    except ImportError as error:
        raise AgentMemoryError(
            f"Making a data set needs packages that are not installed: {error.name}.",
            extra.install(),
        ) from error


def _read(conn: Connection, wanted: Wanted, draft: _Draft) -> None:
    """Sessions into `trajectories.raw`, without secrets and places; the tools learned on the way."""
    place = draft.places

    def text(one: str) -> str:
        return place.text(redact(one))

    def arguments(value: dict[str, Any]) -> dict[str, Any]:
        cleaned: dict[str, Any] = place.value(redact_value(value))
        return cleaned

    def result(call: Call) -> str:
        whole = text(call.result)
        short = shortened(whole, RESULT_CHARS, more=call.left_out)
        return short if short == whole else text(short)  # a cut may leave what looks like a secret

    with (draft.folder / "trajectories.raw").open("w", encoding="utf-8") as raw:
        for session in store.sessions(
            conn, project_id=wanted.project_id, agent=wanted.agent, since=wanted.since
        ):
            draft.source["sessions"] += 1
            for table, read in (
                ("mem_tool_calls", session.calls),
                ("mem_assistant_messages", session.messages),
            ):
                if ids := [*draft.ranges.get(table, ()), *(one.id for one in read)]:
                    draft.ranges[table] = (min(ids), max(ids))
            draft.source["prompts"] += len(session.prompts)
            draft.source["assistant messages"] += len(session.messages)
            draft.source["tool calls"] += len(session.calls)
            mine = [
                changed(trajectory, text=text, arguments=arguments, result=result)
                for trajectory in trajectories(session, draft.dropped)
            ]
            for trajectory in mine:
                for call in trajectory.calls():
                    draft.tools.see(
                        session.agent, call.tool, call.arguments, refused=call.result if call.failed else ""
                    )
                raw.write(_line({"had": had(trajectory, mine), "trajectory": asdict(trajectory)}))


def _audited(
    draft: _Draft, wanted: Wanted, settings: Settings
) -> tuple[dict[str, Any], list[str], list[str]]:
    """Rows into train.jsonl and validation.jsonl, through the gates, and into the wanted form. The manifest, the
    warnings, and the sessions that are in it."""
    limits = Limits(
        project_share=settings.agent_memory_finetune_project_share,
        tool_share=settings.agent_memory_finetune_tool_share,
        multi_turn=settings.agent_memory_finetune_multi_turn,
        tokens=wanted.tokens,
    )
    with known.open_index(draft.folder / "index.sqlite") as index:
        _cut(draft, index, success_only=wanted.success_only)
        known.drop_copies(index)
        split_by, warnings = balance.split(index)
        unreached = balance.balance(index, project_share=limits.project_share, tool_share=limits.tool_share)
        _write(draft, index)
        found = gates.audit(draft.folder, draft.places, limits, unreached=unreached)
        if gates.failed(found):
            raise GateFailedError(found)
        draft.dropped.update(known.counted(index, "dropped", "dropped is not null"))
        warnings += [gate.warning for gate in found if gate.warning]
        manifest = {
            "format": wanted.form,
            "split_by": split_by,
            "rows": {part: known.counted(index, "part").get(part, 0) for part in PARTS},
            **_numbers(index),
            "dropped": dict(draft.dropped.most_common()),
            "schemas": {
                "how": "inferred from the arguments that were seen; required is what was always there",
                "seen": draft.tools.seen(),
            },
            "gates": [gate.as_dict() for gate in found],
            "warnings": warnings,
        }
        sessions = [
            one for (one,) in index.execute("select distinct session from rows where dropped is null")
        ]
    _render(draft.folder, wanted.form)
    manifest["files"] = _files(draft.folder)
    return manifest, warnings, sessions


def _cut(draft: _Draft, index: sqlite3.Connection, *, success_only: bool) -> None:
    """`trajectories.raw` into `rows.checked`, now that all tools are known: rows without invalid calls, with pairs and
    tools."""
    source, target = draft.folder / "trajectories.raw", draft.folder / "rows.checked"
    with target.open("w", encoding="utf-8") as out:
        for line in _lines(source):
            for row in _rows(draft, read(line["trajectory"]), line["had"], success_only=success_only):
                known.add(index, row_of(row))
                out.write(_line(row))
    source.unlink()


def _rows(
    draft: _Draft, trajectory: Trajectory, names: Sequence[str], *, success_only: bool
) -> Iterator[dict[str, Any]]:
    """A trajectory's rows as lines of a draft's file. `names`: of the tools that it had."""
    offered = _offered(draft, trajectory.agent, names)
    bare = draft.measure.head(trajectory.system, [])

    def head(called: frozenset[str]) -> int:
        return bare + _length(draft, trajectory.agent, offered | called)

    for row in rows(
        trajectory,
        budget=draft.budget,
        size=draft.measure.size,
        head=head,
        dropped=draft.dropped,
        success_only=success_only,
    ):
        if (checked := _checked(draft, row, offered)) is not None:
            yield checked


def _offered(draft: _Draft, agent: str, names: Iterable[str]) -> frozenset[str]:
    """Of these tools the first ones, the most called, that there is room for."""
    chosen: frozenset[str] = frozenset()
    for name in names:
        more = chosen | {name}
        if _length(draft, agent, more) <= draft.budget * OFFERED_SHARE:
            chosen = more
    return chosen


def _length(draft: _Draft, agent: str, names: frozenset[str]) -> int:
    """How many tokens the tools take."""
    key = (agent, names)
    if key not in draft.sets:
        tools = _tools(draft, agent, names)
        draft.sets[key] = draft.measure.head(".", tools) - draft.measure.head(".", [])
        if len(draft.sets) > _SETS:
            draft.sets.popitem(last=False)
    return draft.sets[key]


def _checked(draft: _Draft, row: Row, offered: frozenset[str]) -> dict[str, Any] | None:
    """The row as a line of a draft's file, or None where nothing is left of it."""
    messages, invalid = row.messages, _invalid(draft, row)
    found = list(pairs(messages, set(row.failed), invalid))
    if invalid:
        draft.dropped["call that does not fit its tool"] += len(invalid)
        messages = without(messages, invalid)
    tools = _tools(draft, row.agent, offered | names_of(messages))
    while (tokens := draft.measure.whole(messages, tools)) > draft.budget:
        # The parts were measured rather too long, so it is a rare template that gets here.
        draft.dropped["answer beyond the budget"] += 1
        messages = messages[:-1]
        while messages and messages[-1]["role"] != "assistant":
            messages = messages[:-1]
        if not messages:
            return None
    label = sum(draft.measure.size(m) for m in messages if m["role"] == "assistant")
    if not label:
        return None
    if has_loop(messages):
        draft.dropped["row with a loop"] += 1
        return None
    told = {message.get("tool_call_id") for message in messages}
    for pair in found:
        names = offered | names_of([*messages, *pair["prompt"], *pair["rejected"]])
        pair["tools"] = json.dumps(_tools(draft, row.agent, names), ensure_ascii=False)
    return {
        "id": row.id,
        "session": row.session_id,
        "project": row.project_id,
        "agent": row.agent,
        "messages": messages,
        "tokens": tokens,
        "label_tokens": label,
        "failed": [id_ for id_ in row.failed if id_ in told],
        "tools": json.dumps(tools, ensure_ascii=False),
        "pairs": [pair for pair in found if not has_loop(pair["prompt"])],
    }


def _invalid(draft: _Draft, row: Row) -> set[str]:
    """The ids of the row's calls that do not fit their tools."""
    return {
        call["id"]
        for message in row.messages
        for call in message.get("tool_calls", ())
        if not _is_valid(draft, row.agent, call["function"])
    }


def _is_valid(draft: _Draft, agent: str, call: Mapping[str, Any]) -> bool:
    key = (agent, call["name"])
    if key not in draft.validators:
        schema = draft.tools.of(*key)["function"]["parameters"]
        draft.validators[key] = gates.validator(schema)
    return bool(draft.validators[key].is_valid(call["arguments"]))


def _tools(draft: _Draft, agent: str, names: Iterable[str]) -> list[dict[str, Any]]:
    return [draft.tools.of(agent, name) for name in sorted(names)]


def _write(draft: _Draft, index: sqlite3.Connection) -> None:
    """`rows.checked` into train.jsonl and validation.jsonl, and their pairs."""
    source = draft.folder / "rows.checked"
    files = {
        name: (draft.folder / name).open("w", encoding="utf-8")
        for part in PARTS
        for name in (f"{part}.jsonl", f"pairs.{part}.jsonl")
    }
    places_of = index.execute("select part, dropped from rows order by n")
    for row, (part, dropped) in zip(_lines(source), places_of, strict=True):
        found = row.pop("pairs")
        if dropped is not None:
            continue
        files[f"{part}.jsonl"].write(_line(row))
        for number, pair in enumerate(found):
            files[f"pairs.{part}.jsonl"].write(_line({"id": f"{row['id']}/pair-{number}", **pair}))
    for file in files.values():
        file.close()
    source.unlink()


def _render(folder: Path, form: Format) -> None:
    """Rows into their form, and a Parquet file beside each file of lines. Pairs stay as TRL has them."""
    import duckdb

    with duckdb.connect() as duck:
        duck.execute("set threads = 1; set preserve_insertion_order = true")
        duck.execute("set temp_directory = ?", [str(folder)])
        for part in PARTS:
            file, new = folder / f"{part}.jsonl", folder / f"{part}.new"
            with new.open("w", encoding="utf-8") as out:
                out.writelines(_line(formats.render(row, form)) for row in _lines(file))
            new.replace(file)
            for name, columns in ((part, formats.COLUMNS[form]), (f"pairs.{part}", formats.PAIR_COLUMNS)):
                lines = folder / f"{name}.jsonl"
                with lines.open("rb") as told:
                    longest = max(map(len, told), default=0)
                # DuckDB works on 2,048 rows at once: so its memory grows with the rows' length, not with their number.
                duck.execute(f"set memory_limit = '{256 + (4 * 2_048 * longest >> 20)}MB'")
                given = dict.fromkeys(columns, "VARCHAR")
                duck.execute(
                    f"copy (select * from read_json(?, format = 'newline_delimited', columns = {given},"
                    f" maximum_object_size = {max(longest, 1 << 20)})) to '{_quoted(folder / f'{name}.parquet')}'"
                    " (format parquet, compression zstd, row_group_size 512)",
                    [str(lines)],
                )


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")


def _numbers(index: sqlite3.Connection) -> dict[str, Any]:
    sums = index.execute(
        "select coalesce(sum(tokens), 0), coalesce(sum(label), 0), coalesce(sum(calls), 0), count(distinct session),"
        " count(distinct project) from rows where dropped is null"
    ).fetchone()
    names = ("tokens", "label_tokens", "calls", "sessions", "projects")
    return {
        "counts": dict(zip(names, sums, strict=True)),
        "histograms": {
            "tokens": _histogram(index, "tokens", _TOKENS),
            "answers": _histogram(index, "turns", _ANSWERS),
            "projects": {f"project {n}": count for n, count in known.counted(index, "project").items()},
            "tools": known.tools(index),
        },
    }


def _histogram(index: sqlite3.Connection, column: str, edges: tuple[int, ...]) -> dict[str, int]:
    found: dict[str, int] = {}
    for low, high in zip((0, *edges), (*edges, 1 << 60), strict=True):
        (n,) = index.execute(
            f"select count(*) from rows where dropped is null and {column} > ? and {column} <= ?", (low, high)
        ).fetchone()
        if n:
            found[f"up to {high:,}" if high in edges else f"over {low:,}"] = n
    return found


def _files(folder: Path) -> dict[str, dict[str, Any]]:
    (folder / "index.sqlite").unlink()
    found = {}
    for file in sorted(folder.iterdir()):
        if file.suffix not in (".jsonl", ".parquet"):
            continue
        found[file.name] = {"bytes": file.stat().st_size, "sha256": sha256(file)}
        if file.suffix == ".jsonl":
            found[file.name]["rows"] = sum(1 for _ in _lines(file))
    return found


def _publish(
    conn: Connection,
    draft: _Draft,
    out: Path,
    manifest: dict[str, Any],
    warnings: list[str],
    sessions: list[str],
    last: int,
    began: float,
) -> Published:
    """Into its place, in one step, unless something was forgotten since the journal was read."""
    tombstones.share(conn)
    if store.tombstones(conn)["last"] != last:
        raise AgentMemoryError(
            "Something was forgotten while the data set was made, and nothing was published.",
            "Make it again.",
        )
    total = sum(manifest["rows"].values())
    told = {"made_by": f"agent-memory {__version__}", "made_at": datetime.now(UTC).isoformat(), **manifest}
    text = json.dumps(told, indent=2, ensure_ascii=False) + "\n"
    (draft.folder / MANIFEST).write_text(text, encoding="utf-8")
    number = store.register(
        conn,
        path=str(out),
        machine=machine.here(),
        manifest_sha256=sha256(draft.folder / MANIFEST),
        rows=total,
        tombstone_id=last,
        sessions=sessions,
    )
    draft.folder.replace(out)
    conn.commit()
    return Published(
        id=number, folder=out, manifest=told, warnings=warnings, seconds=time.monotonic() - began
    )


def state_of(conn: Connection, folder: Path) -> dict[str, Any] | None:
    """What the register says of a published data set, known by its manifest wherever it was moved: None, or its row;
    `stale_since` is set where something that it holds was forgotten. Raises AgentMemoryError: it is no data set."""
    file = folder / MANIFEST
    if not file.is_file():
        raise AgentMemoryError(
            f"{folder} is no data set: it has no {MANIFEST}.", "Make one: agent-memory finetune dataset"
        )
    return store.data_set(conn, sha256(file))


def changed_files(folder: Path) -> list[str]:
    """What of a published data set is not as its manifest says: files that were changed, or are gone."""
    told = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["files"]
    return [
        name
        for name, one in told.items()
        if not (folder / name).is_file() or sha256(folder / name) != one["sha256"]
    ]


def _told(wanted: Wanted) -> dict[str, Any]:
    return {
        "project": wanted.project_id,
        "agent": wanted.agent,
        "since": wanted.since.isoformat() if wanted.since else None,
        "success_only": wanted.success_only,
        "tokens": wanted.tokens,
    }


def _line(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")) + "\n"


def _lines(file: Path) -> Iterator[dict[str, Any]]:
    with file.open(encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)
