"""Figures, axes and scales that the plots of a sweep share.

Everything is drawn with matplotlib's objects and without pyplot, whose global state would not be
safe in the thread that draws.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from src.core.formatting import truncate_middle
from src.search.trials import ParamValue, TrialRecord

INK_COLOR, MUTED_COLOR, GRID_COLOR = "#22303c", "#71808d", "#e4e8eb"

# listed numbers are drawn as categories up to this many different ones
MAX_NUMERIC_CATEGORIES = 8
# tick labels of categories on one axis, and characters of each
_MAX_CATEGORY_LABELS, _MAX_LABEL_LENGTH = 12, 14
# width of a panel in inches, by the number of panels beside each other
_PANEL_WIDTHS = {1: 7.2, 2: 4.6, 3: 3.7}
# also people who cannot tell red from green can tell these apart
STATE_COLORS = {
    "finished": "#2f6fab",
    "pruned": "#71808d",
    "failed": "#a83254",
    "running": "#15886b",
    "best": "#d55e00",
}


@dataclass(frozen=True)
class AxisScale:
    """The axis of a parameter: linear, logarithmic, or categories side by side.

    Args:
        low, high: the smallest and the largest position.
        is_log: draw positions by their logarithm.
        categories: texts in the order in which they are drawn; empty for numbers.
    """

    low: float
    high: float
    is_log: bool = False
    categories: tuple[str, ...] = ()

    def position(self, value: ParamValue) -> float:
        """The data coordinate of a value: a number itself, or the index of its category."""
        return float(self.categories.index(str(value)) if self.categories else value)

    def apply(self, axes: Axes, which: Literal["x", "y"]) -> None:
        """Give the axis `which` this scale, with limits around its values and readable ticks."""
        axis = axes.xaxis if which == "x" else axes.yaxis
        if self.categories:
            shown = range(0, len(self.categories), -(-len(self.categories) // _MAX_CATEGORY_LABELS))
            labels = [truncate_middle(self.categories[i], _MAX_LABEL_LENGTH) for i in shown]
            axis.set_ticks(list(shown), labels)
            if which == "x" and sum(len(label) + 2 for label in labels) > 32:
                axes.tick_params("x", labelrotation=28, labelsize=7.5)
                for label in axes.get_xticklabels():
                    label.set(ha="right", rotation_mode="anchor")
            limits = (-0.4, len(self.categories) - 0.6)
        elif self.is_log:
            axes.set(**{f"{which}scale": "log"})
            decades = math.log10(self.high / self.low)
            axis.set_major_locator(LogLocator(subs=(1,) if decades >= 2 else (1, 2, 5), numticks=6))
            axis.set_minor_locator(NullLocator())
            axis.set_major_formatter("{x:g}")
            margin = 10 ** (0.05 * decades)
            limits = (self.low / margin, self.high * margin)
        else:
            set_linear_ticks(axes, which)
            margin = 0.05 * (self.high - self.low)
            limits = (self.low - margin, self.high + margin)
        axes.set(**{f"{which}lim": limits})


def infer_scale(values: Iterable[ParamValue], *, log: bool) -> AxisScale | None:
    """Choose the axis for a parameter's values; None where they are all equal.

    Listed values are texts. They are categories, unless all of them are numbers and there are more
    than `MAX_NUMERIC_CATEGORIES`.

    Args:
        log: the parameter is searched on a logarithmic scale.
    """
    distinct = set(values)
    if len(distinct) < 2:
        return None
    numbers = {value: _parse_number(value) for value in distinct}
    known = [number for number in numbers.values() if number is not None]
    is_listed = any(isinstance(value, str) for value in distinct)
    if len(known) < len(distinct) or (is_listed and len(distinct) <= MAX_NUMERIC_CATEGORIES):
        order = sorted((numbers[v] is None, numbers[v] or 0.0, str(v)) for v in distinct)
        categories = tuple(text for *_, text in order)
        return AxisScale(0, len(categories) - 1, categories=categories)
    low, high = min(known), max(known)
    is_wide = is_listed and low > 0 and high / low >= 100
    return AxisScale(low, high, is_log=low > 0 and (log or is_wide))


def infer_scales(
    trials: Sequence[TrialRecord], keys: Sequence[str], log_keys: set[str]
) -> dict[str, AxisScale]:
    """The scale of each parameter whose values differ among the trials."""
    scales = {}
    for key in keys:
        values = [trial.params[key] for trial in trials if key in trial.params]
        if (scale := infer_scale(values, log=key in log_keys)) is not None:
            scales[key] = scale
    return scales


def robust_axis_range(values: Sequence[float], mode: str) -> tuple[float, float]:
    """The part of a metric's axis that is worth showing, from low to high.

    A few trials with far worse values than the rest would flatten all others, so values more than
    three times as far from the best as the 80th percentile lie outside.
    """
    ordered = sorted(values, reverse=mode == "max")
    best, worst = ordered[0], ordered[-1]
    reach = 3 * abs(ordered[int(0.8 * (len(ordered) - 1))] - best)
    if len(ordered) >= 5 and reach > 0:
        worst = next(value for value in reversed(ordered) if abs(value - best) <= reach)
    room = abs(worst - best) or 0.5 * abs(best) or 1.0
    # more room at the bad end, where trials without a place on the axis are marked
    if mode == "max":
        return worst - 0.12 * room, best + 0.06 * room
    return best - 0.06 * room, worst + 0.12 * room


def set_metric_range(
    axes: Axes, which: Literal["x", "y"], values: Sequence[float], mode: str
) -> tuple[float, float]:
    """Give an axis the robust range of a metric's values, and return it."""
    limits = robust_axis_range(values, mode)
    axes.set(**{f"{which}lim": limits})
    set_linear_ticks(axes, which)
    return limits


