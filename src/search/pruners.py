"""Pruners end a trial early if it does worse than others did after as many validations.

They count validations (1, 2, 3, ...), not optimizer steps, so that trials with different batch
sizes compare.
"""

import math
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from src.core.validation import (
    Bound,
    Fraction,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveInt,
    validate_init,
)

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.study import Study
    from optuna.trial import FrozenTrial

# attributes of a trial: rows of its validation, and the share of its training that is done
VALIDATION_ROWS = "validation_rows"
PROGRESS = "progress"

ReductionFactor = Annotated[int, Bound(least=2)]


@validate_init
@dataclass(frozen=True, kw_only=True)
class Median:
    """Prunes a trial whose best value so far is worse than the median of the values that other
    trials had after as many validations.

    Args:
        startup_trials: how many trials must have finished before any is pruned.
        warmup_validations: how many first validations of each trial are not judged.
        patience: prune a trial only if it has not improved for so many validations; null: at once.
        warmup_share: of its training, in which a trial is not judged.
        tolerance: standard errors of the validation's value (`estimate_standard_error`) by which a
            trial must be worse than the cut; 0: any difference will do.
    """

    name: ClassVar[str] = "median"
    startup_trials: NonNegativeInt = 5
    warmup_validations: NonNegativeInt = 0
    patience: PositiveInt | None = None
    warmup_share: Fraction = 0.0
    tolerance: NonNegativeFloat = 0.0

    def build(self) -> "BasePruner":
        from optuna.pruners import MedianPruner

        pruner = MedianPruner(n_startup_trials=0, n_warmup_steps=self.warmup_validations + 1)
        return _delay_pruning(pruner, self, keeps=0.5)


@validate_init
@dataclass(frozen=True, kw_only=True)
class Halving:
    """Lets the best one in `factor` trials go on at each rung (asynchronous successive halving, Li
    et al. 2018).

    The first rung is after `warmup_validations` + 1 validations, each further one after `factor`
    times as many.

    Args:
        startup_trials: how many trials must have finished before any is pruned.
        patience: prune a trial only if it has not improved for so many validations; null: at once.
        warmup_share: of its training, in which a trial is not judged.
        tolerance: standard errors of the validation's value (`estimate_standard_error`) by which a
            trial must be worse than the cut; 0: any difference will do.
    """

    name: ClassVar[str] = "halving"
    factor: ReductionFactor = 3
    startup_trials: NonNegativeInt = 1
    warmup_validations: NonNegativeInt = 0
    patience: PositiveInt | None = None
    warmup_share: Fraction = 0.0
    tolerance: NonNegativeFloat = 0.0

    def build(self) -> "BasePruner":
        from optuna.pruners import SuccessiveHalvingPruner

        pruner = SuccessiveHalvingPruner(
            min_resource=self.warmup_validations + 1, reduction_factor=self.factor
        )
        return _delay_pruning(pruner, self, keeps=1 / self.factor)


@validate_init
@dataclass(frozen=True, kw_only=True)
class Hyperband:
    """Successive halving in several brackets; each bracket has its first rung later than the one
    before it (Li et al. 2016).

    Args:
        validations: how many a trial has that is not pruned; null: as many as the longest finished
            trial had, and none is pruned until one has finished.
        startup_trials: how many trials must have finished before any is pruned.
        warmup_validations: how many first validations of each trial are not judged.
        patience: prune a trial only if it has not improved for so many validations; null: at once.
        warmup_share: of its training, in which a trial is not judged.
        tolerance: standard errors of the validation's value (`estimate_standard_error`) by which a
            trial must be worse than the cut; 0: any difference will do.
    """

    name: ClassVar[str] = "hyperband"
    factor: ReductionFactor = 3
    validations: PositiveInt | None = None
    startup_trials: NonNegativeInt = 1
    warmup_validations: NonNegativeInt = 0
    patience: PositiveInt | None = None
    warmup_share: Fraction = 0.0
    tolerance: NonNegativeFloat = 0.0

    def build(self) -> "BasePruner":
        from optuna.pruners import HyperbandPruner

        pruner = HyperbandPruner(
            min_resource=self.warmup_validations + 1,
            max_resource="auto" if self.validations is None else self.validations,
            reduction_factor=self.factor,
        )
        return _delay_pruning(pruner, self, keeps=1 / self.factor)


