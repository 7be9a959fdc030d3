"""Tables that fit: one column gives way on a narrow terminal, and in a pipe everything stands as it is."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from agent_memory.cli.terminal import console, readable

if TYPE_CHECKING:
    from rich.table import Table

GAP = 2
"""Columns between two cells."""
ROOM = 24
"""Columns that the wide cell needs beside the others. With less, each row takes several lines."""


def print_table(
    names: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    wide: str,
    right: Collection[str] = (),
    fold: bool = False,
) -> None:
    """Print rows under their names.

    On a terminal the column `wide` gives way: it is cut with …, or folded. The cells of `right` stand at the right.
    Widths are those of the screen: a Chinese character takes two columns.
    """
    from rich.cells import cell_len
    from rich.table import Table
    from rich.text import Text

    out = console()
    place = list(names).index(wide)
    cells = [[" ".join(readable(cell).split()) for cell in row] for row in rows]
    widths = [max(cell_len(row[i]) for row in [list(names), *cells]) for i in range(len(names))]
    room = out.width - sum(widths) + widths[place] - GAP * (len(names) - 1)
    if room < min(widths[place], ROOM):
        _print_blocks(names, cells, place)
        return
    widths[place] = min(widths[place], room)
    table = Table(box=None, padding=(0, GAP, 0, 0), pad_edge=False, header_style="dim")
    for name, width in zip(names, widths, strict=True):
        table.add_column(
            name,
            width=width,
            justify="right" if name in right else "left",
            no_wrap=not fold or name != wide,
            overflow="fold" if fold else "ellipsis",
        )
    for row in cells:
        table.add_row(*map(Text, row))
    _print_trimmed(table)


def print_facts(facts: Sequence[tuple[str, str]]) -> None:
    """Print names with what is said of each (markup) beside them."""
    from rich.table import Table

    table = Table(show_header=False, box=None, padding=(0, GAP, 0, 0), pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, said in facts:
        table.add_row(name, said)
    _print_trimmed(table)


def _print_trimmed(table: Table) -> None:
    """Without the spaces that a table ends its lines with."""
    out = console()
    with out.capture() as caught:
        out.print(table)
    out.file.write("".join(line.rstrip() + "\n" for line in caught.get().splitlines()))


def _print_blocks(names: Sequence[str], cells: Sequence[Sequence[str]], place: int) -> None:
    """Each row as a paragraph: the short cells, and beneath them the wide one, whole."""
    from rich.padding import Padding
    from rich.text import Text

    out = console()
    for row in cells:
        short = [
            f"{name} {cell}".strip()
            for i, (name, cell) in enumerate(zip(names, row, strict=True))
            if i != place and cell
        ]
        out.print(Text("  ".join(short), style="dim"))
        out.print(Padding(Text(row[place]), (0, 0, 0, GAP)))
