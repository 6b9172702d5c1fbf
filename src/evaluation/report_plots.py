"""The pictures of a report beside the confusion matrix: curves, reliability, abstaining, slices.

Colours are those of Okabe and Ito (2008), which the colour-blind tell apart; lines differ in their
dashes too.
"""

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from src.core.pictures import save_figure
from src.evaluation.calibration import Calibration
from src.evaluation.curves import Abstaining, LabelCurve
from src.evaluation.plots import MAX_LABEL_CHARACTERS, TEXT_COLOR, create_panels, style_axes

if TYPE_CHECKING:
    from src.core.pictures import Picture

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_DASHES = ("-", "--", "-.", ":")
_GRID, _FAINT = "#e4e8eb", "#8a97a1"
MOST_CURVES = len(COLORS)
# of the rows, from which on accuracy sets the scale
_LEAST_COVERAGE = 0.02
MOST_SLICES = 40


def plot_curves(curves: Mapping[str, LabelCurve], left_out: int = 0) -> Figure:
    """Draw the ROC curve and precision over recall of every label.

    Args:
        curves: by label, at most `MOST_CURVES`.
        left_out: how many labels are not drawn.
    """
    figure, (roc, found) = create_panels(2 * [4.55], 4.13)
    roc.plot([0, 1], [0, 1], color=_FAINT, linewidth=1, linestyle=(0, (1, 3)))
    for place, (name, curve) in enumerate(curves.items()):
        look: dict[str, Any] = {
            "color": COLORS[place % len(COLORS)],
            "linestyle": _DASHES[place % len(_DASHES)],
            "linewidth": 1.8,
        }
        short = shorten(name)
        rate = np.append(0.0, curve.false_positive_rate)
        roc.plot(rate, np.append(0.0, curve.recall), label=f"{short}: {curve.area:.3f}", **look)
        found.plot(
            curve.recall, curve.precision, label=f"{short}: {curve.average_precision:.3f}", **look
        )
    roc.set(xlabel="false positive rate", ylabel="recall (true positive rate)")
    found.set(xlabel="recall", ylabel="precision")
    ends = f", without {left_out} rarer labels" if left_out else ""
    style_axes(roc, f"ROC curve and the area under it{ends}", has_power=False)
    style_axes(found, "Precision over recall, and average precision", has_power=False)
    for axes in (roc, found):
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
        add_grid(axes)
        _add_legend(axes, "lower right" if axes is roc else "best")
    return figure


def plot_confidence(
    before: Calibration,
    after: Calibration | None,
    abstaining: Abstaining | None,
    *,
    temperature: float = 1.0,
    decisions: bool = False,
) -> Figure:
    """Draw how right the model is by its confidence, and how right if only the surest are answered.

    Args:
        after: at the temperature, if one was fitted.
        abstaining: None draws the first alone.
        decisions: whether probabilities are those of a yes, and not of the likeliest label.
    """
    figure, grid = create_panels([4.55] if abstaining is None else 2 * [4.55], 4.13)
    reliability = grid[0]
    reliability.plot([0, 1], [0, 1], color=_FAINT, linewidth=1, linestyle=(0, (1, 3)))
    shown = [(before, "plain", COLORS[1], "o", "--")]
    if after is not None:
        shown.append((after, f"temperature {temperature:.3g}", COLORS[0], "s", "-"))
    for found, name, color, marker, dashes in shown:
        label = f"{name}: error {found.error:.3f}"
        reliability.plot(found.confidence, found.right, dashes, color=color, linewidth=1.4)
        share = np.sqrt(np.array(found.rows) / max(found.rows))
        reliability.scatter(
            found.confidence,
            found.right,
            s=12 + 70 * share,
            color=color,
            marker=marker,
            label=label,
        )
    names = ("probability of a yes", "share of yes") if decisions else ("confidence", "share right")
    reliability.set(xlabel=names[0], ylabel=names[1])
    reliability.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    style_axes(reliability, "Reliability: on the dotted line, 80 % means 80 %", has_power=False)
    add_grid(reliability)
    _add_legend(reliability, "upper left")
    if abstaining is not None:
        axes = grid[1]
        axes.plot(abstaining.coverage, abstaining.accuracy, color=COLORS[0], linewidth=1.8)
        axes.axhline(abstaining.accuracy[-1], color=_FAINT, linewidth=1, linestyle=(0, (1, 3)))
        axes.set(xlabel="share of rows that are answered, the surest first", ylabel="accuracy")
        axes.set_xlim(-0.02, 1.02)
        # what the very surest few rows are would leave little to see of the rest
        most = np.array(abstaining.accuracy)[np.array(abstaining.coverage) >= _LEAST_COVERAGE]
        margin = 0.05 * float(np.ptp(most)) or 0.02
        axes.set_ylim(float(most.min()) - margin, float(most.max()) + margin)
        style_axes(axes, "What not answering the unsure rows buys")
        add_grid(axes)
    return figure


