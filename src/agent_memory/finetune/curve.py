"""A training's losses over its steps, drawn once for all who show them: `loss.svg`, the report, the viewer."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Point = tuple[float, float]
"""Step and value."""

WIDTH, HEIGHT, LEFT, RIGHT, BELOW, ABOVE = 640, 260, 52, 12, 34, 26
LINES = {"loss": "training loss", "eval_loss": "held-out loss"}
SMOOTHED = 40
"""From so many points on the line is a running mean, and the points lie pale behind it."""
STYLE = (
    ".losses{font:12px system-ui,sans-serif}.losses text{fill:#57606a}"
    ".losses .grid{stroke:#8c959f;stroke-opacity:.3}"
    ".losses .loss{color:#2f7ed8}.losses .eval_loss{color:#d97706}"
    "@media(prefers-color-scheme:dark){.losses text{fill:#9da7b3}}"
)
"""Of a drawing that stands in no page; it is readable on light and on dark."""


def losses(metrics: Sequence[Mapping[str, Any]]) -> dict[str, list[Point]]:
    """The points of each line that has any. `metrics`: as in metrics.jsonl; what is no number there, not finite or of
    no step is passed over."""
    found = {
        name: [
            (float(line["step"]), float(line[name]))
            for line in metrics
            if _is_number(line.get("step")) and _is_number(line.get(name))
        ]
        for name in LINES
    }
    return {name: points for name, points in found.items() if points}


def draw(metrics: Sequence[Mapping[str, Any]], *, style: str = "") -> str:
    """The losses as SVG, or "" where there is nothing to draw. Its colours are for who shows it to say (`style`, or the
    page's own): `.losses` is all of it, with `text`, `.grid`, and each line's class, whose `color` is taken."""
    curves = losses(metrics)
    if not curves:
        return ""
    points = [point for curve in curves.values() for point in curve]
    last = max(step for step, _ in points) or 1.0
    top, low = max(value for _, value in points), min(value for _, value in points)
    low = 0.0 if 0 <= low < top / 2 else low - (top - low) * 0.1
    top = top if top > low else low + 1.0

    def place(step: float, value: float) -> tuple[float, float]:
        return (
            round(LEFT + (WIDTH - LEFT - RIGHT) * step / last, 1),
            round(HEIGHT - BELOW - (HEIGHT - BELOW - ABOVE) * (value - low) / (top - low), 1),
        )

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="losses" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
        f"<title>Loss over {last:,.0f} steps</title>",
    ]
    if style:
        parts.append(f"<style>{style}</style>")
    for number in range(5):
        value = low + (top - low) * number / 4
        _, y = place(0, value)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4}" text-anchor="end">{value:.2f}</text>')
    for step in sorted({0.0, last // 2, last}):
        anchor = "end" if step == last else "middle"
        told = f"step {step:,.0f}" if step == last else f"{step:,.0f}"
        x, _ = place(step, low)
        parts.append(f'<text x="{x}" y="{HEIGHT - 12}" text-anchor="{anchor}">{told}</text>')
    for number, (name, curve) in enumerate(curves.items()):
        parts += [f'<g class="{name}">', *_line(name, curve, place), "</g>"]
        x = LEFT + 230 * number
        parts.append(f'<rect class="{name}" fill="currentColor" x="{x}" y="8" width="12" height="4"/>')
        parts.append(f'<text x="{x + 18}" y="14">{LINES[name]}: {curve[-1][1]:.3f}</text>')
    return "\n".join([*parts, "</svg>", ""])


def _line(name: str, curve: Sequence[Point], place: Callable[[float, float], Point]) -> list[str]:
    def through(points: Sequence[Point], how: str) -> str:
        told = " ".join("{},{}".format(*place(*point)) for point in points)
        return f'<polyline fill="none" stroke="currentColor" {how} points="{told}"/>'

    dashed = ' stroke-dasharray="6 4"' if name == "eval_loss" else ""
    parts = [through(curve, 'stroke-opacity=".25"')] if len(curve) >= SMOOTHED else []
    parts.append(through(_smooth(curve), f'stroke-width="2"{dashed}'))
    if name == "eval_loss" or len(curve) == 1:
        parts += [
            '<circle fill="currentColor" cx="{}" cy="{}" r="3"/>'.format(*place(*point)) for point in curve
        ]
    return parts


def _smooth(curve: Sequence[Point]) -> list[Point]:
    if len(curve) < SMOOTHED:
        return list(curve)
    around = len(curve) // 20
    found = []
    for place, (step, _) in enumerate(curve):
        wide = min(
            around, place, len(curve) - 1 - place
        )  # as far back as ahead, or a steep beginning is hidden
        near = [value for _, value in curve[place - wide : place + wide + 1]]
        found.append((step, sum(near) / len(near)))
    return found


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
