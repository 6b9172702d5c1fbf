"""The judgement of a run's predictions on one data split: metrics, tables and plots.

A number that is not defined for the given predictions is left out of `metrics` and is None in a
table; it is never replaced by a stand-in. Names of table columns hold no dots, because the MLflow
UI shows such columns empty.

Shape legend: N rows, C classes.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy
from torchmetrics.functional.classification import (
    binary_auroc,
    binary_average_precision,
    multiclass_accuracy,
    multiclass_auroc,
    multiclass_cohen_kappa,
    multiclass_confusion_matrix,
    multiclass_f1_score,
    multiclass_matthews_corrcoef,
    multiclass_precision,
    multiclass_recall,
    multilabel_exact_match,
    multilabel_f1_score,
    multilabel_precision,
    multilabel_recall,
)
from torchmetrics.functional.regression import (
    mean_absolute_error,
    mean_squared_error,
)

from src.evaluation.entity_report import judge_tags
from src.evaluation.plots import plot_confusion_matrix, plot_predictions
from src.model.head_outputs import choose_ranks
from src.model.metrics.correlation import compute_pearson, compute_spearman, explain_undefined
from src.model.metrics.rank_metrics import compute_expected_ranks

if TYPE_CHECKING:
    from src.core.pictures import Picture


class Predictions(NamedTuple):
    """A model's answer for each row, and the truth."""

    rows: Tensor  # [N] int64, ids of the rows in the data set
    targets: Tensor  # [N], class indices or values, or [N, C], 1 for each label that a row has
    outputs: Tensor  # [N, C] probabilities of the classes, or [N] values


class EvaluationReport(NamedTuple):
    """A judgement, ready to be stored."""

    metrics: dict[str, float]
    # each a dict of columns
    tables: dict[str, dict[str, list]]
    figures: dict[str, "Picture"]


def build_report(
    kind: str,
    answers: tuple[Tensor, Tensor, Tensor] | None,
    label_names: Sequence[str],
    *,
    head: str = "sequence",
) -> EvaluationReport | None:
    """The report for an objective of this kind; None if it keeps no answers.

    Args:
        answers: the fields of `Predictions`.
        head: of the model; `ordinal` judges classes that are in an order.
    """
    if answers is None:
        return None
    predictions = Predictions(*answers)
    if kind == "token_classification":
        metrics, tables = judge_tags(*answers, label_names)
        return EvaluationReport(metrics, tables, {})
    if kind == "regression":
        return build_regression_report(predictions)
    if kind == "multi_label":
        return build_multi_label_report(predictions, label_names)
    return build_classification_report(predictions, label_names, ordered=head == "ordinal")


def build_classification_report(
    predictions: Predictions, label_names: Sequence[str], *, ordered: bool = False
) -> EvaluationReport:
    """Judge class probabilities.

    Macro averages run over the classes that occur among the targets or the predictions; a quotient
    without cases (the precision of a class that was never predicted) counts as 0 in them, as in
    scikit-learn. `auroc` is the area for class 1 of two classes, and else the mean over all classes
    of one class against the rest; it is left out unless the targets hold every class. `matthews` is
    the correlation of predicted and true classes (Matthews, 1975), left out where either are all
    equal. `support` is N. Among equal probabilities, the class with the lower index is predicted.

    Of classes that are `ordered`, the median is predicted, and there are `mae` (in ranks),
    `quadratic_kappa` (Cohen's, 1968) and `spearman` (of the expected rank), left out where they are
    not defined.

    Raises ValueError if rows, targets and outputs do not fit together, if they are empty, or if the
    outputs are no probabilities.
    """
    classes = len(label_names)
    rows, targets, outputs = _validate_probabilities(predictions, classes)
    predicted = choose_ranks(outputs) if ordered else outputs.argmax(1)

    def compute(metric: Callable[..., Tensor], average: str) -> Tensor:
        return metric(predicted, targets, num_classes=classes, average=average)

    metrics = {
        "accuracy": compute(multiclass_accuracy, "micro").item(),
        "precision_macro": compute(multiclass_precision, "macro").item(),
        "recall_macro": compute(multiclass_recall, "macro").item(),
        "f1_macro": compute(multiclass_f1_score, "macro").item(),
        "support": float(len(rows)),
    }
    if len(targets.unique()) == classes:
        area = (
            binary_auroc(outputs[:, 1], targets)
            if classes == 2
            else multiclass_auroc(outputs, targets, classes)
        )
        metrics["auroc"] = area.item()
    if len(targets.unique()) > 1 and len(predicted.unique()) > 1:
        metrics["matthews"] = multiclass_matthews_corrcoef(predicted, targets, classes).item()
    if ordered:
        metrics |= _judge_ranks(predicted, targets, outputs)

    matrix = multiclass_confusion_matrix(predicted, targets, num_classes=classes)
    occurs = (matrix.sum(0) + matrix.sum(1) > 0).tolist()

    def values_per_class(metric: Callable[..., Tensor]) -> list[float | None]:
        values = compute(metric, "none").tolist()
        return [value if seen else None for value, seen in zip(values, occurs, strict=True)]

    names = _make_column_names(label_names)
    tables: dict[str, dict[str, list]] = {
        "confusion_matrix": {
            "truth": list(label_names),
            **_label_columns("predicted", names, matrix),
        },
        "per_class": {
            "label": list(label_names),
            "precision": values_per_class(multiclass_precision),
            "recall": values_per_class(multiclass_recall),
            "f1": values_per_class(multiclass_f1_score),
            "support": matrix.sum(1).tolist(),
        },
        "predictions": {
            "row": rows.tolist(),
            "label": [label_names[index] for index in targets.tolist()],
            "predicted": [label_names[index] for index in predicted.tolist()],
            # by which the rows are sorted that the model has most wrong
            "loss": _true_class_losses(outputs, targets),
            **_label_columns("probability", names, outputs),
        },
    }
    figure = plot_confusion_matrix(matrix.tolist(), label_names)
    return EvaluationReport(metrics, tables, {"confusion_matrix": figure})


