"""The judgement of probabilities: intervals, curves, calibration, and what thresholds are worth.

Shape legend: N rows, C labels.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from src.evaluation import report_plots as plots
from src.evaluation.calibration import Calibration, apply_temperature, measure_calibration
from src.evaluation.curves import (
    LabelCurve,
    tabulate_abstaining,
    trace_abstaining,
    trace_label,
)
from src.evaluation.intervals import (
    Interval,
    find_confusion_intervals,
    find_f1_interval,
    find_share_interval,
)
from src.evaluation.judgement import Answers, Judgement
from src.evaluation.report import Predictions
from src.evaluation.report_page import Section
from src.model.decision_rule import DecisionRule
from src.model.head_outputs import choose_ranks

_BINNING = (
    "15 bins of equal width; a temperature is fitted on the validation rows, and these figures are "
    "of the test"
)


def judge_classes(
    predictions: Predictions,
    label_names: Sequence[str],
    per_class: Mapping[str, list],
    *,
    ordered: bool,
    rule: DecisionRule,
) -> tuple[Judgement, Answers]:
    """Judge the probabilities of labels of which each row has one.

    Args:
        per_class: the table of that name, to which columns are added.
        ordered: whether the median is predicted.
        rule: what was fitted on validation.
    """
    _, targets, probabilities = predictions
    predicted = choose_ranks(probabilities) if ordered else probabilities.argmax(1)
    matrix = _count_cells(targets, predicted, len(label_names))
    intervals = find_confusion_intervals(matrix)
    values = _measure_matrix(matrix)
    judged = Judgement({"test/balanced_accuracy": values["balanced_accuracy"]}, {}, {}, [])
    judged.tables["intervals"] = _tabulate_intervals(values, intervals.whole)
    judged.sections.append(Section("Result, with intervals of 95 %", table="intervals"))
    _add_curves(
        judged, probabilities, torch.nn.functional.one_hot(targets, len(label_names)), label_names
    )
    areas = judged.tables["per_class"].pop("average_precision")
    judged.tables["per_class"] = {
        **_with_intervals(per_class, intervals.by_class),
        "average_precision": areas,
    }
    judged.sections.append(Section("Confusion matrix", figure="confusion_matrix"))
    confidence = probabilities.gather(1, predicted[:, None])[:, 0].numpy()
    right = (predicted == targets).numpy()
    _add_calibration(judged, probabilities, targets, rule, confidence, right)
    if rule.thresholds is not None:
        tempered = apply_temperature(probabilities, rule.temperature, many=False)
        decided = _count_cells(targets, rule.choose_label(tempered), len(label_names))
        judged.metrics["decision/test/accuracy"] = _measure_matrix(decided)["accuracy"]
        judged.metrics["decision/test/f1_macro"] = _measure_matrix(decided)["f1_macro"]
        _add_decision(judged, matrix, decided, label_names, rule)
    names = [[label_names[index] for index in found.tolist()] for found in (targets, predicted)]
    return judged, Answers(confidence, right, *names)


def judge_labels(
    predictions: Predictions,
    label_names: Sequence[str],
    per_class: Mapping[str, list],
    names: tuple[list[str], list[str]],
    *,
    rule: DecisionRule,
) -> tuple[Judgement, Answers]:
    """Judge the probabilities of labels of which a row may have several.

    Args:
        per_class: the table of that name, to which columns are added.
        names: of the labels that each row has, and of those predicted.
        rule: what was fitted on validation.
    """
    _, targets, probabilities = predictions
    truth, said = targets > 0.5, probabilities > 0.5
    judged = Judgement({}, {}, {}, [])
    _add_curves(judged, probabilities, targets, label_names)
    judged.tables["per_class"] = _with_intervals(per_class, _find_label_intervals(truth, said))
    right = (truth == said).all(1).numpy()
    # a row is as sure as its least sure decision
    confidence = torch.maximum(probabilities, 1 - probabilities).min(1).values.numpy()
    _add_calibration(judged, probabilities, targets, rule, confidence, right)
    if rule.thresholds is not None:
        tempered = apply_temperature(probabilities, rule.temperature, many=True)
        _add_label_decision(judged, truth, said, rule.choose_labels(tempered), label_names, rule)
    return judged, Answers(confidence, right, *names)


def _count_cells(targets: Tensor, predicted: Tensor, classes: int) -> np.ndarray:
    cells = torch.bincount(targets * classes + predicted, minlength=classes**2)
    return cells.reshape(classes, classes).numpy()


def _measure_matrix(matrix: np.ndarray) -> dict[str, float]:
    """What `find_confusion_intervals` has intervals of; NaN where one is not defined."""
    right, truths, said = np.diagonal(matrix), matrix.sum(1), matrix.sum(0)
    total, hits = float(matrix.sum()), float(right.sum())
    there, occurs = truths > 0, truths + said > 0
    spread = (total**2 - (said.astype(float) ** 2).sum()) * (
        total**2 - (truths.astype(float) ** 2).sum()
    )
    agreement = hits * total - float((truths.astype(float) * said).sum())
    return {
        "accuracy": hits / total,
        "balanced_accuracy": float((right[there] / truths[there]).mean()),
        "f1_macro": float((2 * right[occurs] / (truths + said)[occurs]).mean()),
        "matthews": agreement / spread**0.5 if spread > 0 else float("nan"),
    }


def _tabulate_intervals(
    values: Mapping[str, float], intervals: Mapping[str, Interval | None]
) -> dict[str, list]:
    names = [name for name, value in values.items() if np.isfinite(value)]
    ends = [intervals[name] or (None, None) for name in names]
    return {
        "metric": names,
        "value": [values[name] for name in names],
        "low": [low for low, _ in ends],
        "high": [high for _, high in ends],
    }


def _with_intervals(
    table: Mapping[str, list], intervals: Mapping[str, Sequence[Interval | None]]
) -> dict[str, list]:
    """The table per label with the ends of each measure's interval behind it."""
    columns: dict[str, list] = {}
    for name, values in table.items():
        columns[name] = values
        if name in intervals:
            ends = [interval or (None, None) for interval in intervals[name]]
            columns[f"{name}_low"] = [low for low, _ in ends]
            columns[f"{name}_high"] = [high for _, high in ends]
    return columns


