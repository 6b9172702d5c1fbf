"""Thresholds for a named aim: above which probability a label is predicted, chosen on the rows of a
validation.

A threshold that was chosen on few rows is itself uncertain, and the figures on these rows are too
good: what it is worth is what the test says.

Shape legend: N rows, C labels.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from src.evaluation.report_config import parse_aim
from src.model.decision_rule import DEFAULT_THRESHOLD

# Passes over all labels of more than two.
_MOST_PASSES = 5


class ThresholdChoice(NamedTuple):
    """Thresholds [C] as `DecisionRule` has them, and the labels for which the aim is out of reach,
    by their index; theirs is the default one.
    """

    thresholds: tuple[float, ...]
    unreached: tuple[int, ...]


def choose_thresholds(probabilities: Tensor, targets: Tensor, aim: str) -> ThresholdChoice:
    """The thresholds with which the aim is best reached on these rows.

    Where a row may have several labels, each is judged by itself. Of two labels the second one is
    judged. Of more, the mean over all labels is raised, label by label.

    Args:
        probabilities: [N, C].
        targets: [N] class indices, or [N, C] of 0 and 1.
        aim: as `ReportConfig.threshold_aim`.
    """
    if targets.ndim == 2:
        pairs = zip(probabilities.T, targets.T, strict=True)
        chosen = [choose_threshold(scores, truth > 0.5, aim) for scores, truth in pairs]
        return _join_choices(chosen)
    if probabilities.shape[1] == 2:
        chosen = [choose_threshold(probabilities[:, 1], targets == 1, aim)]
        [threshold], unreached = _join_choices(chosen)
        return ThresholdChoice((1 - threshold, threshold), tuple(1 for _ in unreached))
    return ThresholdChoice(_choose_for_classes(probabilities, targets, aim), ())


def _join_choices(chosen: list[float | None]) -> ThresholdChoice:
    return ThresholdChoice(
        tuple(DEFAULT_THRESHOLD if number is None else number for number in chosen),
        tuple(index for index, number in enumerate(chosen) if number is None),
    )


def choose_threshold(scores: Tensor, truth: Tensor, aim: str) -> float | None:
    """The threshold of one label, of whose rows those above it are predicted; None if none reaches
    the aim.

    Thresholds lie halfway between two scores. Among equally good ones, the nearest to 0.5 is
    taken.

    Args:
        scores: [N] probabilities.
        truth: [N] whether each row has the label.
    """
    kind, number = parse_aim(aim)
    order = scores.argsort(descending=True)
    ordered, hits = scores[order].double(), truth[order].long().cumsum(0)
    positives, total = int(hits[-1]), len(hits)
    # after which rows a threshold fits: not between two of equal score
    ends = (ordered[:-1] != ordered[1:]).nonzero()[:, 0]
    if not positives or not len(ends):
        return None
    right, said = hits[ends].double(), (ends + 1).double()
    thresholds = (ordered[ends] + ordered[ends + 1]) / 2
    recall = right / positives
    if kind == "f":
        weight = number**2
        value = (1 + weight) * right / (weight * positives + said)
    elif kind == "precision":
        # only the recall counts, where the precision is high enough
        value = torch.where(right / said >= number, recall, -torch.inf)
    else:
        if positives == total:
            return None
        value = (recall + 1 - (said - right) / (total - positives)) / 2
    best = value.max()
    if not torch.isfinite(best) or best == 0:
        return None
    equal = thresholds[value >= best - 1e-12]
    return float(equal[(equal - DEFAULT_THRESHOLD).abs().argmin()])


def _choose_for_classes(probabilities: Tensor, targets: Tensor, aim: str) -> tuple[float, ...]:
    """Thresholds of more than two labels of which a row has one: coordinate ascent from equal ones,
    which predict the likeliest label.
    """
    classes = probabilities.shape[1]
    thresholds = torch.full((classes,), 1 / classes, dtype=torch.float64)
    scores = probabilities.double()

    def measure(candidate: Tensor) -> float:
        predicted = (scores / candidate).argmax(1)
        return _measure_mean(predicted, targets, classes, aim)

    best = measure(thresholds)
    for _ in range(_MOST_PASSES):
        before = best
        for index in range(classes):
            for factor in (0.5, 0.7, 0.85, 0.95, 1.05, 1.2, 1.4, 2.0):
                candidate = thresholds.clone()
                candidate[index] = min(float(candidate[index]) * factor, 1.0)
                value = measure(candidate)
                if value > best + 1e-9:
                    best, thresholds = value, candidate
        if best == before:
            break
    return tuple(thresholds.tolist())


def _measure_mean(predicted: Tensor, targets: Tensor, classes: int, aim: str) -> float:
    """The mean F-beta or recall over the labels that occur."""
    kind, number = parse_aim(aim)
    right = torch.bincount(targets[predicted == targets], minlength=classes).double()
    truths = torch.bincount(targets, minlength=classes).double()
    said = torch.bincount(predicted, minlength=classes).double()
    if kind == "f":
        weight = number**2
        known = truths + said > 0
        values = (1 + weight) * right[known] / (weight * truths + said)[known]
    else:
        known = truths > 0
        values = right[known] / truths[known]
    return values.mean().item()
