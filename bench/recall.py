"""How well recall finds what it should, how often it rightly finds nothing, and what an answer costs in tokens.

    make bench-recall        or: python -m bench.recall [--dev] [--ablate] coding locomo-session …

Goes through the product's own path: sessions as journal Events through the ingest and the queue, notes through their
gate, chunks, vectors, `recall()`; on an embedded Postgres of its own. Beside it in the same run, over the same
observations: grep, stemmed BM25 (bm25s), the vector leg alone, reciprocal rank fusion with k = 60, and recall without
its rule of relevance. One table; every question with every ranking and the journal's rows is written to
bench/results/, with a manifest. Vectors are kept there, so that the next run takes minutes.

R@k is the share of a question's evidence among the first k observations; MRR the reciprocal rank of its first.
A question that recall refuses although its answer is there counts as not found. `--dev` leaves the test halves alone;
`--ablate` asks the development halves again without each part of the method.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import re
import sqlite3
import statistics
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import bm25s
import bpe_openai
import numpy as np
import Stemmer
from rich.console import Console
from rich.table import Table

from agent_memory import settings
from agent_memory.database import Connection, server
from agent_memory.database.migrate import migrate
from agent_memory.observations import embed, worker
from agent_memory.observations.embed import Embedder
from agent_memory.observations.words import indexable
from agent_memory.recall import bm25, fusion, proximity, relevance, render, search
from agent_memory.recall import store as legs
from bench import recall_sets
from bench.home import scratch_home
from bench.recall_sets import HERE, Filled, Question, Set, sets

K = 10
EVERYTHING = 1_000_000
"""Characters: the ranking is measured, not what is shown of it."""
RRF_K = 60
METHODS = ("grep", "bm25", "vectors", "rrf k=60", "recall, unrefused", "recall")
TOKENIZER = "o200k_base"
TOKEN_SETS = ("coding", "locomo-turn")
TOKEN_QUESTIONS = 150
"""Of a set's development half: counting is slow."""

Ranking = Sequence[int]
"""Ids of observations, best first."""
Change = tuple[Any, str, Any]
"""A module, the name of a constant in it, and another value for it."""

WITHOUT: dict[str, Sequence[Change]] = {
    "the neighbours in a session": [(fusion, "NEIGHBOUR_WEIGHTS", ())],
    "nearness of the words": [(fusion, "PROXIMITY_WEIGHT", 0.0)],
    "coverage of the words": [(fusion, "COVERAGE_WEIGHT", 0.0)],
    "k1 0.9, b 0.4 (1.2 and 0.75)": [(bm25, "K1", 1.2), (bm25, "B", 0.75)],
    "the vectors": [(fusion, "TEXT_WEIGHT", 1.0), (fusion, "VECTOR_WEIGHT", 0.0)],
    "the words": [
        *((fusion, f"{name}_WEIGHT", 0.0) for name in ("TEXT", "PROXIMITY", "COVERAGE")),
        (fusion, "VECTOR_WEIGHT", 1.0),
    ],
}


@dataclass
class Outcome:
    """What every method said to one question."""

    question: Question
    rankings: dict[str, Ranking] = field(default_factory=dict)
    ms: float = 0.0
    """What recall took, without the query's embedding."""
    evidence_rows: Mapping[int, Any] = field(default_factory=dict)
    tokens: dict[str, int] = field(default_factory=dict)


