"""The plots of a sweep, each left out as long as the trials cannot fill it.

Pruned trials are drawn with their last value. Failed trials, and values so bad that they would
flatten all others, are marked at the bad edge of the metric's axis.
"""

import io
import math
import warnings
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import accumulate, combinations
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

from src.core.formatting import format_quantity, shorten_keys, truncate_middle
from src.core.pictures import save_figure
from src.search.trials import (
    SweepSnapshot,
    TrialRecord,
    describe_best_trials,
    select_best_trials,
    values_to_minimize,
)
from src.search.view.parallel_plot import plot_parallel_coordinates
from src.search.view.plot_axes import (
    INK_COLOR,
    STATE_COLORS,
    add_legend,
    create_panels,
    infer_scales,
    set_linear_ticks,
    set_metric_range,
)
from src.search.view.replicate_plot import plot_replicates

MAX_PANELS = 12
_MAX_BARS = 20
# trials of a Pareto front with their numbers beside their points
_MAX_ANNOTATED_TRIALS = 12

_MARKERS: dict[str, dict[str, Any]] = {
    "finished": {"marker": "o"},
    "pruned": {"marker": "o", "markerfacecolor": "white"},
    "failed": {"marker": "x"},
    "running": {"marker": ">"},
    "off the scale": {"marker": "^"},
    "best": {"marker": "*", "markersize": 13, "zorder": 4, "alpha": 1.0},
}


def plot_sweep(
    sweep: SweepSnapshot, *, log_keys: set[str], importance: Mapping[str, float]
) -> dict[str, Figure]:
    """Draw the plots by name: replicates, history, rate, parallel, importance, intermediate and
    front.

    Args:
        log_keys: the parameters that are searched on a logarithmic scale.
        importance: each parameter's share; empty while it cannot be estimated.
    """
    # matplotlib's font lacks the letters of some languages and draws a box instead
    warnings.filterwarnings("ignore", message="Glyph .* missing from font")
    trials = [trial for trial in sweep.rows if not trial.is_replaced]
    sweep = replace(sweep, rows=sorted(trials, key=lambda trial: trial.number))
    figures = {
        "replicates": plot_replicates(sweep),
        "history": _plot_history(sweep),
        "rate": _plot_slices(sweep, log_keys, importance),
        "parallel": plot_parallel_coordinates(sweep, log_keys),
        "importance": _plot_importance(sweep, importance),
        "intermediate": _plot_intermediate_values(sweep),
        "front": _plot_pareto_front(sweep),
    }
    drawn = {name: figure for name, figure in figures.items() if figure is not None}
    for figure in drawn.values():
        # a key or a category may hold dollar signs
        for text in figure.findobj(Text):
            text.set_parse_math(False)
    return drawn


def render_png(figure: Figure) -> bytes:
    """A figure as the content of a PNG file."""
    file = io.BytesIO()
    save_figure(figure, file)
    return file.getvalue()


def _plot_history(sweep: SweepSnapshot) -> Figure | None:
    """Metrics over the trial number, with a line for the best value so far."""
    if sum(_metric_value(trial, 0) is not None for trial in sweep.rows) < 2:
        return None
    monitors = sweep.monitors
    figure, panels = create_panels(
        f"{monitors[0]} of each trial" if len(monitors) == 1 else "The metrics of each trial",
        f"{describe_best_trials(sweep)}  ·  line: best so far",
        count=len(monitors),
    )
    finished = _select_finished(sweep)
    for index, (axes, monitor, mode) in enumerate(zip(panels, monitors, sweep.modes, strict=True)):
        if finished:
            values = [trial.values[index] for trial in finished if trial.values]
            reached = list(accumulate(values, max if mode == "max" else min))
            axes.plot(
                [*(trial.number for trial in finished), sweep.rows[-1].number],
                [*reached, reached[-1]],
                drawstyle="steps-post",
                color=STATE_COLORS["best"],
                linewidth=1.4,
            )
        _draw_trials(axes, [(trial.number, trial) for trial in sweep.rows], sweep, index)
        set_linear_ticks(axes, "x", integers_only=True)
        axes.set(xlabel="trial", ylabel=_label(monitor))
    add_legend(figure)
    return figure


