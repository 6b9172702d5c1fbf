"""The node `callbacks.reference`: simple models beside every model of whole texts, so that nobody
takes a result for a good one that a linear model reaches too.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from src.core.printing import print_line
from src.core.validation import validate_init

if TYPE_CHECKING:
    from lightning.pytorch import Callback

    from src.core.dataset_info import Task
    from src.data.datamodule import TextDataModule

# The version of what is kept: raise it when the same rows would give other numbers.
_VERSION = 1


class _TaskLines(NamedTuple):
    """How the lines of a task are called and compared.

    Attributes:
        metric: of the lines, by which a run is compared with them.
        constant, linear: the two lines in words; the first has `constant_name` in metrics.
    """

    metric: str
    constant: str
    linear: str
    constant_name: str = "majority"


_TASK_LINES = {
    "classification": _TaskLines(
        "accuracy", "most frequent class", "logistic regression on TF-IDF"
    ),
    "multi_label": _TaskLines("f1_macro", "most frequent labels", "logistic regressions on TF-IDF"),
    "regression": _TaskLines(
        "rmse", "mean of the training rows", "ridge regression on TF-IDF", "mean"
    ),
}


@validate_init
@dataclass(frozen=True, kw_only=True)
class ReferenceLines:
    """Logs how well simple models do on the same rows, as `reference/NAME/test/METRIC`, for runs
    whose texts have classes, several labels or numbers. They are computed once for the same rows
    and kept in `data.cache`.

    Args:
        models: `linear` for a constant answer (the most frequent class or labels of the training
            rows, or their mean) and for logistic or ridge regression on TF-IDF features of the
            tokens; `majority` for the first of these alone.
    """

    models: Literal["linear", "majority"] = "linear"

    def build(self, folder: Path, hooks: object = None) -> "list[Callback]":
        """A callback that acts when the run is judged.

        Args:
            folder: of checkpoints, not used.
            hooks: to the run's record, not used.
        """
        from lightning.pytorch.callbacks import LambdaCallback

        def log_with_test(trainer: Any, module: Any) -> None:
            self._log(trainer, module, "test")

        def log_without_test(trainer: Any, module: Any) -> None:
            if "test" not in trainer.datamodule.token_stores:
                self._log(trainer, module, "val")

        return [LambdaCallback(on_test_end=log_with_test, on_fit_end=log_without_test)]

    def _log(self, trainer: Any, module: Any, split: str) -> None:
        task = module.objective.kind
        if task not in _TASK_LINES or not trainer.is_global_zero:
            return
        lines = _load_or_score(trainer.datamodule, self.models, task)
        for logger in trainer.loggers:
            metrics = {
                f"reference/{name}/{metric}": value
                for name, line in lines.items()
                for metric, value in line["metrics"].items()
            }
            logger.log_metrics(metrics, step=trainer.global_step)
        metric = _TASK_LINES[task].metric
        # the loss of regression, as it is measured, is the mean of squared errors
        own_name = "loss" if metric == "rmse" else metric
        reached = trainer.callback_metrics.get(f"{split}/{own_name}")
        if reached is not None:
            reached = math.sqrt(reached) if metric == "rmse" else float(reached)
        print_line(_describe(lines, task, split, reached))


def _load_or_score(
    datamodule: "TextDataModule", models: str, task: "Task"
) -> dict[str, dict[str, Any]]:
    """The reference lines of the data by their names, each with `metrics` and `rows`."""
    stores, info = datamodule.token_stores, datamodule.dataset_info
    tokens = str(stores["train"].folder.parent.name)
    key = hashlib.sha256(json.dumps([_VERSION, models, tokens]).encode()).hexdigest()

    def build(folder: Path) -> None:
        from src.evaluation.linear_model import score_constant, score_linear_model

        num_labels = len(info.label_names)
        lines = {_TASK_LINES[task].constant_name: score_constant(stores, num_labels, task)}
        if models == "linear":
            linear = score_linear_model(stores, num_labels, info.special_ids, task)
            lines |= {} if linear is None else {"linear": linear}
        content = {name: line._asdict() for name, line in lines.items()}
        (folder / "lines.json").write_text(json.dumps(content), encoding="utf-8")

    folder = datamodule.cache.get_or_build("reference", key, build)
    lines: dict[str, dict[str, Any]] = json.loads((folder / "lines.json").read_text("utf-8"))
    return lines


def _describe(
    lines: Mapping[str, Mapping[str, Any]], task: str, split: str, reached: float | None
) -> str:
    """The lines in words, and whether the model has passed them."""
    spoken = _TASK_LINES[task]
    metric = f"{split}/{spoken.metric}"
    words = {spoken.constant_name: spoken.constant, "linear": spoken.linear}
    scores = {
        words[name]: line["metrics"][metric]
        for name, line in lines.items()
        if metric in line["metrics"]
    }
    text = f"reference {metric}: " + ", ".join(
        f"{name} {score:.4g}" for name, score in scores.items()
    )
    if reached is None or not scores:
        return text
    # of errors less is better
    is_error = spoken.metric == "rmse"
    best = min(scores.values()) if is_error else max(scores.values())
    if (reached < best) if is_error else (reached > best):
        return text
    return f"{text}\n  this model is not better: {metric} {reached:.4g}"
