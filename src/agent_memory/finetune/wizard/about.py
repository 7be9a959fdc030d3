"""What is known of a step, for the screen."""

from __future__ import annotations

from rich.console import Group
from rich.table import Table
from rich.text import Text

from agent_memory.finetune.pipeline import Step
from agent_memory.finetune.run import StepRecord

MARKS = {
    "passed": ("✓", "green"),
    "failed": ("✗", "red"),
    "error": ("✗", "red"),
    "stopped": ("■", "yellow"),
    "running": ("▶", "bold"),
}
"""By a step's state: what stands before it, and its colour."""


def about(step: Step, record: StepRecord | None) -> Group | Text:
    """What came of a step: its gates, and why it did not pass."""
    if record is None:
        return Text(f"{step.title} was not done yet.\nn does the next step, a all of them.", style="dim")
    if record.state == "running":
        return Group(Text(f"{step.title}: at work", style="bold"))
    mark, style = MARKS[record.state]
    told = Text(f"{step.title}: {record.state}", style="bold")
    told.append(f", {span(record.seconds)}, {record.peak_mb:,.0f} MB", "dim")
    parts: list[Text | Table] = [told]
    if record.error:
        parts.append(Text.assemble((f"{mark} {record.error}", style), f"\n{record.remedy or ''}"))
    # Above the gates: where these are many, or the terminal is small, they are cut below.
    parts += [
        Text.assemble((f"{gate['name']}: ", style), gate["remedy"])
        for gate in record.gates
        if not gate["passed"] and gate.get("remedy")
    ]
    if record.gates:
        parts.append(_gates(record))
    return Group(*parts)


def _gates(record: StepRecord) -> Table:
    table = Table(
        "", "gate", "wanted", "found", box=None, padding=(0, 1, 0, 0), expand=True, header_style="dim"
    )
    for gate in record.gates:
        mark, style = ("✓", "green") if gate["passed"] else ("✗", "red")
        if gate["passed"] and gate["warning"]:
            mark, style = "!", "yellow"
        found = Text(str(gate["found"]))
        if gate["warning"]:
            found.append(f"\n{gate['warning']}", style)
        table.add_row(Text(mark, style), Text(str(gate["name"])), Text(str(gate["wants"])), found)
    return table


def span(seconds: float) -> str:
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"