SearchPruner = Median | Halving | Hyperband


def has_stalled(reports: Mapping[int, float], patience: int, *, maximised: bool) -> bool:
    """Whether none of the last `patience` reports is better than all before them.

    Args:
        reports: values by validation; NaN is worse than any number.
        maximised: a higher value is better.
    """
    values = [reports[validation] for validation in sorted(reports)]
    scores = [
        -math.inf if math.isnan(value) else value if maximised else -value for value in values
    ]
    return len(scores) > patience and max(scores[-patience:]) <= max(scores[:-patience])


def estimate_standard_error(value: float, rows: int, *, maximised: bool) -> float:
    """The standard error of a metric that is a mean over so many validation rows.

    From 0 to 1 and maximised, as an accuracy, it is the binomial one, sqrt(p (1 - p) / rows), and
    at least that of one row. Anything else, as a loss, is taken to vary from row to row as much as
    it is high: value / sqrt(rows).
    """
    if rows < 1 or not math.isfinite(value):
        return 0.0
    if maximised and 0 <= value <= 1:
        return math.sqrt(max(value * (1 - value), 1 / rows) / rows)
    return abs(value) / math.sqrt(rows)


def is_clearly_worse(
    trial: "FrozenTrial",
    others: Iterable["FrozenTrial"],
    *,
    keeps: float,
    tolerance: float,
    maximised: bool,
) -> bool:
    """Whether the best value of a trial so far is worse than the cut by more than the noise.

    The cut is the value that the best `keeps` of the others with as many validations reached by
    then. Equal values, as of trials that all stand at chance, are never worse.
    """
    validation = trial.last_step
    if validation is None:
        return False
    sign = 1 if maximised else -1

    def score_best(reports: Mapping[int, float]) -> float:
        scores = [sign * value for at, value in reports.items() if at <= validation]
        return max((score for score in scores if not math.isnan(score)), default=-math.inf)

    scores = sorted(
        (
            score_best(other.intermediate_values)
            for other in others
            if other._trial_id != trial._trial_id and validation in other.intermediate_values
        ),
        reverse=True,
    )
    if not scores:
        return False
    cut, own = scores[math.ceil(keeps * len(scores)) - 1], score_best(trial.intermediate_values)
    rows = int(trial.user_attrs.get(VALIDATION_ROWS, 0))
    error = estimate_standard_error(sign * cut, rows, maximised=maximised)
    return own < cut - tolerance * error


def _delay_pruning(
    optuna_pruner: "BasePruner", config: "SearchPruner", *, keeps: float
) -> "BasePruner":
    """An Optuna pruner that prunes nothing at first, nor while a trial still improves, nor within
    the noise.

    The inner pruner is asked in any case: those with rungs write down which trials have reached
    one, and compare later trials with these.

    Args:
        keeps: the share of trials above the cut, for `config.tolerance`.
    """
    from optuna.pruners import BasePruner
    from optuna.study import StudyDirection
    from optuna.trial import TrialState

    class DelayedPruner(BasePruner):
        def prune(self, study: "Study", trial: "FrozenTrial") -> bool:
            # NumPy warns where all values are NaN.
            with warnings.catch_warnings(action="ignore", category=RuntimeWarning):
                is_worse = optuna_pruner.prune(study, trial)
            if not is_worse or float(trial.user_attrs.get(PROGRESS, 1.0)) <= config.warmup_share:
                return False
            trials = study.get_trials(deepcopy=False)
            finished = sum(other.state == TrialState.COMPLETE for other in trials)
            if finished < config.startup_trials:
                return False
            maximised = study.direction == StudyDirection.MAXIMIZE
            if config.patience is not None and not has_stalled(
                trial.intermediate_values, config.patience, maximised=maximised
            ):
                return False
            return config.tolerance == 0 or is_clearly_worse(
                trial, trials, keeps=keeps, tolerance=config.tolerance, maximised=maximised
            )

    return DelayedPruner()
