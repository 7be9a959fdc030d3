"""How well and how fast secrets are found: `python -m bench.redact [--kinds]`.

Recall: the share of planted secrets of which no eight characters in a row survive. Precision: of the texts in which
something was replaced, the share in which it was the secret and nothing else. False positives: the share of harmless
texts that did not come back unchanged. The patterns were tuned on the half `dev`; `test` has another seed, and
carriers and harmless kinds that `dev` lacks. The speed is of one core, in processor time, since others use the machine.
"""

from __future__ import annotations

import sys
import sysconfig
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from agent_memory.journal.redaction import redact
from bench.redaction_corpus import Corpus, corpus
from bench.redaction_corpus.score import MARKER, is_exact, survives

ROUNDS = 5


class Score(NamedTuple):
    planted: int
    found: int
    changed: int
    exact: int

    @property
    def recall(self) -> float:
        return self.found / self.planted

    @property
    def precision(self) -> float:
        return self.exact / max(1, self.changed)


def main() -> None:
    halves = {"dev": corpus("dev"), "test": corpus("test")}
    scores = {name: score(half) for name, half in halves.items()}
    if "--kinds" in sys.argv:
        print_kinds(scores)
    print("| half | secrets | kinds | recall | precision | harmless | false positives |")
    print("|---|---|---|---|---|---|---|")
    for name, half in halves.items():
        of_all = total(scores[name].values())
        wrong = sum(redact(text) != text for _, text in half.harmless)
        print(
            f"| {name} | {of_all.planted} | {len(scores[name])} | {of_all.recall:.4f} | {of_all.precision:.4f} "
            f"| {len(half.harmless)} | {wrong} ({wrong / len(half.harmless):.4f}) |"
        )
    print("\n| text | MB | texts | MB/s | µs a text | replaced |")
    print("|---|---|---|---|---|---|")
    library = standard_library()
    print_speed("Python's standard library", library)
    print_speed("the same, one text", ["".join(library)])
    print_speed("harmless texts of the corpus", [text for _, text in halves["test"].harmless])
    print_speed("texts with secrets", [planted.text for planted in halves["test"].planted])
    print_speed("1 MB of “a”", ["a" * 1_000_000])
    print_speed("1 MB of “-----BEGIN”", ["-----BEGIN" * 100_000])
    print_speed("1 MB of “password=”", ["password=" * 111_111])


def score(half: Corpus) -> dict[str, Score]:
    scores: dict[str, Score] = defaultdict(lambda: Score(0, 0, 0, 0))
    for planted in half.planted:
        redacted = redact(planted.text)
        before = scores[planted.kind]
        scores[planted.kind] = Score(
            before.planted + 1,
            before.found + (not survives(planted, redacted)),
            before.changed + (redacted != planted.text),
            before.exact + is_exact(planted, redacted),
        )
    return scores


def total(scores: Iterable[Score]) -> Score:
    return Score(*map(sum, zip(*scores, strict=True)))


def print_kinds(scores: dict[str, dict[str, Score]]) -> None:
    print("| kind | dev | recall | precision | test | recall | precision |")
    print("|---|---|---|---|---|---|---|")
    for kind in scores["test"]:
        columns = (scores[half][kind] for half in ("dev", "test"))
        cells = " | ".join(f"{of.planted} | {of.recall:.3f} | {of.precision:.3f}" for of in columns)
        print(f"| {kind} | {cells} |")
    print()


def standard_library() -> list[str]:
    """Ordinary code, the same amount on every machine; without its tests, which hold passwords on purpose."""
    folder = Path(sysconfig.get_paths()["stdlib"])
    files = sorted([*folder.glob("*.py"), *folder.glob("asyncio/*.py"), *folder.glob("email/*.py")])
    return [path.read_text(encoding="utf-8", errors="replace") for path in files]


def print_speed(name: str, texts: Sequence[str]) -> None:
    characters = sum(map(len, texts))
    seconds = float("inf")
    for _ in range(ROUNDS):
        started = time.process_time()
        redacted = [redact(text) for text in texts]
        seconds = min(seconds, time.process_time() - started)
    replaced = sum(len(MARKER.findall(text)) for text in redacted)
    print(
        f"| {name} | {characters / 1e6:.2f} | {len(texts)} | {characters / 1e6 / seconds:.1f} "
        f"| {seconds / len(texts) * 1e6:.0f} | {replaced} |",
        flush=True,
    )


if __name__ == "__main__":
    main()