def create_panels(
    title: str, subtitle: str, *, count: int = 1, columns: int = 1, height: float = 3.3
) -> tuple[Figure, list[Axes]]:
    """A figure with a heading and `count` empty panels, each `height` inches high."""
    rows = math.ceil(count / columns)
    size = (columns * _PANEL_WIDTHS[columns], rows * height + 0.6)
    figure = Figure(figsize=size, layout="constrained", facecolor="white")
    figure.suptitle(title, x=0.01, ha="left", size=11, weight="bold", color=INK_COLOR)
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    for unused in panels[count:]:
        unused.remove()
    panels[0].set_title(subtitle, loc="left", size=8.5, color=MUTED_COLOR, pad=10)
    for axes in panels[:count]:
        axes.spines[:].set_visible(False)
        axes.grid(color=GRID_COLOR, linewidth=0.8)
        axes.set_axisbelow(True)
        axes.tick_params(length=0, labelsize=8.5, labelcolor=INK_COLOR)
        axes.xaxis.label.set(size=9, color=INK_COLOR)
        axes.yaxis.label.set(size=9, color=INK_COLOR)
    return figure, panels[:count]


def set_linear_ticks(axes: Axes, which: Literal["x", "y"], *, integers_only: bool = False) -> None:
    """A handful of round numbers, written out without an offset."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10], integer=integers_only))
    axis.set_major_formatter("{x:g}")


def add_legend(figure: Figure) -> None:
    """Explain the labels that occur in the figure, below it; not where there is only one."""
    handles: dict[str, Artist] = {}
    for axes in figure.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    labels = sorted(handles)
    if len(labels) > 1:
        legend = figure.legend(
            [handles[label] for label in labels],
            labels,
            loc="outside lower right",
            ncols=len(labels),
            frameon=False,
            fontsize=8.5,
            labelcolor=INK_COLOR,
        )
        for sample in legend.legend_handles:
            if sample is not None:
                sample.set_alpha(1)


def _parse_number(value: ParamValue) -> float | None:
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