def _plot_slices(
    sweep: SweepSnapshot, log_keys: set[str], importance: Mapping[str, float]
) -> Figure | None:
    """Each metric over each parameter; the most important parameters where there are too many."""
    measured = [trial for trial in sweep.rows if _metric_value(trial, 0) is not None]
    trials = [*measured, *(trial for trial in sweep.rows if trial.state == "failed")]
    scales = infer_scales(trials, sweep.keys, log_keys)
    if len(measured) < 2 or not scales:
        return None
    by_importance = sorted(scales, key=lambda key: -importance.get(key, 0.0))
    chosen = by_importance[: max(1, MAX_PANELS // len(sweep.monitors))]
    keys = [key for key in scales if key in chosen]
    left_out = f"  ·  {len(keys)} of {len(scales)} parameters" if len(keys) < len(scales) else ""
    subject = shorten_keys(sweep.keys)[keys[0]] if len(keys) == 1 else "each parameter"
    figure, panels = create_panels(
        f"{', '.join(sweep.monitors)} against {subject}",
        f"{describe_best_trials(sweep)}{left_out}",
        count=len(sweep.monitors) * len(keys),
        columns=2 if len(keys) == 4 else min(3, len(keys)),
        height=2.9,
    )
    cells = [(index, key) for index in range(len(sweep.monitors)) for key in keys]
    for axes, (index, key) in zip(panels, cells, strict=True):
        scale = scales[key]
        placed = [(scale.position(t.params[key]), t) for t in trials if key in t.params]
        _draw_trials(axes, placed, sweep, index)
        scale.apply(axes, "x")
        axes.set(xlabel=_label(key), ylabel=_label(sweep.monitors[index]))
    add_legend(figure)
    return figure


def _plot_importance(sweep: SweepSnapshot, importance: Mapping[str, float]) -> Figure | None:
    """One bar for each parameter."""
    shares = sorted((share, key) for key, share in importance.items() if math.isfinite(share))
    if len(shares) < 2:
        return None
    shares = shares[-_MAX_BARS:]
    count = format_quantity(len(_select_finished(sweep)), "finished trial")
    figure, (axes,) = create_panels(
        f"How much each parameter matters for {sweep.monitors[0]}",
        f"shares that add up to 1, estimated from {count}",
        height=0.5 + 0.34 * len(shares),
    )
    names, widths = [_label(key) for _, key in shares], [share for share, _ in shares]
    bars = axes.barh(names, widths, height=0.62, color=STATE_COLORS["finished"])
    axes.bar_label(bars, fmt="{:.2f}", padding=3, size=8.5, color=INK_COLOR)
    axes.set_xlim(0, max(1.0, widths[-1]) * 1.08)
    axes.grid(visible=False, axis="y")
    return figure


def _plot_intermediate_values(sweep: SweepSnapshot) -> Figure | None:
    """The first metric over the validations, one line for each trial."""
    monitor, mode = sweep.monitors[0], sweep.modes[0]
    lines = {
        trial.number: sorted(
            point for point in trial.intermediate_values.items() if math.isfinite(point[1])
        )
        for trial in sweep.rows
        if trial.state != "waiting"
    }
    trials = [trial for trial in sweep.rows if lines.get(trial.number)]
    if not any(len(lines[trial.number]) > 1 for trial in trials):
        return None
    figure, (axes,) = create_panels(
        f"{monitor} while the trials train", f"one line a trial  ·  {describe_best_trials(sweep)}"
    )
    best = {trial.number for trial in select_best_trials(trials, sweep.modes)[:1]}
    alpha = min(0.85, max(0.12, 12 / len(trials)))
    marks = defaultdict(list)
    for trial in trials:
        line, state = lines[trial.number], trial.state
        if trial.number in best:
            axes.plot(*zip(*line, strict=True), color=STATE_COLORS["best"], linewidth=2.4, zorder=3)
            # the validation whose checkpoint was kept
            value = trial.values[0] if trial.values else line[-1][1]
            marks["best"].append(min(line, key=lambda point: abs(point[1] - value)))
            continue
        style: dict[str, Any] = {"alpha": 0.8 if state == "running" else alpha, "linewidth": 1.1}
        label = state if state == "finished" else None
        axes.plot(*zip(*line, strict=True), color=STATE_COLORS[state], label=label, **style)
        if state != "finished" or len(line) == 1:
            marks[state].append(line[-1])
    _draw_markers(axes, marks, alpha=max(alpha, 0.5))
    points = [point for trial in trials for point in lines[trial.number]]
    last = max(validation for validation, _ in points)
    axes.set_xlim(1 - 0.03 * last, last + 0.03 * last)
    set_metric_range(axes, "y", [value for _, value in points], mode)
    set_linear_ticks(axes, "x", integers_only=True)
    axes.set(xlabel="validation", ylabel=_label(monitor))
    add_legend(figure)
    return figure


def _plot_pareto_front(sweep: SweepSnapshot) -> Figure | None:
    """Each pair of metrics of the finished trials, with the Pareto front."""
    trials, monitors, modes = _select_finished(sweep), sweep.monitors, sweep.modes
    if len(monitors) < 2 or len(trials) < 2:
        return None
    pairs = list(combinations(range(len(monitors)), 2))[:MAX_PANELS]
    best = select_best_trials(trials, modes)
    figure, panels = create_panels(
        f"What {' and '.join(monitors) if len(monitors) == 2 else 'the metrics'} cost each other",
        f"{format_quantity(len(best), 'trial')} of {len(trials)} on the Pareto front: none is "
        "better in everything",
        count=len(pairs),
        columns=min(3, len(pairs)),
        height=3.9 if len(pairs) == 1 else 3.1,
    )
    for axes, (x, y) in zip(panels, pairs, strict=True):
        points = {t.number: (t.values[x], t.values[y]) for t in trials if t.values}
        left, right = set_metric_range(axes, "x", [at for at, _ in points.values()], modes[x])
        low, high = set_metric_range(axes, "y", [at for _, at in points.values()], modes[y])
        front = [points.pop(trial.number) for trial in best]
        marks = defaultdict(list, best=front)
        for point in points.values():
            inside = min(max(point[0], left), right), min(max(point[1], low), high)
            marks["finished" if inside == point else "off the scale"].append(inside)
        _draw_markers(axes, marks, alpha=_marker_alpha(len(trials)))
        # only with two metrics is the front a line
        if len(pairs) == 1:
            style = f"steps-{'post' if modes[x] == 'min' else 'pre'}"
            axes.plot(
                *zip(*sorted(front), strict=True), drawstyle=style, color=STATE_COLORS["best"]
            )
            for trial, point in zip(best[:_MAX_ANNOTATED_TRIALS], front, strict=False):
                axes.annotate(str(trial.number), point, (6, 5), textcoords="offset points", size=8)
        axes.set(xlabel=_label(monitors[x]), ylabel=_label(monitors[y]))
    add_legend(figure)
    return figure


def _draw_trials(
    axes: Axes, placed: Sequence[tuple[float, TrialRecord]], sweep: SweepSnapshot, index: int
) -> None:
    """Mark trials at their positions on the x-axis and their values of metric `index`.

    Failed trials, and values off the scale, stand at the bad edge of the metric's axis.
    """
    values = {trial.number: _metric_value(trial, index) for _, trial in placed}
    known, mode = [value for value in values.values() if value is not None], sweep.modes[index]
    low, high = set_metric_range(axes, "y", known, mode)
    inset = 0.035 * (high - low)
    edge = low + inset if mode == "max" else high - inset
    best = {trial.number for trial in select_best_trials(sweep.rows, sweep.modes)}
    marks = defaultdict(list)
    for position, trial in placed:
        value = values[trial.number]
        if trial.state == "failed":
            marks["failed"].append((position, edge))
        elif value is not None and low <= value <= high:
            state = "best" if trial.number in best else trial.state
            marks[state].append((position, value))
        elif value is not None:
            marks["off the scale"].append((position, edge))
    size = 6 if len(placed) <= 60 else 4.5
    _draw_markers(axes, marks, alpha=_marker_alpha(len(placed)), markersize=size)


def _draw_markers(
    axes: Axes, marks: Mapping[str, Sequence[tuple[float, float]]], **style: Any
) -> None:
    """Draw points by the state that they stand for."""
    for state, points in marks.items():
        if points:
            color = STATE_COLORS.get(state, STATE_COLORS["finished"])
            look: dict[str, Any] = {"linestyle": "", "color": color, "label": state, "zorder": 3}
            axes.plot(*zip(*points, strict=True), **look | style | _MARKERS[state])


def _select_finished(sweep: SweepSnapshot) -> list[TrialRecord]:
    return [t for t in sweep.rows if values_to_minimize(t, sweep.modes) is not None]


def _metric_value(trial: TrialRecord, index: int) -> float | None:
    """A trial's value of a metric; of a pruned trial, the last value of the first metric."""
    value = None
    if trial.state == "finished" and trial.values is not None and index < len(trial.values):
        value = trial.values[index]
    elif trial.state == "pruned" and index == 0:
        value = trial.latest_value
    return value if value is not None and math.isfinite(value) else None


def _label(text: str) -> str:
    return truncate_middle(text, 34)


def _marker_alpha(count: int) -> float:
    return 0.9 if count <= 60 else 0.6 if count <= 200 else 0.45
