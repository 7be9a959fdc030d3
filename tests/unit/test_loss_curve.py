"""The drawing of a training's losses that `loss.svg`, the report and the viewer share."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from agent_memory.finetune import curve, page


def test_a_curve_is_drawn_for_one_point_and_for_many_and_not_for_none() -> None:
    many = [{"step": step, "loss": 5.0 / (step + 1)} for step in range(200)]
    drawn = curve.draw([*many, {"step": 0, "eval_loss": 5.0}, {"step": 199, "eval_loss": 0.4}])
    assert drawn.count("<polyline") == 3  # the points pale, the mean, the held-out loss
    assert "held-out loss: 0.400" in drawn
    assert "<circle" in curve.draw([{"step": 1, "loss": 2.0}])
    assert curve.draw([]) == ""


def test_a_curve_passes_over_what_is_no_number() -> None:
    odd: list[dict[str, object]] = [
        {"step": 1, "loss": float("nan")},
        {"step": 1, "loss": float("inf")},
        {"step": 2, "loss": "2.0"},
        {"loss": 1.0},
        {"step": True, "loss": 1},
        {"step": None, "eval_loss": None},
    ]
    assert curve.draw(odd) == ""
    assert curve.losses([*odd, {"step": 3, "loss": 1}]) == {"loss": [(3.0, 1.0)]}


@pytest.mark.parametrize(
    "values", [[2.0, 1.0], [1.0, 1.0], [0.0, 0.0], [-1.0, -3.0], [900.0, 1e-9], [5.0]], ids=str
)
def test_every_point_of_a_curve_lies_within_its_drawing(values: list[float]) -> None:
    root = ElementTree.fromstring(curve.draw([{"step": n, "loss": v} for n, v in enumerate(values)]))
    lines = [one for one in root.iter() if one.tag.endswith("polyline")]
    for line in lines:
        for point in line.attrib["points"].split():
            x, y = map(float, point.split(","))
            assert curve.LEFT <= x <= curve.WIDTH - curve.RIGHT
            assert curve.ABOVE <= y <= curve.HEIGHT - curve.BELOW
    assert lines


def test_a_drawing_for_a_page_has_no_style_of_its_own_and_one_for_a_file_has_all_that_it_needs() -> None:
    metrics = [{"step": n, "loss": 3 / n, "eval_loss": 4 / n} for n in range(1, 60)]
    for_a_page = curve.draw(metrics)
    assert "style" not in for_a_page  # the viewer's policy would refuse it
    ElementTree.fromstring(for_a_file := curve.draw(metrics, style=curve.STYLE))
    for class_ in set(re.findall(r'class="(\w+)"', for_a_page)):
        assert f".{class_}" in for_a_file
        assert f".{class_}" in page.style()
