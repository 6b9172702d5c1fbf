"""How cost grows, drawn: every line of every panel stands where its values are."""

import math
from pathlib import Path

import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks import curves, speed
from benchmarks.curves import Curve, Growth

TIME = Curve("time", "tokens", "ms", [10.0, 100.0], {"ours": [20.0, 200.0], "P2": [40.0, 4000.0]})
MEMORY = Curve("memory", "size", "MB", [1.0, 100.0], {"ours": [0.0, 0.0]}, ["small", "large"], log=False)


def drawn(curve: Curve) -> Axes:
    axes = Figure().add_subplot()
    curves._panel(axes, curve)
    return axes


def test_what_grows_stands_by_its_logarithm() -> None:
    ours, theirs = (line.get_xydata().ravel().tolist() for line in drawn(TIME).get_lines())
    assert ours == pytest.approx([1, math.log10(20), 2, math.log10(200)])
    assert theirs == pytest.approx([1, math.log10(40), 2, math.log10(4000)])


def test_nothing_at_all_has_a_place_too() -> None:
    axes = drawn(MEMORY)
    assert axes.get_lines()[0].get_ydata().tolist() == [0.0, 0.0]
    assert [each.get_text() for each in axes.get_xticklabels()] == ["small", "large"]
    assert axes.get_ylim()[0] == 0


def test_a_report_shows_the_picture_and_keeps_the_figures(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(speed, "_call", lambda place, quick: Growth(["| a table |"], [TIME, MEMORY]))
    report = speed.Report()
    report.take("growth", quick=True)
    lines = report.lines(1.0, quick=False)
    assert f"![How cost grows]({speed.PICTURE})" in lines and "| a table |" in lines
    assert report.figures["growth"][0]["lines"]["P2"] == [40.0, 4000.0]
    curves.draw([TIME, MEMORY], tmp_path / "growth.png", "How cost grows", "today")
    assert (tmp_path / "growth.png").read_bytes().startswith(b"\x89PNG")
