"""How cost grows, as pictures: one panel for each quantity, against the logarithm of what it grows
with.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from matplotlib.axes import Axes

from src.search.view.plot_axes import INK_COLOR, MUTED_COLOR, create_panels

COLORS = ("#2563a8", "#c2571a", "#2d8a57", "#b03a48", MUTED_COLOR, INK_COLOR)


class Curve(NamedTuple):
    """One panel. `lines` by name, each with a value for every place of `at`; `names` stand at the
    places in words.
    """

    title: str
    across: str
    up: str
    at: list[float]
    lines: dict[str, list[float]]
    names: Sequence[str] = ()
    # whether what grows stands by its logarithm
    log: bool = True


class Growth(NamedTuple):
    """What a benchmark of growth found: Markdown, and the same to be drawn."""

    text: list[str]
    curves: list[Curve]


def draw(curves: Sequence[Curve], path: Path, title: str, subtitle: str) -> None:
    """All curves on one sheet; the ending of the path says the format."""
    figure, panels = create_panels(title, subtitle, count=len(curves), columns=2, height=2.9)
    for axes, curve in zip(panels, curves, strict=True):
        _panel(axes, curve)
    figure.savefig(path, dpi=110)


def _panel(axes: Axes, curve: Curve) -> None:
    values = [value for line in curve.lines.values() for value in line]
    axes.set_xscale("log")
    if curve.log:
        axes.set_yscale("log")
        # a flat curve is to look flat: two decades at least
        high = 1.4 * max(values)
        axes.set_ylim(min(min(values) / 1.4, high / 100), high)
    else:
        axes.set_ylim(0, 1.15 * max(*values, 1.0))
    for color, (name, line) in zip(COLORS, curve.lines.items(), strict=False):
        axes.plot(curve.at, line, color=color, marker="o", markersize=4, linewidth=1.6, label=name)
    axes.set_xticks(curve.at, curve.names or [f"{place:,.0f}" for place in curve.at])
    axes.minorticks_off()
    axes.set_title(curve.title, loc="left", size=9.5, color=INK_COLOR, parse_math=False)
    axes.set_xlabel(curve.across)
    axes.set_ylabel(curve.up)
    if len(curve.lines) > 1:
        beside = (
            {"loc": "upper left", "bbox_to_anchor": (1.01, 1.0)}
            if len(curve.lines) > 3
            else {"loc": "best"}
        )
        axes.legend(frameon=False, fontsize=8, labelcolor=INK_COLOR, handlelength=1.2, **beside)