def _find_label_intervals(truth: Tensor, said: Tensor) -> dict[str, list[Interval | None]]:
    """Intervals by label, from what each row has and what was said of it [N, C] bool."""
    right = (truth & said).sum(0).tolist()
    truths, saids = truth.sum(0).tolist(), said.sum(0).tolist()
    counts = list(zip(right, truths, saids, strict=True))
    return {
        "precision": [find_share_interval(hits, all_said) for hits, _, all_said in counts],
        "recall": [find_share_interval(hits, has) for hits, has, _ in counts],
        "f1": [find_f1_interval(hits, has + all_said - 2 * hits) for hits, has, all_said in counts],
    }


def _add_curves(
    judged: Judgement, probabilities: Tensor, targets: Tensor, label_names: Sequence[str]
) -> None:
    """Curves of each label [N, C] against the others; of two labels of which a row has one, the
    second alone is drawn.
    """
    scores, truth = probabilities.numpy(), targets.numpy() > 0.5
    found = {
        index: curve
        for index in range(len(label_names))
        if (curve := trace_label(scores[:, index], truth[:, index])) is not None
    }
    judged.tables["per_class"] = {
        "average_precision": [
            found[index].average_precision if index in found else None
            for index in range(len(label_names))
        ]
    }
    judged.sections.append(
        Section("By label", ("precision, recall and F1 with intervals of 95 %",), table="per_class")
    )
    if not found:
        return
    drawn = sorted(found, key=lambda index: -int(truth[:, index].sum()))
    if len(label_names) == 2 and bool((truth.sum(1) == 1).all()):
        drawn = [index for index in drawn if index == 1]
    areas = [found[index].average_precision for index in drawn]
    judged.metrics["test/average_precision"] = float(np.mean(areas))
    kept = drawn[: plots.MOST_CURVES]
    curves = {label_names[index]: found[index] for index in kept}
    judged.tables["curves"] = _tabulate_curves(curves)
    judged.figures["curves"] = plots.plot_curves(curves, len(drawn) - len(kept))
    judged.sections.append(
        Section("ROC, precision and recall over all thresholds", figure="curves")
    )


def _tabulate_curves(curves: Mapping[str, LabelCurve]) -> dict[str, list]:
    columns = ("threshold", "false_positive_rate", "recall", "precision")
    table: dict[str, list] = {"label": []}
    for name, curve in curves.items():
        table["label"] += [name] * len(curve.recall)
        for column in columns:
            table.setdefault(column, []).extend(getattr(curve, column).tolist())
    return table


