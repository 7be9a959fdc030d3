"""How the figures of one day are held against those of another."""

from __future__ import annotations

import json
from pathlib import Path

from bench import all as every
from bench import figures
from bench.figures import Figure


def figure(ratio: float | None, *, name: str = "hook", slack: float = 0.35) -> Figure:
    return Figure(name=name, value=1, unit="ms", ratio=ratio, slack=slack)


def test_a_ratio_that_is_clearly_larger_is_named_with_both_values() -> None:
    assert figures.worse([figure(1.4)], [figure(1.0)]) == [
        "hook: 1.40 times what stands beside it, 1.00 before"
    ]


def test_a_ratio_within_its_slack_a_smaller_one_and_a_new_one_are_not_worse() -> None:
    before = [figure(1.0), figure(2.0, name="mcp")]
    now = [figure(1.3), figure(1.0, name="mcp"), figure(9.0, name="new"), figure(None, name="clock")]
    assert figures.worse(now, before) == []
    assert figures.worse([figure(1.3, slack=0.2)], before) != []


def test_figures_come_back_from_their_file_as_they_were(tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    file.write_text(json.dumps(figures.as_dict([figure(1.0), figure(None)], figures.machine())))
    assert figures.read(file)[1] == [figure(1.0), figure(None)]


def test_the_table_takes_the_place_of_the_last_one_and_leaves_the_page_alone() -> None:
    page = f"# Performance\n\n{every.BEGIN}old\n{every.END}\nWhat stands out.\n"
    once = every.with_table(page, "new\n")
    assert once == f"# Performance\n\n{every.BEGIN}\nnew\n\n{every.END}\nWhat stands out.\n"
    assert every.with_table(once, "new\n") == once


def test_the_page_shows_the_figures_that_runs_are_held_against() -> None:
    page = every.PAGE.read_text(encoding="utf-8")
    assert page == every.with_table(page, figures.markdown(*figures.read(figures.FILE)))