def _judge_ranks(predicted: Tensor, targets: Tensor, outputs: Tensor) -> dict[str, float]:
    """The metrics of classes in an order; predicted and right ones are ranks [N]."""
    metrics = {"mae": (predicted - targets).abs().double().mean().item()}
    kappa = multiclass_cohen_kappa(predicted, targets, outputs.shape[1], weights="quadratic")
    if kappa.isfinite():
        metrics["quadratic_kappa"] = kappa.item()
    expected = compute_expected_ranks(outputs.log())
    if explain_undefined(expected, targets.double()) is None:
        metrics["spearman"] = compute_spearman(expected, targets).item()
    return metrics


def build_multi_label_report(
    predictions: Predictions, label_names: Sequence[str]
) -> EvaluationReport:
    """Judge the probabilities of labels of which a row may have any number; those above 0.5 are
    predicted.

    Micro averages run over all decisions, macro averages over the labels; a quotient without cases
    counts as 0, as in scikit-learn. `subset_accuracy` is the share of rows whose labels are all
    right. `average_precision` is the mean over the labels that some row has, and is left out where
    no row has any. `support` is N.

    Raises ValueError if rows, targets and outputs do not fit together, if they are empty, or if the
    outputs are no probabilities.
    """
    classes = len(label_names)
    rows, targets, outputs = _validate_on_cpu(predictions)
    if targets.shape != outputs.shape or outputs.shape[1:] != (classes,):
        raise ValueError(
            f"expected targets and outputs of shape [N, {classes}], found {list(targets.shape)} "
            f"and {list(outputs.shape)}"
        )
    if outputs.min() < 0 or outputs.max() > 1:
        raise ValueError("outputs are no probabilities: expected values from 0 to 1")
    targets = targets.long()
    predicted = (outputs > 0.5).long()

    def compute(metric: Callable[..., Tensor], average: str) -> Tensor:
        return metric(predicted, targets, num_labels=classes, average=average)

    metrics = {
        f"{name}_{average}": compute(metric, average).item()
        for average in ("micro", "macro")
        for name, metric in (
            ("precision", multilabel_precision),
            ("recall", multilabel_recall),
            ("f1", multilabel_f1_score),
        )
    }
    metrics["subset_accuracy"] = multilabel_exact_match(predicted, targets, classes).item()
    metrics["support"] = float(len(rows))
    areas = [
        binary_average_precision(outputs[:, index], targets[:, index]).item()
        if targets[:, index].any()
        else None
        for index in range(classes)
    ]
    if known := [area for area in areas if area is not None]:
        metrics["average_precision"] = sum(known) / len(known)
    occurs = ((targets + predicted).sum(0) > 0).tolist()

    def values_per_label(metric: Callable[..., Tensor]) -> list[float | None]:
        values = compute(metric, "none").tolist()
        return [value if seen else None for value, seen in zip(values, occurs, strict=True)]

    tables: dict[str, dict[str, list]] = {
        "per_class": {
            "label": list(label_names),
            "precision": values_per_label(multilabel_precision),
            "recall": values_per_label(multilabel_recall),
            "f1": values_per_label(multilabel_f1_score),
            "average_precision": areas,
            "support": targets.sum(0).tolist(),
            "predicted": predicted.sum(0).tolist(),
        },
        "predictions": {
            "row": rows.tolist(),
            "label": _name_labels(targets, label_names),
            "predicted": _name_labels(predicted, label_names),
            # as in training: the mean over a row's labels
            "loss": binary_cross_entropy(outputs, targets.float(), reduction="none")
            .mean(1)
            .tolist(),
            **_label_columns("probability", _make_column_names(label_names), outputs),
        },
    }
    return EvaluationReport(metrics, tables, {})


