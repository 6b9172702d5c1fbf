"""The pictures of a report, drawn with matplotlib's objects: no pyplot, so no global state and no window."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK = "#22303c"
LONGEST_NAME = 24  # characters of a label on an axis
MOST_WRITTEN = 40  # classes; above that the cells are too small to write into


def confusion_figure(matrix: Sequence[Sequence[int]], label_names: Sequence[str]) -> Figure:
    """A confusion matrix, rows = truth. Colour and percentage are shares of the row, the other number counts rows."""
    classes = len(label_names)
    side = min(3.2 + 0.5 * classes, 22)  # inches
    figure = Figure(figsize=(side + 0.7, side), layout="constrained", dpi=120)
    axes = figure.add_subplot()
    totals = [sum(row) for row in matrix]
    shares = [[count / max(total, 1) for count in row] for row, total in zip(matrix, totals, strict=True)]
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for truth in range(classes if classes <= MOST_WRITTEN else 0):
        for guess in range(classes):
            count, share = matrix[truth][guess], shares[truth][guess]
            text = f"{count:,}\n{share:.0%}" if count else "0"
            colour = "white" if share > 0.5 else INK if count else "#a9b4bd"
            size = (11 if classes <= 4 else 9) - (len(f"{count:,}") > 5)
            axes.text(guess, truth, text, ha="center", va="center", color=colour, fontsize=size)

    names = [name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…" for name in map(str, label_names)]
    slanted = classes > 4 or max(map(len, names)) > 10
    axes.set_xticks(range(classes), names, rotation=45 if slanted else 0, ha="right" if slanted else "center")
    axes.set_yticks(range(classes), names)
    for label in (*axes.get_xticklabels(), *axes.get_yticklabels()):
        label.set_parse_math(False)  # a label may hold dollar signs
    axes.set_xticks([edge - 0.5 for edge in range(1, classes)], minor=True)
    axes.set_yticks([edge - 0.5 for edge in range(1, classes)], minor=True)
    axes.grid(which="minor", color="white", linewidth=1.5)
    axes.tick_params(which="both", length=0)
    correct, rows = sum(matrix[index][index] for index in range(classes)), sum(totals)
    axes.set(xlabel="predicted", ylabel="truth")
    _dress(axes, f"Confusion matrix\n{correct:,} of {rows:,} rows correct ({correct / rows:.1%})")
    bar = figure.colorbar(
        image, ax=axes, shrink=0.7, aspect=30, pad=0.02, ticks=[0, 0.5, 1], format=lambda share, _: f"{share:.0%}"
    )
    bar.set_label("share of the row", color=INK)
    bar.outline.set_visible(False)
    return figure


def scatter_figure(targets: Sequence[float], outputs: Sequence[float]) -> Figure:
    """Predicted over true values, with the diagonal where both agree."""
    figure = Figure(figsize=(5.6, 5.2), layout="constrained", dpi=120)
    axes = figure.add_subplot()
    low, high = min(*targets, *outputs), max(*targets, *outputs)
    margin = 0.05 * (high - low) or 1.0
    limits = (low - margin, high + margin)
    axes.plot(limits, limits, color="#c0566b", linewidth=1.2, label="prediction = truth")
    # thousands of points: fainter, so that density shows
    axes.scatter(targets, outputs, s=16, color="#2f6fab", alpha=0.7 if len(targets) < 300 else 0.25, linewidths=0)
    axes.set(xlim=limits, ylim=limits, xlabel="truth", ylabel="predicted", aspect="equal")
    axes.grid(color="#e4e8eb", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.legend(frameon=False, loc="upper left")
    _dress(axes, f"Predictions of {len(targets):,} rows")
    return figure


def _dress(axes: Axes, title: str) -> None:
    axes.set_title(title, color=INK, fontsize=11, loc="left", pad=10)
    axes.tick_params(colors=INK)
    axes.xaxis.label.set_color(INK)
    axes.yaxis.label.set_color(INK)
    for spine in axes.spines.values():
        spine.set_visible(False)
