"""The plot of settings that were repeated: each trial, the mean and its interval."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from src.core.formatting import format_params, format_quantity, truncate_middle
from src.search.replicates import (
    Setting,
    find_replicate_keys,
    group_replicates,
    list_metrics,
    read_values,
)
from src.search.trials import SweepSnapshot
from src.search.view.plot_axes import (
    MUTED_COLOR,
    STATE_COLORS,
    AxisScale,
    create_panels,
    infer_scale,
    set_linear_ticks,
)

_MAX_SETTINGS = 40


def plot_replicates(sweep: SweepSnapshot) -> Figure | None:
    """One panel for each metric; None as long as no setting has two finished trials.

    Where one number varies besides the seed or the fold, as the share of the training rows, the
    means are joined by a line over it: a learning curve.
    """
    settings = group_replicates(sweep)[:_MAX_SETTINGS]
    if not any(len(setting.trials) > 1 for setting in settings):
        return None
    metrics = list_metrics(sweep)
    figure, panels = create_panels(
        f"{', '.join(metrics)} over {', '.join(find_replicate_keys(sweep))}",
        f"{format_quantity(sum(len(item.trials) for item in settings), 'trial')}  ·  dots: trials, "
        "bars: 95 % interval of the mean (Student's t)",
        count=len(metrics),
        height=3.0,
    )
    positions, scale = _place_settings(settings, sweep)
    for axes, metric in zip(panels, metrics, strict=True):
        _draw_metric(axes, settings, positions, sweep, metric)
        if scale is not None and scale.categories:
            scale.apply(axes, "x")
        elif scale is not None:
            scale.apply(axes, "x")
            if len(settings) > 1:
                _join_means(axes, settings, positions, metric)
        else:
            axes.set_xticks([])
        set_linear_ticks(axes, "y")
        axes.set(ylabel=truncate_middle(metric, 34), xlabel=_describe_axis(sweep))
    return figure


def _place_settings(
    settings: Sequence[Setting], sweep: SweepSnapshot
) -> tuple[list[float], AxisScale | None]:
    """The position of each setting on the x-axis, and the axis; None for a single setting."""
    varied = [key for key in sweep.keys if key not in find_replicate_keys(sweep)]
    numbers = _read_numbers(settings, varied[0]) if len(varied) == 1 else None
    if numbers is not None and (scale := infer_scale(numbers, log=_is_wide(numbers))) is not None:
        return numbers, scale
    names = [format_params(setting.params, varied) or "all" for setting in settings]
    if len(names) < 2:
        return [0.0] * len(names), None
    scale = AxisScale(0, len(names) - 1, categories=tuple(names))
    return [float(index) for index in range(len(names))], scale


def _read_numbers(settings: Sequence[Setting], key: str) -> list[float] | None:
    try:
        return [float(setting.params[key]) for setting in settings]
    except (KeyError, ValueError):
        return None


def _is_wide(numbers: Sequence[float]) -> bool:
    return min(numbers) > 0 and max(numbers) / min(numbers) >= 8


def _draw_metric(
    axes: Axes,
    settings: Sequence[Setting],
    positions: Sequence[float],
    sweep: SweepSnapshot,
    metric: str,
) -> None:
    for position, setting in zip(positions, settings, strict=True):
        values = read_values(setting.trials, sweep, metric)
        axes.plot(
            [position] * len(values),
            values,
            linestyle="",
            marker="o",
            markersize=4.5,
            alpha=0.45,
            color=STATE_COLORS["finished"],
        )
        entry = setting.metrics.get(metric)
        if entry is None:
            continue
        spread = (
            None
            if entry.low is None or entry.high is None
            else [[entry.mean - entry.low], [entry.high - entry.mean]]
        )
        axes.errorbar(
            [position],
            [entry.mean],
            yerr=spread,
            fmt="D",
            markersize=5,
            capsize=4,
            color=STATE_COLORS["best"],
            zorder=3,
        )


def _join_means(
    axes: Axes, settings: Sequence[Setting], positions: Sequence[float], metric: str
) -> None:
    points = sorted(
        (position, setting.metrics[metric].mean)
        for position, setting in zip(positions, settings, strict=True)
        if metric in setting.metrics
    )
    axes.plot(*zip(*points, strict=True), color=MUTED_COLOR, linewidth=1.1, zorder=2)


def _describe_axis(sweep: SweepSnapshot) -> str:
    varied = [key for key in sweep.keys if key not in find_replicate_keys(sweep)]
    return truncate_middle(", ".join(varied), 60)
