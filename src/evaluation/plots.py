"""The plots of a report, drawn with matplotlib's objects and without pyplot: no global state and
no window.
"""

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

TEXT_COLOR = "#22303c"
# of a label on an axis
MAX_LABEL_CHARACTERS = 24
# with more classes, the cells are too small to write into
MAX_ANNOTATED_CLASSES = 40


def plot_confusion_matrix(matrix: Sequence[Sequence[int]], label_names: Sequence[str]) -> Figure:
    """Draw a confusion matrix.

    Colour and percentage of a cell are its share of the class in truth; the other number counts
    rows of the data.

    Args:
        matrix: `matrix[truth][predicted]` rows of the data.
    """
    classes = len(label_names)
    names = [
        name if len(name) <= MAX_LABEL_CHARACTERS else f"{name[: MAX_LABEL_CHARACTERS - 1]}…"
        for name in map(str, label_names)
    ]
    # in inches
    side = min(2.14 + 0.5 * classes, 21)
    figure, [axes] = create_panels([side], side, labels=names)
    totals = [sum(row) for row in matrix]
    shares = [
        [count / max(total, 1) for count in row] for row, total in zip(matrix, totals, strict=True)
    ]
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for truth in range(classes if classes <= MAX_ANNOTATED_CLASSES else 0):
        for predicted in range(classes):
            count, share = matrix[truth][predicted], shares[truth][predicted]
            text = f"{count:,}\n{share:.0%}" if count else "0"
            colour = "white" if share > 0.5 else TEXT_COLOR if count else "#a9b4bd"
            size = (11 if classes <= 4 else 9) - (len(f"{count:,}") > 5)
            axes.text(predicted, truth, text, ha="center", va="center", color=colour, fontsize=size)

    slanted = classes > 4 or max(map(len, names)) > 10
    axes.set_xticks(
        range(classes), names, rotation=45 if slanted else 0, ha="right" if slanted else "center"
    )
    axes.set_yticks(range(classes), names)
    for label in (*axes.get_xticklabels(), *axes.get_yticklabels()):
        # a label may hold dollar signs
        label.set_parse_math(False)
    axes.set_xticks([edge - 0.5 for edge in range(1, classes)], minor=True)
    axes.set_yticks([edge - 0.5 for edge in range(1, classes)], minor=True)
    axes.grid(which="minor", color="white", linewidth=1.5)
    axes.tick_params(which="both", length=0)
    correct, rows = sum(matrix[index][index] for index in range(classes)), sum(totals)
    axes.set(xlabel="predicted", ylabel="truth")
    style_axes(
        axes,
        f"Confusion matrix\n{correct:,} of {rows:,} rows correct ({correct / rows:.1%})",
        has_power=False,
    )
    bar = figure.colorbar(
        image,
        # a scale as high as three quarters of the matrix
        cax=axes.inset_axes((1 + 0.07 / side, 0.12, 0.025, 0.76)),
        ticks=[0, 0.5, 1],
        format=lambda share, _: f"{share:.0%}",
    )
    bar.set_label("share of the row", color=TEXT_COLOR)
    bar.outline.set_visible(False)
    return figure


def plot_predictions(targets: Sequence[float], outputs: Sequence[float]) -> Figure:
    """Draw predicted over true values, with the diagonal on which both agree."""
    figure, [axes] = create_panels([4.5], 4.5)
    low, high = min(*targets, *outputs), max(*targets, *outputs)
    margin = 0.05 * (high - low) or 1.0
    limits = (low - margin, high + margin)
    axes.plot(limits, limits, color="#c0566b", linewidth=1.2, label="prediction = truth")
    # many points are drawn fainter, so that their density shows
    axes.scatter(
        targets,
        outputs,
        s=16,
        color="#2f6fab",
        alpha=0.7 if len(targets) < 300 else 0.25,
        linewidths=0,
    )
    axes.set(xlim=limits, ylim=limits, xlabel="truth", ylabel="predicted", aspect="equal")
    axes.grid(color="#e4e8eb", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.legend(frameon=False, loc="upper left")
    style_axes(axes, f"Predictions of {len(targets):,} rows")
    return figure


def plot_lr_range(
    rates: Sequence[float],
    losses: Sequence[float],
    smoothed: Sequence[float],
    suggested: float | None,
) -> Figure:
    """Draw the losses of a learning-rate range test over the rates, with the rate suggested."""
    figure, [axes] = create_panels([5.6], 3.2)
    axes.plot(rates, losses, color="#a9c3dc", linewidth=0.8, label="loss of the step")
    axes.plot(rates, smoothed, color="#2f6fab", linewidth=1.8, label="smoothed")
    if suggested is not None:
        axes.axvline(suggested, color="#c0566b", linewidth=1.2, label=f"suggested: {suggested:.2g}")
    # what diverges would leave nothing to see of the rest
    finite = [value for value in smoothed if math.isfinite(value)]
    low, high = min(finite), max(finite[0], min(finite))
    axes.set(xscale="log", xlabel="learning rate (model.optim.lr)", ylabel="training loss")
    margin = 0.5 * (high - low) or 0.1
    axes.set_ylim(low - margin / 2, high + margin)
    axes.grid(color="#e4e8eb", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.legend(frameon=False, loc="lower left")
    style_axes(axes, f"Learning-rate range test, {len(rates)} steps")
    return figure


def create_panels(
    widths: Sequence[float], height: float, *, labels: Sequence[str] = ()
) -> tuple[Figure, list[Axes]]:
    """A figure with axes of these sizes beside each other, in inches.

    Around them is more room than labels take; what stays white is cut off when the figure is saved
    (src/core/pictures.py). So nothing has to be measured in order to lay it out, which would take
    as long as the drawing.

    Args:
        labels: names that stand beside or below the axes, which have room for the longest.
    """
    longest = 0.11 * max(map(len, labels), default=0)
    left, right, top, bottom, gap = 1.2 + longest, 1.4, 1.0, 0.9 + longest, 0.9
    size = (left + sum(widths) + gap * (len(widths) - 1) + right, bottom + height + top)
    figure = Figure(figsize=size, dpi=120)
    panels = []
    for width in widths:
        panels.append(
            figure.add_axes((left / size[0], bottom / size[1], width / size[0], height / size[1]))
        )
        left += width + gap
    return figure, panels


def style_axes(axes: Axes, title: str, *, has_power: bool = True) -> None:
    """Give axes their title and colours.

    Args:
        has_power: whether a power of ten may stand above the upright axis, which takes matplotlib a
            tenth of the time of a drawing to keep the title clear of.
    """
    height = None if has_power else 1.0
    axes.set_title(title, color=TEXT_COLOR, fontsize=11, loc="left", pad=10, y=height)
    axes.tick_params(colors=TEXT_COLOR)
    for axis in (axes.xaxis, axes.yaxis):
        axis.label.set_color(TEXT_COLOR)
    for spine in axes.spines.values():
        spine.set_visible(False)
