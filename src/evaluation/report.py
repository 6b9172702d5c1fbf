"""What a run's predictions are worth: metrics, tables and pictures of one data split.

Shape legend: N rows, C classes.
A number that is not defined for the given predictions is left out of `metrics` and is None in a table: it is never
replaced by a stand-in. Table columns hold no dots, because the MLflow UI shows such columns empty.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from matplotlib.figure import Figure
from torch import Tensor
from torchmetrics.functional.classification import (
    binary_auroc,
    multiclass_accuracy,
    multiclass_auroc,
    multiclass_confusion_matrix,
    multiclass_f1_score,
    multiclass_precision,
    multiclass_recall,
)
from torchmetrics.functional.regression import mean_absolute_error, mean_squared_error, pearson_corrcoef

from src.evaluation.figures import confusion_figure, scatter_figure


class Predictions(NamedTuple):
    """What a model said of each row, and what is true."""

    rows: Tensor  # [N] int64, row ids of the data set
    targets: Tensor  # [N], class indices or values
    outputs: Tensor  # [N, C] probabilities of the classes, or [N] values


class Report(NamedTuple):
    """A judgement, ready to be stored: scalars by name, tables as columns, matplotlib figures."""

    metrics: dict[str, float]
    tables: dict[str, dict[str, list]]
    figures: dict[str, Figure]


def report(kind: str, answers: tuple[Tensor, Tensor, Tensor] | None, label_names: Sequence[str]) -> Report | None:
    """The report that goes with an objective's kind; None where no answers were filed."""
    if answers is None:
        return None
    predictions = Predictions(*answers)
    return regression_report(predictions) if kind == "regression" else classification_report(predictions, label_names)


def classification_report(predictions: Predictions, label_names: Sequence[str]) -> Report:
    """Judge class probabilities.

    Macro averages run over the classes that occur in the targets or among the predicted ones; a quotient without cases
    (the precision of a class that was never predicted) counts as 0 in them, as in scikit-learn. `auroc` is the area
    for class 1 of two classes, else the mean over the classes of one against the rest; it is left out unless the
    targets hold every class. `support` is N. Equal probabilities go to the class with the lower index.

    Raises ValueError where rows, targets and outputs do not fit together, are empty, or are no probabilities.
    """
    rows, targets, outputs = _on_cpu(predictions)
    classes = len(label_names)
    if classes < 2 or outputs.ndim != 2 or outputs.shape[1] != classes:
        raise ValueError(
            f"expected outputs of shape [N, {classes}] for {classes} labels (at least 2), found {list(outputs.shape)}"
        )
    targets = targets.long()
    if targets.min() < 0 or targets.max() >= classes:
        lowest, highest = int(targets.min()), int(targets.max())
        raise ValueError(f"targets run from {lowest} to {highest}, the {classes} labels from 0 to {classes - 1}")
    # low-precision softmaxes miss a sum of 1 by less than 1 %; logits taken for probabilities miss it by far
    if outputs.min() < 0 or (outputs.sum(1) - 1).abs().max() > 0.02:
        raise ValueError("outputs are no probabilities: each row must be at least 0 everywhere and sum to 1")
    # torchmetrics would apply a softmax of its own to anything above 1, be it by rounding
    outputs = outputs.clamp(0, 1)
    predicted = outputs.argmax(1)

    def score(metric: Callable[..., Tensor], average: str) -> Tensor:
        return metric(predicted, targets, num_classes=classes, average=average)

    metrics = {
        "accuracy": score(multiclass_accuracy, "micro").item(),
        "precision_macro": score(multiclass_precision, "macro").item(),
        "recall_macro": score(multiclass_recall, "macro").item(),
        "f1_macro": score(multiclass_f1_score, "macro").item(),
        "support": float(len(rows)),
    }
    if len(targets.unique()) == classes:
        area = binary_auroc(outputs[:, 1], targets) if classes == 2 else multiclass_auroc(outputs, targets, classes)
        metrics["auroc"] = area.item()

    matrix = multiclass_confusion_matrix(predicted, targets, num_classes=classes)
    occurs = matrix.sum(0) + matrix.sum(1) > 0

    def column(metric: Callable[..., Tensor]) -> list[float | None]:
        return [value if seen else None for value, seen in zip(score(metric, "none").tolist(), occurs, strict=True)]

    names = _column_names(label_names)
    tables: dict[str, dict[str, list]] = {
        "confusion_matrix": {
            "truth": list(label_names),
            **{f"predicted_{name}": counts for name, counts in zip(names, matrix.T.tolist(), strict=True)},
        },
        "per_class": {
            "label": list(label_names),
            "precision": column(multiclass_precision),
            "recall": column(multiclass_recall),
            "f1": column(multiclass_f1_score),
            "support": matrix.sum(1).tolist(),
        },
        "predictions": {
            "row": rows.tolist(),
            "label": [label_names[index] for index in targets.tolist()],
            "predicted": [label_names[index] for index in predicted.tolist()],
            **{f"probability_{name}": values for name, values in zip(names, outputs.T.tolist(), strict=True)},
        },
    }
    return Report(metrics, tables, {"confusion_matrix": confusion_figure(matrix.tolist(), label_names)})