def _add_calibration(
    judged: Judgement,
    probabilities: Tensor,
    targets: Tensor,
    rule: DecisionRule,
    confidence: np.ndarray,
    right: np.ndarray,
) -> None:
    plain = measure_calibration(probabilities, targets)
    measured: dict[str, Calibration] = {"": plain}
    if rule.temperature != 1.0:
        tempered = apply_temperature(probabilities, rule.temperature, many=targets.ndim == 2)
        measured["_tempered"] = measure_calibration(tempered, targets)
    for end, found in measured.items():
        judged.metrics.update(
            {
                f"calibration/test/error{end}": found.error,
                f"calibration/test/brier{end}": found.brier,
                f"calibration/test/log_loss{end}": found.log_loss,
            }
        )
    judged.tables["calibration"] = {
        "temperature": [1.0, rule.temperature][: len(measured)],
        "expected calibration error": [found.error for found in measured.values()],
        "brier": [found.brier for found in measured.values()],
        "log_loss": [found.log_loss for found in measured.values()],
    }
    judged.tables["reliability"] = {
        "temperature": [
            temperature
            for temperature, found in zip((1.0, rule.temperature), measured.values(), strict=False)
            for _ in found.rows
        ],
        **{
            name: [value for found in measured.values() for value in getattr(found, name)]
            for name in ("low", "high", "rows", "confidence", "right")
        },
    }
    judged.tables["abstaining"] = tabulate_abstaining(confidence, right)
    judged.figures["confidence"] = plots.plot_confidence(
        plain,
        measured.get("_tempered"),
        trace_abstaining(confidence, right),
        temperature=rule.temperature,
        decisions=targets.ndim == 2,
    )
    judged.sections.extend(
        [
            Section("Whether probabilities hold", (_BINNING,), "confidence", "calibration"),
            Section(
                "What not answering the unsure rows buys",
                ("accuracy of the surest rows, and the least confidence among them",),
                table="abstaining",
            ),
        ]
    )


def _add_decision(
    judged: Judgement,
    plain: np.ndarray,
    decided: np.ndarray,
    label_names: Sequence[str],
    rule: DecisionRule,
) -> None:
    rows = []
    for kind, matrix in (("likeliest label", plain), (f"thresholds for {rule.aim}", decided)):
        values = {"decision": kind, **_measure_matrix(matrix)}
        if len(label_names) == 2:
            right, truth, said = matrix[1, 1], matrix[1].sum(), matrix[:, 1].sum()
            values |= {
                f"precision of {label_names[1]}": float(right / said) if said else None,
                f"recall of {label_names[1]}": float(right / truth) if truth else None,
                f"f1 of {label_names[1]}": float(2 * right / (truth + said)),
            }
        rows.append(values)
    judged.tables["decision"] = {name: [row[name] for row in rows] for name in rows[0]}
    _add_decision_section(judged, label_names, rule)


def _add_label_decision(
    judged: Judgement,
    truth: Tensor,
    plain: Tensor,
    decided: Tensor,
    label_names: Sequence[str],
    rule: DecisionRule,
) -> None:
    table: dict[str, list] = {"label": list(label_names), "threshold": list(rule.thresholds or ())}
    # a column's name with a dot in it would reach the store as another
    for end, said in (("at one half", plain), ("at threshold", decided)):
        right = (truth & said).sum(0).double()
        values = (2 * right / (truth.sum(0) + said.sum(0))).tolist()
        table[f"precision {end}"] = _clean((right / said.sum(0)).tolist())
        table[f"recall {end}"] = _clean((right / truth.sum(0)).tolist())
        table[f"f1 {end}"] = _clean(values)
        if end == "at threshold" and (known := _clean(values)):
            numbers = [value for value in known if value is not None]
            judged.metrics["decision/test/f1_macro"] = sum(numbers) / max(1, len(numbers))
    judged.tables["decision"] = table
    _add_decision_section(judged, label_names, rule)


def _add_decision_section(
    judged: Judgement, label_names: Sequence[str], rule: DecisionRule
) -> None:
    lines = (
        str(rule.describe(label_names)),
        "chosen on validation, measured here on the test",
    )
    judged.sections.append(Section("Decision thresholds", lines, table="decision"))


def _clean(values: Sequence[float]) -> list[float | None]:
    return [value if np.isfinite(value) else None for value in values]
