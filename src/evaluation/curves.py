"""Curves over all thresholds: what a label gains and costs (ROC, precision and recall), and what is
won by answering only where the model is sure.

Shape legend: N rows, P points of a curve.
"""

from typing import NamedTuple

import numpy as np

# of a curve that is kept and drawn: more are not seen
_MOST_POINTS = 200
COVERAGES = (1.0, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1)


class LabelCurve(NamedTuple):
    """How one label is found, from the highest threshold to the lowest: all [P].

    Args:
        false_positive_rate: the share of the other rows that are predicted as the label.
        recall: the share of its rows that are.
        precision: the share of predicted rows that have it.
        threshold: rows with at least this probability are predicted.
        area: under the ROC curve.
        average_precision: the mean precision at each row that is found.
    """

    false_positive_rate: np.ndarray
    recall: np.ndarray
    precision: np.ndarray
    threshold: np.ndarray
    area: float
    average_precision: float


class Abstaining(NamedTuple):
    """What answering only the surest rows buys, by the share that is answered: all [P].

    Args:
        coverage: the share of rows that are answered.
        threshold: the least confidence among them.
        accuracy: the share of right ones among them.
        rows: how many they are.
    """

    coverage: np.ndarray
    threshold: np.ndarray
    accuracy: np.ndarray
    rows: np.ndarray


def trace_label(scores: np.ndarray, truth: np.ndarray) -> LabelCurve | None:
    """The curve of one label; None if all rows have it or none.

    Args:
        scores: [N] its probabilities.
        truth: [N] whether the rows have it.
    """
    positives = int(truth.sum())
    if positives in (0, len(truth)):
        return None
    order = np.argsort(-scores, kind="stable")
    ordered, hits = scores[order], np.cumsum(truth[order])
    # a threshold takes all rows of equal score
    ends = np.append(np.flatnonzero(np.diff(ordered)), len(ordered) - 1)
    right, said = hits[ends].astype(float), ends + 1.0
    recall, precision = right / positives, right / said
    rate = (said - right) / (len(truth) - positives)
    area = np.trapezoid(np.append(0.0, recall), np.append(0.0, rate))
    average = (np.diff(recall, prepend=0.0) * precision).sum()
    kept = _thin(len(ends))
    return LabelCurve(
        rate[kept],
        recall[kept],
        precision[kept],
        ordered[ends][kept],
        float(area),
        float(average),
    )


def trace_abstaining(confidence: np.ndarray, right: np.ndarray) -> Abstaining:
    """The rows that are answered, from the surest one to all.

    Args:
        confidence: [N].
        right: [N] whether the answers are.
    """
    order = np.argsort(-confidence, kind="stable")
    rows = np.arange(1, len(order) + 1)
    accuracy = np.cumsum(right[order]) / rows
    kept = _thin(len(order))
    return Abstaining(rows[kept] / len(rows), confidence[order][kept], accuracy[kept], rows[kept])


def tabulate_abstaining(confidence: np.ndarray, right: np.ndarray) -> dict[str, list]:
    """What is answered, and how much of it is right, at some shares of rows."""
    ordered = np.argsort(-confidence, kind="stable")
    hits = np.cumsum(right[ordered])
    sizes = sorted({max(1, round(share * len(ordered))) for share in COVERAGES}, reverse=True)
    return {
        "answered": [size / len(ordered) for size in sizes],
        "rows": sizes,
        "least confidence": [float(confidence[ordered[size - 1]]) for size in sizes],
        "accuracy": [float(hits[size - 1] / size) for size in sizes],
    }


def _thin(count: int) -> np.ndarray:
    """Indices of at most `_MOST_POINTS` of so many points, the first and the last among them."""
    if count <= _MOST_POINTS:
        return np.arange(count)
    return np.unique(np.linspace(0, count - 1, _MOST_POINTS).round().astype(int))