def plot_slices(table: Mapping[str, Sequence[Any]], accuracy: float) -> Figure:
    """Draw the accuracy of every slice with its interval, beside that of all rows.

    Args:
        table: as `tabulate_slices` makes it; the first `MOST_SLICES` are drawn.
    """
    count = min(len(table["value"]), MOST_SLICES)
    names = [
        f"{table['column'][place]}: {shorten(str(table['value'][place]))}  "
        f"({table['rows'][place]:,})"
        for place in range(count)
    ]
    figure, [axes] = create_panels([6.5], 0.7 + 0.32 * count, labels=names)
    for place in range(count):
        low, high, value = (table[name][place] for name in ("low", "high", "accuracy"))
        axes.plot([low, high], [place, place], color=COLORS[0], linewidth=2.2, alpha=0.55)
        axes.plot([value], [place], "o", color=COLORS[0], markersize=5)
    axes.axvline(accuracy, color=COLORS[1], linewidth=1.2, linestyle="--")
    axes.set_yticks(range(count), names)
    for label in axes.get_yticklabels():
        label.set_parse_math(False)
    axes.set_ylim(count - 0.4, -0.6)
    axes.set(xlabel="accuracy, with an interval of 95 %")
    style_axes(
        axes, f"Accuracy of slices (rows); all rows: {accuracy:.3f}, dashed", has_power=False
    )
    axes.grid(axis="x", color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    return figure


def plot_residuals(targets: np.ndarray, outputs: np.ndarray) -> Figure:
    """Draw by how much predictions miss over what is predicted, and how often by how much."""
    figure, (over, often) = create_panels(2 * [4.4], 3.63)
    misses = outputs - targets
    alpha = 0.7 if len(targets) < 300 else 0.25
    over.axhline(0, color=COLORS[1], linewidth=1.2)
    over.scatter(outputs, misses, s=16, color=COLORS[0], alpha=alpha, linewidths=0)
    over.set(xlabel="predicted", ylabel="predicted - truth")
    style_axes(over, "Residuals")
    often.hist(misses, bins=30, color=COLORS[0], alpha=0.8)
    often.axvline(0, color=COLORS[1], linewidth=1.2)
    often.set(xlabel="predicted - truth", ylabel="rows")
    style_axes(often, f"How often by how much; mean {misses.mean():.3g}")
    for axes in (over, often):
        add_grid(axes)
    return figure


def draw_picture(figure: "Picture") -> bytes:
    """A figure as a PNG file."""
    picture = io.BytesIO()
    save_figure(figure, picture)
    return picture.getvalue()


def shorten(name: str) -> str:
    """A label or value as short as there is room for."""
    return name if len(name) <= MAX_LABEL_CHARACTERS else f"{name[: MAX_LABEL_CHARACTERS - 1]}…"


def add_grid(axes: Axes) -> None:
    """Put faint lines behind what is drawn."""
    axes.grid(color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)


def _add_legend(axes: Axes, place: Literal["lower right", "best", "upper left"]) -> None:
    # curves that it stands on stay visible, and it legible
    legend = axes.legend(loc=place, fontsize=9, labelcolor=TEXT_COLOR, framealpha=0.8)
    legend.get_frame().set_linewidth(0)
    for text in legend.get_texts():
        text.set_parse_math(False)
