"""The metrics of validation or of the test: updated with batches, computed once for all of them."""

import math
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

import torch
from torch import nn
from torchmetrics import MeanMetric, Metric

from src.core.user_errors import UserError
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
        self._metrics = nn.ModuleDict({**own, **{name: extra[name].build() for name in extra}})

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
        """Take in a batch."""
        # There is nothing to measure, and torchmetrics does not accept an empty batch.
        if result.num_targets == 0:
            return
        for name, metric in self.by_name.items():
            if name == "loss":
                metric.update(result.loss, weight=result.num_targets)
            else:
                metric.update(result.outputs, result.targets)

    def compute(self) -> dict[str, float]:
        """The values over all batches of all ranks. NaN stands for what is not defined.

        Raises:
            UserError: there was nothing to measure.
        """
        with warnings.catch_warnings():
            # of batches without targets
            warnings.filterwarnings("ignore", message=".* was called before the ``update``")
            values = {name: float(metric.compute()) for name, metric in self.by_name.items()}
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
        for metric in self.by_name.values():
            metric.reset()

    def explain_undefined(self, name: str, value: float) -> str:
        """Why a metric has a value that is not finite."""
        reason = getattr(self.by_name.get(name), "undefined_reason", None)
        if reason is not None:
            return str(reason)
        return "it is not defined here" if math.isnan(value) else "it is too large for a number"
