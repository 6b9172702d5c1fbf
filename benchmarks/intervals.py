"""`python -m benchmarks.intervals`: how often intervals of 95 % hold the true value.

Confusion matrices of 200 rows are drawn from models whose accuracy, F1 and others are known, 2,000
of each, with even and with uneven classes. Beside our intervals stand the plain percentiles of a
bootstrap.
"""

import sys
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from benchmarks.setting import write
from src.evaluation import intervals

ROWS, REPETITIONS, RESAMPLES = 200, 2000, 1000
ACCURACIES = (0.7, 0.8, 0.9, 0.95)
# shares of the classes
SHARES = ((0.5, 0.5), (0.8, 0.2), (0.25, 0.25, 0.25, 0.25))
LEAST, MOST = 0.93, 0.97
NAMES = ("accuracy", "balanced_accuracy", "f1_macro", "matthews")
CLASS_NAMES = ("precision", "recall", "f1")


class Coverage(NamedTuple):
    """How often the intervals of one model hold the true value, by what is measured."""

    accuracy: float
    shares: tuple[float, ...]
    ours: dict[str, float]
    percentiles: dict[str, float]


def main() -> int:
    found = [simulate(accuracy, shares) for accuracy in ACCURACIES for shares in SHARES]
    measured = (*NAMES, *CLASS_NAMES)
    lines = [
        "| accuracy | classes | intervals | " + " | ".join(measured) + " |",
        "| ---: | --- | --- |" + " ---: |" * len(measured),
    ]
    for coverage in found:
        shares = ", ".join(f"{share:g}" for share in coverage.shares)
        for kind, values in (("ours", coverage.ours), ("percentiles", coverage.percentiles)):
            cells = " | ".join(f"{values[name]:.3f}" for name in measured)
            lines.append(f"| {coverage.accuracy} | {shares} | {kind} | {cells} |")
    accuracies = [coverage.ours["accuracy"] for coverage in found]
    others = [value for coverage in found for value in coverage.ours.values()]
    good = all(LEAST <= value <= MOST for value in others)
    lines += [
        "",
        f"To reach: {LEAST} to {MOST} by all of ours: {min(others):.3f} to {max(others):.3f}, "
        f"{'reached' if good else 'missed'}. Accuracy alone: {min(accuracies):.3f} to "
        f"{max(accuracies):.3f}.",
        "",
        f"{REPETITIONS:,} matrices of {ROWS} rows for each line. `precision`, `recall` and `f1` "
        "are those of the last class, which is the rarest.",
    ]
    write(
        "intervals",
        "How often intervals of 95 % hold the true value",
        "python -m benchmarks.intervals",
        lines,
    )
    return 0 if good else 1


def simulate(accuracy: float, shares: tuple[float, ...]) -> Coverage:
    """The coverage for a model that is right equally often on every class."""
    classes = len(shares)
    model = np.full((classes, classes), (1 - accuracy) / (classes - 1))
    np.fill_diagonal(model, accuracy)
    model *= np.array(shares)[:, None]
    truth = dict(zip((*NAMES, *CLASS_NAMES), measure(model[None])[0], strict=True))
    generator = np.random.default_rng(1)
    hits = {kind: dict.fromkeys(truth, 0) for kind in ("ours", "percentiles")}
    for matrix in generator.multinomial(ROWS, model.ravel(), size=REPETITIONS):
        table = matrix.reshape(classes, classes)
        plain = generator.multinomial(ROWS, matrix / ROWS, size=RESAMPLES)
        ends = np.nanquantile(measure(plain.reshape(-1, classes, classes)), [0.025, 0.975], axis=0)
        for name, interval in iter_intervals(table):
            hits["ours"][name] += interval is not None and interval[0] <= truth[name] <= interval[1]
        for name, low, high in zip(truth, *ends, strict=True):
            hits["percentiles"][name] += low <= truth[name] <= high
    shared = {
        kind: {name: count / REPETITIONS for name, count in counts.items()}
        for kind, counts in hits.items()
    }
    return Coverage(accuracy, shares, shared["ours"], shared["percentiles"])


def iter_intervals(table: np.ndarray) -> Iterator[tuple[str, intervals.Interval | None]]:
    found = intervals.find_confusion_intervals(table)
    yield from found.whole.items()
    for name in CLASS_NAMES:
        yield name, found.by_class[name][-1]


def measure(tables: np.ndarray) -> np.ndarray:
    """What is measured of tables [T, C, C], in the order of `NAMES` and `CLASS_NAMES` [T, 7]."""
    right = np.einsum("...ii->...i", tables)
    truths, said = tables.sum(-1), tables.sum(-2)
    total, hits = truths.sum(-1), right.sum(-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        precision, recall, f1 = right / said, right / truths, 2 * right / (truths + said)
        spread = (total**2 - (said**2).sum(-1)) * (total**2 - (truths**2).sum(-1))
        matthews = (hits * total - (truths * said).sum(-1)) / np.sqrt(spread)
    return np.stack(
        [
            hits / total,
            np.nanmean(recall, -1),
            np.nanmean(f1, -1),
            matthews,
            precision[:, -1],
            recall[:, -1],
            f1[:, -1],
        ],
        -1,
    )


if __name__ == "__main__":
    sys.exit(main())
