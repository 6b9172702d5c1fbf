"""The pictures of a sweep, each left out while it cannot say anything yet."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from src.search.drawing import (
    BEST,
    FAILED,
    FINISHED,
    INK,
    MUTED,
    PAPER,
    RUNNING,
    label,
    legend,
    numbers,
    scale_of,
    sheet,
    shortened,
    tick,
    window,
)
from src.search.parallel import parallel
from src.search.rows import Row
from src.search.standing import leading, scored
from src.search.words import number, several, short

MOST_PANELS = 12
_MARKS: dict[str, dict[str, Any]] = {
    "finished": {"marker": "o", "color": FINISHED, "markeredgecolor": PAPER, "markeredgewidth": 0.5},
    "pruned": {"marker": "o", "color": PAPER, "markeredgecolor": MUTED, "markeredgewidth": 1.2},
    "failed": {"marker": "x", "color": FAILED, "markeredgewidth": 1.4},
    "running": {"marker": ">", "color": RUNNING, "markeredgecolor": PAPER, "markeredgewidth": 0.5},
    "best": {"marker": "*", "color": BEST, "markeredgecolor": PAPER, "markeredgewidth": 0.7},
}


def figures(
    rows: Sequence[Row],
    *,
    keys: Sequence[str],
    logs: set[str],
    monitors: Sequence[str],
    modes: Sequence[str],
    importance: Mapping[str, float],
) -> dict[str, Figure]:
    """By name: history, rate, parallel, importance, intermediate, front.

    Args:
        logs: the keys whose space is logarithmic.
        importance: shares by key; {} where nobody can tell.
    """
    rows = sorted((row for row in rows if not row.replaced), key=lambda row: row.number)
    drawn = {
        "history": _history(rows, monitors, modes),
        "rate": _rate(rows, keys, logs, monitors, modes, importance),
        "parallel": parallel(rows, keys, logs, monitors, modes),
        "importance": _importance(importance, monitors[0], sum(scored(row, modes) is not None for row in rows)),
        "intermediate": _intermediate(rows, monitors[0], modes[0], leading(rows, modes)),
        "front": _front(rows, monitors, modes),
    }
    return {name: figure for name, figure in drawn.items() if figure is not None}


def _history(rows: Sequence[Row], monitors: Sequence[str], modes: Sequence[str]) -> Figure | None:
    """Value over trial number, with the best so far."""
    best = leading(rows, modes)
    if sum(_value(row, 0) is not None for row in rows) < 2:
        return None
    what = f"{monitors[0]} of each trial" if len(monitors) == 1 else "The metrics of each trial"
    figure, panels = sheet(what, f"{_named(best, monitors)}  ·  line: best so far", panels=len(monitors))
    last, astray = rows[-1].number, False
    for place, (axes, monitor, mode) in enumerate(zip(panels, monitors, modes, strict=True)):
        choose, reached, line = (max if mode == "max" else min), [], []
        for row in rows:
            if scored(row, modes) is not None and row.values is not None:
                reached.append(row.values[place])
                line.append((row.number, choose(reached)))
        if line:
            xs, ys = zip(*line, (last, line[-1][1]), strict=True)
            axes.plot(xs, ys, drawstyle="steps-post", color=BEST, linewidth=1.4, alpha=0.75)
        axes.set_xlim(-0.03 * max(last, 4) - 0.4, last + 0.03 * max(last, 4) + 0.4)
        astray |= _points(axes, [(row.number, row) for row in rows], place, mode, best)
        tick(axes, "x", numbers(0, last, 10, whole=True))
        label(axes, "x", "trial")
        label(axes, "y", monitor)
    legend(figure, _legend(rows, best, ("finished", "pruned", "failed"), astray=astray))
    return figure


def _rate(
    rows: Sequence[Row],
    keys: Sequence[str],
    logs: set[str],
    monitors: Sequence[str],
    modes: Sequence[str],
    importance: Mapping[str, float],
) -> Figure | None:
    """Each metric over each key."""
    rows = [row for row in rows if _value(row, 0) is not None or row.state == "failed"]
    known = [row for row in rows if row.state != "failed"]
    scales = {}
    for key in keys:
        if (scale := scale_of([row.params[key] for row in rows if key in row.params], log=key in logs)) is not None:
            scales[key] = scale
    if len(known) < 2 or not scales:
        return None
    by_weight = sorted(scales, key=lambda key: -importance.get(key, 0.0))
    chosen = set(by_weight[: max(1, MOST_PANELS // len(monitors))])
    shown = [key for key in scales if key in chosen]
    title = f"{', '.join(monitors)} against {short(list(keys))[shown[0]] if len(shown) == 1 else 'each parameter'}"
    best = leading(rows, modes)
    left = f"  ·  {len(shown)} of {len(scales)} parameters" if len(shown) < len(scales) else ""
    columns = 2 if len(shown) == 4 else min(3, len(shown))
    width = {1: 7.2, 2: 4.4, 3: 3.7}[columns]
    cells = [(place, key) for place in range(len(monitors)) for key in shown]
    figure, panels = sheet(
        title, f"{_named(best, monitors)}{left}", panels=len(cells), columns=columns, width=width, height=3.0
    )
    names, astray = short(list(keys)), False
    for cell, (axes, (place, key)) in enumerate(zip(panels, cells, strict=True)):
        scale, mine = scales[key], [row for row in rows if key in row.params]
        points = []
        for row in mine:
            beside = (
                ((row.number * 0.618) % 1 - 0.5) * 0.44 if scale.names and len(mine) > 2 * len(scale.names) else 0.0
            )
            points.append((scale.place(row.params[key]) + beside, row))
        low, high = (-0.5, len(scale.names) - 0.5) if scale.names else (scale.low, scale.high)
        axes.set_xlim(low - 0.05 * (high - low), high + 0.05 * (high - low))
        astray |= _points(axes, points, place, modes[place], best)
        tick(axes, "x", scale.ticks(12 if scale.names else int(width * (2.0 if scale.log else 1.4))), most=14)
        label(axes, "x", shortened(key if len(key) < width * 9 else names[key], int(width * 9)))
        if cell % columns == 0 or cell == 0 or cells[cell - 1][0] != place:
            label(axes, "y", monitors[place])
    legend(figure, _legend(rows, best, ("finished", "pruned", "failed"), astray=astray))
    return figure


def _importance(importance: Mapping[str, float], monitor: str, finished: int) -> Figure | None:
    shares = sorted(((share, key) for key, share in importance.items() if math.isfinite(share)), reverse=True)[:20]
    if len(shares) < 2:
        return None
    figure, (axes,) = sheet(
        f"How much each parameter matters for {monitor}",
        f"shares that add up to 1, estimated from {several(finished, 'finished trial')}",
        height=0.85 + 0.34 * len(shares),
    )
    names = [shortened(key, 34) for _, key in shares]
    left = (0.3 + 0.082 * max(map(len, names))) / figure.get_figwidth()
    box = axes.get_position()
    axes.set_position((left, box.y0, box.x1 - left, box.height))
    places = range(len(shares))
    axes.barh(places, [share for share, _ in shares], height=0.62, color=FINISHED)
    for place, (share, _) in enumerate(shares):
        axes.text(share + 0.012, place, f"{share:.2f}", va="center", size=8.5, color=INK)
    axes.set(xlim=(0, max(1.0, shares[0][0]) * 1.08), ylim=(len(shares) - 0.4, -0.6))
    axes.grid(visible=False, axis="y")
    tick(axes, "x", numbers(0, 1, 5))
    tick(axes, "y", list(enumerate(names)), most=34)
    return figure


def _intermediate(rows: Sequence[Row], monitor: str, mode: str, best: Sequence[Row]) -> Figure | None:
    """One line a trial: its values over its validations."""
    lines = {row.number: sorted((v, y) for v, y in row.reports.items() if math.isfinite(y)) for row in rows}
    rows = [row for row in rows if lines[row.number] and row.state != "waiting"]
    if not any(len(lines[row.number]) > 1 for row in rows):
        return None
    first = {row.number for row in best[:1]}
    figure, (axes,) = sheet(f"{monitor} while the trials train", f"one line a trial  ·  {_named(best[:1], [monitor])}")
    alpha = min(0.85, max(0.12, 12 / len(rows)))
    tones = {"finished": FINISHED, "pruned": MUTED, "failed": FAILED, "running": RUNNING}
    for state, tone in tones.items():
        mine = [lines[row.number] for row in rows if row.state == state and row.number not in first]
        shown = max(alpha, 0.8) if state == "running" else alpha
        axes.add_collection(LineCollection(mine, colors=tone, linewidths=1.1, alpha=shown))
        ends = [line[-1] for line in mine if state != "finished" or len(line) == 1]
        _mark(axes, state, ends, alpha=max(alpha, 0.5))
    for row in rows:
        if row.number in first:
            axes.plot(*zip(*lines[row.number], strict=True), color=BEST, linewidth=2.4)
            value = row.values[0] if row.values else lines[row.number][-1][1]
            _mark(axes, "best", [min(lines[row.number], key=lambda point: abs(point[1] - value))])  # that which counts
    every = [point for row in rows for point in lines[row.number]]
    last = max(validation for validation, _ in every)
    axes.set_xlim(1 - 0.03 * last, last + 0.03 * last)
    _metric_axis(axes, [value for _, value in every], mode)
    tick(axes, "x", numbers(1, last, 10, whole=True))
    label(axes, "x", "validation")
    label(axes, "y", monitor)
    legend(figure, _legend(rows, best[:1], ("finished", "pruned", "failed", "running"), line=True))
    return figure


def _front(rows: Sequence[Row], monitors: Sequence[str], modes: Sequence[str]) -> Figure | None:
    """Each metric against each other one."""
    rows = [row for row in rows if scored(row, modes) is not None]
    if len(monitors) < 2 or len(rows) < 2:
        return None
    pairs = [(x, y) for x in range(len(monitors)) for y in range(x + 1, len(monitors))][:MOST_PANELS]
    best = leading(rows, modes)
    columns = min(3, len(pairs))
    limits = [window([row.values[place] for row in rows if row.values], mode) for place, mode in enumerate(modes)]
    outside = sum(
        any(not low <= v <= high for v, (low, high) in zip(row.values or (), limits, strict=False)) for row in rows
    )
    figure, panels = sheet(
        f"What {' and '.join(monitors) if len(monitors) == 2 else 'the metrics'} cost each other",
        f"{several(len(best), 'trial')} of {len(rows)} on the Pareto front: none is better in everything"
        + (f"  ·  {outside} off the scale" if outside else ""),
        panels=len(pairs), columns=columns, width={1: 7.2, 2: 4.4, 3: 3.7}[columns],
        height=3.9 if columns == 1 else 3.1,
    )  # fmt: skip
    for axes, (x, y) in zip(panels, pairs, strict=True):
        at = {row.number: (row.values[x], row.values[y]) for row in rows if row.values is not None}
        front = sorted(at[row.number] for row in best)
        _metric_axis(axes, [each for each, _ in at.values()], modes[x], which="x")
        _metric_axis(axes, [each for _, each in at.values()], modes[y])
        if len(pairs) == 1:  # of two metrics the front is a line: what has been reached lies behind it
            axes.plot(*zip(*front, strict=True), drawstyle=f"steps-{'post' if modes[x] == 'min' else 'pre'}",
                      color=BEST, linewidth=1.4, alpha=0.75)  # fmt: skip
        others = [point for number, point in at.items() if number not in {row.number for row in best}]
        _mark(axes, "finished", others, alpha=_alpha(len(others)))
        _mark(axes, "best", [at[row.number] for row in best])
        if len(pairs) == 1 and len(best) <= 12:
            _numbered(axes, [(row.number, at[row.number]) for row in best])
        label(axes, "x", monitors[x])
        label(axes, "y", monitors[y])
    legend(figure, _legend(rows, best, ("finished",)))
    return figure


def _points(axes: Axes, points: Iterable[tuple[float, Row]], place: int, mode: str, best: Sequence[Row]) -> bool:
    """Every trial where it stands; one that failed, or went too far astray, at the axis' bad edge. Whether any did."""
    marks = [(x, row, _value(row, place)) for x, row in points]
    low, high = _metric_axis(axes, [value for *_, value in marks if value is not None], mode)
    inset = 0.035 * (high - low)
    edge, beyond = (low + inset, "v") if mode == "max" else (high - inset, "^")
    first = {row.number for row in best}
    count, astray = len(marks), False
    for state in ("pruned", "finished"):
        mine = [(x, value) for x, row, value in marks if row.state == state and value is not None]
        _mark(axes, state, [(x, y) for x, y in mine if low <= y <= high], alpha=_alpha(count), size=_size(count))
        outside = [(x, edge) for x, y in mine if not low <= y <= high]
        _mark(axes, state, outside, marker=beyond)
        astray = astray or bool(outside)
    _mark(axes, "failed", [(x, edge) for x, row, _ in marks if row.state == "failed"], size=5.5)
    _mark(axes, "best", [(x, value) for x, row, value in marks if row.number in first and value is not None])
    return astray