def main() -> None:
    given = _arguments()
    console = Console(width=110)
    results = HERE / "results" / f"recall-{datetime.now(UTC):%Y%m%d-%H%M%S}-{os.getpid()}"
    results.mkdir(parents=True)
    ranking = _table("recall of evidence", "method", "R@5", f"R@{K}", "MRR", "p50 ms", "p95 ms")
    refusing = _table(
        "knowing that it does not know", "method", "answerable, got hits", "unanswerable, got none"
    )
    ablation = _table("recall, unrefused, without …", "", "R@5", "MRR")
    costs = _table(
        f"tokens ({TOKENIZER}) for each answerable question",
        "what is shown",
        "tokens",
        "answered",
        "tokens/answer",
    )
    manifest: dict[str, Any] = {"at": datetime.now(UTC).isoformat(), "commit": _commit(), "sets": {}}
    with scratch_home() as home:
        config = settings.load()
        embedder = Remembered(embed.load(config), HERE / "results" / "vectors.sqlite")
        manifest |= {"model": embedder.name, "constants": _constants(), "tokenizer": TOKENIZER}
        with server.connect(server.conninfo(config)) as conn:
            migrate(conn)
            for asked in sets(given.sets):
                began = time.perf_counter()
                filled = _fill(conn, embedder, asked, config, home / "repositories")
                questions = [q for q in filled.questions if not given.dev or q.split == "dev"]
                outcomes = _measure(conn, embedder, asked, filled, questions)
                _write(results / f"{asked.name}.jsonl", outcomes)
                for label, told in _splits(asked.name, outcomes):
                    _add_rankings(ranking, label, told)
                    if any(not outcome.question.evidence for outcome in told):
                        _add_refusals(refusing, label, told)
                if given.ablate and asked.name != "locomo-pooled":
                    _add_ablation(ablation, conn, embedder, asked.name, filled, questions)
                if asked.name in TOKEN_SETS:  # of dev: it is the slow part
                    _add_costs(costs, f"{asked.name} dev", outcomes)
                manifest["sets"][asked.name] = {
                    "sha256": asked.sha256,
                    "observations": len(filled.pasted),
                    "questions": len(questions),
                    "seconds": round(time.perf_counter() - began),
                }
    (results / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n", "utf-8")
    for table in (ranking, refusing, *([ablation] if given.ablate else []), costs):
        console.print(table)
    console.print(f"every question: {results}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.recall")
    parser.add_argument("--dev", action="store_true", help="leave the test halves alone")
    parser.add_argument("--ablate", action="store_true", help="ask dev again without each part of the method")
    parser.add_argument("sets", nargs="*")
    return parser.parse_args()


class Remembered:
    """An embedder that asks another one only for texts that it has not seen in an earlier run."""

    def __init__(self, embedder: Embedder, file: Path) -> None:
        self._embedder = embedder
        self.name, self.dimensions = embedder.name, embedder.dimensions
        self._kept = sqlite3.connect(file, check_same_thread=False)
        self._kept.execute("create table if not exists vectors (key blob primary key, vector blob)")

    def embed(self, texts: Sequence[str], *, query: bool = False) -> list[list[float]]:
        keys = [hashlib.sha256(f"{self.name}\0{query}\0{text}".encode()).digest() for text in texts]
        known = dict(
            self._kept.execute(
                f"select key, vector from vectors where key in ({','.join('?' * len(keys))})", keys
            ).fetchall()
        )
        new = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
        if new:
            vectors = self._embedder.embed(list(new.values()), query=query)
            made = {
                key: np.array(vector, np.float32).tobytes() for key, vector in zip(new, vectors, strict=True)
            }
            self._kept.executemany("insert or replace into vectors values (?, ?)", made.items())
            self._kept.commit()
            known |= made
        return [np.frombuffer(known[key], np.float32).tolist() for key in keys]


def _fill(
    conn: Connection, embedder: Embedder, asked: Set, config: settings.Settings, folder: Path
) -> Filled:
    filled = asked.fill(conn, config, folder)
    while worker.embed_pending(conn, embedder):
        pass
    conn.commit()
    conn.execute("analyze")
    conn.commit()
    return filled


def _measure(
    conn: Connection, embedder: Embedder, asked: Set, filled: Filled, questions: Sequence[Question]
) -> list[Outcome]:
    lexical = {}
    for name, project in filled.projects.items():
        documents = _documents(conn, project)
        lexical[name] = (_grep(documents), _bm25(documents))
    outcomes: list[Outcome] = []
    for question in questions:
        project = filled.projects[question.project]
        outcome = Outcome(question, evidence_rows=recall_sets.rows(conn, list(question.evidence)))
        grep, bm25 = lexical[question.project]
        outcome.rankings = {"grep": grep(question.text), "bm25": bm25(question.text)}
        outcome.rankings |= _legs(conn, embedder, question.text, project)
        began = time.perf_counter()
        answer = search.recall(
            conn, question.text, project_id=project, embedder=embedder, k=K, budget_chars=EVERYTHING
        )
        outcome.ms = (time.perf_counter() - began) * 1000
        outcome.rankings["recall"] = [hit.id for hit in answer.hits]
        outcome.rankings["recall, unrefused"] = (
            _unrefused(conn, embedder, question.text, project)
            if answer.abstained
            else outcome.rankings["recall"]
        )
        if asked.name in TOKEN_SETS and question.split == "dev" and len(outcomes) < TOKEN_QUESTIONS:
            outcome.tokens = _tokens(conn, embedder, question, project, filled)
        outcomes.append(outcome)
    return outcomes


def _documents(conn: Connection, project: int) -> list[tuple[int, str]]:
    """What a baseline reads: the same observations, with the date."""
    rows = conn.execute(
        "select id, occurred_at, title, text from mem_observations where project_id = %s order by id",
        (project,),
    )
    return [(r["id"], f"{r['occurred_at']:%Y-%m-%d %B} {r['title']}\n{r['text']}") for r in rows]


def _unrefused(conn: Connection, embedder: Embedder, question: str, project: int) -> Ranking:
    """The ranking alone: without the rule of relevance, and whatever the budget shows of it."""
    with _changed(*((relevance, name, -math.inf) for name in ("ENOUGH", "ENOUGH_WORDS", "SPEAKS"))):
        answer = search.recall(
            conn, question, project_id=project, embedder=embedder, k=K, budget_chars=EVERYTHING
        )
    return [hit.id for hit in answer.hits]


@contextmanager
def _changed(*changes: Change) -> Iterator[None]:
    """Give constants of the product other values for a while."""
    kept = [(module, name, getattr(module, name)) for module, name, _ in changes]
    try:
        for module, name, value in changes:
            setattr(module, name, value)
        yield
    finally:
        for module, name, value in kept:
            setattr(module, name, value)


def _grep(documents: Sequence[tuple[int, str]]) -> Callable[[str], Ranking]:
    """Observations by how many of the question's words of three letters and more they hold."""
    texts = [(number, text.casefold()) for number, text in documents]

    def ask(question: str) -> Ranking:
        words = {word for word in re.findall(r"\w+", question.casefold()) if len(word) >= 3}
        counted = [(sum(word in text for word in words), number) for number, text in texts]
        return [number for count, number in sorted(counted, key=lambda one: -one[0])[:K] if count]

    return ask


def _bm25(documents: Sequence[tuple[int, str]]) -> Callable[[str], Ranking]:
    stemmer = Stemmer.Stemmer("english")

    def tokens(texts: list[str]) -> Any:
        return bm25s.tokenize(texts, stopwords="en", stemmer=stemmer, show_progress=False)

    index = bm25s.BM25()
    index.index(tokens([text for _, text in documents]), show_progress=False)

    def ask(question: str) -> Ranking:
        found, scores = index.retrieve(tokens([question]), k=min(K, len(documents)), show_progress=False)
        return [documents[n][0] for n, score in zip(found[0], scores[0], strict=True) if score > 0]

    return ask


def _legs(conn: Connection, embedder: Embedder, question: str, project: int) -> dict[str, Ranking]:
    """What the vector leg says by itself, and both legs fused by reciprocal ranks."""
    asked = legs.terms(conn, indexable(question), project_id=project)
    text = legs.text_leg(conn, asked, project_id=project, limit=search.DEPTH)
    model = legs.model(conn, embedder.name)
    assert model is not None
    vector = embedder.embed([question], query=True)[0]
    near = legs.vector_leg(conn, vector, model, project_id=project, limit=search.DEPTH)
    ranked = [list(dict.fromkeys(row["observation_id"] for row in rows)) for rows in (text, near)]
    scores: dict[int, float] = defaultdict(float)
    for ranks in ranked:
        for rank, number in enumerate(ranks, start=1):
            scores[number] += 1 / (RRF_K + rank)
    fused = sorted(scores, key=lambda number: -scores[number])
    return {"vectors": ranked[1][:K], f"rrf k={RRF_K}": fused[:K]}


def _tokens(
    conn: Connection, embedder: Embedder, question: Question, project: int, filled: Filled
) -> dict[str, int]:
    """What each way of answering shows an agent, in tokens, and whether the evidence is in it."""
    if not question.evidence:
        return {}
    encoding = bpe_openai.get_encoding(TOKENIZER)

    def count(text: str) -> int:
        return len(encoding.encode(text))

    shown = search.recall(conn, question.text, project_id=project, embedder=embedder)
    index = search.search(conn, question.text, project_id=project, embedder=embedder)
    lines = [count(render.line(entry)) for entry in index.entries]
    sessions = list(dict.fromkeys(filled.pasted[hit.id] for hit in shown.hits))
    every = dict.fromkeys(
        filled.pasted[row["id"]]
        for row in conn.execute("select id from mem_observations where project_id = %s", (project,))
    )
    return {
        "recall": count(render.answer(shown)),
        "recall answered": bool(question.evidence & {hit.id for hit in shown.hits}),
        "search": count(render.index(index)),
        "search answered": bool(question.evidence & {entry.id for entry in index.entries}),
        "search line": max(lines, default=0),
        "sessions": sum(map(count, sessions)),
        "everything": sum(map(count, every)),
    }


def _splits(name: str, outcomes: Sequence[Outcome]) -> Iterator[tuple[str, list[Outcome]]]:
    """The outcomes of each half, and of both where the set is somebody else's."""
    splits = sorted({outcome.question.split for outcome in outcomes})
    for split in splits:
        yield f"{name} {split}", [outcome for outcome in outcomes if outcome.question.split == split]
    if len(splits) > 1 and name.startswith("locomo"):
        yield f"{name} all", list(outcomes)


def _add_rankings(table: Table, label: str, outcomes: Sequence[Outcome]) -> None:
    answerable = [outcome for outcome in outcomes if outcome.question.evidence]
    times = sorted(outcome.ms for outcome in outcomes)
    table.add_section()
    for method in METHODS:
        columns = _quality([(o.question, o.rankings[method]) for o in answerable])
        ours = method == "recall"
        speed = [f"{times[math.ceil(len(times) * q) - 1]:.0f}" if ours else "" for q in (0.5, 0.95)]
        first = f"{label} ({len(answerable)})" if method == METHODS[0] else ""
        table.add_row(first, method, *(f"{column:.3f}" for column in columns), *speed, style="bold" * ours)


def _quality(asked: Sequence[tuple[Question, Ranking]]) -> tuple[float, float, float]:
    """R@5, R@10 and MRR."""

    def share(k: int) -> float:
        return statistics.mean(len(q.evidence & set(ranking[:k])) / len(q.evidence) for q, ranking in asked)

    ranks = [next((i for i, n in enumerate(ranking, 1) if n in q.evidence), 0) for q, ranking in asked]
    return share(5), share(K), statistics.mean(1 / rank if rank else 0.0 for rank in ranks)


def _add_refusals(table: Table, label: str, outcomes: Sequence[Outcome]) -> None:
    """Which share of the answerable got hits, and of the others none."""
    table.add_section()
    for method in METHODS:
        shares = []
        for answerable in (True, False):
            some = [bool(o.rankings[method]) for o in outcomes if bool(o.question.evidence) == answerable]
            right = sum(some) if answerable else len(some) - sum(some)
            shares.append(f"{right / len(some):.3f} of {len(some)}")
        first = label if method == METHODS[0] else ""
        table.add_row(first, method, *shares, style="bold" * (method == "recall"))


def _add_ablation(
    table: Table,
    conn: Connection,
    embedder: Embedder,
    name: str,
    filled: Filled,
    questions: Sequence[Question],
) -> None:
    answerable = [question for question in questions if question.evidence and question.split == "dev"]
    table.add_section()
    nothing: dict[str, Sequence[Change]] = {"(nothing)": []}
    for label, changes in (nothing | WITHOUT).items():
        with _changed(*changes):
            asked = [(q, _unrefused(conn, embedder, q.text, filled.projects[q.project])) for q in answerable]
        first = f"{name} dev ({len(answerable)})" if label == "(nothing)" else ""
        r5, _, mrr = _quality(asked)
        table.add_row(first, label, f"{r5:.3f}", f"{mrr:.3f}")


def _add_costs(table: Table, name: str, outcomes: Sequence[Outcome]) -> None:
    told = [outcome.tokens for outcome in outcomes if outcome.tokens]
    table.add_section()
    for label, column, answered in (
        ("recall, as it is called by default", "recall", "recall answered"),
        ("search, 20 lines", "search", "search answered"),
        ("the whole sessions of recall's hits", "sessions", "recall answered"),
        ("the whole project", "everything", ""),
    ):
        tokens = statistics.mean(one[column] for one in told)
        share = statistics.mean(one[answered] for one in told) if answered else 1.0
        row = (label, f"{tokens:,.0f}", f"{share:.3f}", f"{tokens / share:,.0f}")
        table.add_row(name if column == "recall" else "", *row)
    longest = max(one["search line"] for one in told)
    table.add_row("", "the longest line of search", str(longest), "", "")


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("set")
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left")
    return table


def _write(file: Path, outcomes: Sequence[Outcome]) -> None:
    with file.open("w", encoding="utf-8") as out:
        for outcome in outcomes:
            row = {
                "project": outcome.question.project,
                "question": outcome.question.text,
                "split": outcome.question.split,
                "evidence": sorted(outcome.question.evidence),
                "evidence_rows": outcome.evidence_rows,
                "rankings": outcome.rankings,
                "tokens": outcome.tokens,
                "ms": round(outcome.ms, 1),
            }
            out.write(json.dumps(row, ensure_ascii=False) + "\n")


def _constants() -> dict[str, Any]:
    named = {
        fusion: (
            "TEXT_WEIGHT",
            "VECTOR_WEIGHT",
            "PROXIMITY_WEIGHT",
            "COVERAGE_WEIGHT",
            "NEIGHBOUR_WEIGHTS",
        ),
        proximity: ("WITHIN",),
        relevance: ("ENOUGH", "ENOUGH_WORDS", "COVERAGE_WEIGHT", "LOOKED_AT"),
        bm25: ("K1", "B"),
    }
    return {
        f"{module.__name__.rpartition('.')[2]}.{name}": getattr(module, name)
        for module, names in named.items()
        for name in names
    }


def _commit() -> str:
    said = subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False, cwd=HERE
    )
    return said.stdout.strip()


if __name__ == "__main__":
    main()
