"""Parallel coordinates: one axis a key and a metric, one line a trial."""

import math
from collections.abc import Sequence
from itertools import pairwise

from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.path import Path

from src.search.drawing import BEST, INK, MUTED, PAPER, Scale, legend, numbers, scale_of, sheet, shortened, window
from src.search.rows import Row
from src.search.standing import leading, ranked
from src.search.words import number, several, short

_TONES = LinearSegmentedColormap.from_list("good to bad", ["#1b6fa8", "#5fae9f", "#e3c567"])


def parallel(
    rows: Sequence[Row], keys: Sequence[str], logs: set[str], monitors: Sequence[str], modes: Sequence[str]
) -> Figure | None:
    """None with fewer than two finished trials, or than two keys that differ among them."""
    finished = ranked(rows, modes)
    pruned = [row for row in rows if row.state == "pruned"]
    scales: dict[str, Scale] = {}
    for key in keys:
        values = [row.params[key] for row in (*finished, *pruned) if key in row.params]
        if (scale := scale_of(values, log=key in logs)) is not None:
            scales[key] = scale
    if len(finished) < 2 or len(scales) < 2:
        return None
    best = leading(finished, modes)
    count = len(scales) + len(monitors)
    figure, (axes,) = sheet(
        "Parameters and results, one line a trial",
        _heading(best, monitors, bool(pruned)),
        width=max(7.2, 1.45 * count + 0.8),
        height=4.0,
    )
    _spread(axes, count)
    limits = [window([row.values[place] for row in finished if row.values], mode) for place, mode in enumerate(modes)]

    def heights(row: Row, *, whole: bool) -> list[float]:
        found = [_height(scale, row, key) for key, scale in scales.items()]
        if whole and row.values is not None:
            found += [_share(value, *limit) for value, limit in zip(row.values, limits, strict=False)]
        return found

    alpha = min(0.85, max(0.25, 25 / len(finished)))
    axes.add_collection(
        PathCollection(
            [_curve(heights(row, whole=False)) for row in pruned],
            facecolors="none", edgecolors=MUTED, linewidths=0.8, linestyles=[(0, (3, 2))], alpha=0.6 * alpha,
        )
    )  # fmt: skip
    last = finished[::-1]  # the best are drawn last, on top
    curves = [_curve(heights(row, whole=True)) for row in last]
    ends = [_share(row.values[0], *limits[0]) for row in last if row.values]
    tones = _TONES([end if modes[0] == "min" else 1 - end for end in ends])
    axes.add_collection(PathCollection(curves, facecolors="none", edgecolors=tones, linewidths=1.2, alpha=alpha))
    leaders = [_curve(heights(row, whole=True)) for row in best]
    axes.add_collection(PathCollection(leaders, facecolors="none", edgecolors=BEST, linewidths=2.6, zorder=3))
    names = short(list(keys))
    for place, (key, scale) in enumerate(scales.items()):
        ticks = [(_place(scale, at), text) for at, text in scale.ticks(6 if not scale.names else 12)]
        _axis(axes, place, names[key], ticks)
    for place, (monitor, limit) in enumerate(zip(monitors, limits, strict=True), start=len(scales)):
        ticks = [(_share(at, *limit), text) for at, text in numbers(*limit, 6)]
        _axis(axes, place, monitor, ticks, right=place == count - 1)
    _strip(axes, len(scales), modes[0])
    handles = [Line2D([], [], color=BEST, linewidth=2.6, label="best")]
    if pruned:
        handles.append(Line2D([], [], color=MUTED, linewidth=0.9, linestyle=(0, (3, 2)), label="pruned"))
    legend(figure, handles)
    return figure


def _heading(best: Sequence[Row], monitors: Sequence[str], pruned: bool) -> str:
    if len(monitors) > 1:
        return f"colour: {monitors[0]}  ·  thick: the {several(len(best), 'trial')} on the Pareto front"
    value = best[0].values[0] if best[0].values else None
    return f"colour: {monitors[0]}  ·  best: trial {best[0].number}, {number(value, 4)}"


def _spread(axes: Axes, count: int) -> None:
    box = axes.get_position()
    axes.set_position((box.x0, box.y0 - 0.03, box.width * 0.985, box.height - 0.02))
    axes.set(xlim=(-0.12, count - 1 + 0.32), ylim=(-0.04, 1.04), xticks=[], yticks=[])
    axes.grid(visible=False)


def _axis(axes: Axes, at: float, name: str, ticks: Sequence[tuple[float, str]], *, right: bool = False) -> None:
    axes.plot([at, at], [0, 1], color=INK, linewidth=1.0, zorder=4)
    axes.text(at, 1.07, shortened(name, 18), ha="center", size=8.5, color=INK, weight="bold", parse_math=False)
    for height, text in ticks:
        axes.plot([at - 0.015, at + 0.015], [height, height], color=INK, linewidth=1.0, zorder=4)
        box = {"facecolor": PAPER, "edgecolor": "none", "pad": 0.8, "alpha": 0.75}
        aside = 0.075 if right else -0.035
        side = "left" if right else "right"
        axes.text(at + aside, height, shortened(text, 13), ha=side, va="center", size=8, color=INK, bbox=box, zorder=5,
                  parse_math=False)  # fmt: skip


def _strip(axes: Axes, at: float, mode: str) -> None:
    """The colours of the lines along the axis of the metric that they stand for."""
    steps = 48
    tops = [min((step + 1.5) / steps, 1.0) for step in range(steps)]  # each over the next, so that no gaps show
    pieces = [[(at + 0.04, step / steps), (at + 0.04, top)] for step, top in enumerate(tops)]
    shades = _TONES([(step if mode == "min" else steps - 1 - step) / (steps - 1) for step in range(steps)])
    axes.add_collection(LineCollection(pieces, colors=shades, linewidths=4, capstyle="butt", zorder=4))


def _curve(heights: Sequence[float]) -> Path:
    """Through one height on each axis, level where it crosses."""
    points, codes = [(0.0, heights[0])], [Path.MOVETO]
    for place, (before, after) in enumerate(pairwise(heights)):
        points += [(place + 0.4, before), (place + 0.6, after), (place + 1.0, after)]
        codes += [Path.CURVE4] * 3
    return Path(points, codes)


def _height(scale: Scale, row: Row, key: str) -> float:
    if key not in row.params:
        return math.nan
    beside = ((row.number * 0.618) % 1 - 0.5) * min(0.05, 0.3 / len(scale.names)) if scale.names else 0.0
    return _place(scale, scale.place(row.params[key])) + beside


def _place(scale: Scale, at: float) -> float:
    low, high = (-0.3, len(scale.names) - 0.7) if scale.names else (scale.low, scale.high)
    return _share(at, low, high)


def _share(value: float, low: float, high: float) -> float:
    """From 0 at `low` to 1 at `high`; a trial far astray ends at the axis' end."""
    return min(max((value - low) / (high - low), 0.0), 1.0)