def _mark(axes: Axes, state: str, points: Sequence[tuple[float, float]], size: float = 6, **style: Any) -> None:
    if points:
        size = 13 if state == "best" else size
        look = _MARKS[state] | {"linestyle": "", "markersize": size, "zorder": 4 if state == "best" else 3} | style
        axes.plot(*zip(*points, strict=True), **look)


def _metric_axis(axes: Axes, values: Sequence[float], mode: str, which: str = "y") -> tuple[float, float]:
    low, high = window(values, mode)
    (axes.set_ylim if which == "y" else axes.set_xlim)(low, high)
    tick(axes, which, numbers(low, high, 5))
    return low, high


def _numbered(axes: Axes, points: Sequence[tuple[int, tuple[float, float]]]) -> None:
    """The numbers of trials beside their points, where there is room for them."""
    width, height = axes.get_xlim()[1] - axes.get_xlim()[0], axes.get_ylim()[1] - axes.get_ylim()[0]
    taken: list[tuple[float, float]] = []
    for trial, (x, y) in sorted(points, key=lambda each: each[1]):
        if all(abs(x - a) > 0.04 * width or abs(y - b) > 0.06 * height for a, b in taken):
            taken.append((x, y))
            axes.annotate(str(trial), (x, y), (6, 5), textcoords="offset points", size=8, color=INK)


