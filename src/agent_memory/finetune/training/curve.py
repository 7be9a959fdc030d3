"""A training's curve as a small SVG that is readable on light and on dark."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

WIDTH, HEIGHT, LEFT, BELOW, ABOVE = 640, 260, 52, 34, 26
LINES = (("loss", "training loss", "#2f7ed8"), ("eval_loss", "held-out loss", "#d97706"))
SMOOTHED = 40
"""From so many points on the line is a running mean, and the points lie pale behind it."""


def draw(lines: Sequence[Mapping[str, Any]]) -> str:
    """`lines`: of metrics.jsonl."""
    curves = {
        name: [(line["step"], line[name]) for line in lines if name in line and math.isfinite(line[name])]
        for name, _, _ in LINES
    }
    points = [point for curve in curves.values() for point in curve]
    last = max((step for step, _ in points), default=1) or 1
    top = max((value for _, value in points), default=1.0)
    low = min((value for _, value in points), default=0.0)
    low = 0.0 if low < top / 2 else low - (top - low) * 0.1
    top = top if top > low else low + 1.0

    def x(step: float) -> float:
        return round(LEFT + (WIDTH - LEFT - 12) * step / last, 1)

    def y(value: float) -> float:
        return round(HEIGHT - BELOW - (HEIGHT - BELOW - ABOVE) * (value - low) / (top - low), 1)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img"'
        ' font-family="system-ui, sans-serif" font-size="12">',
        "<title>Loss by step</title>",
        "<style>text{fill:#57606a}.grid{stroke:#8c959f;stroke-opacity:.3}"
        "@media(prefers-color-scheme:dark){text{fill:#9da7b3}}</style>",
    ]
    for number in range(5):
        value = low + (top - low) * number / 4
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - 12}" y1="{y(value)}" y2="{y(value)}"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y(value) + 4}" text-anchor="end">{value:.2f}</text>')
    parts += [
        f'<text x="{x(step)}" y="{HEIGHT - 12}" text-anchor="middle">{step:,}</text>'
        for step in sorted({0, last // 2, last})
    ]
    place = LEFT
    for name, title, colour in LINES:
        curve = curves[name]
        if not curve:
            continue
        if len(curve) >= SMOOTHED:
            parts.append(_line(curve, x, y, colour, 'stroke-opacity=".25"'))
        parts.append(_line(_smooth(curve), x, y, colour, 'stroke-width="2"'))
        if name == "eval_loss":
            parts += [
                f'<circle cx="{x(step)}" cy="{y(value)}" r="3" fill="{colour}"/>' for step, value in curve
            ]
        parts.append(f'<rect x="{place}" y="8" width="12" height="4" fill="{colour}"/>')
        parts.append(f'<text x="{place + 18}" y="14">{title}: {curve[-1][1]:.3f}</text>')
        place += 190
    return "\n".join([*parts, "</svg>", ""])


def _line(curve: Sequence[tuple[float, float]], x: Any, y: Any, colour: str, more: str) -> str:
    told = " ".join(f"{x(step)},{y(value)}" for step, value in curve)
    return f'<polyline fill="none" stroke="{colour}" {more} points="{told}"/>'


def _smooth(curve: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    if len(curve) < SMOOTHED:
        return list(curve)
    around = len(curve) // 20
    found = []
    for place, (step, _) in enumerate(curve):
        near = [value for _, value in curve[max(0, place - around) : place + around + 1]]
        found.append((step, sum(near) / len(near)))
    return found
