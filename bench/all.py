"""Every figure in one command: `make bench` (twenty minutes), or some of them: `make bench ONLY="hook ingest"`.

The figures go to `.bench/latest.json` and are held against `bench/results.json`: a ratio that is clearly worse ends
the command with 1. `make bench-accept` makes the latest figures those to hold others against, and writes the table of
docs/performance.md.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

from bench import figures
from bench.figures import Figure

LATEST = Path(".bench/latest.json")
PAGE = Path("docs/performance.md")
BEGIN, END = "<!-- figures: make bench, then make bench-accept -->\n", "<!-- end of figures -->\n"
PARTS = ("hook", "ingest", "backfill", "recall_scale", "mcp", "idle", "client")


def main() -> None:
    if sys.argv[1:] == ["accept"]:
        accept()
        return
    parts = sys.argv[1:] or PARTS
    if unknown := [part for part in parts if part not in PARTS]:
        sys.exit(f"no such part: {', '.join(unknown)}; there are {', '.join(PARTS)}")
    about, found = figures.machine(), list[Figure]()
    before = figures.read(figures.FILE)[1] if figures.FILE.exists() else []
    for part in parts:
        print(f"\n== {part}", flush=True)
        here: list[Figure] = importlib.import_module(f"bench.{part}").figures()
        figures.show(here)
        found += here
        LATEST.parent.mkdir(exist_ok=True)  # after each part: a run that breaks off has told what it found
        LATEST.write_text(json.dumps(figures.as_dict(found, about), indent=2, ensure_ascii=False) + "\n")
    if said := figures.worse(found, before):
        sys.exit("\nClearly worse than before:\n  " + "\n  ".join(said))
    print(
        f"\nNothing is clearly worse than in {figures.FILE.name}."
        if before
        else "\nNothing to compare with yet."
    )


def accept() -> None:
    """The latest figures in the place of those of the same name; others stay as they were."""
    if not LATEST.exists():
        sys.exit("Nothing was measured yet: make bench")
    about, found = figures.read(LATEST)
    if figures.FILE.exists():
        new = {figure.name: figure for figure in found}
        old = figures.read(figures.FILE)[1]
        known = {figure.name for figure in old}
        found = [new.get(figure.name, figure) for figure in old] + [f for f in found if f.name not in known]
    figures.FILE.write_text(json.dumps(figures.as_dict(found, about), indent=2, ensure_ascii=False) + "\n")
    PAGE.write_text(
        with_table(PAGE.read_text(encoding="utf-8"), figures.markdown(about, found)), encoding="utf-8"
    )
    print(f"{len(found)} figures in {figures.FILE} and {PAGE}")


def with_table(page: str, table: str) -> str:
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table}\n{END}{after}"


if __name__ == "__main__":
    main()
