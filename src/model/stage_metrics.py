"""The metrics of validation or of the test: updated with batches, computed once for all of them."""

import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

import torch
from torch import nn
from torchmetrics import MeanMetric, Metric

from src.core.failures import describe_exception
from src.core.user_errors import UserError
from src.model.metrics.metric_conditions import build_condition
from src.model.objectives import Objective, ObjectiveOutput

if TYPE_CHECKING:
    from src.model.model_config import MetricConfig

Stage = Literal["val", "test"]
SPLITS: dict[Stage, str] = {"val": "validation", "test": "test"}


def build_loss_metric() -> MeanMetric:
    """A mean weighted by counts, in which NaN stays NaN. The default `nan_strategy` drops NaN, and
    "disable" ignores the weights (torchmetrics 1.9).
    """
    return MeanMetric(nan_strategy=math.nan)


class StageMetrics(nn.Module):
    """The loss, the metrics of the objective and those of the config, for one stage.

    Args:
        extra: metrics of the config by name.
        num_labels: the number of labels, or the size of the vocabulary.
    """

    def __init__(
        self,
        stage: Stage,
        objective: Objective,
        extra: "Mapping[str, MetricConfig]",
        num_labels: int,
    ) -> None:
        super().__init__()
        self.stage = stage
        own = {"loss": build_loss_metric(), **objective.build_metrics(num_labels)}
        self._own_names = set(own)
        built = {name: extra[name].build() for name in extra}
        self._metrics = nn.ModuleDict({**own, **built})
        conditions = {name: build_condition(metric) for name, metric in built.items()}
        self._conditions = nn.ModuleDict({name: one for name, one in conditions.items() if one})

    @property
    def by_name(self) -> dict[str, Metric]:
        """The metrics by name."""
        return dict(self._metrics.items())  # type: ignore[arg-type]

    def use_double_precision(self) -> None:
        """Add up in double precision, but for the metrics of the config; called on the device."""
        for name, metric in self.by_name.items():
            # a Mac's GPU has single precision only
            if name in self._own_names and metric.device.type != "mps":
                metric.set_dtype(torch.float64)

    def update(self, result: ObjectiveOutput) -> None:
        """Take in a batch.

        Raises:
            UserError: a metric of the config cannot take what the objective gives.
        """
        # There is nothing to measure, and torchmetrics does not accept an empty batch. Words that
        # have no token are no targets of the loss, but they are measured.
        if not len(result.targets):
            return
        for name, metric in self.by_name.items():
            if name == "loss":
                metric.update(result.loss, weight=result.num_targets)
            else:
                shapes = f"{[*result.outputs.shape]} and {[*result.targets.shape]}"
                with self._explain_errors(name, f"outputs and targets of shapes {shapes}"):
                    metric.update(result.outputs, result.targets)
                    if (condition := self._find_condition(name)) is not None:
                        condition.update(result.targets)

    def compute(self) -> dict[str, float]:
        """The values over all batches of all ranks. NaN stands for what is not defined.

        Raises:
            UserError: there was nothing to measure.
        """
        with warnings.catch_warnings():
            # of batches without targets
            warnings.filterwarnings("ignore", message=".* was called before the ``update``")
            values = {name: self._compute_one(name) for name in self.by_name}
        loss = self.by_name["loss"]
        if math.isnan(values["loss"]):
            with loss.sync_context():
                count = float(loss.weight)  # type: ignore[arg-type]
            if count == 0:
                split = SPLITS[self.stage]
                raise UserError(
                    f"nothing in the rows of the {split} split is to be predicted, so there is no "
                    "loss to measure",
                    hint=f"more rows would help (data.source.{split})",
                )
        return values

    def reset(self) -> None:
        """Forget all batches."""
        for name, metric in self.by_name.items():
            metric.reset()
            if (condition := self._find_condition(name)) is not None:
                condition.reset()

    def explain_undefined(self, name: str, value: float) -> str:
        """Why a metric has a value that is not finite."""
        reason = getattr(self.by_name.get(name), "undefined_reason", None)
        if reason is not None:
            return str(reason)
        return "it is not defined here" if math.isnan(value) else "it is too large for a number"

    def _find_condition(self, name: str) -> Metric | None:
        return dict(self._conditions.items()).get(name)  # type: ignore[return-value]

    def _compute_one(self, name: str) -> float:
        metric = self.by_name[name]
        condition = self._find_condition(name)
        if condition is not None and (reason := condition.compute()):
            metric.undefined_reason = reason
            return math.nan
        try:
            value = metric.compute()
        except ValueError as error:
            if name in self._own_names:
                raise
            # such as one that needs two rows
            metric.undefined_reason = describe_exception(error)
            return math.nan
        with self._explain_errors(name, "its value, where a single number is expected"):
            return float(value)

    @contextmanager
    def _explain_errors(self, name: str, what: str) -> Iterator[None]:
        """Have the error of a metric of the config say which one it is, and what it was about."""
        try:
            yield
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, TypeError, ValueError) as error:
            if name in self._own_names:
                raise
            raise UserError(
                f"{what}: {describe_exception(error)}", key=f"model.metrics.{name}"
            ) from error
