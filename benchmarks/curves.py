"""How cost grows, as pictures: one panel for each quantity, against the logarithm of what it grows with."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from matplotlib.axes import Axes

from src.search.drawing import BEST, FAILED, FINISHED, INK, MUTED, RUNNING, Scale, label, sheet, tick

COLOURS = (FINISHED, BEST, RUNNING, FAILED, MUTED, INK)


class Curve(NamedTuple):
    """One panel. `lines` by name, each with a value for every place of `at`; `names` stand at the places in words."""

    title: str
    across: str
    up: str
    at: list[float]
    lines: dict[str, list[float]]
    names: Sequence[str] = ()
    log: bool = True  # whether what grows stands by its logarithm


class Growth(NamedTuple):
    """What a benchmark of growth found: Markdown, and the same to be drawn."""

    text: list[str]
    curves: list[Curve]


def draw(curves: Sequence[Curve], path: Path, title: str, subtitle: str) -> None:
    """All curves on one sheet; the ending of the path says the format."""
    figure, panels = sheet(title, subtitle, panels=len(curves), columns=2, width=5.2, height=2.9)
    for axes, curve in zip(panels, curves, strict=True):
        _panel(axes, curve)
    figure.savefig(path, dpi=110)


def _panel(axes: Axes, curve: Curve) -> None:
    places = [math.log10(each) for each in curve.at]
    values = [each for line in curve.lines.values() for each in line]
    if curve.log:  # a flat curve is to look flat: two decades at least
        high = math.log10(max(values)) + 0.15
        scale = Scale(log=True, low=min(math.log10(min(values)) - 0.15, high - 2), high=high)
    else:
        scale = Scale(high=1.15 * max(*values, 1.0))
    for colour, (name, line) in zip(COLOURS, curve.lines.items(), strict=False):
        heights = [scale.place(each) for each in line]
        axes.plot(places, heights, color=colour, marker="o", markersize=4, linewidth=1.6, label=name, clip_on=False)
    axes.set_ylim(scale.low, scale.high)
    tick(axes, "y", scale.ticks(6))
    names = curve.names or [f"{each:,.0f}" for each in curve.at]
    tick(axes, "x", list(zip(places, names, strict=True)))
    axes.set_title(curve.title, loc="left", size=9.5, color=INK, parse_math=False)
    label(axes, "x", curve.across)
    label(axes, "y", curve.up)
    if len(curve.lines) > 1:
        beside = {"loc": "upper left", "bbox_to_anchor": (1.01, 1.0)} if len(curve.lines) > 3 else {"loc": "best"}
        axes.legend(frameon=False, fontsize=8, labelcolor=INK, handlelength=1.2, **beside)
