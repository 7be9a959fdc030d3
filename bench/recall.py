"""How well recall finds what it should, and how often it rightly finds nothing.

    make bench-recall        or: python -m bench.recall coding locomo-session …

Goes through the product's own path: `observations.store.save` → chunks → vectors → `recall()`, on an embedded
Postgres of its own. Beside it in the same run, over the same memories: grep, stemmed BM25 (bm25s), the vector leg
alone, reciprocal rank fusion with k = 60, and recall without its rule of relevance. One table; every question with
every ranking is written to bench/results/, with a manifest.

R@k is the share of a question's evidence among the first k observations; MRR the reciprocal rank of its first.
A question that recall refuses although its answer is there counts as not found.
"""

from __future__ import annotations

import json
import math
import re
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import bm25s
import Stemmer
from rich.console import Console
from rich.table import Table

from agent_memory import settings
from agent_memory.database import Connection, server
from agent_memory.database.migrate import migrate
from agent_memory.journal import projects
from agent_memory.journal.projects import Identity
from agent_memory.observations import embed, store, worker
from agent_memory.observations.embed import Embedder
from agent_memory.observations.observation import Observation
from agent_memory.observations.words import indexable
from agent_memory.recall import fusion, relevance, search
from agent_memory.recall import store as legs
from bench.home import scratch_home
from bench.recall_sets import HERE, Memory, Question, Set, sets

K = 10
RRF_K = 60
METHODS = ("grep", "bm25", "vectors", "rrf k=60", "recall, unrefused", "recall")

Ranking = Sequence[str]
"""Keys of memories, best first."""


@dataclass
class Outcome:
    """What every method said to one question."""

    question: Question
    rankings: dict[str, Ranking] = field(default_factory=dict)
    ms: float = 0.0
    """What recall took, the query's embedding included."""


