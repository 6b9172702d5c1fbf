"""How cost grows, drawn: every line of every panel stands where its values are."""

import json
from pathlib import Path

import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks import curves, speed
from benchmarks.curves import Curve, Growth

TIME = Curve("time", "tokens", "ms", [10.0, 100.0], {"ours": [20.0, 200.0], "P2": [40.0, 4000.0]})
MEMORY = Curve(
    "memory", "size", "MB", [1.0, 100.0], {"ours": [0.0, 0.0]}, ["small", "large"], log=False
)


def drawn(curve: Curve) -> Axes:
    axes = Figure().add_subplot()
    curves._panel(axes, curve)
    return axes


def test_what_grows_stands_by_its_logarithm() -> None:
    axes = drawn(TIME)
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    ours, theirs = (line.get_xydata().ravel().tolist() for line in axes.get_lines())
    assert ours == pytest.approx([10, 20, 100, 200])
    assert theirs == pytest.approx([10, 40, 100, 4000])


def test_nothing_at_all_has_a_place_too() -> None:
    axes = drawn(MEMORY)
    assert axes.get_lines()[0].get_ydata().tolist() == [0.0, 0.0]
    assert [each.get_text() for each in axes.get_xticklabels()] == ["small", "large"]
    assert axes.get_ylim()[0] == 0


def test_a_report_shows_the_picture_and_keeps_the_figures(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(
        speed, "_call", lambda place, quick: Growth(["| a table |"], [TIME, MEMORY])
    )
    monkeypatch.setattr(speed, "PLACE", tmp_path)
    assert speed.main(["only=growth"]) == 0
    lines = (tmp_path / "speed.md").read_text().splitlines()
    assert f"![How cost grows]({speed.PICTURE})" in lines and "| a table |" in lines
    kept = json.loads((tmp_path / "speed.json").read_text())
    assert kept["growth"]["figures"][0]["lines"]["P2"] == [40.0, 4000.0]
    assert (tmp_path / "growth.png").read_bytes().startswith(b"\x89PNG")
