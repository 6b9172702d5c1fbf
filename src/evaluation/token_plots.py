"""The pictures of the report of a masked language model: loss and accuracy of kinds of tokens, side
by side.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from src.evaluation.plots import TEXT_COLOR, create_panels, style_axes
from src.evaluation.report_plots import COLORS, add_grid


def plot_token_kinds(table: Mapping[str, Sequence[Any]], column: str, title: str) -> Figure:
    """Draw loss and accuracy of every kind with their intervals, the number of tokens at its name.

    Args:
        table: as `tabulate_sums` makes it.
        column: the one with the names of the kinds.
        title: what the kinds are.
    """
    count = len(table[column])
    rows = zip(table[column], table["tokens"], strict=True)
    names = [f"{name}  ({tokens:,})" for name, tokens in rows]
    figure, (losses, shares) = create_panels([4.2, 4.2], 0.8 + 0.32 * count, labels=names)
    shares.sharey(losses)
    shares.tick_params(labelleft=False)
    _draw_intervals(losses, table, "loss", "loss_low", "loss_high", COLORS[1], "s")
    _draw_intervals(shares, table, "accuracy", "low", "high", COLORS[0], "o")
    losses.scatter(
        table["unigram_loss"], range(count), marker="D", facecolors="none", edgecolors=COLORS[6]
    )
    losses.set_yticks(range(count), names)
    losses.set_ylim(count - 0.4, -0.6)
    losses.set_ylabel(f"{column.replace('_', ' ')}  (masked tokens)")
    losses.set(xlabel="loss, with an interval of 95 %")
    losses.set_xlim(left=0)
    shares.set(xlabel="accuracy, with an interval of 95 %")
    shares.set_xlim(-0.02, 1.02)
    style_axes(losses, "Loss (hollow: frequencies alone)", has_power=False)
    style_axes(shares, "Share that is predicted", has_power=False)
    losses.annotate(
        title,
        (0, 1),
        xycoords="axes fraction",
        xytext=(0, 36),
        textcoords="offset points",
        fontsize=12,
        color=TEXT_COLOR,
    )
    for axes in (losses, shares):
        add_grid(axes)
    return figure


def _draw_intervals(
    axes: Axes,
    table: Mapping[str, Sequence[Any]],
    value: str,
    low: str,
    high: str,
    color: str,
    marker: str,
) -> None:
    for place, (middle, begin, end) in enumerate(
        zip(table[value], table[low], table[high], strict=True)
    ):
        if begin is not None:
            axes.plot([begin, end], [place, place], color=color, linewidth=2.2, alpha=0.55)
        axes.plot([middle], [place], marker, color=color, markersize=5)