def _name_labels(table: Tensor, label_names: Sequence[str]) -> list[str]:
    """The labels that each row of [N, C] has, joined by commas."""
    return [
        ", ".join(name for name, has in zip(label_names, row, strict=True) if has)
        for row in table.tolist()
    ]


def build_regression_report(predictions: Predictions) -> EvaluationReport:
    """Judge values by `pearson` and `spearman` (from -1 to 1), `mae` and `rmse` (in the unit of the
    targets), and `support`, the number of rows.

    The correlations are left out if all predictions or all targets are equal, because then none is
    defined. Raises ValueError if rows, targets and outputs do not fit together, are empty or not
    finite.
    """
    rows, targets, outputs = _validate_on_cpu(predictions)
    if outputs.ndim != 1 or targets.ndim != 1:
        raise ValueError(f"expected outputs of shape [N], found {list(outputs.shape)}")
    targets, outputs = targets.double(), outputs.double()
    metrics = {
        "mae": mean_absolute_error(outputs, targets).item(),
        "rmse": mean_squared_error(outputs, targets, squared=False).item(),
        "support": float(len(rows)),
    }
    if explain_undefined(outputs, targets) is None:
        metrics["pearson"] = compute_pearson(outputs, targets).item()
        metrics["spearman"] = compute_spearman(outputs, targets).item()
    table = {
        "row": rows.tolist(),
        "label": targets.tolist(),
        "predicted": outputs.tolist(),
        "squared_error": (outputs - targets).square().tolist(),
    }
    figure = plot_predictions(targets.tolist(), outputs.tolist())
    return EvaluationReport(metrics, {"predictions": table}, {"scatter": figure})


def _validate_probabilities(
    predictions: Predictions, classes: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Row ids, class indices [N] and probabilities [N, C]; raises ValueError if they are none."""
    rows, targets, outputs = _validate_on_cpu(predictions)
    if classes < 2 or targets.ndim != 1 or outputs.shape[1:] != (classes,):
        raise ValueError(
            f"expected outputs of shape [N, {classes}] for {classes} labels (at least 2), found "
            f"{list(outputs.shape)}"
        )
    targets = targets.long()
    if targets.min() < 0 or targets.max() >= classes:
        lowest, highest = int(targets.min()), int(targets.max())
        raise ValueError(
            f"targets run from {lowest} to {highest}, the {classes} labels from 0 to {classes - 1}"
        )
    # a softmax in low precision misses a sum of 1 by less than 1 %, logits miss it by far
    if outputs.min() < 0 or (outputs.sum(1) - 1).abs().max() > 0.02:
        raise ValueError(
            "outputs are no probabilities: each row must be at least 0 everywhere and sum to 1"
        )
    # torchmetrics applies a softmax of its own to anything above 1, even if rounding put it there
    return rows, targets, outputs.clamp(0, 1)


def _validate_on_cpu(predictions: Predictions) -> tuple[Tensor, Tensor, Tensor]:
    """Row ids, targets and outputs (float32); raises ValueError if they do not fit together."""
    rows, targets, outputs = (values.detach().cpu() for values in predictions)
    if rows.ndim != 1 or not len(rows) == len(targets) == len(outputs) > 0:
        shapes = ", ".join(
            f"{name} {list(values.shape)}" for name, values in predictions._asdict().items()
        )
        raise ValueError(
            f"expected at least one row, and as many targets and outputs as rows, found {shapes}"
        )
    if not (torch.isfinite(outputs).all() and torch.isfinite(targets).all()):
        raise ValueError("targets or outputs are not finite")
    return rows, targets, outputs.float()


def _true_class_losses(outputs: Tensor, targets: Tensor) -> list[float]:
    """The negative logarithm of the probability [N, C] that each row's own class [N] has."""
    chosen = outputs.gather(1, targets[:, None]).squeeze(1)
    return chosen.clamp(min=torch.finfo(chosen.dtype).tiny).log().neg().tolist()


def _label_columns(prefix: str, names: list[str], values: Tensor) -> dict[str, list]:
    """The columns of `values` [..., C], each named after its label."""
    columns = zip(names, values.T.tolist(), strict=True)
    return {f"{prefix}_{name}": column for name, column in columns}


def _make_column_names(label_names: Sequence[str]) -> list[str]:
    """Label names without dots, made different by their index where they were alike."""
    names: list[str] = []
    for index, label in enumerate(label_names):
        name = str(label).replace(".", "_")
        names.append(name if name not in names else f"{name}_{index}")
    return names