def _value(row: Row, place: int) -> float | None:
    """A trial's value of a metric, or the last one before it was pruned."""
    if row.state == "finished" and row.values is not None and place < len(row.values):
        value: float | None = row.values[place]
    else:
        value = row.last if row.state == "pruned" and place == 0 else None
    return value if value is not None and math.isfinite(value) else None


def _named(best: Sequence[Row], monitors: Sequence[str]) -> str:
    """Which trial leads, in words."""
    if not best or best[0].values is None:
        return "no trial has finished yet"
    if len(best) > 1 or len(monitors) > 1:
        return f"{several(len(best), 'trial')} on the Pareto front"
    return f"best: trial {best[0].number}, {number(best[0].values[0], 4)}"


def _legend(
    rows: Sequence[Row], best: Sequence[Row], states: Sequence[str], *, line: bool = False, astray: bool = False
) -> list[Line2D]:
    """What is seen in the picture, no more."""
    there = [state for state in states if any(row.state == state for row in rows)]
    found: list[Line2D] = []
    for state in there:
        look = dict(_MARKS[state], linestyle="", markersize=6)
        if line and state == "finished":
            look = {"color": FINISHED, "linewidth": 1.4}
        found.append(Line2D([], [], label=state, **look))
    if astray:
        found.append(Line2D([], [], label="off the scale", linestyle="", markersize=6, color=FINISHED, marker="^"))
    if best:
        found.append(Line2D([], [], label="best", linestyle="", markersize=11, **_MARKS["best"]))
    return found


def _alpha(count: int) -> float:
    return 0.9 if count <= 60 else 0.6 if count <= 200 else 0.45


def _size(count: int) -> float:
    return 6.5 if count <= 60 else 5 if count <= 200 else 4