def main() -> None:
    console = Console(width=110)
    results = HERE / "results" / f"recall-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    results.mkdir(parents=True)
    ranking = _table("recall of evidence", "R@5", f"R@{K}", "MRR", "p50 ms", "p95 ms")
    refusing = _table("coding: knowing that it does not know", "answered", "refused")
    manifest: dict[str, Any] = {"at": datetime.now(UTC).isoformat(), "commit": _commit(), "sets": {}}
    with scratch_home():
        config = settings.load()
        embedder = embed.load(config)
        manifest |= {"model": embedder.name, "constants": _constants()}
        with server.connect(server.conninfo(config)) as conn:
            migrate(conn)
            for asked in sets(sys.argv[1:]):
                began = time.perf_counter()
                outcomes = _measure(conn, embedder, asked)
                manifest["sets"][asked.name] = {
                    "sha256": asked.sha256,
                    "memories": len(asked.memories),
                    "questions": len(asked.questions),
                    "seconds": round(time.perf_counter() - began),
                }
                _write(results / f"{asked.name}.jsonl", outcomes)
                for split in sorted({outcome.question.split for outcome in outcomes}):
                    told = [outcome for outcome in outcomes if outcome.question.split == split]
                    name = asked.name if split == "all" else f"{asked.name} {split}"
                    _add_rankings(ranking, name, told)
                    if any(not outcome.question.evidence for outcome in told):
                        _add_refusals(refusing, name, told)
    (results / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n", "utf-8")
    console.print(ranking)
    console.print(refusing)
    console.print(f"every question: {results}")


def _measure(conn: Connection, embedder: Embedder, asked: Set) -> list[Outcome]:
    ids = {
        name: projects.ensure(conn, Identity(f"bench:{asked.name}/{name}", name, None))
        for name in dict.fromkeys(memory.project for memory in asked.memories)
    }
    keys = _save(conn, asked.memories, ids)
    while worker.embed_pending(conn, embedder):
        pass
    conn.commit()
    conn.execute("analyze")
    by_project: dict[str, list[Memory]] = defaultdict(list)
    for memory in asked.memories:
        by_project[memory.project].append(memory)
    lexical = {name: (_grep(memories), _bm25(memories)) for name, memories in by_project.items()}
    outcomes = []
    for question in asked.questions:
        outcome = Outcome(question)
        grep, bm25 = lexical[question.project]
        outcome.rankings = {"grep": grep(question.text), "bm25": bm25(question.text)}
        ask = partial(
            search.recall,
            conn,
            question.text,
            project_id=ids[question.project],
            embedder=embedder,
            k=K,
            budget_chars=1_000_000,  # the ranking is measured here, not what is shown of it
        )
        with _never_refusing():
            ranked = ask()
        began = time.perf_counter()
        answer = ask()
        outcome.ms = (time.perf_counter() - began) * 1000
        outcome.rankings |= {
            name: [keys[number] for number in numbers]
            for name, numbers in _legs(conn, embedder, question.text, ids[question.project]).items()
        }
        outcome.rankings["recall, unrefused"] = [keys[hit.id] for hit in ranked.hits]
        outcome.rankings["recall"] = [keys[hit.id] for hit in answer.hits]
        outcomes.append(outcome)
    return outcomes


@contextmanager
def _never_refusing() -> Iterator[None]:
    """Take the rule of relevance away: what the ranking alone is worth."""
    kept = relevance.ENOUGH, relevance.ENOUGH_WORDS
    relevance.ENOUGH = relevance.ENOUGH_WORDS = -math.inf
    try:
        yield
    finally:
        relevance.ENOUGH, relevance.ENOUGH_WORDS = kept


def _save(conn: Connection, memories: Sequence[Memory], ids: dict[str, int]) -> dict[int, str]:
    """The memories' keys by the ids of their observations."""
    keys: dict[int, str] = {}
    numbers: dict[str, int] = {}
    for memory in memories:
        (number,) = store.save(
            conn,
            [
                Observation(
                    project_id=ids[memory.project],
                    kind=memory.kind,
                    title=memory.title,
                    text=memory.text,
                    occurred_at=memory.occurred_at,
                    external_id=memory.key,
                    supersedes=numbers[memory.supersedes] if memory.supersedes else None,
                    sections=memory.sections,
                )
            ],
        )
        keys[number], numbers[memory.key] = memory.key, number
    conn.commit()
    return keys


def _grep(memories: Sequence[Memory]) -> Callable[[str], Ranking]:
    """Memories by how many of the question's words of three letters and more they hold."""
    texts = [(memory.key, memory.document.casefold()) for memory in memories]

    def ask(question: str) -> Ranking:
        words = {word for word in re.findall(r"\w+", question.casefold()) if len(word) >= 3}
        counted = [(sum(word in text for word in words), key) for key, text in texts]
        return [key for count, key in sorted(counted, key=lambda one: -one[0])[:K] if count]

    return ask


def _bm25(memories: Sequence[Memory]) -> Callable[[str], Ranking]:
    stemmer = Stemmer.Stemmer("english")

    def tokens(texts: list[str]) -> Any:
        return bm25s.tokenize(texts, stopwords="en", stemmer=stemmer, show_progress=False)

    index = bm25s.BM25()
    index.index(tokens([memory.document for memory in memories]), show_progress=False)

    def ask(question: str) -> Ranking:
        found, scores = index.retrieve(tokens([question]), k=min(K, len(memories)), show_progress=False)
        return [memories[number].key for number, score in zip(found[0], scores[0], strict=True) if score > 0]

    return ask


def _legs(conn: Connection, embedder: Embedder, question: str, project: int) -> dict[str, list[int]]:
    """What the product's legs say by themselves, and fused by reciprocal ranks."""
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


def _add_rankings(table: Table, name: str, outcomes: Sequence[Outcome]) -> None:
    answerable = [outcome for outcome in outcomes if outcome.question.evidence]
    times = sorted(outcome.ms for outcome in outcomes)
    table.add_section()
    for method in METHODS:
        columns = [statistics.mean(_share(outcome, method, k) for outcome in answerable) for k in (5, K)] + [
            statistics.mean(_reciprocal(outcome, method) for outcome in answerable)
        ]
        ours = method == "recall"
        speed = [f"{times[math.ceil(len(times) * q) - 1]:.0f}" if ours else "" for q in (0.5, 0.95)]
        label = f"{name} ({len(answerable)})" if method == METHODS[0] else ""
        table.add_row(label, method, *(f"{column:.3f}" for column in columns), *speed, style="bold" * ours)


def _share(outcome: Outcome, method: str, k: int) -> float:
    evidence = outcome.question.evidence
    return len(evidence & set(outcome.rankings[method][:k])) / len(evidence)


def _reciprocal(outcome: Outcome, method: str) -> float:
    ranks = [
        rank for rank, key in enumerate(outcome.rankings[method], start=1) if key in outcome.question.evidence
    ]
    return 1 / ranks[0] if ranks else 0.0


def _add_refusals(table: Table, name: str, outcomes: Sequence[Outcome]) -> None:
    """Which share of the answerable got hits, and of the others none."""
    table.add_section()
    for method in METHODS:
        shares = []
        for answerable in (True, False):
            some = [bool(o.rankings[method]) for o in outcomes if bool(o.question.evidence) == answerable]
            right = sum(some) if answerable else len(some) - sum(some)
            shares.append(f"{right / len(some):.2f} of {len(some)}")
        label = name if method == METHODS[0] else ""
        table.add_row(label, method, *shares, style="bold" * (method == "recall"))


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("set")
    table.add_column("method")
    for column in columns:
        table.add_column(column, justify="right")
    return table


def _write(file: Path, outcomes: Sequence[Outcome]) -> None:
    with file.open("w", encoding="utf-8") as out:
        for outcome in outcomes:
            row = {
                "project": outcome.question.project,
                "question": outcome.question.text,
                "split": outcome.question.split,
                "evidence": sorted(outcome.question.evidence),
                "rankings": outcome.rankings,
                "ms": round(outcome.ms, 1),
            }
            out.write(json.dumps(row, ensure_ascii=False) + "\n")


def _constants() -> dict[str, float]:
    return {
        "k1": legs.K1,
        "b": legs.B,
        "text_weight": fusion.TEXT_WEIGHT,
        "vector_weight": fusion.VECTOR_WEIGHT,
        "user_boost": fusion.USER_BOOST,
        "enough": relevance.ENOUGH,
        "coverage_weight": relevance.COVERAGE_WEIGHT,
    }


def _commit() -> str:
    said = subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False, cwd=HERE
    )
    return said.stdout.strip()


if __name__ == "__main__":
    main()
