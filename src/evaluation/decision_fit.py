"""Fits a decision rule on the answers to the validation rows, and says what it is worth there.

Shape legend: N rows, C labels.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from torch import Tensor

from src.core.formatting import format_quantity
from src.evaluation.calibration import TemperatureFit, apply_temperature, fit_temperature
from src.evaluation.report_config import ReportConfig
from src.evaluation.thresholds import choose_thresholds
from src.model.decision_rule import DEFAULT_THRESHOLD, DecisionRule


class FittedDecision(NamedTuple):
    """A decision rule, and what it was fitted on.

    Args:
        rows: of the validation.
        temperature: the fit; None if none was asked for.
        unreached: names of labels for which no threshold reaches the aim.
    """

    rule: DecisionRule
    rows: int
    temperature: TemperatureFit | None
    unreached: tuple[str, ...]

    @property
    def metrics(self) -> dict[str, float]:
        """The fit in numbers, by the names under which they are logged."""
        if self.temperature is None:
            return {}
        return {
            "calibration/temperature": self.temperature.temperature,
            "calibration/val/log_loss": self.temperature.loss_before,
            "calibration/val/log_loss_tempered": self.temperature.loss_after,
        }

    def describe(self, label_names: Sequence[str]) -> Iterator[str]:
        """What was fitted, in sentences."""
        rows = format_quantity(self.rows, "validation row")
        if (fit := self.temperature) is not None:
            yield (
                f"no temperature is fitted on {rows}: {fit.reason}"
                if fit.reason
                else f"temperature {fit.temperature:.3g} fitted on {rows}: "
                f"log loss {fit.loss_before:.4g} -> {fit.loss_after:.4g}"
            )
        if self.rule.thresholds is not None:
            pairs = zip(label_names, self.rule.thresholds, strict=True)
            shown = ", ".join(f"{name} {threshold:.3g}" for name, threshold in pairs)
            yield f"thresholds for {self.rule.aim} chosen on {rows}: {shown}"
        if self.unreached:
            yield (
                f"no threshold reaches {self.rule.aim} on the validation rows of "
                f"{', '.join(self.unreached)}: {DEFAULT_THRESHOLD} stays there"
            )


def fit_decision_rule(
    probabilities: Tensor, targets: Tensor, label_names: Sequence[str], config: ReportConfig
) -> FittedDecision:
    """Fit what the config asks for.

    Args:
        probabilities: [N, C] of the validation rows, at temperature 1.
        targets: [N] class indices, or [N, C] of 0 and 1.
    """
    fit, thresholds, unreached = None, None, tuple[int, ...]()
    temperature = 1.0
    if config.temperature:
        fit = fit_temperature(probabilities, targets)
        temperature = fit.temperature
    if config.threshold_aim is not None:
        tempered = apply_temperature(probabilities, temperature, many=targets.ndim == 2)
        thresholds, unreached = choose_thresholds(tempered, targets, config.threshold_aim)
    rule = DecisionRule(
        temperature=temperature, thresholds=thresholds, aim=config.threshold_aim or ""
    )
    names = tuple(label_names[index] for index in unreached)
    return FittedDecision(rule, len(targets), fit, names)