def regression_report(predictions: Predictions) -> Report:
    """Judge values: `pearson`, `spearman` (from -1 to 1), `mae`, `rmse` (in the unit of the targets), `support`.

    The correlations are left out where predictions or targets are all equal, because no correlation is defined there.
    Raises ValueError where rows, targets and outputs do not fit together, are empty or not finite.
    """
    rows, targets, outputs = _on_cpu(predictions)
    if outputs.ndim != 1:
        raise ValueError(f"expected outputs of shape [N], found {list(outputs.shape)}")
    # in single precision torchmetrics calls the variance of a few thousand rows with one outlier too small to use
    targets, outputs = targets.double(), outputs.double()
    metrics = {
        "mae": mean_absolute_error(outputs, targets).item(),
        "rmse": mean_squared_error(outputs, targets, squared=False).item(),
        "support": float(len(rows)),
    }
    if targets.min() < targets.max() and outputs.min() < outputs.max():
        metrics["pearson"] = pearson_corrcoef(outputs, targets).item()
        # torchmetrics' own spearman adds a constant to the denominator: a perfect order of few rows falls short of 1
        metrics["spearman"] = pearson_corrcoef(_ranks(outputs), _ranks(targets)).item()
    table = {"row": rows.tolist(), "label": targets.tolist(), "predicted": outputs.tolist()}
    figure = scatter_figure(targets.tolist(), outputs.tolist())
    return Report(metrics, {"predictions": table}, {"scatter": figure})


def _on_cpu(predictions: Predictions) -> tuple[Tensor, Tensor, Tensor]:
    rows, targets, outputs = (each.detach().cpu() for each in predictions)
    if len(rows) == 0 or rows.shape != targets.shape or len(outputs) != len(rows) or rows.ndim != 1:
        shapes = ", ".join(f"{name} {list(each.shape)}" for name, each in predictions._asdict().items())
        raise ValueError(f"expected at least one row, and as many targets and outputs as rows, found {shapes}")
    if not (torch.isfinite(outputs).all() and torch.isfinite(targets).all()):
        raise ValueError("targets or outputs are not finite")
    return rows, targets, outputs.float()


def _ranks(values: Tensor) -> Tensor:
    """Ranks from 1, equal values share the mean of theirs: [7 5 7] -> [2.5 1 2.5]."""
    _, place, counts = torch.unique(values, return_inverse=True, return_counts=True)
    return (counts.cumsum(0).double() - (counts - 1) / 2)[place]


def _column_names(label_names: Sequence[str]) -> list[str]:
    """Label names without dots, all different."""
    names: list[str] = []
    for index, label in enumerate(label_names):
        name = str(label).replace(".", "_")
        names.append(name if name not in names else f"{name}_{index}")
    return names
